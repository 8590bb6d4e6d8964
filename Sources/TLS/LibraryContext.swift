import COpenSSL

/// One `SSL_CTX`, set up once and then only read; sessions of all workers are made from it.
@safe final class LibraryContext: Sendable {
    // Sound: changed only by the calls of a configuration's initializer, before it is shared; its
    // reference count is atomic.
    nonisolated(unsafe) let pointer: OpaquePointer

    /// What both sides have in common: TLS 1.2 and 1.3, forward secrecy, authenticated ciphers.
    init(isServer: Bool, minimumVersion: TLSVersion, facts: ContextFacts) throws(TLSError) {
        // Sound: the methods are static tables.
        guard let made = unsafe SSL_CTX_new(isServer ? TLS_server_method() : TLS_client_method())
        else { throw TLSError(.library, takingCause: ()) }
        // Sound: this object owns the only reference.
        unsafe pointer = made
        guard unsafe attach(facts, to: pointer, isServer: isServer) else {
            throw TLSError(.library, takingCause: ())
        }
        // Sound: the strings are terminated and copied.
        let isReady =
            unsafe control(SSL_CTRL_SET_MIN_PROTO_VERSION, Int(minimumVersion.rawValue)) == 1
            && control(SSL_CTRL_SET_MAX_PROTO_VERSION, Int(TLSVersion.tls13.rawValue)) == 1
            && SSL_CTX_set_cipher_list(pointer, LibraryContext.ciphers12) == 1
            && SSL_CTX_set_ciphersuites(pointer, LibraryContext.ciphers13) == 1
            && LibraryContext.setGroups(pointer)
        guard isReady else { throw TLSError(.library, takingCause: ()) }
        // Sound: only flags of this context change.
        unsafe SSL_CTX_set_options(
            pointer,
            TLS_OP_NO_COMPRESSION | TLS_OP_NO_RENEGOTIATION | TLS_OP_CIPHER_SERVER_PREFERENCE
                | TLS_OP_PRIORITIZE_CHACHA
        )
        _ = control(
            SSL_CTRL_MODE,
            Int(
                SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
                    | SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN
            )
        )
    }

    deinit {
        // Sound: this object owns one reference; sessions have their own.
        unsafe SSL_CTX_free(pointer)
    }

    /// Adds a certificate with its chain and key, beside those of other key kinds.
    func use(_ pair: CertificatePair) throws(TLSError) {
        // Sound: the library takes references of its own.
        guard unsafe SSL_CTX_use_cert_and_key(pointer, pair.leaf, pair.key, pair.chain, 1) == 1
        else { throw TLSError(.certificateUnusable, takingCause: ()) }
    }

    /// Trusts the CA certificates of a PEM text; with `announced`, also names them to clients.
    func trust(_ text: [UInt8], announced: Bool) throws(TLSError) {
        // Sound: store and list take references or copies of their own; ours are freed at the end.
        let certificates = unsafe try PEM.certificates(text, failure: .trustUnusable)
        defer { unsafe X509Fields.free(certificates) }
        // Sound: the store belongs to this context.
        guard let store = unsafe SSL_CTX_get_cert_store(pointer) else { throw TLSError(.library) }
        // A certificate that is trusted by name ends a chain, also when it is not a root.
        unsafe X509_STORE_set_flags(store, UInt(X509_V_FLAG_PARTIAL_CHAIN))
        let isShort =
            unsafe X509Fields.subjectBytes(certificates) <= LibraryContext.announcedBytesMax
        for index in unsafe certificates.indices {
            // Sound: as above.
            guard unsafe X509_STORE_add_cert(store, certificates[index]) == 1,
                unsafe !announced || !isShort
                    || SSL_CTX_add_client_CA(pointer, certificates[index]) == 1
            else { throw TLSError(.trustUnusable, takingCause: ()) }
        }
    }

    /// The most that the names of CAs may take in a handshake.
    ///
    /// Clients do without them, and choke on more: the whole message has to stay below 64 KiB (RFC 5246 §7.4.4).
    private static let announcedBytesMax = 16_384

    /// `SSL_CTX_ctrl`, which the library's function-like macros stand for.
    func control(_ request: Int32, _ value: Int) -> Int {
        // Sound: used for requests without a pointer only.
        unsafe SSL_CTX_ctrl(pointer, request, value, nil)
    }

    private static func setGroups(_ context: OpaquePointer) -> Bool {
        var groups = Array("X25519:P-256:P-384".utf8CString)
        // Sound: the list is terminated, and only read, whatever the parameter's type says.
        return unsafe groups.withUnsafeMutableBufferPointer {
            unsafe SSL_CTX_ctrl(context, SSL_CTRL_SET_GROUPS_LIST, 0, $0.baseAddress) == 1
        }
    }

    /// Suites with forward secrecy and authenticated encryption only (RFC 9325 §4.2).
    private static let ciphers12 =
        "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"
        + ":ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384"
        + ":ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
    private static let ciphers13 =
        "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
}
