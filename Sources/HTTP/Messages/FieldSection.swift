import BasicContainers

/// One field line of a head, as ranges of the bytes that the head owns.
public struct FieldLine: BitwiseCopyable, Sendable {
    /// The name as it was sent.
    public var name: ByteRange
    /// The value without white space around it.
    public var value: ByteRange
    /// Offset after the line end; the line starts where its name starts.
    public internal(set) var lineEnd: UInt32
    /// The name, if the gateway knows it.
    public internal(set) var id: FieldName
    /// Whether the line is not forwarded.
    public var isDropped: Bool
    /// Whether the line is exactly `name: value` CRLF, so that it may be copied as it stands.
    public internal(set) var isCanonical: Bool

    @inline(__always)
    init(
        name: ByteRange, value: ByteRange, lineEnd: UInt32, id: FieldName, isDropped: Bool,
        isCanonical: Bool
    ) {
        self.name = name
        self.value = value
        self.lineEnd = lineEnd
        self.id = id
        self.isDropped = isDropped
        self.isCanonical = isCanonical
    }
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
    /// The bytes of the head, then those of edits.
    public internal(set) var bytes: RigidArray<UInt8>
    /// All lines in order, dropped ones included.
    public internal(set) var lines: RigidArray<FieldLine>

    init(byteCapacity: Int, lineCapacity: Int) {
        bytes = RigidArray(capacity: byteCapacity)
        lines = RigidArray(capacity: lineCapacity)
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
    @inlinable public func value(_ id: FieldName) -> ByteRange? {
        for i in 0..<lines.count {
            let line = lines[i]
            if line.id == id && !line.isDropped { return line.value }
        }
        return nil
    }

    /// How many kept lines have this name.
    @inlinable public func occurrences(_ id: FieldName) -> Int {
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
    public mutating func remove(at index: Int) { lines[index].isDropped = true }

    /// Drops every line of this name.
    public mutating func remove(_ id: FieldName) {
        for i in 0..<lines.count where lines[i].id == id { lines[i].isDropped = true }
    }

    /// Drops every line of this name, which must be in small letters.
    public mutating func remove(named name: Span<UInt8>) {
        let id = FieldName.recognise(name)
        for i in 0..<lines.count where isNamed(i, name, id) { lines[i].isDropped = true }
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
        if !append(name: name, value: value) { return false }
        let id = FieldName.recognise(name)
        for i in 0..<before where isNamed(i, name, id) { lines[i].isDropped = true }
        return true
    }

    /// Drops every line of this name and adds one; false when it does not fit.
    public mutating func set(_ id: FieldName, value: Span<UInt8>) -> Bool {
        let before = lines.count
        if !append(id, value: value) { return false }
        for i in 0..<before where lines[i].id == id { lines[i].isDropped = true }
        return true
    }

    /// Writes a checked line after the bytes of the head.
    mutating func appendChecked(_ id: FieldName, name: Span<UInt8>, value: Span<UInt8>) -> Bool {
        if lines.isFull || bytes.freeCapacity < name.count + value.count + 4 { return false }
        let start = bytes.count
        bytes.append(copying: name)
        bytes.append(0x3A)
        bytes.append(0x20)
        bytes.append(copying: value)
        endLine(id, start, nameCount: name.count)
        return true
    }

    /// Whether the line is kept and has this name.
    @inline(__always)
    func isKept(_ index: Int, _ id: FieldName) -> Bool {
        let line = lines[index]
        return line.id == id && !line.isDropped
    }

    /// Copies own bytes to the end; the caller has made room.
    mutating func appendOwn(_ range: ByteRange) {
        for i in range.range { bytes.append(bytes[i]) }
    }

    /// Ends a line that was written from `start` on as `name: value`, and records it.
    mutating func endLine(_ id: FieldName, _ start: Int, nameCount: Int) {
        let end = bytes.count
        bytes.append(0x0D)
        bytes.append(0x0A)
        lines.append(
            FieldLine(
                name: ByteRange(start..<(start + nameCount)),
                value: ByteRange((start + nameCount + 2)..<end),
                lineEnd: UInt32(truncatingIfNeeded: bytes.count),
                id: id, isDropped: false, isCanonical: true))
    }

    /// Adds a line whose value is a checked range of the own bytes; false when it does not fit.
    mutating func appendOwnValue(
        _ id: FieldName, name: Span<UInt8>, _ value: ByteRange
    ) -> Bool {
        if lines.isFull || bytes.freeCapacity < name.count + Int(value.count) + 4 { return false }
        let start = bytes.count
        bytes.append(copying: name)
        bytes.append(0x3A)
        bytes.append(0x20)
        appendOwn(value)
        endLine(id, start, nameCount: name.count)
        return true
    }

    /// Copies bytes to the end; `.none` when they do not fit.
    mutating func keep(_ source: Span<UInt8>) -> ByteRange {
        if bytes.freeCapacity < source.count { return .none }
        let start = bytes.count
        bytes.append(copying: source)
        return ByteRange(start..<bytes.count)
    }
}
