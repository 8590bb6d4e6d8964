import HTTP

/// What is known of a request beside its head.
public struct CheckFacts: BitwiseCopyable, Sendable {
    public var isSecure: Bool
    public var version: Version
    /// Bytes of its content; -1 where nobody knows.
    public var size: Int64
    /// When it came.
    public var milliseconds: UInt64
    public var clientPort: UInt16
    public var ownPort: UInt16

    public init(
        isSecure: Bool, version: Version, size: Int64, milliseconds: UInt64, clientPort: UInt16,
        ownPort: UInt16
    ) {
        self.isSecure = isSecure
        self.version = version
        self.size = size
        self.milliseconds = milliseconds
        self.clientPort = clientPort
        self.ownPort = ownPort
    }
}

/// What is asked of `envoy.service.auth.v3.Authorization/Check` (a CheckRequest), with gRPC's frame in front.
///
/// Texts of protobuf are UTF-8: of a value that is not, each byte beyond ASCII becomes `!`, as Envoy has it.
public enum CheckRequest {
    /// Most bytes of a message beside the bytes of its texts and its content, each of which stands there at most twice.
    public static let messageBytesMax = 1024

    /// Appends the message; false when it does not fit.
    ///
    /// `head` is the request's first line and the fields that are told, as lines of HTTP/1.1 with an empty line behind them.
    /// `id` is `x-request-id`, empty for none. With `isWhole` all fields are told, and with them what HTTP/2 has as fields.
    public static func append(
        _ head: Span<UInt8>, host: Span<UInt8>, id: Span<UInt8>, client: Span<UInt8>,
        own: Span<UInt8>, content: Span<UInt8>, _ facts: CheckFacts, isWhole: Bool,
        into output: inout OutputSpan<UInt8>
    ) -> Bool {
        let http = Request(head, host, id, content, facts, isWhole)
        let source = Peer.count(client, facts.clientPort)
        let destination = Peer.count(own, facts.ownPort)
        let seconds = facts.milliseconds / 1_000
        let nanoseconds = facts.milliseconds % 1_000 * 1_000_000
        let time = 2 + WireWriter.count(seconds) + WireWriter.count(nanoseconds)
        let request = WireWriter.count(ofField: time) + WireWriter.count(ofField: http.count)
        let attributes =
            WireWriter.count(ofField: source) + WireWriter.count(ofField: destination)
            + WireWriter.count(ofField: request)
        return GRPCFrame.begin(WireWriter.count(ofField: attributes), into: &output)
            && WireWriter.begin(1, attributes, into: &output)
            && WireWriter.begin(1, source, into: &output)
            && Peer.append(client, facts.clientPort, into: &output)
            && WireWriter.begin(2, destination, into: &output)
            && Peer.append(own, facts.ownPort, into: &output)
            && WireWriter.begin(4, request, into: &output)
            && WireWriter.begin(1, time, into: &output)
            && WireWriter.append(1, number: seconds, into: &output)
            && WireWriter.append(2, number: nanoseconds, into: &output)
            && WireWriter.begin(2, http.count, into: &output)
            && http.append(into: &output)
    }

    /// `attributes.source` and `.destination`.
    private enum Peer {
        static func count(_ address: Span<UInt8>, _ port: UInt16) -> Int {
            WireWriter.count(ofField: WireWriter.count(ofField: socket(address, port)))
        }

        private static func socket(_ address: Span<UInt8>, _ port: UInt16) -> Int {
            WireWriter.count(ofField: address.count) + 1 + WireWriter.count(UInt64(port))
        }

        static func append(
            _ address: Span<UInt8>, _ port: UInt16, into output: inout OutputSpan<UInt8>
        ) -> Bool {
            let socket = socket(address, port)
            return WireWriter.begin(1, WireWriter.count(ofField: socket), into: &output)
                && WireWriter.begin(1, socket, into: &output)
                && WireWriter.append(2, address, into: &output)
                && WireWriter.append(3, number: UInt64(port), into: &output)
        }
    }

    /// `attributes.request.http`.
    private struct Request: ~Escapable {
        let head: Span<UInt8>
        let host: Span<UInt8>
        let id: Span<UInt8>
        let content: Span<UInt8>
        let facts: CheckFacts
        let isWhole: Bool
        let method: Range<Int>
        let path: Range<Int>
        let isText: Bool
        let named: NamedLines
        /// Bytes of the message.
        private(set) var count = 0

        @_lifetime(copy head, copy host, copy id, copy content)
        init(
            _ head: Span<UInt8>, _ host: Span<UInt8>, _ id: Span<UInt8>, _ content: Span<UInt8>,
            _ facts: CheckFacts, _ isWhole: Bool
        ) {
            self.head = head
            self.host = host
            self.id = id
            self.content = content
            self.facts = facts
            self.isWhole = isWhole
            let end = HeadText(head).start.upperBound
            let space = ByteScan.first(0x20, head, from: 0, to: end)
            method = 0..<space
            let from = min(space + 1, end)
            path = from..<ByteScan.first(0x20, head, from: from, to: end)
            isText = Text.isValid(content)
            named = NamedLines(head)
            count = measured()
        }

        private var scheme: Span<UInt8> {
            @_lifetime(immortal)
            get { ByteScan.bytes(facts.isSecure ? "https" : "http") }
        }

