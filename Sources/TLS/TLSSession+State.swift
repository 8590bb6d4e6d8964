import COpenSSL

extension TLSSession {
    /// Whether the handshake has finished and nothing has failed since.
    public var isOpen: Bool { stage == .open }

    /// Whether plaintext is held that did not fit the last `read`: call it again, input or not.
    public var hasPending: Bool {
        // Sound: the session is live.
        unsafe stage == .open && SSL_pending(ssl) > 0
    }

    /// Whether "h2" was agreed on.
    public var isHTTP2: Bool {
        withApplicationProtocol { name in
            name.count == 2 && name[0] == UInt8(ascii: "h") && name[1] == UInt8(ascii: "2")
        }
    }

    /// The agreed application protocol; nil when none was.
    public var applicationProtocol: String? {
        withApplicationProtocol { name in
            guard !name.isEmpty else { return nil }
            return String(decoding: (0..<name.count).map { name[$0] }, as: UTF8.self)
        }
    }

    /// The agreed version; nil before the handshake has finished.
    public var version: TLSVersion? {
        guard stage == .open else { return nil }
        // Sound: the session is live.
        return TLSVersion(rawValue: unsafe UInt16(truncatingIfNeeded: SSL_version(ssl)))
    }

    /// Whether an earlier session was resumed, without certificates being sent again.
    public var isResumed: Bool {
        // Sound: the session is live.
        unsafe SSL_session_reused(ssl) == 1
    }

    /// The agreed cipher suite, such as "TLS_AES_128_GCM_SHA256"; empty before there is one.
    public var cipherName: String {
        // Sound: the cipher is a static table entry, its name a static, terminated string.
        guard let cipher = unsafe SSL_get_current_cipher(ssl) else { return "" }
        return unsafe String(cString: SSL_CIPHER_get_name(cipher))
    }

    /// What is wrong with the peer's certificate, where that is let pass
    /// (`TLSClientValidation.requested`); nil when it is good, or when none was asked for.
    public var peerVerificationFailure: TLSError? {
        // Sound: the session is live.
        guard unsafe SSL_get_verify_mode(ssl) & SSL_VERIFY_PEER != 0 else { return nil }
        // Sound: as above; the certificate is only compared with nil.
        guard unsafe SSL_get0_peer_certificate(ssl) != nil else {
            return TLSError(.clientCertificateMissing)
        }
        // Sound: as above.
        let result = unsafe Int32(truncatingIfNeeded: SSL_get_verify_result(ssl))
        return result == X509_V_OK ? nil : TLSError(verification: result)
    }

    /// SHA-256 of the peer's certificate, lower-case hex; nil when it sent none.
    public var peerFingerprint: String? {
        // Sound: the certificate belongs to the session.
        guard let certificate = unsafe SSL_get0_peer_certificate(ssl) else { return nil }
        return unsafe X509Fields.fingerprint(certificate)
    }

    private borrowing func withApplicationProtocol<Result>(
        _ body: (Span<UInt8>) -> Result
    ) -> Result {
        var name: UnsafePointer<UInt8>?
        var count: UInt32 = 0
        // Sound: the name belongs to the session, and is not kept beyond the closure.
        unsafe SSL_get0_alpn_selected(ssl, &name, &count)
        guard let name = unsafe name else { return body(Span<UInt8>()) }
        // Sound: as above.
        return body(unsafe Span(_unsafeStart: name, count: Int(count)))
    }
}
