import BasicContainers
import Synchronization

/// Records of bytes from one thread to another, without a lock.
///
/// Each record is kept whole: four bytes of length, the bytes, and padding to four. One thread
/// calls `write`, one other calls `read`.
@safe
public final class ByteRing: @unchecked Sendable {
    private let base: UnsafeMutablePointer<UInt8>
    /// Bytes of the ring; a power of two.
    public let capacity: Int
    /// Position of the next record to read, ever growing; written by the reader.
    private let head = Atomic<Int>(0)
    /// Keeps the two positions in cache lines of their own.
    private let gap: InlineArray<16, UInt64> = .init(repeating: 0)
    /// Position behind the last record, ever growing; written by the writer.
    private let tail = Atomic<Int>(0)
    private let droppedCount = Atomic<UInt64>(0)

    /// A ring of at least this many bytes, lengths included.
    public init(capacity: Int) {
        precondition(capacity > 0 && capacity <= 1 << 30, "A ring has 1 ... 2^30 bytes.")
        var size = 64
        while size < capacity { size *= 2 }
        self.capacity = size
        // Sound: freed in deinit; bytes are read only after they were written.
        unsafe base = .allocate(capacity: size)
    }

    deinit {
        // Sound: allocated in init; the last reference is gone.
        unsafe base.deallocate()
    }

    /// Puts one record in; false, and counted, when there is no room for it.
    public func write(_ record: Span<UInt8>) -> Bool {
        let end = tail.load(ordering: .relaxed)
        let free = capacity - (end - head.load(ordering: .acquiring))
        let needed = 4 + (record.count + 3) & ~3
        guard record.count <= capacity, needed <= free else {
            droppedCount.store(
                droppedCount.load(ordering: .relaxed) &+ 1, ordering: .relaxed)
            return false
        }
        let at = end & (capacity - 1)
        // Sound: positions are multiples of four, so the length does not wrap; the bytes are free.
        unsafe UnsafeMutableRawPointer(base + at).storeBytes(
            of: UInt32(record.count), as: UInt32.self)
        // Sound: the span outlives the call, and the closure keeps no pointer.
        unsafe record.withUnsafeBufferPointer { source in
            guard let from = source.baseAddress else { return }
            let begin = (at + 4) & (capacity - 1)
            let first = min(source.count, capacity - begin)
            // Sound: at most up to the end of the ring, in its free part.
            unsafe (base + begin).update(from: from, count: first)
            // Sound: the rest, from the front of the ring.
            unsafe base.update(from: from + first, count: source.count - first)
        }
        tail.store(end + needed, ordering: .releasing)
        return true
    }

    /// How many bytes the next record has, nil when there is none; for the reader.
    public var nextCount: Int? {
        let begin = head.load(ordering: .relaxed)
        if begin == tail.load(ordering: .acquiring) { return nil }
        // Sound: the writer published a record here, length first, at a multiple of four.
        return Int(
            unsafe UnsafeRawPointer(base + (begin & (capacity - 1))).load(as: UInt32.self))
    }

    /// Appends the next record; false when there is none or it does not fit into the free capacity
    /// (see `nextCount`), and then it stays.
    public func read(into array: inout RigidArray<UInt8>) -> Bool {
        guard let count = nextCount, count <= array.freeCapacity else { return false }
        let begin = head.load(ordering: .relaxed)
        let at = (begin + 4) & (capacity - 1)
        let first = min(count, capacity - at)
        // Sound: the record's bytes, which the writer leaves alone until `head` moves.
        unsafe array.append(copying: UnsafeBufferPointer(start: base + at, count: first))
        // Sound: the rest of them, from the front of the ring.
        unsafe array.append(copying: UnsafeBufferPointer(start: base, count: count - first))
        head.store(begin + 4 + (count + 3) & ~3, ordering: .releasing)
        return true
    }

    /// How many records found no room.
    public var dropped: UInt64 { droppedCount.load(ordering: .relaxed) }
}
