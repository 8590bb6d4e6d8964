import CLinux
import Glibc

extension Machine {
    /// The numeric addresses of this machine's interfaces that are up; empty when they cannot be
    /// read.
    public static func localAddresses() -> [String] {
        var list: UnsafeMutablePointer<ifaddrs>?
        // Sound: on success `list` owns the list until it is freed below.
        guard unsafe getifaddrs(&list) == 0 else { return [] }
        defer {
            // Sound: the list came from getifaddrs and nothing keeps a pointer into it.
            unsafe freeifaddrs(list)
        }
        var found: [String] = []
        var next = unsafe list
        while let entry = unsafe next {
            // Sound: entries live until the list is freed.
            unsafe next = entry.pointee.ifa_next
            // Sound: as above; an interface without an address has none.
            guard let address = unsafe entry.pointee.ifa_addr,
                unsafe entry.pointee.ifa_flags & UInt32(IFF_UP) != 0
            else { continue }
            // Sound: the family says which form the address has.
            if let text = unsafe text(of: address), !found.contains(text) { found.append(text) }
        }
        return found
    }

    private static func text(of address: UnsafeMutablePointer<sockaddr>) -> String? {
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
        return unsafe SocketAddress(bytes, length: length)?.hostDescription
    }
}
