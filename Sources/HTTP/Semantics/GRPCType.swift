/// The content type of gRPC (the protocol's «gRPC over HTTP2»).
public enum GRPCType {
    /// Whether a content type is that of a call: `application/grpc`, with or without a suffix or parameters.
    ///
    /// gRPC-Web is not: its clients take errors as any client of HTTP does, and its trailers are content.
    public static func isCall(_ contentType: Span<UInt8>) -> Bool {
        let type: StaticString = "application/grpc"
        let count = type.utf8CodeUnitCount
        guard contentType.count >= count,
            ByteScan.equalFolding(contentType.extracting(first: count), ByteScan.bytes(type))
        else { return false }
        if contentType.count == count { return true }
        let next = contentType[count]
        return next == UInt8(ascii: "+") || next == UInt8(ascii: ";") || next == UInt8(ascii: " ")
    }
}
