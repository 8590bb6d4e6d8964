import HTTP

/// The method that a match asks for, as one byte and, for unknown methods, its text.
struct MethodMatch: BitwiseCopyable, Sendable {
    /// The raw value of `Method`, or `any`.
    var code: UInt8
    /// The text of a method that the gateway has no case for.
    var text: ArenaRange

    /// Takes every method.
    static var any: UInt8 { .max }
}

extension Table {
    /// Whether the request's method is the wanted one; methods are case-sensitive.
    @inline(__always)
    func methodMatches(_ wanted: MethodMatch, _ head: borrowing RequestHead) -> Bool {
        if wanted.code == MethodMatch.any { return true }
        if wanted.code != head.method.rawValue { return false }
        if head.method != .other { return true }
        return ByteScan.equal(
            head.span(head.methodText), arena.span.extracting(wanted.text.range))
    }
}
