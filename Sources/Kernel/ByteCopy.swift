/// Copies of few bytes without a call; a call of `memcpy` costs more than eight bytes do.
@usableFromInline
enum ByteCopy {
    /// Copies `count` bytes between memories that do not overlap.
    @inlinable
    @inline(__always)
    static func copy(
        _ source: UnsafePointer<UInt8>, to target: UnsafeMutablePointer<UInt8>, count: Int
    ) {
        // Sound: the caller's promise; raw memory may be looked at in words of any alignment.
        let from = unsafe UnsafeRawPointer(source)
        let to = UnsafeMutableRawPointer(target)
        if count > 32 {
            // Sound: the caller's promise.
            return unsafe to.copyMemory(from: from, byteCount: count)
        }
        if count >= 16 {
            // Sound: 16 to 32 bytes are two runs of 16, which may overlap.
            unsafe ends(from, to, count, SIMD2<UInt64>.self)
        } else if count >= 8 {
            // Sound: 8 to 15 bytes are two runs of 8.
            unsafe ends(from, to, count, UInt64.self)
        } else if count >= 4 {
            // Sound: 4 to 7 bytes are two runs of 4.
            unsafe ends(from, to, count, UInt32.self)
        } else if count >= 2 {
            // Sound: two or three bytes are two runs of two.
            unsafe ends(from, to, count, UInt16.self)
        } else if count == 1 {
            // Sound: the one byte.
            unsafe target.pointee = source.pointee
        }
    }

    /// Copies the first bytes and the last, as many each as a word has; both are read before.
    @inlinable
    @inline(__always)
    static func ends<Word: BitwiseCopyable>(
        _ from: UnsafeRawPointer, _ to: UnsafeMutableRawPointer, _ count: Int, _: Word.Type
    ) {
        let last = count &- MemoryLayout<Word>.size
        // Sound: the caller has at least one word, so that both are inside.
        let words = unsafe (
            from.loadUnaligned(as: Word.self),
            from.loadUnaligned(fromByteOffset: last, as: Word.self)
        )
        // Sound: as above.
        unsafe to.storeBytes(of: words.0, as: Word.self)
        // Sound: as above.
        unsafe to.storeBytes(of: words.1, toByteOffset: last, as: Word.self)
    }
}
