import BasicContainers
import HTTP

/// A new path (`HTTPPathModifier`).
public enum PathModifier: Sendable, Equatable {
    /// The whole path; the query stays.
    case replaceFull(String)
    /// What the rule's PathPrefix matched; joined by elements, whatever slashes either side has.
    case replacePrefixMatch(String)
}

/// Another host, another path for the backend (`HTTPURLRewriteFilter`).
public struct URLRewrite: Sendable, Equatable {
    /// Replaces Host.
    public var hostname: String?
    /// Replaces the path or its first elements.
    public var path: PathModifier?

    /// Makes a rewrite.
    public init(hostname: String? = nil, path: PathModifier? = nil) {
        self.hostname = hostname
        self.path = path
    }

    /// The rewrite as steps; nil when it cannot be made.
    func steps(_ arena: inout ArenaBuilder) -> [FilterStep]? {
        var steps: [FilterStep] = []
        if let hostname {
            if Authority.parse(Array(hostname.utf8).span) == nil { return nil }
            steps.append(.rewriteHost(arena.keep(hostname)))
        }
        let path = PathRewrite(path, &arena)
        if !path.isKept { steps.append(.rewritePath(path)) }
        return steps
    }
}

/// A compiled change of the path.
enum PathRewrite: BitwiseCopyable, Sendable {
    case keep
    /// The path; begins with a slash.
    case full(ArenaRange)
    /// What stands for the matched prefix: empty, or begins with a slash and does not end in one.
    case prefix(ArenaRange)

    init(_ modifier: PathModifier?, _ arena: inout ArenaBuilder) {
        switch modifier {
        case nil: self = .keep
        case .replaceFull(let path): self = .full(arena.keep(Self.canonical(path)))
        case .replacePrefixMatch(let path):
            var bytes = Self.canonical(path)
            while bytes.last == UInt8(ascii: "/") { bytes.removeLast() }
            self = .prefix(arena.keep(bytes))
        }
    }

    var isKept: Bool { if case .keep = self { true } else { false } }

    /// The path behind a slash, with what may not stand in a path escaped (RFC 3986 §3.3).
    private static func canonical(_ path: String) -> [UInt8] {
        escaped(path.hasPrefix("/") ? path : "/" + path, isKept: isPathByte)
    }

    /// The bytes of a text with `%XX` for those that are not kept.
    static func escaped(_ text: String, isKept: (UInt8) -> Bool) -> [UInt8] {
        let digits = Array("0123456789ABCDEF".utf8)
        return text.utf8.flatMap { byte in
            isKept(byte)
                ? [byte]
                : [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
        }
    }

    private static func isPathByte(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
        default: "/%-._~!$&'()*+,;=:@".utf8.contains(byte)
        }
    }
}

extension Table {
    /// Replaces the path of the request; false when it does not fit.
    func rewritePath(
        _ rewrite: PathRewrite, _ match: RouteMatch, _ head: inout RequestHead,
        _ scratch: inout RigidArray<UInt8>
    ) -> Bool {
        // The asterisk of OPTIONS is no path.
        if !isPath(head) { return true }
        scratch.removeAll()
        return writePath(rewrite, match, head, &scratch) && head.setTarget(path: scratch.span)
    }

    /// Whether the target has a path, unlike the asterisk.
    func isPath(_ head: borrowing RequestHead) -> Bool {
        !head.path.isEmpty && head.bytes[Int(head.path.start)] == UInt8(ascii: "/")
    }

    /// Appends the path that a rewrite makes of the request's; false when it does not fit.
    func writePath(
        _ rewrite: PathRewrite, _ match: RouteMatch, _ head: borrowing RequestHead,
        _ scratch: inout RigidArray<UInt8>
    ) -> Bool {
        switch rewrite {
        case .keep:
            return isPath(head) ? put(head.span(head.path), &scratch) : put("/", &scratch)
        case .full(let path):
            return put(text(path), &scratch)
        case .prefix(let replacement):
            let path = head.path.range
            // What follows the prefix is empty or begins with a slash, and so joins by elements.
            let rest = head.bytes.extracting(
                min(path.lowerBound + Int(match.prefixCount), path.upperBound)..<path.upperBound)
            if replacement.count == 0 && rest.isEmpty { return put("/", &scratch) }
            return put(text(replacement), &scratch) && put(rest, &scratch)
        }
    }

    /// Appends bytes; false, and no change, when they do not fit.
    func put(_ bytes: Span<UInt8>, _ scratch: inout RigidArray<UInt8>) -> Bool {
        if scratch.freeCapacity < bytes.count { return false }
        scratch.append(copying: bytes)
        return true
    }

    /// Appends a literal; false, and no change, when it does not fit.
    func put(_ literal: StaticString, _ scratch: inout RigidArray<UInt8>) -> Bool {
        put(ByteScan.bytes(literal), &scratch)
    }
}
