/// A set of the names that the gateway knows, as one word.
public struct FieldNames: OptionSet, Sendable, BitwiseCopyable {
    public let rawValue: UInt64
    @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// The set of one name.
    @inlinable public init(_ name: FieldName) {
        rawValue = 1 &<< UInt64(truncatingIfNeeded: name.rawValue)
    }

    /// The set of some names.
    @inlinable public init(_ names: FieldName...) {
        var bits: UInt64 = 0
        for name in names { bits |= 1 &<< UInt64(truncatingIfNeeded: name.rawValue) }
        rawValue = bits
    }

    /// Whether the name is in it.
    @inlinable public func contains(_ name: FieldName) -> Bool {
        rawValue &>> UInt64(truncatingIfNeeded: name.rawValue) & 1 != 0
    }

    /// A name that the gateway does not know and that begins with `x-forwarded-`.
    @inlinable static var otherForwarding: FieldNames { FieldNames(rawValue: 1 &<< 63) }
}
