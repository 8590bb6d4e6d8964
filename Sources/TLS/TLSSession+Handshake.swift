import COpenSSL

extension TLSSession {
    /// What one call of `handshake` did.
    public struct HandshakeResult: BitwiseCopyable, Sendable, Equatable {
        /// How a call ended, and so what to do next.
        public enum State: BitwiseCopyable, Sendable, Equatable {
            /// All input is taken: send the output, call again with more input.
            case wantsInput
            /// The output is full: send it, call again with the input that is left.
            case outputFull
            /// Done: send the output. Input that is left is for `read`.
            case finished
            /// Over; the output may hold an alert, to be sent before closing.
            case failed(TLSError)
        }
        /// Ciphertext bytes taken from the front of the input.
        public let consumed: Int
        /// How it ended, and so what to do next.
        public let state: State
    }

    /// Goes on with the handshake; a client calls it first with empty input.
    ///
    /// Output that does not fit is kept and comes with the next call. Once finished, does nothing.
    public mutating func handshake(
        ciphertext: Span<UInt8>,
        into output: inout OutputSpan<UInt8>
    ) -> HandshakeResult {
        guard stage == .handshaking else {
            return HandshakeResult(
                consumed: 0,
                state: stage == .open ? .finished : .failed(TLSError(.notOpen))
            )
        }
        ERR_clear_error()
        // Sound: both belong to this value, which is not used otherwise during the call.
        let (ssl, facts) = unsafe (ssl, facts)
        // Sound: the windows are those of this call.
        let (outcome, consumed) = unsafe TLSSession.withWindows(facts, ciphertext, &output) {
            let result = unsafe SSL_do_handshake(ssl)
            let outcome = unsafe result == 1 ? nil : Outcome(ssl, result)
            return unsafe (outcome, facts.pointee.consumed)
        }
        return HandshakeResult(consumed: consumed, state: advance(outcome))
    }

    /// The new stage after a step of the handshake; nil says that it is done.
    private mutating func advance(_ outcome: Outcome?) -> HandshakeResult.State {
        switch outcome {
        case .wantsInput: return .wantsInput
        case .wantsOutput: return .outputFull
        case .closed:
            stage = .failed
            closeNotifyReceived = true
            return .failed(TLSError(.alertReceived))
        case .failed: return .failed(fail())
        case nil:
            guard hasExpectedSubject() else {
                stage = .failed
                return .failed(TLSError(verification: X509_V_ERR_HOSTNAME_MISMATCH))
            }
            stage = .open
            keepRenewed()
            keepResumable()
            return .finished
        }
    }

    /// Whether the server's certificate has one of the names that a client was told to accept.
    private borrowing func hasExpectedSubject() -> Bool {
        guard let configuration = resumption?.configuration, !configuration.isInsecure,
            !configuration.subjectNames.isEmpty
        else { return true }
        // Sound: the certificate belongs to the session.
        guard let certificate = unsafe SSL_get0_peer_certificate(ssl) else { return false }
        // Sound: as above.
        return unsafe X509Fields.matches(certificate, anyOf: configuration.subjectNames)
    }

    /// Keeps the session of a resumed TLS 1.2 connection again: its ticket may have been renewed,
    /// which the library does not report (for TLS 1.3 it does).
    private borrowing func keepRenewed() {
        guard let resumption, let cache = resumption.configuration.resumable, isResumed,
            version == .tls12
        else { return }
        // Sound: the reference moves to the cache.
        guard let session = unsafe SSL_get1_session(ssl) else { return }
        unsafe cache.keep(session, for: resumption.key)
    }

    /// Moves a session that the server made resumable from the facts block to the cache.
    mutating func keepResumable() {
        guard let resumption, let cache = resumption.configuration.resumable else { return }
        // Sound: the block's reference moves to the cache.
        guard let session = unsafe facts.pointee.takeOffered() else { return }
        unsafe cache.keep(session, for: resumption.key)
    }
}

// MARK: - Calling the library

extension TLSSession {
    /// Why a library call did not do all that it was asked.
    enum Outcome: BitwiseCopyable {
        case wantsInput
        case wantsOutput
        case closed
        case failed

        /// Asked right after the call, before any other one on this thread.
        init(_ ssl: OpaquePointer, _ result: Int32) {
            // Sound: the caller's session is live.
            switch unsafe SSL_get_error(ssl, result) {
            case SSL_ERROR_WANT_READ: self = .wantsInput
            case SSL_ERROR_WANT_WRITE: self = .wantsOutput
            case SSL_ERROR_ZERO_RETURN: self = .closed
            default: self = .failed
            }
        }
    }

    /// Opens the windows for the library calls of `body`, and closes them after it.
    ///
    /// `body` reads the facts it needs; what was put out is added to the output here.
    @inline(__always)
    static func withWindows<Result>(
        _ facts: UnsafeMutablePointer<SessionFacts>,
        _ input: Span<UInt8>,
        _ output: inout OutputSpan<UInt8>,
        _ body: () -> Result
    ) -> Result {
        // Sound: both buffers stay valid until the closures end, and the windows are closed before.
        unsafe input.withUnsafeBufferPointer { input in
            unsafe output.withUnsafeMutableBufferPointer { buffer, count in
                let free = unsafe UnsafeMutableBufferPointer(rebasing: buffer[count...])
                unsafe facts.pointee.openWindows(input: input, output: free)
                let result = body()
                // Sound: the callbacks initialized so many bytes after `count`.
                unsafe count += facts.pointee.produced
                unsafe facts.pointee.closeWindows()
                return result
            }
        }
    }

    /// Ends the session for good; the cause is taken from the library.
    mutating func fail() -> TLSError {
        stage = .failed
        // Sound: the session is live.
        return TLSError(
            sessionFailureWithVerification: unsafe Int32(
                truncatingIfNeeded: SSL_get_verify_result(ssl)
            )
        )
    }
}
