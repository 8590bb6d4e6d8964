// Proves how a problem reads in one line.
import Testing

@testable import Control

@Suite struct ConfigProblemTests {
    private static let place = SourcePosition(file: "routes/10.yaml", line: 12, column: 9)
    private static let route = ObjectReference(kind: "HTTPRoute", namespace: "ai", name: "ollama")

    @Test(arguments: [
        (
            ConfigProblem(
                at: place, object: route, fieldPath: "spec.rules[0].matches[0].path.type",
                reason: "InvalidValue",
                message: "\"Prefx\" is not a path match type; did you mean \"PathPrefix\"?"),
            "routes/10.yaml:12:9: HTTPRoute ai/ollama spec.rules[0].matches[0].path.type: "
                + "\"Prefx\" is not a path match type; did you mean \"PathPrefix\"?"
        ),
        (
            ConfigProblem(.warning, at: place, object: route, reason: "R", message: "m"),
            "routes/10.yaml:12:9: warning: HTTPRoute ai/ollama: m"
        ),
        (
            ConfigProblem(.notice, at: place, reason: "R", message: "m"),
            "routes/10.yaml:12:9: notice: m"
        ),
        (ConfigProblem(fieldPath: "spec", reason: "R", message: "m"), "spec: m"),
        (ConfigProblem(reason: "R", message: "m"), "m"),
        (
            ConfigProblem(
                object: ObjectReference(kind: "GatewayClass", namespace: nil, name: "a"),
                reason: "R", message: "m"),
            "GatewayClass a: m"
        ),
    ])
    func `a problem is one line`(_ problem: ConfigProblem, _ line: String) {
        #expect(problem.description == line)
    }

    @Test func `what a document says cannot break the line or the terminal`() {
        let problem = ConfigProblem(fieldPath: "spec[a\nb]", reason: "R", message: "\u{1B}[31m é")
        #expect(problem.description == "spec[a\\nb]: \\u{1B}[31m é")
    }

    @Test func `places are ordered by file, line and column`() {
        let places = [("b", 1, 1), ("a", 10, 1), ("a", 2, 9), ("a", 2, 1)]
            .map { SourcePosition(file: $0.0, line: $0.1, column: $0.2) }
        #expect(places.sorted().map(\.description) == ["a:2:1", "a:2:9", "a:10:1", "b:1:1"])
    }
}
