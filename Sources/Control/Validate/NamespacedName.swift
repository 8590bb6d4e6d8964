/// `namespace/name`: what references between objects lead to.
public struct NamespacedName: Hashable, Comparable, Sendable, CustomStringConvertible {
    public let namespace: String
    public let name: String

    public init(_ namespace: String, _ name: String) {
        self.namespace = namespace
        self.name = name
    }

    init(_ object: LocatedObject) {
        self.init(object.namespace ?? "", object.name)
    }

    public var description: String { "\(namespace)/\(name)" }

    public static func < (a: NamespacedName, b: NamespacedName) -> Bool {
        (a.namespace, a.name) < (b.namespace, b.name)
    }
}

/// Why a condition is not what one would wish: the API's reason, the field, and a sentence.
struct Finding: Hashable, Sendable {
    var reason: String
    /// Empty when no one field is to blame.
    var fieldPath: String
    /// What is wrong and what to do, without a full stop.
    var message: String

    init(_ reason: String, at fieldPath: String = "", _ message: String) {
        self.reason = reason
        self.fieldPath = fieldPath
        self.message = message
    }

    /// The message with the field before it.
    var text: String { fieldPath.isEmpty ? message : "\(fieldPath): \(message)" }

    /// Several findings as one message: the first three, and how many more there are.
    static func text(_ findings: [Finding]) -> String {
        let shown = findings.prefix(3).map(\.text).joined(separator: "; ")
        return findings.count > 3 ? "\(shown); and \(findings.count - 3) more" : shown
    }
}

/// "did you mean …?" for a name that nobody has, or nothing.
func didYouMean(_ name: String, among candidates: some Sequence<String>) -> String {
    NearestName.suggestion(for: name, among: candidates).map { "; did you mean \"\($0)\"?" } ?? ""
}
