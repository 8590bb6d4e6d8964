/// What `ai-gateway status` does: asks a running gateway's admin port for its objects.
public struct StatusRequest: Sendable {
    /// What to print, and where.
    public struct Answer: Equatable, Sendable {
        /// For standard output when the gateway was reached, else a sentence for standard error.
        public let text: String
        public let isReached: Bool
    }

    private let call: AdminCall
    private let isJSON: Bool

    /// - Parameters:
    ///   - admin: `http://ADDRESS:PORT`, an IP address or localhost.
    ///   - tokenFile: its first line is sent as the token.
    ///   - isJSON: print what came, and not text for people.
    public init(admin: String, tokenFile: String?, isJSON: Bool) {
        call = AdminCall(admin: admin, tokenFile: tokenFile)
        self.isJSON = isJSON
    }

    /// Asks and waits; at most about 25 seconds.
    public func run() -> Answer {
        do throws(AdminCall.Refused) {
            let content = try call.get("/status")
            if isJSON {
                return Answer(text: String(decoding: content, as: UTF8.self), isReached: true)
            }
            guard let document = try? StatusDocument(json: content) else {
                return Answer(
                    text:
                        "\(call.admin) did not answer with a status; is it ai-gateway's admin port?",
                    isReached: false)
            }
            return Answer(text: Self.text(document), isReached: true)
        } catch {
            return Answer(text: error.description, isReached: false)
        }
    }

    /// Problems, then objects, as `check` prints them.
    static func text(_ document: StatusDocument) -> String {
        let problems = (document.problems ?? []).map { $0.text + "\n" }.joined()
        let objects = StatusText.text(document.objects)
        let parts = [problems, objects].filter { !$0.isEmpty }
        return parts.isEmpty ? "no objects\n" : parts.joined(separator: "\n")
    }
}

extension StatusDocument.Problem {
    /// The problem in one line, as `ConfigProblem` prints it.
    var text: String {
        var problem = ConfigProblem(
            severity == "error" ? .error : severity == "warning" ? .warning : .notice,
            fieldPath: field ?? "", reason: reason, message: message)
        if let file, let line, let column {
            problem.position = SourcePosition(file: file, line: line, column: column)
        }
        if let kind, let name {
            problem.object = ObjectReference(kind: kind, namespace: namespace, name: name)
        }
        return "\(problem)"
    }
}
