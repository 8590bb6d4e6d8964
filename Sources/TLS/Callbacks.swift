import COpenSSL
import Kernel

// Every function that the library calls back is in this file. They only move bytes between the
// library and the windows of the current call, or record a fact; none of them calls into a session.
// Exception to §8 of the architecture: the ticket callback must set up the two contexts that the
// library hands it, which is what it is called for.

/// What a session's callbacks may touch: one block for each session, at a fixed address.
///
/// The session's methods set the windows before a library call, read the counts after it, and
/// empty the windows again, so that no pointer outlives the call it was made for.
@safe struct SessionFacts {
    /// Ciphertext that may be taken.
    private var input: UnsafePointer<UInt8>?
    private var inputCount = 0
    /// Where ciphertext may be put.
    private var output: UnsafeMutablePointer<UInt8>?
    private var outputCapacity = 0
    /// Ciphertext bytes taken since the windows were set.
    private(set) var consumed = 0
    /// Ciphertext bytes put since the windows were set.
    private(set) var produced = 0
    /// The latest resumable session that the library offered; owned by this block.
    private var offered: OpaquePointer?

    init() {
        // Sound: nothing is read through nil.
        unsafe input = nil
        unsafe output = nil
        unsafe offered = nil
    }

    /// Whether all of the input window was taken.
    var isInputTaken: Bool { consumed == inputCount }
    /// What the output window can still take.
    var outputRoom: Int { outputCapacity - produced }

    /// Sets the windows; both must stay valid until `closeWindows`.
    mutating func openWindows(
        input: UnsafeBufferPointer<UInt8>,
        output: UnsafeMutableBufferPointer<UInt8>
    ) {
        // Sound: the caller keeps both buffers alive until `closeWindows`.
        unsafe self.input = input.baseAddress
        inputCount = input.count
        // Sound: as above.
        unsafe self.output = output.baseAddress
        outputCapacity = output.count
        consumed = 0
        produced = 0
    }

    /// Forgets the windows.
    mutating func closeWindows() {
        // Sound: nothing is read through a nil pointer, and both counts are zero.
        unsafe input = nil
        unsafe output = nil
        inputCount = 0
        outputCapacity = 0
        consumed = 0
        produced = 0
    }

    /// Copies up to `count` bytes of the input window to `destination`.
    fileprivate mutating func take(_ destination: UnsafeMutableRawPointer, _ count: Int) -> Int {
        let taken = min(count, inputCount - consumed)
        // Sound: only compared with nil here.
        guard taken > 0, let source = unsafe input else { return 0 }
        // Sound: `taken` is within what is left of the window and within the destination.
        unsafe destination.copyMemory(from: source + consumed, byteCount: taken)
        consumed += taken
        return taken
    }

    /// Copies up to `count` bytes from `source` to the output window.
    fileprivate mutating func put(_ source: UnsafeRawPointer, _ count: Int) -> Int {
        let put = min(count, outputCapacity - produced)
        // Sound: only compared with nil here.
        guard put > 0, let destination = unsafe output else { return 0 }
        // Sound: `put` is within what is left of the window and within the source.
        unsafe UnsafeMutableRawPointer(destination + produced).copyMemory(
            from: source,
            byteCount: put
        )
        produced += put
        return put
    }

    /// Keeps the session's reference, and gives up the one kept before.
    fileprivate mutating func offer(_ session: OpaquePointer) {
        // Sound: the block owns the reference it kept, and gives it up exactly once.
        unsafe SSL_SESSION_free(offered)
        unsafe offered = session
    }

    /// Hands over the offered session's reference; the caller frees it.
    mutating func takeOffered() -> OpaquePointer? {
        // Sound: ownership moves to the caller, the block forgets it.
        let session = unsafe offered
        unsafe offered = nil
        return unsafe session
    }
}

// MARK: - The BIO

/// The library's way to a session's windows: a method table, made once for the process.
enum WindowBIO {
    // Sound: made once, never changed, never freed.
    nonisolated(unsafe) private static let method: OpaquePointer? = unsafe makeMethod()

    /// A BIO over the facts block, which must outlive it; nil for want of memory.
    static func make(_ facts: UnsafeMutablePointer<SessionFacts>) -> OpaquePointer? {
        // Sound: the method table lives as long as the process; the session frees its BIO before
        // the facts block.
        guard let method = unsafe method, let bio = unsafe BIO_new(method) else { return nil }
        unsafe BIO_set_data(bio, facts)
        return unsafe bio
    }

