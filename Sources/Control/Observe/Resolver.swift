import Foundation
import Kernel
import Logging

/// Keeps names resolved on the observer's loop, and tells the control thread what they lead to.
///
/// `/etc/hosts` comes first, for a name that it has alone; `localhost` is never asked for
/// (RFC 6761 §6.3). When `/etc/resolv.conf` changes, the new servers are used.
struct Resolver: ~Copyable {
    /// Where the system says how names are resolved; tests have their own.
    struct Settings: Sendable {
        /// `ADDRESS[:PORT]`, comma-separated; nil: those of the system.
        var servers: String?
        var hostsPath = "/etc/hosts"
        var configurationPath = "/etc/resolv.conf"

        init(servers: String? = nil) { self.servers = servers }
    }

    /// The settings are not usable.
    struct Refused: Error, CustomStringConvertible {
        let description: String
    }

    /// How long what the hosts file says is taken for true.
    private static let hostsSeconds: UInt32 = 10
    /// Between two looks at the time of the configuration file.
    private static let lookMilliseconds: UInt64 = 1_000
    /// Before a message that the control thread had no room for is sent again.
    private static let resendMilliseconds: UInt64 = 100

    /// Addresses that a message shows.
    private static let shownMax = 8

    private let settings: Settings
    private let kind: UInt8
    private let control: Mailbox<ControlMessage>
    private let log: Logger
    private var names = NameTable()
    private var hosts: HostsFile
    private var channel: CAresChannel
    private var stamp: FileStamp?
    private var nextLook: UInt64 = 0
    /// By socket: the generation of its token.
    private var watched: [Int32: UInt32] = [:]
    private var generation: UInt32 = 0
    private var unsent: [String: [SocketAddress]] = [:]
    private var nextSend: UInt64 = 0

    /// A resolver whose tokens are of this kind.
    init(
        _ settings: Settings, kind: UInt8, control: Mailbox<ControlMessage>, log: Logger
    ) throws(Refused) {
        guard
            let channel = CAresChannel.open(
                servers: settings.servers, configurationPath: settings.configurationPath)
        else {
            let words = settings.servers.map {
                "\"\($0)\" is no list of DNS servers; write ADDRESS:PORT"
            }
            throw Refused(description: words ?? "the DNS resolver cannot be set up")
        }
        self.channel = channel
        self.settings = settings
        self.kind = kind
        self.control = control
        self.log = log
        hosts = HostsFile(path: settings.hostsPath)
        stamp = FileEntry(path: settings.configurationPath)?.stamp
    }

    /// Takes the names that are wanted from now on.
    mutating func follow(_ wanted: [String], now: UInt64) {
        names.follow(wanted, now: now)
        unsent = unsent.filter { wanted.contains($0.key) }
    }

    // MARK: - Driving

    /// Whether `handle` wants events with this token.
    func owns(_ token: Token) -> Bool { token.kind == kind }

    /// Takes an event whose token this resolver owns; `tick` must follow.
    mutating func handle(_ event: Event) {
        let descriptor = Int32(bitPattern: event.token.slot)
        guard watched[descriptor] == event.token.generation else { return }
        let hasEnded = !event.readiness.isDisjoint(with: .anyEnd)
        channel.process(
            descriptor, reads: hasEnded || event.readiness.contains(.readable),
            writes: event.readiness.contains(.writable))
    }

    /// Asks what is due and passes on what was answered; call it after each batch of events.
    mutating func tick(on loop: borrowing Loop, now: UInt64) {
        if channel.delayMilliseconds == 0 { channel.expire() }
        takeAnswers(now)
        if names.delay(now: now) == 0 { followConfiguration(on: loop, now) }
        var questions = names.takeQuestions(now: now)
        // What needs no server, or fails at once, may lead to further questions.
        while !questions.isEmpty {
            for question in questions { ask(question, now) }
            takeAnswers(now)
            questions = names.takeQuestions(now: now)
        }
        names.tellLate(now: now, isReachable: Self.isReachable)
        watch(on: loop)
        tell(now)
    }

    /// Milliseconds until `tick` has something to do; -1: not before an event.
    func delay(now: UInt64) -> Int32 {
        var delay = channel.delayMilliseconds
        func take(_ milliseconds: UInt64) {
            let bounded = Int32(clamping: milliseconds)
            delay = delay < 0 ? bounded : min(delay, bounded)
        }
        if let next = names.delay(now: now) { take(next) }
        if !unsent.isEmpty { take(nextSend > now ? nextSend - now : 0) }
        return delay
    }

    // MARK: - Questions and answers

    private mutating func ask(_ question: NameTable.Question, _ now: UInt64) {
        if let outcome = localOutcome(question) {
            take(outcome, of: question.id, now)
        } else {
            channel.ask(question.id, name: question.name, type: question.type)
        }
    }

    /// What is known without a server.
    private mutating func localOutcome(_ question: NameTable.Question) -> NameTable.Outcome? {
        if question.type == .srv { return nil }
        let isIPv6 = question.type == .aaaa
        let name = question.name.hasSuffix(".") ? String(question.name.dropLast()) : question.name
        if let found = hosts.addresses(of: name) {
            let fitting = found.filter { $0.isIPv6 == isIPv6 }
            return .addresses(fitting, ttlSeconds: Self.hostsSeconds)
        }
        if name == "localhost" || name.hasSuffix(".localhost") {
            let address = SocketAddress.loopback(v6: isIPv6, port: 0)
            return .addresses([address], ttlSeconds: Self.hostsSeconds)
        }
        return nil
    }

