// Fuzzes heads of requests and answers: cuts never matter, what is written reads the same.
//
// First byte: 0 bit answer or request, the rest a choice of limits. Second byte: where to cut.
import BasicContainers

@testable import HTTP

private enum Outcome<Head: Equatable>: Equatable {
    case accepted(Head, Int)
    case incomplete
    case refused(Malformed.Reason)
}

/// What must survive being written and read again.
private struct Essence: Equatable {
    var words: [[UInt8]] = []
    var framing = BodyFraming.none
    var port: UInt16?
    var status = 0
    var flags = 0
}

private func copy(_ span: Span<UInt8>) -> [UInt8] {
    var bytes: [UInt8] = []
    for i in span.indices { bytes.append(span[i]) }
    return bytes
}

private func essence(_ head: borrowing RequestHead) -> Essence {
    Essence(
        words: [
            copy(head.span(head.methodText)), copy(head.span(head.target)),
            copy(head.span(head.path)), copy(head.span(head.query)), copy(head.span(head.host)),
        ], framing: head.framing, port: head.hostPort, flags: head.query.isNone ? 1 : 0)
}

private func essence(_ head: borrowing ResponseHead) -> Essence {
    Essence(words: [copy(head.span(head.reason))], framing: head.framing, status: head.status)
}

private func parse(
    _ head: inout RequestHead, _ input: [UInt8], _ cuts: [Int]
) -> Outcome<Essence> {
    var resumeAt = 0
    for end in cuts + [input.count] {
        switch head.parse(input.span.extracting(0..<end), resumeAt: resumeAt) {
        case .complete(let consumed): return .accepted(essence(head), consumed)
        case .incomplete(let scanned): resumeAt = scanned
        case .malformed(let malformed): return .refused(malformed.reason)
        }
    }
    return .incomplete
}

private func parse(
    _ head: inout ResponseHead, _ input: [UInt8], _ method: Method, _ cuts: [Int]
) -> Outcome<Essence> {
    var resumeAt = 0
    for end in cuts + [input.count] {
        let piece = input.span.extracting(0..<end)
        switch head.parse(piece, resumeAt: resumeAt, requestMethod: method) {
        case .complete(let consumed): return .accepted(essence(head), consumed)
        case .incomplete(let scanned): resumeAt = scanned
        case .malformed(let malformed): return .refused(malformed.reason)
        }
    }
    return .incomplete
}

private func write(_ write: (inout OutputSpan<UInt8>) -> Bool) -> [UInt8] {
    var output = RigidArray<UInt8>(capacity: 262_144)
    guard output.edit({ write(&$0) }) else { fatalError("a head did not fit") }
    return copy(output.span)
}

private func checkCanonical(_ output: [UInt8]) {
    for (i, byte) in output.enumerated() {
        switch byte {
        case 0x0A: if i == 0 || output[i - 1] != 0x0D { fatalError("a bare LF was written") }
        case 0x0D: if i + 1 == output.count || output[i + 1] != 0x0A { fatalError("a bare CR") }
        case 0x00...0x08, 0x0B...0x1F, 0x7F: fatalError("a control byte was written")
        default: break
        }
    }
}

private func fuzzRequest(_ input: [UInt8], _ cut: Int, _ limits: HeadLimits) {
    var head = RequestHead(limits: limits)
    let whole = parse(&head, input, [])
    if parse(&head, input, [cut]) != whole { fatalError("a cut mattered") }
    if parse(&head, input, [cut / 2, cut]) != whole { fatalError("two cuts mattered") }
    guard case .accepted(let first, let consumed) = parse(&head, input, []) else { return }
    if consumed > input.count { fatalError("more used than given") }
    let framing = head.framing
    let output = write { HeadWriter.write(request: head, framing: framing, into: &$0) }
    checkCanonical(output)
    var second = RequestHead()
    if first.words[4].isEmpty && head.version == .http10 { return }
    guard case .accepted(let again, output.count) = parse(&second, output, []) else {
        fatalError("what was written is refused")
    }
    if again != first { fatalError("what was written reads differently") }
    // The same after all that a gateway does to a head.
    head.removeConnectionFields()
    let client: [UInt8] = [0x31, 0x2E, 0x32]
    let isTrusted = cut & 1 == 0
    if !Forwarded.apply(to: &head, client: client.span, isSecure: true, isTrusted: isTrusted) {
        return
    }
    let sent = write { HeadWriter.write(request: head, framing: framing, into: &$0) }
    checkCanonical(sent)
    guard case .accepted(let received, sent.count) = parse(&second, sent, []) else {
        fatalError("what was sent is refused")
    }
    if received != first { fatalError("what was sent reads differently") }
    for id in [FieldName.connection, .keepAlive, .upgrade, .te, .trailer, .proxyConnection] {
        if second.value(id) != nil { fatalError("a field of the connection was sent") }
    }
}

private func fuzzResponse(_ input: [UInt8], _ cut: Int, _ limits: HeadLimits, _ method: Method) {
    var head = ResponseHead(limits: limits)
    let whole = parse(&head, input, method, [])
    if parse(&head, input, method, [cut]) != whole { fatalError("a cut mattered") }
    if parse(&head, input, method, [cut / 2, cut]) != whole { fatalError("two cuts mattered") }
    guard case .accepted(let first, _) = parse(&head, input, method, []) else { return }
    head.removeConnectionFields()
    let framing = head.framing
    let output = write {
        HeadWriter.write(
            response: head, to: .http11, framing: framing, closes: cut & 1 == 0, into: &$0)
    }
    checkCanonical(output)
    var second = ResponseHead()
    guard case .accepted(let again, output.count) = parse(&second, output, method, []) else {
        fatalError("what was written is refused")
    }
    if again != first { fatalError("what was written reads differently") }
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
    guard let data, size > 2 else { return 0 }
    let input = Array(UnsafeBufferPointer(start: data + 2, count: size - 2))
    let cut = min(Int(data[1]), input.count)
    let limits =
        data[0] & 2 == 0
        ? HeadLimits()
        : HeadLimits(requestLineBytes: 64, fieldBytes: 48, fieldsBytes: 200, fieldCount: 8)
    if data[0] & 1 == 0 {
        fuzzRequest(input, cut, limits)
    } else {
        fuzzResponse(input, cut, limits, data[0] & 4 == 0 ? .get : .head)
    }
    return 0
}
