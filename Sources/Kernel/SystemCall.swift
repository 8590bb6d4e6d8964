import CLinux
import Glibc

/// What one read or write on a stream came to.
@frozen
public enum IOResult: Equatable, Sendable {
    /// So many bytes moved; above zero, except for a write that was asked to move none.
    case bytes(Int)
    /// Nothing can move now; readiness will be reported.
    case wouldBlock
    /// The other side has finished: no byte will come any more.
    case end
    /// The `errno` that ended it.
    case failed(Int32)
}

/// The one gate to the system: EINTR is retried, would-block is a value.
@usableFromInline
enum SystemCall {
    /// Runs a call until it is not interrupted; the result or, below zero, the negated `errno`.
    @inlinable @inline(always)
    static func run(_ body: () -> Int) -> Int {
        while true {
            let result = body()
            if result >= 0 { return result }
            let code = errno
            if code != EINTR { return -Int(code) }
        }
    }

    @inlinable @inline(always)
    static func run(_ body: () -> Int32) -> Int32 { Int32(truncatingIfNeeded: run { Int(body()) }) }

    // The calls of each request go to the system without libc's own functions: those are cancellation points, and
    // in a program with threads each costs forty instructions more for the case that somebody cancels this one.

    /// `recv`: bytes, 0 at the end, or below zero the negated `errno`.
    @inlinable @inline(always)
    static func receive(
        _ descriptor: Int32, _ memory: UnsafeMutablePointer<UInt8>, _ count: Int, _ flags: Int32
    ) -> Int {
        run {
            system_call(
                Int(SYS_recvfrom), Int(descriptor), Int(bitPattern: memory), count, Int(flags), 0,
                0)
        }
    }

    /// `send`: bytes, or below zero the negated `errno`.
    @inlinable @inline(always)
    static func send(
        _ descriptor: Int32, _ memory: UnsafePointer<UInt8>?, _ count: Int, _ flags: Int32
    ) -> Int {
        run {
            system_call(
                Int(SYS_sendto), Int(descriptor), Int(bitPattern: memory), count, Int(flags), 0, 0)
        }
    }

    /// `writev`: bytes, or below zero the negated `errno`.
    @inlinable @inline(always)
    static func write(
        _ descriptor: Int32, _ parts: UnsafePointer<iovec>, _ count: Int
    ) -> Int {
        run {
            system_call(
                Int(SYS_writev), Int(descriptor), Int(bitPattern: parts), count, 0, 0, 0)
        }
    }

    /// `epoll_wait`, not repeated when a signal interrupts it: events, or below zero the negated `errno`.
    @inlinable @inline(always)
    static func wait(
        _ descriptor: Int32, _ events: UnsafeMutablePointer<epoll_event>, _ capacity: Int,
        _ timeoutMilliseconds: Int32
    ) -> Int {
        let result = system_call(
            Int(SYS_epoll_pwait), Int(descriptor), Int(bitPattern: events), capacity,
            Int(timeoutMilliseconds), 0, 8)
        return result < 0 ? -Int(errno) : result
    }

    /// Runs a call that must succeed or throw.
    @inlinable @inline(always)
    @discardableResult
    static func check(_ call: StaticString, _ body: () -> Int32) throws(SystemError) -> Int32 {
        let result: Int32 = run(body)
        if result < 0 { throw SystemError(call, -result) }
        return result
    }

    /// The result of a read: zero is the end.
    @inlinable @inline(always)
    static func reading(_ result: Int) -> IOResult {
        if result > 0 { return .bytes(result) }
        if result == 0 { return .end }
        return failure(result)
    }

    /// The result of a write: zero is zero bytes.
    @inlinable @inline(always)
    static func writing(_ result: Int) -> IOResult {
        if result >= 0 { return .bytes(result) }
        return failure(result)
    }

    @inlinable @inline(always)
    static func failure(_ result: Int) -> IOResult {
        let code = Int32(truncatingIfNeeded: -result)
        return code == EAGAIN ? .wouldBlock : .failed(code)
    }
}
