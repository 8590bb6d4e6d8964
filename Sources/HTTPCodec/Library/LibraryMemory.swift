import CNGHTTP2

/// The memory of one session of libnghttp2: small pieces that it gives back are kept for its next streams.
///
/// Each stream needs the same few pieces. A piece has its class in front of it, and its size; one without a class is too
/// large to be kept.
@safe struct LibraryMemory: ~Copyable {
    /// Classes of pieces, each `step` bytes larger than the one before; the first is for those that are not kept.
    private static var classCount: Int { 9 }
    private static var step: Int { 64 }
    /// Bytes of a piece that are the pool's own, so that the rest is aligned for anything.
    private static var headerBytes: Int { 16 }
    /// Bytes of pieces that are kept while nobody uses them.
    private static var keptBytesMax: Int { 4 << 10 }

    // Sound: each is the first of a list of pieces that are nobody's, linked by their first words.
    private var free: InlineArray<9, UnsafeMutableRawPointer?>
    private var keptBytes = 0

    init() { unsafe free = InlineArray(repeating: nil) }

    deinit {
        for index in 1..<Self.classCount {
            var next = unsafe free[index]
            while let piece = unsafe next {
                // Sound: a kept piece begins with the address of the next one, and is nobody's.
                unsafe next = piece.load(as: UnsafeMutableRawPointer?.self)
                unsafe (piece - Self.headerBytes).deallocate()
            }
        }
    }

    mutating func allocate(_ count: Int) -> UnsafeMutableRawPointer? {
        let index = count <= Self.step * (Self.classCount - 1) ? max(1, (count &+ 63) &>> 6) : 0
        if index > 0, let piece = unsafe free[index] {
            // Sound: as in `deinit`; the piece is the caller's from here on.
            unsafe free[index] = piece.load(as: UnsafeMutableRawPointer?.self)
            keptBytes &-= index &* Self.step
            return unsafe piece
        }
        let size = index > 0 ? index &* Self.step : count
        // Sound: a fresh piece of that size behind its header of two words.
        let base = UnsafeMutableRawPointer.allocate(
            byteCount: size &+ Self.headerBytes, alignment: 16)
        unsafe base.storeBytes(of: index, as: Int.self)
        unsafe base.storeBytes(of: size, toByteOffset: 8, as: Int.self)
        return unsafe base + Self.headerBytes
    }

    mutating func release(_ piece: UnsafeMutableRawPointer?) {
        guard let piece = unsafe piece else { return }
        // Sound: the library gives back what `allocate` gave, with the class in front of it.
        let index = unsafe (piece - Self.headerBytes).load(as: Int.self)
        if index == 0 || keptBytes &+ index &* Self.step > Self.keptBytesMax {
            return unsafe (piece - Self.headerBytes).deallocate()
        }
        // Sound: the piece has 64 bytes or more and is nobody's from here on.
        unsafe piece.storeBytes(of: free[index], as: UnsafeMutableRawPointer?.self)
        unsafe free[index] = piece
        keptBytes &+= index &* Self.step
    }

    mutating func resize(_ piece: UnsafeMutableRawPointer?, _ count: Int)
        -> UnsafeMutableRawPointer?
    {
        guard let piece = unsafe piece else { return unsafe allocate(count) }
        // Sound: as in `release`.
        let size = unsafe (piece - Self.headerBytes).load(fromByteOffset: 8, as: Int.self)
        if count <= size { return unsafe piece }
        guard let larger = unsafe allocate(count) else { return nil }
        // Sound: the new piece is larger than the old one, which has `size` bytes.
        unsafe larger.copyMemory(from: piece, byteCount: size)
        unsafe release(piece)
        return unsafe larger
    }

    /// What the library calls; the memory must outlive its session.
    static func functions(_ memory: MemoryPointer) -> nghttp2_mem {
        // Sound: each function has the type that the library declares for it.
        unsafe nghttp2_mem(
            mem_user_data: memory, malloc: allocatePiece, free: releasePiece,
            calloc: allocateZeroed, realloc: resizePiece)
    }
}

typealias MemoryPointer = UnsafeMutablePointer<LibraryMemory>

/// The memory of the session that calls.
@inline(__always)
private func memory(_ data: UnsafeMutableRawPointer?) -> MemoryPointer? {
    // Sound: every session was made with its memory, which outlives it and which nothing else touches.
    unsafe data?.assumingMemoryBound(to: LibraryMemory.self)
}

private func allocatePiece(
    _ count: Int, _ data: UnsafeMutableRawPointer?
) -> UnsafeMutableRawPointer? {
    // Sound: as `memory`, here and below.
    unsafe memory(data)?.pointee.allocate(count)
}

private func releasePiece(_ piece: UnsafeMutableRawPointer?, _ data: UnsafeMutableRawPointer?) {
    unsafe memory(data)?.pointee.release(piece)
}

private func allocateZeroed(
    _ number: Int, _ size: Int, _ data: UnsafeMutableRawPointer?
) -> UnsafeMutableRawPointer? {
    let (count, overflow) = number.multipliedReportingOverflow(by: size)
    // Sound: as above; the piece has as many bytes.
    guard !overflow, let piece = unsafe memory(data)?.pointee.allocate(count) else { return nil }
    unsafe piece.initializeMemory(as: UInt8.self, repeating: 0, count: count)
    return unsafe piece
}

private func resizePiece(
    _ piece: UnsafeMutableRawPointer?, _ count: Int, _ data: UnsafeMutableRawPointer?
) -> UnsafeMutableRawPointer? {
    unsafe memory(data)?.pointee.resize(piece, count)
}
