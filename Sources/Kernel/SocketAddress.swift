// A buffer that has bytes has an address.
// swift-format-ignore-file: NeverForceUnwrap

import CLinux
import Glibc

/// An IPv4 or IPv6 address with a port; plain bits, no pointers.
public struct SocketAddress: BitwiseCopyable, Hashable, Sendable, CustomStringConvertible {
    /// The address in network order, read as two big-endian words; IPv4 in the lower 32 bits.
    @usableFromInline let upper: UInt64
    @usableFromInline let lower: UInt64
    /// The interface of a link-local IPv6 address; zero: none.
    @usableFromInline let scope: UInt32
    /// The port in the machine's order.
    public var port: UInt16
    public let isIPv6: Bool

    init(upper: UInt64, lower: UInt64, scope: UInt32, port: UInt16, isIPv6: Bool) {
        self.upper = upper
        self.lower = lower
        self.scope = scope
        self.port = port
        self.isIPv6 = isIPv6
    }

    /// Every address of this machine.
    public static func any(v6: Bool, port: UInt16) -> SocketAddress {
        SocketAddress(upper: 0, lower: 0, scope: 0, port: port, isIPv6: v6)
    }

    /// This machine, seen from itself: `127.0.0.1` or `::1`.
    public static func loopback(v6: Bool, port: UInt16) -> SocketAddress {
        SocketAddress(upper: 0, lower: v6 ? 1 : 0x7f00_0001, scope: 0, port: port, isIPv6: v6)
    }

    /// Whether it stands for every address of this machine.
    public var isAny: Bool { upper == 0 && lower == 0 }

    /// Whether it is in `127.0.0.0/8`, `::1`, or an IPv4-mapped loopback address.
    public var isLoopback: Bool {
        if let v4 = ipv4 { return v4 >> 24 == 127 }
        return upper == 0 && lower == 1
    }

    /// The IPv4 address, also of an IPv4-mapped IPv6 address (RFC 4291 §2.5.5.2).
    var ipv4: UInt32? {
        if !isIPv6 { return UInt32(truncatingIfNeeded: lower) }
        guard upper == 0, lower >> 32 == 0xffff else { return nil }
        return UInt32(truncatingIfNeeded: lower)
    }

    /// Whether both are the same address, whatever their ports.
    @inlinable @inline(__always)
    public func isSameHost(as other: SocketAddress) -> Bool {
        lower == other.lower && upper == other.upper && isIPv6 == other.isIPv6
            && scope == other.scope
    }

    /// Whether it is the same host by another form of its address: mapped, or without its scope.
    func isSameNode(as other: SocketAddress) -> Bool {
        if let ipv4 { return ipv4 == other.ipv4 }
        return lower == other.lower && upper == other.upper && other.isIPv6
    }

    /// `1.2.3.4:80` or `[::1]:80`.
    public var description: String {
        isIPv6 && ipv4 == nil ? "[\(hostDescription)]:\(port)" : "\(hostDescription):\(port)"
    }
}

// MARK: - Reading text

extension SocketAddress {
    /// A numeric address such as `127.0.0.1`, `::1` or `fe80::1%eth0`; names are not resolved.
    public init?(_ host: String, port: UInt16) {
        guard host.utf8.count <= 64, !host.utf8.contains(0) else { return nil }
        var v4 = in_addr()
        // Sound: a terminated string and room for the four bytes of the result.
        if unsafe inet_pton(AF_INET, host, &v4) == 1 {
            let word = UInt32(bigEndian: v4.s_addr)
            self.init(upper: 0, lower: UInt64(word), scope: 0, port: port, isIPv6: false)
            return
        }
        let parts = host.split(separator: "%", maxSplits: 1, omittingEmptySubsequences: false)
        var scope: UInt32 = 0
        if parts.count == 2 {
            guard let index = SocketAddress.interface(String(parts[1])) else { return nil }
            scope = index
        }
        var v6 = in6_addr()
        // Sound: a terminated string and room for the sixteen bytes of the result.
        guard unsafe inet_pton(AF_INET6, String(parts[0]), &v6) == 1 else { return nil }
        // Sound: any 16 bytes are two words.
        let words = unsafe unsafeBitCast(v6, to: (UInt64, UInt64).self)
        self.init(
            upper: UInt64(bigEndian: words.0), lower: UInt64(bigEndian: words.1), scope: scope,
            port: port, isIPv6: true)
    }

