import HTTP

/// What an external processor says (`envoy.service.ext_proc.v3.ProcessingResponse`), as places in its message.
///
/// Of a field that stands twice the last counts; what is unknown is skipped.
public struct ProcessingResponse: Sendable {
    /// What it answers.
    public enum Kind: UInt8, BitwiseCopyable, Sendable {
        case requestHeaders = 1
        case answerHeaders, requestBody, answerBody, requestTrailers, answerTrailers
        /// The gateway is to answer at once, itself.
        case immediate
        /// Something that this gateway does not know, or nothing.
        case other
    }

    /// What becomes of a piece of content.
    public enum Body: Sendable, Equatable {
        /// It stays as it was.
        case kept
        /// These bytes stand in its place.
        case replaced(Range<Int>)
        /// The next bytes of content that is the processor's own, perhaps its last.
        case streamed(Range<Int>, ends: Bool)
    }

    public private(set) var kind = Kind.other
    /// A HeaderMutation; empty for none.
    public private(set) var mutation = 0..<0
    public private(set) var body = Body.kept
    /// Of `.immediate`: status, content, and gRPC's status where it has one.
    public private(set) var status = 200
    public private(set) var content = 0..<0
    public private(set) var grpcStatus: UInt64?
    /// `dynamic_metadata["envoy.lb"]["x-gateway-destination-endpoint"]`; nil: there is none.
    public private(set) var destination: Range<Int>?

    /// Reads a message; nil when it is none.
    public init?(_ bytes: Span<UInt8>, _ range: Range<Int>) {
        var fields = WireFields(range)
        while let field = fields.next(bytes) {
            switch field.number {
            case 1...7 where field.kind == .bytes:
                kind = Kind(rawValue: UInt8(field.number)) ?? .other
                if !readAnswer(bytes, field.range) { return nil }
            case 8 where field.kind == .bytes:
                guard let found = Struct.find(bytes, field.range, "envoy.lb", .fields)
                else { continue }
                destination = Struct.find(
                    bytes, found, "x-gateway-destination-endpoint", .text)
            default: continue
            }
        }
        if fields.isMalformed { return nil }
    }

    private mutating func readAnswer(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
        mutation = 0..<0
        body = .kept
        var fields = WireFields(range)
        while let field = fields.next(bytes) {
            switch kind {
            case .immediate: if !readImmediate(bytes, field) { return false }
            case .requestTrailers, .answerTrailers: if field.isBytes(1) { mutation = field.range }
            default: if field.isBytes(1), !readCommon(bytes, field.range) { return false }
            }
        }
        return !fields.isMalformed
    }

    private mutating func readCommon(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
        var fields = WireFields(range)
        while let field = fields.next(bytes) {
            if field.isBytes(2) { mutation = field.range }
            if field.isBytes(3), !readBody(bytes, field.range) { return false }
        }
        return !fields.isMalformed
    }

    private mutating func readBody(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
        var fields = WireFields(range)
        while let field = fields.next(bytes) {
            if field.isBytes(1) { body = .replaced(field.range) }
            if field.isNumber(2), field.value != 0 { body = .replaced(0..<0) }
            if field.isBytes(3), !readStreamed(bytes, field.range) { return false }
        }
        return !fields.isMalformed
    }

    private mutating func readStreamed(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
        var piece = 0..<0
        var ends = false
        var fields = WireFields(range)
        while let field = fields.next(bytes) {
            if field.isBytes(1) { piece = field.range }
            if field.isNumber(2) || field.isNumber(3), field.value != 0 { ends = true }
        }
        body = .streamed(piece, ends: ends)
        return !fields.isMalformed
    }

    private mutating func readImmediate(_ bytes: Span<UInt8>, _ field: WireField) -> Bool {
        if field.isBytes(2) { mutation = field.range }
        if field.isBytes(3) { content = field.range }
        if field.isBytes(1) {
            var fields = WireFields(field.range)
            while let code = fields.next(bytes) {
                if code.isNumber(1) { status = Int(clamping: code.value) }
            }
            return !fields.isMalformed
        }
        if field.isBytes(4) {
            var fields = WireFields(field.range)
            while let code = fields.next(bytes) {
                if code.isNumber(1) { grpcStatus = code.value }
            }
            return !fields.isMalformed
        }
        return true
    }
}

/// `google.protobuf.Struct`.
enum Struct {
    /// What a Value holds.
    enum Kind: UInt64 {
        case text = 3
        case fields = 5
        case list = 6
    }

    /// What stands under a key, where it is of this kind.
    static func find(
        _ bytes: Span<UInt8>, _ range: Range<Int>, _ key: StaticString, _ kind: Kind
    ) -> Range<Int>? {
        var entries = WireFields(range)
        while let entry = entries.next(bytes) {
            guard entry.isBytes(1), let value = MapEntry.value(bytes, entry.range, of: key)
            else { continue }
            var kinds = WireFields(value)
            while let field = kinds.next(bytes) {
                if field.isBytes(kind.rawValue) { return field.range }
            }
        }
        return nil
    }
}

/// An entry of a map, whose keys are texts.
enum MapEntry {
    /// The value that stands in an entry, where its key is the wanted one.
    static func value(
        _ bytes: Span<UInt8>, _ entry: Range<Int>, of key: StaticString
    ) -> Range<Int>? {
        var isWanted = false
        var value = 0..<0
        var fields = WireFields(entry)
        while let field = fields.next(bytes) {
            if field.isBytes(1) {
                isWanted = ByteScan.equal(bytes.extracting(field.range), ByteScan.bytes(key))
            }
            if field.isBytes(2) { value = field.range }
        }
        return isWanted && !fields.isMalformed ? value : nil
    }
}
