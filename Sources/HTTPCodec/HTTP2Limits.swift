/// Bounds of one HTTP/2 connection; every bound has a default, and none means unlimited by accident.
public struct HTTP2Limits: BitwiseCopyable, Sendable, Equatable {
    /// Streams that the peer may have open at once.
    ///
    /// Those count that it reset and whose work has not ended yet. A client takes none of the
    /// server's; to it this is the most that it opens itself.
    public var concurrentStreamsMax: UInt32 = 100
    /// Bytes of a decoded field section, 32 for each field included (RFC 9113 §6.5.2).
    public var headerListBytesMax: UInt32 = 64 << 10
    /// Fields of a section.
    public var fieldCountMax: UInt32 = 200
    /// CONTINUATION frames of a section.
    public var continuationsMax: UInt32 = 8
    /// Streams ended before their time in `resetsMilliseconds`, by the peer or because of it.
    public var resetsMax: UInt32 = 100
    public var resetsMilliseconds: UInt64 = 10_000
    /// Streams of a connection that are refused for `concurrentStreamsMax` and do not count as resets.
    ///
    /// Only while the peer has not acknowledged the settings: it may not know them.
    public var earlyRefusalsMax: UInt32 = 1_000
    /// Control frames that wait for a peer which does not read.
    public var outboundQueueMax: UInt32 = 1_000
    /// The window that a stream begins with, in bytes.
    public var streamWindow: UInt32 = 64 << 10
    /// The window that a connection begins with, in bytes.
    public var connectionWindow: UInt32 = 1 << 20
    /// What either window may grow to on a path that is long enough, in bytes.
    public var windowMax: UInt32 = 16 << 20
    /// Bytes of a stream's unsent output from which on it is congested.
    public var outputHighBytes: UInt32 = 64 << 10
    /// Bytes of a congested stream's unsent output below which it is writable again.
    public var outputLowBytes: UInt32 = 32 << 10

    public init() {}

    /// Room that `HTTP2Session.read` wants, in bytes: for the framing of a chunk and some content.
    public static var readBytesMin: Int { 64 }
    /// Room that `HTTP2Session.produce` wants, in bytes: with less no content may leave.
    public static var produceBytesMin: Int { 1_024 }
}
