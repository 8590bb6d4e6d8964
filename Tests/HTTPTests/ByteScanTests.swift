// Proves that every 16-byte scan finds what a byte loop finds, at every length, place and offset.
import BasicContainers
import Testing

@testable import HTTP

@Suite struct ByteScanTests {
    /// Scans whose stop depends on one byte.
    enum Scan: CaseIterable, Sendable {
        case control, comma, string, text, graphic, name

        func run(_ bytes: Span<UInt8>, _ from: Int, _ to: Int) -> Int {
            switch self {
            case .control: ByteScan.firstControl(bytes, from: from, to: to)
            case .comma: ByteScan.first(0x2C, bytes, from: from, to: to)
            case .string: ByteScan.firstOfString(bytes, from: from, to: to)
            case .text: ByteScan.firstOfText(bytes, from: from, to: to)
            case .graphic: ByteScan.graphicEnd(bytes, from: from, to: to)
            case .name: ByteScan.plainNameEnd(bytes, from: from, to: to)
            }
        }

        func stops(at byte: UInt8) -> Bool {
            switch self {
            case .control: (byte < 0x20 && byte != 0x09) || byte == 0x7F
            case .comma: byte == 0x2C
            case .string: byte < 0x20 || byte == 0x22 || byte == 0x5C
            case .text: byte < 0x20 || byte == 0x22 || byte == 0x5C || byte > 0x7F
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
            for count in [1, 15, 16, 17, 31, 33, 97, 113] {
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

    @Test func `text with usual escapes is passed over up to what is no such text`() {
        var random = Seeded(22)
        let letters = bytes(#"\\\""nrt/bu0"#) + [0x01, 0xC3, 0x7F]
        var passed = 0
        for round in 0..<60_000 {
            let count = random.below(90)
            let share = 2 + round % 20
            let input = (0..<count).map { _ in
                random.below(share) == 0 ? letters[random.below(letters.count)] : UInt8(0x61)
            }
            let from = random.below(count + 1)
            let end = ByteScan.passEscapedText(input.span, from: from)
            // All that it passes over is usual, and it stops at nothing that is but near the end or where escapes are rare.
            let (unusual, isWithin) = Self.usualTextEnd(input, from)
            let isRight =
                end == unusual
                || (end < unusual && isWithin.contains(end)
                    && (count - end < 17 || !input[end..<min(unusual, end)].contains(0x5C)))
            if !isRight { Issue.record("\(end) instead of \(unusual) from \(from) of \(input)") }
            passed += end - from
        }
        // That it goes on at all.
        #expect(passed > 400_000)
    }

    /// Where text with usual escapes ends, and all offsets before at which no escape is cut.
    private static func usualTextEnd(_ input: [UInt8], _ from: Int) -> (Int, Set<Int>) {
        let usual = Set(bytes(#"\"nrt/"#))
        var (at, whole) = (from, Set<Int>())
        while at < input.count {
            whole.insert(at)
            if input[at] == 0x5C {
                if at + 1 == input.count || !usual.contains(input[at + 1]) { break }
                at += 2
            } else if Scan.text.stops(at: input[at]) {
                break
            } else {
                at += 1
            }
        }
        whole.insert(at)
        return (at, whole)
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

    /// Bytes that all differ from their neighbours, and from those of another seed.
    private func pattern(_ count: Int, _ seed: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ seed) }
    }

    /// What is appended to `before` where exactly `room` bytes are free; nil when it does not fit.
    private func appended(
        _ before: [UInt8], room: Int, _ append: (inout OutputSpan<UInt8>) -> Bool
    ) -> [UInt8]? {
        written(capacity: before.count + room) { output in
            for byte in before { output.append(byte) }
            let isAppended = append(&output)
            if !isAppended { #expect(output.count == before.count) }
            return isAppended
        }
    }

    @Test func `a copy of any length is whole, in the tightest room, and leaves its neighbours`() {
        for count in Array(0...300) + [4_095, 4_096, 4_097] {
            let input = pattern(count, 3)
            for before in [0, 1, 7, 16, 33] {
                let start = pattern(before, 90)
                #expect(
                    appended(start, room: count) { ByteScan.append(input.span, to: &$0) }
                        == start + input, "\(count)")
                #expect(
                    appended(start, room: count + 2) {
                        ByteScan.append(input.span, "\r\n", to: &$0)
                    } == start + input + bytes("\r\n"), "\(count)")
                if count == 0 { continue }
                #expect(
                    appended(start, room: count - 1) { ByteScan.append(input.span, to: &$0) }
                        == nil)
                #expect(
                    appended(start, room: count + 1) {
                        ByteScan.append(input.span, "\r\n", to: &$0)
                    } == nil)
            }
        }
    }

    @Test func `copies in a group lie one behind the other`() {
        var random = Seeded(22)
        for first in 0...80 {
            for second in [0, 1, 5, 15, 16, 17, 64, 65, 128, 129, first] {
                let third = random.below(80)
                let (a, b, c) = (pattern(first, 1), pattern(second, 2), pattern(third, 3))
                let four = a + b + c + b
                for (room, fits) in [(0, true), (-1, false)] {
                    if four.isEmpty { continue }
                    #expect(
                        appended([9], room: four.count + room) {
                            ByteScan.append(
                                a.span, b.span, c.span, b.span, to: &$0)
                        } == (fits ? [9] + four : nil))
                }
            }
        }
    }

    @Test func `parts of a head and lines lie one behind the other, all or nothing`() {
        var head = HeadStorage<UInt8>(capacity: 700)
        var lines = HeadStorage<UInt8>(capacity: 700)
        for i in 0..<700 {
            head.append(UInt8(truncatingIfNeeded: i &* 7))
            lines.append(UInt8(truncatingIfNeeded: i &* 11 &+ 3))
        }
        let counts = [
            1, 8, 15, 16, 17, 63, 64, 65, 127, 128, 129, 191, 192, 193, 255, 256, 257, 600,
        ]
        for count in counts {
            for hostCount in [0, 1, 7, 8, 9, 15, 16, 17, 40] {
                let added = ByteRange(start: 5, count: UInt32(count))
                let host = ByteRange(start: 9, count: UInt32(hostCount))
                var wanted: [UInt8] = []
                for i in 0..<count { wanted.append(head[i]) }
                for i in 5..<(5 + count) { wanted.append(lines[i]) }
                wanted += bytes("x: ")
                for i in 9..<(9 + hostCount) { wanted.append(head[i]) }
                wanted += bytes("\r\n\r\n")
                for room in [wanted.count - 1, wanted.count, wanted.count + 9] {
                    var output = RigidArray<UInt8>(capacity: room)
                    let fits = output.edit {
                        ByteScan.append(
                            head, upTo: UInt32(count), lines, added, "x: ", host, to: &$0)
                    }
                    check(fits == (room >= wanted.count))
                    check(text(output.span) == (fits ? text(wanted) : ""))
                }
            }
        }
    }

    @Test func `a word's first bytes are appended`() {
        let word: UInt64 = 0x0807_0605_0403_0201
        for count in 0...8 {
            #expect(
                appended([9], room: count) {
                    ByteScan.append(word: word, count: count, to: &$0)
                } == [9] + (0..<count).map { UInt8($0 + 1) })
            if count == 0 { continue }
            #expect(
                appended([9], room: count - 1) {
                    ByteScan.append(word: word, count: count, to: &$0)
                } == nil)
        }
    }

