/// How an attempt failed.
enum AttemptFailure: UInt8 {
    /// There was no connection, or it ended before an answer.
    case connection
    /// It took too long: the backend may still work on it.
    case timeout
    /// The backend has answered, with a status that says so.
    case status
}

/// What is known of an attempt that failed before the first byte of an answer was passed on.
struct FailedAttempt: BitwiseCopyable {
    var failure = AttemptFailure.connection
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
    /// The rule says that it is tried again after what happened (`HTTPRoute.spec.rules[].retry`).
    var isAsked = false
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
    /// an idempotent request whose reused connection died, or an inference request, while its content is held. Whatever it
    /// was: where its rule asks for it, and its content is held.
    static func isAllowed(
        _ attempt: FailedAttempt, retriesMax: Int, inferenceRetriesMax: Int
    ) -> Bool {
        let limit = attempt.isInference ? inferenceRetriesMax : retriesMax
        if attempt.attempts > limit { return false }
        if !attempt.holdsContent { return false }
        if attempt.isAsked { return true }
        if attempt.failure == .timeout { return false }
        if !attempt.sentBytes { return attempt.endpoints > 1 || attempt.wasReused }
        if attempt.isInference { return true }
        return attempt.isIdempotent && attempt.wasReused
    }

    /// The least wait of a rule that asks for retries and names none.
    static var backoffMilliseconds: UInt32 { 25 }

    /// The longest wait that a backend asks for and gets, milliseconds: with a longer one the answer is the client's, who
    /// can wait by itself.
    static var askedWaitMax: UInt64 { 10_000 }

    /// Milliseconds to wait after so many attempts: the least wait, doubled with each attempt up to ten times itself, and
    /// up to a quarter more by a random number, so that those who failed together do not come back together.
    static func wait(after attempts: Int, least: UInt64, random: UInt64) -> UInt64 {
        let doublings = UInt64(max(0, min(attempts - 1, 4)))
        let wait = min(least << doublings, least * 10)
        return wait + random % (wait / 4 + 1)
    }

    /// Whether the budget allows one more retry: a share of what runs, with a floor.
    static func fitsBudget(running: Int, active: Int, percent: Int, floor: Int) -> Bool {
        running < max(floor, active * percent / 100)
    }
}
