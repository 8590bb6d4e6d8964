import Glibc

/// Bytes that are stuck in a connection: appended at the end, consumed from the front.
///
/// The capacity is fixed; nothing is allocated after the beginning. 24 bytes without the memory.
@safe
@frozen
public struct Buffer: ~Copyable {
    @usableFromInline let base: UnsafeMutablePointer<UInt8>
    @usableFromInline let room: UInt32
    @usableFromInline var start: UInt32 = 0
    @usableFromInline var end: UInt32 = 0

    /// A buffer without memory, into which nothing fits; it costs no allocation.
    @inlinable
    public init() {
        // Sound: an address is only made, not used.
        guard let nowhere = unsafe UnsafeMutablePointer<UInt8>(bitPattern: 16) else {
            preconditionFailure("Only address zero is no pointer.")
        }
        // Sound: never read, written or freed, since the capacity is zero.
        unsafe base = nowhere
        room = 0
    }

    /// An empty buffer with memory of its own, at most 4 GiB.
    public init(capacity: Int) {
        precondition(capacity > 0 && capacity <= Int(UInt32.max), "A buffer has 1 byte to 4 GiB.")
        // Sound: freed in deinit or handed on by `releaseMemory`; only start ..< end is ever read.
        unsafe self.init(base: .allocate(capacity: capacity), capacity: capacity)
    }

    /// Takes over memory that `UnsafeMutablePointer.allocate` gave.
    @inlinable @inline(__always)
    init(base: UnsafeMutablePointer<UInt8>, capacity: Int) {
        // Sound: the caller gives the memory away.
        unsafe self.base = base
        room = UInt32(capacity)
    }

    deinit {
        // Sound: the memory, if there is any, is this value's alone and ends with it.
        if room > 0 { unsafe base.deallocate() }
    }

    /// Gives the memory away, for reuse; there must be some.
    @inlinable @inline(__always)
    consuming func releaseMemory() -> UnsafeMutablePointer<UInt8> {
        precondition(room > 0, "Only memory can be given away.")
        // Sound: the deinit that would free it does not run.
        let memory = unsafe base
        discard self
        return unsafe memory
    }

    /// The same bytes in memory of another size; many of them move by the page table, and are not copied.
    ///
    /// There must be memory, and the new size must hold what was appended.
    consuming func resized(capacity: Int) -> Buffer {
        precondition(
            capacity >= Int(end) && capacity <= Int(UInt32.max), "What is in a buffer stays in it.")
        let (start, end) = (start, end)
        // Sound: `allocate` and `deallocate` are malloc and free for bytes, and the old address is not used again.
        // A byte more, as `BufferPool.takeHeld` has it.
        guard let moved = unsafe realloc(releaseMemory(), capacity + 1) else {
            preconditionFailure("There is no memory.")
        }
        // Sound: the first `end` bytes are what they were.
        var buffer = unsafe Buffer(
            base: moved.assumingMemoryBound(to: UInt8.self), capacity: capacity)
        buffer.start = start
        buffer.end = end
        return buffer
    }

    /// How many unread bytes fit.
    @inlinable
    public var capacity: Int { Int(room) }

    /// Unread bytes.
    @inlinable
    public var count: Int { Int(end &- start) }

    @inlinable
    public var isEmpty: Bool { end == start }

    /// How many bytes can be appended (after moving the unread ones to the front).
    @inlinable
    public var freeCapacity: Int { capacity &- count }

    /// How many bytes can be appended without moving the unread ones.
    @inlinable @inline(always)
    public var roomBehind: Int { Int(room &- end) }

    /// The unread bytes.
    @inlinable
    public var span: Span<UInt8> {
        @_lifetime(borrow self)
        get {
            // Sound: start ..< end is initialised and stays so while this value is borrowed.
            let span = unsafe Span(_unsafeStart: base + Int(start), count: count)
            // Sound: the memory lives as long as this value.
            return unsafe _overrideLifetime(span, borrowing: self)
        }
    }