    private static func makeMethod() -> OpaquePointer? {
        let type = BIO_get_new_index() | BIO_TYPE_SOURCE_SINK
        // Sound: the three functions have the types that the library declares for them.
        guard let method = unsafe BIO_meth_new(type, "window") else { return nil }
        unsafe BIO_meth_set_read_ex(method, readWindow)
        unsafe BIO_meth_set_write_ex(method, writeWindow)
        unsafe BIO_meth_set_ctrl(method, controlWindow)
        return unsafe method
    }
}

/// What a socket's BIO answers when it would block; 0 would mean an end to some callers.
private let wantsRetry: Int32 = -1

private func readWindow(
    _ bio: OpaquePointer?,
    _ bytes: UnsafeMutablePointer<CChar>?,
    _ count: Int,
    _ done: UnsafeMutablePointer<Int>?
) -> Int32 {
    // Sound: the library calls with the BIO that `make` gave its facts block, with `count`
    // writable bytes and a place for the result.
    unsafe BIO_clear_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_WRITE | BIO_FLAGS_SHOULD_RETRY)
    guard let bytes = unsafe bytes, let data = unsafe BIO_get_data(bio) else { return 0 }
    // Sound: as above; the session's methods never touch the block during a library call.
    let facts = unsafe data.assumingMemoryBound(to: SessionFacts.self)
    let taken = unsafe facts.pointee.take(bytes, count)
    unsafe done?.pointee = taken
    if taken > 0 { return 1 }
    // Sound: as above.
    unsafe BIO_set_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY)
    return wantsRetry
}

private func writeWindow(
    _ bio: OpaquePointer?,
    _ bytes: UnsafePointer<CChar>?,
    _ count: Int,
    _ done: UnsafeMutablePointer<Int>?
) -> Int32 {
    // Sound: as in `readWindow`, with `count` readable bytes.
    unsafe BIO_clear_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_WRITE | BIO_FLAGS_SHOULD_RETRY)
    guard let bytes = unsafe bytes, let data = unsafe BIO_get_data(bio) else { return 0 }
    // Sound: as in `readWindow`.
    let facts = unsafe data.assumingMemoryBound(to: SessionFacts.self)
    let put = unsafe facts.pointee.put(bytes, count)
    unsafe done?.pointee = put
    if put > 0 { return 1 }
    // Sound: as in `readWindow`.
    unsafe BIO_set_flags(bio, BIO_FLAGS_WRITE | BIO_FLAGS_SHOULD_RETRY)
    return wantsRetry
}

/// Nothing is held back, so a flush has nothing to do; no other request is known.
private func controlWindow(
    _ bio: OpaquePointer?,
    _ request: Int32,
    _ number: Int,
    _ pointer: UnsafeMutableRawPointer?
) -> Int {
    request == BIO_CTRL_FLUSH ? 1 : 0
}

// MARK: - What a context's callbacks know

/// The place in an `SSL_CTX` that owns its `ContextFacts`: freed with it, however late that is.
// Sound: the function has the declared type; nothing is passed to it but what `attach` set.
private let contextFactsIndex = unsafe CRYPTO_get_ex_new_index(
    CRYPTO_EX_INDEX_SSL_CTX,
    0,
    nil,
    nil,
    nil,
    releaseContextFacts
)

/// Ties the facts to the context, for the callbacks below; the context owns them from now on.
func attach(_ facts: ContextFacts, to context: OpaquePointer, isServer: Bool) -> Bool {
    // Sound: the retained reference is released by `releaseContextFacts` alone, when the library
    // frees the context, or here, where it did not take it.
    let unmanaged = unsafe Unmanaged.passRetained(facts)
    guard unsafe SSL_CTX_set_ex_data(context, contextFactsIndex, unmanaged.toOpaque()) == 1 else {
        unsafe unmanaged.release()
        return false
    }
    guard isServer else { return true }
    if facts.hasApplicationProtocols {
        // Sound: the facts live as long as the context, which is the longest this may be called.
        unsafe SSL_CTX_set_alpn_select_cb(
            context,
            selectApplicationProtocol,
            unmanaged.toOpaque()
        )
    }
    if facts.hasTickets {
        // Sound: the function has the declared type and finds its facts through the context.
        guard unsafe SSL_CTX_set_tlsext_ticket_key_evp_cb(context, ticketKey) == 1 else {
            return false
        }
    }
    return true
}

