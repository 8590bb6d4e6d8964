import COpenSSL

extension TLSSession {
    /// What one call of `read` did.
    public struct ReadResult: BitwiseCopyable, Sendable, Equatable {
        /// How a call ended, and so what to do next.
        public enum State: BitwiseCopyable, Sendable, Equatable {
            /// All ciphertext is taken, and nothing is pending.
            case wantsInput
            /// The plaintext output is full: use it, call again with the ciphertext that is left.
            case plaintextFull
            /// The reply is full: send it, call again with the ciphertext that is left.
            case replyFull
            /// The peer said close_notify: no more plaintext will come; `write` still works.
            case closed
            /// Over; the reply may hold an alert, to be sent before closing.
            case failed(TLSError)
        }
        /// Ciphertext bytes taken from the front of the input.
        public let consumed: Int
        /// Plaintext bytes appended; they count whatever the state is.
        public let produced: Int
        /// How it ended, and so what to do next.
        public let state: State
    }

    /// Opens ciphertext, all of it where the plaintext fits (`plaintextCapacity`).
    ///
    /// `reply` gets what the protocol itself has to say, such as an alert; it is nearly always left
    /// empty, and `replyCapacity` free bytes always do. (A key update is answered by `write`.)
    public mutating func read(
        ciphertext: Span<UInt8>,
        into plaintext: inout OutputSpan<UInt8>,
        reply: inout OutputSpan<UInt8>
    ) -> ReadResult {
        guard stage == .open else {
            return ReadResult(consumed: 0, produced: 0, state: .failed(TLSError(.notOpen)))
        }
        TLSError.forgetOthers()
        // Sound: both belong to this value, which is not used otherwise during the call.
        let (ssl, facts) = unsafe (ssl, facts)
        var produced = 0
        // Sound: the windows are those of this call.
        let (outcome, consumed, isTaken) = unsafe TLSSession.withWindows(
            facts,
            ciphertext,
            &reply
        ) {
            // Sound: the library writes to the free part of the plaintext only.
            let outcome = unsafe plaintext.withUnsafeMutableBufferPointer { buffer, count in
                let free = unsafe UnsafeMutableBufferPointer(rebasing: buffer[count...])
                let outcome = unsafe TLSSession.open(ssl, facts, into: free, &produced)
                count += produced
                return outcome
            }
            return unsafe (outcome, facts.pointee.consumed, facts.pointee.isInputTaken)
        }
        let state = advance(outcome, isTaken: isTaken)
        return ReadResult(consumed: consumed, produced: produced, state: state)
    }

    /// Calls `SSL_read` until it has no more or the output is full (nil).
    private static func open(
        _ ssl: OpaquePointer,
        _ facts: UnsafeMutablePointer<SessionFacts>,
        into free: UnsafeMutableBufferPointer<UInt8>,
        _ produced: inout Int
    ) -> Outcome? {
        let capacity = free.count
        while produced < capacity {
            var count = 0
            // Sound: `produced` is below the capacity, so the base is not nil, and the rest of the
            // buffer is free.
            let result = unsafe SSL_read_ex(
                ssl,
                free.baseAddress?.advanced(by: produced),
                capacity - produced,
                &count
            )
            guard result == 1 else { return unsafe Outcome(ssl, result) }
            produced += count
            // The library reads whole records and no further, so with all input taken and nothing
            // pending the next call could only say that it wants more.
            // Sound: both are live.
            if unsafe facts.pointee.isInputTaken && SSL_pending(ssl) == 0 { return .wantsInput }
        }
        return nil
    }

    /// The state after a read; nil says that the output was full.
    private mutating func advance(_ outcome: Outcome?, isTaken: Bool) -> ReadResult.State {
        keepResumable()
        switch outcome {
        case .wantsInput:
            // The library asks for more only at the end of what it was given; were that ever
            // untrue, ciphertext would be lost.
            guard isTaken else { return .failed(fail()) }
            return .wantsInput
        case .wantsOutput: return .replyFull
        case .closed:
            closeNotifyReceived = true
            return .closed
        case .failed: return .failed(fail())
        case nil: return isTaken && !hasPending ? .wantsInput : .plaintextFull
        }
    }

