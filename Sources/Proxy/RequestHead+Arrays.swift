import BasicContainers
import HTTP

/// Edits whose bytes stand in another property of the worker.
///
/// A span of one property may not be held while a sibling changes; a borrowed array may.
extension RequestHead {
    /// Replaces Host by a range of an arena.
    mutating func setAuthority(_ arena: borrowing RigidArray<UInt8>, _ range: ByteRange) -> Bool {
        setAuthority(arena.span.extracting(range.range))
    }

    /// Goes on with what a trusted client says of earlier hops (X-Forwarded-For, -Proto, -Host).
    mutating func tell(_ client: borrowing RigidArray<UInt8>, isSecure: Bool) -> Bool {
        Forwarded.apply(to: &self, client: client.span, isSecure: isSecure, isTrusted: true)
    }

    /// Replaces what `array` holds by a part of the head.
    func copy(_ range: ByteRange, into array: inout RigidArray<UInt8>) {
        array.removeAll()
        array.append(copying: span(range))
    }
}

extension RequestAdditions {
    /// Says who the client is.
    mutating func setClient(
        _ address: borrowing RigidArray<UInt8>, isSecure: Bool, _ version: Version
    ) {
        setClient(address.span, isSecure: isSecure, version)
    }
}
