import CLinux
import Glibc

/// Messages from any thread to one: a bounded ring and a descriptor that becomes readable.
///
/// The receiver waits for the descriptor (level-triggered; edge-triggered works, but also reports
/// the acknowledgement), then calls `acknowledge`, then `take` until nil: in this order no wake-up
/// is lost.
public final class Mailbox<Message: ~Copyable & Sendable>: Sendable {
    @safe
    @usableFromInline
    struct Ring: ~Copyable {
        @usableFromInline let slots: UnsafeMutablePointer<Message>
        @usableFromInline let capacity: Int
        @usableFromInline var first = 0
        @usableFromInline var count = 0
        /// Whether the receiver has been woken and has not acknowledged it yet.
        @usableFromInline var isSignalled = false

        @inlinable
        init(capacity: Int) {
            self.capacity = capacity
            // Sound: freed in deinit; exactly `count` slots from `first` on are initialised.
            unsafe slots = .allocate(capacity: capacity)
        }

        deinit {
            for offset in 0..<count {
                // Sound: one of the initialised slots, once.
                unsafe (slots + (first + offset) % capacity).deinitialize(count: 1)
            }
            // Sound: allocated in init.
            unsafe slots.deallocate()
        }

        @inlinable
        mutating func put(_ message: consuming Message) {
            // Sound: the caller checked that there is a free slot; this one is behind the last.
            unsafe (slots + (first + count) % capacity).initialize(to: message)
            count += 1
        }

        @inlinable
        mutating func take() -> Message? {
            guard count > 0 else { return nil }
            let index = first
            first = (first + 1) % capacity
            count -= 1
            // Sound: the first initialised slot, which is no longer counted.
            return unsafe (slots + index).move()
        }
    }

    @usableFromInline let ring: Lock<Ring>
    @usableFromInline let signal: EventSignal

    @inlinable
    public init(capacity: Int) throws(SystemError) {
        precondition(capacity > 0, "A mailbox holds a message.")
        signal = try EventSignal()
        ring = Lock(Ring(capacity: capacity))
    }

    /// Readable while messages wait that were not acknowledged.
    @inlinable
    public var descriptor: Int32 { signal.raw }

    /// Puts a message in and wakes the receiver; false: it was full and the message is gone.
    @inlinable
    public func post(_ message: consuming Message) -> Bool {
        var waiting: Message? = consume message
        let outcome: (taken: Bool, wakes: Bool) = ring.withLock { ring in
            guard ring.count < ring.capacity, let message = waiting.take() else {
                return (false, false)
            }
            ring.put(message)
            let wakes = !ring.isSignalled
            ring.isSignalled = true
            return (true, wakes)
        }
        if outcome.wakes { signal.raise() }
        return outcome.taken
    }

    /// The oldest message; nil when there is none.
    @inlinable
    public func take() -> Message? {
        ring.withLock { ring in ring.take() }
    }

    /// Makes the descriptor unreadable, so that the next message wakes the receiver again.
    ///
    /// A sender that still saw the flag set has put its message in before the flag fell, so the
    /// calls of `take` that follow find it.
    @inlinable
    public func acknowledge() {
        signal.clear()
        ring.withLock { ring in ring.isSignalled = false }
    }
}

/// An eventfd: readable after `raise`, until `clear`.
@usableFromInline
struct EventSignal: ~Copyable, Sendable {
    private let descriptor: Descriptor

    @usableFromInline
    init() throws(SystemError) {
        descriptor = Descriptor(
            adopting: try SystemCall.check("eventfd") {
                eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
            })
    }

    @usableFromInline
    var raw: Int32 { descriptor.raw }

    @usableFromInline
    func raise() {
        // At the counter's maximum the write would block: it is readable then anyway.
        _ = SystemCall.run { eventfd_write(descriptor.raw, 1) }
    }

    @usableFromInline
    func clear() {
        var value: eventfd_t = 0
        // Sound: the pointer is valid for the call. Would-block: it was clear.
        _ = SystemCall.run { unsafe eventfd_read(descriptor.raw, &value) }
    }
}
