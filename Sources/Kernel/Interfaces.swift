import BasicContainers
import CLinux
import Glibc

extension Machine {
    /// The numeric addresses of this machine's interfaces that are up; empty when they cannot be
    /// read.
    public static func localAddresses() -> [String] {
        var found: [String] = []
        eachLocalAddress { address in
            let text = address.hostDescription
            if !found.contains(text) { found.append(text) }
        }
        return found
    }

    /// Calls `body` with the address of each interface that is up.
    fileprivate static func eachLocalAddress(_ body: (SocketAddress) -> Void) {
        var list: UnsafeMutablePointer<ifaddrs>?
        // Sound: on success `list` owns the list until it is freed below.
        guard unsafe getifaddrs(&list) == 0 else { return }
        defer {
            // Sound: the list came from getifaddrs and nothing keeps a pointer into it.
            unsafe freeifaddrs(list)
        }
        var next = unsafe list
        while let entry = unsafe next {
            // Sound: entries live until the list is freed.
            unsafe next = entry.pointee.ifa_next
            // Sound: as above; an interface without an address has none.
            guard let address = unsafe entry.pointee.ifa_addr,
                unsafe entry.pointee.ifa_flags & UInt32(IFF_UP) != 0
            else { continue }
            // Sound: the family says which form the address has.
            if let found = unsafe read(address) { body(found) }
        }
    }

    private static func read(_ address: UnsafeMutablePointer<sockaddr>) -> SocketAddress? {
        // Sound: the family says how long the address is.
        let family = unsafe Int32(address.pointee.sa_family)
        let length: Int
        switch family {
        case AF_INET: length = MemoryLayout<sockaddr_in>.size
        case AF_INET6: length = MemoryLayout<sockaddr_in6>.size
        default: return nil
        }
        // Sound: `length` bytes stand there while the list lives.
        let bytes = unsafe UnsafeRawBufferPointer(start: address, count: length)
        // Sound: as above.
        return unsafe SocketAddress(bytes, length: length)
    }
}

/// The addresses of this machine's interfaces, read when they are asked for, at most once a second.
public struct LocalAddresses: ~Copyable {
    private static var freshMilliseconds: UInt64 { 1_000 }

    private var known = UniqueArray<SocketAddress>()
    private var readAt: UInt64?

    public init() {}

    /// Whether an interface has this address, whatever the port; `now` is in milliseconds.
    public mutating func contains(_ address: SocketAddress, now: UInt64) -> Bool {
        if readAt.map({ now >= $0 + Self.freshMilliseconds }) ?? true {
            readAt = now
            known.removeAll(keepingCapacity: true)
            var found = UniqueArray<SocketAddress>()
            Machine.eachLocalAddress { found.append($0) }
            swap(&found, &known)
        }
        for index in known.indices where known[index].isSameNode(as: address) { return true }
        return false
    }
}
