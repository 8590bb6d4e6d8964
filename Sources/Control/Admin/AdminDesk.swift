import Foundation
import HTTP
import Kernel
import Logging
import Peer
import Runtime

/// Answers the requests of the admin and metrics ports.
struct AdminDesk: Responder {
    /// Content that a POST may have; nobody reads it.
    private static let contentBytesMax = 64 << 10

    private let pages: AdminPages
    private let levels: LogLevels
    private let log: Logger
    private let drain: @Sendable () -> Void
    private let publisher: Publisher
    /// Questions to the workers that are not answered.
    private var reports: [Asked] = []
    private var token: AdminToken?
    private var hasAskedToDrain = false

    /// What is answered as soon as the workers have said what they know, or when they have had time enough.
    private struct Asked {
        let exchange: ExchangeID
        let report: ConnectionReport
        let until: UInt64
    }

    /// What workers may take to answer, and how often one looks whether they have; milliseconds.
    private static let reportMilliseconds: UInt64 = 300
    private static let lookMilliseconds: Int32 = 5

    /// A desk whose `drain` does what SIGTERM does.
    init(
        pages: AdminPages, token: AdminToken?, levels: LogLevels, log: Logger,
        publisher: Publisher = Publisher([]), drain: @escaping @Sendable () -> Void
    ) {
        self.pages = pages
        self.token = token
        self.levels = levels
        self.log = log
        self.publisher = publisher
        self.drain = drain
    }

    func plan(_ head: borrowing RequestHead) -> ContentPlan {
        .gather(atMost: Self.contentBytesMax)
    }

    mutating func respond(
        to head: borrowing RequestHead, content: Span<UInt8>, _ exchange: ExchangeID,
        _ answers: inout Answers
    ) {
        guard let tag = answers.listener(exchange), let port = AdminPort(rawValue: tag) else {
            return
        }
        let request = AdminRequest(head)
        if asksForConnections(request, on: port) {
            let report = ConnectionReport(workers: publisher.mailboxes.count)
            publisher.ask(report)
            let until = Clock.monotonicMilliseconds() + Self.reportMilliseconds
            reports.append(Asked(exchange: exchange, report: report, until: until))
            return
        }
        send(reply(request, on: port), exchange, &answers)
    }

    private mutating func asksForConnections(_ request: AdminRequest, on port: AdminPort) -> Bool {
        token?.refresh()
        if case .serve(.connections) = AdminAccess(token: token?.bytes).verdict(request, on: port) {
            return true
        }
        return false
    }

    /// Answers the questions that the workers have answered; call it again after `delay`.
    mutating func sendReports(_ answers: inout Answers, now: UInt64) {
        if reports.isEmpty { return }
        let ready = reports.filter { $0.report.isComplete || $0.until <= now }
        reports.removeAll { asked in ready.contains { $0.exchange == asked.exchange } }
        for asked in ready { send(pages.connections(asked.report), asked.exchange, &answers) }
    }

    /// Milliseconds until `sendReports` may have something to do; -1: not before a request.
    var delay: Int32 { reports.isEmpty ? -1 : Self.lookMilliseconds }

    private func send(
        _ reply: AdminReply, _ exchange: ExchangeID, _ answers: inout Answers
    ) {
        answers.addField("cache-control", "no-store")
        answers.addField("x-content-type-options", "nosniff")
        if reply.form == .html {
            answers.addField(
                "content-security-policy",
                "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
        }
        if let allowsPost = reply.allowsPost {
            answers.addField("allow", allowsPost ? "POST" : "GET, HEAD")
        }
        if reply.status == 401 { answers.addField("www-authenticate", "Bearer") }
        answers.send(
            exchange, status: reply.status, type: reply.form.contentType,
            content: reply.content.span)
    }

    /// What a request gets; actions are carried out.
    mutating func reply(_ request: AdminRequest, on port: AdminPort) -> AdminReply {
        token?.refresh()
        switch AdminAccess(token: token?.bytes).verdict(request, on: port) {
        case .refuse(let reply): return reply
        case .serve(.drain): return startDraining()
        case .serve(.logLevel): return setLogLevel(request.query)
        case .serve(let route): return pages.reply(route, query: request.query)
        }
    }

    // MARK: - Actions

    /// A second request does nothing: a second SIGTERM would end everything at once.
    private mutating func startDraining() -> AdminReply {
        if hasAskedToDrain || pages.published.withLock({ $0.isDraining }) {
            return .sentence(202, "draining already")
        }
        hasAskedToDrain = true
        log.notice("draining was asked for on the admin port")
        drain()
        return .sentence(202, "draining")
    }

    private func setLogLevel(_ query: String?) -> AdminReply {
        let words = Logger.Level.allCases.map(\.rawValue)
        let values = (query ?? "").split(separator: "&").filter { $0.hasPrefix("level=") }
        guard values.count == 1, let level = Logger.Level(rawValue: String(values[0].dropFirst(6)))
        else {
            return .sentence(
                400, "Say which level: /log-level?level=\(words.joined(separator: "|")).")
        }
        levels.current = level
        log.log(
            level: max(level, .notice), "the log level was set on the admin port",
            metadata: ["level": "\(level)"])
        return .sentence(200, "log level \(level)")
    }
}
