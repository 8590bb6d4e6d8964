import HTTP

/// What the gateway asks of a content type.
enum ContentType {
    /// Server-sent events or JSON lines: streams that tell their own end.
    @inline(__always)
    static func isStream(_ value: Span<UInt8>) -> Bool {
        // The shortest of them has 17 bytes; `application/json` and `text/plain` have fewer.
        value.count >= 17 && isLongStream(value)
    }

    @inline(never)
    private static func isLongStream(_ value: Span<UInt8>) -> Bool {
        begins(value, "text/event-stream") || begins(value, "application/x-ndjson")
            || begins(value, "application/ndjson") || begins(value, "application/jsonl")
    }

    private static func begins(_ value: Span<UInt8>, _ type: StaticString) -> Bool {
        let count = type.utf8CodeUnitCount
        guard value.count >= count,
            ByteScan.equalFolding(value.extracting(first: count), ByteScan.bytes(type))
        else { return false }
        return value.count == count || value[count] == 0x3B || value[count] == 0x20
    }
}
