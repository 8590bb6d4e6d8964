import HTTP
import Kernel

/// The field block that is being received, checked and turned into HTTP/1.1 text.
///
/// A connection receives one block at a time (RFC 9113 §4.3), so there is one of these. It has
/// buffers only while a block is incomplete. The library has checked the block by its own rules;
/// all rules on which the text depends are checked here again, so that no peer can put a line, or a
/// part of one, into the text that it did not send as a field.
struct FieldBlock: ~Copyable {
    /// What a block is for.
    enum Purpose: BitwiseCopyable {
        /// None is being received, or one that nobody wants.
        case nothing
        case request
        case answer
        case trailers
    }

    /// Why a block is refused.
    enum Refusal: BitwiseCopyable {
        /// It breaks RFC 9113 §8: PROTOCOL_ERROR.
        case malformed
        /// It is longer than `HTTP2Limits` allow: ENHANCE_YOUR_CALM.
        case tooLarge
        /// There is no memory for it: REFUSED_STREAM.
        case noMemory

        var code: UInt32 {
            switch self {
            case .malformed: HTTP2Code.protocolError
            case .tooLarge: HTTP2Code.enhanceYourCalm
            case .noMemory: HTTP2Code.refusedStream
            }
        }
    }

    /// A pseudo-field; its value is a range of `lines`.
    enum Pseudo: UInt8, BitwiseCopyable {
        case method
        case scheme
        case path
        case authority
        case `protocol`
        case status
    }

    private(set) var purpose = Purpose.nothing
    /// The stream's number.
    private(set) var number: Int32 = 0
    /// Values of pseudo-fields, which come first, then checked lines with their ends.
    var lines = Buffer()
    /// The Cookie line without its end; empty when there is none (RFC 9113 §8.2.3).
    var cookies = Buffer()
    /// Where the values of pseudo-fields lie, by `Pseudo`.
    private var pseudo = InlineArray<6, ByteRange>(repeating: .none)
    /// Where the lines begin; nil before the first one.
    private var linesStart: Int?
    private var listBytes = 0
    private var fieldCount = 0
    private var hasHost = false
    private(set) var contentLength: UInt64?
    /// Trailers are announced, or the message is gRPC's, which ends with them.
    private(set) var expectsTrailers = false

    // MARK: - Taking fields

    mutating func begin(_ newPurpose: Purpose, number newNumber: Int32, _ pool: inout BufferPool) {
        end(&pool)
        purpose = newPurpose
        number = newNumber
        pseudo = InlineArray(repeating: .none)
        linesStart = nil
        listBytes = 0
        fieldCount = 0
        hasHost = false
        contentLength = nil
        expectsTrailers = false
    }

    /// Gives the buffers back; what was received is gone.
    mutating func end(_ pool: inout BufferPool) {
        purpose = .nothing
        pool.give(lines.takeOut())
        pool.give(cookies.takeOut())
    }

    /// Takes one field or pseudo-field; the refusal when it breaks a rule.
    mutating func take(
        name: Span<UInt8>, value: Span<UInt8>, _ limits: HTTP2Limits, _ pool: inout BufferPool
    ) -> Refusal? {
        if purpose == .nothing { return nil }
        // Each is at most what one frame and its CONTINUATIONs decode to, far below 2^62.
        listBytes += name.count + value.count + 32
        fieldCount += 1
        if listBytes > Int(limits.headerListBytesMax) || fieldCount > Int(limits.fieldCountMax) {
            return .tooLarge
        }
        if name.isEmpty || !FieldBlock.isValue(value) { return .malformed }
        if name[0] == 0x3A { return takePseudo(name, value, &pool) }
        for index in name.indices {
            let byte = name[index]
            if byte &- 0x41 < 26 || !Token.isTokenByte(byte) { return .malformed }
        }
        if linesStart == nil { linesStart = lines.count }
        return takeField(FieldName.recognise(name), name, value, &pool)
    }

    /// Whether the bytes may be a value: no control byte but TAB, no space at either end
    /// (RFC 9113 §8.2.1).
    private static func isValue(_ value: Span<UInt8>) -> Bool {
        if value.isEmpty { return true }
        let last = value[value.count - 1]
        if value[0] == 0x20 || value[0] == 0x09 || last == 0x20 || last == 0x09 { return false }
        return ByteScan.firstControl(value, from: 0, to: value.count) == value.count
    }

