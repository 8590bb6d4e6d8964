/// How much of what costs a peer nothing it may do on one connection.
///
/// Each kind of cheap frame has a bucket: full at first, emptied by one a frame, filled again by
/// time and by useful work, so that a connection may live and be busy for ever. Resets are counted
/// over a time instead, and against the streams that ended as they should. No I/O and no clock.
struct AbuseBudget: BitwiseCopyable, Sendable {
    /// What one kind of frame may cost.
    private struct Rate {
        /// Frames at once.
        let burst: Int32
        let perSecond: Int32
        /// Earned by a stream that the peer opened, or that was opened to it.
        let perStream: Int32
        /// Earned by a DATA frame with content, in either direction.
        let perContent: Int32
    }

    /// The kinds that have a bucket, in its place; `rate` has the same order.
    private static func bucket(_ kind: Flood) -> Int? {
        switch kind {
        case .settings: 0
        case .ping: 1
        case .priority: 2
        case .emptyData: 3
        case .windowUpdate: 4
        case .unknownFrame: 5
        case .lateData: 6
        case .reset, .continuation, .outboundQueue, .library: nil
        }
    }

    private static func rate(_ bucket: Int) -> Rate {
        switch bucket {
        // A peer says its settings once; some say them again when the network changes.
        case 0: Rate(burst: 32, perSecond: 1, perStream: 0, perContent: 0)
        // Clients that measure the bandwidth ping once a round trip while content flows.
        case 1: Rate(burst: 100, perSecond: 10, perStream: 1, perContent: 1)
        // Browsers arrange each new stream with a few frames.
        case 2: Rate(burst: 200, perSecond: 10, perStream: 4, perContent: 0)
        // Some flush an empty frame after a message.
        case 3: Rate(burst: 100, perSecond: 10, perStream: 1, perContent: 1)
        // One for the stream and one for the connection with each frame of content, at most.
        case 4: Rate(burst: 500, perSecond: 50, perStream: 4, perContent: 2)
        // Some browsers send a frame of no meaning with each request (RFC 8701).
        case 5: Rate(burst: 100, perSecond: 10, perStream: 2, perContent: 0)
        // Those that cross a reset before it is counted; most are covered by `lateBytes`.
        default: Rate(burst: 200, perSecond: 10, perStream: 0, perContent: 0)
        }
    }

    private static var bucketCount: Int { 7 }

    private var left = InlineArray<7, Int32>(repeating: 0)
    /// Content that peers may have sent before they heard of their streams' resets, in bytes.
    private var lateBytes: UInt64 = 0
    /// Heads and resets that may cross the resets which were sent.
    private var lateFrames: UInt64 = 0
    /// Streams over the limit whose refusal is not counted while the peer cannot know the limit.
    private var refusalsLeft: UInt32
    private var filledAt: UInt64
    private let resetsMax: UInt32
    /// Half of the time over which resets are counted.
    private let halfMilliseconds: UInt64
    private var halfBegan: UInt64
    /// Streams that ended early in the current half and in the one before.
    private var early = InlineArray<2, UInt32>(repeating: 0)
    /// Streams that ended as they should, likewise.
    private var complete = InlineArray<2, UInt32>(repeating: 0)

    /// A full budget; times are in milliseconds.
    init(_ limits: HTTP2Limits, now: UInt64) {
        filledAt = now
        halfBegan = now
        resetsMax = limits.resetsMax
        refusalsLeft = limits.earlyRefusalsMax
        halfMilliseconds = max(limits.resetsMilliseconds / 2, 1)
        for bucket in 0..<Self.bucketCount { left[bucket] = Self.rate(bucket).burst }
    }

    // MARK: - Cheap frames

    /// Takes a frame's price; false when the bucket is empty.
    ///
    /// Kinds without a bucket are free.
    mutating func spend(_ kind: Flood, now: UInt64) -> Bool {
        guard let bucket = Self.bucket(kind) else { return true }
        if left[bucket] <= 0 { fill(now) }
        if left[bucket] <= 0 { return false }
        left[bucket] -= 1
        return true
    }

    /// What a peer may say of one stream before it hears of its reset: two interim heads, or an answer's and its
    /// trailers, and a reset of its own.
    private static var lateFramesPerReset: UInt64 { 3 }

    /// A stream was reset from this side: its peer may have used the window up by then.
    mutating func allowLate(window: Int32) {
        // Resets times a window of 31 bits: no overflow in any time that passes.
        lateBytes &+= UInt64(max(window, 0))
        lateFrames &+= Self.lateFramesPerReset
    }

    /// Takes the price of a server's head or reset for a stream that is over; false when it is too much.
    mutating func spendLateFrame(now: UInt64) -> Bool {
        if lateFrames > 0 {
            lateFrames -= 1
            return true
        }
        return spend(.unknownFrame, now: now)
    }

    /// Takes the price of content for a stream that is over; false when it is too much.
    mutating func spendLate(bytes: UInt32, now: UInt64) -> Bool {
        if UInt64(bytes) <= lateBytes {
            lateBytes -= UInt64(bytes)
            return true
        }
        return spend(.lateData, now: now)
    }

    /// A stream was opened.
    mutating func earnStream() {
        for bucket in 0..<Self.bucketCount { add(bucket, Self.rate(bucket).perStream) }
    }

    /// A DATA frame with content went in or out.
    mutating func earnContent() {
        for bucket in 0..<Self.bucketCount { add(bucket, Self.rate(bucket).perContent) }
    }

    /// Adds what whole seconds have earned since the last filling.
    private mutating func fill(_ now: UInt64) {
        if now < filledAt { return }
        let seconds = (now - filledAt) / 1_000
        if seconds == 0 { return }
        filledAt += seconds * 1_000
        // An hour fills every bucket; more would only overflow.
        let counted = Int32(min(seconds, 3_600))
        for bucket in 0..<Self.bucketCount { add(bucket, counted * Self.rate(bucket).perSecond) }
    }

    private mutating func add(_ bucket: Int, _ count: Int32) {
        // Both are far below 2^30.
        left[bucket] = min(left[bucket] &+ count, Self.rate(bucket).burst)
    }

    // MARK: - Resets

    /// Counts a stream that ended before its time; false when it was one too many, and most do.
    mutating func countEarly(now: UInt64) -> Bool {
        turn(now)
        early[0] &+= 1
        let sum = early[0] &+ early[1]
        return sum <= resetsMax || sum <= complete[0] &+ complete[1]
    }

    /// Counts a stream that was refused for the limit, which the peer cannot know yet; false when it was one too many.
    mutating func countEarlyRefusal(now: UInt64) -> Bool {
        if refusalsLeft == 0 { return countEarly(now: now) }
        refusalsLeft -= 1
        return true
    }

    /// Counts a stream that ended as it should.
    mutating func countComplete(now: UInt64) {
        turn(now)
        complete[0] &+= 1
    }

    /// Begins a new half where the current one is over.
    private mutating func turn(_ now: UInt64) {
        if now < halfBegan { return }
        let elapsed = now - halfBegan
        if elapsed < halfMilliseconds { return }
        let isNext = elapsed < 2 * halfMilliseconds
        early = [0, isNext ? early[0] : 0]
        complete = [0, isNext ? complete[0] : 0]
        halfBegan = isNext ? halfBegan + halfMilliseconds : now
    }
}
