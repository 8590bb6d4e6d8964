import Kernel
import Routing

/// Where a socket listens: an address and the listener's own port number.
public struct ListenPlace: Hashable, Sendable, Comparable, CustomStringConvertible {
    /// A numeric address in its shortest form; nil for all addresses of the machine.
    public let address: String?
    /// The number that the listener declares, whatever port the process binds for it.
    public let port: UInt16
    /// The ports of TCP and of UDP have nothing to do with each other.
    public let transport: Transport

    public init(address: String?, port: UInt16, transport: Transport = .tcp) {
        self.address = address
        self.port = port
        self.transport = transport
    }

    public var description: String {
        let suffix = transport == .udp ? "\(port)/udp" : "\(port)"
        guard let address else { return "*:\(suffix)" }
        return address.contains(":") ? "[\(address)]:\(suffix)" : "\(address):\(suffix)"
    }

    public static func < (a: ListenPlace, b: ListenPlace) -> Bool {
        (a.address ?? "", a.port, a.transport.rawValue)
            < (b.address ?? "", b.port, b.transport.rawValue)
    }
}

/// What came of opening a place's sockets.
public enum ListenOutcome: Hashable, Sendable {
    case listening
    /// Another process has the port (EADDRINUSE).
    case inUse
    /// The process may not have the port (EACCES).
    case denied
    /// The address is not one of this machine (EADDRNOTAVAIL).
    case notLocal
    /// Another cause, in the system's words.
    case failed(String)
}

/// An object that may hold CA certificates, under `ca.crt`: a ConfigMap or a Secret.
public struct AuthorityHolder: Hashable, Sendable {
    let kind: String
    let name: NamespacedName

    init(_ object: LocatedObject) {
        kind = object.kind
        name = NamespacedName(object)
    }

    /// The CA certificates of an object; nil when it has none.
    static func authorities(of object: LocatedObject) -> [UInt8]? {
        switch object.resource {
        case let map as ConfigMap: map.bytes(of: "ca.crt")
        case let secret as Secret: secret.bytes(of: "ca.crt")
        default: nil
        }
    }
}

/// What was learned by reading one Secret's certificate, or one object's CA certificates.
public struct CertificateObservation: Hashable, Sendable {
    public enum Outcome: Hashable, Sendable {
        /// The names it is good for, and its validity in seconds since 1970.
        case usable(names: [String], notBefore: Int64, notAfter: Int64)
        /// Why not, as a part of a sentence.
        case unusable(String)
    }

    /// `LocatedObject.digest` of the Secret that was read; another one makes this stale.
    public var digest: UInt64
    public var outcome: Outcome

    public init(digest: UInt64, outcome: Outcome) {
        self.digest = digest
        self.outcome = outcome
    }
}

/// What the process knows beyond the documents, at one moment.
public struct Observations: Sendable {
    /// Seconds since 1970; nil where transition times are not told, as in `check`.
    public var now: Int64?
    /// The same for what depends on the date alone, such as the end of a certificate.
    public var today: Int64?
    /// What came of each place that was tried; places not tried yet are absent.
    ///
    /// Nil when no place is tried at all, as in `check`.
    public var listening: [ListenPlace: ListenOutcome]?
    /// The machine's addresses, numeric; nil when they are not known.
    public var localAddresses: [String]?
    /// By Secret.
    public var certificates: [NamespacedName: CertificateObservation]
    /// CA certificates.
    public var authorities: [AuthorityHolder: CertificateObservation]
    /// The last report, whose transition times stay where a condition does.
    public var previous: [ObjectStatus]

    public init(
        now: Int64?, listening: [ListenPlace: ListenOutcome]? = [:],
        localAddresses: [String]? = nil,
        certificates: [NamespacedName: CertificateObservation] = [:],
        authorities: [AuthorityHolder: CertificateObservation] = [:],
        previous: [ObjectStatus] = []
    ) {
        self.now = now
        today = now
        self.listening = listening
        self.localAddresses = localAddresses
        self.certificates = certificates
        self.authorities = authorities
        self.previous = previous
    }

    /// What a look at the documents alone can tell: no port is opened, no time is told.
    public static func ofDocuments(_ documents: DocumentSet, today: Int64? = nil) -> Observations {
        var observations = Observations(
            now: nil, listening: nil, certificates: CertificateObservation.read(documents),
            authorities: CertificateObservation.readAuthorities(documents))
        observations.today = today
        return observations
    }
}

/// What the command line says of where Gateways are served.
public struct Placement: Sendable, Equatable {
    /// The addresses of Gateways without their own (`--address`), numeric; empty for all.
    public var addresses: [String]
    /// The port that is really bound, by the listener's own (`--bind-port`).
    public var boundPorts: [UInt16: UInt16]

    public init(addresses: [String] = [], boundPorts: [UInt16: UInt16] = [:]) {
        self.addresses = addresses
        self.boundPorts = boundPorts
    }

    /// The port to bind for a listener's.
    public func boundPort(of port: UInt16) -> UInt16 { boundPorts[port] ?? port }
}
