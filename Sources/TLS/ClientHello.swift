/// What a first look at a TLS client's bytes tells, before any key is chosen (RFC 8446 §4.1.2).
///
/// Owns what it holds, so it may outlive the bytes; nothing is allocated.
public struct ClientHello: BitwiseCopyable, Sendable {
    /// The longest server name (RFC 1035 §2.3.4).
    public static let serverNameBytesMax = 255
    /// The longest hello message; real ones have 200 to 2,500 bytes.
    public static let messageBytesMax = 16_384
    /// The most bytes that are looked at, record headers included.
    ///
    /// A caller must be able to hold them; a hello that is not complete by then is malformed.
    public static let bytesMax = 2 * messageBytesMax

    /// How far a look at the first bytes of a connection came.
    public enum Step: Sendable {
        /// Nothing is wrong so far; look again with more bytes.
        case incomplete
        /// The bytes are no TLS record at all, such as plain HTTP.
        case notTLS
        /// A TLS record, but no hello that could be answered, or too long a one.
        case malformed
        /// The hello is complete.
        case hello(ClientHello)
    }

    private var name = InlineArray<255, UInt8>(repeating: 0)
    private var nameCount: UInt8 = 0
    /// Whether application protocols were offered at all (RFC 7301).
    public fileprivate(set) var offersApplicationProtocols = false
    /// Whether "h2" is among the offered application protocols.
    public fileprivate(set) var offersHTTP2 = false
    /// Whether "http/1.1" is among the offered application protocols.
    public fileprivate(set) var offersHTTP11 = false
    /// Whether TLS 1.3 is among the supported versions.
    public fileprivate(set) var offersTLS13 = false

    fileprivate init() {}

    /// The name asked for (SNI, RFC 6066 §3): lower-case, without a final dot; empty: none.
    public var serverName: Span<UInt8> {
        @_lifetime(borrow self)
        get { name.span.extracting(first: Int(nameCount)) }
    }

    /// Looks at the first bytes of a connection and consumes nothing.
    ///
    /// Cheap to repeat with more bytes: until the hello is complete only record headers are read.
    public static func parse(_ bytes: Span<UInt8>) -> Step {
        do throws(HelloStop) {
            var reader = try HelloReader(bytes)
            return .hello(try ClientHello(&reader, bytes))
        } catch {
            switch error {
            case .incomplete: return bytes.count >= bytesMax ? .malformed : .incomplete
            case .notTLS: return .notTLS
            case .malformed: return .malformed
            }
        }
    }

    /// Reads the message's fields in their order.
    private init(_ reader: inout HelloReader, _ bytes: Span<UInt8>) throws(HelloStop) {
        self.init()
        try reader.skip(2 + 32, bytes)  // legacy_version, random
        try reader.skip(try reader.vectorCount(1, 0...32, bytes), bytes)  // legacy_session_id
        try reader.skip(try reader.vectorCount(2, 2...65_534, bytes), bytes)  // cipher_suites
        try reader.skip(try reader.vectorCount(1, 1...255, bytes), bytes)  // compression methods
        guard reader.left > 0 else { return }  // TLS 1.2 allows a hello without extensions.
        guard try reader.vectorCount(2, 0...65_535, bytes) == reader.left else {
            throw .malformed
        }
        var seen: (name: Bool, protocols: Bool, versions: Bool) = (false, false, false)
        while reader.left > 0 {
            let type = try reader.number(2, bytes)
            let count = try reader.vectorCount(2, 0...65_535, bytes)
            let end = reader.left - count
            // No extension may come twice (RFC 8446 §4.2); unknown ones, GREASE too, are skipped.
            switch type {
            case 0 where !seen.name:
                seen.name = true
                try readServerName(&reader, bytes, end: end)
            case 16 where !seen.protocols:
                seen.protocols = true
                try readProtocols(&reader, bytes, end: end)
            case 43 where !seen.versions:
                seen.versions = true
                try readVersions(&reader, bytes, end: end)
            case 0, 16, 43: throw .malformed
            default: try reader.skip(count, bytes)
            }
            guard reader.left == end else { throw .malformed }
        }
    }

    /// The extension `server_name`: a list that may hold one host name (RFC 6066 §3).
    private mutating func readServerName(
        _ reader: inout HelloReader,
        _ bytes: Span<UInt8>,
        end: Int
    ) throws(HelloStop) {
        guard try reader.vectorCount(2, 1...65_535, bytes) == reader.left - end else {
            throw .malformed
        }
        var isNamed = false
        while reader.left > end {
            let type = try reader.number(1, bytes)
            let count = try reader.vectorCount(2, 1...65_535, bytes)
            guard type == 0 else {
                try reader.skip(count, bytes)
                continue
            }
            guard !isNamed, count <= ClientHello.serverNameBytesMax else { throw .malformed }
            isNamed = true
            for index in 0..<count {
                name[index] = try ClientHello.nameByte(try reader.number(1, bytes))
            }
            let hasFinalDot = name[count - 1] == UInt8(ascii: ".")
            nameCount = UInt8(hasFinalDot ? count - 1 : count)
            guard nameCount > 0 else { throw .malformed }
        }
    }

