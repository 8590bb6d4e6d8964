import Foundation
import Inference
import Kernel
import Logging
import Peer
import Runtime

/// Asks the endpoints of all pools how they are, on the observer's loop, and tells the pickers.
///
/// Nothing waits for it: an endpoint that does not answer is judged by what the gateway sees itself.
struct Scraper: ~Copyable {
    /// Bytes of one answer; a page that is longer counts as none.
    private static let pageBytesMax = 2 << 20
    private static let connectMilliseconds: UInt64 = 1_000
    /// Between two looks for leases and waiters whose time is over.
    private static let sweepMilliseconds: UInt64 = 200

    private var client: Client
    private var answers: Answers
    private let shown: PublishedEndpoints

    /// The probes, and what to do with answers: a part of its own, so that the client can hand them over.
    private struct Answers: Receiver, ~Copyable {
        var probes: [ProbeKey: EndpointProbe] = [:]
        /// By pool.
        var ledgers: [UInt32: PoolLedger] = [:]
        let log: Logger
        var now: UInt64 = 0
        var hasNews = false

        mutating func finish(_ call: CallID, status: Int, content: Span<UInt8>) {
            let key = ProbeKey(tag: call.tag)
            let wasReady = probes[key]?.isReady
            let wall = Int64(Clock.wallNanoseconds() / 1_000_000_000)
            let observation = probes[key]?.finish(
                status: status, content, now: now, wallSeconds: wall, jitter: Self.jitter())
            pass(observation, of: key, wasReady)
        }

        mutating func fail(_ call: CallID, _ failure: CallFailure) {
            let key = ProbeKey(tag: call.tag)
            let wasReady = probes[key]?.isReady
            let observation = probes[key]?.fail(
                Self.words(failure), isDown: Self.isDown(failure), now: now,
                jitter: Self.jitter())
            pass(observation, of: key, wasReady)
        }

        private mutating func pass(
            _ observation: EndpointObservation?, of key: ProbeKey, _ wasReady: Bool?
        ) {
            hasNews = true
            guard let observation else { return }
            ledgers[key.pool]?.observe(key.endpoint, observation, now: now &* 1_000_000)
            guard let probe = probes[key], wasReady != probe.isReady else { return }
            log.log(
                level: probe.isReady ? .notice : .warning,
                probe.isReady ? "an endpoint is well again" : "an endpoint is not well",
                metadata: [
                    "endpoint": "\(probe.endpoint.address)", "cause": "\(probe.trouble ?? "")",
                ])
        }

        static func jitter() -> Double { Double.random(in: 0..<1) }

        /// Whether nobody is there.
        static func isDown(_ failure: CallFailure) -> Bool {
            switch failure {
            case .connect, .connectTimeout, .insecure, .closed, .truncated: true
            case .answerTimeout, .malformed, .tooLarge, .exhausted, .invalidRequest: false
            }
        }

        private static func words(_ failure: CallFailure) -> String {
            switch failure {
            case .connect(let code): "no connection (\(SystemError("connect", code)))"
            case .connectTimeout: "no connection in time"
            case .insecure(let error): "the TLS handshake failed (\(error))"
            case .answerTimeout: "no answer in time"
            case .closed, .truncated: "the connection ended"
            case .malformed: "the answer is malformed"
            case .tooLarge: "the answer is too large"
            case .exhausted: "the gateway asks too many at once"
            case .invalidRequest: "the question cannot be asked"
            }
        }
    }

    /// An endpoint of a pool.
    private struct ProbeKey: Hashable {
        let pool: UInt32
        let endpoint: UInt32

        init(pool: UInt32, endpoint: UInt32) {
            self.pool = pool
            self.endpoint = endpoint
        }

        init(tag: UInt64) {
            pool = UInt32(truncatingIfNeeded: tag >> 32)
            endpoint = UInt32(truncatingIfNeeded: tag)
        }

        /// Names a call, of which a probe has one at a time.
        var tag: UInt64 { UInt64(pool) << 32 | UInt64(endpoint) }
    }

    private var pools: [WatchedPool] = []
    private var nextShow: UInt64 = 0
    private var nextSweep: UInt64 = 0
    /// Connections at once; each endpoint keeps its own while there are no more of them.
    private static var connectionsMax: Int { 1_024 }

    /// A scraper whose tokens are of this kind.
    init(kind: UInt8, shown: PublishedEndpoints, log: Logger, now: UInt64) {
        client = Client(kind: kind, connections: Self.connectionsMax, now: now)
        answers = Answers(log: log)
        self.shown = shown
    }

