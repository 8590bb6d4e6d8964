/// The head of a request: one per worker, parsed into again and again without allocation.
///
/// All ranges are of `bytes`, which the head owns; they hold until the next parse.
public struct RequestHead: ~Copyable, Sendable {
    /// The field lines, with the bytes of the whole head.
    public internal(set) var fields: FieldSection
    /// The method; the text of `.other` is `methodText`.
    public internal(set) var method: Method = .other
    /// The method as sent.
    public internal(set) var methodText: ByteRange = .none
    /// The version that the sender speaks.
    public internal(set) var version: Version = .http11
    /// What is forwarded in the request line: normalised path, `?` and query; `*` for OPTIONS *.
    public internal(set) var target: ByteRange = .none
    /// The normalised path, which is what routes match; begins with a slash, or is `*`.
    public internal(set) var path: ByteRange = .none
    /// The query without `?`; `.none` when there is no `?`.
    public internal(set) var query: ByteRange = .none
    /// Host as sent, or the authority of an absolute target, which replaces Host.
    public internal(set) var authority: ByteRange = .none
    /// The host in small letters, without port and without one trailing dot.
    public internal(set) var host: ByteRange = .none
    /// The port of the authority, if it has one.
    public internal(set) var hostPort: UInt16?
    /// How the content ends.
    public internal(set) var framing: BodyFraming = .none
    /// Whether the sender wants the connection to go on after this exchange.
    public internal(set) var keepsAlive = true
    /// Whether the sender waits for 100 before the content.
    public internal(set) var expectsContinue = false
    /// Whether the sender takes trailers (`TE: trailers`).
    public internal(set) var acceptsTrailers = false
    /// What `Upgrade` asks for, when `Connection` names it.
    public internal(set) var upgrade: Upgrade = .none
    /// Whether Host must be written anew, since the authority did not come from a kept Host line.
    var writesHost = false
    /// Whether Connection names fields beyond those that are always dropped.
    var namesFields = false
    /// The framing that the kept framing lines say; nil when they must be written anew.
    var sentFraming: BodyFraming? = .some(.none)
    /// Whether the start line is as `HeadWriter` would write it, unless the target was replaced.
    var isLineCanonical = false
    /// Offset after the start line.
    var lineEnd: UInt32 = 0
    /// Bounds of this head.
    public let limits: HeadLimits

    /// Makes a head with all the memory it will ever use.
    public init(limits: HeadLimits = .request) {
        self.limits = limits
        fields = FieldSection(limits)
    }

    // MARK: - Parsing

    /// Reads the HTTP/1.x request head at the start of `input`.
    ///
    /// `resumeAt` is 0, or what `.incomplete` gave for the same bytes before. Up to four empty
    /// lines before the request line are skipped (RFC 9112 §2.2). After anything but `.complete`
    /// the head holds nothing of use.
    public mutating func parse(_ input: Span<UInt8>, resumeAt: Int = 0) -> HeadStep {
        HeadParser.parseRequest(&self, input, input.count, resumeAt)
    }

    /// The same for the first `count` bytes of `input`, behind which 48 bytes or more may be read.
    ///
    /// What those bytes are changes no result. It is faster: no byte is looked at alone only
    /// because it is near the end of the input.
    public mutating func parse(_ input: Span<UInt8>, count: Int, resumeAt: Int = 0) -> HeadStep {
        HeadParser.parseRequest(&self, input, count, resumeAt)
    }

    // MARK: - Reading

    /// The bytes that all ranges refer to.
    @inlinable public var bytes: Span<UInt8> {
        @_lifetime(borrow self) get { fields.bytes.span }
    }

    /// The bytes of one range; empty for `.none`.
    @inlinable @_lifetime(borrow self)
    public func span(_ range: ByteRange) -> Span<UInt8> { bytes.extracting(range.range) }

    /// The value of the first kept line of this name.
    @inlinable @inline(always)
    public func value(_ id: FieldName) -> ByteRange? { fields.value(id) }

    /// The value of the first kept line of this name, in small letters.
    public func first(named name: Span<UInt8>) -> ByteRange? { fields.first(named: name) }

    // MARK: - Editing

    /// Notes that the head is that of an HTTP/2 stream, which a codec wrote as HTTP/1.1: a stream has one request, and
    /// trailers need no leave (RFC 9113 §8.1).
    public mutating func cameOverHTTP2() {
        version = .http2
        keepsAlive = false
        acceptsTrailers = true
    }

    /// Drops every line of this name.
    public mutating func remove(_ id: FieldName) { fields.remove(id) }

    /// Drops every line of this name, in small letters.
    public mutating func remove(named name: Span<UInt8>) { fields.remove(named: name) }

    /// Adds a line; false, and no change, when it is not a valid line or does not fit.
    public mutating func append(name: Span<UInt8>, value: Span<UInt8>) -> Bool {
        fields.append(name: name, value: value)
    }

    /// Adds a line of a known name; false, and no change, when it is invalid or does not fit.
    public mutating func append(_ id: FieldName, value: Span<UInt8>) -> Bool {
        fields.append(id, value: value)
    }

    /// Adds a line with a literal name; false, and no change, when it is invalid or does not fit.
    public mutating func append(name: StaticString, value: Span<UInt8>) -> Bool {
        fields.append(name: name, value: value)
    }

    /// Drops every line of this name, in small letters, and adds one; false when it does not fit.
    public mutating func set(name: Span<UInt8>, value: Span<UInt8>) -> Bool {
        fields.set(name: name, value: value)
    }

    /// Drops every line of this name and adds one; false when it does not fit.
    public mutating func set(_ id: FieldName, value: Span<UInt8>) -> Bool {
        fields.set(id, value: value)
    }

    /// Replaces the path that is forwarded and keeps the query; false when it does not fit.
    ///
    /// `path` must begin with a slash and be valid as it stands: it is written, not normalised.
    public mutating func setTarget(path newPath: Span<UInt8>) -> Bool {
        Target.replacePath(&self, newPath)
    }

    /// Replaces the authority that is forwarded as Host; false when invalid or too long.
    ///
    /// `host` keeps the name that the request was matched by.
    public mutating func setAuthority(_ newAuthority: Span<UInt8>) -> Bool {
        guard Authority.parse(newAuthority) != nil else { return false }
        let kept = fields.keep(newAuthority)
        if kept.isNone { return false }
        authority = kept
        writesHost = true
        return true
    }
}
