import COpenSSL
import Kernel

/// A client's sessions that can be resumed, the latest for each server; bounded.
@safe final class ResumableSessions: Sendable {
    /// Whose session it is: the name that was verified, and what the caller tells servers apart by.
    struct Key: Hashable, Sendable {
        let serverName: String
        let discriminator: UInt64
    }

    @safe private struct State {
        // Sound: nothing is read through an empty table.
        var sessions: [Key: OpaquePointer] = unsafe [:]
        /// Keys in the order in which they came.
        var order: [Key] = []
    }
    private let state = Lock(State())
    private let capacity: Int

    init(capacity: Int) { self.capacity = capacity }

    deinit {
        state.withLock { state in
            for key in state.order {
                // Sound: the cache owns one reference to each; nil is freed by doing nothing.
                unsafe SSL_SESSION_free(state.sessions[key])
            }
        }
    }

    /// Keeps a session, and forgets the one that the server gave before, or the oldest of all.
    ///
    /// What is kept is a copy: the connection goes on to change its own, on its own thread.
    /// Takes the caller's reference over.
    func keep(_ session: OpaquePointer, for key: Key) {
        // Sound: the caller gives its reference up; the copy belongs to the cache.
        defer { unsafe SSL_SESSION_free(session) }
        guard unsafe SSL_SESSION_is_resumable(session) == 1,
            let copy = unsafe SSL_SESSION_dup(session)
        else { return ERR_clear_error() }
        // Sound: the reference that leaves the table is freed once, here.
        let evicted: OpaquePointer? = unsafe state.withLock { state in
            if let earlier = unsafe state.sessions.updateValue(copy, forKey: key) {
                return unsafe earlier
            }
            state.order.append(key)
            guard state.order.count > capacity else { return nil }
            return unsafe state.sessions.removeValue(forKey: state.order.removeFirst())
        }
        // Sound: as above.
        unsafe SSL_SESSION_free(evicted)
    }

    /// A copy of the session to resume with this server; the caller frees it.
    func find(_ key: Key) -> OpaquePointer? {
        // Sound: the reference taken under the lock keeps the session alive until it is copied;
        // what is in the cache is never changed, since connections only get copies.
        let found: OpaquePointer? = unsafe state.withLock { state in
            guard let session = unsafe state.sessions[key] else { return nil }
            unsafe SSL_SESSION_up_ref(session)
            return unsafe session
        }
        guard let session = unsafe found else { return nil }
        // Sound: as above.
        defer { unsafe SSL_SESSION_free(session) }
        return unsafe SSL_SESSION_dup(session)
    }

    /// How many sessions are kept.
    var count: Int { state.withLock { $0.order.count } }
}
