// Fuzzes paths, authorities, targets and stream ends: one stable form, and cuts never matter.
//
// First byte: which of them. Second byte: where to cut.
import BasicContainers

@testable import HTTP

private func copy(_ span: Span<UInt8>) -> [UInt8] {
    var bytes: [UInt8] = []
    for i in span.indices { bytes.append(span[i]) }
    return bytes
}

private func normalised(_ path: [UInt8]) -> [UInt8]? {
    var output = RigidArray<UInt8>(capacity: path.count)
    if PathNormaliser.append(path.span, to: &output) != nil { return nil }
    return copy(output.span)
}

private func fuzzPath(_ rest: [UInt8]) {
    let path = [0x2F] + rest
    guard let normal = normalised(path) else { return }
    if normal.count > path.count || normal.first != 0x2F { fatalError("no path came out") }
    if normalised(normal) != normal { fatalError("the form is not stable") }
    // Also where a backend decodes separators, no dot segment may appear.
    var decoded: [UInt8] = []
    var i = 0
    while i < normal.count {
        if normal[i] == 0x25 {
            let escape = String(decoding: normal[(i + 1)...(i + 2)], as: UTF8.self).lowercased()
            decoded.append(escape == "2f" || escape == "5c" ? 0x2F : 0x61)
            i += 3
        } else {
            decoded.append(normal[i])
            i += 1
        }
    }
    for segment in decoded.split(separator: 0x2F) {
        if segment == [0x2E] || segment == [0x2E, 0x2E] { fatalError("a dot segment is left") }
    }
}

private func fuzzAuthority(_ input: [UInt8]) {
    guard let parts = Authority.parse(input.span) else {
        let padded = input + [UInt8](repeating: 0x0D, count: 40)
        if Authority.parse(padded.span, 0..<input.count) != nil { fatalError("padding mattered") }
        return
    }
    if parts.host.isEmpty || parts.host.upperBound > input.count { fatalError("no host") }
    let lower = input.map { ByteScan.lowered($0) }
    guard let again = Authority.parse(Array(lower[parts.host]).span) else {
        fatalError("the host is no authority")
    }
    if again.hasCapitals || again.port != nil || again.host.count != parts.host.count {
        fatalError("the host reads differently")
    }
    let padded = input + [UInt8](repeating: 0x41, count: 40)
    if Authority.parse(padded.span, 0..<input.count) != parts { fatalError("padding mattered") }
}

private func fuzzTarget(_ target: [UInt8]) {
    let line = Array("GET ".utf8) + target + Array(" HTTP/1.1\r\nHost: b\r\n\r\n".utf8)
    var head = RequestHead()
    guard case .complete = head.parse(line.span) else { return }
    let path = copy(head.span(head.path))
    if normalised(path) != path { fatalError("the path is not normal") }
}

private func fuzzStreamEnd(_ input: [UInt8], _ cut: Int) {
    var whole = StreamEndScanner()
    whole.scan(input.span)
    var pieces = StreamEndScanner()
    pieces.scan(input.span.extracting(0..<cut))
    pieces.scan(input.span.extracting(cut...))
    if whole.hasEnded != pieces.hasEnded { fatalError("a cut mattered") }
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
    guard let data, size > 2 else { return 0 }
    let input = Array(UnsafeBufferPointer(start: data + 2, count: size - 2))
    switch data[0] & 3 {
    case 0: fuzzPath(input)
    case 1: fuzzAuthority(input)
    case 2: fuzzTarget(input)
    default: fuzzStreamEnd(input, min(Int(data[1]), input.count))
    }
    return 0
}
