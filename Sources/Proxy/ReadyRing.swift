import BasicContainers
import Kernel

/// Connections that go on without an event: what is pushed during one round runs in the next.
struct ReadyRing: ~Copyable {
    private var pushed = UniqueArray<UInt64>()
    private var round = UniqueArray<UInt64>()
    private var position = 0

    var isEmpty: Bool { pushed.isEmpty }

    /// Adds a connection; its owner sees to it that it is here once.
    mutating func push(_ token: Token) { pushed.append(token.raw) }

    /// Begins a round over what has been pushed.
    mutating func begin() {
        round.removeAll(keepingCapacity: true)
        position = 0
        swap(&round, &pushed)
    }

    /// The round's next connection.
    mutating func next() -> Token? {
        if position == round.count { return nil }
        position += 1
        return Token(raw: round[position - 1])
    }
}
