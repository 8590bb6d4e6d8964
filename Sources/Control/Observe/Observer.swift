import BasicContainers
import Foundation
import Kernel
import Logging
import Peer
import Runtime
import Telemetry

/// The observer's thread: one loop for the admin and metrics ports, for DNS and for asking model servers how they
/// are; it never blocks.
public final class Observer: Sendable {
    /// Names the servers to ask instead of the system's, for tests: `ADDRESS[:PORT]`, comma-separated.
    public static let serversVariable = "AI_GATEWAY_DNS_SERVER"

    /// What the control thread tells it.
    public let mailbox: Mailbox<ObserverMessage>

    private let options: RunOptions
    private let pages: AdminPages
    private let control: Mailbox<ControlMessage>
    private let log: Logger
    private let levels: LogLevels
    private let settings: Resolver.Settings
    private let drain: @Sendable () -> Void
    private let publisher: Publisher
    private let endpoints = PublishedEndpoints([])
    private let desk = Lock<Desk?>(nil)
    private let places = Lock<[AdminPort: SocketAddress]>([:])

    /// All that the thread works with, from `open` to the end of `run`.
    private struct Desk: ~Copyable {
        var loop: Loop
        var server: Server
        var resolver: Resolver
        var scraper: Scraper
        var responder: AdminDesk
    }

    /// The kinds of this loop's tokens; the server has two.
    private enum Kind {
        static let mailbox: UInt8 = 1
        static let resolver: UInt8 = 2
        static let server: UInt8 = 3
        static let scraper: UInt8 = 5
    }

    /// An observer with nothing open yet.
    ///
    /// `control` gets the addresses of DNS names; `levels` is what `POST /log-level` sets;
    /// `environment` may name DNS servers by `serversVariable`; `drain` is what `POST /drain` does,
    /// SIGTERM to this process if not given; `publisher` reaches the workers whose connections are asked for.
    public init(
        options: RunOptions, published: PublishedState, readers: [ShardReader],
        control: Mailbox<ControlMessage>, log: Logger, levels: LogLevels,
        publisher: Publisher = Publisher([]),
        environment: [String: String] = ProcessInfo.processInfo.environment,
        drain: @escaping @Sendable () -> Void = { _ = kill(getpid(), SIGTERM) }
    ) throws(SystemError) {
        self.options = options
        self.control = control
        self.log = log
        self.levels = levels
        self.drain = drain
        self.publisher = publisher
        pages = AdminPages(published: published, readers: readers, endpoints: endpoints)
        settings = Resolver.Settings(servers: environment[Self.serversVariable])
        mailbox = try Mailbox(capacity: 64)
    }

    /// Where a port listens; nil before `open`, and when it is off.
    func address(of port: AdminPort) -> SocketAddress? { places.withLock { $0[port] } }

    // MARK: - Opening

    /// Opens the ports; throws what keeps the process from starting, as sentences for the operator.
    public func open() throws(ObserverRefused) {
        let token = try token()
        var desk = try desk(token)
        if let admin = options.admin {
            try listen(admin, .admin, "--admin", &desk)
        }
        if let metrics = options.metrics {
            try listen(metrics, .metrics, "--metrics", &desk)
        }
        var opened: Desk? = consume desk
        self.desk.withLock { $0 = opened.take() }
    }

    private func token() throws(ObserverRefused) -> AdminToken? {
        guard let admin = options.admin else { return nil }
        guard let path = options.adminTokenFile else {
            if admin.isLoopback { return nil }
            throw ObserverRefused(
                "--admin \(admin) is no loopback address: it needs --admin-token-file")
        }
        do throws(AdminToken.Refused) {
            return try AdminToken(path: path)
        } catch {
            throw ObserverRefused("--admin-token-file: \(error)")
        }
    }

