import HTTP
import Kernel

/// Name of one exchange of a server; after its end it names nothing, and every use is ignored.
public struct ExchangeID: BitwiseCopyable, Hashable, Sendable {
    /// The connection that it is on.
    let connection: SlotID
    /// Which exchange of that connection.
    let number: UInt32

    /// A number below `ServerSettings.connections` that no other open exchange has meanwhile.
    public var slot: Int { Int(connection.slot) }
}

/// How the content of a request comes to the responder.
public enum ContentPlan: BitwiseCopyable, Sendable, Equatable {
    /// All at once with the head; more than so many bytes are refused with 413.
    case gather(atMost: Int)
    /// As it arrives: `respond` with the head, then `receive` for each piece, then `finish`.
    case pieces
}

/// What answers the requests of a `Server`.
///
/// Every call is from the thread that drives the server. An answer may be given inside the call, or
/// later, or in pieces, through `Answers`. Each exchange ends by `Answers.send`, `Answers.finish`
/// or `Answers.abort`, or by a call of `cancel`.
public protocol Responder: ~Copyable {
    /// Says how the content of this request shall come; asked only when it has content.
    ///
    /// 1 MiB at once if not implemented.
    mutating func plan(_ head: borrowing RequestHead) -> ContentPlan

    /// A request has come: whole, or its head when its content comes in pieces.
    ///
    /// Head and content are valid during the call only.
    mutating func respond(
        to head: borrowing RequestHead, content: Span<UInt8>, _ exchange: ExchangeID,
        _ answers: inout Answers)

    /// A piece of content has come.
    mutating func receive(_ piece: Span<UInt8>, _ exchange: ExchangeID, _ answers: inout Answers)

    /// The content that came in pieces is complete.
    mutating func finish(_ exchange: ExchangeID, _ answers: inout Answers)

    /// There is room again for an exchange whose `Answers.write` was refused.
    mutating func resume(_ exchange: ExchangeID, _ answers: inout Answers)

    /// The client has left, or was too slow; the exchange is over.
    mutating func cancel(_ exchange: ExchangeID, _ answers: inout Answers)
}

extension Responder where Self: ~Copyable {
    public mutating func plan(_ head: borrowing RequestHead) -> ContentPlan {
        .gather(atMost: 1 << 20)
    }

    public mutating func receive(
        _ piece: Span<UInt8>, _ exchange: ExchangeID, _ answers: inout Answers
    ) {}

    public mutating func finish(_ exchange: ExchangeID, _ answers: inout Answers) {}

    public mutating func resume(_ exchange: ExchangeID, _ answers: inout Answers) {}

    public mutating func cancel(_ exchange: ExchangeID, _ answers: inout Answers) {}
}
