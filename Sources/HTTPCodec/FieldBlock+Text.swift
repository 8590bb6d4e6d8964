import HTTP
import Kernel

// A whole block as the text of a head or of a trailer section.
extension FieldBlock {
    /// How the content behind a head is framed for the reader.
    enum ContentKind: BitwiseCopyable {
        case none
        /// Exactly so many bytes.
        case length(UInt64)
        case chunked
        /// Bytes both ways, as they are; a request's only after it was answered.
        case tunnel
    }

    /// A head that was written.
    struct Head: BitwiseCopyable {
        var content: ContentKind
        /// Bytes of content that a head announces although it is framed by chunks.
        var length: UInt64?
        /// An answer's; 0 in a request.
        var status = 0
        /// The request asks for the head of an answer only.
        var isHEAD = false
    }

    enum Composed: BitwiseCopyable {
        case head(Head)
        case refused(Refusal)
    }

    /// Room for start line, framing line, handshake lines and line ends.
    private static var slackBytes: Int { 256 }

    // MARK: - Requests

    /// Appends the request's head; `endsStream`: no content follows.
    func composeRequest(
        endsStream: Bool, to output: inout Buffer, _ pool: inout BufferPool
    ) -> Composed {
        if !has(.method) { return .refused(.malformed) }
        let isConnect = ByteScan.equal(value(.method), ByteScan.bytes("CONNECT"))
        let room = lines.count + Int(pseudo(.authority).count) + cookies.count + Self.slackBytes
        if !output.makeRoom(room, &pool) { return .refused(.noMemory) }
        if isConnect { return composeConnect(endsStream: endsStream, to: &output) }
        if !has(.scheme) || !has(.path) || has(.protocol) { return .refused(.malformed) }
        // RFC 9113 §8.3.1: one of both says whose request it is.
        if !has(.authority) && !hasHost { return .refused(.malformed) }
        let isOptions = ByteScan.equal(value(.method), ByteScan.bytes("OPTIONS"))
        let path = value(.path)
        if path[0] == 0x2A, !isOptions || path.count != 1 { return .refused(.malformed) }
        if endsStream, let contentLength, contentLength != 0 { return .refused(.malformed) }
        var content = ContentKind.none
        if !endsStream { content = contentKind }
        output.withFree { text in
            _ = ByteScan.append(value(.method), " ", to: &text)
            _ = ByteScan.append(path, " HTTP/1.1\r\n", to: &text)
            appendHost(to: &text)
            appendFields(of: content, to: &text)
            appendCookies(to: &text)
            _ = ByteScan.append("\r\n", to: &text)
        }
        let isHEAD = ByteScan.equal(value(.method), ByteScan.bytes("HEAD"))
        return .head(Head(content: content, length: contentLength, isHEAD: isHEAD))
    }

    /// Appends a WebSocket's beginning (RFC 8441 §5) as HTTP/1.1 has it (RFC 6455 §4.1).
    ///
    /// CONNECT without a protocol, and any other protocol, become CONNECT in HTTP/1.1, which the
    /// parser refuses with an answer that says so.
    private func composeConnect(endsStream: Bool, to output: inout Buffer) -> Composed {
        let isExtended = has(.protocol)
        if !has(.authority) || has(.scheme) != isExtended || has(.path) != isExtended {
            return .refused(.malformed)
        }
        let isWebSocket =
            isExtended && ByteScan.equalFolding(value(.protocol), ByteScan.bytes("websocket"))
        if !isWebSocket {
            output.withFree { text in
                _ = ByteScan.append("CONNECT ", to: &text)
                _ = ByteScan.append(value(.authority), " HTTP/1.1\r\n", to: &text)
                appendHost(to: &text)
                _ = ByteScan.append("\r\n", to: &text)
            }
            return .head(Head(content: .none))
        }
        // A tunnel that ends before it begins, or has a length, is none.
        if endsStream || contentLength != nil || value(.path)[0] != 0x2F {
            return .refused(.malformed)
        }
        output.withFree { text in
            _ = ByteScan.append("GET ", to: &text)
            _ = ByteScan.append(value(.path), " HTTP/1.1\r\n", to: &text)
            appendHost(to: &text)
            _ = ByteScan.append("connection: Upgrade\r\nupgrade: websocket\r\n", to: &text)
            _ = ByteScan.append("sec-websocket-key: ", to: &text)
            WebSocketKey.appendKey(to: &text)
            _ = ByteScan.append("\r\n", to: &text)
            appendFields(without: .secWebSocketKey, to: &text)
            appendCookies(to: &text)
            _ = ByteScan.append("\r\n", to: &text)
        }
        return .head(Head(content: .tunnel))
    }

    /// The authority as Host; a request without one has its Host line among the fields, or none,
    /// which the parser refuses.
    private func appendHost(to text: inout OutputSpan<UInt8>) {
        if !has(.authority) { return }
        _ = ByteScan.append("host: ", to: &text)
        _ = ByteScan.append(value(.authority), "\r\n", to: &text)
    }

