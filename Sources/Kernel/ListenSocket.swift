import CLinux
import Glibc

/// What one accept came to.
@frozen
public enum AcceptResult: Equatable, Sendable {
    /// A connection, non-blocking and closed on exec; the receiver of `fd` must close it.
    case accepted(fd: Int32, SocketAddress)
    /// None is waiting.
    case wouldBlock
    /// No descriptor or no memory is left: stop accepting for a while, the queue keeps them.
    case exhausted
    /// This one went away before it was accepted, or the network failed for it: try the next.
    case aborted
    /// The `errno` that makes the listener unusable.
    case failed(Int32)
}

/// Owner of one listening TCP socket; connections inherit TCP_NODELAY from it.
public struct ListenSocket: ~Copyable, Sendable {
    private let socket: Socket

    /// Takes ownership of a listening, non-blocking socket.
    public init(adopting raw: Int32) {
        socket = Socket(adopting: raw)
    }

    private init(_ socket: consuming Socket) {
        self.socket = socket
    }

    /// Binds and listens.
    ///
    /// With `reusePort` several sockets share the address, and the system spreads connections over
    /// them. IPv6 sockets take IPv6 only: for both families open two.
    public static func open(
        _ address: SocketAddress, backlog: Int32 = 4096, reusePort: Bool
    ) throws(SystemError) -> ListenSocket {
        let socket = try bound(to: address, reusePort: reusePort)
        socket.setNoDelay()
        try SystemCall.check("listen") { listen(socket.raw, backlog) }
        return ListenSocket(socket)
    }

    /// Sets what accepted connections inherit: keepalive probes and the time that sent bytes may
    /// stay unanswered.
    public func setDeadPeerDetection(
        idleSeconds: Int32, intervalSeconds: Int32, count: Int32, userTimeoutMilliseconds: UInt32
    ) {
        socket.setKeepAlive(
            idleSeconds: idleSeconds, intervalSeconds: intervalSeconds, count: count)
        socket.setUserTimeout(milliseconds: userTimeoutMilliseconds)
    }

    /// Throws `EADDRINUSE` or another reason why nobody could listen here alone.
    ///
    /// Sockets that share a port do not notice a stranger who shares it too; this asks before the
    /// first one is opened. Connections still closing (TIME_WAIT) do not matter.
    public static func probe(_ address: SocketAddress) throws(SystemError) {
        let socket = try bound(to: address, reusePort: false)
        // A bound socket that does not listen may share with others of the same kind: ask on.
        try SystemCall.check("listen") { listen(socket.raw, 1) }
    }

    private static func bound(
        to address: SocketAddress, reusePort: Bool
    ) throws(SystemError) -> Socket {
        let socket = try Socket.stream(isIPv6: address.isIPv6)
        let raw = socket.raw
        try SystemCall.check("setsockopt") {
            Socket.setOption(raw, SOL_SOCKET, SO_REUSEADDR, Int32(1))
        }
        if reusePort {
            try SystemCall.check("setsockopt") {
                Socket.setOption(raw, SOL_SOCKET, SO_REUSEPORT, Int32(1))
            }
        }
        if address.isIPv6 {
            try SystemCall.check("setsockopt") {
                Socket.setOption(raw, Int32(IPPROTO_IPV6), IPV6_V6ONLY, Int32(1))
            }
        }
        try SystemCall.check("bind") {
            // Sound: as inside.
            unsafe address.withSystemForm { form, length in
                // Sound: pointer and length belong together for the call.
                unsafe bind(raw, __CONST_SOCKADDR_ARG(__sockaddr__: form), length)
            }
        }
        return socket
    }

    /// The number the system knows it by.
    public var raw: Int32 { socket.raw }

    /// Gives ownership away: the caller closes it.
    public consuming func release() -> Int32 { socket.release() }

    /// The address with the port that the system chose if it was 0.
    public var localAddress: SocketAddress {
        guard let address = Socket.localAddress(of: raw) else {
            preconditionFailure("A listening socket has an address.")
        }
        return address
    }

    /// Takes one waiting connection.
    public func accept() -> AcceptResult {
        let flags = Int32(SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        var result: Int32 = 0
        // Sound: as inside.
        let address = unsafe SocketAddress.reading(result: &result) { form, length in
            // Sound: pointer and length belong together for the call.
            let fd = unsafe accept4(raw, __SOCKADDR_ARG(__sockaddr__: form), &length, flags)
            return fd < 0 ? -errno : fd
        }
        if result >= 0 {
            guard let address else {
                _ = close(result)
                return .aborted
            }
            return .accepted(fd: result, address)
        }
        switch -result {
        case EAGAIN: return .wouldBlock
        case EMFILE, ENFILE, ENOBUFS, ENOMEM: return .exhausted
        case EBADF, EINVAL, ENOTSOCK, EFAULT: return .failed(-result)
        // EINTR, ECONNABORTED, EPERM (a firewall), and the network errors of the new connection
        // that Linux passes on here.
        default: return .aborted
        }
    }
}
