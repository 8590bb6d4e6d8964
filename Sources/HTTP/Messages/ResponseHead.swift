/// The head of a response: one per worker, parsed into again and again without allocation.
///
/// All ranges are of `bytes`, which the head owns, or of where it was parsed in place; they hold
/// until the next parse.
public struct ResponseHead: ~Copyable, Sendable {
    /// The field lines, with the bytes of the whole head.
    public internal(set) var fields: FieldSection
    /// The status, 100...599.
    public internal(set) var status = 0
    /// The reason as sent; may be empty.
    public internal(set) var reason: ByteRange = .none
    /// The version that the sender speaks.
    public internal(set) var version: Version = .http11
    /// How the content ends.
    public internal(set) var framing: BodyFraming = .none
    /// Whether the connection may be used again after this answer.
    public internal(set) var keepsAlive = true
    /// Seconds of `Keep-Alive: timeout=N`, if given.
    public internal(set) var keepAliveTimeoutSeconds: Int?
    /// What protocol a 101 switches to.
    public internal(set) var upgrade: Upgrade = .none
    /// Whether Connection names fields beyond those that are always dropped.
    var namesFields = false
    /// The framing that the kept framing lines say; nil when they must be written anew.
    @usableFromInline var sentFraming: BodyFraming? = .some(.none)
    /// Whether the status line is as `HeadWriter` would write it.
    @usableFromInline var isLineCanonical = false
    /// Offset after the status line.
    var lineEnd: UInt32 = 0
    /// Bounds of this head.
    public let limits: HeadLimits

    /// Makes a head with all the memory it will ever use.
    public init(limits: HeadLimits = .response) {
        self.limits = limits
        fields = FieldSection(limits)
    }

    // MARK: - Parsing

    /// Reads the HTTP/1.x response head at the start of `input`.
    ///
    /// `resumeAt` is 0, or what `.incomplete` gave for the same bytes before. `requestMethod` is
    /// the method this answers: the answer to HEAD has no content. After anything but `.complete`
    /// the head holds nothing of use.
    public mutating func parse(
        _ input: Span<UInt8>, resumeAt: Int = 0, requestMethod: Method
    ) -> HeadStep {
        parse(input, count: input.count, resumeAt: resumeAt, requestMethod: requestMethod)
    }

    /// The same for the first `count` bytes of `input`, behind which 48 bytes or more may be read.
    ///
    /// What those bytes are changes no result. It is faster: no byte is looked at alone only
    /// because it is near the end of the input.
    public mutating func parse(
        _ input: Span<UInt8>, count: Int, resumeAt: Int = 0, requestMethod: Method
    ) -> HeadStep {
        let step = parseInPlace(
            input, count: count, resumeAt: resumeAt, requestMethod: requestMethod)
        if case .complete(let consumed) = step { keepBytes(of: input, upTo: consumed) }
        return step
    }

    /// The same, but the bytes of a usual head stay where they are.
    ///
    /// `bytes` is empty then, so that no range can be read in it by mistake. Before they are read,
    /// or the head is edited or written, they are kept by `keepBytes`; what a usual head says of its
    /// connection may be removed before.
    public mutating func parseInPlace(
        _ input: Span<UInt8>, count: Int, resumeAt: Int = 0, requestMethod: Method
    ) -> HeadStep {
        HeadParser.parseResponse(&self, input, count, resumeAt, requestMethod)
    }

    /// Copies the bytes of a head that was parsed in place; nothing when they are here already.
    ///
    /// The head are the bytes of `input` before `end`.
    public mutating func keepBytes(of input: Span<UInt8>, upTo end: Int) {
        if fields.bytes.count == 0 { ByteScan.replace(&fields.bytes, by: input, upTo: end) }
    }

    /// Begins an answer of our own, without fields.
    public mutating func begin(status newStatus: Int, version newVersion: Version = .http11) {
        fields.bytes.removeAll()
        fields.removeAllLines()
        status = newStatus
        reason = .none
        version = newVersion
        framing = .none
        keepsAlive = true
        keepAliveTimeoutSeconds = nil
        upgrade = .none
        namesFields = false
        sentFraming = nil
        isLineCanonical = false
        lineEnd = 0
    }

    // MARK: - Reading

    /// The bytes that all ranges refer to.
    @inlinable public var bytes: Span<UInt8> {
        @_lifetime(borrow self) get { fields.bytes.span }
    }

    /// The bytes of one range; empty for `.none`.
    @inlinable @_lifetime(borrow self)
    public func span(_ range: ByteRange) -> Span<UInt8> { bytes.extracting(range.range) }

    /// Whether the kept framing lines say this framing as a writer would.
    @inlinable @inline(__always)
    public func says(_ framing: BodyFraming) -> Bool { framing.isSaid(by: sentFraming) }

    /// The value of the first kept line of this name.
    @inlinable @inline(always)
    public func value(_ id: FieldName) -> ByteRange? { fields.value(id) }

    /// The value of the first kept line of this name, in small letters.
    public func first(named name: Span<UInt8>) -> ByteRange? { fields.first(named: name) }

    // MARK: - Editing

    /// Replaces the status, as a filter may; the reason becomes the usual one.
    public mutating func setStatus(_ newStatus: Int) {
        status = newStatus
        reason = .none
        isLineCanonical = false
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
}
