import HTTP

/// Whose format a path speaks, of requests as of errors (`interface.md` §4).
public enum Dialect: UInt8, Sendable, BitwiseCopyable {
    case plain, ollama, openAI, anthropic, grpc

    /// By the path, wherever a route's prefix put what tells it.
    public init(path: Span<UInt8>) {
        if Dialect.contains(path, "/v1/messages") {
            self = .anthropic
        } else if Dialect.contains(path, "/v1/") {
            self = .openAI
        } else if Dialect.contains(path, "/api/") {
            self = .ollama
        } else {
            self = .plain
        }
    }

    private static func contains(_ path: Span<UInt8>, _ part: StaticString) -> Bool {
        let count = part.utf8CodeUnitCount
        if path.count < count { return false }
        for start in 0...(path.count - count) where path[start] == 0x2F {
            if ByteScan.equal(path.extracting(start..<(start + count)), ByteScan.bytes(part)) {
                return true
            }
        }
        return false
    }
}
