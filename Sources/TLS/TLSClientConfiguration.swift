import COpenSSL

/// Which certificates of servers a client believes.
public enum TLSTrust: Sendable, Equatable {
    /// Those that lead to a CA of the system, as found when this was first used.
    case system
    /// Those that lead to one of these (PEM), or are one of these.
    case certificates([UInt8])
    /// All, whatever their name and date: the connection is then only private from onlookers.
    case insecure
}

/// A name that a server's certificate may carry instead of the server name; any one is enough.
public enum TLSSubjectName: Sendable, Hashable {
    /// A DNS name; a wildcard of the certificate matches one whole label.
    case host(String)
    /// A URI, such as a SPIFFE id, compared byte by byte.
    case uri(String)
}

/// What a client needs to speak TLS with a backend; immutable but for its cache, shared by workers.
public final class TLSClientConfiguration: Sendable {
    let context: LibraryContext
    let subjectNames: [TLSSubjectName]
    let isInsecure: Bool
    let resumable: ResumableSessions?

    /// Makes the library's context.
    ///
    /// - Parameters:
    ///   - trust: Which certificates are believed.
    ///   - subjectNames: Where not empty, these names alone authenticate the server.
    ///   - applicationProtocols: Offered in this order; none is agreed where the server is silent.
    ///   - minimumVersion: TLS 1.2 or 1.3; the highest is always 1.3.
    ///   - clientCertificate: Shown to servers that ask for one.
    ///   - resumableSessionsMax: How many sessions are kept to be resumed, the oldest going first;
    ///     0 turns resumption off.
    /// - Throws: `trustUnusable`, `certificateUnusable`, `applicationProtocolInvalid`.
    public init(
        trust: TLSTrust,
        subjectNames: [TLSSubjectName] = [],
        applicationProtocols: [String] = [],
        minimumVersion: TLSVersion = .tls12,
        clientCertificate: TLSCertificate? = nil,
        resumableSessionsMax: Int = 0
    ) throws(TLSError) {
        let facts = try ContextFacts(
            applicationProtocols: applicationProtocols,
            ticketKeys: nil,
            binding: []
        )
        context = try LibraryContext(
            isServer: false,
            minimumVersion: minimumVersion,
            facts: facts
        )
        self.subjectNames = subjectNames
        isInsecure = trust == .insecure
        resumable =
            resumableSessionsMax > 0 ? ResumableSessions(capacity: resumableSessionsMax) : nil
        // Sound: the library copies the list.
        guard
            unsafe facts.applicationProtocols.isEmpty
                || SSL_CTX_set_alpn_protos(
                    context.pointer,
                    facts.applicationProtocols.baseAddress,
                    UInt32(facts.applicationProtocols.count)
                ) == 0
        else { throw TLSError(.library, takingCause: ()) }
        try context.believe(trust)
        if let clientCertificate { try context.use(clientCertificate.pair) }
        if resumable != nil { context.offerResumable() }
    }
}

extension LibraryContext {
    fileprivate func believe(_ trust: TLSTrust) throws(TLSError) {
        switch trust {
        case .insecure:
            // Sound: only flags of this context change.
            return unsafe SSL_CTX_set_verify(pointer, SSL_VERIFY_NONE, nil)
        case .system:
            // Sound: the context takes a reference of its own.
            unsafe SSL_CTX_set1_cert_store(pointer, try SystemTrust.store())
        case .certificates(let text):
            try self.trust(text, announced: false)
        }
        // Sound: only flags of this context change.
        unsafe SSL_CTX_set_verify(pointer, SSL_VERIFY_PEER, nil)
    }

    /// Has sessions that can be resumed reported, and none kept by the library itself.
    fileprivate func offerResumable() {
        _ = control(
            SSL_CTRL_SET_SESS_CACHE_MODE,
            Int(SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL)
        )
        // Sound: the function has the declared type and finds its facts through the session.
        unsafe SSL_CTX_sess_set_new_cb(pointer, recordResumable)
    }
}

/// The system's CA certificates: some hundred, so they are read once for all configurations.
private enum SystemTrust {
    // Sound: made once, never freed; the library locks the store where it changes.
    nonisolated(unsafe) private static let shared: OpaquePointer? = unsafe read()

    static func store() throws(TLSError) -> OpaquePointer {
        // Sound: see `shared`.
        guard let shared = unsafe shared else { throw TLSError(.trustUnusable) }
        return unsafe shared
    }

    private static func read() -> OpaquePointer? {
        // Sound: a store of its own, filled before anybody else sees it.
        guard let store = unsafe X509_STORE_new() else { return nil }
        let result = unsafe X509_STORE_set_default_paths(store)
        ERR_clear_error()
        return result == 1 ? unsafe store : nil
    }
}
