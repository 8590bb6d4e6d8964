import COpenSSL

/// One TLS connection, either side: ciphertext in, plaintext out, and back; no I/O of its own.
///
/// Belongs to one thread. Bytes travel through the windows given to each call; between calls the
/// session holds only what the library must keep: a record that is not complete yet, plaintext of
/// a record that did not fit (`hasPending`), handshake bytes that did not fit the output.
/// An end of the connection without `closeNotifyReceived` is a truncation: the caller's to treat.
@safe public struct TLSSession: ~Copyable {
    /// The most plaintext of one record (RFC 8446 §5.1).
    public static let recordBytesMax = 16_384
    /// The most that sealing adds to a record, with room for what may have to go out before it.
    public static let recordOverheadMax = 96
    /// Free capacity of `read`'s reply and of `closeNotify`'s output with which nothing is cut.
    public static let replyCapacity = 256

    /// Plaintext capacity with which `read` surely takes so many bytes of ciphertext: the last of
    /// them may complete a record of which the session holds the rest.
    public static func plaintextCapacity(forCiphertext count: Int) -> Int {
        count + recordBytesMax
    }

    /// Ciphertext capacity with which `write` surely seals so many bytes of plaintext, unless the
    /// peer asked for shorter records (RFC 6066 §4): then some of them may be left.
    public static func ciphertextCapacity(forPlaintext count: Int) -> Int {
        count + (count / recordBytesMax + 1) * recordOverheadMax
    }

    enum Stage: BitwiseCopyable {
        case handshaking
        case open
        case failed
    }

    // Sound: made by the initializer, used by this value alone, freed in `deinit`.
    let ssl: OpaquePointer
    // Sound: as above; the library's BIO points to it, and is freed before it.
    let facts: UnsafeMutablePointer<SessionFacts>
    /// Where resumable sessions go; nil on a server.
    let resumption: Resumption?
    var stage = Stage.handshaking
    /// Whether our close_notify was said, or is being said.
    var isClosing = false
    /// Whether the peer said close_notify; an end without it is a truncation.
    public internal(set) var closeNotifyReceived = false
    var recordsUntilKeyUpdate = TLSSession.recordsPerKeyMax

    /// The client's side of resumption, and the names that the library cannot verify itself.
    final class Resumption {
        let configuration: TLSClientConfiguration
        let key: ResumableSessions.Key
        init(_ configuration: TLSClientConfiguration, _ key: ResumableSessions.Key) {
            self.configuration = configuration
            self.key = key
        }
    }

    /// Records sealed with one key: well below what AES-GCM allows (2^24.5, RFC 8446 §5.5).
    static let recordsPerKeyMax: Int32 = 1 << 23

    // MARK: - Making

    /// A server's session.
    ///
    /// `serverName` chooses the certificate: lower-case, from `ClientHello`, empty when there was
    /// none. All bytes of the hello must still be given to `handshake`. Throws `library` only.
    public init(server: TLSServerConfiguration, serverName: Span<UInt8>) throws(TLSError) {
        // Sound: this value owns both from here on.
        (unsafe ssl, unsafe facts) = unsafe try TLSSession.make(server.context(for: serverName))
        resumption = nil
        // Sound: the session was just made.
        unsafe SSL_set_accept_state(ssl)
    }

    /// A client's session.
    ///
    /// `serverName` is sent to the server (SNI) and verified; an IP address is only verified.
    /// `resumptionKey` tells servers of one name apart among the sessions to be resumed, such as
    /// an endpoint's id. Throws `serverNameInvalid`, or `library` for want of memory.
    public init(
        client: TLSClientConfiguration,
        serverName: String,
        resumptionKey: UInt64 = 0
    ) throws(TLSError) {
        let name = serverName.hasSuffix(".") ? String(serverName.dropLast()) : serverName
        let key = ResumableSessions.Key(serverName: name, discriminator: resumptionKey)
        // Sound: this value owns both from here on; they are freed here where it never comes to be.
        let (ssl, facts) = unsafe try TLSSession.make(client.context)
        do throws(TLSError) {
            unsafe try TLSSession.expect(name, of: client, on: ssl)
        } catch {
            unsafe TLSSession.free(ssl, facts)
            throw error
        }
        // Sound: as above; slot 0 is for the application, `recordResumable` reads it.
        (unsafe self.ssl, unsafe self.facts) = unsafe (ssl, facts)
        resumption = Resumption(client, key)
        unsafe SSL_set_connect_state(ssl)
        unsafe SSL_set_ex_data(ssl, 0, facts)
        if let session = unsafe client.resumable?.find(key) {
            // Sound: the library takes a reference of its own. A refusal costs a full handshake.
            unsafe SSL_set_session(ssl, session)
            unsafe SSL_SESSION_free(session)
        }
    }

