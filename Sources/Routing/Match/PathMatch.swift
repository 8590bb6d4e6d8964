/// What the path of a request must be (`HTTPRouteMatch.path`).
public enum PathMatch: Sendable, Equatable {
    /// The same bytes.
    case exact(String)
    /// The same first elements; a slash at the end means nothing.
    case prefix(String)
    /// The whole path matches the pattern.
    case regularExpression(String)
}

extension PathMatch {
    /// A prefix without the slash at its end, so that what follows a match is empty or begins with
    /// a slash; empty for the root.
    static func stripped(prefix: String) -> String {
        var text = Substring(prefix)
        while text.last == "/" { text.removeLast() }
        return String(text)
    }
}