    /// What one call of `write` did.
    public enum WriteResult: BitwiseCopyable, Sendable, Equatable {
        /// So many plaintext bytes were sealed from the front; 0: too little room, or no bytes.
        case sealed(Int)
        /// The session is not open, or the library failed.
        case failed(TLSError)
    }

    /// A record shorter than this is begun for want of room only where nothing else was sealed.
    private static let shortRecordBytes = 1_024

    /// Seals plaintext in records of up to 16 KiB, as many as surely fit (`ciphertextCapacity`).
    ///
    /// Nothing is held back: what was sealed is in the output, what was not is still the caller's.
    public mutating func write(
        plaintext: Span<UInt8>,
        into ciphertext: inout OutputSpan<UInt8>
    ) -> WriteResult {
        guard stage == .open, !isClosing else { return .failed(TLSError(.notOpen)) }
        guard !plaintext.isEmpty else { return .sealed(0) }
        TLSError.forgetOthers()
        // Sound: both belong to this value, which is not used otherwise during the call.
        let (ssl, facts) = unsafe (ssl, facts)
        var sealed = 0
        var records: Int32 = 0
        // Sound: the windows are those of this call; no input is taken.
        let outcome = unsafe TLSSession.withWindows(facts, Span<UInt8>(), &ciphertext) {
            unsafe plaintext.withUnsafeBufferPointer { bytes in
                unsafe TLSSession.seal(ssl, facts, bytes, &sealed, &records)
            }
        }
        countRecords(records)
        switch outcome {
        case nil, .wantsOutput: return .sealed(sealed)
        case .wantsInput, .closed, .failed: return .failed(fail())
        }
    }

    /// Calls `SSL_write` for each record that fits; nil: all was done that could be.
    private static func seal(
        _ ssl: OpaquePointer,
        _ facts: UnsafeMutablePointer<SessionFacts>,
        _ bytes: UnsafeBufferPointer<UInt8>,
        _ sealed: inout Int,
        _ records: inout Int32
    ) -> Outcome? {
        let total = bytes.count
        while sealed < total {
            let whole = min(total - sealed, recordBytesMax)
            // Sound: the block is live.
            let count = min(whole, unsafe facts.pointee.outputRoom - recordOverheadMax)
            guard count == whole || count >= shortRecordBytes || (sealed == 0 && count > 0) else {
                return nil
            }
            var written = 0
            // Sound: `count` bytes from `sealed` on are within the buffer.
            let result = unsafe SSL_write_ex(
                ssl,
                bytes.baseAddress?.advanced(by: sealed),
                count,
                &written
            )
            guard result == 1 else { return unsafe Outcome(ssl, result) }
            sealed += written
            records += 1
        }
        return nil
    }

    /// Asks for a new key before one has sealed too many records; TLS 1.2 has no such thing.
    private mutating func countRecords(_ records: Int32) {
        recordsUntilKeyUpdate -= records
        guard recordsUntilKeyUpdate <= 0 else { return }
        recordsUntilKeyUpdate = TLSSession.recordsPerKeyMax
        // Sound: the session is live and open; the update goes out before the next record.
        if version == .tls13 { unsafe SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED) }
    }

    /// Says close_notify; after it nothing more can be written, while `read` still works.
    ///
    /// False: it did not fit. Send the output and call again. A session that is not open has
    /// nothing to say.
    @discardableResult
    public mutating func closeNotify(into output: inout OutputSpan<UInt8>) -> Bool {
        guard stage == .open else { return true }
        isClosing = true
        ERR_clear_error()
        // Sound: both belong to this value, which is not used otherwise during the call.
        let (ssl, facts) = unsafe (ssl, facts)
        // Sound: the windows are those of this call; no input is taken.
        let outcome: Outcome? = unsafe TLSSession.withWindows(facts, Span<UInt8>(), &output) {
            let result = unsafe SSL_shutdown(ssl)
            return unsafe result < 0 ? Outcome(ssl, result) : nil
        }
        ERR_clear_error()
        return outcome != .wantsOutput
    }
}
