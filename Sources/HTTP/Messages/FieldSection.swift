/// One field line of a head, as ranges of the bytes that the head owns.
public struct FieldLine: BitwiseCopyable, Sendable {
    /// What a writer asks of a line, as bits, so that it asks once.
    @usableFromInline
    struct Traits: OptionSet, BitwiseCopyable, Sendable {
        @usableFromInline let rawValue: UInt8
        @inlinable init(rawValue: UInt8) { self.rawValue = rawValue }
        // The bits 1 to 4 follow from the name: one for each of the names with these numbers.

        /// The line is not forwarded.
        @inlinable static var dropped: Traits { Traits(rawValue: 1) }
        @inlinable static var host: Traits { Traits(rawValue: 2) }
        /// The line says how content ends, by one of two names; no line has both bits.
        @inlinable static var framing: Traits { Traits(rawValue: 12) }
        @inlinable static var connection: Traits { Traits(rawValue: 16) }
        /// The line is not exactly `name: value` CRLF and must be written anew.
        @inlinable static var unusual: Traits { Traits(rawValue: 32) }

        /// The bits that follow from the names of lines.
        @inline(__always)
        init(of names: FieldNames) {
            // `host`, `contentLength`, `transferEncoding` and `connection` are 1 to 4.
            rawValue = UInt8(truncatingIfNeeded: names.rawValue) & 0x1E
        }
    }

    // Offsets and no counts, as a parser finds them.

    /// Offset of the name, with which the line begins.
    @usableFromInline let start: UInt32
    @usableFromInline let nameEnd: UInt32
    @usableFromInline let valueStart: UInt32
    @usableFromInline let valueEnd: UInt32
    /// Offset after the line end; the line starts where its name starts.
    public let lineEnd: UInt32
    /// The name, if the gateway knows it.
    public let id: FieldName
    @usableFromInline var traits: Traits

    @inline(__always)
    init(
        name: ByteRange, value: ByteRange, lineEnd: Int, id: FieldName, isDropped: Bool,
        isCanonical: Bool
    ) {
        start = name.start
        nameEnd = name.start &+ name.count
        valueStart = value.start
        valueEnd = value.start &+ value.count
        self.lineEnd = UInt32(truncatingIfNeeded: lineEnd)
        self.id = id
        traits = Traits(of: FieldNames(id))
        if isDropped { traits.insert(.dropped) }
        if !isCanonical { traits.insert(.unusual) }
    }

    /// Makes a line that is exactly `name: value` CRLF from offsets below 2^32; `traits` follow
    /// from the name.
    @inline(__always)
    init(_ id: FieldName, _ traits: Traits, start: Int, colon: Int, control: Int) {
        self.start = UInt32(truncatingIfNeeded: start)
        nameEnd = UInt32(truncatingIfNeeded: colon)
        valueStart = UInt32(truncatingIfNeeded: colon &+ 2)
        valueEnd = UInt32(truncatingIfNeeded: control)
        lineEnd = UInt32(truncatingIfNeeded: control &+ 2)
        self.id = id
        self.traits = traits
    }

    /// The name as it was sent.
    @inlinable public var name: ByteRange { ByteRange(start: start, count: nameEnd &- start) }

    /// The value without white space around it.
    @inlinable public var value: ByteRange {
        ByteRange(start: valueStart, count: valueEnd &- valueStart)
    }

    /// Whether the line is not forwarded.
    @inlinable public var isDropped: Bool {
        get { traits.contains(.dropped) }
        set { if newValue { traits.insert(.dropped) } else { traits.remove(.dropped) } }
    }

    /// Whether the line is exactly `name: value` CRLF, so that it may be copied as it stands.
    @inlinable public var isCanonical: Bool { !traits.contains(.unusual) }
}

extension FieldName {
    /// Whether the field says how content ends.
    @inline(__always)
    var isFraming: Bool { self == .contentLength || self == .transferEncoding }
}

