import Testing

@testable import Proxy

/// Which failed attempts may be followed by another, by the rules of pooling and retries.
@Suite struct RetryTests {
    private func attempt(
        sent: Bool, reused: Bool, holds: Bool, idempotent: Bool, inference: Bool,
        attempts: Int = 1, endpoints: Int = 2
    ) -> FailedAttempt {
        FailedAttempt(
            sentBytes: sent, wasReused: reused, holdsContent: holds, isIdempotent: idempotent,
            isInference: inference, attempts: attempts, endpoints: endpoints)
    }

    private func isAllowed(_ attempt: FailedAttempt) -> Bool {
        Retry.isAllowed(attempt, retriesMax: 1, inferenceRetriesMax: 2)
    }

    @Test func `a request of which nothing was sent moves to another endpoint`() {
        #expect(
            isAllowed(
                attempt(
                    sent: false, reused: false, holds: true, idempotent: false, inference: false)))
    }

    @Test func `the only endpoint that refuses is not asked again at once`() {
        #expect(
            !isAllowed(
                attempt(
                    sent: false, reused: false, holds: true, idempotent: true, inference: false,
                    endpoints: 1)))
    }

    @Test func `a stream that was refused unread is asked again where it was refused`() {
        #expect(
            isAllowed(
                attempt(
                    sent: false, reused: true, holds: true, idempotent: false, inference: false,
                    endpoints: 1)))
    }

    @Test func `what was let go cannot be sent again, refused or not`() {
        #expect(
            !isAllowed(
                attempt(
                    sent: false, reused: true, holds: false, idempotent: false, inference: false)))
    }

    @Test(arguments: [
        // idempotent, reused, holds content, allowed
        (true, true, true, true), (true, true, false, false), (true, false, true, false),
        (false, true, true, false), (false, false, true, false),
    ])
    func `with bytes sent only an idempotent request on a dead pooled connection is sent again`(
        row: (idempotent: Bool, reused: Bool, holds: Bool, allowed: Bool)
    ) {
        let failed = attempt(
            sent: true, reused: row.reused, holds: row.holds, idempotent: row.idempotent,
            inference: false, endpoints: 1)
        #expect(isAllowed(failed) == row.allowed)
    }

    @Test(arguments: [(1, true), (2, true), (3, false)])
    func `an inference request moves on twice while its content is held`(
        row: (attempts: Int, allowed: Bool)
    ) {
        let failed = attempt(
            sent: true, reused: false, holds: true, idempotent: false, inference: true,
            attempts: row.attempts)
        #expect(isAllowed(failed) == row.allowed)
    }

    @Test func `an inference request whose content was let go stays where it is`() {
        let failed = attempt(
            sent: true, reused: false, holds: false, idempotent: false, inference: true)
        #expect(!isAllowed(failed))
    }

    @Test(arguments: [AttemptFailure.connection, .timeout, .status])
    func `what a rule asks for is sent again while its content is held`(failure: AttemptFailure) {
        var failed = attempt(
            sent: true, reused: false, holds: true, idempotent: false, inference: false,
            endpoints: 1)
        failed.failure = failure
        #expect(!isAllowed(failed))
        failed.isAsked = true
        #expect(isAllowed(failed))
        failed.holdsContent = false
        #expect(!isAllowed(failed))
        failed.holdsContent = true
        failed.attempts = 2
        #expect(!isAllowed(failed))
    }

    @Test func `an attempt that took too long is not tried again unless a rule asks for it`() {
        var failed = attempt(
            sent: true, reused: true, holds: true, idempotent: true, inference: true)
        #expect(isAllowed(failed))
        failed.failure = .timeout
        #expect(!isAllowed(failed))
    }

    @Test(arguments: [(1, 100), (2, 200), (3, 400), (4, 800), (5, 1_000), (90, 1_000)])
    func `waits double up to ten times the first`(row: (attempts: Int, least: UInt64)) {
        var waits: Set<UInt64> = []
        for random in UInt64(0)..<2_000 {
            waits.insert(Retry.wait(after: row.attempts, least: 100, random: random))
        }
        #expect(waits.min() == row.least && waits.max() == row.least * 5 / 4)
    }

    @Test func `no wait stays none`() {
        #expect(Retry.wait(after: 9, least: 0, random: .max) == 0)
        #expect(Retry.wait(after: 9, least: UInt64(UInt32.max), random: .max) >= 42_949_672_950)
    }

    @Test(arguments: [(2, 0, true), (3, 0, false), (3, 100, true), (20, 100, false)])
    func `the budget is a share of what runs with a floor`(
        row: (running: Int, active: Int, fits: Bool)
    ) {
        #expect(
            Retry.fitsBudget(running: row.running, active: row.active, percent: 20, floor: 3)
                == row.fits)
    }
}
