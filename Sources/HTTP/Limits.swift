/// Bounds of one message head; every bound is a capacity that is taken once per worker.
///
/// Reference: robustness rules of this gateway, "Limits, timeouts, defaults". A head over a bound
/// is refused with 414 (request line) or 431 (fields), never cut.
public struct HeadLimits: Sendable, Equatable {
    /// Bytes of the start line without its line end.
    public var requestLineBytes: Int
    /// Bytes of one field line without its line end.
    public var fieldBytes: Int
    /// Bytes of all field lines together, line ends included.
    public var fieldsBytes: Int
    /// Field lines of one head, repeats and dropped ones included.
    public var fieldCount: Int
    /// Bytes kept free for edits: added fields, rewritten targets and authorities.
    public var editBytes: Int
    /// Field lines kept free for edits.
    public var editCount: Int
    /// Whether names with `_` are kept; they are dropped by default, since some servers read `_` as
    /// `-`.
    public var keepsUnderscoreNames: Bool

    /// Makes bounds; each defaults to the one for requests of strangers.
    public init(
        requestLineBytes: Int = 8_192,
        fieldBytes: Int = 16_384,
        fieldsBytes: Int = 61_440,
        fieldCount: Int = 100,
        editBytes: Int = 8_192,
        editCount: Int = 28,
        keepsUnderscoreNames: Bool = false
    ) {
        self.requestLineBytes = requestLineBytes
        self.fieldBytes = fieldBytes
        self.fieldsBytes = fieldsBytes
        self.fieldCount = fieldCount
        self.editBytes = editBytes
        self.editCount = editCount
        self.keepsUnderscoreNames = keepsUnderscoreNames
    }

    /// Bounds for requests of strangers: 8 KiB line, 16 KiB a field, 60 KiB of fields, 100 fields.
    public static var request: HeadLimits { HeadLimits() }

    /// Bounds for answers of backends: 64 KiB of head, 200 fields.
    public static var response: HeadLimits {
        HeadLimits(
            requestLineBytes: 4_096, fieldBytes: 16_384, fieldsBytes: 61_440, fieldCount: 200)
    }

    /// Bytes that a head of these bounds owns: the head, its rewritten target, host and edits.
    var capacity: Int {
        // The line may be preceded by empty lines; target and host may each be written once more.
        requestLineBytes * 3 + fieldsBytes + editBytes + Self.slackBytes
    }

    /// Room for line ends and for an authority and its host in small letters.
    static var slackBytes: Int { 1_024 }
    /// Empty lines that are skipped before a request line (RFC 9112 §2.2).
    static var emptyLinesMax: Int { 4 }
}

/// Bounds of chunked framing and its trailer section.
public enum ChunkLimits {
    /// Hexadecimal digits of one chunk size, leading zeros included.
    public static var sizeDigits: Int { 16 }
    /// Bytes of one chunk's extension.
    public static var extensionBytes: Int { 256 }
    /// Bytes of all chunk extensions of one message.
    public static var extensionsBytes: Int { 4_096 }
    /// Bytes of one trailer line.
    public static var trailerBytes: Int { 16_384 }
    /// Bytes of all trailer lines, dropped ones included.
    public static var trailersBytes: Int { 61_440 }
    /// Trailer lines, dropped ones included.
    public static var trailerCount: Int { 100 }
}
