// Readers shared by the tests: heads and content as values that can be compared.
import BasicContainers
import Testing

@testable import HTTP

/// Text of one byte per scalar, so that rows can hold any byte as `\u{80}` to `\u{FF}`.
func bytes(_ text: String) -> [UInt8] {
    text.unicodeScalars.map { UInt8(truncatingIfNeeded: $0.value) }
}

func text(_ bytes: Span<UInt8>) -> String {
    var text = ""
    for i in bytes.indices { text.unicodeScalars.append(Unicode.Scalar(bytes[i])) }
    return text
}

func text(_ bytes: [UInt8]) -> String { text(bytes.span) }

/// What a writer wrote, or nil when it did not fit.
func written(
    capacity: Int = 262_144, _ write: (inout OutputSpan<UInt8>) -> Bool
) -> [UInt8]? {
    var output = RigidArray<UInt8>(capacity: capacity)
    if !output.edit({ write(&$0) }) { return nil }
    var copy: [UInt8] = []
    for i in 0..<output.count { copy.append(output[i]) }
    return copy
}

struct Line: Equatable, CustomStringConvertible {
    var name: String
    var value: String
    var isDropped = false
    var description: String { "\(isDropped ? "-" : "")\(name): \(value)" }
}

func lines(_ fields: borrowing FieldSection) -> [Line] {
    var lines: [Line] = []
    for i in 0..<fields.count {
        let line = fields[i]
        lines.append(
            Line(
                name: text(fields.span(line.name)), value: text(fields.span(line.value)),
                isDropped: line.isDropped))
    }
    return lines
}

/// A request head as a value.
struct Request: Equatable {
    var method: Method
    var methodText: String
    var version: Version
    var target: String
    var path: String
    var query: String?
    var authority: String
    var host: String
    var port: UInt16?
    var framing: BodyFraming
    var keepsAlive: Bool
    var expectsContinue: Bool
    var acceptsTrailers: Bool
    var upgrade: Upgrade
    var lines: [Line]
    var written: String

    init(_ head: borrowing RequestHead) {
        method = head.method
        methodText = text(head.span(head.methodText))
        version = head.version
        target = text(head.span(head.target))
        path = text(head.span(head.path))
        query = head.query.isNone ? nil : text(head.span(head.query))
        authority = text(head.span(head.authority))
        host = text(head.span(head.host))
        port = head.hostPort
        framing = head.framing
        keepsAlive = head.keepsAlive
        expectsContinue = head.expectsContinue
        acceptsTrailers = head.acceptsTrailers
        upgrade = head.upgrade
        lines = HTTPTests.lines(head.fields)
        written = text(write(head, head.framing))
    }
}

/// What is written of a head; empty when it did not fit.
func write(_ head: borrowing RequestHead, _ framing: BodyFraming) -> [UInt8] {
    var output = RigidArray<UInt8>(capacity: 262_144)
    if !output.edit({ HeadWriter.write(request: head, framing: framing, into: &$0) }) {
        return []
    }
    var copy: [UInt8] = []
    for i in 0..<output.count { copy.append(output[i]) }
    return copy
}

func write(
    _ head: borrowing ResponseHead, to version: Version = .http11, _ framing: BodyFraming,
    closes: Bool = false
) -> [UInt8] {
    var output = RigidArray<UInt8>(capacity: 262_144)
    let isWritten = output.edit {
        HeadWriter.write(
            response: head, to: version, framing: framing, closes: closes, into: &$0)
    }
    if !isWritten { return [] }
    var copy: [UInt8] = []
    for i in 0..<output.count { copy.append(output[i]) }
    return copy
}

/// A response head as a value.
struct Response: Equatable {
    var status: Int
    var reason: String
    var version: Version
    var framing: BodyFraming
    var keepsAlive: Bool
    var timeout: Int?
    var upgrade: Upgrade
    var lines: [Line]
    var written: String

    init(_ head: borrowing ResponseHead) {
        status = head.status
        reason = text(head.span(head.reason))
        version = head.version
        framing = head.framing
        keepsAlive = head.keepsAlive
        timeout = head.keepAliveTimeoutSeconds
        upgrade = head.upgrade
        lines = HTTPTests.lines(head.fields)
        written = text(write(head, head.framing))
    }
}

