import HTTP

/// Finds the frame headers in a stream of bytes, however it is cut; payloads are passed over.
///
/// The library does not tell of every frame (not of unknown ones, nor of those on closed streams),
/// so what peers send is counted here, before the library sees it (RFC 9113 §4.1).
struct FrameScanner: BitwiseCopyable, Sendable {
    struct Header: BitwiseCopyable, Equatable, Sendable {
        var length: UInt32
        var type: UInt8
        var flags: UInt8
        var stream: UInt32

        var endsStream: Bool { flags & 0x1 != 0 }
        var isAcknowledgement: Bool { flags & 0x1 != 0 }
        var endsHeaders: Bool { flags & 0x4 != 0 }
        var isPadded: Bool { flags & 0x8 != 0 }
    }

    static var headerBytes: Int { 9 }
    static var prefaceBytes: Int { 24 }

    /// Bytes of the preface or of a payload that are still to come.
    private var skipped: Int
    /// The header that was begun.
    private var held = InlineArray<9, UInt8>(repeating: 0)
    private var heldCount = 0
    /// Whether the field block of a head or of trailers has begun and not ended.
    private(set) var isInBlock = false
    private var isBlockPayload = false
    /// Field blocks that have begun, which is the number of the one that may be incomplete.
    private(set) var blocks: UInt32 = 0

    /// A scanner at the beginning of what a client sends, with its preface, or of what a server does.
    init(hasPreface: Bool) { skipped = hasPreface ? Self.prefaceBytes : 0 }

    /// Whether a field block, or the frame that carries it, is incomplete.
    var isReceivingBlock: Bool { isInBlock || (isBlockPayload && skipped > 0) }

    /// The next header from offset `from` of `bytes` on; nil when all are used up.
    mutating func next(_ bytes: Span<UInt8>, from: inout Int) -> Header? {
        while from < bytes.count {
            if skipped > 0 {
                let step = min(skipped, bytes.count &- from)
                skipped &-= step
                from &+= step
                continue
            }
            if heldCount == 0, bytes.count &- from >= Self.headerBytes {
                // The first eight bytes, the first one highest, and the last one.
                let word = ByteScan.load8(bytes, from).byteSwapped
                let last = bytes[from &+ 8]
                from &+= Self.headerBytes
                return take(word, last)
            }
            held[heldCount] = bytes[from]
            heldCount &+= 1
            from &+= 1
            if heldCount == Self.headerBytes {
                heldCount = 0
                return take(ByteScan.load8(held.span, 0).byteSwapped, held[8])
            }
        }
        return nil
    }

    /// Takes a header: eight bytes in one word, of which the first is the highest, and the ninth.
    private mutating func take(_ word: UInt64, _ last: UInt8) -> Header {
        let number = UInt32(truncatingIfNeeded: word & 0x7F_FFFF) &<< 8 | UInt32(last)
        let header = Header(
            length: UInt32(truncatingIfNeeded: word &>> 40),
            type: UInt8(truncatingIfNeeded: word &>> 32),
            flags: UInt8(truncatingIfNeeded: word &>> 24), stream: number)
        skipped = Int(header.length)
        // HEADERS, PUSH_PROMISE and CONTINUATION carry field blocks.
        isBlockPayload = header.type == 1 || header.type == 5 || header.type == 9
        if isBlockPayload {
            isInBlock = !header.endsHeaders
            if header.type != 9 { blocks &+= 1 }
        }
        return header
    }
}
