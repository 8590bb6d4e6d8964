import CLinux
import Glibc

/// What a descriptor is ready for.
@frozen
public struct Readiness: OptionSet, BitwiseCopyable, Hashable, Sendable {
    /// The bits of `epoll_event.events`.
    public let rawValue: UInt32

    @inlinable
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// Bytes, a connection or an end can be read (EPOLLIN).
    @inlinable
    public static var readable: Readiness { Readiness(rawValue: 0x001) }
    /// An urgent byte of TCP has come and stands in the way of what is read by `splice` (EPOLLPRI).
    @inlinable
    public static var urgent: Readiness { Readiness(rawValue: 0x002) }
    /// Bytes can be written, or a connect has finished (EPOLLOUT).
    @inlinable
    public static var writable: Readiness { Readiness(rawValue: 0x004) }
    /// An error is waiting in SO_ERROR (EPOLLERR).
    @inlinable
    public static var error: Readiness { Readiness(rawValue: 0x008) }
    /// Both directions are gone (EPOLLHUP).
    @inlinable
    public static var hangUp: Readiness { Readiness(rawValue: 0x010) }
    /// The peer will send no more (EPOLLRDHUP); data may still be waiting before its end.
    @inlinable
    public static var peerClosed: Readiness { Readiness(rawValue: 0x2000) }

    /// Any of these means that a short read does not end reading: read on to the end.
    @inlinable
    public static var anyEnd: Readiness { [.peerClosed, .hangUp, .error] }
    /// What few reports say.
    @inlinable
    public static var unusual: Readiness { [.anyEnd, .urgent] }
}

/// One readiness report.
@frozen
public struct Event: BitwiseCopyable, Sendable {
    public let token: Token
    public let readiness: Readiness

    @inlinable
    public init(token: Token, readiness: Readiness) {
        self.token = token
        self.readiness = readiness
    }
}

/// One epoll instance and the batch of events it reported last.
@safe
public struct Loop: ~Copyable {
    @usableFromInline let events: UnsafeMutablePointer<epoll_event>
    @usableFromInline var ready = 0
    /// How many events one wait can report.
    public let capacity: Int
    @usableFromInline let descriptor: Descriptor

    public init(capacity: Int = 256) throws(SystemError) {
        precondition(capacity > 0, "A batch holds an event.")
        self.capacity = capacity
        descriptor = Descriptor(
            adopting: try SystemCall.check("epoll_create1") { epoll_create1(Int32(EPOLL_CLOEXEC)) })
        // Sound: freed in deinit; read only below `ready`, which the system has filled in.
        unsafe events = .allocate(capacity: capacity)
    }

    deinit {
        // Sound: allocated in init, reached by nobody after the end of this value.
        unsafe events.deallocate()
    }

    /// Watches a descriptor; closing it ends the watch.
    ///
    /// Edge-triggered: once for its life, for reading, urgent bytes, writing and the peer's end; each report
    /// means a change, so read and write until would-block. Level-triggered (listeners, mailboxes):
    /// for reading, and for writing only when asked.
    public func register(
        _ fd: Int32,
        _ token: Token,
        edgeTriggered: Bool,
        readable: Bool = true,
        writable: Bool = false
    ) throws(SystemError) {
        let mask: Readiness
        if edgeTriggered {
            mask = [.readable, .urgent, .writable, .peerClosed]
        } else {
            mask = Loop.mask(readable: readable, writable: writable)
        }
        let edge = edgeTriggered ? EPOLLET.rawValue : 0
        try control(EPOLL_CTL_ADD, fd, mask.rawValue | edge, token)
    }

    /// Changes what a level-triggered descriptor is watched for.
    public func update(
        _ fd: Int32, _ token: Token, readable: Bool, writable: Bool
    ) throws(SystemError) {
        let mask = Loop.mask(readable: readable, writable: writable)
        try control(EPOLL_CTL_MOD, fd, mask.rawValue, token)
    }

    /// Ends the watch of a descriptor that stays open; one that is not watched is left alone.
    public func remove(_ fd: Int32) {
        // Sound: plain bits; the type counts as unsafe for its union only.
        var unused = unsafe epoll_event()
        // Sound: the pointer is valid for the call; this operation does not read it.
        _ = unsafe epoll_ctl(descriptor.raw, EPOLL_CTL_DEL, fd, &unused)
    }

    /// Waits for events: how many there are now; 0 on time-out or an interruption by a signal.
    ///
    /// A time-out of 0 does not wait, one below zero waits without end.
    @inlinable @inline(always)
    public mutating func wait(timeoutMilliseconds: Int32) -> Int {
        // Sound: the system fills at most `capacity` events, all in memory this value owns.
        let count = unsafe SystemCall.wait(
            descriptor.raw, events, capacity, timeoutMilliseconds)
        if count < 0 {
            let isSignal = count == -Int(EINTR)
            precondition(isSignal, "Waiting on a valid epoll instance fails only by signals.")
            ready = 0
        } else {
            ready = count
        }
        return ready
    }

    /// One of the events of the last wait.
    @inlinable
    public func event(_ index: Int) -> Event {
        precondition(index >= 0 && index < ready, "The event is one of the last batch.")
        // Sound: below `ready`, so filled in by the last wait; a trivial copy.
        let event = unsafe events[index]
        // Sound: `register` stores the token in this member of the union, always.
        let token = unsafe Token(raw: event.data.u64)
        // Sound: a plain number; the type counts as unsafe for its union only.
        return unsafe Event(token: token, readiness: Readiness(rawValue: event.events))
    }

    private func control(
        _ operation: Int32, _ fd: Int32, _ mask: UInt32, _ token: Token
    ) throws(SystemError) {
        // Sound: this member of the union is the one that `event` reads.
        var event = unsafe epoll_event(events: mask, data: epoll_data(u64: token.raw))
        try SystemCall.check("epoll_ctl") {
            // Sound: the pointer is valid for the call.
            unsafe epoll_ctl(descriptor.raw, operation, fd, &event)
        }
    }

    private static func mask(readable: Bool, writable: Bool) -> Readiness {
        var mask: Readiness = []
        if readable { mask.formUnion([.readable, .peerClosed]) }
        if writable { mask.insert(.writable) }
        return mask
    }
}
