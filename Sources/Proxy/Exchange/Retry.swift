/// What is known of an attempt that failed before the first byte of an answer.
struct FailedAttempt: BitwiseCopyable {
    /// A byte of the request may have reached the backend, which has not said that it did nothing about it.
    var sentBytes: Bool
    /// The connection had served another exchange before, so its silent end is ordinary.
    var wasReused: Bool
    /// All that was sent is still at hand.
    var holdsContent: Bool
    /// The method is idempotent (RFC 9110 §9.2.2).
    var isIdempotent: Bool
    /// An inference path of a model server: free of side effects.
    var isInference: Bool
    /// Attempts so far, this one included.
    var attempts: Int
    /// Endpoints of the cluster.
    var endpoints: Int
}

/// Whether a failed attempt may be followed by another (`robustness.md` §7).
enum Retry {
    /// `retriesMax` and `inferenceRetriesMax` count retries after the first attempt.
    ///
    /// Nothing sent: freely, as long as there is another endpoint or the connection was an old one. With bytes sent:
    /// an idempotent request whose reused connection died, or an inference request, while its content is held.
    static func isAllowed(
        _ attempt: FailedAttempt, retriesMax: Int, inferenceRetriesMax: Int
    ) -> Bool {
        let limit = attempt.isInference ? inferenceRetriesMax : retriesMax
        if attempt.attempts > limit { return false }
        if !attempt.holdsContent { return false }
        if !attempt.sentBytes { return attempt.endpoints > 1 || attempt.wasReused }
        if attempt.isInference { return true }
        return attempt.isIdempotent && attempt.wasReused
    }

    /// Whether the budget allows one more retry: a share of what runs, with a floor.
    static func fitsBudget(running: Int, active: Int, percent: Int, floor: Int) -> Bool {
        running < max(floor, active * percent / 100)
    }
}