/// The field lines of a head and the bytes they lie in; capacity is fixed, nothing grows.
///
/// Removed lines stay in place, marked as dropped; added lines are written canonically after the
/// bytes of the message, so that runs of kept lines can be copied at once.
public struct FieldSection: ~Copyable, Sendable {
    let byAddress = ByAddress()
    /// The bytes of the head, then those of edits.
    public internal(set) var bytes: HeadStorage<UInt8>
    /// All lines in order, dropped ones included.
    public internal(set) var lines: HeadStorage<FieldLine>
    /// The names of all lines, dropped ones included: one that is not in it has no line.
    public internal(set) var names: FieldNames = []
    /// The names of two lines or more, dropped ones included.
    @usableFromInline var repeated: FieldNames = []
    /// Index of the last line of each name in `names`: of the only one, unless it is repeated.
    @usableFromInline var places = InlineArray<64, UInt32>(repeating: 0)
    /// The names that a parser looks for first.
    let usualNames = NameTable()
    /// The traits that any line has.
    @usableFromInline var traits: FieldLine.Traits = []
    /// The lines that were dropped, if there is the trait of it and they lie side by side.
    @usableFromInline var gap: Range<UInt32> = 0..<0
    /// Where lines were added, if there is the trait of it and they lie side by side; else empty.
    var added: Range<UInt32> = 0..<0
    /// Offset after the last line that came, if any were added.
    var sentEnd: UInt32 = 0

    /// Bytes of a line before its line end, as the limits say.
    let lineBytes: Int
    /// Bytes from the first line on before which a line has its CR, as the limits say.
    let sectionBytes: Int
    /// Lines, repeats and dropped ones included, as the limits say.
    let lineCount: Int
    /// Lines that a parser takes by the fast way.
    let usualLineCount: Int
    /// Whether names with `_` are kept, as the limits say.
    let keepsUnderscoreNames: Bool

    init(_ limits: borrowing HeadLimits) {
        bytes = HeadStorage(capacity: limits.capacity)
        lines = HeadStorage(capacity: limits.fieldCount + limits.editCount)
        lineBytes = limits.fieldBytes
        sectionBytes = limits.fieldsBytes - 1
        lineCount = limits.fieldCount
        keepsUnderscoreNames = limits.keepsUnderscoreNames
        // The fast way takes it for granted that a line of 34 bytes is short enough.
        usualLineCount = lineBytes < 34 ? 0 : limits.fieldCount
    }

    // MARK: - Reading

    /// Number of lines, dropped ones included.
    @inlinable public var count: Int { lines.count }

    /// The line at `index`, dropped or not.
    @inlinable public subscript(index: Int) -> FieldLine { lines[index] }

    /// The bytes of a range; empty for `ByteRange.none`.
    @inlinable @_lifetime(borrow self)
    public func span(_ range: ByteRange) -> Span<UInt8> {
        bytes.span.extracting(range.range)
    }

    /// The value of the first kept line of this name.
    @inlinable @inline(always)
    public func value(_ id: FieldName) -> ByteRange? {
        if !names.contains(id) { return nil }
        if repeated.contains(id) { return firstValue(id) }
        let line = lines[Int(places[Int(id.rawValue & 63)])]
        return line.isDropped ? nil : line.value
    }

    @usableFromInline @inline(never)
    func firstValue(_ id: FieldName) -> ByteRange? {
        for i in 0..<lines.count {
            let line = lines[i]
            if line.id == id && !line.isDropped { return line.value }
        }
        return nil
    }

    /// The first line of this name, dropped or not; the name is in `names`.
    @inline(__always)
    func firstLine(_ id: FieldName) -> FieldLine {
        repeated.contains(id) ? lines[firstIndex(id)] : onlyLine(id)
    }

    /// The line of this name, dropped or not; the name is in `names` and not in `repeated`.
    @inline(__always)
    func onlyLine(_ id: FieldName) -> FieldLine { lines[Int(places[Int(id.rawValue & 63)])] }

    /// Index of the first line of this name, dropped or not; the name is in `names`.
    @inline(never)
    func firstIndex(_ id: FieldName) -> Int {
        var i = 0
        while lines[i].id != id { i += 1 }
        return i
    }

    /// How many kept lines have this name.
    @inlinable public func occurrences(_ id: FieldName) -> Int {
        if !names.contains(id) { return 0 }
        var found = 0
        for i in 0..<lines.count where lines[i].id == id && !lines[i].isDropped { found += 1 }
        return found
    }

    /// The value of the first kept line of this name, which must be in small letters.
    public func first(named name: Span<UInt8>) -> ByteRange? {
        guard let index = index(named: name, from: 0) else { return nil }
        return lines[index].value
    }

