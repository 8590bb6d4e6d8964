/// Large buffers that came back: memory fresh from the system is cleared page by page where it is first touched, which
/// costs more than what is put into it.
@safe
struct LargeShelf {
    /// Buffers at most; looked through one by one.
    static var countMax: Int { 16 }
    /// The largest that is kept, in bytes.
    static var sizeMax: Int { 2 << 20 }
    /// Bytes of all of them together, at most.
    static var bytesMax: Int { 8 << 20 }

    @safe
    private struct Place {
        var memory: UnsafeMutablePointer<UInt8>?
        var size = 0

        init() {
            // Sound: no memory at all.
            unsafe memory = nil
        }

        init(_ memory: UnsafeMutablePointer<UInt8>, _ size: Int) {
            // Sound: only kept, for the shelf that it was given to.
            unsafe self.memory = memory
            self.size = size
        }
    }

    /// The one that came back first stands first.
    private var places = InlineArray<16, Place>(repeating: Place())
    private(set) var count = 0
    private(set) var byteCount = 0
    /// One was taken since `cool` was called.
    private var wasUsed = false

    /// Whether there is one for so many bytes that is not much too large.
    func has(atLeast size: Int) -> Bool { best(atLeast: size) != nil }

    /// The memory of the smallest buffer of at least so many bytes, empty; nil when there is none, or only much larger ones.
    mutating func take(atLeast size: Int) -> Buffer? {
        guard let index = best(atLeast: size) else { return nil }
        wasUsed = true
        return remove(index)
    }

    /// Keeps a buffer's memory of `size` bytes, with what stands here `bytesMax` at most: the oldest make room.
    mutating func put(_ buffer: consuming Buffer, size: Int, bytesMax: Int) {
        precondition(size <= bytesMax, "One of this size does not stay.")
        while count == Self.countMax || byteCount + size > bytesMax { dropOldest() }
        // Sound: the memory has `size` bytes and belongs to the shelf from here on.
        places[count] = unsafe Place(buffer.releaseMemory(), size)
        count += 1
        byteCount += size
    }

    /// Frees the oldest, or all where none was used since it was called before.
    mutating func cool() {
        repeat { dropOldest() } while !wasUsed && count > 0
        wasUsed = false
    }

    /// Frees the one that came back first, if there is any.
    mutating func dropOldest() {
        if count > 0 { _ = remove(0) }
    }

    private func best(atLeast size: Int) -> Int? {
        var found: Int?
        var least = 2 * size
        for index in 0..<count where places[index].size >= size && places[index].size <= least {
            found = index
            least = places[index].size
        }
        return found
    }

    private mutating func remove(_ index: Int) -> Buffer? {
        let place = places[index]
        for next in index + 1..<max(count, index + 1) { places[next - 1] = places[next] }
        count -= 1
        byteCount -= place.size
        places[count] = Place()
        guard let memory = unsafe place.memory else { return nil }
        // Sound: `put` was given this memory with `size` bytes, and it is on the shelf no more. A byte is left over, as
        // `BufferPool` marks what is held.
        return unsafe Buffer(base: memory, capacity: place.size - 1)
    }
}