    /// Takes the pools that are wanted from now on; what is known of endpoints that stay is kept.
    mutating func follow(_ wanted: [WatchedPool], now: UInt64) {
        pools = wanted
        var probes: [ProbeKey: EndpointProbe] = [:]
        for pool in wanted {
            for endpoint in pool.endpoints {
                let key = ProbeKey(pool: pool.id, endpoint: endpoint.id)
                if let known = answers.probes[key], known.endpoint == endpoint {
                    probes[key] = known
                } else {
                    probes[key] = EndpointProbe(endpoint, now: now, jitter: Answers.jitter())
                }
            }
        }
        answers.probes = probes
        client.idleMax = min(max(64, probes.count), Self.connectionsMax)
        let told = answers.ledgers
        answers.ledgers = [:]
        for pool in wanted { answers.ledgers[pool.id] = pool.ledger }
        // What is known already, for a ledger that is new: one that was told has counted requests since.
        for (key, probe) in probes {
            guard let ledger = answers.ledgers[key.pool], ledger !== told[key.pool],
                let known = probe.all(now: now)
            else { continue }
            ledger.observe(key.endpoint, known, now: now &* 1_000_000)
        }
        answers.hasNews = true
    }

    // MARK: - Driving

    /// Whether `handle` wants events with this token.
    func owns(_ token: Token) -> Bool { client.owns(token) }

    /// Takes an event whose token this scraper owns; `tick` must follow.
    mutating func handle(_ event: Event, on loop: borrowing Loop, now: UInt64) {
        answers.now = now
        client.handle(event, on: loop, now: now, &answers)
    }

    /// Asks what is due; call it after each batch of events.
    mutating func tick(on loop: borrowing Loop, now: UInt64) {
        answers.now = now
        client.tick(on: loop, now: now, &answers)
        for key in answers.probes.filter({ $0.value.nextAt <= now }).map(\.key) {
            guard let task = answers.probes[key]?.next(now: now) else { continue }
            ask(key, task, on: loop, now)
        }
        if answers.hasNews, now >= nextShow { show(now) }
        if now >= nextSweep, !answers.ledgers.isEmpty {
            nextSweep = now + Self.sweepMilliseconds
            for ledger in answers.ledgers.values { ledger.sweep(now: now &* 1_000_000) }
        }
    }

    /// Milliseconds until `tick` has something to do; -1: not before an event.
    func delay(now: UInt64) -> Int32 {
        let delay = client.nextDelay(now: now)
        var next = answers.probes.values.reduce(UInt64.max) { min($0, $1.nextAt) }
        if answers.hasNews { next = min(next, nextShow) }
        if !answers.ledgers.isEmpty { next = min(next, nextSweep) }
        if next == .max { return delay }
        let own = Int32(clamping: next > now ? next - now : 0)
        return delay < 0 ? own : min(delay, own)
    }

    private mutating func ask(
        _ key: ProbeKey, _ task: ProbeTask, on loop: borrowing Loop, _ now: UInt64
    ) {
        guard let endpoint = answers.probes[key]?.endpoint, let ask = endpoint.engine.ask(task)
        else { return }
        var address = endpoint.address
        var transport = endpoint.transport ?? .plain
        if let port = endpoint.engine.port(task) {
            // A port for metrics alone, which has neither TLS nor HTTP/2.
            address.port = port
            transport = .plain
        }
        let settings = CallSettings(
            address: address, transport: transport, tag: key.tag,
            connectMilliseconds: Self.connectMilliseconds,
            answerMilliseconds: EndpointProbe.answerMilliseconds,
            contentBytesMax: Self.pageBytesMax)
        let target = "\(ask.target)"
        do throws(CallFailure) {
            guard
                client.begin(.get, target: target.utf8.span, authority: endpoint.host.utf8.span),
                client.addField("accept", "*/*".utf8.span),
                client.addField("user-agent", "ai-gateway".utf8.span)
            else { throw .invalidRequest }
            _ = try client.send(settings, on: loop, now: now)
        } catch {
            _ = answers.probes[key]?.fail(
                "\(error)", isDown: Answers.isDown(error), now: now, jitter: Answers.jitter())
        }
    }

    // MARK: - Showing

    /// Ten times a second at the most: pages are looked at by people.
    private mutating func show(_ now: UInt64) {
        nextShow = now + 100
        answers.hasNews = false
        let views = pools.map { pool in
            PoolView(
                id: pool.id, name: pool.name, ledger: pool.ledger,
                endpoints: pool.endpoints.compactMap { endpoint in
                    answers.probes[ProbeKey(pool: pool.id, endpoint: endpoint.id)]
                })
        }
        shown.withLock { $0 = views }
    }
}

/// What is known of a pool's endpoints, for the admin port.
struct PoolView: Sendable {
    let id: UInt32
    let name: String
    /// What the gateway itself knows; nil where an external picker alone decides.
    let ledger: PoolLedger?
    let endpoints: [EndpointProbe]
}

/// `PoolView`s, shared between threads.
typealias PublishedEndpoints = Lock<[PoolView]>
