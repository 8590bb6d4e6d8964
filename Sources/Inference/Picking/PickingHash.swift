/// The one function that makes 64-bit names of models, flows and sessions; 0 means "none" everywhere.
public enum PickingHash {
    /// The hash of any text; 0 for no bytes.
    public static func of(_ bytes: Span<UInt8>) -> UInt64 {
        bytes.isEmpty ? 0 : max(1, hash(bytes))
    }

    private static func hash(_ bytes: Span<UInt8>) -> UInt64 {
        var hash = XXHash64()
        hash.update(bytes)
        return hash.digest
    }

    /// The hash of a model's name as an engine compares it; 0 for no bytes.
    ///
    /// Ollama's names lose `registry.ollama.ai/` and `library/` and get the tag `:latest` when they have none.
    public static func model(_ name: Span<UInt8>, engine: EngineKind) -> UInt64 {
        guard engine == .ollama else { return of(name) }
        var rest = name
        if starts(rest, with: "registry.ollama.ai/") { rest = rest.extracting(19...) }
        if starts(rest, with: "library/") { rest = rest.extracting(8...) }
        if rest.isEmpty { return 0 }
        var hash = XXHash64()
        hash.update(rest)
        var hasTag = false
        var at = rest.count - 1
        while at >= 0 && rest[at] != UInt8(ascii: "/") {
            if rest[at] == UInt8(ascii: ":") { hasTag = true }
            at -= 1
        }
        if !hasTag {
            let tag: InlineArray<7, UInt8> = [0x3A, 0x6C, 0x61, 0x74, 0x65, 0x73, 0x74]
            hash.update(tag.span)
        }
        return max(1, hash.digest)
    }

    private static func starts(_ bytes: Span<UInt8>, with prefix: String) -> Bool {
        let wanted = prefix.utf8
        if bytes.count < wanted.count { return false }
        var i = 0
        for byte in wanted {
            if bytes[i] != byte { return false }
            i += 1
        }
        return true
    }
}