    /// Index of the next kept line of this name, which must be in small letters.
    public func index(named name: Span<UInt8>, from: Int) -> Int? {
        let id = FieldName.recognise(name)
        var i = from
        while i < lines.count {
            if !lines[i].isDropped && isNamed(i, name, id) { return i }
            i += 1
        }
        return nil
    }

    /// Whether the line has this name, given in small letters with its identity.
    @inline(__always)
    func isNamed(_ index: Int, _ name: Span<UInt8>, _ id: FieldName) -> Bool {
        let line = lines[index]
        if id != .other { return line.id == id }
        if line.id != .other || Int(line.name.count) != name.count { return false }
        return ByteScan.equalFolding(span(line.name), name)
    }

    // MARK: - Editing
    //
    // Content-Length and Transfer-Encoding cannot be added here: `HeadWriter` alone writes framing.

    /// Drops one line.
    public mutating func remove(at index: Int) { drop(index) }

    /// Drops one line.
    @inline(__always)
    mutating func drop(_ index: Int) {
        let line = lines[index]
        if line.isDropped { return }
        lines[index].isDropped = true
        if !traits.contains(.gap) {
            gap = line.name.start..<line.lineEnd
            traits.insert(.gap)
        } else if line.name.start == gap.upperBound {
            gap = gap.lowerBound..<line.lineEnd
        } else if line.lineEnd == gap.lowerBound {
            gap = line.name.start..<gap.upperBound
        } else {
            traits.insert(.dropped)
        }
    }

    /// Drops the line of this name, which is in `names`, if it is the only one; else false.
    @inline(__always)
    mutating func dropOnly(_ id: FieldName) -> Bool {
        if repeated.contains(id) { return false }
        drop(Int(places[Int(id.rawValue & 63)]))
        return true
    }

    /// Drops all lines from memory; the bytes stay.
    @inline(__always)
    mutating func removeAllLines() {
        lines.removeAll()
        names = []
        repeated = []
        traits = []
    }

    /// Takes a line; `isForwarding`: its name is not known and begins with `x-forwarded-`.
    @inline(__always)
    mutating func take(_ line: FieldLine, isForwarding: Bool) {
        places[Int(line.id.rawValue & 63)] = UInt32(truncatingIfNeeded: lines.count)
        lines.append(line)
        let name = FieldNames(line.id)
        repeated.formUnion(names.intersection(name))
        names.insert(name)
        traits.formUnion(line.traits)
        if isForwarding { names.insert(.otherForwarding) }
    }

    /// Takes a usual line that begins at `start`.
    @inline(__always)
    mutating func take(_ line: ByteScan.Line, at start: Int) {
        let traits = FieldLine.Traits(of: FieldNames(line.id))
        take(
            FieldLine(
                line.id, traits, start: start, colon: line.nameEnd, control: line.control),
            isForwarding: line.isForwarding)
    }

    /// Takes the name of a line whose place is known already; traits are the caller's to take.
    @inline(__always)
    mutating func take(_ name: FieldNames) {
        if _slowPath(!names.isDisjoint(with: name)) { repeated.formUnion(name) }
        names.formUnion(name)
    }

    /// Drops every line of these names; `.otherForwarding` stands for all that it says.
    @inline(__always)
    mutating func dropEach(_ dropped: FieldNames) {
        let present = dropped.intersection(names)
        if present.isDisjoint(with: repeated.union(.otherForwarding)) {
            var left = present.rawValue
            while left != 0 {
                drop(Int(places[left.trailingZeroBitCount & 63]))
                left &= left &- 1
            }
        } else {
            dropSome(present)
        }
    }

    /// Drops every line of these names, of which one has two lines or is not known.
    @inline(never)
    private mutating func dropSome(_ dropped: FieldNames) {
        let looksAtOthers = dropped.contains(.otherForwarding)
        for i in 0..<lines.count where isOne(of: dropped, i, looksAtOthers: looksAtOthers) {
            drop(i)
        }
    }

    /// Whether the line at `index` has one of some names; `looksAtOthers`: unknown ones count too.
    @inline(__always)
    func isOne(of names: FieldNames, _ index: Int, looksAtOthers: Bool) -> Bool {
        let id = lines[index].id
        if names.contains(id) { return true }
        return looksAtOthers && id == .other
            && Forwarded.isForwardingName(bytes.span, lines[index].name.range)
    }

