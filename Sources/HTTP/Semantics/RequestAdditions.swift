/// The lines that the gateway adds to a request, kept ready to be copied: one per worker.
///
/// They stand in one array in the order `x-request-id`, `via`, `x-forwarded-proto`,
/// `x-forwarded-for`, so that whatever a request needs of them is one run. Only the identity
/// changes with each request; the rest changes with the client.
public struct RequestAdditions: ~Copyable, Sendable {
    /// Which of the lines a request gets; Via it always gets.
    public struct Parts: OptionSet, Sendable, BitwiseCopyable {
        public let rawValue: UInt8
        @inlinable public init(rawValue: UInt8) { self.rawValue = rawValue }
        /// The fresh identity, instead of any that the client sent.
        @inlinable public static var requestID: Parts { Parts(rawValue: 1) }
        /// X-Forwarded-For, -Proto and -Host, instead of all that the client said of earlier hops.
        @inlinable public static var forwarded: Parts { Parts(rawValue: 2) }
    }

    private let byAddress = ByAddress()
    /// The lines.
    private(set) var bytes: HeadStorage<UInt8>
    /// What the gateway calls itself in Via.
    private let name: StaticString
    /// Offset after Via.
    private var viaEnd: UInt32
    /// Offset after X-Forwarded-For.
    private var forwardedEnd: UInt32

    /// Most bytes of a client's address: an IPv6 address with the name of an interface.
    private static var addressBytesMax: Int { 64 }
    /// Where the identity begins: after `x-request-id: `.
    static var requestIDStart: Int { 14 }
    /// Offset after the line of the identity.
    private static var requestIDEnd: UInt32 { 52 }

    /// Makes the lines with `name` as what this gateway calls itself in Via.
    ///
    /// Client and identity are of no use until they are set.
    public init(via name: StaticString) {
        // Three line ends, the longest of each name, and the longest version.
        let capacity = Int(Self.requestIDEnd) + name.utf8CodeUnitCount + Self.addressBytesMax + 58
        self.name = name
        bytes = HeadStorage(capacity: capacity)
        let isWritten = bytes.edit { output in
            ByteScan.append("x-request-id: ", to: &output)
                && RequestID.write(milliseconds: 0, random: (0, 0), into: &output)
                && ByteScan.append("\r\n", to: &output)
        }
        precondition(isWritten, "the lines have room for the identity")
        viaEnd = Self.requestIDEnd
        forwardedEnd = viaEnd
    }

    /// The version of a message in Via (RFC 9110 §7.6.3).
    private static func text(_ version: Version) -> StaticString {
        switch version {
        case .http10: "1.0 "
        case .http11: "1.1 "
        case .http2: "2 "
        }
    }

    /// Says who the client is: its address as text without port, at most 64 bytes, whether it came
    /// by TLS, and the version of its request.
    public mutating func setClient(_ address: Span<UInt8>, isSecure: Bool, _ version: Version) {
        precondition(address.count <= Self.addressBytesMax, "no address is as long as that")
        let surplus = bytes.count - Int(Self.requestIDEnd)
        let text = Self.text(version)
        let name = name
        bytes.edit { output in
            output.removeLast(surplus)
            _ =
                ByteScan.append("via: ", to: &output) && ByteScan.append(text, to: &output)
                && ByteScan.append(name, to: &output) && ByteScan.append("\r\n", to: &output)
        }
        viaEnd = UInt32(bytes.count)
        bytes.edit { output in
            let proto: StaticString = isSecure ? "https" : "http"
            _ =
                ByteScan.append("x-forwarded-proto: ", to: &output)
                && ByteScan.append(proto, to: &output)
                && ByteScan.append("\r\nx-forwarded-for: ", to: &output)
                && ByteScan.append(address, "\r\n", to: &output)
        }
        forwardedEnd = UInt32(bytes.count)
    }

    /// Makes a new identity, a UUID of version 7, from 48 bits of milliseconds and 74 random bits.
    public mutating func makeRequestID(milliseconds: UInt64, random: (UInt64, UInt64)) {
        ByteScan.store(
            RequestID.Text(milliseconds: milliseconds, random: random), &bytes,
            at: Self.requestIDStart)
    }

    /// The identity that was made last.
    public var requestID: Span<UInt8> {
        @_lifetime(borrow self)
        get {
            let start = Self.requestIDStart
            return bytes.span.extracting(start..<(start + RequestID.count))
        }
    }

    /// The lines of these parts, without X-Forwarded-Host, which differs with each request.
    @inline(__always)
    @_lifetime(borrow self)
    func lines(_ parts: Parts) -> Span<UInt8> {
        let range = range(parts)
        return ByteScan.part(bytes.span, range.start, range.start &+ range.count)
    }

    /// Where these lines lie in `bytes`.
    @inline(__always)
    func range(_ parts: Parts) -> ByteRange {
        let start = parts.contains(.requestID) ? 0 : Self.requestIDEnd
        // Either of these ends is behind the line of the identity.
        let end = parts.contains(.forwarded) ? forwardedEnd : viaEnd
        return ByteRange(start: start, count: end &- start)
    }
}

extension RequestAdditions.Parts {
    /// The names whose lines of the client's these parts replace.
    @inline(__always)
    var replacedNames: FieldNames {
        contains(.forwarded) ? Forwarded.names.union(identityNames) : identityNames
    }

    /// X-Request-ID if it is replaced; as arithmetic, since it is asked for each request.
    @inline(__always)
    private var identityNames: FieldNames {
        let bit = UInt64(rawValue & Self.requestID.rawValue)
        return FieldNames(rawValue: bit &<< UInt64(FieldName.xRequestID.rawValue))
    }
}
