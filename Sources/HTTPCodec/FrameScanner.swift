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
            held[heldCount] = bytes[from]
            heldCount &+= 1
            from &+= 1
            if heldCount == Self.headerBytes { return take() }
        }
        return nil
    }

    private mutating func take() -> Header {
        heldCount = 0
        let length = UInt32(held[0]) << 16 | UInt32(held[1]) << 8 | UInt32(held[2])
        let number =
            UInt32(held[5] & 0x7F) << 24 | UInt32(held[6]) << 16 | UInt32(held[7]) << 8
            | UInt32(held[8])
        let header = Header(length: length, type: held[3], flags: held[4], stream: number)
        skipped = Int(length)
        // HEADERS, PUSH_PROMISE and CONTINUATION carry field blocks.
        isBlockPayload = header.type == 1 || header.type == 5 || header.type == 9
        if isBlockPayload {
            isInBlock = !header.endsHeaders
            if header.type != 9 { blocks &+= 1 }
        }
        return header
    }
}
