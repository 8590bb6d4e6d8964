import BasicContainers
import HTTP
import Kernel
import Logging
import Peer
import Telemetry

/// The observer's thread: one loop for the admin and metrics ports and for DNS; it never blocks.
public final class Observer: Sendable {
    /// What the control thread tells it.
    public let mailbox: Mailbox<ObserverMessage>

    private let options: RunOptions
    private let published: PublishedState
    private let readers: [ShardReader]
    private let control: Mailbox<ControlMessage>
    private let log: Logger

    public init(
        options: RunOptions, published: PublishedState, readers: [ShardReader],
        control: Mailbox<ControlMessage>, log: Logger
    ) throws(SystemError) {
        self.options = options
        self.published = published
        self.readers = readers
        self.control = control
        self.log = log
        mailbox = try Mailbox(capacity: 64)
    }

    /// Opens the ports; throws where one cannot be had.
    public func open() throws(SystemError) {}

    /// The thread's work, until `stop`.
    public func run() {
        guard var loop = try? Loop(capacity: 64) else { return }
        try? loop.register(
            mailbox.descriptor, Token(kind: 1, slot: 0, generation: 1), edgeTriggered: false)
        var server = Server(kind: 10, now: Clock.monotonicMilliseconds())
        if let admin = options.admin { _ = try? server.listen(admin, tag: 0, on: loop) }
        if let metrics = options.metrics { _ = try? server.listen(metrics, tag: 1, on: loop) }
        var pages = Pages(published: published, readers: readers)
        while true {
            let before = Clock.monotonicMilliseconds()
            let delay = server.nextDelay(now: before)
            let count = loop.wait(timeoutMilliseconds: delay < 0 ? 1000 : min(delay, 1000))
            let now = Clock.monotonicMilliseconds()
            for index in 0..<count {
                let event = loop.event(index)
                if server.owns(event.token) { server.handle(event, on: loop, now: now, &pages) }
            }
            server.tick(on: loop, now: now, &pages)
            mailbox.acknowledge()
            while let message = mailbox.take() {
                if case .stop = message { return }
            }
        }
    }

    /// Ends the thread.
    public func stop() { _ = mailbox.post(.stop) }
}

private struct Pages: Responder {
    let published: PublishedState
    let readers: [ShardReader]

    mutating func respond(
        to head: borrowing RequestHead, content: Span<UInt8>, _ exchange: ExchangeID,
        _ answers: inout Answers
    ) {
        var path = ""
        let span = head.span(head.path)
        for at in 0..<span.count { path.unicodeScalars.append(Unicode.Scalar(span[at])) }
        switch path {
        case "/livez": text("ok\n", 200, exchange, &answers)
        case "/readyz":
            let ready = published.withLock { $0.isReady }
            text(ready ? "ok\n" : "not ready\n", ready ? 200 : 503, exchange, &answers)
        case "/metrics":
            var page: [UInt8] = []
            let (names, good) = published.withLock { ($0.names, $0.isLastReloadGood) }
            PrometheusText.write(
                readers, names: names, facts: .init(version: Build.version, isLastReloadGood: good),
                into: &page)
            answers.send(
                exchange, status: 200, type: "text/plain; version=0.0.4; charset=utf-8",
                content: page.span)
        case "/status":
            let (objects, problems) = published.withLock { ($0.objects, $0.problems) }
            let json = StatusDocument(objects: objects, problems: problems).json
            answers.send(exchange, status: 200, type: "application/json", content: json.span)
        case "/config":
            let documents = published.withLock { $0.documents }
            let json = ConfigJSON.json(documents)
            answers.send(exchange, status: 200, type: "application/json", content: json.span)
        default: text("not found\n", 404, exchange, &answers)
        }
    }

    private func text(
        _ text: String, _ status: Int, _ exchange: ExchangeID, _ answers: inout Answers
    ) {
        let bytes = Array(text.utf8)
        answers.send(exchange, status: status, type: "text/plain", content: bytes.span)
    }
}
