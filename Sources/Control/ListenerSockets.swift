import Kernel
import Logging
import Routing
import Runtime

/// The sockets that the process listens on: opened before their table is published, one a worker and address.
struct ListenerSockets {
    private struct Open {
        var wanted: ListenSocketWanted
        var outcome: ListenOutcome
    }

    private var open: [UInt32: Open] = [:]
    private let mailboxes: [Mailbox<WorkerMessage>]
    private let takesOver: Bool
    private let timeouts = Timeouts()

    init(_ mailboxes: [Mailbox<WorkerMessage>], takesOver: Bool) {
        self.mailboxes = mailboxes
        self.takesOver = takesOver
    }

    /// What came of each place, for `Observations.listening`.
    var outcomes: [ListenPlace: ListenOutcome] {
        var outcomes: [ListenPlace: ListenOutcome] = [:]
        for entry in open.values { outcomes[entry.wanted.place] = entry.outcome }
        return outcomes
    }

    /// Whether every wanted place is being listened on.
    var isComplete: Bool { open.values.allSatisfy { $0.outcome == .listening } }

    /// Whether anything is being listened on, or nothing is wanted: what cannot be had does not hold up the rest.
    var isServing: Bool { open.isEmpty || open.values.contains { $0.outcome == .listening } }

    /// Sockets that were opened and wait to be handed over, behind the table that knows their port.
    struct Opened {
        let port: UInt32
        let transport: Transport
        /// One a worker, for each address; owned by whoever holds this.
        let descriptors: [Int32]
    }

    /// Opens what is new and what failed before; closes what nobody wants any more.
    ///
    /// - Returns: what is to be handed over after the snapshot was published.
    mutating func follow(_ wanted: [ListenSocketWanted], _ log: Logger) -> [Opened] {
        var opened: [Opened] = []
        let ids = Set(wanted.map(\.id))
        for (id, entry) in open where !ids.contains(id) {
            if entry.outcome == .listening { close(id, entry, log) }
            open[id] = nil
        }
        for socket in wanted {
            if let known = open[socket.id] {
                if known.outcome == .listening, known.wanted.boundPort == socket.boundPort {
                    open[socket.id]?.wanted = socket
                    continue
                }
            }
            var raw: [Int32] = []
            let outcome = bind(socket, into: &raw)
            if outcome == .listening {
                opened.append(
                    Opened(port: socket.id, transport: socket.transport, descriptors: raw))
            }
            if open[socket.id]?.outcome != outcome { report(socket, outcome, log) }
            open[socket.id] = Open(wanted: socket, outcome: outcome)
        }
        return opened
    }

    /// Gives each worker its sockets.
    func handOver(_ opened: [Opened]) {
        for group in opened {
            for (index, descriptor) in group.descriptors.enumerated() {
                let mailbox = mailboxes[index % mailboxes.count]
                switch group.transport {
                case .tcp:
                    let socket = ListenSocket(adopting: descriptor)
                    _ = mailbox.post(.listen(port: group.port, socket))
                case .udp:
                    let socket = DatagramSocket(adopting: descriptor)
                    _ = mailbox.post(.listenDatagrams(port: group.port, socket))
                }
            }
        }
    }

    private func close(_ id: UInt32, _ entry: Open, _ log: Logger) {
        log.info("listener closed", metadata: ["place": "\(entry.wanted.place)"])
        for mailbox in mailboxes { _ = mailbox.post(.unlisten(port: id)) }
    }

    private func bind(_ wanted: ListenSocketWanted, into raw: inout [Int32]) -> ListenOutcome {
        var outcome = ListenOutcome.listening
        var families = 0
        for address in wanted.addresses {
            do throws(SystemError) {
                switch wanted.transport {
                case .tcp: try openStreams(address, into: &raw)
                case .udp: try openDatagrams(address, into: &raw)
                }
                families += 1
            } catch {
                // A machine without IPv6 serves all its addresses without it.
                if wanted.place.address == nil, address.isIPv6, families > 0,
                    error.listenCause == .noFamily || error.listenCause == .notLocal
                {
                    continue
                }
                outcome = Self.outcome(of: error)
                break
            }
        }
        if outcome == .listening, families == 0 { outcome = .notLocal }
        if outcome != .listening {
            for descriptor in raw { _ = Descriptor(adopting: descriptor) }
            raw = []
        }
        return outcome
    }

    private func openStreams(
        _ address: SocketAddress, into raw: inout [Int32]
    ) throws(SystemError) {
        if !takesOver { try ListenSocket.probe(address) }
        for _ in mailboxes {
            let socket = try ListenSocket.open(address, reusePort: true)
            socket.setDeadPeerDetection(
                idleSeconds: timeouts.tcpKeepAliveIdleSeconds,
                intervalSeconds: timeouts.tcpKeepAliveIntervalSeconds,
                count: timeouts.tcpKeepAliveProbes,
                userTimeoutMilliseconds: timeouts.tcpUserTimeoutMilliseconds)
            raw.append(socket.release())
        }
    }

    private func openDatagrams(
        _ address: SocketAddress, into raw: inout [Int32]
    ) throws(SystemError) {
        if !takesOver { try DatagramSocket.probe(address) }
        for _ in mailboxes {
            raw.append(try DatagramSocket.open(address, reusePort: true).release())
        }
    }

    private static func outcome(of error: SystemError) -> ListenOutcome {
        switch error.listenCause {
        case .inUse: .inUse
        case .denied: .denied
        case .notLocal: .notLocal
        case .noFamily, .other: .failed("\(error)")
        }
    }

    private func report(_ socket: ListenSocketWanted, _ outcome: ListenOutcome, _ log: Logger) {
        let place = "\(socket.place)"
        let port = "\(socket.boundPort)"
        switch outcome {
        case .listening:
            log.info("listening", metadata: ["place": "\(place)", "port": "\(port)"])
        case .inUse:
            log.error(
                "the port is in use by another process; stop it, use --bind-port, or share the port with --take-over",
                metadata: ["place": "\(place)", "port": "\(port)"])
        case .denied:
            log.error(
                "no permission to bind the port: use --bind-port, give the binary CAP_NET_BIND_SERVICE, or lower net.ipv4.ip_unprivileged_port_start",
                metadata: ["place": "\(place)", "port": "\(port)"])
        case .notLocal:
            log.error(
                "the address is not one of this machine", metadata: ["place": "\(place)"])
        case .failed(let words):
            log.error(
                "the listener could not be opened",
                metadata: ["place": "\(place)", "cause": "\(words)"])
        }
    }
}