    /// A numeric address without interface, as bytes that somebody else sent; allocates nothing.
    ///
    /// A port behind it and brackets around it are left out.
    public init?(told text: Span<UInt8>) {
        var start = 0
        var end = text.count
        if end > 0, text[0] == UInt8(ascii: "[") {
            start = 1
            end = 1
            while end < text.count, text[end] != UInt8(ascii: "]") { end += 1 }
            if end == text.count { return nil }
        } else {
            var colons = 0
            var first = end
            for at in text.indices where text[at] == UInt8(ascii: ":") {
                colons += 1
                first = min(first, at)
            }
            if colons == 1 { end = first }
        }
        guard end - start <= SocketAddress.hostBytesMax + 6 else { return nil }
        // Longer than any address, with its end.
        var host = InlineArray<64, CChar>(repeating: 0)
        for at in start..<end { host[at - start] = CChar(bitPattern: text[at]) }
        var v4 = in_addr()
        var v6 = in6_addr()
        let characters = host.span
        // Sound: a terminated string and room for the four bytes of the result.
        let isIPv4 = unsafe characters.withUnsafeBufferPointer { buffer in
            unsafe inet_pton(AF_INET, buffer.baseAddress!, &v4) == 1
        }
        if isIPv4 {
            let word = UInt32(bigEndian: v4.s_addr)
            self.init(upper: 0, lower: UInt64(word), scope: 0, port: 0, isIPv6: false)
            return
        }
        // Sound: a terminated string and room for the sixteen bytes of the result.
        let isIPv6 = unsafe characters.withUnsafeBufferPointer { buffer in
            unsafe inet_pton(AF_INET6, buffer.baseAddress!, &v6) == 1
        }
        guard isIPv6 else { return nil }
        // Sound: any 16 bytes are two words.
        let words = unsafe unsafeBitCast(v6, to: (UInt64, UInt64).self)
        self.init(
            upper: UInt64(bigEndian: words.0), lower: UInt64(bigEndian: words.1), scope: 0, port: 0,
            isIPv6: true)
    }

    /// An address with a port: `127.0.0.1:80` or `[::1]:80`.
    public init?(parsing text: String) {
        guard let colon = text.utf8.lastIndex(of: UInt8(ascii: ":")) else { return nil }
        let digits = text.utf8[text.utf8.index(after: colon)...]
        guard !digits.isEmpty, digits.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }),
            let port = UInt16(text[text.utf8.index(after: colon)...])
        else { return nil }
        let host = text[..<colon]
        if host.hasPrefix("[") {
            guard host.hasSuffix("]") else { return nil }
            self.init(String(host.dropFirst().dropLast()), port: port)
            guard isIPv6 else { return nil }
        } else {
            self.init(String(host), port: port)
            guard !isIPv6 else { return nil }
        }
    }

    private static func interface(_ name: String) -> UInt32? {
        if let number = UInt32(name), number > 0 { return number }
        // Sound: a terminated string, read during the call only.
        let index = unsafe if_nametoindex(name)
        return index == 0 ? nil : index
    }
}

// MARK: - Writing text

extension SocketAddress {
    /// Bytes that `writeHost` needs at most.
    public static var hostBytesMax: Int { 39 }

    /// The address without the port, as `writeHost` writes it, with the interface of a link-local
    /// one.
    public var hostDescription: String {
        // Sound: as inside.
        let text = unsafe String(
            unsafeUninitializedCapacity: SocketAddress.hostBytesMax
        ) { buffer in
            // Sound: the string's own memory, of which the written part is counted.
            var output = unsafe OutputSpan(buffer: buffer, initializedCount: 0)
            writeHost(into: &output)
            // Sound: the same memory.
            return unsafe output.finalize(for: buffer)
        }
        return scope == 0 ? text : "\(text)%\(scope)"
    }

