import Foundation

/// `/status` and `check --output json`: objects with their status, in the API's form.
public struct StatusDocument: Codable, Sendable {
    /// A problem with its place.
    public struct Problem: Codable, Hashable, Sendable {
        public var severity: String
        public var file: String?
        public var line: Int?
        public var column: Int?
        public var kind: String?
        public var namespace: String?
        public var name: String?
        public var field: String?
        public var reason: String
        public var message: String
    }

    public var objects: [ObjectStatus]
    public var problems: [Problem]?

    public init(objects: [ObjectStatus], problems: [ConfigProblem]? = nil) {
        self.objects = objects
        self.problems = problems?.map(Problem.init)
    }

    /// Reads what `json` wrote.
    public init(json: [UInt8]) throws {
        self = try JSONDecoder().decode(StatusDocument.self, from: Data(json))
    }

    /// One line of JSON with sorted keys and a line break: the same state gives the same bytes.
    public var json: [UInt8] { jsonBytes(self) }
}

extension StatusDocument.Problem {
    init(_ problem: ConfigProblem) {
        switch problem.severity {
        case .error: severity = "error"
        case .warning: severity = "warning"
        case .notice: severity = "notice"
        }
        file = problem.position?.file
        line = problem.position?.line
        column = problem.position?.column
        kind = problem.object?.kind
        namespace = problem.object?.namespace
        name = problem.object?.name
        field = problem.fieldPath.isEmpty ? nil : problem.fieldPath
        reason = problem.reason
        message = problem.message
    }
}

/// A value as JSON with sorted keys and a line break at the end.
func jsonBytes(_ value: some Encodable) -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    guard let data = try? encoder.encode(value) else {
        preconditionFailure("These types hold texts, numbers and lists only: all of it is JSON.")
    }
    return Array(data) + [10]
}
