import COpenSSL

/// Why TLS work failed: a closed set of reasons, and codes that give the library's own words.
///
/// Plain integers: nothing is allocated until `description` is asked for. Making one empties the
/// library's error queue of this thread, so that no cause is ever blamed on another session.
public struct TLSError: Error, Equatable, Sendable, BitwiseCopyable {
    /// What went wrong, as far as a caller may act on it.
    public enum Reason: UInt8, Equatable, Sendable, BitwiseCopyable, CaseIterable {
        /// No `BEGIN CERTIFICATE` block could be read.
        case certificateNotPEM
        /// No private key could be read, or it is encrypted.
        case keyNotPEM
        /// The private key does not belong to the first certificate.
        case keyMismatch
        /// The library refuses the certificate or key: too short, or of a kind it does not know.
        case certificateUnusable
        /// A server configuration without certificates.
        case certificateMissing
        /// A given set of CA certificates holds none, or one of them cannot be read.
        case trustUnusable
        /// An application protocol's name is empty, or longer than 255 bytes.
        case applicationProtocolInvalid
        /// The name to send or to verify is not usable as a name.
        case serverNameInvalid
        /// The peer's certificate is past its end.
        case certificateExpired
        /// The peer's certificate is not valid yet.
        case certificateNotYetValid
        /// The peer's certificate is for another name.
        case certificateNameMismatch
        /// The peer's certificate does not lead to a trusted CA.
        case certificateUntrusted
        /// The peer's certificate was refused for another cause; `description` says which.
        case certificateRefused
        /// The client sent no certificate where one is required.
        case clientCertificateMissing
        /// Application protocols were offered, and the peers have none in common.
        case noApplicationProtocol
        /// The peers have no protocol version in common.
        case noCommonVersion
        /// The peers have no cipher suite, group or signature algorithm in common.
        case noCommonCipher
        /// The peer ended the session with an alert; `description` says which.
        case alertReceived
        /// The peer speaks plain HTTP where TLS is spoken.
        case plainHTTP
        /// The peer's bytes are not TLS, are damaged, or break the protocol.
        case protocolViolation
        /// Used before the handshake has finished, or after the session was closed or has failed.
        case notOpen
        /// The library failed within itself, such as for want of memory.
        case library
    }

    /// What went wrong.
    public let reason: Reason
    /// The library's packed error code, 0 where it gave none.
    let code: UInt
    /// The X.509 verification result, 0 (`X509_V_OK`) where no certificate was refused.
    let verification: Int32

    /// An error that is found by this module itself.
    init(_ reason: Reason) {
        self.reason = reason
        self.code = 0
        self.verification = 0
    }

    /// An error that the library has just reported: takes the first cause, empties the queue.
    init(_ reason: Reason, takingCause: Void) {
        self.reason = reason
        self.code = ERR_peek_error()
        self.verification = 0
        ERR_clear_error()
    }

    /// Empties the library's queue, so that what stands there after the next call is of that call.
    ///
    /// Emptying goes through all of its places; that it is empty, as it nearly always is, costs a
    /// tenth to see.
    @inline(__always)
    static func forgetOthers() {
        if ERR_peek_error() != 0 { ERR_clear_error() }
    }

    /// A certificate that the verification refused.
    init(verification: Int32) {
        self.reason = TLSError.reason(verification: verification)
        self.code = 0
        self.verification = verification
    }

    /// The failure of a library call on a session, whose verification result is given.
    ///
    /// The first entry of the queue is the cause, later ones are its echo in outer layers; only a
    /// refused certificate is told by the last, since looking at it may have failed before.
    init(sessionFailureWithVerification verification: Int32) {
        let code = ERR_peek_error()
        let last = ERR_peek_last_error()
        ERR_clear_error()
        let isVerification =
            ERR_GET_LIB(last) == ERR_LIB_SSL
            && ERR_GET_REASON(last) == SSL_R_CERTIFICATE_VERIFY_FAILED
        let isRefusal = isVerification && verification != X509_V_OK
        self.reason =
            isRefusal
            ? TLSError.reason(verification: verification) : TLSError.reason(code: code)
        self.code = isRefusal ? 0 : code
        self.verification = isRefusal ? verification : 0
    }
}

extension TLSError: CustomStringConvertible {
    /// A sentence, followed by the library's own words where it gave some.
    public var description: String {
        libraryText.map { "\(sentence): \($0)" } ?? sentence
    }