/// What became of input that was given to a head parser in some number of pieces.
enum Outcome<Head: Equatable>: Equatable {
    case accepted(Head, consumed: Int)
    case incomplete
    case refused(Malformed.Reason)

    var head: Head? {
        if case .accepted(let head, _) = self { return head }
        return nil
    }

    var reason: Malformed.Reason? {
        if case .refused(let reason) = self { return reason }
        return nil
    }
}

/// Parses `input` whose first `cuts` prefixes come before the whole.
func request(
    _ input: [UInt8], cuts: [Int] = [], limits: HeadLimits = .request
) -> Outcome<Request> {
    var head = RequestHead(limits: limits)
    return request(&head, input, cuts: cuts)
}

func request(
    _ head: inout RequestHead, _ input: [UInt8], cuts: [Int] = []
) -> Outcome<Request> {
    var resumeAt = 0
    for end in cuts + [input.count] {
        switch head.parse(input.span.extracting(0..<end), resumeAt: resumeAt) {
        case .complete(let consumed): return .accepted(Request(head), consumed: consumed)
        case .incomplete(let scanned): resumeAt = scanned
        case .malformed(let malformed): return .refused(malformed.reason)
        }
    }
    return .incomplete
}

func request(_ text: String, limits: HeadLimits = .request) -> Outcome<Request> {
    request(bytes(text), limits: limits)
}

func response(
    _ input: [UInt8], to method: Method = .get, cuts: [Int] = [], limits: HeadLimits = .response
) -> Outcome<Response> {
    var head = ResponseHead(limits: limits)
    return response(&head, input, to: method, cuts: cuts)
}

func response(
    _ head: inout ResponseHead, _ input: [UInt8], to method: Method = .get, cuts: [Int] = []
) -> Outcome<Response> {
    var resumeAt = 0
    for end in cuts + [input.count] {
        let step = head.parse(
            input.span.extracting(0..<end), resumeAt: resumeAt, requestMethod: method)
        switch step {
        case .complete(let consumed): return .accepted(Response(head), consumed: consumed)
        case .incomplete(let scanned): resumeAt = scanned
        case .malformed(let malformed): return .refused(malformed.reason)
        }
    }
    return .incomplete
}

func response(_ text: String, to method: Method = .get) -> Outcome<Response> {
    response(bytes(text), to: method)
}

/// A row of a table: what is sent, and what must become of it.
struct Row<Wanted: Sendable>: Sendable, CustomTestStringConvertible {
    var name: String
    var input: String
    var wanted: Wanted

    init(_ name: String, _ input: String, _ wanted: Wanted) {
        self.name = name
        self.input = input
        self.wanted = wanted
    }

    var testDescription: String { name }
}

/// A small generator with a fixed seed, so that every failure repeats.
struct Seeded {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 | 1 }

    mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state
    }

    mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
}

/// Changes a few bytes of `input`: overwrites, inserts, removes, repeats.
func mutated(_ input: [UInt8], _ random: inout Seeded) -> [UInt8] {
    let spice = bytes(" \t\r\n:;,/\\%?#@*.\0\u{7F}\u{80}\u{FF}0123456789abcdefABCDEF_-[]\"=")
    var output = input
    for _ in 0...random.below(4) {
        let byte =
            random.below(4) == 0 ? UInt8(random.below(256)) : spice[random.below(spice.count)]
        let at = random.below(output.count + 1)
        switch random.below(5) {
        case 0: output.insert(byte, at: at)
        case 1 where at < output.count: output.remove(at: at)
        case 2 where at < output.count:
            let end = min(output.count, at + 1 + random.below(16))
            output.insert(contentsOf: output[at..<end], at: at)
        case 3 where at < output.count:
            output.removeSubrange(at..<min(output.count, at + 1 + random.below(8)))
        case _ where at < output.count: output[at] = byte
        default: output.append(byte)
        }
        if output.isEmpty { output = [byte] }
    }
    return output
}

/// `#expect` for what its macro cannot take apart: noncopyable values, spans and mutations.
func check(
    _ isTrue: Bool, _ comment: Comment? = nil, sourceLocation: SourceLocation = #_sourceLocation
) {
    #expect(isTrue, comment, sourceLocation: sourceLocation)
}
