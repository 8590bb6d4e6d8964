import CLinux
import Glibc

/// Memory for the datagrams of one call: received together, and sent on from where they stand.
///
/// One for a worker. Each place has room for the largest datagram there is, and uses memory as far as datagrams reach.
@safe
public struct DatagramBatch: ~Copyable {
    /// Datagrams of one call, at most.
    public static var capacity: Int { 32 }
    /// Largest content of a datagram: 65,535 bytes less the shortest headers.
    public static var datagramBytesMax: Int { 65_527 }

    /// Bytes of a place for what the system says beside a datagram; one address takes 40.
    private static var controlBytes: Int { 64 }

    private let bytes: Mapping
    /// Bytes of a place for a datagram.
    private let room: Int
    private let incoming: UnsafeMutablePointer<mmsghdr>
    private let outgoing: UnsafeMutablePointer<mmsghdr>
    /// Where the datagrams stand: of `incoming`, then of `outgoing`.
    private let parts: UnsafeMutablePointer<iovec>
    /// Senders of the datagrams, and one for the receiver of what is sent.
    private let names: UnsafeMutablePointer<sockaddr_storage>
    /// What was said beside each datagram, and one place for what is said when sending.
    private let controls: UnsafeMutableRawPointer
    /// Datagrams that were received last.
    public private(set) var count = 0

    /// A batch for datagrams of so many bytes each at most; longer ones are cut, and say so.
    public init(datagramBytes: Int = DatagramBatch.datagramBytesMax) {
        precondition(
            datagramBytes > 0 && datagramBytes <= Self.datagramBytesMax, "A datagram fits.")
        let capacity = Self.capacity
        room = datagramBytes
        bytes = Mapping(byteCount: capacity * ((datagramBytes + 63) & ~63))
        // Sound: freed in deinit, and initialised here before anything reads them.
        unsafe (incoming, outgoing) = (.allocate(capacity: capacity), .allocate(capacity: capacity))
        // Sound: as above.
        unsafe (parts, names) = (
            .allocate(capacity: 2 * capacity), .allocate(capacity: capacity + 1)
        )
        // Sound: as above.
        unsafe controls = .allocate(byteCount: (capacity + 1) * Self.controlBytes, alignment: 16)
        // Sound: memory just allocated, of this many elements; all of these types are plain bits.
        unsafe incoming.initialize(repeating: mmsghdr(), count: capacity)
        // Sound: as above.
        unsafe outgoing.initialize(repeating: mmsghdr(), count: capacity)
        // Sound: as above.
        unsafe parts.initialize(repeating: iovec(), count: 2 * capacity)
        // Sound: as above.
        unsafe names.initialize(repeating: sockaddr_storage(), count: capacity + 1)
        // Sound: as above.
        unsafe controls.initializeMemory(
            as: UInt8.self, repeating: 0, count: (capacity + 1) * Self.controlBytes)
        for at in 0..<capacity { prepare(at) }
    }

    deinit {
        // Sound: allocated in init, reached by nobody after the end of this value.
        unsafe incoming.deallocate()
        // Sound: as above.
        unsafe outgoing.deallocate()
        // Sound: as above.
        unsafe parts.deallocate()
        // Sound: as above.
        unsafe names.deallocate()
        // Sound: as above.
        unsafe controls.deallocate()
    }

    /// Links the headers of a place with its memory; addresses never change again.
    private func prepare(_ at: Int) {
        let out = Self.capacity + at
        // Sound: below the capacity, in memory of this value that lives as long as it does.
        unsafe parts[at].iov_base = place(at)
        // Sound: as above.
        unsafe parts[out].iov_base = place(at)
        // Sound: as above.
        unsafe incoming[at].msg_hdr.msg_iov = parts + at
        // Sound: as above.
        unsafe incoming[at].msg_hdr.msg_iovlen = 1
        // Sound: as above.
        unsafe incoming[at].msg_hdr.msg_name = UnsafeMutableRawPointer(names + at)
        // Sound: as above.
        unsafe incoming[at].msg_hdr.msg_control = control(at)
        // Sound: as above.
        unsafe outgoing[at].msg_hdr.msg_iov = parts + out
        // Sound: as above.
        unsafe outgoing[at].msg_hdr.msg_iovlen = 1
        open(at)
    }

    /// Says anew how much room a place has, which receiving changes.
    private func open(_ at: Int) {
        // Sound: below the capacity; lengths of memory that each place has.
        unsafe parts[at].iov_len = room
        // Sound: as above.
        unsafe incoming[at].msg_hdr.msg_namelen = socklen_t(MemoryLayout<sockaddr_storage>.size)
        // Sound: as above.
        unsafe incoming[at].msg_hdr.msg_controllen = Self.controlBytes
    }

    /// Memory of a datagram.
    private func place(_ at: Int) -> UnsafeMutableRawPointer {
        // Sound: the mapping has so many places of `room` bytes, each rounded up.
        unsafe bytes.base + at * ((room + 63) & ~63)
    }

    private func control(_ at: Int) -> UnsafeMutableRawPointer {
        // Sound: one place more than the capacity was allocated.
        unsafe controls + at * Self.controlBytes
    }
}

