// Proves that every 16-byte scan finds what a byte loop finds, at every length, place and offset.
import Testing

@testable import HTTP

@Suite struct ByteScanTests {
    /// Scans whose stop depends on one byte.
    enum Scan: CaseIterable, Sendable {
        case control, comma, string, graphic, name

        func run(_ bytes: Span<UInt8>, _ from: Int, _ to: Int) -> Int {
            switch self {
            case .control: ByteScan.firstControl(bytes, from: from, to: to)
            case .comma: ByteScan.first(0x2C, bytes, from: from, to: to)
            case .string: ByteScan.firstOfString(bytes, from: from, to: to)
            case .graphic: ByteScan.graphicEnd(bytes, from: from, to: to)
            case .name: ByteScan.plainNameEnd(bytes, from: from, to: to)
            }
        }

        func stops(at byte: UInt8) -> Bool {
            switch self {
            case .control: (byte < 0x20 && byte != 0x09) || byte == 0x7F
            case .comma: byte == 0x2C
            case .string: byte < 0x20 || byte == 0x22 || byte == 0x5C
            case .graphic: byte < 0x21 || byte > 0x7E
            case .name:
                byte != 0x2D && !(0x30...0x39).contains(byte) && !(0x41...0x5A).contains(byte)
                    && !(0x61...0x7A).contains(byte)
            }
        }
    }

    @Test(arguments: Scan.allCases) func `a scan stops at every byte it must and no other`(
        _ scan: Scan
    ) {
        for byte in UInt8.min...UInt8.max {
            for count in [1, 15, 16, 17, 31, 33] {
                for place in 0..<count {
                    var input = [UInt8](repeating: 0x61, count: count)
                    input[place] = byte
                    let wanted = scan.stops(at: byte) ? place : count
                    if scan.run(input.span, 0, count) != wanted {
                        Issue.record("\(byte) at \(place) of \(count)")
                    }
                }
            }
        }
    }

    @Test(arguments: Scan.allCases) func `a scan keeps to its range`(_ scan: Scan) {
        var random = Seeded(10)
        for _ in 0..<20_000 {
            let count = random.below(70)
            let input = (0..<count).map { _ in
                random.below(12) == 0 ? UInt8(random.below(256)) : UInt8(0x61 + random.below(26))
            }
            let from = random.below(count + 1)
            let to = from + random.below(count - from + 1)
            let wanted = (from..<to).first { scan.stops(at: input[$0]) } ?? to
            if scan.run(input.span, from, to) != wanted {
                Issue.record("\(from)..<\(to) of \(input)")
            }
        }
    }

    @Test func `a plain path ends where normalisation or its end begins`() {
        var random = Seeded(20)
        let letters = bytes("/./aab%?#\\ \u{7F}\u{80}z0-")
        let special = Set(bytes("%?#\\"))
        for _ in 0..<30_000 {
            let count = random.below(60)
            let input = (0..<count).map { _ in
                random.below(5) == 0 ? letters[random.below(letters.count)] : UInt8(0x61)
            }
            let wanted =
                (0..<count).first { i in
                    let byte = input[i]
                    if byte < 0x21 || byte > 0x7E || special.contains(byte) { return true }
                    return byte == 0x2F && i + 1 < count
                        && (input[i + 1] == 0x2F || input[i + 1] == 0x2E)
                } ?? count
            #expect(ByteScan.plainPathEnd(input.span, from: 0, to: count) == wanted)
        }
    }

    @Test func `a plain host ends at the first byte that is none, and capitals are seen`() {
        var random = Seeded(21)
        let letters = bytes("..Aa-_0:/[ ")
        let allowed = Set(
            bytes("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."))
        for _ in 0..<30_000 {
            let count = 1 + random.below(60)
            let input = (0..<count).map { _ in
                random.below(6) == 0 ? letters[random.below(letters.count)] : UInt8(0x61)
            }
            let to = random.below(count + 1)
            let wanted =
                (0..<to).first { i in
                    !allowed.contains(input[i])
                        || (input[i] == 0x2E && i + 1 < count && input[i + 1] == 0x2E)
                } ?? to
            var capitals = false
            let end = ByteScan.plainHostEnd(input.span, from: 0, to: to, capitals: &capitals)
            #expect(end == wanted)
            #expect(capitals == input[..<wanted].contains { (0x41...0x5A).contains($0) })
        }
    }

    @Test func `appending copies all or nothing`() {
        for capacity in 0...4 {
            let output = written(capacity: capacity) { ByteScan.append(bytes("abc").span, to: &$0) }
            #expect(output == (capacity < 3 ? nil : bytes("abc")))
            let literal = written(capacity: capacity) { ByteScan.append("abc", to: &$0) }
            #expect(literal == output)
        }
        #expect(written(capacity: 0) { ByteScan.append([UInt8]().span, to: &$0) } == [])
    }

    @Test func `a literal gives its bytes`() {
        check(text(ByteScan.bytes("abc")) == "abc")
        check(text(ByteScan.bytes("a")) == "a")
        check(ByteScan.bytes("").isEmpty)
        check(ByteScan.equal(ByteScan.bytes("x-y"), bytes("x-y").span))
        check(!ByteScan.equal(ByteScan.bytes("x-y"), bytes("x-yz").span))
        check(ByteScan.equalFolding(bytes("X-y").span, ByteScan.bytes("x-y")))
        check(!ByteScan.equalFolding(bytes("X_y").span, ByteScan.bytes("x-y")))
        check(!ByteScan.equalFolding(bytes("@").span, ByteScan.bytes("`")))
    }
}