private func releaseContextFacts(
    _ parent: UnsafeMutableRawPointer?,
    _ pointer: UnsafeMutableRawPointer?,
    _ data: UnsafeMutablePointer<CRYPTO_EX_DATA>?,
    _ index: Int32,
    _ number: Int,
    _ argument: UnsafeMutableRawPointer?
) {
    // Sound: only compared with nil here.
    guard let pointer = unsafe pointer else { return }
    // Sound: balances `passRetained` in `attach`; the library calls once for each context.
    unsafe Unmanaged<ContextFacts>.fromOpaque(pointer).release()
}

/// Picks, by our own order, one of the protocols that the client offered (RFC 7301 §3.2).
private func selectApplicationProtocol(
    _ ssl: OpaquePointer?,
    _ out: UnsafeMutablePointer<UnsafePointer<UInt8>?>?,
    _ outCount: UnsafeMutablePointer<UInt8>?,
    _ offered: UnsafePointer<UInt8>?,
    _ offeredCount: UInt32,
    _ argument: UnsafeMutableRawPointer?
) -> Int32 {
    // Sound: only compared with nil here.
    guard let argument = unsafe argument else { return SSL_TLSEXT_ERR_ALERT_FATAL }
    // Sound: the argument is the retained reference of `attach`; the result points into the
    // facts' own list, which never moves.
    return unsafe Unmanaged<ContextFacts>.fromOpaque(argument)._withUnsafeGuaranteedRef { facts in
        var chosen: UnsafeMutablePointer<UInt8>?
        let result = unsafe SSL_select_next_proto(
            &chosen,
            outCount,
            facts.applicationProtocols.baseAddress,
            UInt32(facts.applicationProtocols.count),
            offered,
            offeredCount
        )
        guard result == OPENSSL_NPN_NEGOTIATED else { return SSL_TLSEXT_ERR_ALERT_FATAL }
        // Sound: the library gives a place for the result.
        unsafe out?.pointee = UnsafePointer(chosen)
        return SSL_TLSEXT_ERR_OK
    }
}

// MARK: - Tickets

/// Gives the library the keys to seal a new ticket, or to open one that a client brought.
///
/// Answers 1: go on; 2: go on, and give the client a new ticket; 0: not ours, so a full handshake;
/// negative: failed.
private func ticketKey(
    _ ssl: OpaquePointer?,
    _ name: UnsafeMutablePointer<UInt8>?,
    _ iv: UnsafeMutablePointer<UInt8>?,
    _ cipher: OpaquePointer?,
    _ mac: OpaquePointer?,
    _ isSealing: Int32
) -> Int32 {
    // Sound: the facts are owned by the context that the session belongs to; the name has 16
    // bytes and the vector 16 (`EVP_MAX_IV_LENGTH`), by the library's contract.
    guard let name = unsafe name, let iv = unsafe iv,
        let context = unsafe SSL_get_SSL_CTX(ssl),
        let pointer = unsafe SSL_CTX_get_ex_data(context, contextFactsIndex)
    else { return -1 }
    // Sound: as above.
    return unsafe Unmanaged<ContextFacts>.fromOpaque(pointer)._withUnsafeGuaranteedRef { facts in
        if isSealing == 1 {
            guard let key = facts.currentTicketKey(), unsafe RAND_bytes(iv, 16) == 1 else {
                return -1
            }
            for index in 0..<16 { unsafe name[index] = key.name[index] }
            return unsafe prepare(cipher, mac, key, iv, isSealing: true) ? 1 : -1
        }
        // Sound: as above.
        var wanted = InlineArray<16, UInt8>(repeating: 0)
        for index in 0..<16 { wanted[index] = unsafe name[index] }
        guard let found = facts.ticketKey(named: wanted) else { return 0 }
        guard unsafe prepare(cipher, mac, found.key, iv, isSealing: false) else { return -1 }
        return found.isCurrent ? 1 : 2
    }
}