    /// Appends the address without port and interface, at most `hostBytesMax` bytes (RFC 5952).
    ///
    /// An IPv4-mapped address is written as IPv4. Allocates nothing; traps when there is no room.
    public func writeHost(into output: inout OutputSpan<UInt8>) {
        if let v4 = ipv4 {
            SocketAddress.append(v4: v4, to: &output)
        } else {
            appendGroups(to: &output)
        }
    }

    /// The form of IPv6, without its longest run of zeroes.
    @inline(never)
    private func appendGroups(to output: inout OutputSpan<UInt8>) {
        let zeroes = longestZeroRun()
        var index = 0
        while index < 8 {
            if index == zeroes.lowerBound, !zeroes.isEmpty {
                output.append(UInt8(ascii: ":"))
                output.append(UInt8(ascii: ":"))
                index = zeroes.upperBound
                continue
            }
            if index > 0, index != zeroes.upperBound { output.append(UInt8(ascii: ":")) }
            SocketAddress.append(hex: group(index), to: &output)
            index += 1
        }
    }

    private func group(_ index: Int) -> UInt16 {
        let word = index < 4 ? upper : lower
        return UInt16(truncatingIfNeeded: word >> (48 - UInt64(index & 3) * 16))
    }

    /// The first longest run of at least two zero groups (RFC 5952 §4.2).
    private func longestZeroRun() -> Range<Int> {
        var best = 8..<8
        var start = 0
        while start < 8 {
            var end = start
            while end < 8, group(end) == 0 { end += 1 }
            if end - start >= 2, end - start > best.count { best = start..<end }
            start = end + 1
        }
        return best
    }

    /// Two octets at a time, as words whose lowest byte comes first.
    @inline(__always)
    private static func append(v4: UInt32, to output: inout OutputSpan<UInt8>) {
        let one = pair(v4 >> 16)
        let two = pair(v4 & 0xffff)
        // The last dot is no part of it.
        let count = one.count &+ two.count &- 1
        let free = output.freeCapacity
        precondition(count <= free, "There is room for an address.")
        if free < 16 { return append(one.word, one.count, two.word, count, to: &output) }
        // Sound: as inside.
        unsafe output.withUnsafeMutableBufferPointer { buffer, used in
            guard let base = buffer.baseAddress else { return }
            // Sound: 16 bytes are free behind `used`, and a pair has at most eight.
            let text = unsafe UnsafeMutableRawPointer(base + used)
            // Sound: as above.
            unsafe text.storeBytes(of: one.word, as: UInt64.self)
            // Sound: as above.
            unsafe text.storeBytes(of: two.word, toByteOffset: one.count, as: UInt64.self)
            used &+= count
        }
    }

    /// The same byte by byte, where there is just enough room.
    @inline(never)
    private static func append(
        _ one: UInt64, _ oneCount: Int, _ two: UInt64, _ count: Int,
        to output: inout OutputSpan<UInt8>
    ) {
        for i in 0..<count {
            let word = i < oneCount ? one >> UInt64(i * 8) : two >> UInt64((i - oneCount) * 8)
            output.append(UInt8(truncatingIfNeeded: word))
        }
    }

    /// Two octets in decimal, each with a dot behind it.
    @inline(__always)
    private static func pair(_ octets: UInt32) -> (word: UInt64, count: Int) {
        let one = digits(octets >> 8)
        let two = digits(octets & 0xff)
        let shift = UInt64(truncatingIfNeeded: one.count &* 8)
        return (UInt64(one.word) | UInt64(two.word) &<< shift, one.count &+ two.count)
    }

    /// An octet in decimal with a dot behind it, the first digit lowest.
    @inline(__always)
    private static func digits(_ octet: UInt32) -> (word: UInt32, count: Int) {
        if octet < 10 { return (octet | 0x2e30, 2) }
        // Exact for octets: 41 / 4096 is 1 / 100 and 103 / 1024 is 1 / 10, nearly.
        let hundreds = (octet &* 41) >> 12
        let below = octet &- hundreds &* 100
        let tens = (below &* 103) >> 10
        let ones = below &- tens &* 10
        if octet < 100 { return (tens | ones << 8 | 0x2e_3030, 3) }
        return (hundreds | tens << 8 | ones << 16 | 0x2e30_3030, 4)
    }

