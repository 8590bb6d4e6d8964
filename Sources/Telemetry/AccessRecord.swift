import BasicContainers
import Kernel

/// How an exchange ended.
public enum Ended: UInt8, CaseIterable, Sendable, BitwiseCopyable {
    case done
    case clientCancel
    case upstreamReset
    case truncated
    case idleTimeout
    case requestTimeout
    case localReply
    case drained
    case rejected

    /// The word in logs.
    public var text: String {
        switch self {
        case .done: "done"
        case .clientCancel: "client_cancel"
        case .upstreamReset: "upstream_reset"
        case .truncated: "truncated"
        case .idleTimeout: "idle_timeout"
        case .requestTimeout: "request_timeout"
        case .localReply: "local_reply"
        case .drained: "drained"
        case .rejected: "rejected"
        }
    }
}

/// The numbers of one access record.
public struct AccessRecord: BitwiseCopyable, Sendable, Equatable {
    /// Wall clock at the end of the exchange, in nanoseconds since 1970.
    public var time: UInt64 = 0
    /// From the first byte of the request to the end, in nanoseconds.
    public var duration: UInt64 = 0
    /// From the first byte of the request to the first byte from the backend; 0 for none.
    public var timeToFirstByte: UInt64 = 0
    /// The gateway's own share of the duration.
    public var processing: UInt64 = 0
    /// Time to connect; 0 when a connection was reused.
    public var connect: UInt64 = 0
    /// Bytes of the request's content as framed on the wire.
    public var bytesReceived: UInt64 = 0
    /// Bytes of the answer's content as framed on the wire.
    public var bytesSent: UInt64 = 0
    /// The series of the rule; `Series.none` for none.
    public var series: UInt32 = 0
    /// The series of the backend; `Series.none` for none.
    public var backendSeries: UInt32 = 0
    /// The stable id of the listener.
    public var listener: UInt32 = 0
    /// The status sent; 0 for none.
    public var status: UInt16 = 0
    /// Attempts after the first.
    public var retries: UInt8 = 0
    /// Raw value of `HTTP.Version`: 0 HTTP/1.0, 1 HTTP/1.1, 2 HTTP/2; `streamVersion` for a connection of a TCP or TLS
    /// route, which has no request.
    public var version: UInt8 = 1
    /// Whether the client spoke TLS.
    public var isTLS = false
    /// How it ended.
    public var ended = Ended.done
    /// The client.
    public var client: SocketAddress?
    /// The endpoint of the last attempt.
    public var endpoint: SocketAddress?

    /// Stands for no version of HTTP.
    public static var streamVersion: UInt8 { .max }
    /// Stands for datagrams: the protocol's number of UDP.
    public static var datagramVersion: UInt8 { 17 }

    /// Makes a record of zeroes.
    public init() {}
}

/// Texts of an access record, as ranges of its bytes.
public struct AccessTexts: Sendable, Equatable {
    public var method = 0..<0
    public var path = 0..<0
    public var authority = 0..<0
    public var userAgent = 0..<0
    public var requestID = 0..<0
    public var reason = 0..<0
}

/// Writes access records as bytes for a ring: numbers as LEB128, texts with their length.
///
/// The bytes never leave the process, so the form is free to change.
public enum AccessRecordWriter {
    /// Longest texts; longer ones are cut.
    static var methodMax: Int { 32 }
    static var pathMax: Int { 2_048 }
    static var authorityMax: Int { 262 }
    static var userAgentMax: Int { 256 }
    static var requestIDMax: Int { 128 }
    static var reasonMax: Int { 64 }

    /// Bytes that a record has at most.
    public static var bytesMax: Int {
        let numbers = 14 * 10 + 2 * (SocketAddress.hostBytesMax + 6)
        let texts =
            methodMax + pathMax + authorityMax + userAgentMax + requestIDMax + reasonMax + 6 * 2
        return numbers + texts
    }

    /// Replaces what `output` holds by a record; `output` has a capacity of `bytesMax`.
    ///
    /// `path` is without the query, which may hold secrets. `reason` is one of a closed list of
    /// words, empty when there is nothing to explain. Allocates nothing.
    public static func write(
        _ record: AccessRecord, method: Span<UInt8>, path: Span<UInt8>, authority: Span<UInt8>,
        userAgent: Span<UInt8>, requestID: Span<UInt8>, reason: Span<UInt8>,
        into output: inout RigidArray<UInt8>
    ) {
        output.removeAll()
        output.edit { out in
            put(record.time, &out)
            put(record.duration, &out)
            put(record.timeToFirstByte, &out)
            put(record.processing, &out)
            put(record.connect, &out)
            put(record.bytesReceived, &out)
            put(record.bytesSent, &out)
            put(UInt64(record.series), &out)
            put(UInt64(record.backendSeries), &out)
            put(UInt64(record.listener), &out)
            put(UInt64(record.status), &out)
            out.append(record.retries)
            out.append(record.version)
            out.append(record.ended.rawValue)
            out.append(
                (record.isTLS ? 1 : 0) | (record.client != nil ? 2 : 0)
                    | (record.endpoint != nil ? 4 : 0))
            if let client = record.client { put(client, &out) }
            if let endpoint = record.endpoint { put(endpoint, &out) }
        }
        put(method, methodMax, &output)
        put(path, pathMax, &output)
        put(authority, authorityMax, &output)
        put(userAgent, userAgentMax, &output)
        put(requestID, requestIDMax, &output)
        put(reason, reasonMax, &output)
    }

