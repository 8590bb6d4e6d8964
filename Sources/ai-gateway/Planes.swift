import Control
import Kernel
import Logging
import Runtime
import Telemetry

/// The threads beside the workers: control and exporter, and the observer with its ports.
final class Planes: Sendable {
    /// The control thread gives way to the workers.
    private static let controlNice = 19
    /// How long it is waited for at the end: it has nothing to lose, and where others take all of the machine it hardly
    /// runs.
    private static let controlPatienceMilliseconds = 1_000

    private let options: RunOptions
    private let publisher: Publisher
    private let published: PublishedState
    private let log: Logger
    private let control: Mailbox<ControlMessage>
    private let observer: Observer
    private let accessLog: AccessLog
    private let threads = Lock<[Thread]>([])
    private let controlThread = Lock<Thread?>(nil)

    init(
        options: RunOptions, publisher: Publisher, published: PublishedState, rings: [ByteRing],
        readers: [ShardReader], log: Logger, levels: LogLevels
    ) throws {
        self.options = options
        self.publisher = publisher
        self.published = published
        self.log = log
        control = try Mailbox(capacity: 1024)
        observer = try Observer(
            options: options, published: published, readers: readers, control: control, log: log,
            levels: levels, publisher: publisher)
        accessLog = try AccessLog(
            rings: rings, target: options.accessLog, published: published, log: log)
    }

    /// Reads the documents once, here, so that a refusal ends the start; then each thread goes on by itself.
    ///
    /// The observer comes first: while the documents are being read, it says so on `/readyz`.
    func start() throws {
        try observer.open()
        let observing = try Thread.start(name: "observer") { [observer] in observer.run() }
        threads.withLock { $0 = [observing] }
        var plane = ControlPlane(
            options: options, publisher: publisher, published: published, mailbox: control,
            observer: observer.mailbox, log: log)
        try plane.start()
        let parcel = Lock<ControlPlane?>(plane)
        let control = try Thread.start(name: "control", nice: Self.controlNice) {
            guard var plane = parcel.withLock({ $0.take() }) else { return }
            plane.run()
        }
        let exporting = try Thread.start(name: "exporter") { [accessLog] in accessLog.run() }
        threads.withLock { $0.append(exporting) }
        controlThread.withLock { $0 = control }
    }

    /// All documents are read again and the access log is opened again.
    func reread() {
        _ = control.post(.reread)
        accessLog.reopen()
    }

    /// Ends the threads after the workers have ended; false when the control thread still runs.
    func stop() -> Bool {
        _ = control.post(.stop)
        observer.stop()
        accessLog.stop()
        for thread in threads.withLock({ $0 }) { thread.join() }
        let control = controlThread.withLock { $0 }
        return control?.join(atMostMilliseconds: Self.controlPatienceMilliseconds) ?? true
    }
}
