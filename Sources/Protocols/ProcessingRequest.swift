import HTTP

/// What a gateway says to an external processor (`envoy.service.ext_proc.v3.ProcessingRequest`), each message with gRPC's
/// frame in front.
public enum ProcessingRequest {
    /// Which direction a message is about, and the field of its content.
    public enum Direction: Sendable, BitwiseCopyable {
        case request, answer

        var headers: UInt64 { self == .request ? 2 : 3 }
        var body: UInt64 { self == .request ? 4 : 5 }
        var trailers: UInt64 { self == .request ? 6 : 7 }
    }

    /// The first message: the request's head, how content is exchanged, and which endpoints are to be chosen among.
    ///
    /// `subset` is what `append(subset:)` wrote of each; when it is empty nothing is said of them.
    public static func append(
        request head: Span<UInt8>, isSecure: Bool, ends: Bool, sendsAnswers: Bool,
        subset: Span<UInt8> = Span(), into output: inout OutputSpan<UInt8>
    ) -> Bool {
        let fields = RequestFields(head, isSecure: isSecure)
        let hint = Metadata(subset, of: .subset)
        let hintBytes = subset.isEmpty ? 0 : WireWriter.count(ofField: hint.count)
        let map = fields.count(head)
        let headers = WireWriter.count(ofField: map) + (ends ? 2 : 0)
        // FULL_DUPLEX_STREAMED for the request and, where it is wanted, for the answer.
        let modes = sendsAnswers ? 4 : 2
        let message =
            WireWriter.count(ofField: headers) + hintBytes + WireWriter.count(ofField: modes)
        return GRPCFrame.begin(message, into: &output)
            && WireWriter.begin(Direction.request.headers, headers, into: &output)
            && WireWriter.begin(1, map, into: &output)
            && fields.append(head, into: &output)
            && (!ends || WireWriter.append(3, number: 1, into: &output))
            && (hintBytes == 0
                || WireWriter.begin(8, hint.count, into: &output) && hint.append(into: &output))
            && WireWriter.begin(11, modes, into: &output)
            && WireWriter.append(1, number: 4, into: &output)
            && (!sendsAnswers || WireWriter.append(2, number: 4, into: &output))
    }

    /// An endpoint of `subset`, as `ip:port`: one of a ListValue's values.
    public static func append(
        subset endpoint: Span<UInt8>, into output: inout OutputSpan<UInt8>
    ) -> Bool {
        WireWriter.begin(1, WireWriter.count(ofField: endpoint.count), into: &output)
            && WireWriter.append(3, endpoint, into: &output)
    }

    /// The answer's head, with the endpoint that answered in the metadata of `envoy.lb`.
    public static func append(
        answer head: Span<UInt8>, served: Span<UInt8>, ends: Bool,
        into output: inout OutputSpan<UInt8>
    ) -> Bool {
        let fields = AnswerFields(head)
        let map = fields.count(head)
        let headers = WireWriter.count(ofField: map) + (ends ? 2 : 0)
        let served = Metadata(served, of: .served)
        let message = WireWriter.count(ofField: headers) + WireWriter.count(ofField: served.count)
        return GRPCFrame.begin(message, into: &output)
            && WireWriter.begin(Direction.answer.headers, headers, into: &output)
            && WireWriter.begin(1, map, into: &output)
            && fields.append(head, into: &output)
            && (!ends || WireWriter.append(3, number: 1, into: &output))
            && WireWriter.begin(8, served.count, into: &output)
            && served.append(into: &output)
    }

    /// What stands before a piece of content of so many bytes, which follows as it is.
    public static func begin(
        _ direction: Direction, body count: Int, ends: Bool, into output: inout OutputSpan<UInt8>
    ) -> Bool {
        let body = WireWriter.count(ofField: count) + (ends ? 2 : 0)
        return GRPCFrame.begin(WireWriter.count(ofField: body), into: &output)
            && WireWriter.begin(direction.body, body, into: &output)
            && (!ends || WireWriter.append(2, number: 1, into: &output))
            && WireWriter.begin(1, count, into: &output)
    }

