import BasicContainers
import HTTP

/// Which other origins may call, and what they may send and read (`HTTPCORSFilter`).
public struct CORSPolicy: Sendable, Equatable {
    /// `scheme://host[:port]`, where the host may begin with `*.` or be `*`; or `*` alone.
    public var origins: [String]
    /// Whether a browser may send cookies and the like.
    public var allowsCredentials: Bool
    /// Methods beside GET, HEAD and POST; `*` takes all.
    public var methods: [String]
    /// Fields of requests beside the ones that need no leave; `*` takes all.
    public var headers: [String]
    /// Fields of answers that a script may read; `*` shows all, where credentials are not allowed.
    public var exposed: [String]
    /// How long a browser may remember the answer to a preflight.
    public var maxAgeSeconds: UInt32

    /// Makes a policy; without origins it lets nobody in.
    public init(
        origins: [String] = [], allowsCredentials: Bool = false, methods: [String] = [],
        headers: [String] = [], exposed: [String] = [], maxAgeSeconds: UInt32 = 5
    ) {
        self.origins = origins
        self.allowsCredentials = allowsCredentials
        self.methods = methods
        self.headers = headers
        self.exposed = exposed
        self.maxAgeSeconds = maxAgeSeconds
    }

    /// Why the policy cannot be kept, as the name of a field and a sentence; nil when it can.
    public var problem: (field: String, sentence: String)? {
        for (index, origin) in origins.enumerated() where origin != "*" && Self.parts(origin) == nil
        {
            return (
                "allowOrigins[\(index)]",
                "\"\(origin)\" is not an origin; write it as https://example.com, https://*.example.com:8443 or *"
            )
        }
        for (field, names) in [
            ("allowMethods", methods), ("allowHeaders", headers), ("exposeHeaders", exposed),
        ] {
            for (index, name) in names.enumerated()
            where name.isEmpty || !Token.isToken(Array(name.utf8).span) {
                return ("\(field)[\(index)]", "\"\(name)\" is not a name")
            }
            if names.reduce(0, { $0 + $1.utf8.count + 2 }) > Self.listBytesMax {
                return (field, "has more than \(Self.listBytesMax) characters together")
            }
        }
        return nil
    }

    /// Characters of one list in an answer, which has to leave room for what a backend says.
    private static var listBytesMax: Int { 4_096 }

    /// Scheme, host and port of an entry that is not `*`; nil when it has no such form.
    private static func parts(_ text: String) -> (isTLS: Bool, host: String, port: UInt16)? {
        let text = text.lowercased()
        let isTLS = text.hasPrefix("https://")
        guard isTLS || text.hasPrefix("http://") else { return nil }
        let authority = text.dropFirst(isTLS ? 8 : 7)
        // A letter in place of the wildcard: what is left has to be a host.
        let plain =
            authority.hasPrefix("*")
            ? Array(("a" + authority.dropFirst()).utf8) : Array(authority.utf8)
        guard let found = Authority.parse(plain.span), found.host.upperBound < 254 else {
            return nil
        }
        let host = Array(authority.utf8)[found.host]
        let isWildcard = host.first == 0x2A
        if isWildcard, host.count > 1, host[1] != 0x2E { return nil }
        if found.port == 0 { return nil }
        return (isTLS, String(decoding: host, as: UTF8.self), found.port ?? (isTLS ? 443 : 80))
    }

    /// The policy as a row; nil when it cannot be kept.
    func row(_ arena: inout ArenaBuilder, _ rows: inout [CORSOriginRow]) -> CORSRow? {
        if problem != nil { return nil }
        let first = rows.count
        for origin in origins where origin != "*" {
            guard let parts = Self.parts(origin) else { return nil }
            let isSuffix = parts.host.hasPrefix("*")
            rows.append(
                CORSOriginRow(
                    isTLS: parts.isTLS, isSuffix: isSuffix, port: parts.port,
                    host: arena.keep(isSuffix ? String(parts.host.dropFirst()) : parts.host)))
        }
        let showsAll = exposed.contains("*")
        // With credentials a `*` would be a field of that name (Fetch, «CORS protocol and credentials»).
        let shown = showsAll && !allowsCredentials ? ["*"] : exposed.filter { $0 != "*" }
        let takesAnyMethod = methods.contains("*")
        let takesAnyField = headers.contains("*")
        return CORSRow(
            takesAllOrigins: origins.contains("*"), allowsCredentials: allowsCredentials,
            takesAnyMethod: takesAnyMethod, takesAnyField: takesAnyField,
            maxAgeSeconds: maxAgeSeconds,
            origins: StepRange(start: UInt32(first), count: UInt32(rows.count - first)),
            methods: arena.keep(takesAnyMethod ? "" : methods.joined(separator: ", ")),
            fields: arena.keep(takesAnyField ? "" : headers.joined(separator: ", ")),
            exposed: arena.keep(shown.joined(separator: ", ")))
    }
}

