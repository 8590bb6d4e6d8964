// What tests ask of the library and of the system beyond the module's face.
import COpenSSL
import Foundation
import Testing

@testable import TLS

extension LibraryContext {
    /// Speaks no later version.
    func limit(to version: TLSVersion) {
        _ = control(SSL_CTRL_SET_MAX_PROTO_VERSION, Int(version.rawValue))
    }

    /// Speaks TLS 1.0 and 1.1 only.
    func allowOldVersions() {
        _ = control(SSL_CTRL_SET_MIN_PROTO_VERSION, 0x0301)
        _ = control(SSL_CTRL_SET_MAX_PROTO_VERSION, 0x0302)
        // Sound: the list is terminated and copied.
        _ = unsafe SSL_CTX_set_cipher_list(pointer, "DEFAULT:@SECLEVEL=0")
    }

    /// Takes certificates with one kind of key only.
    func limitSignatures(toRSA isRSA: Bool) {
        var list = Array(
            (isRSA ? "rsa_pss_rsae_sha256:rsa_pkcs1_sha256" : "ecdsa_secp256r1_sha256").utf8CString
        )
        // Sound: the list is terminated and copied.
        _ = unsafe list.withUnsafeMutableBufferPointer {
            unsafe SSL_CTX_ctrl(pointer, SSL_CTRL_SET_SIGALGS_LIST, 0, $0.baseAddress)
        }
    }
}

extension TLSSession {
    /// Changes the key with the next record, and asks the peer to do so too.
    func requestKeyUpdate() {
        // Sound: the session is live.
        _ = unsafe SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED)
    }

    /// Takes records of 512 bytes at most (RFC 6066 §4).
    func askForShortRecords() {
        // Sound: the session is live, its handshake has not begun.
        let mode = UInt8(TLSEXT_max_fragment_length_512)
        _ = unsafe SSL_set_tlsext_max_fragment_length(ssl, mode)
    }

    /// Whether the library would negotiate again.
    func startRenegotiation() -> Bool {
        // Sound: the session is live.
        let result = unsafe SSL_renegotiate(ssl)
        ERR_clear_error()
        return result == 1
    }
}

extension ResumableSessions {
    /// Claims that all sessions belong to another name.
    func moveAll(to name: String) {
        for key in 0..<8 as Range<UInt64> {
            let old = Key(serverName: "a.example", discriminator: key)
            // Sound: `find` gives a copy, which `keep` takes over.
            guard let session = unsafe find(old) else { continue }
            unsafe keep(session, for: Key(serverName: name, discriminator: key))
        }
    }
}

/// Reports an error as the library does.
func ERR_set_error_of_tests() {
    // Sound: no optional text is given.
    unsafe withVaList([]) { unsafe ERR_vset_error(ERR_LIB_SSL, SSL_R_NO_SHARED_CIPHER, nil, $0) }
}

/// Pages of 4 KiB that the process has in memory.
func residentPages() -> Int {
    let text = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8)) ?? ""
    return text.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
}

/// Seconds since 1970.
func wallSeconds() -> Int64 { Int64(Date().timeIntervalSince1970) }

/// The bytes that a PEM block stands for.
func derBytes(_ pem: [UInt8]) -> [UInt8] {
    let lines = String(decoding: pem, as: UTF8.self).split(separator: "\n")
    return Array(Data(base64Encoded: lines.dropFirst().dropLast().joined()) ?? Data())
}

/// The key, encrypted with a password.
func encryptedKey(_ pem: [UInt8]) throws -> [UInt8] {
    // Sound: key and BIO are made and freed here; the copy is as long as what is pending.
    let key = unsafe try PEM.privateKey(pem)
    defer { unsafe EVP_PKEY_free(key) }
    let bio = unsafe try #require(BIO_new(BIO_s_mem()))
    defer { unsafe BIO_free(bio) }
    // Sound: as above; the password has six bytes.
    let isWritten = unsafe "secret".withCString {
        unsafe PEM_write_bio_PKCS8PrivateKey(bio, key, EVP_aes_256_cbc(), $0, 6, nil, nil)
    }
    #expect(isWritten == 1)
    var bytes = [UInt8](repeating: 0, count: unsafe BIO_ctrl_pending(bio))
    // Sound: as above.
    _ = unsafe bytes.withUnsafeMutableBytes {
        unsafe BIO_read(bio, $0.baseAddress, Int32($0.count))
    }
    return bytes
}
