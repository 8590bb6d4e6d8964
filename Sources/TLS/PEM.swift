import COpenSSL

/// Reading PEM text with the library.
enum PEM {
    /// All certificates of a text, in order, at least one; the caller owns the references.
    ///
    /// Throws `failure` where there is none, or where one of them cannot be read.
    static func certificates(
        _ text: [UInt8],
        failure: TLSError.Reason
    ) throws(TLSError) -> [OpaquePointer] {
        // Sound: nothing is read through an empty array.
        var found: [OpaquePointer] = unsafe []
        // Sound: the BIO reads `text`, which outlives it; it is freed before the closure ends.
        unsafe withReader(text) { bio in
            while let certificate = unsafe PEM_read_bio_X509(bio, nil, refusePassword, nil) {
                unsafe found.append(certificate)
            }
        }
        // The end of the text is reported as one more block that does not start.
        let last = ERR_peek_last_error()
        let isEnd = ERR_GET_LIB(last) == ERR_LIB_PEM && ERR_GET_REASON(last) == PEM_R_NO_START_LINE
        // Sound: only the count is read.
        if unsafe isEnd && !found.isEmpty {
            ERR_clear_error()
            return unsafe found
        }
        // Sound: nobody else has seen these references.
        unsafe X509Fields.free(found)
        throw TLSError(failure, takingCause: ())
    }

    /// The first private key of a text; the caller owns the reference.
    static func privateKey(_ text: [UInt8]) throws(TLSError) -> OpaquePointer {
        var key: OpaquePointer?
        // Sound: as in `certificates`.
        unsafe withReader(text) { bio in
            unsafe key = PEM_read_bio_PrivateKey(bio, nil, refusePassword, nil)
        }
        guard let key = unsafe key else { throw TLSError(.keyNotPEM, takingCause: ()) }
        ERR_clear_error()
        return unsafe key
    }

    private static func withReader(_ text: [UInt8], _ body: (OpaquePointer) -> Void) {
        ERR_clear_error()
        // Sound: the BIO does not outlive the bytes it reads.
        unsafe text.withUnsafeBytes { bytes in
            guard let count = Int32(exactly: bytes.count),
                let bio = unsafe BIO_new_mem_buf(bytes.baseAddress, count)
            else { return }
            unsafe body(bio)
            unsafe BIO_free(bio)
        }
    }
}
