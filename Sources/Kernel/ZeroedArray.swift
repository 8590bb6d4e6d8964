/// A fixed number of numbers that are all zero at first.
///
/// One reserved mapping: memory is used from the first store into a page on, so that a large array
/// costs nothing until it is needed.
@safe
public struct ZeroedArray<Element: FixedWidthInteger & BitwiseCopyable>: ~Copyable {
    @usableFromInline let mapping: Mapping
    @usableFromInline let cells: UnsafeMutablePointer<Element>
    /// How many numbers there are.
    public let count: Int

    /// Reserves `count` zeroes; traps when the address space refuses.
    ///
    /// With large pages the first store into two MiB uses all of them: for a table that is filled at random.
    public init(count: Int, hasLargePages: Bool = false) {
        precondition(count >= 0, "An array is not negative.")
        let bytes = max(1, count).multipliedReportingOverflow(by: MemoryLayout<Element>.stride)
        precondition(!bytes.overflow, "The numbers fit into the address space.")
        mapping = Mapping(byteCount: bytes.partialValue, hasLargePages: hasLargePages)
        // Sound: zero bytes are the zero of every integer; the mapping lives as long as this value.
        unsafe cells = mapping.base.bindMemory(to: Element.self, capacity: max(1, count))
        self.count = count
    }

    @inlinable
    public subscript(index: Int) -> Element {
        @inline(always) get {
            check(index)
            // Sound: inside the array, checked above.
            return unsafe cells[index]
        }
        @inline(always) set {
            check(index)
            // Sound: inside the array, checked above; the access is exclusive.
            unsafe cells[index] = newValue
        }
    }

    /// One comparison: as a word without sign an index below zero is above every count.
    @inlinable @inline(always)
    func check(_ index: Int) {
        precondition(
            UInt(bitPattern: index) < UInt(bitPattern: count), "The index is in the array.")
    }
}
