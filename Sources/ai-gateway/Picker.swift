import Control
import Kernel
import Logging
import PickerService
import Runtime

/// Wires the threads of the picker's service together: its one, control, observer; then waits for signals.
struct Picker {
    private static let mailboxCapacity = 65_536

    private let options: RunOptions
    private let address: SocketAddress
    private let endpointsMax: Int
    private let log: Logger
    /// The level of all messages, which the admin port may set.
    private let levels: LogLevels

    init(
        _ options: RunOptions, listen address: SocketAddress, endpointsMax: Int, logLevel: String,
        isJSON: Bool
    ) {
        self.options = options
        self.address = address
        self.endpointsMax = endpointsMax
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
            log.error("not started: there is nothing to pick for")
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
        let mailbox = try Mailbox<WorkerMessage>(capacity: Self.mailboxCapacity)
        let publisher = Publisher([mailbox])
        var sockets = [try open(address)]
        if address.isAny, address.isIPv6 {
            // A socket of IPv6 takes IPv6 only; all addresses of the machine are those of IPv4 too.
            sockets.append(try open(.any(v6: false, port: address.port)))
        }
        let thread = try PickerThread.start(
            options: PickerOptions(
                connectionsMax: max(64, min(4096, descriptors / 2)), endpointsMax: endpointsMax,
                budget: Budget(limit: Machine.bufferShare()),
                heldBudget: Budget(limit: Machine.bufferShare())),
            mailbox: mailbox)
        let plane = try Planes(
            options: options, publisher: publisher, published: published, rings: [], readers: [],
            log: log, levels: levels)
        try plane.start()
        // Nobody is answered before the pool is known.
        for socket in sockets { _ = mailbox.post(.listen(port: 0, ListenSocket(adopting: socket))) }
        log.info("picking", metadata: ["address": "\(address)"])
        return try Draining(
            options: options, plane: plane, publisher: publisher, published: published, log: log
        ).wait(for: [thread], signals)
    }

    private func open(_ address: SocketAddress) throws -> Int32 {
        let timeouts = Timeouts()
        let socket = try ListenSocket.open(address, reusePort: false)
        socket.setDeadPeerDetection(
            idleSeconds: timeouts.tcpKeepAliveIdleSeconds,
            intervalSeconds: timeouts.tcpKeepAliveIntervalSeconds,
            count: timeouts.tcpKeepAliveProbes,
            userTimeoutMilliseconds: timeouts.tcpUserTimeoutMilliseconds)
        return socket.release()
    }
}
