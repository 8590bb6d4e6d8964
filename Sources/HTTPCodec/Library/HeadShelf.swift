import BasicContainers
import CNGHTTP2
import HTTP
import Kernel

/// The fields of heads that were given and are to be framed, as the library wants them: pseudo-fields
/// first, names in small letters, without what belongs to a connection of HTTP/1.1.
///
/// The heads of all streams stand on one shelf, which is cleared once their frames have left. So a
/// stream has no memory for its head, and the library need not copy one.
@safe struct HeadShelf: ~Copyable {
    /// Where a head stands; without fields it is none.
    struct Head: BitwiseCopyable {
        fileprivate(set) var start: UInt32 = 0
        fileprivate(set) var fieldCount: UInt32 = 0

        var isNone: Bool { fieldCount == 0 }
    }

    /// For each field two lengths, the name and the value.
    private var bytes = Buffer()
    /// Memory that was too small, from which the library may still read.
    private var outgrown = UniqueArray<Buffer>()
    /// The library has addresses of what stands here.
    private var isLent = false

    /// Bytes in front of a name: its length, of which one bit says that the field is sensitive, and
    /// that of the value.
    private static var lengthBytes: Int { 8 }
    private static var sensitive: UInt32 { 1 << 31 }
    /// Heads of a thousand streams with 64 KiB each.
    private static var bytesMax: Int { 1 << 26 }
    /// Bytes behind a field that a copy of whole words may write to.
    private static var slackBytes: Int { 16 }

    // MARK: - Putting

    /// Begins a head at the end of the shelf.
    func begin() -> Head { Head(start: UInt32(truncatingIfNeeded: bytes.count), fieldCount: 0) }

    /// Bytes of the fields of the head that was put last.
    func bytes(of head: Head) -> Int {
        bytes.count &- Int(head.start) &- Self.lengthBytes &* Int(head.fieldCount)
    }

    /// Adds a field to the head that was begun last; false, and nothing, without memory.
    mutating func append(
        _ name: Span<UInt8>, _ value: Span<UInt8>, isSensitive: Bool, to head: inout Head,
        _ pool: inout BufferPool
    ) -> Bool {
        let count = Self.lengthBytes + name.count + value.count
        if !makeRoom(count + Self.slackBytes, &pool) { return false }
        bytes.withFree { output in
            Self.put(name, value, isSensitive: isSensitive, &output)
        }
        head.fieldCount &+= 1
        return true
    }

    /// Puts an answer's head, whose lines are ranges of `text`; nil without memory.
    ///
    /// Its lines are in at most `headBytes`, and framed as `HeadWriter` would frame it.
    mutating func put(
        _ answer: borrowing ResponseHead, _ text: Span<UInt8>, headBytes: Int,
        framing: BodyFraming, _ pool: inout BufferPool
    ) -> Head? {
        var head = begin()
        // A line has its name and value and three bytes or more.
        let room = headBytes + Self.lengthBytes * (answer.fields.count + 2) + 64
        if !makeRoom(room + Self.slackBytes, &pool) { return nil }
        var omitted = Self.ofConnection
        let hasLength = answer.status >= 200 && answer.status != 204
        let keepsLength = answer.says(framing) && hasLength
        if !keepsLength { omitted.insert(FieldNames(.contentLength)) }
        bytes.withFree { output in
            var status = UInt64(truncatingIfNeeded: answer.status)
            status = (status / 100) | (status / 10 % 10) &<< 8 | (status % 10) &<< 16 | 0x303030
            Self.put(":status", word: status, count: 3, &output)
            head.fieldCount = 1
            for index in 0..<answer.fields.count {
                let line = answer.fields[index]
                if line.isDropped || omitted.contains(line.id) { continue }
                Self.put(
                    text, line.name, line.value,
                    isSensitive: Self.sensitiveNames.contains(line.id), &output)
                head.fieldCount &+= 1
            }
            if !keepsLength, hasLength, case .length(let count) = framing {
                var digits = InlineArray<20, UInt8>(repeating: 0)
                let start = Self.decimal(count, &digits)
                Self.put(
                    ByteScan.bytes("content-length"), digits.span.extracting(start..<20),
                    isSensitive: false, &output)
                head.fieldCount &+= 1
            }
        }
        return head
    }

    /// Puts a head whose fields come out of a text; nil without memory.
    mutating func put(
        _ fields: inout OutgoingFields, of said: borrowing OutgoingHead, _ text: Span<UInt8>,
        _ pool: inout BufferPool
    ) -> Head? {
        var head = begin()
        while let field = fields.next(text, of: said) {
            let name = Self.part(field.name, text)
            let value = Self.part(field.value, text)
            if !append(name, value, isSensitive: field.isSensitive, to: &head, &pool) { return nil }
        }
        return head
    }