    /// The library's session, with a BIO over a facts block; the caller owns both.
    private static func make(
        _ context: LibraryContext
    ) throws(TLSError) -> (OpaquePointer, UnsafeMutablePointer<SessionFacts>) {
        ERR_clear_error()
        // Sound: the session takes a reference to its context.
        guard let ssl = unsafe SSL_new(context.pointer) else {
            throw TLSError(.library, takingCause: ())
        }
        // Sound: one block, initialized before anything points to it.
        let facts = UnsafeMutablePointer<SessionFacts>.allocate(capacity: 1)
        unsafe facts.initialize(to: SessionFacts())
        guard let bio = unsafe WindowBIO.make(facts) else {
            // Sound: nobody else knows either.
            unsafe free(ssl, facts)
            throw TLSError(.library, takingCause: ())
        }
        // Sound: the session owns the BIO from now on, for both directions.
        unsafe SSL_set_bio(ssl, bio, bio)
        return unsafe (ssl, facts)
    }

    private static func free(_ ssl: OpaquePointer, _ facts: UnsafeMutablePointer<SessionFacts>) {
        // Sound: the caller gives both up; the BIO, which knows the facts, goes with the session.
        unsafe SSL_free(ssl)
        // Sound: as above; an offered session that nobody took is released.
        unsafe SSL_SESSION_free(facts.pointee.takeOffered())
        unsafe facts.deinitialize(count: 1)
        unsafe facts.deallocate()
    }

    deinit {
        // A session is spoilt for resumption when its connection ends without a word, which pooled
        // connections do: say that both words were said.
        // Sound: both were made by this value's initializer, and are freed once.
        if stage == .open {
            unsafe SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN)
        }
        unsafe TLSSession.free(ssl, facts)
    }

    /// Says which name goes out and which the certificate must have.
    private static func expect(
        _ name: String,
        of client: TLSClientConfiguration,
        on ssl: OpaquePointer
    ) throws(TLSError) {
        // Sound: the parameters belong to this session.
        let parameters = unsafe SSL_get0_param(ssl)
        // Sound: names are terminated and copied.
        let isAddress = unsafe X509_VERIFY_PARAM_set1_ip_asc(parameters, name) == 1
        ERR_clear_error()
        if !isAddress {
            guard isHostName(name), unsafe setServerNameIndication(name, on: ssl) else {
                throw TLSError(.serverNameInvalid, takingCause: ())
            }
        }
        guard !client.isInsecure else { return }
        // Sound: as above.
        unsafe X509_VERIFY_PARAM_set_hostflags(parameters, X509Fields.hostFlags)
        if client.subjectNames.isEmpty {
            // Sound: as above.
            guard unsafe isAddress || X509_VERIFY_PARAM_set1_host(parameters, name, 0) == 1 else {
                throw TLSError(.serverNameInvalid, takingCause: ())
            }
        } else if isAddress {
            // Sound: as above; with names given, the address does not authenticate.
            unsafe X509_VERIFY_PARAM_set1_ip(parameters, nil, 0)
        }
    }

    /// `SSL_set_tlsext_host_name`, which is a macro.
    private static func setServerNameIndication(_ name: String, on ssl: OpaquePointer) -> Bool {
        var text = Array(name.utf8CString)
        // Sound: the name is terminated and copied, whatever the parameter's type says.
        return unsafe text.withUnsafeMutableBufferPointer {
            unsafe SSL_ctrl(
                ssl,
                SSL_CTRL_SET_TLSEXT_HOSTNAME,
                Int(TLSEXT_NAMETYPE_host_name),
                $0.baseAddress
            )
                == 1
        }
    }

    private static func isHostName(_ name: String) -> Bool {
        !name.isEmpty && name.utf8.count <= ClientHello.serverNameBytesMax
            && name.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"),
                    UInt8(ascii: "."):
                    true
                default: false
                }
            }
    }
}
