import Runtime

/// What `ai-gateway check` prints: problems with their places, the state of each object, and the
/// parameters in effect.
public struct CheckReport: Sendable {
    /// Each once, in the order of the documents' text.
    public let problems: [ConfigProblem]
    public let objects: [ObjectStatus]
    private let parameters: [(gateways: [String], values: [(name: String, value: String)])]

    /// - Parameters:
    ///   - documents: that passed `Admission.admit`.
    ///   - report: of these documents.
    public init(_ documents: DocumentSet, _ report: StatusReport) {
        var seen: Set<ConfigProblem> = []
        problems = (documents.problems + report.problems)
            .filter { seen.insert($0).inserted }
            .enumerated()
            .sorted { a, b in
                switch (a.element.position, b.element.position) {
                case (let x?, let y?) where x != y: x < y
                case (nil, _?): true
                case (_?, nil): false
                default: a.offset < b.offset
                }
            }
            .map(\.element)
        objects = report.objects
        var groups: [(parameters: Parameters, gateways: [String])] = []
        for gateway in report.resolution.gateways {
            let name = gateway.name.description
            if let index = groups.firstIndex(where: { $0.parameters == gateway.parameters }) {
                groups[index].gateways.append(name)
            } else {
                groups.append((gateway.parameters, [name]))
            }
        }
        parameters = groups.map { ($0.gateways, ParameterTable.values(of: $0.parameters)) }
    }

    /// Whether everything is accepted: the command's exit status is 0.
    public var isClean: Bool {
        !problems.contains { $0.severity == .error }
            && !objects.contains { object in
                object.status.allConditions.contains { $0.conditions.contains(where: \.isFault) }
            }
    }

    /// One line of JSON.
    public var json: [UInt8] { StatusDocument(objects: objects, problems: problems).json }

    /// The report for people.
    public var text: String {
        var parts: [String] = []
        if !problems.isEmpty {
            parts.append(problems.map { "\($0)\n" }.joined())
        }
        if !objects.isEmpty { parts.append(StatusText.text(objects)) }
        parts += parameters.map(parametersText)
        parts.append(summary + "\n")
        return parts.joined(separator: "\n")
    }

    private func parametersText(
        _ group: (gateways: [String], values: [(name: String, value: String)])
    ) -> String {
        let noun = group.gateways.count == 1 ? "Gateway" : "Gateways"
        let defaults = Dictionary(
            ParameterTable.values(of: Parameters()).map { ($0.name, $0.value) },
            uniquingKeysWith: { first, _ in first })
        let width = group.values.map(\.name.count).max() ?? 0
        var text = "Parameters of \(noun) \(sentenceList(group.gateways, "and"))\n"
        for (name, value) in group.values {
            let isDefault = defaults[name] == value
            text += "  \(StatusText.pad(name, width))  \(value)\(isDefault ? "" : "  (set)")\n"
        }
        return text
    }

    private var summary: String {
        let errors = problems.count { $0.severity == .error }
        let warnings = problems.count { $0.severity == .warning }
        let count = objects.count == 1 ? "1 object" : "\(objects.count) objects"
        var text = isClean ? "\(count), all accepted" : "\(count), not all accepted"
        if errors > 0 { text += ", \(errors) problem\(errors == 1 ? "" : "s")" }
        if warnings > 0 { text += ", \(warnings) warning\(warnings == 1 ? "" : "s")" }
        return text
    }
}
