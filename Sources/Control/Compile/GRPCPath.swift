import Routing

/// The path that a method match of a GRPCRoute asks for: `/service/method`.
enum GRPCPath {
    /// What the path of a request must be.
    ///
    /// `asPattern` says that the listener has matches which only a pattern can tell. Patterns are
    /// tried before prefixes, so a service alone becomes one too, to be ordered as the API says.
    static func match(_ method: GRPCMethodMatch?, asPattern: Bool) -> PathMatch {
        guard let method else { return .prefix("/") }
        if needsPattern(method) { return .regularExpression(pattern(method)) }
        let service = method.service ?? ""
        if let name = method.method, !name.isEmpty { return .exact("/\(service)/\(name)") }
        return asPattern ? .regularExpression(pattern(method)) : .prefix("/\(service)")
    }

    /// Whether neither a path nor a prefix of one says it.
    static func needsPattern(_ method: GRPCMethodMatch) -> Bool {
        method.type == .regularExpression || (method.service ?? "").isEmpty
    }

    /// The match as a regular expression for the whole path.
    static func pattern(_ method: GRPCMethodMatch) -> String {
        "/\(part(method.service, method))/\(part(method.method, method))"
    }

    /// The place among patterns: most characters of the service, then of the method.
    static func specificity(_ method: GRPCMethodMatch?) -> UInt32 {
        let service = min(method?.service?.utf8.count ?? 0, 0xFFFF)
        return UInt32(service) << 16 | UInt32(min(method?.method?.utf8.count ?? 0, 0xFFFF))
    }

    private static func part(_ text: String?, _ method: GRPCMethodMatch) -> String {
        guard let text, !text.isEmpty else { return "[^/]+" }
        // Exact names have no other character that means something in a pattern.
        return method.type == .regularExpression ? "(?:\(text))" : text.replacing(".", with: "\\.")
    }
}
