import Synchronization

/// A number of bytes that the whole process shares; workers lease from it in large pieces.
public final class Budget: Sendable {
    public let limit: Int
    private let taken = Atomic<Int>(0)

    public init(limit: Int) {
        precondition(limit >= 0, "A budget is not negative.")
        self.limit = limit
    }

    /// Takes bytes, all or none; false when not so many are left.
    public func take(_ bytes: Int) -> Bool {
        precondition(bytes >= 0, "Giving back has its own method.")
        var current = taken.load(ordering: .relaxed)
        while bytes <= limit - current {
            let result = taken.weakCompareExchange(
                expected: current, desired: current + bytes, ordering: .relaxed)
            if result.exchanged { return true }
            current = result.original
        }
        return false
    }

    /// Gives back bytes that were taken.
    public func give(_ bytes: Int) {
        precondition(bytes >= 0, "Taking has its own method.")
        let result = taken.subtract(bytes, ordering: .relaxed)
        precondition(result.newValue >= 0, "No more is given back than was taken.")
    }

    /// Bytes taken now.
    public var used: Int { taken.load(ordering: .relaxed) }
}