    /// Most bytes that `begin` writes.
    public static let beginBytesMax = 32

    /// Trailers, which stand one line after the other.
    public static func append(
        _ direction: Direction, trailers lines: Span<UInt8>, into output: inout OutputSpan<UInt8>
    ) -> Bool {
        let map = Lines.count(lines)
        let trailers = WireWriter.count(ofField: map)
        return GRPCFrame.begin(WireWriter.count(ofField: trailers), into: &output)
            && WireWriter.begin(direction.trailers, trailers, into: &output)
            && WireWriter.begin(1, map, into: &output)
            && Lines.append(lines, into: &output)
    }
}

/// Entries of a HeaderMap.
private enum Lines {
    /// Bytes of an entry.
    static func count(_ name: Int, _ value: Int) -> Int {
        WireWriter.count(
            ofField: WireWriter.count(ofField: name) + WireWriter.count(ofField: value))
    }

    /// Appends an entry; its name in small letters, its value as `raw_value`.
    static func append(
        _ name: Span<UInt8>, _ value: Span<UInt8>, into output: inout OutputSpan<UInt8>
    ) -> Bool {
        let count = WireWriter.count(ofField: name.count) + WireWriter.count(ofField: value.count)
        guard WireWriter.begin(1, count, into: &output),
            WireWriter.begin(1, name.count, into: &output), output.freeCapacity >= name.count
        else { return false }
        for at in 0..<name.count { output.append(ByteScan.lowered(name[at])) }
        return WireWriter.append(3, value, into: &output)
    }

    /// Whether a line is about the connection, which the processor has no part in.
    static func isPassed(_ name: Span<UInt8>) -> Bool {
        !FieldRules.isOfConnection(name) && !ByteScan.equalFolding(name, ByteScan.bytes("host"))
    }

    /// Bytes of the lines of a head.
    static func count(of head: Span<UInt8>) -> Int {
        var lines = HeadText(head)
        var count = 0
        while let line = lines.next(head) {
            if isPassed(head.extracting(line.name)) {
                count += Lines.count(line.name.count, line.value.count)
            }
        }
        return count
    }

    static func append(
        of head: Span<UInt8>, into output: inout OutputSpan<UInt8>
    ) -> Bool {
        var lines = HeadText(head)
        while let line = lines.next(head) {
            let name = head.extracting(line.name)
            if !isPassed(name) { continue }
            if !append(name, head.extracting(line.value), into: &output) { return false }
        }
        return true
    }

    /// Bytes of lines without a start line.
    static func count(_ lines: Span<UInt8>) -> Int {
        var count = 0
        var at = 0
        while let line = bare(lines, &at) {
            count += Lines.count(line.name.count, line.value.count)
        }
        return count
    }

    static func append(_ lines: Span<UInt8>, into output: inout OutputSpan<UInt8>) -> Bool {
        var at = 0
        while let line = bare(lines, &at) {
            if !append(lines.extracting(line.name), lines.extracting(line.value), into: &output) {
                return false
            }
        }
        return true
    }

    private static func bare(
        _ lines: Span<UInt8>, _ at: inout Int
    ) -> (name: Range<Int>, value: Range<Int>)? {
        if at >= lines.count { return nil }
        let end = ByteScan.first(0x0D, lines, from: at, to: lines.count)
        let colon = ByteScan.first(0x3A, lines, from: at, to: end)
        var value = min(colon + 1, end)
        while value < end, lines[value] == 0x20 { value += 1 }
        let line = (at..<colon, value..<end)
        at = min(end + 2, lines.count)
        return line
    }
}

/// The fields of a request: what its first line and Host say, and its other lines.
private struct RequestFields {
    let method: Range<Int>
    let path: Range<Int>
    let host: Range<Int>
    let isSecure: Bool

