import BasicContainers
import HTTP
import Kernel
import Protocols

/// How far a request's conversation with an external picker is.
enum PickerStage: UInt8 {
    /// No endpoint is chosen; nothing of the request has gone to a backend.
    case choosing
    /// The endpoint is chosen; content goes to it as the picker returns it.
    case chosen
    /// The picker has the answer's head; nothing of the answer has gone to the client.
    case judging
    /// The answer's head is with the client; content follows as the picker returns it.
    case answering
}

/// Why a picker was of no use.
enum PickerFailure {
    /// No connection to it could be made.
    case unreachable
    case timeout
    /// It ended the call, or broke it off.
    case broken
    /// It said what no picker says.
    case malformed
    /// It named no endpoint, or none of the pool's.
    case noEndpoint
    /// The request's content is more than is held for a picker that wants all of it.
    case contentTooLarge
    /// The gateway has no room for the call.
    case overloaded

    /// What a client is told where the pool fails closed.
    var reply: LocalReply {
        switch self {
        case .contentTooLarge: .contentTooLarge
        case .overloaded: .overloaded
        case .unreachable, .timeout, .broken, .malformed, .noEndpoint: .pickerFailed
        }
    }
}

/// The endpoints that a picker named, in its order, as far as they are the pool's.
struct PickedEndpoints: BitwiseCopyable {
    /// More than these are not tried.
    static var most: Int { 8 }

    private var ids: (UInt64, UInt64, UInt64, UInt64) = (.max, .max, .max, .max)
    private(set) var count = 0
    private var at = 0

    /// The endpoint whose turn it is.
    var current: UInt32? { at < count ? self[at] : nil }

    /// Goes on to the next endpoint; nil when there is none.
    mutating func next() -> UInt32? {
        at = min(at + 1, count)
        return current
    }

    /// Goes back to the first.
    mutating func beginAgain() { at = 0 }

    mutating func append(_ id: UInt32) {
        if count == Self.most { return }
        let shift = UInt64(count & 1) * 32
        let mask = ~(UInt64(UInt32.max) << shift)
        let bits = UInt64(id) << shift
        switch count >> 1 {
        case 0: ids.0 = ids.0 & mask | bits
        case 1: ids.1 = ids.1 & mask | bits
        case 2: ids.2 = ids.2 & mask | bits
        default: ids.3 = ids.3 & mask | bits
        }
        count += 1
    }

    private subscript(_ index: Int) -> UInt32 {
        let pair =
            switch index >> 1 {
            case 0: ids.0
            case 1: ids.1
            case 2: ids.2
            default: ids.3
            }
        return UInt32(truncatingIfNeeded: pair >> (UInt64(index & 1) * 32))
    }
}

/// Content of one direction on its way through a picker.
struct ProcessedContent: ~Copyable {
    /// Content that the picker has and about which it said nothing yet, in the pieces it was told in: what it does not
    /// change goes on from here.
    var held = Buffer()
    private var sizes = UniqueArray<UInt32>()
    private var firstSize = 0
    /// Trailer lines.
    var trailers = Buffer()
    /// Pieces that stay as they were, before they have where to go.
    var keptPieces = 0
    /// The picker returns content of its own: nothing is held.
    var isReplaced = false
    /// The picker was told the end.
    var isTold = false
    /// The other side was given the end.
    var hasEnded = false

    /// Pieces about which the picker has not said anything.
    var pieces: Int { sizes.count - firstSize }

    mutating func appendPiece(_ count: Int) { sizes.append(UInt32(count)) }

    /// Takes the oldest piece out of the list; its bytes are the first of `held`.
    mutating func takePiece() -> Int {
        let size = Int(sizes[firstSize])
        firstSize += 1
        if firstSize == sizes.count || firstSize == 1024 {
            sizes.removeSubrange(0..<firstSize)
            firstSize = 0
        }
        return size
    }

    /// Nothing was told: for a picker that is asked again.
    mutating func forgetPieces() {
        sizes.removeAll()
        firstSize = 0
        keptPieces = 0
        isTold = false
    }

    mutating func release(_ buffers: inout BufferPool) {
        buffers.reclaim(&held)
        buffers.reclaim(&trailers)
    }
}

/// One request's conversation with its pool's external picker: an ext_proc stream.
///
/// The stream is an exchange of its own, the *carrier*, whose backend is the picker and whose client is this. The request's
/// exchange reads its content into `request`; what the picker returns goes on to the backend, and the same for the answer.
struct PickerCall: ~Copyable {
    /// Longest message of a picker, in bytes; pieces of content are a hundredth of it.
    static var messageBytesMax: Int { 4 << 20 }

    /// The request's exchange.
    let exchange: SlotID
    /// The exchange with the picker; `.none` once it is over.
    var carrier = SlotID.none
    let cluster: UInt32
    let opensOnFailure: Bool
    let sendsAnswers: Bool
    let isSecure: Bool
    /// How the client framed the request's content.
    let framing: BodyFraming
    var stage = PickerStage.choosing
    /// The call was begun anew because the picker's connection had died.
    var isSecond = false
    let began: UInt64
    var endpoints = PickedEndpoints()
    /// The message with the choice and where its HeaderMutation stands, until the head for the backend is written.
    var choice = Buffer()
    var mutation = 0..<0
    var hasChoice = false
    /// The backend gets chunks.
    var isChunked = false
    /// Bytes that the backend is still owed of the length that it was told.
    var owed: UInt64?
    var request = ProcessedContent()
    var answer = ProcessedContent()
    /// The answer's head, while the picker has it.
    var answerHead = Buffer()
    /// The answer's content goes through the picker.
    var processesAnswer = false
    /// The incomplete message of what the picker said.
    var input = Buffer()
    var reader = ContentReader(.none)

    init(
        exchange: SlotID, cluster: UInt32, opensOnFailure: Bool, sendsAnswers: Bool,
        isSecure: Bool, framing: BodyFraming, began: UInt64
    ) {
        self.exchange = exchange
        self.cluster = cluster
        self.opensOnFailure = opensOnFailure
        self.sendsAnswers = sendsAnswers
        self.isSecure = isSecure
        self.framing = framing
        self.began = began
    }

    /// Nothing more is to be asked.
    var isDone: Bool { stage == .answering && request.hasEnded && answer.hasEnded }

    /// Gives its memory back.
    mutating func release(_ buffers: inout BufferPool) {
        request.release(&buffers)
        answer.release(&buffers)
        buffers.reclaim(&choice)
        buffers.reclaim(&answerHead)
        buffers.reclaim(&input)
    }
}

extension SocketAddress {
    /// An address with a port, from bytes: `127.0.0.1:80` or `[::1]:80`.
    init?(parsing text: Span<UInt8>) {
        if text.count > 64 { return nil }
        var characters: [UInt8] = []
        for at in 0..<text.count { characters.append(text[at]) }
        self.init(parsing: String(decoding: characters, as: UTF8.self))
    }
}
