import BasicContainers
import CLinux
import Glibc

/// Owner of one stream socket, non-blocking and closed on exec.
public struct Socket: ~Copyable, Sendable {
    /// The number the system knows it by; valid as long as this value lives.
    public let raw: Int32

    /// Takes ownership of a connected, non-blocking stream socket.
    ///
    /// Making the first one ignores SIGPIPE in the process: unlike `sendmsg`, `writev`, which costs
    /// less, has no way to ask for EPIPE alone.
    public init(adopting raw: Int32) {
        precondition(raw >= 0, "A descriptor is not negative.")
        Signals.ignoreBrokenPipe()
        self.raw = raw
    }

    /// Begins to connect; the first writable event means that it has ended, see `connectResult`.
    ///
    /// Throws what fails at once, such as no route or no descriptor left.
    public static func connecting(to address: SocketAddress) throws(SystemError) -> Socket {
        let socket = try stream(isIPv6: address.isIPv6)
        socket.setNoDelay()
        let result: Int32 = SystemCall.run {
            // Sound: as inside.
            unsafe address.withSystemForm { form, length in
                // Sound: pointer and length belong together for the call.
                unsafe connect(socket.raw, __CONST_SOCKADDR_ARG(__sockaddr__: form), length)
            }
        }
        if result < 0, result != -EINPROGRESS, result != -EALREADY {
            throw SystemError("connect", -result)
        }
        return socket
    }

    static func stream(isIPv6: Bool) throws(SystemError) -> Socket {
        let kind = SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue
        return Socket(
            adopting: try SystemCall.check("socket") {
                Glibc.socket(isIPv6 ? AF_INET6 : AF_INET, Int32(kind), 0)
            })
    }

    /// Gives ownership away: the caller closes it.
    public consuming func release() -> Int32 {
        let raw = raw
        discard self
        return raw
    }

    private init() { raw = -1 }

    /// Stands where there is no socket; every call on it fails.
    public static var none: Socket { Socket() }

    deinit {
        // Never retried: Linux frees the number even when close is interrupted.
        if raw >= 0 { _ = close(raw) }
    }
}

// MARK: - Reading

extension Socket {
    /// Receives into the free capacity, of which there must be some.
    public func read(into output: inout OutputSpan<UInt8>) -> IOResult {
        receive(into: &output, flags: 0)
    }

    /// Receives into the free capacity, of which there must be some.
    public func read(into array: inout RigidArray<UInt8>) -> IOResult {
        array.edit { output in receive(into: &output, flags: 0) }
    }

    /// Receives behind the unread bytes, where there must be room, at most `limit` bytes.
    ///
    /// They are not moved for more room (`Buffer.roomBehind`): into an empty buffer all of its
    /// capacity can be read.
    @inlinable @inline(always)
    public func read(into buffer: inout Buffer, atMost limit: Int = .max) -> IOResult {
        let free = min(buffer.roomBehind, limit)
        precondition(free > 0, "Reading into no room would look like the end.")
        // Sound: `end` ..< `room` is the buffer's own memory, and access to it is exclusive.
        let memory = unsafe buffer.base + Int(buffer.end)
        let raw = raw
        // Sound: as above.
        let result = unsafe SystemCall.receive(raw, memory, free, 0)
        // At most `free`, so no overflow.
        if result > 0 { buffer.end &+= UInt32(truncatingIfNeeded: result) }
        return SystemCall.reading(result)
    }

    /// Appends what could be received and leaves it to be received again.
    public func peek(into output: inout OutputSpan<UInt8>) -> IOResult {
        receive(into: &output, flags: Int32(MSG_PEEK))
    }

    /// Whether the connection is still open and nothing has come: safe to reuse from a pool.
    public func isIdle() -> Bool {
        var byte: UInt8 = 0
        // Sound: room for the one byte that is asked for.
        let result = SystemCall.run { unsafe recv(raw, &byte, 1, Int32(MSG_PEEK | MSG_DONTWAIT)) }
        return result == -Int(EAGAIN)
    }