    @_lifetime(copy text)
    private static func part(_ part: OutgoingFields.Part, _ text: Span<UInt8>) -> Span<UInt8> {
        switch part {
        case .literal(let literal): ByteScan.bytes(literal)
        case .text(let range): text.extracting(range.range)
        }
    }

    /// Writes a number to the end of the digits; the result is where it begins.
    private static func decimal(_ number: UInt64, _ digits: inout InlineArray<20, UInt8>) -> Int {
        var left = number
        var at = 20
        repeat {
            at -= 1
            digits[at] = 0x30 + UInt8(truncatingIfNeeded: left % 10)
            left /= 10
        } while left > 0
        return at
    }

    /// Names of lines that an answer has for its connection of HTTP/1.1 alone.
    @inline(__always)
    private static var ofConnection: FieldNames {
        FieldNames(
            rawValue: FieldNames(.connection).rawValue | FieldNames(.keepAlive).rawValue
                | FieldNames(.proxyConnection).rawValue | FieldNames(.transferEncoding).rawValue
                | FieldNames(.upgrade).rawValue | FieldNames(.http2Settings).rawValue
                | FieldNames(.te).rawValue)
    }

    /// Names of fields that are never put into a table, where they could be guessed (RFC 7541 §7.1).
    @inline(__always)
    static var sensitiveNames: FieldNames {
        FieldNames(
            rawValue: FieldNames(.authorization).rawValue
                | FieldNames(.proxyAuthorization).rawValue | FieldNames(.cookie).rawValue
                | FieldNames(.setCookie).rawValue | FieldNames(.xAPIKey).rawValue)
    }

    // MARK: - Room

    private mutating func makeRoom(_ count: Int, _ pool: inout BufferPool) -> Bool {
        bytes.freeCapacity >= count || grow(count, &pool)
    }

    @inline(never)
    private mutating func grow(_ count: Int, _ pool: inout BufferPool) -> Bool {
        let wanted = max(bytes.count + count, 2 * bytes.capacity)
        if wanted > Self.bytesMax { return false }
        guard var larger = pool.take(capacity: wanted) else { return false }
        _ = larger.append(bytes.span)
        swap(&larger, &bytes)
        if isLent {
            outgrown.append(larger)
        } else {
            pool.give(larger)
        }
        return true
    }

    /// Nothing that stands here is needed any more.
    mutating func clear(_ pool: inout BufferPool) {
        isLent = false
        pool.give(bytes.takeOut())
        while let old = outgrown.popLast() { pool.give(old) }
    }

    var isEmpty: Bool { bytes.isEmpty && outgrown.isEmpty }

    // MARK: - Lending

    /// Fills a list with a head's fields; `isLent`: the library keeps the addresses until `clear`.
    mutating func list(
        _ head: Head, isLent: Bool, into list: UnsafeMutableBufferPointer<nghttp2_nv>
    ) {
        precondition(list.count >= Int(head.fieldCount), "A head's list has room for its fields.")
        if isLent { self.isLent = true }
        let lent = NGHTTP2_NV_FLAG_NO_COPY_NAME.rawValue | NGHTTP2_NV_FLAG_NO_COPY_VALUE.rawValue
        let flags = UInt8(truncatingIfNeeded: isLent ? lent : 0)
        // Sound: a head's fields stand one behind the other from its start on, with the lengths that
        // `put` wrote; the library writes to none although its type would allow it.
        unsafe bytes.span.withUnsafeBytes { source in
            guard let base = source.baseAddress, let first = list.baseAddress else { return }
            var at = Int(head.start)
            for index in 0..<Int(head.fieldCount) {
                let name = unsafe base.loadUnaligned(fromByteOffset: at, as: UInt32.self)
                let value = unsafe base.loadUnaligned(fromByteOffset: at &+ 4, as: UInt32.self)
                let nameCount = Int(name & ~Self.sensitive)
                let start = unsafe UnsafeMutablePointer(
                    mutating: (base + at + Self.lengthBytes).assumingMemoryBound(to: UInt8.self))
                let hidden = UInt8(truncatingIfNeeded: name &>> 31)
                // Sound: there is room, checked above.
                unsafe (first + index).initialize(
                    to: nghttp2_nv(
                        name: start, value: start + nameCount, namelen: nameCount,
                        valuelen: Int(value), flags: flags | hidden))
                at = at &+ Self.lengthBytes &+ nameCount &+ Int(value)
            }
        }
    }

    // MARK: - Writing

