/// How hostnames of listeners and routes meet (`Listener.hostname`, `HTTPRoute.spec.hostnames`).
///
/// Names are in small letters. `*.example.com` stands for any number of labels before
/// `.example.com`, never for `example.com` itself.
enum Hostnames {
    static func isWildcard(_ name: String) -> Bool { name.hasPrefix("*.") }

    /// Whether the wildcard takes the name, which may be a wildcard of more labels.
    static func wildcard(_ pattern: String, covers name: String) -> Bool {
        let suffix = pattern.utf8.dropFirst()
        let rest = isWildcard(name) ? name.utf8.dropFirst() : name.utf8[...]
        guard rest.count > suffix.count else { return false }
        return rest.suffix(suffix.count).elementsEqual(suffix)
    }

    /// The names that both stand for: the more specific of the two, or nil.
    static func intersection(_ a: String, _ b: String) -> String? {
        if a == b { return a }
        if isWildcard(a), wildcard(a, covers: b) { return b }
        if isWildcard(b), wildcard(b, covers: a) { return a }
        return nil
    }

    /// What a route's hostnames mean on a listener: empty for every host, nil when they have
    /// nothing in common.
    static func effective(route: [String], listener: String?) -> [String]? {
        guard let listener else { return route }
        if route.isEmpty { return [listener] }
        var names: [String] = []
        for name in route {
            if let both = intersection(listener, name), !names.contains(both) {
                names.append(both)
            }
        }
        return names.isEmpty ? nil : names
    }

    /// Whether a request could belong to both listeners.
    static func overlap(_ a: String?, _ b: String?) -> Bool {
        guard let a, let b else { return true }
        return intersection(a, b) != nil
    }
}