    /// The extension `application_layer_protocol_negotiation` (RFC 7301 §3.1).
    private mutating func readProtocols(
        _ reader: inout HelloReader,
        _ bytes: Span<UInt8>,
        end: Int
    ) throws(HelloStop) {
        guard try reader.vectorCount(2, 2...65_535, bytes) == reader.left - end else {
            throw .malformed
        }
        offersApplicationProtocols = true
        while reader.left > end {
            let count = try reader.vectorCount(1, 1...255, bytes)
            guard reader.left - count >= end else { throw .malformed }
            switch count {
            case 2:
                if try reader.number(2, bytes) == 0x6832 { offersHTTP2 = true }
            case 8:
                let first = try reader.number(4, bytes)
                let second = try reader.number(4, bytes)
                // "http", "/1.1".
                if first == 0x6874_7470 && second == 0x2F31_2E31 { offersHTTP11 = true }
            default: try reader.skip(count, bytes)
            }
        }
    }

    /// The extension `supported_versions` (RFC 8446 §4.2.1).
    private mutating func readVersions(
        _ reader: inout HelloReader,
        _ bytes: Span<UInt8>,
        end: Int
    ) throws(HelloStop) {
        let count = try reader.vectorCount(1, 2...254, bytes)
        guard count == reader.left - end, count % 2 == 0 else { throw .malformed }
        while reader.left > end {
            if try reader.number(2, bytes) == 0x0304 { offersTLS13 = true }
        }
    }

    /// A byte of a host name in lower case; letters, digits, hyphen, underscore and dot pass.
    private static func nameByte(_ number: Int) throws(HelloStop) -> UInt8 {
        let byte = UInt8(truncatingIfNeeded: number)
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): return byte | 0x20
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
            return byte
        default: throw .malformed
        }
    }
}

/// Why a look at a hello ends early.
private enum HelloStop: Error {
    case incomplete
    case notTLS
    case malformed
}

/// A place in a handshake message that may be cut into records anywhere (RFC 8446 §5.1).
///
/// Every method takes the bytes it was made with, since a span cannot be kept.
private struct HelloReader {
    /// The most bytes of one record (RFC 8446 §5.1).
    private static let recordBytesMax = 16_384

    /// Bytes of the message after this place.
    private(set) var left = 0
    private var position = 0
    /// Bytes of the present record after this place.
    private var recordLeft = 0

    /// Finds the message and checks that all of it is there.
    init(_ bytes: Span<UInt8>) throws(HelloStop) {
        try openRecord(bytes)
        left = 4
        guard try number(1, bytes) == 1 else { throw .malformed }  // client_hello
        let count = try number(3, bytes)
        guard count <= ClientHello.messageBytesMax else { throw .malformed }
        left = count
        var ahead = self
        try ahead.skip(count, bytes)
    }

    /// A big-endian number of up to four bytes.
    mutating func number(_ count: Int, _ bytes: Span<UInt8>) throws(HelloStop) -> Int {
        guard count <= left else { throw .malformed }
        var value = 0
        for _ in 0..<count {
            if recordLeft == 0 { try openRecord(bytes) }
            guard position < bytes.count else { throw .incomplete }
            value = value << 8 | Int(bytes[position])
            position += 1
            recordLeft -= 1
        }
        left -= count
        return value
    }

    /// The length of a vector, which must be within bounds and within the message.
    mutating func vectorCount(
        _ size: Int,
        _ allowed: ClosedRange<Int>,
        _ bytes: Span<UInt8>
    ) throws(HelloStop) -> Int {
        let count = try number(size, bytes)
        guard allowed.contains(count), count <= left else { throw .malformed }
        return count
    }

    /// Passes over bytes, a record at a time.
    mutating func skip(_ count: Int, _ bytes: Span<UInt8>) throws(HelloStop) {
        guard count <= left else { throw .malformed }
        var rest = count
        while rest > 0 {
            if recordLeft == 0 { try openRecord(bytes) }
            let step = min(rest, recordLeft)
            guard bytes.count - position >= step else { throw .incomplete }
            position += step
            recordLeft -= step
            rest -= step
        }
        left -= count
    }

    /// Reads a record's header: type 22 (handshake), version 3.x, 1 to 16,384 bytes.
    private mutating func openRecord(_ bytes: Span<UInt8>) throws(HelloStop) {
        let isFirst = position == 0
        let there = bytes.count - position
        guard there > 0 else { throw .incomplete }
        guard bytes[position] == 22 else { throw isFirst ? .notTLS : .malformed }
        guard there > 1 else { throw .incomplete }
        guard bytes[position + 1] == 3 else { throw isFirst ? .notTLS : .malformed }
        guard there >= 5 else { throw .incomplete }
        let count = Int(bytes[position + 3]) << 8 | Int(bytes[position + 4])
        guard count > 0, count <= HelloReader.recordBytesMax else { throw .malformed }
        position += 5
        recordLeft = count
    }
}
