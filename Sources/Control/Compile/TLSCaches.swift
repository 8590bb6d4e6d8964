import TLS

/// TLS settings towards backends, each made once: sessions to resume are kept in them.
public struct TLSClientCache: Sendable {
    private var known: [ClusterBlueprint.TLS: TLSClientConfiguration] = [:]

    public init() {}

    private func trust(_ tls: ClusterBlueprint.TLS) -> TLSTrust {
        if tls.isUnverified { return .insecure }
        return tls.authorities.isEmpty ? .system : .certificates(tls.authorities)
    }

    private func certificate(
        _ material: CertificateMaterial?
    ) throws(TLSError) -> TLSCertificate? {
        guard let material else { return nil }
        return try TLSCertificate(chainPEM: material.chainPEM, keyPEM: material.keyPEM)
    }

    /// Forgets all but the settings that are in use.
    mutating func keep(_ used: some Sequence<ClusterBlueprint.TLS>) {
        let used = Set(used)
        known = known.filter { used.contains($0.key) }
    }

    mutating func configuration(
        _ tls: ClusterBlueprint.TLS
    ) -> Result<TLSClientConfiguration, TLSError> {
        if let configuration = known[tls] { return .success(configuration) }
        do throws(TLSError) {
            let configuration = try TLSClientConfiguration(
                trust: trust(tls), subjectNames: tls.subjectNames,
                applicationProtocols: tls.applicationProtocols,
                clientCertificate: certificate(tls.clientCertificate), resumableSessionsMax: 64)
            known[tls] = configuration
            return .success(configuration)
        } catch {
            return .failure(error)
        }
    }
}

/// TLS settings of listeners: those whose certificates did not change are used again.
public struct TLSServerCache: Sendable {
    private var known: [TLSCertificateSet: TLSServerConfiguration] = [:]
    private let ticketKeys: TLSTicketKeys

    /// - Parameter ticketKeys: what all listeners and workers seal session tickets with.
    public init(ticketKeys: TLSTicketKeys) {
        self.ticketKeys = ticketKeys
    }

    /// The settings for a compilation, by `ListenerDescription.tls`.
    ///
    /// Sets that are no longer wanted are forgotten. A set that cannot be used throws; then what
    /// was known stays.
    public mutating func configurations(
        for sets: [TLSCertificateSet]
    ) throws(TLSError) -> [TLSServerConfiguration] {
        var configurations: [TLSServerConfiguration] = []
        var wanted: [TLSCertificateSet: TLSServerConfiguration] = [:]
        for set in sets {
            if let configuration = wanted[set] ?? known[set] {
                wanted[set] = configuration
                configurations.append(configuration)
            } else {
                let configuration = try make(set)
                wanted[set] = configuration
                configurations.append(configuration)
            }
        }
        known = wanted
        return configurations
    }

    private func make(_ set: TLSCertificateSet) throws(TLSError) -> TLSServerConfiguration {
        var certificates: [TLSCertificate] = []
        for material in set.certificates {
            certificates.append(
                try TLSCertificate(chainPEM: material.chainPEM, keyPEM: material.keyPEM))
        }
        return try TLSServerConfiguration(
            certificates: certificates, applicationProtocols: set.applicationProtocols,
            clientValidation: validation(set.clientValidation),
            sessionContext: set.sessionContext, ticketKeys: ticketKeys)
    }

    private func validation(_ asked: ClientValidation?) -> TLSClientValidation {
        guard let asked else { return .none }
        return asked.isRequired ? .required(asked.authorities) : .requested(asked.authorities)
    }
}

extension CertificateObservation {
    /// Reads the certificates of all Secrets that hold one, each once for as long as it is the
    /// same: `previous` has those read before.
    public static func read(
        _ documents: DocumentSet, keeping previous: [NamespacedName: CertificateObservation] = [:]
    ) -> [NamespacedName: CertificateObservation] {
        var observations: [NamespacedName: CertificateObservation] = [:]
        for object in documents.objects {
            guard let secret = object.resource as? Secret,
                let chain = secret.bytes(of: "tls.crt"), let key = secret.bytes(of: "tls.key")
            else { continue }
            let name = NamespacedName(object)
            if let known = previous[name], known.digest == object.digest {
                observations[name] = known
                continue
            }
            observations[name] = CertificateObservation(
                digest: object.digest, outcome: read(chain, key))
        }
        return observations
    }

    private static func read(_ chain: [UInt8], _ key: [UInt8]) -> Outcome {
        do throws(TLSError) {
            let certificate = try TLSCertificate(chainPEM: chain, keyPEM: key)
            // The library judges keys and digests where they are to be used: a pair that it refuses is this Secret's
            // fault, and must not keep the table from being built for everybody.
            _ = try TLSServerConfiguration(
                certificates: [certificate], sessionContext: [], ticketKeys: nil)
            return .usable(
                names: certificate.names, notBefore: certificate.notBefore,
                notAfter: certificate.notAfter)
        } catch {
            return .unusable(words(error))
        }
    }

    /// Reads the CA certificates of all objects that hold some, as `read` does certificates.
    public static func readAuthorities(
        _ documents: DocumentSet, keeping previous: [AuthorityHolder: CertificateObservation] = [:]
    ) -> [AuthorityHolder: CertificateObservation] {
        var observations: [AuthorityHolder: CertificateObservation] = [:]
        for object in documents.objects {
            guard let bytes = AuthorityHolder.authorities(of: object) else { continue }
            let holder = AuthorityHolder(object)
            if let known = previous[holder], known.digest == object.digest {
                observations[holder] = known
                continue
            }
            observations[holder] = CertificateObservation(
                digest: object.digest, outcome: readAuthorities(bytes))
        }
        return observations
    }

    private static func readAuthorities(_ bytes: [UInt8]) -> Outcome {
        do throws(TLSError) {
            let authorities = try TLSAuthorities(pem: bytes)
            return .usable(
                names: [], notBefore: authorities.notBefore, notAfter: authorities.notAfter)
        } catch {
            return .unusable(
                "ca.crt has a certificate that cannot be read: \(error.libraryText ?? "\(error)")")
        }
    }

    /// What is wrong, for the person who wrote the Secret.
    private static func words(_ error: TLSError) -> String {
        switch error.reason {
        case .certificateNotPEM: "tls.crt holds no certificate in PEM form"
        case .keyNotPEM: "tls.key holds no private key in PEM form, or an encrypted one"
        case .keyMismatch: "tls.key does not belong to the first certificate of tls.crt"
        case .certificateUnusable:
            "the certificate cannot be used: \(error.libraryText ?? "the TLS library refuses it")"
        default: "the certificate cannot be used: \(error)"
        }
    }
}
