import Glibc

/// The only lock: a mutex at a stable address with the state that it guards.
///
/// Inside: index look-ups and counters only, no system call that waits, no other lock.
@safe
public final class Lock<State: ~Copyable>: @unchecked Sendable {
    @usableFromInline let mutex: UnsafeMutablePointer<pthread_mutex_t>
    @usableFromInline let state: UnsafeMutablePointer<State>

    @inlinable
    public init(_ state: consuming sending State) {
        // Sound: both live until deinit; the mutex is initialised before anybody else knows it.
        unsafe mutex = .allocate(capacity: 1)
        // Sound: as above.
        unsafe mutex.initialize(to: pthread_mutex_t())
        // Sound: as above; default attributes.
        let result = unsafe pthread_mutex_init(mutex, nil)
        precondition(result == 0, "A mutex with default attributes can always be made.")
        // Sound: as above.
        unsafe self.state = .allocate(capacity: 1)
        // Sound: as above; the state is moved in.
        unsafe self.state.initialize(to: state)
    }

    deinit {
        // Sound: the last reference is gone, so nobody holds the lock or looks at the state.
        unsafe state.deinitialize(count: 1)
        // Sound: as above.
        unsafe state.deallocate()
        // Sound: as above.
        _ = unsafe pthread_mutex_destroy(mutex)
        // Sound: as above.
        unsafe mutex.deallocate()
    }

    /// Runs `body` alone with the state.
    ///
    /// Not re-entrant: a second `withLock` inside never returns.
    @inlinable
    public func withLock<R: ~Copyable, E: Error>(
        _ body: (inout State) throws(E) -> R
    ) throws(E) -> R {
        // Sound: an initialised mutex at a fixed address, kept alive by `self`.
        let result = unsafe pthread_mutex_lock(mutex)
        precondition(result == 0, "An initialised mutex can be locked.")
        defer {
            // Sound: locked above by this thread.
            _ = unsafe pthread_mutex_unlock(mutex)
        }
        // Sound: the mutex makes this the only access.
        return try unsafe body(&state.pointee)
    }
}
