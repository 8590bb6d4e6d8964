import HTTP

/// What a gateway says to an external processor (`envoy.service.ext_proc.v3.ProcessingRequest`), as places in its message:
/// the processor's side of `ProcessingRequest`.
///
/// Of a field that stands twice the last counts; what is unknown is skipped.
public struct ProcessingMessage: Sendable {
    /// What it tells of.
    public enum Kind: UInt8, BitwiseCopyable, Sendable {
        case requestHeaders = 2
        case answerHeaders, requestBody, answerBody, requestTrailers, answerTrailers
        /// Something that this processor does not know, or nothing.
        case other
    }

    /// How content is exchanged (`BodySendMode`).
    public enum BodyMode: UInt8, BitwiseCopyable, Sendable {
        case none, streamed, buffered, bufferedPartial, fullDuplexStreamed, grpc
    }

    /// How the content of both directions is exchanged; the first message says it (`ProtocolConfiguration`).
    public struct Modes: BitwiseCopyable, Sendable {
        public var request = BodyMode.none
        public var answer = BodyMode.none
        /// Content comes before the answer about its head.
        public var sendsBodyEarly = false

        public init(request: BodyMode = .none, answer: BodyMode = .none) {
            self.request = request
            self.answer = answer
        }
    }

    public private(set) var kind = Kind.other
    /// A HeaderMap, of heads and trailers.
    public private(set) var fields = 0..<0
    /// A piece of content.
    public private(set) var body = 0..<0
    /// The message that it is about ends here.
    public private(set) var ends = false
    public private(set) var modes: Modes?
    /// The endpoints to choose among, as a ListValue; nil: nothing is said of them.
    ///
    /// `filter_metadata["envoy.lb.subset_hint"]["x-gateway-destination-endpoint-subset"]`.
    public private(set) var subset: Range<Int>?
    /// Who answered, with a port; nil: nothing is said of it.
    ///
    /// `filter_metadata["envoy.lb"]["x-gateway-destination-endpoint-served"]`.
    public private(set) var served: Range<Int>?
    /// Nobody waits for what the processor says (`observability_mode`).
    public private(set) var isObserved = false

    /// Reads a message; nil when it is none.
    public init?(_ bytes: Span<UInt8>, _ range: Range<Int>) {
        var fields = WireFields(range)
        while let field = fields.next(bytes) {
            switch field.number {
            case 2...7 where field.kind == .bytes:
                kind = Kind(rawValue: UInt8(field.number)) ?? .other
                if !readPart(bytes, field.range) { return nil }
            case 8 where field.kind == .bytes: readMetadata(bytes, field.range)
            case 10 where field.kind == .number: isObserved = field.value != 0
            case 11 where field.kind == .bytes:
                guard let modes = Modes(bytes, field.range) else { return nil }
                self.modes = modes
            default: continue
            }
        }
        if fields.isMalformed { return nil }
    }

    private mutating func readPart(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
        var parts = WireFields(range)
        fields = 0..<0
        body = 0..<0
        ends = false
        while let part = parts.next(bytes) {
            switch kind {
            case .requestHeaders, .answerHeaders:
                if part.isBytes(1) { fields = part.range }
                if part.isNumber(3) { ends = part.value != 0 }
            case .requestBody, .answerBody:
                if part.isBytes(1) { body = part.range }
                if part.isNumber(2) || part.isNumber(3), part.value != 0 { ends = true }
            case .requestTrailers, .answerTrailers:
                if part.isBytes(1) { fields = part.range }
            case .other: continue
            }
        }
        return !parts.isMalformed
    }

    private mutating func readMetadata(_ bytes: Span<UInt8>, _ range: Range<Int>) {
        var entries = WireFields(range)
        while let entry = entries.next(bytes) {
            guard entry.isBytes(1) else { continue }
            if let hint = MapEntry.value(bytes, entry.range, of: "envoy.lb.subset_hint") {
                subset = Struct.find(bytes, hint, "x-gateway-destination-endpoint-subset", .list)
            } else if let told = MapEntry.value(bytes, entry.range, of: "envoy.lb") {
                served = Struct.find(bytes, told, "x-gateway-destination-endpoint-served", .text)
            }
        }
    }
}

extension ProcessingMessage.Modes {
    fileprivate init?(_ bytes: Span<UInt8>, _ range: Range<Int>) {
        self.init()
        var fields = WireFields(range)
        while let field = fields.next(bytes) {
            let mode =
                ProcessingMessage.BodyMode(rawValue: UInt8(clamping: field.value)) ?? .streamed
            if field.isNumber(1) { request = mode }
            if field.isNumber(2) { answer = mode }
            if field.isNumber(3) { sendsBodyEarly = field.value != 0 }
        }
        if fields.isMalformed { return nil }
    }
}

/// The texts of a `google.protobuf.ListValue`, one after the other.
public struct ListTexts: Sendable {
    private var values: WireFields

    public init(_ range: Range<Int>) { values = WireFields(range) }

    /// The next text; nil at the end.
    public mutating func next(_ bytes: Span<UInt8>) -> Range<Int>? {
        while let value = values.next(bytes) {
            guard value.isBytes(1) else { continue }
            var kinds = WireFields(value.range)
            while let field = kinds.next(bytes) {
                if field.isBytes(3) { return field.range }
            }
        }
        return nil
    }
}

/// The fields of a `HeaderMap`, one after the other.
public struct HeaderMapFields: Sendable {
    private var entries: WireFields

    public init(_ map: Range<Int>) { entries = WireFields(map) }

    /// The next name with its value; nil at the end.
    public mutating func next(_ bytes: Span<UInt8>) -> (name: Range<Int>, value: Range<Int>)? {
        while let entry = entries.next(bytes) {
            guard entry.isBytes(1) else { continue }
            var name = 0..<0
            var value = 0..<0
            var fields = WireFields(entry.range)
            while let field = fields.next(bytes) {
                if field.isBytes(1) { name = field.range }
                if field.isBytes(2) || field.isBytes(3), !field.range.isEmpty {
                    value = field.range
                }
            }
            if !fields.isMalformed { return (name, value) }
        }
        return nil
    }

    /// The value of the first field of a name, which is in small letters.
    public static func first(
        _ name: StaticString, _ map: Range<Int>, _ bytes: Span<UInt8>
    ) -> Range<Int>? {
        var fields = HeaderMapFields(map)
        while let field = fields.next(bytes) {
            if ByteScan.equalFolding(bytes.extracting(field.name), ByteScan.bytes(name)) {
                return field.value
            }
        }
        return nil
    }
}