    @inline(always)
    private func receive(into output: inout OutputSpan<UInt8>, flags: Int32) -> IOResult {
        let raw = raw
        // Sound: as inside.
        return unsafe output.withUnsafeMutableBufferPointer { buffer, count in
            let used = count
            let free = buffer.count &- used
            // Sound: the span's memory, of which `used` bytes are in use.
            guard let memory = buffer.baseAddress, free > 0 else { Socket.refuseNoRoom() }
            // Sound: the free rest of the memory, with its size.
            let result = unsafe SystemCall.receive(raw, memory + used, free, flags)
            // At most `free`, so no overflow.
            if result > 0 { count = used &+ result }
            return SystemCall.reading(result)
        }
    }

    @inline(never)
    private static func refuseNoRoom() -> Never {
        preconditionFailure("Reading into no room would look like the end.")
    }
}

// MARK: - Writing

extension Socket {
    /// Sends as much as the system takes now; `.bytes` may be less than there is.
    @inlinable @inline(always)
    public func write(_ bytes: Span<UInt8>) -> IOResult {
        let raw = raw
        // Sound: as inside.
        return unsafe bytes.withUnsafeBufferPointer { buffer in
            // Sound: the span's own bytes, read during the call only.
            unsafe SystemCall.writing(
                SystemCall.send(raw, buffer.baseAddress, buffer.count, Int32(MSG_NOSIGNAL)))
        }
    }

    /// Sends two ranges by one call, such as a head and the first content.
    ///
    /// With `joining`, ranges that are short together are copied side by side first: one part to send costs less than two.
    @inlinable @inline(always)
    public func write(
        _ first: Span<UInt8>, then second: Span<UInt8>, joining: Bool = false
    ) -> IOResult {
        if second.isEmpty { return write(first) }
        if first.isEmpty { return write(second) }
        // Sound: as inside.
        return unsafe first.withUnsafeBufferPointer { one in
            // Sound: as inside.
            unsafe second.withUnsafeBufferPointer { two in
                // Sound: both spans' own bytes, read during the call only.
                unsafe joining && one.count &+ two.count <= Self.joinedMax
                    ? join(one, two) : transmit(one, two)
            }
        }
    }

    /// What is short together, in bytes.
    @usableFromInline static var joinedMax: Int { 1024 }

    @inlinable @inline(always)
    func join(
        _ one: UnsafeBufferPointer<UInt8>, _ two: UnsafeBufferPointer<UInt8>
    ) -> IOResult {
        guard let first = one.baseAddress, let second = two.baseAddress else {
            preconditionFailure("Ranges that have bytes have an address.")
        }
        let raw = raw
        // Sound: the room is for this call, and the caller has seen that both fit.
        return unsafe withUnsafeTemporaryAllocation(of: UInt8.self, capacity: Self.joinedMax) {
            room in
            guard let base = room.baseAddress else {
                preconditionFailure("Room has an address.")
            }
            // Sound: as above; the bytes that are sent have been written just here.
            unsafe base.initialize(from: first, count: one.count)
            unsafe (base + one.count).initialize(from: second, count: two.count)
            // Sound: as above.
            return unsafe SystemCall.writing(
                SystemCall.send(raw, base, one.count &+ two.count, Int32(MSG_NOSIGNAL)))
        }
    }

    @inlinable @inline(always)
    func transmit(
        _ one: UnsafeBufferPointer<UInt8>, _ two: UnsafeBufferPointer<UInt8>
    ) -> IOResult {
        guard let first = one.baseAddress, let second = two.baseAddress else {
            preconditionFailure("Ranges that have bytes have an address.")
        }
        // Sound: sending does not write through the pointers.
        var parts = unsafe (
            iovec(iov_base: UnsafeMutableRawPointer(mutating: first), iov_len: one.count),
            iovec(iov_base: UnsafeMutableRawPointer(mutating: second), iov_len: two.count)
        )
        let raw = raw
        // Sound: as inside.
        return unsafe withUnsafePointer(to: &parts) { parts in
            // Sound: a tuple of two lies in memory as an array of two.
            let vector = unsafe UnsafeRawPointer(parts).assumingMemoryBound(to: iovec.self)
            // Sound: two `iovec`s that live until the call has returned. That no signal comes of a
            // closed connection `init` has seen to.
            return unsafe SystemCall.writing(SystemCall.write(raw, vector, 2))
        }
    }

