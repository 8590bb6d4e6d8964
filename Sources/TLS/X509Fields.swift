import COpenSSL

/// Reading fields of the library's certificates, and its stacks of them.
///
/// Every pointer given to these functions must be live; none is kept.
enum X509Fields {
    /// Names as in `TLSCertificate.names`.
    static func names(_ certificate: OpaquePointer) -> [String] {
        var names: [String] = []
        // Sound: the caller's pointer is live, names given to the closure only during it.
        unsafe forEachName(certificate) { type, bytes in
            switch type {
            case GEN_DNS: names.append(asciiLowercase(bytes))
            case GEN_IPADD: if let text = ipText(bytes) { names.append(text) }
            default: break
            }
        }
        // Sound: as above.
        if names.isEmpty, let name = unsafe commonName(certificate) { names.append(name) }
        return names
    }

    /// Whether one of the certificate's names is one of those asked for.
    static func matches(_ certificate: OpaquePointer, anyOf wanted: [TLSSubjectName]) -> Bool {
        wanted.contains { name in
            switch name {
            case .host(let host):
                // Sound: the count 0 says that the name is terminated.
                return unsafe X509_check_host(certificate, host, 0, hostFlags, nil) == 1
            case .uri(let uri):
                var isFound = false
                // Sound: the caller's pointer is live.
                unsafe forEachName(certificate) { type, bytes in
                    if type == GEN_URI && bytes.elementsEqual(uri.utf8) { isFound = true }
                }
                return isFound
            }
        }
    }

    /// Names are looked for among the alternative names only, a wildcard is a whole label.
    static let hostFlags = UInt32(
        X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS
    )

    /// SHA-256 of the DER form, lower-case hex.
    static func fingerprint(_ certificate: OpaquePointer) -> String {
        var digest = [UInt8](repeating: 0, count: 32)
        // Sound: SHA-256 writes 32 bytes.
        let result = unsafe digest.withUnsafeMutableBufferPointer {
            unsafe X509_digest(certificate, EVP_sha256(), $0.baseAddress, nil)
        }
        return result == 1 ? Digest.hex(digest) : ""
    }

    /// Seconds since 1970; 0 where the time cannot be read.
    static func seconds(_ time: UnsafePointer<ASN1_TIME>?) -> Int64 {
        var days: Int32 = 0
        var seconds: Int32 = 0
        // Sound: the epoch is made here and freed here; `time` belongs to a live certificate.
        let epoch = unsafe ASN1_TIME_set(nil, 0)
        let result = unsafe ASN1_TIME_diff(&days, &seconds, epoch, time)
        // Sound: as above.
        unsafe ASN1_STRING_free(epoch)
        return result == 1 ? Int64(days) * 86_400 + Int64(seconds) : 0
    }

    /// The bytes of the subjects' names in DER, each with a length before it.
    static func subjectBytes(_ certificates: [OpaquePointer]) -> Int {
        var bytes = 0
        for index in unsafe certificates.indices {
            // Sound: the name belongs to the certificate; without a place to write to it is only measured.
            let name = unsafe X509_get_subject_name(certificates[index])
            bytes += 2 + max(0, Int(unsafe i2d_X509_NAME(name, nil)))
        }
        return bytes
    }

    /// The first end of validity among the certificates of a stack, which keeps them; 0 for an empty one.
    static func firstEnd(_ stack: OpaquePointer) -> Int64 {
        var end: Int64?
        // Sound: the caller's stack is live and holds certificates.
        for index in 0..<max(0, unsafe OPENSSL_sk_num(stack)) {
            guard let pointer = unsafe OPENSSL_sk_value(stack, index) else { return 0 }
            // Sound: as above.
            let own = unsafe seconds(X509_get0_notAfter(OpaquePointer(pointer)))
            end = min(end ?? own, own)
        }
        return end ?? 0
    }

    // MARK: - Stacks

