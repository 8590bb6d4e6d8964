/// A place in a configuration document, printed as `file:line:column`.
///
/// Lines and columns start at 1; columns count Unicode scalars, as editors do.
public struct SourcePosition: Hashable, Sendable, CustomStringConvertible {
    /// The path as the command line reached it; `-` is standard input.
    public let file: String
    public let line: Int
    public let column: Int

    public init(file: String, line: Int, column: Int) {
        self.file = file
        self.line = line
        self.column = column
    }

    public var description: String { "\(file):\(line):\(column)" }
}

extension SourcePosition: Comparable {
    public static func < (a: SourcePosition, b: SourcePosition) -> Bool {
        (a.file, a.line, a.column) < (b.file, b.line, b.column)
    }
}

/// An object's kind and name, as people say it: `HTTPRoute ai/ollama`.
public struct ObjectReference: Hashable, Sendable, CustomStringConvertible {
    public let kind: String
    /// Nil for kinds that belong to the whole cluster.
    public let namespace: String?
    public let name: String

    public init(kind: String, namespace: String?, name: String) {
        self.kind = kind
        self.namespace = namespace
        self.name = name
    }

    public var description: String {
        guard let namespace else { return "\(kind) \(name)" }
        return "\(kind) \(namespace)/\(name)"
    }
}

/// One thing that is wrong, or worth saying, about the configuration.
public struct ConfigProblem: Hashable, Sendable, CustomStringConvertible {
    public enum Severity: Hashable, Sendable {
        /// What the problem is about does not take effect.
        case error
        /// It takes effect, though perhaps not as it was meant.
        case warning
        /// Worth knowing; nothing is wrong.
        case notice
    }

    public var severity: Severity
    public var position: SourcePosition?
    public var object: ObjectReference?
    /// Which field, for example `spec.rules[0].backendRefs[1].port`; empty for the whole object.
    public var fieldPath: String
    /// One word: a Condition's reason where the API has one, else a word from `Reason`.
    public var reason: String
    /// What is wrong and what to do, in one sentence without a full stop.
    public var message: String

    public init(
        _ severity: Severity = .error, at position: SourcePosition? = nil,
        object: ObjectReference? = nil, fieldPath: String = "", reason: String, message: String
    ) {
        self.severity = severity
        self.position = position
        self.object = object
        self.fieldPath = fieldPath
        self.reason = reason
        self.message = message
    }

    /// The reasons of problems that are found while reading, before an object has conditions.
    public enum Reason {
        /// A file or folder could not be read.
        public static let unreadable = "Unreadable"
        /// The text is not YAML or JSON; the whole file is refused.
        public static let syntax = "SyntaxError"
        /// A limit on size, depth or count is exceeded; the whole file is refused.
        public static let tooLarge = "TooLarge"
        /// The document is not a Kubernetes object.
        public static let notAnObject = "NotAnObject"
        /// A kind or version that this program does not read.
        public static let unknownKind = "UnknownKind"
        /// A field that the kind does not have.
        public static let unknownField = "UnknownField"
        /// A field that must be there and is not.
        public static let missingField = "MissingField"
        /// A value of the wrong type or outside its set.
        public static let invalidValue = "InvalidValue"
        /// The same object stands in two places.
        public static let duplicateObject = "DuplicateObject"
    }

    /// The problem in one line: place, object, field, message; control characters are escaped.
    public var description: String {
        var line = ""
        if let position { line += "\(position): " }
        switch severity {
        case .error: break
        case .warning: line += "warning: "
        case .notice: line += "notice: "
        }
        switch (object, fieldPath.isEmpty) {
        case (let object?, false): line += "\(object) \(fieldPath): "
        case (let object?, true): line += "\(object): "
        case (nil, false): line += "\(fieldPath): "
        case (nil, true): break
        }
        return Self.escaped(line + message)
    }

    private static func escaped(_ text: String) -> String {
        let isControl = { (scalar: Unicode.Scalar) in
            scalar.properties.generalCategory == .control
        }
        guard text.unicodeScalars.contains(where: isControl) else { return text }
        return text.unicodeScalars.reduce(into: "") { result, scalar in
            if isControl(scalar) {
                result += scalar.escaped(asASCII: false)
            } else {
                result.unicodeScalars.append(scalar)
            }
        }
    }
}