/// A compiled policy.
struct CORSRow: BitwiseCopyable, Sendable {
    let takesAllOrigins: Bool
    let allowsCredentials: Bool
    /// What a preflight asks for is said back to it.
    let takesAnyMethod: Bool
    let takesAnyField: Bool
    let maxAgeSeconds: UInt32
    /// In `Table.corsOrigins`.
    let origins: StepRange
    /// Values of answers, each a list with commas; empty where the field is left out.
    let methods: ArenaRange
    let fields: ArenaRange
    let exposed: ArenaRange
}

/// One origin that may call.
struct CORSOriginRow: BitwiseCopyable, Sendable {
    let isTLS: Bool
    /// `host` is the end of a name, or of any where it is empty.
    let isSuffix: Bool
    let port: UInt16
    /// In small letters.
    let host: ArenaRange
}

extension Table {
    /// Bytes of an origin, at most: a scheme, the longest host and a port.
    public static var originBytesMax: Int { 280 }

    /// Whether a request asks for leave to call from another origin (Fetch, «CORS-preflight request»).
    public static func isPreflight(_ head: borrowing RequestHead) -> Bool {
        head.method == .options && head.value(.origin) != nil
            && head.value(.accessControlRequestMethod) != nil
    }

    /// The origin that a request comes from, where the policy of its rule, or over it the one of its backend, lets it in.
    ///
    /// `backend` is -1 when there is none. Nil too where there is no policy.
    public func allowedOrigin(
        rule: Int32, backend: Int32, head: borrowing RequestHead
    ) -> ByteRange? {
        let policy = policy(rule: rule, backend: backend)
        guard policy >= 0, let origin = head.value(.origin), head.fields.occurrences(.origin) == 1,
            Int(origin.count) <= Self.originBytesMax
        else { return nil }
        return allows(cors[Int(policy)], head.span(origin)) ? origin : nil
    }

    private func policy(rule: Int32, backend: Int32) -> Int32 {
        let own = backend < 0 ? -1 : backends[Int(backend)].cors
        return own >= 0 ? own : rules[Int(rule)].cors
    }

    private func allows(_ row: CORSRow, _ origin: Span<UInt8>) -> Bool {
        if row.takesAllOrigins { return !origin.isEmpty }
        let isTLS = Self.begins(origin, with: "https://")
        guard isTLS || Self.begins(origin, with: "http://") else { return false }
        let authority = origin.extracting((isTLS ? 8 : 7)..<origin.count)
        guard let parts = Authority.parse(authority) else { return false }
        let port = parts.port ?? (isTLS ? 443 : 80)
        let host = authority.extracting(parts.host)
        for i in row.origins.range {
            let entry = corsOrigins[i]
            if entry.isTLS == isTLS, entry.port == port, matches(entry, host) { return true }
        }
        return false
    }

    private func matches(_ entry: CORSOriginRow, _ host: Span<UInt8>) -> Bool {
        let name = text(entry.host)
        if !entry.isSuffix { return ByteScan.equalFolding(host, name) }
        return host.count > name.count
            && ByteScan.equalFolding(host.extracting((host.count - name.count)..<host.count), name)
    }

    private static func begins(_ text: Span<UInt8>, with scheme: StaticString) -> Bool {
        let count = scheme.utf8CodeUnitCount
        return text.count > count
            && ByteScan.equalFolding(text.extracting(first: count), ByteScan.bytes(scheme))
    }

    // MARK: - Answers

    /// Writes the lines of an answer to an origin that is let in; false when they do not fit.
    public func appendCORS(
        rule: Int32, backend: Int32, origin: Span<UInt8>, into out: inout OutputSpan<UInt8>
    ) -> Bool {
        let policy = policy(rule: rule, backend: backend)
        if policy < 0 { return true }
        let row = cors[Int(policy)]
        let isAny = row.takesAllOrigins && !row.allowsCredentials
        return HeadWriter.append("access-control-allow-origin: ", into: &out)
            && HeadWriter.append(isAny ? ByteScan.bytes("*") : origin, into: &out)
            && (!row.allowsCredentials
                || HeadWriter.append("\r\naccess-control-allow-credentials: true", into: &out))
            && (row.exposed.count == 0
                || HeadWriter.append("\r\naccess-control-expose-headers: ", into: &out)
                    && HeadWriter.append(text(row.exposed), into: &out))
            && HeadWriter.append("\r\nvary: origin\r\n", into: &out)
    }