    /// A new stack that takes the references over.
    static func stack(_ certificates: ArraySlice<OpaquePointer>) -> OpaquePointer {
        // Sound: a stack of pointers holds any pointers.
        guard let stack = unsafe OPENSSL_sk_new_null() else { fatalError("Out of memory.") }
        for index in unsafe certificates.indices {
            // Sound: as above.
            unsafe OPENSSL_sk_push(stack, UnsafeRawPointer(certificates[index]))
        }
        return unsafe stack
    }

    /// Frees a stack and the certificates in it.
    static func freeStack(_ stack: OpaquePointer) {
        // Sound: the stack was made by `stack` and holds certificates only.
        while let pointer = unsafe OPENSSL_sk_pop(stack) {
            unsafe X509_free(OpaquePointer(pointer))
        }
        // Sound: as above.
        unsafe OPENSSL_sk_free(stack)
    }

    /// Frees certificates.
    static func free(_ certificates: [OpaquePointer]) {
        // Sound: the caller gives its references up.
        for index in unsafe certificates.indices { unsafe X509_free(certificates[index]) }
    }

    // MARK: - Parts

    /// Calls with the kind (`GEN_…`) and the bytes of each alternative name.
    private static func forEachName(
        _ certificate: OpaquePointer,
        _ body: (Int32, [UInt8]) -> Void
    ) {
        // Sound: the extension's decoded form is a stack of GENERAL_NAME, owned here.
        guard
            let decoded = unsafe X509_get_ext_d2i(certificate, NID_subject_alt_name, nil, nil)
        else { return ERR_clear_error() }
        let stack = OpaquePointer(decoded)
        // Sound: as above.
        let count = unsafe OPENSSL_sk_num(stack)
        for index in 0..<max(0, count) {
            var type: Int32 = 0
            // Sound: as above; the value of these three kinds is a string.
            guard let entry = unsafe OPENSSL_sk_value(stack, index),
                let value = unsafe GENERAL_NAME_get0_value(
                    entry.assumingMemoryBound(to: GENERAL_NAME.self),
                    &type
                ),
                [GEN_DNS, GEN_IPADD, GEN_URI].contains(type)
            else { continue }
            // Sound: as above.
            body(type, unsafe bytes(value.assumingMemoryBound(to: ASN1_STRING.self)))
        }
        // Sound: made here, freed here.
        unsafe GENERAL_NAMES_free(stack)
    }

    private static func commonName(_ certificate: OpaquePointer) -> String? {
        // Sound: the name, its entries and their strings belong to the certificate.
        let subject = unsafe X509_get_subject_name(certificate)
        let index = unsafe X509_NAME_get_index_by_NID(subject, NID_commonName, -1)
        // Sound: as above.
        guard index >= 0,
            let entry = unsafe X509_NAME_get_entry(subject, index),
            let value = unsafe X509_NAME_ENTRY_get_data(entry)
        else { return nil }
        // Sound: as above.
        return asciiLowercase(unsafe bytes(value))
    }

    private static func bytes(_ string: UnsafePointer<ASN1_STRING>) -> [UInt8] {
        // Sound: the library gives as many bytes as it says.
        let count = unsafe Int(ASN1_STRING_length(string))
        guard count > 0, let data = unsafe ASN1_STRING_get0_data(string) else { return [] }
        // Sound: as above.
        return unsafe Array(UnsafeBufferPointer(start: data, count: count))
    }

    private static func asciiLowercase(_ bytes: [UInt8]) -> String {
        String(decoding: bytes, as: UTF8.self).lowercased()
    }

    /// "192.0.2.1", or eight groups of hex digits for IPv6.
    private static func ipText(_ bytes: [UInt8]) -> String? {
        switch bytes.count {
        case 4: return bytes.map { String($0) }.joined(separator: ".")
        case 16:
            return stride(from: 0, to: 16, by: 2).map {
                String(Int(bytes[$0]) << 8 | Int(bytes[$0 + 1]), radix: 16)
            }.joined(separator: ":")
        default: return nil
        }
    }
}