    /// The unread bytes and, where there is room, 48 zeros behind them, for readers of whole vectors.
    @inlinable @inline(always)
    @_lifetime(&self)
    public mutating func padded() -> Span<UInt8> {
        if room &- end < 48 { return span }
        // Sound: 48 bytes behind `end` are this buffer's own and free.
        let free = unsafe UnsafeMutableRawPointer(base + Int(end))
        // Sound: as above.
        unsafe free.storeBytes(of: SIMD4<UInt64>.zero, as: SIMD4<UInt64>.self)
        // Sound: as above.
        unsafe free.storeBytes(
            of: SIMD2<UInt64>.zero, toByteOffset: 32, as: SIMD2<UInt64>.self)
        // Sound: the unread bytes and the 48 that were just stored; access to the buffer is exclusive.
        let span = unsafe Span(_unsafeStart: base + Int(start), count: count &+ 48)
        // Sound: the memory lives as long as this value.
        return unsafe _overrideLifetime(span, mutating: &self)
    }

    /// Appends as much as fits and says how much that was.
    @inlinable
    public mutating func append(_ bytes: Span<UInt8>) -> Int {
        let fitting = min(bytes.count, freeCapacity)
        if Int(room &- end) < fitting { compact() }
        // Sound: `fitting` bytes are free behind `end`, and a span is never this buffer's own.
        unsafe bytes.withUnsafeBufferPointer { source in
            guard let from = source.baseAddress else { return }
            // Sound: as above; the source has at least `fitting` bytes.
            unsafe ByteCopy.copy(from, to: base + Int(end), count: fitting)
        }
        end &+= UInt32(truncatingIfNeeded: fitting)
        return fitting
    }

    /// Writes a number as eight hex digits over unread bytes that stand there, from the `offset`-th on.
    public mutating func overwrite(hex number: UInt32, at offset: Int) {
        precondition(offset >= 0 && offset <= count - 8, "Only unread bytes are overwritten.")
        for digit in 0..<8 {
            let value = UInt8(truncatingIfNeeded: number >> UInt32(28 - 4 * digit)) & 15
            // Sound: the eight bytes are unread ones of this buffer, and access to it is exclusive.
            unsafe base[Int(start) + offset + digit] = value < 10 ? 0x30 + value : 0x57 + value
        }
    }

    /// Drops the first `count` unread bytes.
    @inlinable
    public mutating func consume(_ count: Int) {
        precondition(count >= 0 && count <= self.count, "Only unread bytes are consumed.")
        start &+= UInt32(truncatingIfNeeded: count)
        if start == end {
            start = 0
            end = 0
        }
    }

    /// Drops the last `count` unread bytes.
    @inlinable
    public mutating func removeLast(_ count: Int) {
        precondition(count >= 0 && count <= self.count, "Only unread bytes are dropped.")
        end &-= UInt32(truncatingIfNeeded: count)
    }

    @inlinable
    public mutating func removeAll() {
        start = 0
        end = 0
    }

    /// Lets `body` write into all the free capacity; what it appended becomes unread bytes.
    @inlinable @inline(always)
    public mutating func withFree<E: Error, R: ~Copyable>(
        _ body: (inout OutputSpan<UInt8>) throws(E) -> R
    ) throws(E) -> R {
        compact()
        // Sound: `end` ..< `room` is this buffer's own memory, and access to it is exclusive.
        let free = unsafe UnsafeMutableBufferPointer(
            start: base + Int(end), count: Int(room &- end))
        // Sound: as above; what was appended is counted below, on every way out.
        var output = unsafe OutputSpan(buffer: free, initializedCount: 0)
        defer {
            // Sound: the same memory as above.
            end &+= unsafe UInt32(truncatingIfNeeded: output.finalize(for: free))
            output = OutputSpan()
        }
        return try body(&output)
    }

    /// Moves the unread bytes to the front.
    @inlinable
    @inline(always)
    mutating func compact() {
        if start != 0 { move() }
    }

    @inlinable
    @inline(never)
    mutating func move() {
        // Sound: both ranges are inside this buffer's memory; the move allows them to overlap.
        unsafe base.update(from: base + Int(start), count: count)
        end &-= start
        start = 0
    }
}