    /// Writes the lines that an answer to a preflight has beside those of `appendCORS`; false when they do not fit.
    public func appendPreflight(
        rule: Int32, backend: Int32, head: borrowing RequestHead, into out: inout OutputSpan<UInt8>
    ) -> Bool {
        let policy = policy(rule: rule, backend: backend)
        if policy < 0 { return true }
        let row = cors[Int(policy)]
        let method = head.value(.accessControlRequestMethod) ?? .none
        let fields = head.value(.accessControlRequestHeaders) ?? .none
        return append(
            "access-control-allow-methods: ", row.takesAnyMethod, text(row.methods),
            asked: head.span(method), into: &out)
            && (fields.isEmpty
                || append(
                    "access-control-allow-headers: ", row.takesAnyField, text(row.fields),
                    asked: head.span(fields), into: &out))
            && HeadWriter.append("access-control-max-age: ", into: &out)
            && HeadWriter.append(decimal: UInt64(row.maxAgeSeconds), into: &out)
            && HeadWriter.append(
                "\r\nvary: access-control-request-method, access-control-request-headers\r\n",
                into: &out)
    }

    /// Writes what is allowed, or says back what was asked for where all is.
    private func append(
        _ name: StaticString, _ takesAny: Bool, _ list: Span<UInt8>, asked: Span<UInt8>,
        into out: inout OutputSpan<UInt8>
    ) -> Bool {
        let value = takesAny ? asked : list
        if value.isEmpty || takesAny && !Self.isList(asked) { return true }
        return HeadWriter.append(name, into: &out) && HeadWriter.append(value, into: &out)
            && HeadWriter.append("\r\n", into: &out)
    }

    /// Whether a value is a list of tokens.
    private static func isList(_ value: Span<UInt8>) -> Bool {
        var at = 0
        while let element = FieldValue.nextElement(value, &at, to: value.count) {
            if !Token.isToken(value.extracting(element)) { return false }
        }
        return true
    }

    /// Says in a backend's answer what the policy says, in place of what the backend does; `origin` is empty where
    /// none is let in.
    ///
    /// False when it does not fit.
    func sayCORS(
        rule: Int32, backend: Int32, origin: Span<UInt8>, _ head: inout ResponseHead
    ) -> Bool {
        let policy = policy(rule: rule, backend: backend)
        if policy < 0 { return true }
        let row = cors[Int(policy)]
        head.remove(named: ByteScan.bytes("access-control-allow-origin"))
        head.remove(named: ByteScan.bytes("access-control-allow-credentials"))
        head.remove(named: ByteScan.bytes("access-control-allow-methods"))
        head.remove(named: ByteScan.bytes("access-control-allow-headers"))
        head.remove(named: ByteScan.bytes("access-control-expose-headers"))
        head.remove(named: ByteScan.bytes("access-control-max-age"))
        // A cache that kept this answer for one origin, or for none, must not give it to another (Fetch, «CORS protocol
        // and HTTP caches»).
        if !Self.variesByOrigin(head), !head.append(.vary, value: ByteScan.bytes("origin")) {
            return false
        }
        if origin.isEmpty { return true }
        let isAny = row.takesAllOrigins && !row.allowsCredentials
        if !head.append(
            name: "access-control-allow-origin", value: isAny ? ByteScan.bytes("*") : origin)
        {
            return false
        }
        if row.allowsCredentials,
            !head.append(
                name: "access-control-allow-credentials", value: ByteScan.bytes("true"))
        {
            return false
        }
        return row.exposed.count == 0
            || head.append(name: "access-control-expose-headers", value: text(row.exposed))
    }

    /// Whether Vary names Origin already, or everything.
    private static func variesByOrigin(_ head: borrowing ResponseHead) -> Bool {
        if head.value(.vary) == nil { return false }
        for i in 0..<head.fields.count {
            let line = head.fields[i]
            if line.id != .vary || line.isDropped { continue }
            let value = head.span(line.value)
            var at = 0
            while let element = FieldValue.nextElement(value, &at, to: value.count) {
                let name = value.extracting(element)
                if ByteScan.equalFolding(name, ByteScan.bytes("origin"))
                    || ByteScan.equalFolding(name, ByteScan.bytes("*"))
                {
                    return true
                }
            }
        }
        return false
    }
}