    private func desk(_ token: AdminToken?) throws(ObserverRefused) -> Desk {
        let responder = AdminDesk(
            pages: pages, token: token, levels: levels, log: log, publisher: publisher,
            drain: drain)
        let resolver: Resolver
        do throws(Resolver.Refused) {
            resolver = try Resolver(settings, kind: Kind.resolver, control: control, log: log)
        } catch {
            throw ObserverRefused("\(Self.serversVariable): \(error)")
        }
        do throws(SystemError) {
            let loop = try Loop(capacity: 64)
            try loop.register(
                mailbox.descriptor, Token(kind: Kind.mailbox, slot: 0, generation: 1),
                edgeTriggered: false)
            let server = Server(
                kind: Kind.server,
                settings: ServerSettings(
                    connections: 256, makesRoom: true, name: "ai-gateway"),
                now: Clock.monotonicMilliseconds())
            let scraper = Scraper(
                kind: Kind.scraper, shown: endpoints, log: log,
                now: Clock.monotonicMilliseconds())
            return Desk(
                loop: loop, server: server, resolver: resolver, scraper: scraper,
                responder: responder)
        } catch {
            throw ObserverRefused("the observer's loop cannot be made: \(error)")
        }
    }

    private func listen(
        _ address: SocketAddress, _ port: AdminPort, _ option: String, _ desk: inout Desk
    ) throws(ObserverRefused) {
        do throws(SystemError) {
            let bound = try desk.server.listen(address, tag: port.rawValue, on: desk.loop)
            places.withLock { $0[port] = bound }
            log.info("\(port) port listening", metadata: ["address": "\(bound)"])
            guard address.isAny, address.isIPv6 else { return }
            // A socket of IPv6 takes IPv6 only; all addresses of the machine are those of IPv4 too.
            let other = SocketAddress.any(v6: false, port: bound.port)
            _ = try desk.server.listen(other, tag: port.rawValue, on: desk.loop)
        } catch {
            throw ObserverRefused(
                """
                the \(port) port \(address) cannot be opened (\(error)): free the port, or say \
                \(option) ADDRESS:PORT or \(option) off
                """
            )
        }
    }

    // MARK: - Running

    /// The thread's work, until `stop`; after `open`.
    public func run() {
        guard var desk = desk.withLock({ $0.take() }) else { return }
        var now = Clock.monotonicMilliseconds()
        while true {
            let delay = Self.least(
                Self.least(desk.server.nextDelay(now: now), desk.resolver.delay(now: now)),
                Self.least(desk.scraper.delay(now: now), desk.responder.delay))
            let count = desk.loop.wait(timeoutMilliseconds: delay)
            now = Clock.monotonicMilliseconds()
            var hasMail = false
            for index in 0..<count {
                let event = desk.loop.event(index)
                if desk.server.owns(event.token) {
                    desk.server.handle(event, on: desk.loop, now: now, &desk.responder)
                } else if desk.resolver.owns(event.token) {
                    desk.resolver.handle(event)
                } else if desk.scraper.owns(event.token) {
                    desk.scraper.handle(event, on: desk.loop, now: now)
                } else {
                    hasMail = true
                }
            }
            if hasMail, !takeMessages(&desk, now) { return }
            desk.resolver.tick(on: desk.loop, now: now)
            desk.scraper.tick(on: desk.loop, now: now)
            desk.responder.sendReports(&desk.server.answers, now: now)
            desk.server.tick(on: desk.loop, now: now, &desk.responder)
        }
    }

    /// False: it is over.
    private func takeMessages(_ desk: inout Desk, _ now: UInt64) -> Bool {
        mailbox.acknowledge()
        while let message = mailbox.take() {
            switch message {
            case .names(let names): desk.resolver.follow(names, now: now)
            case .pools(let pools): desk.scraper.follow(pools, now: now)
            case .stop: return false
            }
        }
        return true
    }

    /// The sooner of two delays, of which -1 means never.
    private static func least(_ a: Int32, _ b: Int32) -> Int32 {
        if a < 0 { return b }
        return b < 0 ? a : min(a, b)
    }

    /// Ends the thread.
    public func stop() { _ = mailbox.post(.stop) }
}

/// Why the observer does not start.
public struct ObserverRefused: Error, CustomStringConvertible {
    public let description: String

    init(_ description: String) { self.description = description }
}
