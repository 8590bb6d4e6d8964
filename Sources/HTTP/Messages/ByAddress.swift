import Synchronization

/// Makes the type that holds it be passed by address, never as a copy on the stack.
///
/// The compiler passes a large `borrowing` value of plain fields by copying all of its words first. A type with an
/// atomic has an identity in memory and is spared that. For types of which there are few and that are borrowed often.
public struct ByAddress: ~Copyable, Sendable {
    @usableFromInline let cell: Atomic<Bool>
    @inlinable public init() { cell = Atomic(false) }
}