    init(_ head: Span<UInt8>, isSecure: Bool) {
        self.isSecure = isSecure
        var lines = HeadText(head)
        let end = lines.start.upperBound
        let space = ByteScan.first(0x20, head, from: 0, to: end)
        method = 0..<space
        let from = min(space + 1, end)
        path = from..<ByteScan.first(0x20, head, from: from, to: end)
        var host = 0..<0
        while let line = lines.next(head) {
            if ByteScan.equalFolding(head.extracting(line.name), ByteScan.bytes("host")) {
                host = line.value
                break
            }
        }
        self.host = host
    }

    /// Bytes of all entries.
    func count(_ head: Span<UInt8>) -> Int {
        Lines.count(7, method.count) + Lines.count(5, path.count) + Lines.count(10, host.count)
            + Lines.count(7, isSecure ? 5 : 4) + Lines.count(of: head)
    }

    func append(_ head: Span<UInt8>, into output: inout OutputSpan<UInt8>) -> Bool {
        let scheme = ByteScan.bytes(isSecure ? "https" : "http")
        return Lines.append(ByteScan.bytes(":method"), head.extracting(method), into: &output)
            && Lines.append(ByteScan.bytes(":path"), head.extracting(path), into: &output)
            && Lines.append(ByteScan.bytes(":authority"), head.extracting(host), into: &output)
            && Lines.append(ByteScan.bytes(":scheme"), scheme, into: &output)
            && Lines.append(of: head, into: &output)
    }
}

/// The fields of an answer: its status and its lines.
private struct AnswerFields {
    let status: Range<Int>

    init(_ head: Span<UInt8>) {
        let end = HeadText(head).start.upperBound
        let space = ByteScan.first(0x20, head, from: 0, to: end)
        let from = min(space + 1, end)
        status = from..<min(from + 3, end)
    }

    func count(_ head: Span<UInt8>) -> Int {
        Lines.count(7, status.count) + Lines.count(of: head)
    }

    func append(_ head: Span<UInt8>, into output: inout OutputSpan<UInt8>) -> Bool {
        Lines.append(ByteScan.bytes(":status"), head.extracting(status), into: &output)
            && Lines.append(of: head, into: &output)
    }
}

/// `filter_metadata[filter][name]`, from the inside out.
private struct Metadata: ~Escapable {
    /// What is told.
    enum Matter: BitwiseCopyable {
        /// The endpoints to choose among, as a ListValue.
        case subset
        /// The endpoint that answered, as a text.
        case served

        var filter: StaticString { self == .subset ? "envoy.lb.subset_hint" : "envoy.lb" }

        var name: StaticString {
            self == .subset
                ? "x-gateway-destination-endpoint-subset" : "x-gateway-destination-endpoint-served"
        }

        /// The field of a Value that holds it.
        var field: UInt64 { self == .subset ? 6 : 3 }
    }

    let matter: Matter
    let content: Span<UInt8>
    let value: Int
    let inner: Int
    let fields: Int
    let entry: Int
    /// Bytes of the metadata.
    let count: Int

    @_lifetime(copy content)
    init(_ content: Span<UInt8>, of matter: Matter) {
        self.matter = matter
        self.content = content
        value = WireWriter.count(ofField: content.count)
        inner =
            WireWriter.count(ofField: matter.name.utf8CodeUnitCount)
            + WireWriter.count(ofField: value)
        fields = WireWriter.count(ofField: inner)
        entry =
            WireWriter.count(ofField: matter.filter.utf8CodeUnitCount)
            + WireWriter.count(ofField: fields)
        count = WireWriter.count(ofField: entry)
    }

    func append(into output: inout OutputSpan<UInt8>) -> Bool {
        WireWriter.begin(1, entry, into: &output)
            && WireWriter.append(1, ByteScan.bytes(matter.filter), into: &output)
            && WireWriter.begin(2, fields, into: &output)
            && WireWriter.begin(1, inner, into: &output)
            && WireWriter.append(1, ByteScan.bytes(matter.name), into: &output)
            && WireWriter.begin(2, value, into: &output)
            && WireWriter.append(matter.field, content, into: &output)
    }
}