// MARK: - Receiving

extension DatagramBatch {
    /// Takes what waits, up to `capacity` datagrams, in place of those that were here; `.bytes` is their number.
    ///
    /// `.failed(ECONNREFUSED)` on a connected socket says that a datagram sent before found nobody.
    public mutating func receive(from socket: borrowing DatagramSocket) -> IOResult {
        for at in 0..<count { open(at) }
        count = 0
        let raw = socket.raw
        // Sound: the address is only given to the system, with the number of headers there.
        let headers = unsafe Int(bitPattern: incoming)
        let result = SystemCall.run {
            system_call(Int(SYS_recvmmsg), Int(raw), headers, Self.capacity, 0, 0, 0)
        }
        if result > 0 { count = result }
        return SystemCall.reading(result)
    }

    /// Length of a datagram in bytes; it may be none.
    public func length(_ at: Int) -> Int {
        precondition(at >= 0 && at < count, "The datagram is one of the last.")
        // Sound: filled in by the call that received it.
        return Int(unsafe incoming[at].msg_len)
    }

    /// Length of several datagrams together.
    public func byteCount(_ range: Range<Int>) -> UInt64 {
        var sum: UInt64 = 0
        for at in range { sum &+= UInt64(length(at)) }
        return sum
    }

    /// Whether a datagram was longer than its place.
    public func isTruncated(_ at: Int) -> Bool {
        precondition(at >= 0 && at < count, "The datagram is one of the last.")
        // Sound: filled in by the call that received it.
        return unsafe incoming[at].msg_hdr.msg_flags & Int32(MSG_TRUNC) != 0
    }

    /// The content of a datagram.
    @_lifetime(borrow self)
    public func content(_ at: Int) -> Span<UInt8> {
        let length = min(length(at), room)
        // Sound: so many bytes of the place were filled in by the call that received it.
        let start = unsafe place(at).assumingMemoryBound(to: UInt8.self)
        // Sound: as above; the place stays as it is while this value is borrowed.
        let span = unsafe Span(_unsafeStart: start, count: length)
        // Sound: the memory lives as long as this value.
        return unsafe _overrideLifetime(span, borrowing: self)
    }

    /// Who sent a datagram; nil when it is neither IPv4 nor IPv6.
    public func sender(_ at: Int) -> SocketAddress? {
        precondition(at >= 0 && at < count, "The datagram is one of the last.")
        // Sound: filled in by the call that received it, with its length.
        let length = Int(unsafe incoming[at].msg_hdr.msg_namelen)
        // Sound: as above; the storage is aligned for every kind of address.
        return unsafe SocketAddress(
            UnsafeRawBufferPointer(start: names + at, count: MemoryLayout<sockaddr_storage>.size),
            length: length)
    }

    /// The address of this machine that a datagram came to, without port; nil when the socket was not asked to say.
    ///
    /// Only of bound sockets (IP_PKTINFO, RFC 3542 §6.2).
    public func receiver(_ at: Int) -> SocketAddress? {
        precondition(at >= 0 && at < count, "The datagram is one of the last.")
        // Sound: filled in by the call that received it; at most the bytes of the place.
        let end = min(Int(unsafe incoming[at].msg_hdr.msg_controllen), Self.controlBytes)
        let start = unsafe control(at)
        // Sound: inside the place, as checked.
        guard end >= 16, case let length = Int(unsafe start.load(as: UInt64.self)), length <= end
        else { return nil }
        // Sound: as above; level and type follow the length.
        let level = unsafe start.load(fromByteOffset: 8, as: Int32.self)
        // Sound: as above.
        let type = unsafe start.load(fromByteOffset: 12, as: Int32.self)
        if level == Int32(IPPROTO_IP), type == IP_PKTINFO, length >= 28 {
            // Sound: inside the message: interface, the address to answer from, the address in the header.
            let word = unsafe start.load(fromByteOffset: 20, as: UInt32.self)
            return SocketAddress(
                upper: 0, lower: UInt64(UInt32(bigEndian: word)), scope: 0, port: 0, isIPv6: false)
        }
        guard level == Int32(IPPROTO_IPV6), type == IPV6_PKTINFO, length >= 36 else { return nil }
        // Sound: inside the message: the address, then the interface.
        let words = unsafe start.loadUnaligned(fromByteOffset: 16, as: (UInt64, UInt64).self)
        // Sound: as above.
        let interface = unsafe start.load(fromByteOffset: 32, as: UInt32.self)
        let upper = UInt64(bigEndian: words.0)
        return SocketAddress(
            upper: upper, lower: UInt64(bigEndian: words.1),
            // Only a link-local address means nothing without its interface.
            scope: upper >> 54 == 0x3FA ? interface : 0, port: 0, isIPv6: true)
    }
}

// MARK: - Sending

extension DatagramBatch {
    /// How many of some datagrams went, and why not the next one.
    public struct Sent: BitwiseCopyable, Equatable, Sendable {
        public var count: Int
        /// The `errno` of the first that did not go; 0 when all went.
        public var error: Int32
        /// The socket takes no more now.
        public var wouldBlock: Bool { error == EAGAIN }
        /// A datagram sent before found nobody.
        public var wasRefused: Bool { error == ECONNREFUSED }
    }