    /// Drops every line of this name.
    public mutating func remove(_ id: FieldName) {
        if names.contains(id) { dropEach(FieldNames(id)) }
    }

    /// Drops every line of this name, which must be in small letters.
    public mutating func remove(named name: Span<UInt8>) {
        let id = FieldName.recognise(name)
        if !names.contains(id) { return }
        for i in 0..<lines.count where isNamed(i, name, id) { drop(i) }
    }

    /// Adds a line; false, and no change, when it is not a valid line or does not fit.
    public mutating func append(name: Span<UInt8>, value: Span<UInt8>) -> Bool {
        if name.isEmpty || !Token.isToken(name) { return false }
        let id = FieldName.recognise(name)
        let value = FieldValue.trimmed(value)
        if id.isFraming || ByteScan.firstControl(value, from: 0, to: value.count) < value.count {
            return false
        }
        return appendChecked(id, name: name, value: value)
    }

    /// Adds a line of a known name; false, and no change, when it is invalid or does not fit.
    public mutating func append(_ id: FieldName, value: Span<UInt8>) -> Bool {
        let value = FieldValue.trimmed(value)
        if id.isFraming || id == .other
            || ByteScan.firstControl(value, from: 0, to: value.count) < value.count
        {
            return false
        }
        return appendChecked(id, name: ByteScan.bytes(id.text), value: value)
    }

    /// Adds a line with a literal name; false, and no change, when it is invalid or does not fit.
    public mutating func append(name: StaticString, value: Span<UInt8>) -> Bool {
        append(name: ByteScan.bytes(name), value: value)
    }

    /// Adds a line of literals; false, and no change, when it is invalid or does not fit.
    public mutating func append(name: StaticString, value: StaticString) -> Bool {
        append(name: ByteScan.bytes(name), value: ByteScan.bytes(value))
    }

    /// Drops every line of this name, in small letters, and adds one; false when it does not fit.
    public mutating func set(name: Span<UInt8>, value: Span<UInt8>) -> Bool {
        let before = lines.count
        let namesBefore = names
        if !append(name: name, value: value) { return false }
        let id = FieldName.recognise(name)
        if !namesBefore.contains(id) { return true }
        for i in 0..<before where isNamed(i, name, id) { drop(i) }
        return true
    }

    /// Drops every line of this name and adds one; false when it does not fit.
    public mutating func set(_ id: FieldName, value: Span<UInt8>) -> Bool {
        let before = lines.count
        let isReplaced = names.contains(id)
        if !append(id, value: value) { return false }
        if !isReplaced { return true }
        for i in 0..<before where lines[i].id == id { drop(i) }
        return true
    }

    /// Writes a checked line after the bytes of the head; false when it does not fit.
    mutating func appendChecked(_ id: FieldName, name: Span<UInt8>, value: Span<UInt8>) -> Bool {
        if !hasRoom(name.count + value.count + 4) { return false }
        let start = bytes.count
        bytes.edit { output in
            _ = ByteScan.append(
                name, ByteScan.bytes(": "), value, ByteScan.bytes("\r\n"), to: &output)
        }
        record(id, start, nameCount: name.count)
        return true
    }

    /// Writes a line that begins with `prefix`, a literal `name: `; false when it does not fit.
    @inline(__always)
    mutating func appendChecked(
        _ id: FieldName, prefix: StaticString, value: Span<UInt8>
    ) -> Bool {
        let nameCount = prefix.utf8CodeUnitCount - 2
        if !hasRoom(nameCount + value.count + 4) { return false }
        let start = bytes.count
        bytes.edit { output in
            _ =
                ByteScan.append(prefix, to: &output)
                && ByteScan.append(value, "\r\n", to: &output)
        }
        record(id, start, nameCount: nameCount)
        return true
    }

    /// Writes a line of literals, `line` with its line end; false when it does not fit.
    @inline(__always)
    mutating func appendChecked(
        _ id: FieldName, nameCount: Int, line: StaticString
    ) -> Bool {
        if !hasRoom(line.utf8CodeUnitCount) { return false }
        let start = bytes.count
        bytes.edit { output in _ = ByteScan.append(line, to: &output) }
        record(id, start, nameCount: nameCount)
        return true
    }

