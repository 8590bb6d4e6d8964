import Kernel
import Logging
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
        while true {
            _ = loop.wait(timeoutMilliseconds: 1000)
            mailbox.acknowledge()
            while let message = mailbox.take() {
                if case .stop = message { return }
            }
        }
    }

    /// Ends the thread.
    public func stop() { _ = mailbox.post(.stop) }
}
