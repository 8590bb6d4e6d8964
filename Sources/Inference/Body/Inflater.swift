import CZlib

// The one wrapper of zlib, and so one of the two files of this module that say `unsafe`.

/// Decodes gzip (RFC 1952), one member behind the other; owns the library's state.
@safe
struct Inflater: ~Copyable {
    // Sound: made in `init`, freed in `deinit`, and never handed out; the library wants it to stay
    // at its address.
    private let stream: UnsafeMutablePointer<z_stream>
    /// What came so far is whole members.
    private(set) var isComplete = false

    /// Nil when there is no memory for the state, about 10 KiB, and 32 KiB of window later.
    init?() {
        // Sound: as many bytes as the library's structure has, freed in `deinit`.
        unsafe stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
        // Sound: zero is a valid value of every member, and asks for malloc and free.
        unsafe stream.initialize(to: z_stream())
        // 15 bits of window, and 16 for gzip alone: neither zlib's own format nor raw data.
        // Sound: only the size of the structure is asked.
        let size = unsafe Int32(MemoryLayout<z_stream>.size)
        // Sound: the state was just initialised, as the library asks.
        let result = unsafe inflateInit2_(stream, 15 + 16, ZLIB_VERSION, size)
        if result != Z_OK {
            // Sound: nobody else holds it; `deinit` does not run.
            unsafe stream.deallocate()
            return nil
        }
    }

    deinit {
        // Sound: nobody else holds the state, and it was set up.
        unsafe inflateEnd(stream)
        unsafe stream.deallocate()
    }

    /// Decodes from `from` on until the input is used up or the output is full.
    mutating func decode(
        _ input: Span<UInt8>, from: inout Int, into output: inout OutputSpan<UInt8>
    ) throws(BodyRefusal) {
        var result = Z_OK
        var used = from
        // Sound: both pointers are valid during the closures, with the counts given; the library
        // reads and writes only there, and forgets them when they are taken away behind the call.
        unsafe input.extracting(from...).withUnsafeBufferPointer { source in
            unsafe output.withUnsafeMutableBufferPointer { target, written in
                unsafe stream.pointee.next_in = UnsafeMutablePointer(mutating: source.baseAddress)
                unsafe stream.pointee.avail_in = UInt32(clamping: source.count)
                unsafe stream.pointee.next_out = target.baseAddress.map { unsafe $0 + written }
                unsafe stream.pointee.avail_out = UInt32(clamping: target.count - written)
                let before = unsafe (stream.pointee.avail_in, stream.pointee.avail_out)
                while unsafe stream.pointee.avail_in > 0 && stream.pointee.avail_out > 0 {
                    if isComplete {
                        // Another member follows.
                        result = unsafe inflateReset(stream)
                        isComplete = false
                    }
                    result = unsafe inflate(stream, Z_NO_FLUSH)
                    if result == Z_STREAM_END { isComplete = true } else if result != Z_OK { break }
                }
                // Sound: the library counts down what it used of both.
                unsafe used += Int(before.0 - stream.pointee.avail_in)
                unsafe written += Int(before.1 - stream.pointee.avail_out)
                unsafe stream.pointee.next_in = nil
                unsafe stream.pointee.next_out = nil
            }
        }
        from = used
        switch result {
        case Z_OK, Z_STREAM_END, Z_BUF_ERROR: return
        default: throw .brokenCoding
        }
    }

    /// Decodes what the state still holds, of input that was given before.
    ///
    /// Returns false when there was nothing more.
    mutating func flush(into output: inout OutputSpan<UInt8>) throws(BodyRefusal) -> Bool {
        if isComplete { return false }
        var result = Z_OK
        let before = output.count
        // Sound: as in `decode`; there is no input, and the pointer to it is not read.
        unsafe output.withUnsafeMutableBufferPointer { target, written in
            unsafe stream.pointee.avail_in = 0
            unsafe stream.pointee.next_out = target.baseAddress.map { unsafe $0 + written }
            unsafe stream.pointee.avail_out = UInt32(clamping: target.count - written)
            let room = unsafe stream.pointee.avail_out
            result = unsafe inflate(stream, Z_NO_FLUSH)
            unsafe written += Int(room - stream.pointee.avail_out)
            unsafe stream.pointee.next_out = nil
        }
        if result == Z_STREAM_END { isComplete = true }
        switch result {
        case Z_OK, Z_STREAM_END, Z_BUF_ERROR: return output.count > before
        default: throw .brokenCoding
        }
    }
}
