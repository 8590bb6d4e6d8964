import Control
import Kernel
import Logging
import Proxy
import Runtime
import Telemetry

/// Wires the threads together: workers, control, observer, exporter; then waits for signals.
struct Gateway {
    /// Share of the descriptors that sessions of UDP clients may have, of all workers together.
    private static let sessionShare = 4
    /// Pipes of all workers together: 64 MiB, which is also what a user without privileges may have, and no more than a
    /// sixteenth of the descriptors and a quarter of the memory for buffers.
    private static let pipesMax = 128
    private static let pipeDescriptorShare = 32
    private static let pipeMemoryShare = 4
    /// Descriptors kept for files, backends and ourselves before client connections take all.
    private static let descriptorReserve = 512
    private static let mailboxCapacity = 1024
    private static let ringBytes = 1 << 20

    private let options: RunOptions
    private let log: Logger
    /// The level of all messages, which the admin port may set.
    private let levels: LogLevels

    init(_ options: RunOptions, logLevel: String, isJSON: Bool) {
        self.options = options
        let log = Messages.logger(level: logLevel, isJSON: isJSON)
        levels = LogLevels(log.logLevel)
        self.log = levels.following(log)
    }

    /// Serves until a signal ends it; the exit status.
    func run() -> Int32 {
        do {
            return try serve()
        } catch let refused as StartRefused {
            for problem in refused.problems { log.error("\(problem)") }
            log.error("not started: the documents cannot be read")
        } catch {
            log.error("not started", metadata: ["cause": "\(error)"])
        }
        return 1
    }

    private func serve() throws -> Int32 {
        Signals.ignoreBrokenPipe()
        let signals = try SignalDescriptor()
        let descriptors = Machine.raiseDescriptorLimit()
        let published = PublishedState(Published())
        let budget = Budget(limit: Machine.bufferShare())
        let held = Budget(limit: Machine.bufferShare())
        let counted = Budget(limit: Int.max)
        var mailboxes: [Mailbox<WorkerMessage>] = []
        var rings: [ByteRing] = []
        var readers: [ShardReader] = []
        var workers: [Thread] = []
        let connections = min(100_000, max(256, (descriptors - Self.descriptorReserve) * 9 / 10))
        let sessions = max(16, descriptors / Self.sessionShare / options.workers)
        let pipes =
            min(
                Self.pipesMax, descriptors / Self.pipeDescriptorShare,
                budget.limit / Self.pipeMemoryShare / PipePool.pipeBytes) / options.workers
        for number in 0..<options.workers {
            let mailbox = try Mailbox<WorkerMessage>(capacity: Self.mailboxCapacity)
            let ring = options.accessLog == .off ? nil : ByteRing(capacity: Self.ringBytes)
            let shard = Shard(worker: number)
            readers.append(shard.reader)
            if let ring { rings.append(ring) }
            mailboxes.append(mailbox)
            let settings = WorkerOptions(
                number: number, connectionsMax: connections, sessionsMax: sessions,
                pipesMax: pipes, log: ring, budget: budget, heldBudget: held, connections: counted)
            workers.append(
                try WorkerThread.start(
                    options: settings, mailbox: mailbox, shard: shard))
        }
        let plane = try Planes(
            options: options, publisher: Publisher(mailboxes), published: published, rings: rings,
            readers: readers, log: log, levels: levels)
        try plane.start()
        log.info("serving", metadata: ["workers": "\(options.workers)"])
        return try Draining(
            options: options, plane: plane, publisher: Publisher(mailboxes), published: published,
            log: log
        ).wait(for: workers, signals)
    }
}
