import COpenSSL

/// A set of CA certificates, read to see whether it can be used.
public struct TLSAuthorities: Sendable {
    /// Start of validity of the one that begins first, seconds since 1970.
    public let notBefore: Int64
    /// End of validity of the one that ends last, seconds since 1970.
    public let notAfter: Int64

    /// Reads a PEM text; throws `trustUnusable` where it holds no certificate, or one that cannot be read.
    public init(pem: [UInt8]) throws(TLSError) {
        let certificates = unsafe try PEM.certificates(pem, failure: .trustUnusable)
        // Sound: this function owns the references, and frees them when all has been read.
        defer { unsafe X509Fields.free(certificates) }
        var first = Int64.max
        var last = Int64.min
        for index in unsafe certificates.indices {
            // Sound: as above.
            first = min(first, unsafe X509Fields.seconds(X509_get0_notBefore(certificates[index])))
            last = max(last, unsafe X509Fields.seconds(X509_get0_notAfter(certificates[index])))
        }
        notBefore = first
        notAfter = last
    }
}