    private mutating func takeAnswers(_ now: UInt64) {
        for answer in channel.takeAnswers() {
            guard let type = names.type(of: answer.question) else { continue }
            take(Self.outcome(answer, type), of: answer.question, now)
        }
    }

    private static func outcome(
        _ answer: CAresChannel.Answer, _ type: DNSRecordType
    ) -> NameTable.Outcome {
        switch answer.status {
        case .noName: return .nothing(cause: "there is no such name")
        case .noRecords: return .nothing(cause: "it has no addresses")
        case .failed(let cause): return .failed(cause: cause)
        case .success:
            guard let found = DNSMessage.read(answer.message, type: type) else {
                return .failed(cause: "the DNS server's answer is malformed")
            }
            if type == .srv { return .services(found.services, ttlSeconds: found.ttlSeconds) }
            return .addresses(found.addresses, ttlSeconds: found.ttlSeconds)
        }
    }

    private mutating func take(_ outcome: NameTable.Outcome, of id: UInt64, _ now: UInt64) {
        names.take(outcome, of: id, now: now, isReachable: Self.isReachable)
    }

    /// Whether this machine has an address of the family that could reach this one.
    private static func isReachable(_ address: SocketAddress) -> Bool {
        let own = Machine.localAddresses().compactMap { SocketAddress($0, port: 0) }
        if address.isLoopback {
            return own.contains { $0.isLoopback && $0.isIPv6 == address.isIPv6 }
        }
        return own.contains {
            $0.isIPv6 == address.isIPv6 && !$0.isLoopback && !$0.hostDescription.hasPrefix("fe80:")
        }
    }

    // MARK: - The system's settings

    /// Makes a new channel when the configuration file is another; questions under way go over to it.
    private mutating func followConfiguration(on loop: borrowing Loop, _ now: UInt64) {
        guard settings.servers == nil, now >= nextLook else { return }
        nextLook = now + Self.lookMilliseconds
        let present = FileEntry(path: settings.configurationPath)?.stamp
        // A file that is being replaced is absent for a moment: its settings stay.
        guard let present, present != stamp,
            let fresh = CAresChannel.open(configurationPath: settings.configurationPath)
        else { return }
        stamp = present
        for descriptor in watched.keys { loop.remove(descriptor) }
        watched = [:]
        channel = fresh
        names.askAgain()
        log.info("the DNS settings changed", metadata: ["file": "\(settings.configurationPath)"])
    }

    // MARK: - Sockets

    private mutating func watch(on loop: borrowing Loop) {
        for change in channel.takeSocketChanges() {
            let descriptor = change.descriptor
            if !change.reads, !change.writes {
                // Closed by the library already, so mostly gone from the loop too.
                loop.remove(descriptor)
                watched[descriptor] = nil
                continue
            }
            do throws(SystemError) {
                if let known = watched[descriptor] {
                    try loop.update(
                        descriptor, token(descriptor, known), readable: change.reads,
                        writable: change.writes)
                } else {
                    generation &+= 1
                    try loop.register(
                        descriptor, token(descriptor, generation), edgeTriggered: false,
                        readable: change.reads, writable: change.writes)
                    watched[descriptor] = generation & 0xFF_FFFF
                }
            } catch {
                // Its questions end by the time-out.
                log.error("a DNS socket cannot be watched", metadata: ["cause": "\(error)"])
            }
        }
    }

    private func token(_ descriptor: Int32, _ generation: UInt32) -> Token {
        Token(kind: kind, slot: UInt32(bitPattern: descriptor), generation: generation)
    }

    // MARK: - Telling

    private mutating func tell(_ now: UInt64) {
        for news in names.takeNews() { tell(news) }
        if unsent.isEmpty || now < nextSend { return }
        nextSend = 0
        for (name, addresses) in unsent.sorted(by: { $0.key < $1.key }) {
            guard control.post(.resolved(name: name, addresses: addresses)) else {
                nextSend = now + Self.resendMilliseconds
                return
            }
            unsent[name] = nil
        }
    }

    private mutating func tell(_ news: NameTable.News) {
        switch news {
        case .addresses(let name, let addresses, let isFirst):
            unsent[name] = addresses
            var hosts = addresses.prefix(Self.shownMax)
                .map { $0.port == 0 ? $0.hostDescription : "\($0)" }
            if addresses.count > hosts.count { hosts.append("… \(addresses.count) in all") }
            log.log(
                level: isFirst ? .info : .debug,
                isFirst ? "a DNS name is resolved" : "the addresses of a DNS name changed",
                metadata: ["name": "\(name)", "addresses": "\(hosts.joined(separator: " "))"])
        case .failing(let name, let cause, let keeps):
            log.warning(
                keeps
                    ? "a DNS name cannot be resolved; its last addresses stay in use"
                    : "a DNS name cannot be resolved; what needs it gets 503 until it can",
                metadata: ["name": "\(name)", "cause": "\(cause)"])
        case .recovered(let name):
            log.notice("a DNS name is resolved again", metadata: ["name": "\(name)"])
        }
    }
}