    private mutating func takeField(
        _ id: FieldName, _ name: Span<UInt8>, _ value: Span<UInt8>, _ pool: inout BufferPool
    ) -> Refusal? {
        switch id {
        case .connection, .keepAlive, .proxyConnection, .transferEncoding, .upgrade:
            return .malformed
        case .te:
            // Only requests have it, and only with one word (RFC 9113 §8.2.2).
            if !ByteScan.equalFolding(value, ByteScan.bytes("trailers")) { return .malformed }
        case .host where purpose == .request:
            if hasHost { return .malformed }
            hasHost = true
            if !pseudo(.authority).isNone {
                // It says the same, or there are two answers to the question whose request it is.
                let authority = lines.span.extracting(pseudo(.authority).range)
                return FieldBlock.equalFolding(authority, value) ? nil : .malformed
            }
        case .contentLength where purpose != .trailers:
            guard contentLength == nil, let length = FieldValue.decimal(value) else {
                return .malformed
            }
            contentLength = length
        case .trailer: expectsTrailers = true
        case .contentType where GRPCType.isCall(value): expectsTrailers = true
        case .cookie where purpose == .request:
            let isFirst = cookies.isEmpty
            return FieldBlock.append(
                ByteScan.bytes(isFirst ? "cookie: " : "; "), value, "", to: &cookies, &pool)
        default: break
        }
        if !lines.makeRoom(name.count, &pool) { return .noMemory }
        _ = lines.append(name)
        return FieldBlock.append(ByteScan.bytes(": "), value, "\r\n", to: &lines, &pool)
    }

    static func equalFolding(_ a: Span<UInt8>, _ b: Span<UInt8>) -> Bool {
        if a.count != b.count { return false }
        for index in a.indices where ByteScan.lowered(a[index]) != ByteScan.lowered(b[index]) {
            return false
        }
        return true
    }

    // MARK: - Pseudo-fields

    func pseudo(_ which: Pseudo) -> ByteRange { pseudo[Int(which.rawValue)] }

    func has(_ which: Pseudo) -> Bool { !pseudo(which).isNone }

    private mutating func takePseudo(
        _ name: Span<UInt8>, _ value: Span<UInt8>, _ pool: inout BufferPool
    ) -> Refusal? {
        guard linesStart == nil, let which = FieldBlock.recognise(name), !has(which) else {
            return .malformed
        }
        switch purpose {
        case .request: if which == .status { return .malformed }
        case .answer: if which != .status { return .malformed }
        case .trailers, .nothing: return .malformed
        }
        if !FieldBlock.isValid(which, value) { return .malformed }
        if !lines.makeRoom(value.count, &pool) { return .noMemory }
        let start = lines.count
        _ = lines.append(value)
        pseudo[Int(which.rawValue)] = ByteRange(start..<lines.count)
        return nil
    }

    private static func recognise(_ name: Span<UInt8>) -> Pseudo? {
        if ByteScan.equal(name, ByteScan.bytes(":method")) { return .method }
        if ByteScan.equal(name, ByteScan.bytes(":scheme")) { return .scheme }
        if ByteScan.equal(name, ByteScan.bytes(":path")) { return .path }
        if ByteScan.equal(name, ByteScan.bytes(":authority")) { return .authority }
        if ByteScan.equal(name, ByteScan.bytes(":protocol")) { return .protocol }
        if ByteScan.equal(name, ByteScan.bytes(":status")) { return .status }
        return nil
    }

    /// Whether the value can stand in a start line or in Host without ending it.
    private static func isValid(_ which: Pseudo, _ value: Span<UInt8>) -> Bool {
        if value.isEmpty { return false }
        switch which {
        case .method: return Token.isToken(value)
        case .scheme:
            return ByteScan.equalFolding(value, ByteScan.bytes("http"))
                || ByteScan.equalFolding(value, ByteScan.bytes("https"))
        case .path: return isGraphic(value) && (value[0] == 0x2F || value[0] == 0x2A)
        case .authority: return isGraphic(value)
        case .protocol: return Token.isToken(value)
        case .status:
            guard value.count == 3, let status = FieldValue.decimal(value) else { return false }
            return status >= 100 && status <= 599 && status != 101
        }
    }

    /// Whether all bytes are seen when printed: no space, no control byte, nothing beyond ASCII.
    private static func isGraphic(_ value: Span<UInt8>) -> Bool {
        for index in value.indices where value[index] &- 0x21 >= 0x5E { return false }
        return true
    }

    // MARK: - Room

    /// The checked lines.
    var lineRange: Range<Int> { (linesStart ?? lines.count)..<lines.count }

    private static func append(
        _ prefix: Span<UInt8>, _ value: Span<UInt8>, _ suffix: StaticString,
        to buffer: inout Buffer, _ pool: inout BufferPool
    ) -> Refusal? {
        let count = prefix.count + value.count + suffix.utf8CodeUnitCount
        if !buffer.makeRoom(count, &pool) { return .noMemory }
        _ = buffer.append(prefix)
        _ = buffer.append(value)
        _ = buffer.append(ByteScan.bytes(suffix))
        return nil
    }
}
