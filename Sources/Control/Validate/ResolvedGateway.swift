import Routing
import Runtime

/// A Gateway with what was found about it.
struct ResolvedGateway: Sendable {
    let entry: Entry<Gateway>
    /// All its listeners in `Resolution.listeners`: its own in the order of the document, then those
    /// of its ListenerSets from the oldest set on.
    var listeners: Range<Int> = 0..<0
    /// Those that stand in the Gateway itself, the first ones of `listeners`.
    var ownListeners: Range<Int> = 0..<0
    /// Why it is not accepted; empty when it is.
    var rejected: [Finding] = []
    /// References of the Gateway itself that do not resolve.
    var unresolved: [Finding] = []
    /// Where clients are let in whatever certificate they show.
    var insecureModes: [Finding] = []
    /// What may surprise.
    var warnings: [Finding] = []
    /// Why an address cannot be used.
    var unusable: [Finding] = []
    /// The addresses to bind, numeric; nil stands for all.
    var addresses: [String?] = []
    /// The limits and timeouts of its listeners.
    var parameters = Parameters()
    /// How endpoints of its pools are picked.
    var picker = PickerSettings()
    /// What tokens of sessions are signed with: the first signs, and all are taken.
    var sessionKeys = [SessionKey.ofProcess]
    /// Shown to backends that ask for one over TLS.
    var clientCertificate: CertificateMaterial?

    var name: NamespacedName { entry.name }
}

/// A ListenerSet with what was found about it.
struct ResolvedListenerSet: Sendable {
    let entry: Entry<ListenerSet>
    /// In `Resolution.gateways`; nil when there is no such Gateway.
    var gateway: Int?
    /// Its listeners in `Resolution.listeners`; empty when none is taken.
    var listeners: Range<Int> = 0..<0
    /// Why its Gateway takes none of its listeners; nil when it does.
    var rejected: Finding?

    var name: NamespacedName { entry.name }
}

/// A listener with what was found about it.
struct ResolvedListener: Sendable {
    /// In `Resolution.gateways`.
    let gateway: Int
    /// The ListenerSet that it stands in; nil for the Gateway's own.
    let listenerSet: NamespacedName?
    /// What `Same` means, and where its references start from.
    let namespace: String
    let name: String
    /// In small letters; nil takes every host.
    let hostname: String?
    let port: UInt16
    let `protocol`: ProtocolType
    /// TLS is not ended here but by the backend.
    let isPassthrough: Bool
    /// Where it stands in its document: `spec.listeners[2]`.
    let path: String
    let allowedRoutes: AllowedRoutes?
    /// The kinds of routes that it takes.
    var supportedKinds: [RouteGroupKind] = []
    /// Why it is not accepted; empty when it is.
    var rejected: [Finding] = []
    /// Another listener of the same Gateway cannot be told from it, and has the better claim or the same.
    var conflict: Finding?
    /// References that do not resolve.
    var unresolved: [Finding] = []
    /// Another listener of the port takes some of the same names.
    var overlap: Finding?
    /// What is worth knowing although nothing is wrong.
    var notes: [String] = []
    var certificates: [CertificateMaterial] = []
    /// What is asked of clients' certificates; nil for nothing.
    var clientValidation: ClientValidation?

    /// Connections begin with TLS.
    var isTLS: Bool { self.protocol == .https || self.protocol == .tls }

    /// TLS is ended here, with a certificate of the listener's.
    var terminatesTLS: Bool { isTLS && !isPassthrough }

    var transport: Transport { self.protocol == .udp ? .udp : .tcp }

    /// What happens to what arrives.
    var service: ListenerService {
        switch self.protocol {
        case .tls: isPassthrough ? .passthrough : .stream
        case .tcp, .udp: .stream
        default: .http
        }
    }

    /// Whether hostnames tell it from others of its port.
    var hasHostname: Bool { self.protocol != .tcp && self.protocol != .udp }

    /// Where its sockets listen.
    func place(on address: String?) -> ListenPlace {
        ListenPlace(address: address, port: port, transport: transport)
    }

    /// Whether it takes part in routing: accepted, and distinct from the others.
    var isDistinct: Bool { rejected.isEmpty && conflict == nil }

    /// Whether requests can be served on it.
    var isServable: Bool { isDistinct && (!terminatesTLS || !certificates.isEmpty) }

    /// As people name it: `"https" (port 443)`.
    var description: String { "\"\(name)\" (port \(port))" }

    /// Its name within its Gateway: of a set's listener `NAMESPACE/SET/NAME`.
    var nameInGateway: String { listenerSet.map { "\($0)/\(name)" } ?? name }

    /// As people name it beside listeners of other sets: `"https" of ListenerSet ai/extra`.
    var nameWithSet: String {
        "\"\(name)\"" + (listenerSet.map { " of ListenerSet \($0)" } ?? "")
    }
}
