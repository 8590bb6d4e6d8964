import HTTP
import Kernel

/// The field block that is being received, checked and turned into HTTP/1.1 text.
///
/// A connection receives one block at a time (RFC 9113 §4.3), so there is one of these. It has
/// buffers only while a block is incomplete. The library decodes a block and does not judge it: all
/// rules of RFC 9113 §8 are checked here, and so no peer can put a line, or a part of one, into the
/// text that it did not send as a field.
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
    private(set) var hasHost = false
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
        pool.reclaim(&lines)
        pool.reclaim(&cookies)
    }

    /// Takes one field or pseudo-field; the refusal when it breaks a rule.
    ///
    /// It is written down first and looked at there, where vectors may be read behind its end.
    @inline(__always)
    mutating func take(
        name: Span<UInt8>, value: Span<UInt8>, listBytesMax: UInt32, fieldCountMax: UInt32,
        _ pool: inout BufferPool
    ) -> Refusal? {
        if purpose == .nothing { return nil }
        // Each is at most what one frame and its CONTINUATIONs decode to, far below 2^62.
        let count = name.count &+ value.count
        listBytes &+= count &+ 32
        fieldCount &+= 1
        if listBytes > Int(listBytesMax) || fieldCount > Int(fieldCountMax) { return .tooLarge }
        if name.isEmpty { return .malformed }
        if !lines.makeRoom(count &+ Self.roomBytes, &pool) { return .noMemory }
        if name[0] == 0x3A { return takePseudo(name, value) }
        return takeLine(name, value, &pool)
    }

    /// Room for what makes a field a line, and behind it for what `padded` adds.
    private static var roomBytes: Int { 64 }

    /// Whether the bytes may be a value: no control byte but TAB, no space at either end
    /// (RFC 9113 §8.2.1).
    private static func isValue(_ text: Span<UInt8>, _ start: Int, _ end: Int) -> Bool {
        if start == end { return true }
        let first = text[start]
        let last = text[end - 1]
        if first == 0x20 || first == 0x09 || last == 0x20 || last == 0x09 { return false }
        return ByteScan.isText(text, from: start, to: end)
    }

    /// Writes a field down as a line and checks it.
    private mutating func takeLine(
        _ name: Span<UInt8>, _ value: Span<UInt8>, _ pool: inout BufferPool
    ) -> Refusal? {
        let start = lines.count
        if linesStart == nil { linesStart = start }
        lines.withFree { text in
            _ = ByteScan.append(name, ": ", to: &text)
            _ = ByteScan.append(value, "\r\n", to: &text)
        }
        let id = Self.name(lines.padded(), start, nameCount: name.count, valueCount: value.count)
        guard let id else { return .malformed }
        return Self.judged.contains(id) ? judge(id, value, start, &pool) : nil
    }

    /// The name of the line that stands at `start`; nil when it is no line.
    @inline(__always)
    private static func name(
        _ text: Span<UInt8>, _ start: Int, nameCount: Int, valueCount: Int
    ) -> FieldName? {
        let valueStart = start &+ nameCount &+ 2
        if !ByteScan.isSmallName(text, from: start, to: start &+ nameCount)
            || !isValue(text, valueStart, valueStart &+ valueCount)
        {
            return nil
        }
        return FieldName.recognise(text, at: start, count: nameCount)
    }

    /// Names of fields that are more than a line.
    @inline(__always)
    private static var judged: FieldNames {
        FieldNames(
            rawValue: FieldNames(.connection).rawValue | FieldNames(.keepAlive).rawValue
                | FieldNames(.proxyConnection).rawValue | FieldNames(.transferEncoding).rawValue
                | FieldNames(.upgrade).rawValue | FieldNames(.te).rawValue
                | FieldNames(.host).rawValue | FieldNames(.contentLength).rawValue
                | FieldNames(.trailer).rawValue | FieldNames(.contentType).rawValue
                | FieldNames(.cookie).rawValue)
    }

    /// Judges a field by its name; its line, which begins at `start`, goes where it is not to stand.
    @inline(never)
    private mutating func judge(
        _ id: FieldName, _ value: Span<UInt8>, _ start: Int, _ pool: inout BufferPool
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
                let isSame = FieldBlock.equalFolding(
                    lines.span.extracting(pseudo(.authority).range), value)
                if !isSame { return .malformed }
                lines.removeLast(lines.count - start)
            }
        case .contentLength where purpose != .trailers:
            guard contentLength == nil, let length = FieldValue.decimal(value),
                length <= UInt64(Int64.max)
            else { return .malformed }
            contentLength = length
        case .trailer: expectsTrailers = true
        case .contentType where GRPCType.isCall(value): expectsTrailers = true
        case .cookie where purpose == .request:
            lines.removeLast(lines.count - start)
            let prefix = ByteScan.bytes(cookies.isEmpty ? "cookie: " : "; ")
            if !cookies.makeRoom(prefix.count + value.count, &pool) { return .noMemory }
            _ = cookies.append(prefix)
            _ = cookies.append(value)
        default: break
        }
        return nil
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

    private mutating func takePseudo(_ name: Span<UInt8>, _ value: Span<UInt8>) -> Refusal? {
        guard linesStart == nil, let which = FieldBlock.recognise(name), !has(which) else {
            return .malformed
        }
        switch purpose {
        case .request: if which == .status { return .malformed }
        case .answer: if which != .status { return .malformed }
        case .trailers, .nothing: return .malformed
        }
        let start = lines.count
        _ = lines.append(value)
        let end = start &+ value.count
        if !FieldBlock.isValid(which, lines.padded(), start, end) { return .malformed }
        pseudo[Int(which.rawValue)] = ByteRange(start..<end)
        return nil
    }

    /// The pseudo-field of a name that begins with a colon, by its length and then by words.
    private static func recognise(_ name: Span<UInt8>) -> Pseudo? {
        switch name.count {
        case 5:
            // "path"
            return ByteScan.load4(name, 1) == 0x6874_6170 ? .path : nil
        case 7:
            // "meth" and "thod", "sche" and "heme", "stat" and "atus"
            switch (ByteScan.load4(name, 1), ByteScan.load4(name, 3)) {
            case (0x6874_656D, 0x646F_6874): return .method
            case (0x6568_6373, 0x656D_6568): return .scheme
            case (0x7461_7473, 0x7375_7461): return .status
            default: return nil
            }
        case 9:
            // "protocol"
            return ByteScan.load8(name, 1) == 0x6C6F_636F_746F_7270 ? .protocol : nil
        case 10:
            // "authorit" and "y"
            let isAuthority = ByteScan.load8(name, 1) == 0x7469_726F_6874_7561 && name[9] == 0x79
            return isAuthority ? .authority : nil
        default: return nil
        }
    }

    /// Whether a value, with 16 bytes or more behind it, can stand in a start line or in Host without ending it.
    private static func isValid(
        _ which: Pseudo, _ text: Span<UInt8>, _ start: Int, _ end: Int
    ) -> Bool {
        if start == end { return false }
        switch which {
        case .method, .protocol: return Token.isToken(text.extracting(start..<end))
        case .scheme: return isScheme(ByteScan.load8(text, start), count: end &- start)
        case .path:
            return (text[start] == 0x2F || text[start] == 0x2A)
                && ByteScan.isGraphic(text, from: start, to: end)
        case .authority: return ByteScan.isGraphic(text, from: start, to: end)
        case .status:
            guard end &- start == 3,
                let status = FieldValue.decimal(text.extracting(start..<end))
            else { return false }
            return status >= 100 && status <= 599 && status != 101
        }
    }

    /// Whether the first bytes of a word are "http" or "https", in any letters.
    private static func isScheme(_ word: UInt64, count: Int) -> Bool {
        let small = word | 0x20_2020_2020
        if count == 4 { return small & 0xFFFF_FFFF == 0x7074_7468 }
        return count == 5 && small & 0xFF_FFFF_FFFF == 0x73_7074_7468
    }

    // MARK: - Room

    /// The checked lines.
    var lineRange: Range<Int> { (linesStart ?? lines.count)..<lines.count }
}
