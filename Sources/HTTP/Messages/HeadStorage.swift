/// The memory of one part of a head: elements side by side, as many as it was made for at most.
///
/// A parser writes each of them by plain stores through `base`, which a general array would wrap
/// into checks of its own; whoever does so has checked its bounds before and says how in its place.
@safe
public struct HeadStorage<Element: BitwiseCopyable & Sendable>: ~Copyable, Sendable {
    // Sound: the memory is this value's alone, which cannot be copied; so it goes where it goes.
    @usableFromInline nonisolated(unsafe) let base: UnsafeMutablePointer<Element>
    /// How many elements fit.
    public let capacity: Int
    /// How many there are.
    @usableFromInline var used = 0

    /// Makes room for `capacity` elements; this is the only allocation.
    public init(capacity: Int) {
        precondition(capacity > 0, "Memory has room for something.")
        // Sound: freed in `deinit` and nowhere else.
        unsafe base = .allocate(capacity: capacity)
        self.capacity = capacity
    }

    deinit {
        // Sound: the memory of `init`; its elements need no deinitialisation.
        unsafe base.deallocate()
    }

    // MARK: - Reading

    /// How many elements there are.
    @inlinable @inline(__always)
    public var count: Int { used }

    /// How many more fit.
    @inlinable @inline(__always)
    public var freeCapacity: Int { capacity &- used }

    /// Whether no other fits.
    @inlinable @inline(__always)
    public var isFull: Bool { used == capacity }

    /// All elements.
    @inlinable
    public var span: Span<Element> {
        @inline(__always)
        @_lifetime(borrow self)
        get {
            // Sound: the first `used` are initialised, and stay so while this value is borrowed.
            let span = unsafe Span(_unsafeStart: base, count: used)
            // Sound: the memory lives as long as this value.
            return unsafe _overrideLifetime(span, borrowing: self)
        }
    }

    /// The element at `index`, which must be one.
    @inlinable
    public internal(set) subscript(index: Int) -> Element {
        @inline(__always)
        get {
            precondition(UInt(bitPattern: index) < UInt(bitPattern: used), "No such element.")
            // Sound: the index was just checked.
            return unsafe base[index]
        }
        @inline(__always)
        set {
            precondition(UInt(bitPattern: index) < UInt(bitPattern: used), "No such element.")
            // Sound: the index was just checked.
            unsafe base[index] = newValue
        }
    }

    // MARK: - Writing

    /// Forgets all elements.
    @inline(__always)
    mutating func removeAll() { used = 0 }

    /// Appends an element, for which there must be room.
    @inline(__always)
    mutating func append(_ element: Element) {
        precondition(used < capacity, "No room for another element.")
        // Sound: one place at least is free, just checked.
        unsafe (base + used).initialize(to: element)
        used &+= 1
    }

    /// Lets `body` append to the elements.
    @inline(__always)
    mutating func edit<Result>(_ body: (inout OutputSpan<Element>) -> Result) -> Result {
        // Sound: the first `used` of `capacity` elements are initialised; access is exclusive.
        let memory = unsafe UnsafeMutableBufferPointer(start: base, count: capacity)
        // Sound: as above; what it holds in the end is counted below.
        var output = unsafe OutputSpan(buffer: memory, initializedCount: used)
        let result = body(&output)
        // Sound: the same memory.
        used = unsafe output.finalize(for: memory)
        return result
    }
}

extension HeadStorage<UInt8> {
    /// Appends copies of bytes, for all of which there must be room.
    @inline(__always)
    mutating func append(copying bytes: Span<UInt8>) {
        let isWritten = edit { output in ByteScan.append(bytes, to: &output) }
        precondition(isWritten, "No room for these bytes.")
    }
}
