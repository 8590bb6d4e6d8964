import CLinux
import Glibc

/// Owner of one UDP socket, non-blocking and closed on exec.
///
/// One that is bound takes datagrams from anybody and says for each to which of this machine's addresses it came; one
/// that is connected speaks with one peer only, and learns by ICMP that nobody is there.
public struct DatagramSocket: ~Copyable, Sendable {
    /// What the system is asked to hold for a reader that is late, bytes; it gives what its own limit allows.
    private static var receiveBytes: Int32 { 4 << 20 }

    private let socket: Socket

    /// Takes ownership of a non-blocking UDP socket.
    public init(adopting raw: Int32) {
        socket = Socket(adopting: raw)
    }

    private init(_ socket: consuming Socket) {
        self.socket = socket
    }

    /// Binds.
    ///
    /// With `reusePort` several sockets share the address, and the system spreads clients over them, each client's
    /// datagrams to the same socket. IPv6 sockets take IPv6 only: for both families open two.
    public static func open(
        _ address: SocketAddress, reusePort: Bool
    ) throws(SystemError) -> DatagramSocket {
        let socket = try make(isIPv6: address.isIPv6)
        let raw = socket.raw
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
        try SystemCall.check("setsockopt") {
            address.isIPv6
                ? Socket.setOption(raw, Int32(IPPROTO_IPV6), IPV6_RECVPKTINFO, Int32(1))
                : Socket.setOption(raw, Int32(IPPROTO_IP), IP_PKTINFO, Int32(1))
        }
        socket.setOption(SOL_SOCKET, SO_RCVBUF, receiveBytes)
        try SystemCall.check("bind") {
            // Sound: as inside.
            unsafe address.withSystemForm { form, length in
                // Sound: pointer and length belong together for the call.
                unsafe bind(raw, __CONST_SOCKADDR_ARG(__sockaddr__: form), length)
            }
        }
        return DatagramSocket(socket)
    }

    /// Throws `EADDRINUSE` or another reason why nobody could bind here alone.
    ///
    /// Sockets that share a port do not notice a stranger who shares it too; this asks before the first one is opened.
    public static func probe(_ address: SocketAddress) throws(SystemError) {
        _ = try open(address, reusePort: false)
    }

    /// A socket with a port of its own that takes datagrams from this peer only.
    public static func connected(to address: SocketAddress) throws(SystemError) -> DatagramSocket {
        let socket = try make(isIPv6: address.isIPv6)
        try SystemCall.check("connect") {
            // Sound: as inside.
            unsafe address.withSystemForm { form, length in
                // Sound: pointer and length belong together for the call.
                unsafe connect(socket.raw, __CONST_SOCKADDR_ARG(__sockaddr__: form), length)
            }
        }
        return DatagramSocket(socket)
    }

    private static func make(isIPv6: Bool) throws(SystemError) -> Socket {
        let kind = SOCK_DGRAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue
        return Socket(
            adopting: try SystemCall.check("socket") {
                Glibc.socket(isIPv6 ? AF_INET6 : AF_INET, Int32(kind), 0)
            })
    }

    /// The number the system knows it by.
    public var raw: Int32 { socket.raw }

    /// Gives ownership away: the caller closes it.
    public consuming func release() -> Int32 { socket.release() }

    /// The address with the port that the system chose if it was 0.
    public var localAddress: SocketAddress {
        guard let address = Socket.localAddress(of: raw) else {
            preconditionFailure("A datagram socket has an address.")
        }
        return address
    }

    /// Takes the error that an event reported, such as ECONNREFUSED after an ICMP message; 0 for none.
    public func takeError() -> Int32 { socket.connectResult() }
}

extension SystemError {
    /// No descriptor, port or memory is left for another socket.
    public var isExhaustion: Bool {
        [EMFILE, ENFILE, ENOBUFS, ENOMEM, EAGAIN, EADDRNOTAVAIL].contains(code)
    }
}
