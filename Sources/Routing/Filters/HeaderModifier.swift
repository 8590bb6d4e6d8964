import HTTP

/// A field to set or add (`HTTPHeader`).
public struct HeaderValue: Sendable, Equatable {
    public var name: String
    public var value: String

    /// Makes a field.
    public init(_ name: String, _ value: String) {
        self.name = name
        self.value = value
    }
}

/// Edits of field lines (`HTTPHeaderFilter`): set, then add, then remove.
///
/// Of entries with equal names, without regard to case, only the first of each list counts. Fields
/// of the connection and of framing belong to the gateway: to remove them means nothing, since
/// they are never passed on as they came; to set or add one is a filter that cannot be processed.
public struct HeaderModifier: Sendable, Equatable {
    /// Replace all lines of the name by one.
    public var set: [HeaderValue]
    /// Add a line.
    public var add: [HeaderValue]
    /// Drop all lines of the name.
    public var remove: [String]

    /// Makes edits.
    public init(set: [HeaderValue] = [], add: [HeaderValue] = [], remove: [String] = []) {
        self.set = set
        self.add = add
        self.remove = remove
    }

    /// Why the edits cannot be made, as a name and a sentence; nil when they can.
    public var problem: (name: String, sentence: String)? {
        for (list, isHostAllowed) in [(set, true), (add, false)] {
            for field in list {
                if !Self.isName(field.name) { return (field.name, "is not a field name") }
                if !Self.isValue(field.value) { return (field.name, "has an invalid value") }
                let id = FieldName.recognise(Array(field.name.utf8).span)
                if Self.isOwnedByGateway(id) {
                    return (field.name, "belongs to the connection and cannot be set")
                }
                if id == .host && !isHostAllowed {
                    return (field.name, "is single and cannot be added to")
                }
                if id == .host && Authority.parse(Array(field.value.utf8).span) == nil {
                    return (field.name, "has an invalid value")
                }
            }
        }
        for name in remove {
            if !Self.isName(name) { return (name, "is not a field name") }
            if FieldName.recognise(Array(name.utf8).span) == .host {
                return (name, "is required and cannot be removed")
            }
        }
        return nil
    }

    /// The edits as steps; nil when they cannot be made.
    func steps(_ arena: inout ArenaBuilder) -> [FilterStep]? {
        if problem != nil { return nil }
        var steps: [FilterStep] = []
        for field in Self.firsts(set, by: \.name) {
            let name = field.name.lowercased()
            let value = arena.keep(field.value)
            // Host is kept apart from the other lines of a head.
            steps.append(
                name == "host"
                    ? .rewriteHost(value) : .setField(name: arena.keep(name), value: value))
        }
        for field in Self.firsts(add, by: \.name) {
            steps.append(
                .addField(
                    name: arena.keep(field.name.lowercased()), value: arena.keep(field.value)))
        }
        for name in Self.firsts(remove, by: \.self) {
            let isOwned = Self.isOwnedByGateway(FieldName.recognise(Array(name.utf8).span))
            if !isOwned { steps.append(.removeField(name: arena.keep(name.lowercased()))) }
        }
        return steps
    }

    /// The first of each name.
    static func firsts<T>(_ list: [T], by name: KeyPath<T, String>) -> [T] {
        var seen: Set<String> = []
        return list.filter { seen.insert($0[keyPath: name].lowercased()).inserted }
    }

    /// Fields that the gateway writes itself, by connection and framing (RFC 9110 §7.6.1).
    static func isOwnedByGateway(_ id: FieldName) -> Bool {
        switch id {
        case .contentLength, .transferEncoding, .connection, .keepAlive, .proxyConnection, .te,
            .trailer, .upgrade, .http2Settings:
            true
        default:
            false
        }
    }

    private static func isName(_ name: String) -> Bool {
        !name.isEmpty && Token.isToken(Array(name.utf8).span)
    }

    private static func isValue(_ value: String) -> Bool {
        value.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F || $0 == 0x09 }
    }
}
