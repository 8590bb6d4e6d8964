import HTTP

/// What an external processor says to a gateway (`envoy.service.ext_proc.v3.ProcessingResponse`), each message with gRPC's
/// frame in front: the processor's side of `ProcessingResponse`.
///
/// Every function says when its output did not fit; what is in `output` then is of no use.
public enum ProcessingAnswer {
    public typealias Direction = ProcessingRequest.Direction

    /// Most bytes that a message takes beyond texts and content given to it.
    public static let messageBytesMax = 1024

    /// Fields that a picker speaks with and a model server has no part in.
    private static var consumed: InlineArray<5, StaticString> {
        [
            "x-gateway-inference-fairness-id", "x-gateway-inference-objective",
            "x-gateway-destination-endpoint-served", "x-gateway-destination-endpoint-subset",
            "x-gateway-model-name-rewrite",
        ]
    }

    private static var destinationName: StaticString { "x-gateway-destination-endpoint" }
    private static var lengthName: StaticString { "content-length" }
    /// What a client takes encodings of content by.
    private static var codingName: StaticString { "accept-encoding" }

    // MARK: - Going on

    /// A head goes on as it is.
    public static func append(
        headKept direction: Direction, into output: inout OutputSpan<UInt8>
    ) -> Bool {
        empty(direction == .request ? 1 : 2, into: &output)
    }

    /// A piece of content goes on as it is.
    public static func append(
        bodyKept direction: Direction, into output: inout OutputSpan<UInt8>
    ) -> Bool {
        empty(direction == .request ? 3 : 4, into: &output)
    }

    /// Trailers go on as they are.
    public static func append(
        trailersKept direction: Direction, into output: inout OutputSpan<UInt8>
    ) -> Bool {
        GRPCFrame.begin(2, into: &output)
            && WireWriter.begin(direction == .request ? 5 : 6, 0, into: &output)
    }

    /// An answer with a CommonResponse that says nothing.
    private static func empty(_ field: UInt64, into output: inout OutputSpan<UInt8>) -> Bool {
        GRPCFrame.begin(4, into: &output) && WireWriter.begin(field, 2, into: &output)
            && WireWriter.begin(1, 0, into: &output)
    }

    /// What stands before a piece of content that was sent in full duplex; the piece follows as it is.
    public static func begin(
        _ direction: Direction, body count: Int, ends: Bool, into output: inout OutputSpan<UInt8>
    ) -> Bool {
        let streamed = WireWriter.count(ofField: count) + (ends ? 2 : 0)
        let mutation = WireWriter.count(ofField: streamed)
        return begin(direction, mutation: mutation, into: &output)
            && WireWriter.begin(3, streamed, into: &output)
            && (!ends || WireWriter.append(2, number: 1, into: &output))
            && WireWriter.begin(1, count, into: &output)
    }

    /// What stands before content that takes the place of a piece that was shown; it follows as it is.
    public static func begin(
        _ direction: Direction, replacement count: Int, into output: inout OutputSpan<UInt8>
    ) -> Bool {
        let mutation = replacementCount(count)
        return begin(direction, mutation: mutation, into: &output)
            && beginReplacement(count, into: &output)
    }

    /// What stands before a BodyMutation that a BodyResponse has alone.
    private static func begin(
        _ direction: Direction, mutation count: Int, into output: inout OutputSpan<UInt8>
    ) -> Bool {
        let common = WireWriter.count(ofField: count)
        let answer = WireWriter.count(ofField: common)
        return GRPCFrame.begin(WireWriter.count(ofField: answer), into: &output)
            && WireWriter.begin(direction == .request ? 3 : 4, answer, into: &output)
            && WireWriter.begin(1, common, into: &output)
            && WireWriter.begin(3, count, into: &output)
    }

    /// Bytes of a BodyMutation with other content.
    ///
    /// No content at all is a mutation of another kind: an empty one would change nothing.
    private static func replacementCount(_ count: Int) -> Int {
        count == 0 ? 2 : WireWriter.count(ofField: count)
    }

    private static func beginReplacement(
        _ count: Int, into output: inout OutputSpan<UInt8>
    ) -> Bool {
        count == 0
            ? WireWriter.append(2, number: 1, into: &output)
            : WireWriter.begin(1, count, into: &output)
    }

