import BasicContainers
import HTTP

/// A condition on a named value: a header field or a query parameter.
public struct ValueMatch: Sendable, Equatable {
    /// The name; of header fields without regard to case.
    public var name: String
    /// The exact value, or a pattern for the whole value.
    public var value: String
    /// Whether `value` is a pattern.
    public var isRegularExpression: Bool

    /// Makes a condition.
    public init(name: String, value: String, isRegularExpression: Bool = false) {
        self.name = name
        self.value = value
        self.isRegularExpression = isRegularExpression
    }
}

/// A compiled condition on a named value.
struct ConditionRow: BitwiseCopyable, Sendable {
    /// The name; in small letters for header fields.
    var name: ArenaRange
    /// The exact value; unused with a pattern.
    var value: ArenaRange
    /// Index of the pattern; -1 for an exact value.
    var pattern: Int32
    /// The name, if the gateway knows it; `.other` for query parameters.
    var field: FieldName
}

/// The field lines of one name in one head, remembered between conditions on the same name.
///
/// Rules of one path often differ only by the value of one field, so neighbours ask alike.
struct FieldMemo {
    /// Where the name lies in the arena; names are interned, so equal names have equal places.
    var name: UInt32 = .max
    /// The first line; -1 when there is none.
    var line: Int = -1
    /// Whether there are more lines of this name.
    var isRepeated = false
}

extension Table {
    /// Whether the head meets a condition on a header field.
    ///
    /// Several lines of one name are compared as one value joined by commas (RFC 9110 §5.3).
    func headerMatches(
        _ condition: ConditionRow, _ head: borrowing RequestHead, _ memo: inout FieldMemo
    ) -> Bool {
        if memo.name != condition.name.start { memo = lookUp(condition, head) }
        if memo.line < 0 { return false }
        if condition.pattern >= 0 { return headerMatchesPattern(condition, head, memo) }
        let value = value(of: memo.line, condition.field, head)
        let wanted = arena.span
        if !memo.isRepeated {
            return value.count == condition.value.count
                && Bytes.equal(
                    head.bytes, Int(value.start), wanted, condition.value.offset,
                    count: Int(value.count))
        }
        return joinedEquals(condition, head, memo)
    }

    /// The lines of a condition's name.
    private func lookUp(_ condition: ConditionRow, _ head: borrowing RequestHead) -> FieldMemo {
        var memo = FieldMemo(name: condition.name.start)
        if condition.field == .host {
            // An absolute target or HTTP/2 may bring an authority without a line of Host.
            memo.line = head.authority.isNone ? -1 : 0
            return memo
        }
        let lines = head.fields.lines.span
        var i = 0
        while i < lines.count {
            if lines[i].id == condition.field && isNamed(i, condition, head) {
                if memo.line >= 0 {
                    memo.isRepeated = true
                    return memo
                }
                memo.line = i
            }
            i &+= 1
        }
        return memo
    }

    /// Whether a kept line has the condition's name.
    @inline(__always)
    private func isNamed(
        _ index: Int, _ condition: ConditionRow, _ head: borrowing RequestHead
    ) -> Bool {
        let line = head.fields[index]
        if line.id != condition.field || line.isDropped { return false }
        if condition.field != .other { return true }
        if line.name.count != condition.name.count { return false }
        return Bytes.equalFolding(
            head.bytes, Int(line.name.start), arena.span, condition.name.offset,
            count: Int(line.name.count))
    }

    /// The value of a line; of Host what the request is really for.
    @inline(__always)
    private func value(
        of line: Int, _ field: FieldName, _ head: borrowing RequestHead
    ) -> ByteRange {
        let value = field == .host ? head.authority : head.fields[line].value
        return value.isNone ? ByteRange(0..<0) : value
    }

    /// Whether all lines of the name, joined by commas, are the wanted value.
    private func joinedEquals(
        _ condition: ConditionRow, _ head: borrowing RequestHead, _ memo: FieldMemo
    ) -> Bool {
        let wanted = arena.span
        var at = condition.value.offset
        let end = condition.value.end
        var isFirst = true
        for i in memo.line..<head.fields.count where isNamed(i, condition, head) {
            if !isFirst {
                if at == end || wanted[at] != UInt8(ascii: ",") { return false }
                at += 1
            }
            isFirst = false
            let value = head.fields[i].value
            let count = Int(value.count)
            if count > end - at { return false }
            if !Bytes.equal(head.bytes, Int(value.start), wanted, at, count: count) { return false }
            at += count
        }
        return at == end
    }

    /// Whether the value, joined where there are several lines, matches the pattern.
    private func headerMatchesPattern(
        _ condition: ConditionRow, _ head: borrowing RequestHead, _ memo: FieldMemo
    ) -> Bool {
        if !memo.isRepeated {
            let value = value(of: memo.line, condition.field, head)
            return matches(condition.pattern, head.span(value))
        }
        return matches(condition.pattern, joined(condition, head, memo).span)
    }

    /// The values of all lines of the name, joined by commas.
    ///
    /// Allocates, which is rare enough: a repeated field that a pattern or a switch asks for.
    private func joined(
        _ condition: ConditionRow, _ head: borrowing RequestHead, _ memo: FieldMemo
    ) -> RigidArray<UInt8> {
        var joined = RigidArray<UInt8>(capacity: head.bytes.count)
        for i in memo.line..<head.fields.count where isNamed(i, condition, head) {
            if i > memo.line { joined.append(UInt8(ascii: ",")) }
            joined.append(copying: head.span(head.fields[i].value))
        }
        return joined
    }

    // MARK: - Switches

    /// The first row whose conditions hold among those that ask for the request's value of a field.
    @inline(never)
    func search(
        in row: SwitchRow, prefixCount: UInt32, _ head: borrowing RequestHead,
        _ memo: inout FieldMemo
    ) -> RouteMatch {
        let condition = ConditionRow(
            name: row.name, value: .empty, pattern: -1, field: row.field)
        if memo.name != row.name.start { memo = lookUp(condition, head) }
        if memo.line < 0 { return .none }
        let first: Int32
        if memo.isRepeated {
            let value = joined(condition, head, memo)
            first = indexes.find(row.values, value.span, 0, count: value.count, arena.span)
        } else {
            let value = value(of: memo.line, row.field, head)
            first = indexes.find(
                row.values, head.bytes, Int(value.start), count: Int(value.count), arena.span)
        }
        if first < 0 { return .none }
        return search(from: first, prefixCount: prefixCount, head, &memo)
    }
}