/// Sets AES-256-CBC and HMAC-SHA-256 up with a ticket key (encrypt, then authenticate).
private func prepare(
    _ cipher: OpaquePointer?,
    _ mac: OpaquePointer?,
    _ key: TicketKey,
    _ iv: UnsafePointer<UInt8>,
    isSealing: Bool
) -> Bool {
    var macKey = key.macKey
    var cipherKey = key.cipherKey
    // The parameter wants a writable string; it is only read.
    var digest: InlineArray<7, CChar> = [83, 72, 65, 50, 53, 54, 0]  // "SHA256"
    // Sound: names, keys and digest outlive the call, which copies what it keeps; the sizes given
    // are those of the arrays. (A literal passed as a C string dies with the very next call.)
    let macReady = unsafe OSSL_MAC_PARAM_KEY.withCString { keyName in
        unsafe OSSL_MAC_PARAM_DIGEST.withCString { digestName in
            unsafe withUnsafeMutableBytes(of: &macKey) { macKey in
                unsafe withUnsafeMutableBytes(of: &digest) { digest in
                    var parameters: InlineArray<3, OSSL_PARAM> = unsafe [
                        OSSL_PARAM_construct_octet_string(
                            keyName,
                            macKey.baseAddress,
                            macKey.count
                        ),
                        OSSL_PARAM_construct_utf8_string(
                            digestName,
                            digest.assumingMemoryBound(to: CChar.self).baseAddress,
                            0
                        ),
                        OSSL_PARAM_construct_end(),
                    ]
                    return unsafe parameters.mutableSpan.withUnsafeBufferPointer {
                        unsafe EVP_MAC_CTX_set_params(mac, $0.baseAddress)
                    }
                }
            }
        }
    }
    guard macReady == 1 else { return false }
    // Sound: AES-256 takes 32 key bytes and 16 bytes of vector.
    return unsafe withUnsafeMutableBytes(of: &cipherKey) { key in
        let bytes = unsafe key.assumingMemoryBound(to: UInt8.self).baseAddress
        return isSealing
            ? unsafe EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), nil, bytes, iv) == 1
            : unsafe EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), nil, bytes, iv) == 1
    }
}

/// Notes in a new ticket until when what its client showed is good; 0: failed.
///
/// A ticket of a resumed session keeps the note of the first one, so that no chain of tickets outlives a certificate.
func noteEnd(_ ssl: OpaquePointer?, _ argument: UnsafeMutableRawPointer?) -> Int32 {
    // Sound: the library calls with a live session.
    if unsafe SSL_session_reused(ssl) == 1 { return 1 }
    // Sound: as above; the chain belongs to the session. Without one the ticket is good for nothing.
    var end = unsafe SSL_get0_verified_chain(ssl).map { unsafe X509Fields.firstEnd($0) } ?? 0
    // Sound: the bytes are copied.
    return unsafe withUnsafeBytes(of: &end) {
        unsafe SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), $0.baseAddress, $0.count)
    }
}

/// Says whether a ticket that was opened may be used: not beyond the end that it notes.
func judgeTicket(
    _ ssl: OpaquePointer?,
    _ session: OpaquePointer?,
    _ name: UnsafePointer<UInt8>?,
    _ nameCount: Int,
    _ status: SSL_TICKET_STATUS,
    _ argument: UnsafeMutableRawPointer?
) -> SSL_TICKET_RETURN {
    guard status == SSL_TICKET_SUCCESS || status == SSL_TICKET_SUCCESS_RENEW else {
        return SSL_TICKET_RETURN_IGNORE_RENEW
    }
    var data: UnsafeMutableRawPointer?
    var count = 0
    // Sound: the bytes belong to the session, which is live.
    guard unsafe SSL_SESSION_get0_ticket_appdata(session, &data, &count) == 1,
        let data = unsafe data, count == MemoryLayout<Int64>.size
    else { return SSL_TICKET_RETURN_IGNORE_RENEW }
    // Sound: as above; there are as many bytes as the number has.
    let end = unsafe data.loadUnaligned(as: Int64.self)
    guard Int64(Clock.wallNanoseconds() / 1_000_000_000) <= end else {
        return SSL_TICKET_RETURN_IGNORE_RENEW
    }
    return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW
}

// MARK: - Certificates and resumable sessions

/// Lets a client's certificate pass whatever is wrong with it; the session keeps the verdict.
func acceptAnyCertificate(_ verdict: Int32, _ store: OpaquePointer?) -> Int32 { 1 }

/// Refuses to ask a terminal for the password of an encrypted key.
func refusePassword(
    _ bytes: UnsafeMutablePointer<CChar>?,
    _ capacity: Int32,
    _ isWriting: Int32,
    _ argument: UnsafeMutableRawPointer?
) -> Int32 { -1 }

/// Records the session that a server made resumable; 1 says that its reference is taken over.
func recordResumable(_ ssl: OpaquePointer?, _ session: OpaquePointer?) -> Int32 {
    // Sound: slot 0 of a client's session holds its facts block for as long as it lives.
    guard let session = unsafe session, let data = unsafe SSL_get_ex_data(ssl, 0) else { return 0 }
    // Sound: as above.
    unsafe data.assumingMemoryBound(to: SessionFacts.self).pointee.offer(session)
    return 1
}