    /// Says that no more will be sent; reading goes on.
    public func shutdownWrite() {
        _ = shutdown(raw, Int32(SHUT_WR))
    }

    /// Makes the close discard what was not sent and reset the connection.
    public func resetOnClose() {
        setOption(SOL_SOCKET, SO_LINGER, linger(l_onoff: 1, l_linger: 0))
    }
}

// MARK: - Options and names

extension Socket {
    /// How a connect ended: 0, or its `errno`; also takes the error that an event reported.
    public func connectResult() -> Int32 {
        var code: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        let result: Int32 = SystemCall.run {
            // Sound: the value and its length live during the call.
            unsafe getsockopt(raw, SOL_SOCKET, SO_ERROR, &code, &length)
        }
        return result < 0 ? -result : code
    }

    /// Sends small writes at once (TCP_NODELAY).
    public func setNoDelay() {
        setOption(Int32(IPPROTO_TCP), TCP_NODELAY, Int32(1))
    }

    /// Probes a silent peer after `idleSeconds`, every `intervalSeconds`, `count` times.
    public func setKeepAlive(idleSeconds: Int32, intervalSeconds: Int32, count: Int32) {
        setOption(SOL_SOCKET, SO_KEEPALIVE, Int32(1))
        setOption(Int32(IPPROTO_TCP), TCP_KEEPIDLE, idleSeconds)
        setOption(Int32(IPPROTO_TCP), TCP_KEEPINTVL, intervalSeconds)
        setOption(Int32(IPPROTO_TCP), TCP_KEEPCNT, count)
    }

    /// Gives up when sent bytes are not acknowledged for so long (TCP_USER_TIMEOUT).
    public func setUserTimeout(milliseconds: UInt32) {
        setOption(Int32(IPPROTO_TCP), TCP_USER_TIMEOUT, milliseconds)
    }

    /// The shortest round trip of the last minutes as the system has measured it, in microseconds; nil when
    /// there is none.
    public func shortestRoundTrip() -> UInt32? {
        var facts = InlineArray<38, UInt32>(repeating: 0)
        var length = socklen_t(MemoryLayout<InlineArray<38, UInt32>>.size)
        let result: Int32 = SystemCall.run {
            // Sound: plain words with their size, written during the call only.
            unsafe getsockopt(raw, Int32(IPPROTO_TCP), TCP_INFO, &facts, &length)
        }
        // `tcpi_min_rtt` of Linux' `tcp_info`, which libc's does not have: the word at byte 148.
        if result < 0 || Int(length) < 38 * MemoryLayout<UInt32>.size { return nil }
        return facts[37] == .max ? nil : facts[37]
    }

    /// This end's address; nil when the connection is gone.
    public func localAddress() -> SocketAddress? { Socket.localAddress(of: raw) }

    /// The other end's address; nil when the connection is gone.
    public func peerAddress() -> SocketAddress? {
        var result: Int32 = 0
        // Sound: as inside.
        return unsafe SocketAddress.reading(result: &result) { form, length in
            // Sound: pointer and length belong together for the call.
            unsafe getpeername(raw, __SOCKADDR_ARG(__sockaddr__: form), &length)
        }
    }

    static func localAddress(of raw: Int32) -> SocketAddress? {
        var result: Int32 = 0
        // Sound: as inside.
        return unsafe SocketAddress.reading(result: &result) { form, length in
            // Sound: pointer and length belong together for the call.
            unsafe getsockname(raw, __SOCKADDR_ARG(__sockaddr__: form), &length)
        }
    }

    /// Sets an option whose failure changes nothing that matters: the socket is then already gone.
    func setOption<Value: BitwiseCopyable>(_ level: Int32, _ name: Int32, _ value: Value) {
        _ = Socket.setOption(raw, level, name, value)
    }

    static func setOption<Value: BitwiseCopyable>(
        _ raw: Int32, _ level: Int32, _ name: Int32, _ value: Value
    ) -> Int32 {
        // Sound: as inside.
        unsafe withUnsafeBytes(of: value) { bytes in
            // Sound: plain bytes with their size, read during the call only.
            SystemCall.run {
                unsafe setsockopt(raw, level, name, bytes.baseAddress, socklen_t(bytes.count))
            }
        }
    }
}
