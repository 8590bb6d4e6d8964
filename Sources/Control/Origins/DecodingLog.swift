/// A problem of one field, before it is known which object the field belongs to.
struct FieldProblem: Equatable {
    var severity: ConfigProblem.Severity
    var fieldPath: String
    var mark: TextMark
    var reason: String
    var message: String
}

/// What decoding could not make sense of and nobody has logged yet.
///
/// Without problems it says only that a value cannot be had; why is in the log already.
struct DecodingFailure: Error {
    var problems: [FieldProblem]
}

/// The problems of one document, in the order in which they were found.
final class DecodingLog {
    private(set) var problems: [FieldProblem] = []
    private(set) var hasErrors = false

    func append(_ problem: FieldProblem) {
        problems.append(problem)
        if problem.severity == .error { hasErrors = true }
    }

    func append(_ failure: DecodingFailure) {
        for problem in failure.problems { append(problem) }
    }

    /// Removes and returns what was logged after the first `count` problems.
    func takeProblems(after count: Int) -> [FieldProblem] {
        let taken = Array(problems[count...])
        problems.removeSubrange(count...)
        hasErrors = problems.contains { $0.severity == .error }
        return taken
    }
}

/// Where in the document decoding is, and what holds there.
struct DecodingPlace {
    /// The way from the root, as a list that shares its beginning with the places around.
    final class Link {
        let parent: Link?
        let step: Step

        init(_ step: Step, after parent: Link?) {
            self.step = step
            self.parent = parent
        }
    }

    enum Step {
        case key(String)
        case index(Int)
    }

    var link: Link?
    /// Where a reader looks for this field.
    var mark: TextMark
    /// Fields that nobody declares are no problem here.
    var isOpen = false
    /// Problems are warnings here: the gateway writes `status` itself and only reads some of it.
    var isStatus = false

    var isRoot: Bool { link == nil }

    init(root: DocumentNode) {
        mark = root.mark
    }

    func member(_ member: DocumentNode.Member) -> DecodingPlace {
        var place = self
        place.link = Link(.key(member.key), after: link)
        place.mark = member.mark
        if isRoot, member.key == "status" {
            place.isStatus = true
            place.isOpen = true
        }
        return place
    }

    func item(_ index: Int, _ node: DocumentNode) -> DecodingPlace {
        var place = self
        place.link = Link(.index(index), after: link)
        place.mark = node.mark
        return place
    }

    var steps: [Step] {
        var steps: [Step] = []
        var next = link
        while let link = next {
            steps.append(link.step)
            next = link.parent
        }
        return steps.reversed()
    }

    var fieldPath: String {
        steps.reduce("") { path, step in
            switch step {
            case .key(let key): FieldPath.appending(key: key, to: path)
            case .index(let index): FieldPath.appending(index: index, to: path)
            }
        }
    }

    var codingPath: [any CodingKey] {
        steps.map { step in
            switch step {
            case .key(let key): FieldKey(stringValue: key)
            case .index(let index): FieldKey(intValue: index)
            }
        }
    }

    /// A problem of this field, or of one of its members that is not there.
    func problem(_ reason: String, _ message: String, key: String? = nil) -> FieldProblem {
        var path = fieldPath
        if let key { path = FieldPath.appending(key: key, to: path) }
        return FieldProblem(
            severity: isStatus ? .warning : .error, fieldPath: path, mark: mark, reason: reason,
            message: message)
    }

    func failure(_ message: String) -> DecodingFailure {
        DecodingFailure(problems: [problem(ConfigProblem.Reason.invalidValue, message)])
    }
}

/// A coding key for any name or index.
struct FieldKey: CodingKey {
    let stringValue: String
    let intValue: Int?

    init(stringValue: String) {
        self.stringValue = stringValue
        self.intValue = nil
    }

    init(intValue: Int) {
        self.stringValue = String(intValue)
        self.intValue = intValue
    }
}