    /// The library's own words, such as "certificate has expired"; nil where it gave none.
    public var libraryText: String? {
        if verification != 0 {
            // Sound: the library returns a static, terminated string for every code.
            return unsafe X509_verify_cert_error_string(Int(verification)).map {
                unsafe String(cString: $0)
            }
        }
        guard code != 0 else { return nil }
        // Sound: a static, terminated string, or nil for a code it has no words for.
        return unsafe ERR_reason_error_string(code).map { unsafe String(cString: $0) }
    }

    private var sentence: String {
        switch reason {
        case .certificateNotPEM: "no certificate in PEM form could be read"
        case .keyNotPEM: "no unencrypted private key in PEM form could be read"
        case .keyMismatch: "the private key does not belong to the first certificate"
        case .certificateUnusable: "the certificate or its key cannot be used"
        case .certificateMissing: "a server needs at least one certificate"
        case .trustUnusable: "no CA certificate in PEM form could be read"
        case .applicationProtocolInvalid: "an application protocol has 1 to 255 bytes"
        case .serverNameInvalid: "the server name is neither a host name nor an IP address"
        case .certificateExpired: "the peer's certificate is past its end"
        case .certificateNotYetValid: "the peer's certificate is not valid yet"
        case .certificateNameMismatch: "the peer's certificate is for another name"
        case .certificateUntrusted: "the peer's certificate does not lead to a trusted CA"
        case .certificateRefused: "the peer's certificate was refused"
        case .clientCertificateMissing: "the client sent no certificate"
        case .noApplicationProtocol: "no application protocol in common"
        case .noCommonVersion: "no protocol version in common"
        case .noCommonCipher: "no cipher suite, group or signature algorithm in common"
        case .alertReceived: "the peer ended the session"
        case .plainHTTP: "the peer speaks plain HTTP"
        case .protocolViolation: "the peer's bytes break the protocol"
        case .notOpen: "the session is not open"
        case .library: "the TLS library failed"
        }
    }
}

// MARK: - From the library's codes

extension TLSError {
    private static func reason(verification: Int32) -> Reason {
        switch verification {
        case X509_V_ERR_CERT_HAS_EXPIRED: .certificateExpired
        case X509_V_ERR_CERT_NOT_YET_VALID: .certificateNotYetValid
        case X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH: .certificateNameMismatch
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
            X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN,
            X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, X509_V_ERR_CERT_UNTRUSTED,
            // A CA of the right name with another key.
            X509_V_ERR_CERT_SIGNATURE_FAILURE:
            .certificateUntrusted
        default: .certificateRefused
        }
    }

    /// Alerts appear as reasons from this number on (`SSL_AD_REASON_OFFSET`).
    private static let alertBase: Int32 = 1_000

    private static func reason(code: UInt) -> Reason {
        guard code != 0 else { return .library }
        let reason = ERR_GET_REASON(code)
        if reason == Int32(ERR_R_MALLOC_FAILURE) { return .library }
        // Decoding and signature errors of the lower libraries come from what the peer sent.
        guard ERR_GET_LIB(code) == ERR_LIB_SSL else { return .protocolViolation }
        switch reason {
        case Int32(ERR_R_INTERNAL_ERROR): return .library
        case SSL_R_CERTIFICATE_VERIFY_FAILED: return .certificateRefused
        case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE: return .clientCertificateMissing
        case SSL_R_NO_APPLICATION_PROTOCOL, alertBase + TLS1_AD_NO_APPLICATION_PROTOCOL:
            return .noApplicationProtocol
        case SSL_R_UNSUPPORTED_PROTOCOL, SSL_R_VERSION_TOO_LOW, SSL_R_VERSION_TOO_HIGH,
            SSL_R_NO_PROTOCOLS_AVAILABLE, alertBase + TLS1_AD_PROTOCOL_VERSION:
            return .noCommonVersion
        case SSL_R_NO_SHARED_CIPHER, SSL_R_NO_SHARED_GROUPS, SSL_R_NO_SUITABLE_GROUPS,
            SSL_R_NO_SUITABLE_KEY_SHARE, SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS,
            SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
            return .noCommonCipher
        case SSL_R_HTTP_REQUEST, SSL_R_HTTPS_PROXY_REQUEST: return .plainHTTP
        default:
            return reason > alertBase && reason < alertBase + 256
                ? .alertReceived : .protocolViolation
        }
    }
}
