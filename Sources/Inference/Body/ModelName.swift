/// A model's name as a request gives it, unescaped: 1 to 256 bytes of UTF-8, stored in place.
public struct ModelName: Sendable {
    /// The most bytes that a name may have (`robustness.md` §8).
    public static let capacity = 256

    private var storage = InlineArray<256, UInt8>(repeating: 0)

    /// How many bytes there are.
    public private(set) var count = 0

    /// A name without bytes, to append to.
    public init() {}

    /// A copy of the bytes; nil when there are none or too many.
    public init?(_ bytes: Span<UInt8>) {
        if bytes.isEmpty || bytes.count > Self.capacity { return nil }
        for i in bytes.indices { storage[i] = bytes[i] }
        count = bytes.count
    }

    /// The bytes.
    public var span: Span<UInt8> {
        @_lifetime(borrow self)
        borrowing get { storage.span.extracting(0..<count) }
    }

    /// One of the bytes.
    func byte(_ index: Int) -> UInt8 {
        precondition(index >= 0 && index < count, "no such byte")
        return storage[index]
    }

    /// Adds bytes at the end; false when there is no room for all.
    mutating func append(_ bytes: Span<UInt8>) -> Bool {
        if bytes.count > Self.capacity - count { return false }
        for i in bytes.indices { storage[count &+ i] = bytes[i] }
        count += bytes.count
        return true
    }

    /// Adds a byte at the end; false when there is no room.
    public mutating func append(_ byte: UInt8) -> Bool {
        if count == Self.capacity { return false }
        storage[count] = byte
        count += 1
        return true
    }
}

extension ModelName: Equatable {
    public static func == (a: ModelName, b: ModelName) -> Bool {
        if a.count != b.count { return false }
        for i in 0..<a.count where a.storage[i] != b.storage[i] { return false }
        return true
    }
}