    /// Sends datagrams of the batch to the peer of a connected socket.
    public mutating func send(_ range: Range<Int>, over socket: borrowing DatagramSocket) -> Sent {
        for at in range {
            // Sound: below the capacity, as `transmit` checks; no name and no control message.
            unsafe outgoing[at].msg_hdr.msg_name = nil
            // Sound: as above.
            unsafe outgoing[at].msg_hdr.msg_namelen = 0
            // Sound: as above.
            unsafe outgoing[at].msg_hdr.msg_control = nil
            // Sound: as above.
            unsafe outgoing[at].msg_hdr.msg_controllen = 0
        }
        return transmit(range, socket.raw)
    }

    /// Sends datagrams of the batch over a bound socket to anybody, from an address of this machine; nil leaves the
    /// choice to the system.
    public mutating func send(
        _ range: Range<Int>, over socket: borrowing DatagramSocket, to peer: SocketAddress,
        from local: SocketAddress?
    ) -> Sent {
        // Sound: one place more than the capacity was allocated.
        let name = unsafe names + Self.capacity
        var nameLength: socklen_t = 0
        // Sound: as inside.
        _ = unsafe peer.withSystemForm { form, length in
            guard let form = unsafe form else { return 0 }
            nameLength = length
            // Sound: storage for every kind of address, and the form with its own length.
            unsafe UnsafeMutableRawPointer(name).copyMemory(from: form, byteCount: Int(length))
            return 0
        }
        let controlLength = writeSource(local)
        for at in range {
            // Sound: below the capacity, as `transmit` checks; both live as long as this value.
            unsafe outgoing[at].msg_hdr.msg_name = UnsafeMutableRawPointer(name)
            // Sound: as above.
            unsafe outgoing[at].msg_hdr.msg_namelen = nameLength
            // Sound: as above.
            unsafe outgoing[at].msg_hdr.msg_control =
                controlLength == 0 ? nil : control(Self.capacity)
            // Sound: as above.
            unsafe outgoing[at].msg_hdr.msg_controllen = controlLength
        }
        return transmit(range, socket.raw)
    }

    /// Writes the control message that names the source, with its padding; its length.
    private func writeSource(_ local: SocketAddress?) -> Int {
        guard let local, !local.isAny else { return 0 }
        // Sound: one place more than the capacity was allocated.
        let start = unsafe control(Self.capacity)
        // Sound: this and all below stays within the 64 bytes of the place.
        unsafe start.storeBytes(of: local.isIPv6 ? 36 : 28, as: UInt64.self)
        // Sound: as above.
        unsafe start.storeBytes(
            of: local.isIPv6 ? Int32(IPPROTO_IPV6) : Int32(IPPROTO_IP), toByteOffset: 8,
            as: Int32.self)
        // Sound: as above.
        unsafe start.storeBytes(
            of: local.isIPv6 ? IPV6_PKTINFO : IP_PKTINFO, toByteOffset: 12, as: Int32.self)
        if local.isIPv6 {
            // Sound: as above: the address and the interface.
            unsafe start.storeBytes(of: local.upper.bigEndian, toByteOffset: 16, as: UInt64.self)
            // Sound: as above.
            unsafe start.storeBytes(of: local.lower.bigEndian, toByteOffset: 24, as: UInt64.self)
            // Sound: as above.
            unsafe start.storeBytes(of: local.scope, toByteOffset: 32, as: UInt32.self)
            return 40
        }
        let word = UInt32(truncatingIfNeeded: local.lower).bigEndian
        // Sound: as above: no interface, the source, and an address that sending does not look at.
        unsafe start.storeBytes(of: 0, toByteOffset: 16, as: UInt32.self)
        // Sound: as above.
        unsafe start.storeBytes(of: word, toByteOffset: 20, as: UInt32.self)
        // Sound: as above.
        unsafe start.storeBytes(of: 0, toByteOffset: 24, as: UInt32.self)
        return 32
    }

    private func transmit(_ range: Range<Int>, _ raw: Int32) -> Sent {
        precondition(range.lowerBound >= 0 && range.upperBound <= count, "These were received.")
        for at in range {
            // Sound: below the capacity; the length that was received into the place.
            unsafe parts[Self.capacity + at].iov_len = Int(incoming[at].msg_len)
        }
        var at = range.lowerBound
        while at < range.upperBound {
            // Sound: below the capacity; headers that live as long as this value.
            let first = unsafe Int(bitPattern: outgoing + at)
            let left = range.upperBound - at
            let result: Int = SystemCall.run {
                system_call(
                    Int(SYS_sendmmsg), Int(raw), first, left, Int(MSG_NOSIGNAL), 0, 0)
            }
            if result < 0 {
                return Sent(
                    count: at - range.lowerBound, error: Int32(truncatingIfNeeded: -result))
            }
            at += result
        }
        return Sent(count: range.count, error: 0)
    }
}