    /// Writes one field, for which there is room, and some to spare.
    private static func put(
        _ name: Span<UInt8>, _ value: Span<UInt8>, isSensitive: Bool,
        _ output: inout OutputSpan<UInt8>
    ) {
        let count = lengthBytes &+ name.count &+ value.count
        precondition(output.freeCapacity >= count, "A field has its room.")
        // Sound: as many bytes are free, just checked; spans and an exclusive output never overlap.
        unsafe output.withUnsafeMutableBufferPointer { target, used in
            guard let base = target.baseAddress else { return }
            let to = unsafe base + used
            unsafe lengths(name.count, value.count, isSensitive: isSensitive, to)
            for index in name.indices {
                unsafe (to + lengthBytes + index).initialize(to: ByteScan.lowered(name[index]))
            }
            unsafe value.withUnsafeBufferPointer { value in
                guard let from = value.baseAddress else { return }
                // Sound: as above.
                unsafe (to + lengthBytes + name.count).initialize(from: from, count: value.count)
            }
            used &+= count
        }
    }

    /// Writes a field of a literal and the first bytes of a word, likewise.
    private static func put(
        _ name: StaticString, word: UInt64, count: Int, _ output: inout OutputSpan<UInt8>
    ) {
        let nameCount = name.utf8CodeUnitCount
        precondition(output.freeCapacity >= lengthBytes &+ nameCount &+ 8, "A field has its room.")
        // Sound: as above; a literal that is given here has a pointer.
        unsafe output.withUnsafeMutableBufferPointer { target, used in
            guard let base = target.baseAddress else { return }
            let to = unsafe base + used
            unsafe lengths(nameCount, count, isSensitive: false, to)
            unsafe (to + lengthBytes).initialize(from: name.utf8Start, count: nameCount)
            unsafe UnsafeMutableRawPointer(to + lengthBytes + nameCount).storeBytes(
                of: word.littleEndian, as: UInt64.self)
            used &+= lengthBytes &+ nameCount &+ count
        }
    }

    /// Writes a field whose name and value are ranges of a text, likewise.
    ///
    /// Where the text goes on behind them they are copied as whole words.
    @inline(__always)
    private static func put(
        _ text: Span<UInt8>, _ name: ByteRange, _ value: ByteRange, isSensitive: Bool,
        _ output: inout OutputSpan<UInt8>
    ) {
        let nameCount = Int(name.count)
        let valueCount = Int(value.count)
        let nameStart = Int(name.start)
        let valueStart = Int(value.start)
        let count = lengthBytes &+ nameCount &+ valueCount
        if _slowPath(
            nameCount > 32 || valueCount > 64 || nameStart &+ 32 > text.count
                || valueStart &+ 64 > text.count || output.freeCapacity < count &+ 64)
        {
            return put(
                text.extracting(name.range), text.extracting(value.range),
                isSensitive: isSensitive, &output)
        }
        // Sound: words up to 32 and 64 bytes from where the parts begin are in the text and, behind
        // the lengths and the name, in the free part of the output, all just checked. What of them
        // lies behind the field is no part of it.
        unsafe text.withUnsafeBytes { source in
            unsafe output.withUnsafeMutableBufferPointer { target, used in
                guard let from = source.baseAddress, let base = target.baseAddress else { return }
                let to = unsafe base + used
                unsafe lengths(nameCount, valueCount, isSensitive: isSensitive, to)
                var at = 0
                repeat {
                    let word = unsafe from.loadUnaligned(
                        fromByteOffset: nameStart &+ at, as: UInt64.self)
                    unsafe UnsafeMutableRawPointer(to + lengthBytes + at).storeBytes(
                        of: lowered(word), as: UInt64.self)
                    at &+= 8
                } while at < nameCount
                at = 0
                repeat {
                    let words = unsafe from.loadUnaligned(
                        fromByteOffset: valueStart &+ at, as: SIMD2<UInt64>.self)
                    unsafe UnsafeMutableRawPointer(to + lengthBytes + nameCount + at).storeBytes(
                        of: words, as: SIMD2<UInt64>.self)
                    at &+= 16
                } while at < valueCount
                used &+= count
            }
        }
    }

    @inline(__always)
    private static func lengths(
        _ name: Int, _ value: Int, isSensitive: Bool, _ to: UnsafeMutablePointer<UInt8>
    ) {
        let first = UInt32(truncatingIfNeeded: name) | (isSensitive ? sensitive : 0)
        // Sound: the callers have eight bytes of room and more.
        unsafe UnsafeMutableRawPointer(to).storeBytes(of: first, as: UInt32.self)
        unsafe UnsafeMutableRawPointer(to).storeBytes(
            of: UInt32(truncatingIfNeeded: value), toByteOffset: 4, as: UInt32.self)
    }

    /// The eight bytes with small letters for ASCII capitals.
    @inline(__always)
    private static func lowered(_ word: UInt64) -> UInt64 {
        let low = word & 0x7F7F_7F7F_7F7F_7F7F
        // The highest bit of each byte: from A on, and behind Z; no carry passes a byte.
        let fromA = low &+ 0x3F3F_3F3F_3F3F_3F3F
        let behindZ = low &+ 0x2525_2525_2525_2525
        let capitals = fromA & ~behindZ & ~word & 0x8080_8080_8080_8080
        return word | capitals &>> 2
    }
}
