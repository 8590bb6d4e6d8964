import HTTP
import Kernel
import TLS

/// Name of one request of a `Client` and its answer.
public struct CallID: BitwiseCopyable, Hashable, Sendable {
    let connection: SlotID
    let number: UInt64
    /// What the caller gave, to know the call again.
    public let tag: UInt64
}

/// Where a request goes, and the bounds of its answer; times are milliseconds.
public struct CallSettings: Sendable {
    public var address: SocketAddress
    public var transport: CallTransport
    /// Given back in `CallID.tag`.
    public var tag: UInt64
    /// Until the connection stands, a handshake included.
    public var connectMilliseconds: UInt64
    /// From the call to the last byte of the answer.
    public var answerMilliseconds: UInt64
    /// Bytes of content, of which more fails as `tooLarge`; for pieces there is no bound.
    public var contentBytesMax: Int
    /// Whether content comes as it arrives (`Receiver.receive`), and not at the end.
    public var takesPieces: Bool
    /// Whether a kept connection may be used, and this one kept.
    public var reuses: Bool
    /// Whether the request may be sent again when a kept connection ends before any answer.
    ///
    /// Requests whose method is idempotent are sent again anyway.
    public var isRepeatable: Bool

    public init(
        address: SocketAddress,
        transport: CallTransport = .plain,
        tag: UInt64 = 0,
        connectMilliseconds: UInt64 = 5_000,
        answerMilliseconds: UInt64 = 30_000,
        contentBytesMax: Int = 1 << 20,
        takesPieces: Bool = false,
        reuses: Bool = true,
        isRepeatable: Bool = false
    ) {
        self.address = address
        self.transport = transport
        self.tag = tag
        self.connectMilliseconds = connectMilliseconds
        self.answerMilliseconds = answerMilliseconds
        self.contentBytesMax = contentBytesMax
        self.takesPieces = takesPieces
        self.reuses = reuses
        self.isRepeatable = isRepeatable
    }
}

/// Why a call got no whole answer.
public enum CallFailure: Error, Equatable, Sendable {
    /// The connection could not be made; the `errno`.
    case connect(Int32)
    case connectTimeout
    /// TLS could not make sure of the server, or the server of us.
    case insecure(TLSError)
    /// The answer was not complete in time.
    case answerTimeout
    /// The connection ended before the answer began.
    case closed
    /// The connection ended within the answer.
    case truncated
    case malformed(Malformed)
    /// The content is larger than the call allows.
    case tooLarge
    /// The client has all connections in use, or no memory is left.
    case exhausted
    /// The request's head was not valid or did not fit.
    case invalidRequest
}

/// What takes the answers to the calls of a `Client`; each call ends in `finish` or in `fail`.
public protocol Receiver: ~Copyable {
    /// The head of the final answer has come; valid during the call only.
    mutating func begin(_ call: CallID, _ head: borrowing ResponseHead)

    /// A piece of content has come, to a call that takes pieces.
    mutating func receive(_ piece: Span<UInt8>, _ call: CallID)

    /// The answer is complete; `content` is all of it, or empty for a call that takes pieces.
    mutating func finish(_ call: CallID, status: Int, content: Span<UInt8>)

    /// There is no answer, or it broke off.
    mutating func fail(_ call: CallID, _ failure: CallFailure)
}

extension Receiver where Self: ~Copyable {
    public mutating func begin(_ call: CallID, _ head: borrowing ResponseHead) {}

    public mutating func receive(_ piece: Span<UInt8>, _ call: CallID) {}
}
