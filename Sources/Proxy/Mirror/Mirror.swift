import HTTP
import Kernel

/// A copy of one request on its way to a mirror (`RequestMirror`).
///
/// Its exchange has no client: it goes through the attempt, the pools and the timers of any other, is given content as its
/// request gets it, and its answer is read and dropped.
struct Mirror: BitwiseCopyable {
    /// The exchange with the mirror.
    let exchange: SlotID
    /// The exchange of the request; `.none` once that has ended and the copy goes on alone.
    var request: SlotID
    /// The next mirror of the same request.
    var next: SlotID

    /// Copies under way at once in a worker; no more are begun, whatever their mirrors do.
    static var countMax: Int { 1_024 }
    /// How far a copy may be behind its request, in bytes of content.
    static var behindBytesMax: Int { 64 << 10 }
    /// Content of a request with mirrors that is passed on in one go: others have their turn between two, its mirrors among
    /// them, so that one whose connection is just being made is not behind for that alone.
    static var sliceBytes: Int { 32 << 10 }
}

extension Exchange {
    /// An exchange without a client, for a copy of the request of `main`, which has content framed like this.
    init(
        mirrorOf main: borrowing Exchange, _ row: MirroredRow, framing: BodyFraming,
        times: ExchangeTimes, generation: UInt32, began: UInt64
    ) {
        downstream = .none
        var decision = KeptDecision()
        decision.clusterID = row.cluster
        decision.backendSeries = row.series
        decision.series = main.decision.series
        decision.parameters = main.decision.parameters
        decision.attemptMilliseconds = main.decision.attemptMilliseconds
        self.decision = decision
        buffer = Buffer()
        self.generation = Int32(truncatingIfNeeded: generation)
        self.began = began
        headBytes = 0
        method = main.method
        version = .http11
        keepsAlive = false
        expectsContinue = false
        acceptsTrailers = true
        request = ContentReader(framing)
        requestDone = framing.isEmpty
        allowsHalfClose = true
        marks = .mirror
        contentBytesMax = .max
        self.times = times
        requestDeadline = main.requestDeadline
        // What failed once is never sent again.
        lacksContent = true
    }
}

/// Where a copy goes.
struct MirroredRow: BitwiseCopyable {
    let cluster: UInt32
    let series: UInt32
}
