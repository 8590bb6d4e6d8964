import COpenSSL

/// A certificate chain with its private key, checked to fit each other.
///
/// Cheap to copy: all copies share one parsed form.
public struct TLSCertificate: Sendable {
    /// What kind of key a certificate holds; an RSA and an ECDSA certificate serve side by side.
    public enum KeyKind: Sendable, Equatable { case rsa, ecdsa, other }

    /// The names that it is good for: DNS names in lower case (also `*.example.com`), IP addresses
    /// as text; without any, the subject's common name.
    public let names: [String]
    /// Start of validity, seconds since 1970.
    public let notBefore: Int64
    /// End of validity, seconds since 1970.
    public let notAfter: Int64
    /// SHA-256 of the first certificate's DER form: 64 lower-case hex digits.
    public let fingerprint: String
    /// What kind of key it holds.
    public let keyKind: KeyKind
    let pair: CertificatePair

    /// Reads a chain (the server's own certificate first, PEM) and its key (PEM, not encrypted).
    ///
    /// An expired certificate is accepted: compare `notAfter`. Throws `certificateNotPEM`,
    /// `keyNotPEM` or `keyMismatch`.
    public init(chainPEM: [UInt8], keyPEM: [UInt8]) throws(TLSError) {
        let pair = try CertificatePair(chainPEM: chainPEM, keyPEM: keyPEM)
        // Sound: the pair keeps what it lends alive during the call.
        self = unsafe TLSCertificate(pair: pair, leaf: pair.leaf, key: pair.key)
    }

    private init(pair: CertificatePair, leaf: OpaquePointer, key: OpaquePointer) {
        self.pair = pair
        // Sound: the caller's pair owns both pointers for the whole of this call.
        names = unsafe X509Fields.names(leaf)
        notBefore = unsafe X509Fields.seconds(X509_get0_notBefore(leaf))
        // Sound: as above.
        notAfter = unsafe X509Fields.seconds(X509_get0_notAfter(leaf))
        fingerprint = unsafe X509Fields.fingerprint(leaf)
        // Sound: as above.
        keyKind =
            switch unsafe EVP_PKEY_get_base_id(key) {
            case EVP_PKEY_RSA, EVP_PKEY_RSA_PSS: .rsa
            case EVP_PKEY_EC: .ecdsa
            default: .other
            }
    }

    /// Whether now (seconds since 1970) is within the validity.
    public func isValid(at now: Int64) -> Bool { now >= notBefore && now <= notAfter }
}

/// The library's form of a chain and its key; immutable, so that workers may share it.
@safe final class CertificatePair: Sendable {
    // Sound: written once in `init`, never changed; the library's reference counts are atomic.
    nonisolated(unsafe) let leaf: OpaquePointer
    /// The certificates after the leaf, as a library stack; may be empty.
    // Sound: as above.
    nonisolated(unsafe) let chain: OpaquePointer
    // Sound: as above.
    nonisolated(unsafe) let key: OpaquePointer

    init(chainPEM: [UInt8], keyPEM: [UInt8]) throws(TLSError) {
        // Sound: this object owns the references from here on.
        let certificates = unsafe try PEM.certificates(chainPEM, failure: .certificateNotPEM)
        let key: OpaquePointer
        do throws(TLSError) {
            // Sound: this object owns the result.
            unsafe key = try PEM.privateKey(keyPEM)
        } catch {
            // Sound: nobody else has seen these references.
            unsafe X509Fields.free(certificates)
            throw error
        }
        // Sound: `certificates` has at least one element; its references move to this object.
        unsafe self.leaf = certificates[0]
        unsafe self.chain = X509Fields.stack(certificates.dropFirst())
        // Sound: owned from here on; `deinit` frees all three also when this initializer throws.
        unsafe self.key = key
        guard unsafe X509_check_private_key(leaf, key) == 1 else {
            throw TLSError(.keyMismatch, takingCause: ())
        }
    }

    deinit {
        // Sound: this object owns one reference to each.
        unsafe X509_free(leaf)
        unsafe X509Fields.freeStack(chain)
        unsafe EVP_PKEY_free(key)
    }
}