    @inline(__always)
    private static func put(_ value: UInt64, _ output: inout OutputSpan<UInt8>) {
        var rest = value
        while rest >= 0x80 {
            output.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest &>>= 7
        }
        output.append(UInt8(truncatingIfNeeded: rest))
    }

    @inline(__always)
    private static func put(_ text: Span<UInt8>, _ max: Int, _ output: inout RigidArray<UInt8>) {
        let count = min(text.count, max)
        // The length in two bytes at most, as a number above would be.
        if count >= 0x80 { output.append(UInt8(truncatingIfNeeded: count) | 0x80) }
        output.append(UInt8(truncatingIfNeeded: count >= 0x80 ? count &>> 7 : count))
        output.append(copying: text.extracting(0..<count))
    }

    /// The port, then the length of the host's text and the text.
    private static func put(_ address: SocketAddress, _ output: inout OutputSpan<UInt8>) {
        put(UInt64(address.port), &output)
        let place = output.count
        output.append(0)
        address.writeHost(into: &output)
        let count = UInt8(truncatingIfNeeded: output.count - place - 1)
        var bytes = output.mutableSpan
        bytes[place] = count
    }
}

/// Reads what `AccessRecordWriter` wrote; not for the hot path.
public struct AccessRecordReader: Sendable {
    /// The numbers; addresses without their interface.
    public private(set) var record = AccessRecord()
    /// Where the texts are in the given bytes.
    public private(set) var texts = AccessTexts()

    private var at = 0
    private var isBroken = false

    /// Reads a record; nil when the bytes are none.
    public init?(_ bytes: Span<UInt8>) {
        record.time = number(bytes)
        record.duration = number(bytes)
        record.timeToFirstByte = number(bytes)
        record.processing = number(bytes)
        record.connect = number(bytes)
        record.bytesReceived = number(bytes)
        record.bytesSent = number(bytes)
        record.series = UInt32(truncatingIfNeeded: number(bytes))
        record.backendSeries = UInt32(truncatingIfNeeded: number(bytes))
        record.listener = UInt32(truncatingIfNeeded: number(bytes))
        record.status = UInt16(truncatingIfNeeded: number(bytes))
        record.retries = byte(bytes)
        record.version = byte(bytes)
        let ended = Ended(rawValue: byte(bytes))
        let flags = byte(bytes)
        record.isTLS = flags & 1 != 0
        if flags & 2 != 0 { record.client = address(bytes) }
        if flags & 4 != 0 { record.endpoint = address(bytes) }
        texts.method = text(bytes)
        texts.path = text(bytes)
        texts.authority = text(bytes)
        texts.userAgent = text(bytes)
        texts.requestID = text(bytes)
        texts.reason = text(bytes)
        guard let ended, !isBroken, at == bytes.count else { return nil }
        record.ended = ended
    }

    private mutating func byte(_ bytes: Span<UInt8>) -> UInt8 {
        if at >= bytes.count {
            isBroken = true
            return 0
        }
        at += 1
        return bytes[at - 1]
    }

    private mutating func number(_ bytes: Span<UInt8>) -> UInt64 {
        var value: UInt64 = 0
        for shift: UInt64 in stride(from: 0, through: 63, by: 7) {
            let next = byte(bytes)
            value |= UInt64(next & 0x7F) << shift
            if next < 0x80 { return value }
        }
        isBroken = true
        return 0
    }

    private mutating func text(_ bytes: Span<UInt8>) -> Range<Int> {
        let count = number(bytes)
        if count > UInt64(bytes.count - at) {
            isBroken = true
            return 0..<0
        }
        let range = at..<(at + Int(count))
        at = range.upperBound
        return range
    }

    private mutating func address(_ bytes: Span<UInt8>) -> SocketAddress? {
        let port = UInt16(truncatingIfNeeded: number(bytes))
        let count = Int(byte(bytes))
        if count > bytes.count - at {
            isBroken = true
            return nil
        }
        let host = String(decoding: (at..<(at + count)).map { bytes[$0] }, as: UTF8.self)
        at += count
        return SocketAddress(host, port: port)
    }
}