    /// Writes a line whose value is a checked range of the own bytes; false when it does not fit.
    @inline(__always)
    mutating func appendChecked(
        _ id: FieldName, prefix: StaticString, own value: ByteRange
    ) -> Bool {
        let nameCount = prefix.utf8CodeUnitCount - 2
        if !hasRoom(nameCount + Int(value.count) + 4) { return false }
        let start = bytes.count
        bytes.edit { output in
            _ =
                ByteScan.append(prefix, to: &output)
                && ByteScan.appendOwn(value.range, then: "\r\n", to: &output)
        }
        record(id, start, nameCount: nameCount)
        return true
    }

    /// Whether a line of `count` bytes fits.
    @inline(__always)
    func hasRoom(_ count: Int) -> Bool { !lines.isFull && bytes.freeCapacity >= count }

    /// Records the line that was written from `start` to the end as `name: value` CRLF.
    ///
    /// From then on the lines do not lie side by side any more.
    @inline(__always)
    mutating func record(_ id: FieldName, _ start: Int, nameCount: Int) {
        let end = bytes.count
        let line = FieldLine(
            name: ByteRange(from: start, to: start &+ nameCount),
            value: ByteRange(from: start &+ nameCount &+ 2, to: end &- 2),
            lineEnd: end, id: id, isDropped: false, isCanonical: true)
        let isForwarding = id == .other && Forwarded.isForwardingName(bytes.span, line.name.range)
        noteAdded(line)
        take(line, isForwarding: isForwarding)
        traits.insert(.apart)
    }

    /// Notes where a line stands that is added behind all others.
    private mutating func noteAdded(_ line: FieldLine) {
        if !traits.contains(.apart) {
            sentEnd = lines.count == 0 ? 0 : lines[lines.count - 1].lineEnd
            added = line.start..<line.lineEnd
        } else if line.start == added.upperBound {
            added = added.lowerBound..<line.lineEnd
        } else {
            added = 0..<0
        }
    }

    /// Whether the lines that came lie side by side, and those that were added behind them, and all
    /// are to be written as they are, if all without one of `traits` and `names` are.
    func isReadyInTwo(without traits: FieldLine.Traits, _ names: FieldNames) -> Bool {
        !added.isEmpty && sentEnd > 0
            && self.traits.isDisjoint(with: traits.union([.dropped, .unusual, .gap]))
            && self.names.isDisjoint(with: names)
    }

    /// Offset after the last kept line if all kept lines are written as they are, in one run, and
    /// none of them has one of `names`; otherwise, or without any, 0.
    @inlinable @inline(__always)
    func runEnd(without names: FieldNames) -> UInt32 {
        let count = lines.count
        if count == 0 || !isReady(without: [], names) { return 0 }
        let end = lines[count &- 1].lineEnd
        if !traits.contains(.gap) { return end }
        return gap.upperBound == end ? gap.lowerBound : 0
    }

    /// Whether all lines lie side by side, but for those in `gap`, and are to be written as they
    /// are, if all without one of `traits` and `names` are to be written.
    @inlinable @inline(__always)
    func isReady(without traits: FieldLine.Traits, _ names: FieldNames) -> Bool {
        self.traits.isDisjoint(with: traits.union([.dropped, .unusual, .apart]))
            && self.names.isDisjoint(with: names)
    }

    /// Whether the line is kept and has this name.
    @inline(__always)
    func isKept(_ index: Int, _ id: FieldName) -> Bool {
        let line = lines[index]
        return line.id == id && !line.isDropped
    }

    /// Copies own bytes and then `end` to the end; the caller has made room.
    mutating func appendOwn(_ range: ByteRange, then end: StaticString = "") {
        bytes.edit { output in _ = ByteScan.appendOwn(range.range, then: end, to: &output) }
    }

    /// Copies bytes to the end; `.none` when they do not fit.
    mutating func keep(_ source: Span<UInt8>) -> ByteRange {
        let start = bytes.count
        let isKept = bytes.edit { output in ByteScan.append(source, to: &output) }
        return isKept ? ByteRange(start..<bytes.count) : .none
    }
}

// Of a section.
extension FieldLine.Traits {
    /// Lines were added, so that not all lie side by side.
    @inlinable @inline(__always)
    static var apart: FieldLine.Traits { FieldLine.Traits(rawValue: 128) }
    /// Lines were dropped after parsing; with `dropped`, not only those that `gap` tells.
    @inlinable @inline(__always)
    static var gap: FieldLine.Traits { FieldLine.Traits(rawValue: 64) }
}
