import COpenSSL

/// A protocol version; older ones are not spoken at all.
public enum TLSVersion: UInt16, Sendable, BitwiseCopyable, Comparable {
    /// RFC 5246.
    case tls12 = 0x0303
    /// RFC 8446.
    case tls13 = 0x0304

    public static func < (a: TLSVersion, b: TLSVersion) -> Bool { a.rawValue < b.rawValue }
}

/// What a listener asks of its clients' certificates.
public enum TLSClientValidation: Sendable, Hashable {
    /// No certificate is asked for.
    case none
    /// A certificate that leads to one of these CAs (PEM) is required. A session is resumed for no
    /// longer than the certificates hold that were shown when it began.
    case required([UInt8])
    /// A certificate is asked for; a missing or bad one is let in: see
    /// `TLSSession.peerVerificationFailure`.
    case requested([UInt8])
}

/// What a listener needs to serve TLS; immutable, shared by all workers.
///
/// A session keeps alive what it needs of it, so that a reload may drop it at any time.
public final class TLSServerConfiguration: Sendable {
    private let contexts: [LibraryContext]
    private let names: NameIndex
    private let fallback: Int

    /// Makes the library's contexts: one for each set of certificates that serve the same name.
    ///
    /// - Parameters:
    ///   - certificates: At least one. A client's server name chooses: first a certificate that
    ///     has this very name, then one with a wildcard for it, then the first of the list. An RSA
    ///     and an ECDSA certificate for one name serve it side by side.
    ///   - applicationProtocols: In order of preference, such as "h2", "http/1.1". A client that
    ///     offers protocols, none of which is here, is refused; with an empty list none is agreed.
    ///   - minimumVersion: TLS 1.2 or 1.3; the highest is always 1.3.
    ///   - clientValidation: What is asked of clients' certificates.
    ///   - sessionContext: Tells listeners apart, such as an id: tickets open only where this,
    ///     the client validation and the certificates' names are the same.
    ///   - ticketKeys: nil turns resumption off.
    /// - Throws: `certificateMissing`, `certificateUnusable`, `trustUnusable`,
    ///   `applicationProtocolInvalid`.
    public init(
        certificates: [TLSCertificate],
        applicationProtocols: [String] = [],
        minimumVersion: TLSVersion = .tls12,
        clientValidation: TLSClientValidation = .none,
        sessionContext: [UInt8],
        ticketKeys: TLSTicketKeys?
    ) throws(TLSError) {
        guard !certificates.isEmpty else { throw TLSError(.certificateMissing) }
        let plan = CertificatePlan(certificates)
        var contexts: [LibraryContext] = []
        for set in plan.sets {
            let names = set.flatMap { certificates[$0].names }
            let binding = TLSServerConfiguration.binding(sessionContext, clientValidation, names)
            let facts = try ContextFacts(
                applicationProtocols: applicationProtocols,
                ticketKeys: ticketKeys,
                binding: binding
            )
            let context = try LibraryContext(
                isServer: true,
                minimumVersion: minimumVersion,
                facts: facts
            )
            for index in set { try context.use(certificates[index].pair) }
            try context.ask(for: clientValidation)
            try context.setTickets(binding: binding, lifeSeconds: ticketKeys?.periodSeconds)
            contexts.append(context)
        }
        self.contexts = contexts
        self.names = plan.names
        self.fallback = plan.fallback
    }

    /// Which set of certificates serves a name (lower-case); nil: none has it, the first would.
    ///
    /// Two names with the same number are served by the same certificates.
    public func certificateSet(for name: Span<UInt8>) -> Int? { names.find(name) }

    func context(for serverName: Span<UInt8>) -> LibraryContext {
        contexts[names.find(serverName) ?? fallback]
    }

    /// What a ticket is tied to: 32 bytes that no other context shares.
    private static func binding(
        _ sessionContext: [UInt8],
        _ validation: TLSClientValidation,
        _ names: [String]
    ) -> [UInt8] {
        var input: [UInt8] = []
        // Each part is preceded by its length, so that no two lists of parts look alike.
        func add(_ part: some Collection<UInt8>) {
            for shift in stride(from: 56, through: 0, by: -8) {
                input.append(UInt8(truncatingIfNeeded: part.count >> shift))
            }
            input.append(contentsOf: part)
        }
        add(sessionContext)
        switch validation {
        case .none: add([0])
        case .required(let authorities):
            add([1])
            add(authorities)
        case .requested(let authorities):
            add([2])
            add(authorities)
        }
        for name in Set(names).sorted() { add(name.utf8) }
        return Digest.sha256(input.span)
    }
}

extension LibraryContext {
    fileprivate func ask(for validation: TLSClientValidation) throws(TLSError) {
        switch validation {
        case .none: break
        case .required(let authorities):
            try trust(authorities, announced: true)
            // Sound: only flags of this context change.
            unsafe SSL_CTX_set_verify(
                pointer,
                SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                nil
            )
            // Sound: both functions have the declared types and need no argument.
            guard unsafe SSL_CTX_set_session_ticket_cb(pointer, noteEnd, judgeTicket, nil) == 1
            else { throw TLSError(.library, takingCause: ()) }
        case .requested(let authorities):
            try trust(authorities, announced: true)
            // Sound: the function has the declared type and needs no facts.
            unsafe SSL_CTX_set_verify(pointer, SSL_VERIFY_PEER, acceptAnyCertificate)
        }
    }

    /// Tickets only: no session is kept here, so that workers share nothing that changes.
    fileprivate func setTickets(binding: [UInt8], lifeSeconds: UInt64?) throws(TLSError) {
        _ = control(SSL_CTRL_SET_SESS_CACHE_MODE, Int(SSL_SESS_CACHE_OFF))
        // Sound: the library copies the id, whose length is the most it takes.
        guard unsafe SSL_CTX_set_session_id_context(pointer, binding, UInt32(binding.count)) == 1
        else { throw TLSError(.library, takingCause: ()) }
        if let lifeSeconds {
            // Sound: a number of this context changes.
            unsafe SSL_CTX_set_timeout(pointer, Int(clamping: min(lifeSeconds, 604_800)))
        } else {
            // Sound: as above.
            unsafe SSL_CTX_set_options(pointer, TLS_OP_NO_TICKET)
            unsafe SSL_CTX_set_num_tickets(pointer, 0)
        }
    }
}