    private static func append(hex value: UInt16, to output: inout OutputSpan<UInt8>) {
        var isLeading = true
        for shift: UInt16 in [12, 8, 4, 0] {
            let digit = UInt8(truncatingIfNeeded: value >> shift) & 0xf
            if isLeading, digit == 0, shift > 0 { continue }
            isLeading = false
            output.append(digit < 10 ? 0x30 + digit : 0x61 + digit - 10)
        }
    }
}

// MARK: - The system's form

extension SocketAddress {
    /// Calls `body` with the address as the system wants it.
    func withSystemForm(_ body: (UnsafePointer<sockaddr>?, socklen_t) -> Int32) -> Int32 {
        if isIPv6 {
            var form = sockaddr_in6()
            form.sin6_family = sa_family_t(AF_INET6)
            form.sin6_port = port.bigEndian
            form.sin6_scope_id = scope
            let words = (upper.bigEndian, lower.bigEndian)
            // Sound: two words are any 16 bytes.
            form.sin6_addr = unsafe unsafeBitCast(words, to: in6_addr.self)
            // Sound: as inside.
            return unsafe withUnsafeBytes(of: &form) { bytes in
                // Sound: every socket address begins as a `sockaddr` does; read in the call only.
                unsafe body(
                    bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self),
                    socklen_t(bytes.count))
            }
        }
        var form = sockaddr_in()
        form.sin_family = sa_family_t(AF_INET)
        form.sin_port = port.bigEndian
        form.sin_addr.s_addr = UInt32(truncatingIfNeeded: lower).bigEndian
        // Sound: as inside.
        return unsafe withUnsafeBytes(of: &form) { bytes in
            // Sound: as above.
            unsafe body(
                bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self), socklen_t(bytes.count))
        }
    }

    /// Lets `body` fill in an address; nil when it is neither IPv4 nor IPv6.
    ///
    /// `result` is what `body` returned.
    static func reading(
        result: inout Int32, _ body: (UnsafeMutablePointer<sockaddr>?, inout socklen_t) -> Int32
    ) -> SocketAddress? {
        var form = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        // Sound: as inside.
        return unsafe withUnsafeMutableBytes(of: &form) { bytes in
            // Sound: the storage has room for every kind of address, and its length goes with it.
            result = unsafe body(
                bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self), &length)
            if result < 0 { return nil }
            // Sound: the storage was zeroed and is long enough for each kind read below.
            return unsafe SocketAddress(UnsafeRawBufferPointer(bytes), length: Int(length))
        }
    }

    init?(_ bytes: UnsafeRawBufferPointer, length: Int) {
        // Sound: the storage begins with the family.
        let family = Int32(unsafe bytes.load(as: sa_family_t.self))
        if family == AF_INET, length >= MemoryLayout<sockaddr_in>.size {
            // Sound: the family says which kind it is, and the storage is aligned for all.
            let form = unsafe bytes.load(as: sockaddr_in.self)
            self.init(
                upper: 0, lower: UInt64(UInt32(bigEndian: form.sin_addr.s_addr)), scope: 0,
                port: UInt16(bigEndian: form.sin_port), isIPv6: false)
        } else if family == AF_INET6, length >= MemoryLayout<sockaddr_in6>.size {
            // Sound: as above.
            let form = unsafe bytes.load(as: sockaddr_in6.self)
            // Sound: any 16 bytes are two words.
            let words = unsafe unsafeBitCast(form.sin6_addr, to: (UInt64, UInt64).self)
            self.init(
                upper: UInt64(bigEndian: words.0), lower: UInt64(bigEndian: words.1),
                scope: form.sin6_scope_id, port: UInt16(bigEndian: form.sin6_port), isIPv6: true)
        } else {
            return nil
        }
    }
}