    @Test func `the output's own bytes are copied behind it`() {
        for count in 0...80 {
            let before = pattern(100, 5)
            let wanted = before + before[10..<(10 + count)] + bytes(", ")
            #expect(
                appended(before, room: count + 2) {
                    ByteScan.appendOwn(10..<(10 + count), then: ", ", to: &$0)
                } == wanted)
            #expect(
                appended(before, room: count + 1) {
                    ByteScan.appendOwn(10..<(10 + count), then: ", ", to: &$0)
                } == nil)
        }
        #expect(appended([1], room: 9) { ByteScan.appendOwn(0..<2, to: &$0) } == nil)
    }

    @Test func `hexadecimal digits are those of the standard library`() {
        var random = Seeded(23)
        for i in 0..<20_000 {
            let number = random.next() >> UInt64(i % 64)
            let digits = ByteScan.hexDigits(number)
            let output =
                written {
                    ByteScan.append(word: digits.high, count: 8, to: &$0)
                        && ByteScan.append(word: digits.low, count: 8, to: &$0)
                } ?? []
            let plain = String(number, radix: 16)
            #expect(text(output) == String(repeating: "0", count: 16 - plain.count) + plain)
            #expect(text(written { HeadWriter.append(hex: number, into: &$0) } ?? []) == plain)
        }
    }

    @Test func `a part of a span is what it says`() {
        let input = pattern(20, 0)
        for from in 0...20 {
            for to in from...20 {
                let part = ByteScan.part(input.span, UInt32(from), UInt32(to))
                check(text(part) == text(Array(input[from..<to])))
            }
        }
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

    @Test func `only capital letters are folded, in every place of a word`() {
        for byte in UInt8.min...UInt8.max {
            for place in 0..<8 as Range<UInt64> {
                // The neighbours are such that a carry would show.
                for rest: UInt64 in [0, 0x4141_4141_4141_4141, 0x7F7F_7F7F_7F7F_7F7F, .max] {
                    let mask = (0xFF as UInt64) << (place * 8)
                    let word = rest & ~mask | UInt64(byte) << (place * 8)
                    let folded = UInt8(truncatingIfNeeded: ByteScan.lowered(word) >> (place * 8))
                    let expected = (0x41...0x5A).contains(byte) ? byte + 0x20 : byte
                    #expect(folded == expected)
                }
            }
        }
    }

    @Test func `texts of every length are compared to the last byte`() {
        for count in 0...40 {
            let text = [UInt8](repeating: 0x61, count: count)
            check(ByteScan.equal(text.span, text.span))
            for place in 0..<count {
                for byte: UInt8 in [0x41, 0x62, 0xC1, 0xE1, 0x21] {
                    var other = text
                    other[place] = byte
                    check(!ByteScan.equal(text.span, other.span))
                    check(ByteScan.equalFolding(other.span, text.span) == (byte == 0x41))
                }
            }
        }
    }
}
