import HTTP
import Kernel

/// One stream: what came and was not read yet, what was given and is not sent yet.
///
/// Input is kept as it came: heads as text, content bare; it gets its HTTP/1.1 framing as it is
/// read. Output is taken out of its framing as it is given. Buffers are there only while they hold
/// something.
struct Stream: ~Copyable {
    struct Flags: OptionSet, BitwiseCopyable {
        let rawValue: UInt32
        /// Nobody lives here; the slot waits to leave its rows.
        static let isFree = Flags(rawValue: 1 << 0)
        /// The caller has left; what is to be sent still goes out.
        static let isLeft = Flags(rawValue: 1 << 1)
        /// The library has closed the stream.
        static let isClosed = Flags(rawValue: 1 << 2)
        /// Ended before its time; `resetCode` says why.
        static let isCut = Flags(rawValue: 1 << 3)
        /// RST_STREAM was given to the library because the caller, and not the peer, wanted it.
        static let isOurReset = Flags(rawValue: 1 << 4)
        /// The peer has said END_STREAM.
        static let inputEnded = Flags(rawValue: 1 << 5)
        /// The final head came (a server's: the request's).
        static let headCame = Flags(rawValue: 1 << 6)
        /// A tunnel whose bytes may be read; before, they wait for the answer.
        static let tunnelOpen = Flags(rawValue: 1 << 7)
        /// The request is HEAD.
        static let isHEAD = Flags(rawValue: 1 << 8)
        /// The request is extended CONNECT.
        static let isConnect = Flags(rawValue: 1 << 9)
        /// A whole final head was given.
        static let headGiven = Flags(rawValue: 1 << 10)
        /// The head went to the library.
        static let headFramed = Flags(rawValue: 1 << 11)
        /// The end of the output was given.
        static let outputEnded = Flags(rawValue: 1 << 12)
        /// The output is bare bytes up to `sendEnd`.
        static let isRaw = Flags(rawValue: 1 << 13)
        /// The library waits for `resume`.
        static let isDeferred = Flags(rawValue: 1 << 14)
        /// The content is sent and the trailers are to follow.
        static let trailersDue = Flags(rawValue: 1 << 15)
        /// END_STREAM was sent.
        static let endSent = Flags(rawValue: 1 << 16)
        /// Over the high mark, and not below the low one since.
        static let isCongested = Flags(rawValue: 1 << 17)
        /// The peer refused the stream, or never saw it.
        static let isRefused = Flags(rawValue: 1 << 18)
        /// RST_STREAM is due once END_STREAM was sent: the caller has left before the peer's end.
        static let resetDue = Flags(rawValue: 1 << 19)
        /// Content that is read in chunks has a length all the same.
        static let hasLength = Flags(rawValue: 1 << 20)
    }

    /// Events that were not told yet.
    struct News: OptionSet, BitwiseCopyable {
        let rawValue: UInt8
        static let opened = News(rawValue: 1)
        static let readable = News(rawValue: 2)
        static let writable = News(rawValue: 4)
        static let reset = News(rawValue: 8)
    }

    /// The number on the wire; 0 before a client's request is framed.
    var number: Int32 = 0
    var generation: UInt32 = 0
    var tag: UInt64 = 0
    var flags = Flags()
    var news = News()
    var resetCode: UInt32 = 0

    // Input.

    /// Heads, then content, then the trailer section.
    var input = Buffer()
    /// Bytes of heads in front of the content.
    var headBytes = 0
    /// Bytes of the trailer section behind it.
    var tailBytes = 0
    var content = FieldBlock.ContentKind.none
    /// Content of a known length that has not come yet: where it is framed so, and with `hasLength`.
    var awaited: UInt64 = 0
    /// What the stream's window is, in bytes.
    var window: Int32
    /// Bytes read since `windowSince`.
    var windowRead = 0
    /// When the first byte came of those that `windowRead` counts, in milliseconds; 0: none came.
    var windowSince: UInt64 = 0

    // Output.

    /// Content.
    var output = Buffer()
    /// The head that waits to be framed.
    var head = HeadShelf.Head()
    /// Trailer lines.
    var trailers = Buffer()
    var trailerCount = 0
    /// The beginning of a head or of a line that is incomplete.
    var carry = Buffer()
    var reader = ContentReader()
    /// The digest that answers a client's WebSocket key.
    var accept = InlineArray<20, UInt8>(repeating: 0)

    init(number: Int32, generation: UInt32, window: Int32) {
        self.number = number
        self.generation = generation
        self.window = window
    }

    /// Begins another stream in the place of one that has given its buffers back.
    mutating func begin(
        number newNumber: Int32, generation newGeneration: UInt32, window newWindow: Int32
    ) {
        number = newNumber
        generation = newGeneration
        tag = 0
        flags = []
        news = []
        resetCode = 0
        headBytes = 0
        tailBytes = 0
        content = .none
        awaited = 0
        window = newWindow
        windowRead = 0
        windowSince = 0
        head = HeadShelf.Head()
        trailerCount = 0
        reader = ContentReader()
    }

    /// Content bytes that can be read.
    var contentBytes: Int { input.count - headBytes - tailBytes }

    /// Content bytes that are to be sent.
    var unsentBytes: Int { output.count }

    /// Moves content out, exactly so many bytes, or none and false.
    mutating func moveOutput(_ count: Int, to target: inout OutputSpan<UInt8>) -> Bool {
        if output.count < count { return false }
        if !ByteScan.append(output.span.extracting(0..<count), to: &target) { return false }
        output.consume(count)
        return true
    }

    /// Gives every buffer back.
    mutating func giveBack(_ pool: inout BufferPool) {
        giveInputBack(&pool)
        giveOutputBack(&pool)
    }

    mutating func giveInputBack(_ pool: inout BufferPool) {
        pool.reclaim(&input)
        headBytes = 0
        tailBytes = 0
    }

    mutating func giveOutputBack(_ pool: inout BufferPool) {
        pool.reclaim(&output)
        pool.reclaim(&trailers)
        pool.reclaim(&carry)
        head = HeadShelf.Head()
    }
}
