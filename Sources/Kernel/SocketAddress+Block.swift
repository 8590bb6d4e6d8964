extension SocketAddress {
    /// Whether both are of one family and their leading `bits` agree; ports do not matter.
    ///
    /// `bits` is 0 ... 32 for IPv4 and 0 ... 128 for IPv6; an IPv4-mapped address counts as IPv4.
    public func agrees(with other: SocketAddress, bits: Int) -> Bool {
        if let mine = ipv4 {
            guard let theirs = other.ipv4 else { return false }
            return bits <= 0 || (mine ^ theirs) >> UInt32(32 - min(bits, 32)) == 0
        }
        if other.ipv4 != nil { return false }
        if bits <= 0 { return true }
        if bits <= 64 { return (upper ^ other.upper) >> UInt64(64 - bits) == 0 }
        if upper != other.upper { return false }
        return (lower ^ other.lower) >> UInt64(128 - min(bits, 128)) == 0
    }
}
