/// Collects what the API's schema refuses about one object, with the path of each field.
///
/// Paths and messages are made only for what is refused.
struct FieldChecks {
    let object: LocatedObject
    private(set) var problems: [ConfigProblem] = []

    init(_ object: LocatedObject) {
        self.object = object
    }

    /// Notes that a field is refused.
    mutating func refuse(_ path: String, _ message: String) {
        problems.append(
            object.problem(at: path, reason: ConfigProblem.Reason.invalidValue, message))
    }

    /// Refuses the field unless the condition holds.
    mutating func require(
        _ condition: Bool, _ path: @autoclosure () -> String,
        _ message: @autoclosure () -> String
    ) {
        if !condition { refuse(path(), message()) }
    }

    // MARK: - Counts and ranges

    /// Refuses a list that is too long.
    mutating func atMost(_ limit: Int, _ count: Int?, _ path: @autoclosure () -> String) {
        if let count, count > limit {
            refuse(path(), "has \(count) entries; at most \(limit) are allowed")
        }
    }

    /// Refuses a list without entries.
    mutating func notEmpty(_ count: Int, _ path: @autoclosure () -> String) {
        if count == 0 { refuse(path(), "needs at least one entry") }
    }

    /// Refuses a number outside a range; nil is well.
    mutating func inRange(
        _ value: Int?, _ range: ClosedRange<Int>, _ path: @autoclosure () -> String
    ) {
        if let value, !range.contains(value) {
            refuse(path(), "\(value) is not within \(range.lowerBound) to \(range.upperBound)")
        }
    }

    /// Refuses a port outside 1 to 65535; nil is well.
    mutating func port(_ value: Int?, _ path: @autoclosure () -> String) {
        inRange(value, 1...65_535, path())
    }

    /// Refuses the second of two entries with one name.
    mutating func unique(
        _ names: some Sequence<String>, _ path: (Int) -> String, _ noun: String
    ) {
        var seen: Set<String> = []
        for (index, name) in names.enumerated() where !seen.insert(name).inserted {
            refuse(path(index), "\"\(name)\" is already the name of another \(noun)")
        }
    }

    // MARK: - Texts

    /// Refuses what is no hostname.
    mutating func hostname(_ text: String?, _ path: @autoclosure () -> String) {
        guard let text, !Patterns.isHostname(text) else { return }
        if Patterns.isHostname(text.lowercased()) {
            refuse(path(), "\"\(text)\" must be in small letters: \"\(text.lowercased())\"")
        } else if text.contains(":") {
            refuse(path(), "\"\(text)\" must be a name without a port")
        } else if text.contains("*") {
            refuse(
                path(),
                "\"\(text)\": \"*\" may only be the whole first label, "
                    + "as in \"*.example.com\"")
        } else {
            refuse(path(), "\"\(text)\" is not a hostname")
        }
    }

    /// Refuses what is no hostname, and wildcards.
    mutating func preciseHostname(_ text: String?, _ path: @autoclosure () -> String) {
        guard let text else { return }
        if text.hasPrefix("*.") {
            refuse(path(), "\"\(text)\" must be one name, not a wildcard")
        } else {
            hostname(text, path())
        }
    }

    /// Refuses what is no name of a listener, rule or port.
    mutating func sectionName(_ text: String?, _ path: @autoclosure () -> String) {
        guard let text, !Patterns.isSubdomain(text) else { return }
        refuse(
            path(),
            "\"\(text)\" is not a name: small letters, digits, \"-\" and \".\" "
                + "are allowed")
    }

    /// Refuses what cannot be the name of an object.
    mutating func objectName(_ text: String, _ path: @autoclosure () -> String) {
        require((1...253).contains(text.utf8.count), path(), "must have 1 to 253 characters")
    }

    /// Refuses what is no namespace.
    mutating func namespace(_ text: String?, _ path: @autoclosure () -> String) {
        guard let text, !Patterns.isLabel(text) else { return }
        refuse(path(), "\"\(text)\" is not the name of a namespace")
    }

    /// Refuses what cannot be a group and a kind.
    mutating func groupKind(
        _ group: String?, _ kind: String?, _ path: @autoclosure () -> String
    ) {
        if let group, !Patterns.isGroup(group) {
            let hint = group.contains("/") ? "; leave out the version" : ""
            refuse(path() + ".group", "\"\(group)\" is not an API group\(hint)")
        }
        if let kind, !Patterns.isKind(kind) {
            refuse(path() + ".kind", "\"\(kind)\" is not a kind")
        }
    }

    /// Refuses what is no duration, and returns it when it is one.
    @discardableResult
    mutating func duration(
        _ text: String?, _ path: @autoclosure () -> String
    ) -> GatewayDuration? {
        guard let text else { return nil }
        if let duration = GatewayDuration(text) { return duration }
        refuse(path(), "\"\(text)\" is not a duration; write it as 30s, 500ms or 1h30m")
        return nil
    }

    /// Refuses what cannot be a field's name.
    mutating func headerName(_ text: String, _ path: @autoclosure () -> String) {
        guard !Patterns.isHeaderName(text) else { return }
        let hint = text.hasSuffix(":") ? "; leave out the colon" : ""
        refuse(path(), "\"\(text)\" is not a name of a header\(hint)")
    }
}