    /// An answer's head goes on without a length, since content will change.
    public static func appendUnmeasuredAnswer(into output: inout OutputSpan<UInt8>) -> Bool {
        let name = ByteScan.bytes(lengthName)
        let mutation = WireWriter.count(ofField: name.count)
        let common = WireWriter.count(ofField: mutation)
        let answer = WireWriter.count(ofField: common)
        return GRPCFrame.begin(WireWriter.count(ofField: answer), into: &output)
            && WireWriter.begin(2, answer, into: &output)
            && WireWriter.begin(1, common, into: &output)
            && WireWriter.begin(2, mutation, into: &output)
            && WireWriter.append(2, name, into: &output)
    }

    // MARK: - Choosing

    /// What is told with an endpoint.
    public struct Choice: BitwiseCopyable, Sendable {
        /// What it is an answer to.
        public enum Place: BitwiseCopyable, Sendable {
            case head
            case body
            /// To content, in whose place stand so many other bytes, which follow as they are.
            case replacement(Int)
        }

        public var place: Place
        /// The answer's content will be read, and so must not be encoded.
        public var readsAnswer: Bool

        public init(at place: Place, readsAnswer: Bool = false) {
            self.place = place
            self.readsAnswer = readsAnswer
        }
    }

    /// The endpoint that was chosen, as a header and as metadata, and the length of content where it is known.
    ///
    /// `endpoint` and `length` are texts, `length` may be empty; the route is to be chosen again.
    public static func append(
        endpoint: Span<UInt8>, length: Span<UInt8>, _ choice: Choice,
        into output: inout OutputSpan<UInt8>
    ) -> Bool {
        let metadata = Destination(endpoint)
        let mutation = mutationCount(endpoint: endpoint, length: length, choice)
        var common = WireWriter.count(ofField: mutation) + 2
        if case .replacement(let count) = choice.place {
            common += WireWriter.count(ofField: replacementCount(count))
        }
        let answer = WireWriter.count(ofField: common)
        let message = WireWriter.count(ofField: answer) + WireWriter.count(ofField: metadata.count)
        var field: UInt64 = 3
        if case .head = choice.place { field = 1 }
        guard GRPCFrame.begin(message, into: &output),
            WireWriter.begin(8, metadata.count, into: &output), metadata.append(into: &output),
            WireWriter.begin(field, answer, into: &output),
            WireWriter.begin(1, common, into: &output),
            WireWriter.begin(2, mutation, into: &output),
            appendMutation(endpoint: endpoint, length: length, choice, into: &output),
            WireWriter.append(5, number: 1, into: &output)
        else { return false }
        guard case .replacement(let count) = choice.place else { return true }
        return WireWriter.begin(3, replacementCount(count), into: &output)
            && beginReplacement(count, into: &output)
    }

    /// Bytes of the HeaderMutation that tells a choice.
    private static func mutationCount(
        endpoint: Span<UInt8>, length: Span<UInt8>, _ choice: Choice
    ) -> Int {
        var count = optionCount(ByteScan.bytes(destinationName), endpoint)
        if !length.isEmpty { count += optionCount(ByteScan.bytes(lengthName), length) }
        let consumed = consumed
        for at in consumed.indices {
            count += WireWriter.count(ofField: consumed[at].utf8CodeUnitCount)
        }
        if choice.readsAnswer {
            count += WireWriter.count(ofField: codingName.utf8CodeUnitCount)
        }
        return count
    }

    private static func appendMutation(
        endpoint: Span<UInt8>, length: Span<UInt8>, _ choice: Choice,
        into output: inout OutputSpan<UInt8>
    ) -> Bool {
        guard appendOption(ByteScan.bytes(destinationName), endpoint, into: &output),
            length.isEmpty || appendOption(ByteScan.bytes(lengthName), length, into: &output)
        else { return false }
        let consumed = consumed
        for at in consumed.indices
        where !WireWriter.append(2, ByteScan.bytes(consumed[at]), into: &output) { return false }
        return !choice.readsAnswer
            || WireWriter.append(2, ByteScan.bytes(codingName), into: &output)
    }

    // MARK: - Refusing

