import BasicContainers
import HTTP

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

    /// The form in which paths of requests are matched, so that both can be equal.
    ///
    /// A path that no request can have is left as it is, and never matches.
    static func normal(_ path: String) -> String {
        if !path.hasPrefix("/") || isPlain(path.utf8) { return path }
        let escaped = PathRewrite.escaped(path) { (0x21...0x7E).contains($0) }
        var normal = RigidArray<UInt8>(capacity: escaped.count)
        if PathNormaliser.append(escaped.span, to: &normal) != nil { return path }
        return String(decoding: (0..<normal.count).map { normal[$0] }, as: UTF8.self)
    }

    /// Whether a path has nothing in it that normalising could change: most have not.
    private static func isPlain(_ path: String.UTF8View) -> Bool {
        var last: UInt8 = 0
        for byte in path {
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x5F: break
            case 0x2F, 0x2E: if last == 0x2F { return false }
            default: return false
            }
            last = byte
        }
        return true
    }
}