    private func appendCookies(to text: inout OutputSpan<UInt8>) {
        if !cookies.isEmpty { _ = ByteScan.append(cookies.span, "\r\n", to: &text) }
    }

    /// Appends the lines and how the content is framed; chunks and a length exclude each other.
    private func appendFields(of content: ContentKind, to text: inout OutputSpan<UInt8>) {
        guard case .chunked = content else {
            _ = ByteScan.append(lines.span.extracting(lineRange), to: &text)
            return
        }
        if contentLength == nil {
            _ = ByteScan.append(lines.span.extracting(lineRange), to: &text)
        } else {
            appendFields(without: .contentLength, to: &text)
        }
        _ = ByteScan.append("transfer-encoding: chunked\r\n", to: &text)
    }

    /// Appends the lines but those of one name.
    private func appendFields(without name: FieldName, to text: inout OutputSpan<UInt8>) {
        let fields = lines.span.extracting(lineRange)
        var walker = LineWalker(at: 0)
        var start = 0
        while let line = walker.next(fields) {
            if line.id != name {
                _ = ByteScan.append(fields.extracting(start..<walker.at), to: &text)
            }
            start = walker.at
        }
    }

    /// How content that follows is framed: by its length, unless trailers may follow it, for which only chunks have a
    /// place.
    ///
    /// Content is compared with the length in any case.
    private var contentKind: ContentKind {
        guard let contentLength, !expectsTrailers else { return .chunked }
        return .length(contentLength)
    }

    @_lifetime(borrow self)
    private func value(_ which: Pseudo) -> Span<UInt8> {
        lines.span.extracting(pseudo(which).range)
    }

    // MARK: - Answers

    /// Appends an answer's head to a request of this kind.
    ///
    /// `accept`: the request began a WebSocket, and this is the digest that answers its key.
    func composeAnswer(
        endsStream: Bool, toHEAD: Bool, accept: InlineArray<20, UInt8>?,
        to output: inout Buffer, _ pool: inout BufferPool
    ) -> Composed {
        guard has(.status), let number = FieldValue.decimal(value(.status)) else {
            return .refused(.malformed)
        }
        let status = Int(truncatingIfNeeded: number)
        if status < 200 && endsStream { return .refused(.malformed) }
        // Neither has content, nor says how long it is (RFC 9110 §8.6); a 204 with none is forgiven.
        if let contentLength, status < 200 || (status == 204 && contentLength > 0) {
            return .refused(.malformed)
        }
        if !output.makeRoom(lines.count + Self.slackBytes, &pool) {
            return .refused(.noMemory)
        }
        if let accept, status / 100 == 2 {
            if endsStream { return .refused(.malformed) }
            composeUpgrade(accept, to: &output)
            return .head(Head(content: .tunnel, status: 101))
        }
        var content = ContentKind.none
        if !toHEAD && !Status.hasNoContent(status) {
            if endsStream, let contentLength {
                if contentLength != 0 { return .refused(.malformed) }
                content = .length(contentLength)
            } else {
                content = contentKind
            }
        }
        output.withFree { text in
            _ = ByteScan.append("HTTP/1.1 ", to: &text)
            _ = ByteScan.append(value(.status), " ", to: &text)
            _ = ByteScan.append(Status.reason(status), to: &text)
            _ = ByteScan.append("\r\n", to: &text)
            if status == 204 && contentLength != nil {
                appendFields(without: .contentLength, to: &text)
            } else {
                appendFields(of: content, to: &text)
            }
            _ = ByteScan.append("\r\n", to: &text)
        }
        return .head(Head(content: content, length: contentLength, status: status))
    }

    /// Appends the answer that opens a WebSocket (RFC 6455 §4.2.2).
    private func composeUpgrade(_ accept: InlineArray<20, UInt8>, to output: inout Buffer) {
        output.withFree { text in
            _ = ByteScan.append("HTTP/1.1 101 Switching Protocols\r\n", to: &text)
            _ = ByteScan.append("connection: Upgrade\r\nupgrade: websocket\r\n", to: &text)
            _ = ByteScan.append("sec-websocket-accept: ", to: &text)
            WebSocketKey.appendBase64(accept.span, to: &text)
            _ = ByteScan.append("\r\n", to: &text)
            // A length would end the tunnel for a reader that believes it.
            let fields = lines.span.extracting(lineRange)
            var walker = LineWalker(at: 0)
            var start = 0
            while let line = walker.next(fields) {
                if line.id != .contentLength && line.id != .secWebSocketAccept {
                    _ = ByteScan.append(fields.extracting(start..<walker.at), to: &text)
                }
                start = walker.at
            }
            _ = ByteScan.append("\r\n", to: &text)
        }
    }

    // MARK: - Trailers

    /// Appends the last chunk with the trailers; false when there is no memory.
    func composeTrailers(to output: inout Buffer, _ pool: inout BufferPool) -> Bool {
        let fields = lineRange
        if !output.makeRoom(fields.count + 8, &pool) { return false }
        _ = output.append(ByteScan.bytes("0\r\n"))
        _ = output.append(lines.span.extracting(fields))
        _ = output.append(ByteScan.bytes("\r\n"))
        return true
    }
}
