import BasicContainers
import HTTP

/// Edits whose bytes stand in another property of the worker.
///
/// A span of one property may not be held while a sibling changes; a borrowed array may.
extension RequestHead {
    /// Appends a field.
    mutating func append(_ id: FieldName, _ value: borrowing RigidArray<UInt8>) -> Bool {
        append(id, value: value.span)
    }

    /// Replaces a field.
    mutating func set(_ id: FieldName, _ value: borrowing RigidArray<UInt8>) -> Bool {
        set(id, value: value.span)
    }

    /// Replaces Host by a range of an arena.
    mutating func setAuthority(_ arena: borrowing RigidArray<UInt8>, _ range: ByteRange) -> Bool {
        setAuthority(arena.span.extracting(range.range))
    }

    /// Says who asked (X-Forwarded-For, -Proto, -Host).
    mutating func tell(
        _ client: borrowing RigidArray<UInt8>, isSecure: Bool, isTrusted: Bool
    ) -> Bool {
        Forwarded.apply(
            to: &self, client: client.span, isSecure: isSecure, isTrusted: isTrusted)
    }

    /// Replaces what `array` holds by a part of the head.
    func copy(_ range: ByteRange, into array: inout RigidArray<UInt8>) {
        array.removeAll()
        array.append(copying: span(range))
    }
}