    /// The gateway is to answer at once with this; `reason` and `retryAfter` are texts that may be empty.
    public static func append(
        immediate status: Int, reason: Span<UInt8>, retryAfter: Span<UInt8>, body: Span<UInt8>,
        into output: inout OutputSpan<UInt8>
    ) -> Bool {
        let type = ByteScan.bytes("text/plain; charset=utf-8")
        let typeName = ByteScan.bytes("content-type")
        let reasonName = ByteScan.bytes("x-llm-d-request-dropped-reason")
        let retryName = ByteScan.bytes("retry-after")
        var mutation = optionCount(typeName, type)
        if !reason.isEmpty { mutation += optionCount(reasonName, reason) }
        if !retryAfter.isEmpty { mutation += optionCount(retryName, retryAfter) }
        let code = 1 + WireWriter.count(UInt64(status))
        let answer =
            WireWriter.count(ofField: code) + WireWriter.count(ofField: mutation)
            + WireWriter.count(ofField: body.count)
        return GRPCFrame.begin(WireWriter.count(ofField: answer), into: &output)
            && WireWriter.begin(7, answer, into: &output)
            && WireWriter.begin(1, code, into: &output)
            && WireWriter.append(1, number: UInt64(status), into: &output)
            && WireWriter.begin(2, mutation, into: &output)
            && appendOption(typeName, type, into: &output)
            && (reason.isEmpty || appendOption(reasonName, reason, into: &output))
            && (retryAfter.isEmpty || appendOption(retryName, retryAfter, into: &output))
            && WireWriter.append(3, body, into: &output)
    }

    // MARK: - Fields

    /// Bytes of a HeaderValueOption as a field of a HeaderMutation.
    private static func optionCount(_ name: Span<UInt8>, _ value: Span<UInt8>) -> Int {
        WireWriter.count(ofField: WireWriter.count(ofField: valueCount(name, value)))
    }

    private static func valueCount(_ name: Span<UInt8>, _ value: Span<UInt8>) -> Int {
        WireWriter.count(ofField: name.count) + WireWriter.count(ofField: value.count)
    }

    /// A field that replaces all of its name: neither `append` nor an action is said, as other pickers do.
    private static func appendOption(
        _ name: Span<UInt8>, _ value: Span<UInt8>, into output: inout OutputSpan<UInt8>
    ) -> Bool {
        let header = valueCount(name, value)
        return WireWriter.begin(1, WireWriter.count(ofField: header), into: &output)
            && WireWriter.begin(1, header, into: &output)
            && WireWriter.append(1, name, into: &output)
            && WireWriter.append(3, value, into: &output)
    }

    /// `dynamic_metadata["envoy.lb"]["x-gateway-destination-endpoint"]`, from the inside out.
    private struct Destination: ~Escapable {
        let endpoint: Span<UInt8>
        let text: Int
        let inner: Int
        let fields: Int
        let value: Int
        let entry: Int
        /// Bytes of the Struct.
        let count: Int

        @_lifetime(copy endpoint)
        init(_ endpoint: Span<UInt8>) {
            self.endpoint = endpoint
            text = WireWriter.count(ofField: endpoint.count)
            inner =
                WireWriter.count(ofField: destinationName.utf8CodeUnitCount)
                + WireWriter.count(ofField: text)
            fields = WireWriter.count(ofField: inner)
            value = WireWriter.count(ofField: fields)
            entry =
                WireWriter.count(ofField: Destination.filter.utf8CodeUnitCount)
                + WireWriter.count(ofField: value)
            count = WireWriter.count(ofField: entry)
        }

        private static var filter: StaticString { "envoy.lb" }

        func append(into output: inout OutputSpan<UInt8>) -> Bool {
            WireWriter.begin(1, entry, into: &output)
                && WireWriter.append(1, ByteScan.bytes(Destination.filter), into: &output)
                && WireWriter.begin(2, value, into: &output)
                && WireWriter.begin(5, fields, into: &output)
                && WireWriter.begin(1, inner, into: &output)
                && WireWriter.append(1, ByteScan.bytes(destinationName), into: &output)
                && WireWriter.begin(2, text, into: &output)
                && WireWriter.append(3, endpoint, into: &output)
        }
    }
}

/// What `grpc.health.v1.Health` is asked and answers.
public enum HealthProtocol {
    /// Of `HealthCheckResponse`.
    public enum Status: UInt8, BitwiseCopyable, Sendable {
        case serving = 1
        case notServing, unknownService
    }

    /// The service that a HealthCheckRequest asks for; nil when it is none.
    public static func service(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Range<Int>? {
        var service = 0..<0
        var fields = WireFields(range)
        while let field = fields.next(bytes) {
            if field.isBytes(1) { service = field.range }
        }
        return fields.isMalformed ? nil : service
    }

    /// Appends a HealthCheckResponse with gRPC's frame in front.
    public static func append(_ status: Status, into output: inout OutputSpan<UInt8>) -> Bool {
        GRPCFrame.begin(2, into: &output)
            && WireWriter.append(1, number: UInt64(status.rawValue), into: &output)
    }
}
