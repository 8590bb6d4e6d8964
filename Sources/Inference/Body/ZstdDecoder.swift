import CZstd

// The one wrapper of libzstd, and so one of the two files of this module that say `unsafe`.

/// Decodes Zstandard (RFC 8878), one frame behind the other; owns the library's state.
@safe
struct ZstdDecoder: ~Copyable {
    /// Bits of the greatest window that is taken: 8 MiB, which RFC 8878 §3.1.1.1.2 asks decoders
    /// for and HTTP allows at most (RFC 9659).
    static let windowBits: Int32 = 23

    // Sound: made in `init`, freed in `deinit`, and never handed out.
    private let stream: OpaquePointer
    /// What came so far is whole frames.
    private(set) var isComplete = false
    /// The beginning of the frame under way.
    private var magic = ZstdMagic()

    /// Nil when there is no memory for the state.
    init?() {
        guard let stream = unsafe ZSTD_createDStream() else { return nil }
        unsafe self.stream = stream
        // Sound: the state was just made; the parameter exists in every version that has this call.
        _ = unsafe ZSTD_DCtx_setParameter(stream, ZSTD_d_windowLogMax, Self.windowBits)
    }

    deinit {
        // Sound: nobody else holds the state.
        unsafe ZSTD_freeDStream(stream)
    }

    /// Decodes from `from` on until the input is used up or the output is full.
    mutating func decode(
        _ input: Span<UInt8>, from: inout Int, into output: inout OutputSpan<UInt8>
    ) throws(BodyRefusal) {
        var isBroken = false
        var used = from
        // Sound: both pointers are valid during the closures, with the counts given, and the
        // library keeps neither.
        unsafe input.extracting(from...).withUnsafeBufferPointer { source in
            unsafe output.withUnsafeMutableBufferPointer { target, written in
                var from = unsafe ZSTD_inBuffer(
                    src: source.baseAddress, size: source.count, pos: 0)
                var to = unsafe ZSTD_outBuffer(
                    dst: target.baseAddress, size: target.count, pos: written)
                while unsafe from.pos < source.count && to.pos < to.size {
                    let start = unsafe from.pos
                    // A frame's first bytes go one by one, judged before the library sees them.
                    let byte = unsafe source[start]
                    isBroken = !magic.goesOn(with: byte)
                    if isBroken { break }
                    unsafe from.size = magic.isWhole ? source.count : start + 1
                    let result = unsafe ZSTD_decompressStream(stream, &to, &from)
                    isBroken = ZSTD_isError(result) != 0
                    if isBroken { break }
                    isComplete = result == 0
                    if unsafe from.pos > start { magic.take(byte) }
                    if isComplete { magic = ZstdMagic() }
                }
                // Sound: the library counts up what it used of both.
                unsafe used += from.pos
                unsafe written = to.pos
            }
        }
        from = used
        if isBroken { throw .brokenCoding }
    }

    /// Decodes what the state still holds, of input that was given before.
    ///
    /// Returns false when there was nothing more.
    mutating func flush(into output: inout OutputSpan<UInt8>) throws(BodyRefusal) -> Bool {
        if isComplete { return false }
        var isBroken = false
        let before = output.count
        // Sound: as in `decode`; there is no input.
        unsafe output.withUnsafeMutableBufferPointer { target, written in
            var from = unsafe ZSTD_inBuffer(src: nil, size: 0, pos: 0)
            var to = unsafe ZSTD_outBuffer(
                dst: target.baseAddress, size: target.count, pos: written)
            let result = unsafe ZSTD_decompressStream(stream, &to, &from)
            isBroken = ZSTD_isError(result) != 0
            if !isBroken { isComplete = result == 0 }
            if isComplete { magic = ZstdMagic() }
            unsafe written = to.pos
        }
        if isBroken { throw .brokenCoding }
        return output.count > before
    }
}

/// The number that a frame begins with: RFC 8878 has one for frames and sixteen for those that are skipped.
///
/// The library takes some of formats before that, too.
private struct ZstdMagic {
    private var seen = 0
    /// What is skipped begins with 0x50 to 0x5F.
    private var isSkipped = false

    var isWhole: Bool { seen == 4 }

    /// Whether this may be the next byte.
    func goesOn(with byte: UInt8) -> Bool {
        switch seen {
        case 0: byte == 0x28 || byte & 0xF0 == 0x50
        case 1: byte == (isSkipped ? 0x2A : 0xB5)
        case 2: byte == (isSkipped ? 0x4D : 0x2F)
        case 3: byte == (isSkipped ? 0x18 : 0xFD)
        default: true
        }
    }

    /// The library has used the next byte.
    mutating func take(_ byte: UInt8) {
        if isWhole { return }
        if seen == 0 { isSkipped = byte != 0x28 }
        seen += 1
    }
}
