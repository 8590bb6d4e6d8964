import COpenSSL

/// A certificate made on the spot, for trying things out and for tests.
public struct SelfSignedCertificate: Sendable {
    /// The certificate in PEM form; also what a client must be told to trust.
    public let certificatePEM: [UInt8]
    /// Its private key in PEM form (PKCS #8, not encrypted).
    public let keyPEM: [UInt8]

    /// Makes a key (P-256) and a certificate for host names, wildcards and IP addresses.
    ///
    /// Valid from an hour ago, for clocks that differ, and for so many days from now.
    public static func make(names: [String], days: Int) throws(TLSError) -> SelfSignedCertificate {
        try make(names: names, validSeconds: -3_600...(days * 86_400))
    }

    /// As the other, with a choice of all that differs between certificates.
    ///
    /// Valid from and to so many seconds from now; `isRSA`: with a key of 2,048 bits instead of
    /// P-256; signed by `issuer`, or else by itself; `isAuthority`: it may sign others.
    static func make(
        names: [String],
        validSeconds: ClosedRange<Int>,
        isRSA: Bool = false,
        issuer: SelfSignedCertificate? = nil,
        isAuthority: Bool = false
    ) throws(TLSError) -> SelfSignedCertificate {
        let authority = try issuer.map { issuer throws(TLSError) in
            try CertificatePair(chainPEM: issuer.certificatePEM, keyPEM: issuer.keyPEM)
        }
        // Sound: both are made here, and freed when the text has been taken.
        guard let key = unsafe generateKey(isRSA: isRSA), let certificate = unsafe X509_new() else {
            throw TLSError(.library, takingCause: ())
        }
        defer {
            // Sound: as above.
            unsafe EVP_PKEY_free(key)
            unsafe X509_free(certificate)
        }
        // Sound: as above; the authority, where there is one, outlives the calls.
        let isMade =
            unsafe fill(certificate, key, names, validSeconds, authority?.leaf)
            && addExtensions(certificate, names, isAuthority: isAuthority)
            && X509_sign(certificate, authority?.key ?? key, EVP_sha256()) > 0
        guard isMade else { throw TLSError(.certificateUnusable, takingCause: ()) }
        // Sound: as above.
        return SelfSignedCertificate(
            certificatePEM: unsafe text { unsafe PEM_write_bio_X509($0, certificate) },
            keyPEM: unsafe text {
                unsafe PEM_write_bio_PKCS8PrivateKey($0, key, nil, nil, 0, nil, nil)
            }
        )
    }

    private static func generateKey(isRSA: Bool) -> OpaquePointer? {
        // Sound: made and freed here.
        guard let maker = unsafe EVP_PKEY_CTX_new_id(isRSA ? EVP_PKEY_RSA : EVP_PKEY_EC, nil) else {
            return nil
        }
        // Sound: as above.
        defer { unsafe EVP_PKEY_CTX_free(maker) }
        var key: OpaquePointer?
        // Sound: as above; the caller owns the key.
        guard unsafe EVP_PKEY_keygen_init(maker) == 1,
            unsafe isRSA
                ? EVP_PKEY_CTX_set_rsa_keygen_bits(maker, 2_048) == 1
                : EVP_PKEY_CTX_set_ec_paramgen_curve_nid(maker, NID_X9_62_prime256v1) == 1,
            unsafe EVP_PKEY_generate(maker, &key) == 1
        else { return nil }
        return unsafe key
    }

    private static func fill(
        _ certificate: OpaquePointer,
        _ key: OpaquePointer,
        _ names: [String],
        _ validSeconds: ClosedRange<Int>,
        _ authority: OpaquePointer?
    ) -> Bool {
        var serial: UInt64 = 0
        // Sound: eight bytes are written to eight bytes.
        let isRandom = unsafe withUnsafeMutableBytes(of: &serial) {
            unsafe RAND_bytes($0.assumingMemoryBound(to: UInt8.self).baseAddress, 8) == 1
        }
        // Sound: what is asked of a certificate belongs to it; what is set is copied.
        let subject = unsafe X509_get_subject_name(certificate)
        let name = Array((names.first ?? "localhost").utf8.prefix(64))
        return unsafe isRandom
            && X509_set_version(certificate, 2) == 1
            && ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial >> 1) == 1
            && X509_gmtime_adj(X509_getm_notBefore(certificate), validSeconds.lowerBound) != nil
            && X509_gmtime_adj(X509_getm_notAfter(certificate), validSeconds.upperBound) != nil
            && X509_NAME_add_entry_by_NID(
                subject,
                NID_commonName,
                MBSTRING_UTF8,
                name,
                Int32(name.count),
                -1,
                0
            ) == 1
            && X509_set_issuer_name(
                certificate,
                authority.map { unsafe X509_get_subject_name($0) } ?? subject
            ) == 1
            && X509_set_pubkey(certificate, key) == 1
    }

    private static func addExtensions(
        _ certificate: OpaquePointer,
        _ names: [String],
        isAuthority: Bool
    ) -> Bool {
        let alternatives = names.map { name in
            let kind = isAddress(name) ? "IP:" : name.contains("://") ? "URI:" : "DNS:"
            return kind + name
        }
        var extensions = [
            (NID_basic_constraints, isAuthority ? "critical,CA:TRUE" : "critical,CA:FALSE")
        ]
        if !names.isEmpty {
            extensions.append((NID_subject_alt_name, alternatives.joined(separator: ",")))
        }
        return extensions.allSatisfy { number, value in
            // Sound: the value is terminated; the extension is copied into the certificate, freed.
            guard let made = unsafe X509V3_EXT_nconf_nid(nil, nil, number, value) else {
                return false
            }
            // Sound: as above.
            defer { unsafe X509_EXTENSION_free(made) }
            return unsafe X509_add_ext(certificate, made, -1) == 1
        }
    }

    private static func isAddress(_ name: String) -> Bool {
        // Sound: the text is terminated; the result is freed.
        guard let address = unsafe a2i_IPADDRESS(name) else {
            ERR_clear_error()
            return false
        }
        // Sound: as above.
        unsafe ASN1_STRING_free(address)
        return true
    }

    /// What `write` writes to a BIO over memory.
    private static func text(_ write: (OpaquePointer) -> Int32) -> [UInt8] {
        // Sound: the BIO owns its memory until it is freed, after the copy.
        guard let bio = unsafe BIO_new(BIO_s_mem()) else { return [] }
        defer { unsafe BIO_free(bio) }
        guard unsafe write(bio) == 1 else { return [] }
        var bytes = [UInt8](repeating: 0, count: unsafe BIO_ctrl_pending(bio))
        // Sound: the count is the array's.
        let count = unsafe bytes.withUnsafeMutableBytes {
            unsafe BIO_read(bio, $0.baseAddress, Int32($0.count))
        }
        return Array(bytes.prefix(max(0, Int(count))))
    }
}