        private var protocolText: Span<UInt8> {
            @_lifetime(immortal)
            get {
                switch facts.version {
                case .http10: ByteScan.bytes("HTTP/1.0")
                case .http2: ByteScan.bytes("HTTP/2")
                default: ByteScan.bytes("HTTP/1.1")
                }
            }
        }

        private func measured() -> Int {
            var count =
                WireWriter.count(ofField: method.count) + WireWriter.count(ofField: path.count)
            count += WireWriter.count(ofField: host.count) + WireWriter.count(ofField: scheme.count)
            count += WireWriter.count(ofField: protocolText.count)
            count += 1 + WireWriter.count(UInt64(bitPattern: facts.size))
            if !id.isEmpty { count += WireWriter.count(ofField: id.count) }
            if !content.isEmpty { count += WireWriter.count(ofField: content.count) }
            if isWhole {
                count += entry(7, method.count) + entry(5, path.count) + entry(10, host.count)
                count += entry(7, scheme.count)
            }
            for line in named.lines where line.isFirst {
                count += entry(line.text.name.count, joined(line))
            }
            return count
        }

        /// Bytes of an entry of `headers`, with what stands before it.
        private func entry(_ name: Int, _ value: Int) -> Int {
            WireWriter.count(
                ofField: WireWriter.count(ofField: name) + WireWriter.count(ofField: value))
        }

        /// Bytes of the values of all lines of a name, of which this is the first, joined.
        private func joined(_ first: NamedLines.Line) -> Int {
            let between = separator(of: head.extracting(first.text.name)).count
            var count = first.text.value.count
            var next = first.next
            while next >= 0 {
                count += between + named.lines[next].text.value.count
                next = named.lines[next].next
            }
            return count
        }

        /// What stands between values of equal names (RFC 9110 §5.2, RFC 6265 §5.4).
        @_lifetime(immortal)
        private func separator(of name: Span<UInt8>) -> Span<UInt8> {
            ByteScan.bytes(ByteScan.equalFolding(name, ByteScan.bytes("cookie")) ? "; " : ",")
        }

        func append(into output: inout OutputSpan<UInt8>) -> Bool {
            if !id.isEmpty, !Text.append(1, id, into: &output) { return false }
            guard Text.append(2, head.extracting(method), into: &output) else { return false }
            if isWhole {
                guard append(ByteScan.bytes(":method"), head.extracting(method), into: &output),
                    append(ByteScan.bytes(":path"), head.extracting(path), into: &output),
                    append(ByteScan.bytes(":authority"), host, into: &output),
                    append(ByteScan.bytes(":scheme"), scheme, into: &output)
                else { return false }
            }
            for line in named.lines where line.isFirst {
                if !append(line, into: &output) { return false }
            }
            return Text.append(4, head.extracting(path), into: &output)
                && Text.append(5, host, into: &output) && Text.append(6, scheme, into: &output)
                && WireWriter.append(9, number: UInt64(bitPattern: facts.size), into: &output)
                && Text.append(10, protocolText, into: &output)
                && (content.isEmpty
                    || WireWriter.append(isText ? 11 : 12, content, into: &output))
        }

        /// Appends an entry of `headers`.
        private func append(
            _ name: Span<UInt8>, _ value: Span<UInt8>, into output: inout OutputSpan<UInt8>
        ) -> Bool {
            let count =
                WireWriter.count(ofField: name.count) + WireWriter.count(ofField: value.count)
            return WireWriter.begin(3, count, into: &output)
                && WireWriter.append(1, name, into: &output)
                && Text.append(2, value, into: &output)
        }

        /// Appends the entry of all lines of a name, of which this is the first.
        private func append(
            _ first: NamedLines.Line, into output: inout OutputSpan<UInt8>
        ) -> Bool {
            let name = head.extracting(first.text.name)
            let count = joined(first)
            let entry = WireWriter.count(ofField: name.count) + WireWriter.count(ofField: count)
            guard WireWriter.begin(3, entry, into: &output),
                WireWriter.begin(1, name.count, into: &output),
                output.freeCapacity >= name.count + count + 16
            else { return false }
            for at in 0..<name.count { output.append(ByteScan.lowered(name[at])) }
            guard WireWriter.begin(2, count, into: &output),
                Text.append(head.extracting(first.text.value), into: &output)
            else { return false }
            var next = first.next
            while next >= 0 {
                let line = named.lines[next]
                guard ByteScan.append(separator(of: name), to: &output),
                    Text.append(head.extracting(line.text.value), into: &output)
                else { return false }
                next = line.next
            }
            return true
        }
    }

    /// Texts, which are UTF-8.
    private enum Text {
        static func isValid(_ bytes: Span<UInt8>) -> Bool {
            (try? UTF8Span(validating: bytes)) != nil
        }

        static func append(
            _ field: UInt64, _ bytes: Span<UInt8>, into output: inout OutputSpan<UInt8>
        ) -> Bool {
            WireWriter.begin(field, bytes.count, into: &output) && append(bytes, into: &output)
        }

        static func append(_ bytes: Span<UInt8>, into output: inout OutputSpan<UInt8>) -> Bool {
            if isValid(bytes) { return ByteScan.append(bytes, to: &output) }
            if output.freeCapacity < bytes.count { return false }
            for at in 0..<bytes.count { output.append(bytes[at] < 0x80 ? bytes[at] : 0x21) }
            return true
        }
    }
}
