import HTTP

/// What the gateway asks of a content type.
enum ContentType {
    /// Bytes of the shortest type of a stream: most answers' types are shorter.
    static var streamBytesMin: UInt32 { 17 }

    /// Server-sent events or JSON lines: streams that tell their own end.
    @inline(never)
    static func isStream(_ value: Span<UInt8>) -> Bool {
        begins(value, "text/event-stream") || begins(value, "application/x-ndjson")
            || begins(value, "application/ndjson") || begins(value, "application/jsonl")
    }

    /// JSON or a form: what the gateway can look into for a model's name.
    static func isRead(_ value: Span<UInt8>) -> Bool {
        begins(value, "application/json") || begins(value, "multipart/form-data")
    }

    static func begins(_ value: Span<UInt8>, _ type: StaticString) -> Bool {
        let count = type.utf8CodeUnitCount
        guard value.count >= count,
            ByteScan.equalFolding(value.extracting(first: count), ByteScan.bytes(type))
        else { return false }
        return value.count == count || value[count] == 0x3B || value[count] == 0x20
    }
}
