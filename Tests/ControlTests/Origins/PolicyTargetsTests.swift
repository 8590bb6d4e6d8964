// Proves what a BackendTLSPolicy that cannot be read is still known to be about, and that documents which stand as they
// stood are not read again.
import Testing

@testable import Control

@Suite struct PolicyTargetsTests {
    private static func manifest(_ text: String, keeping before: Manifest = Manifest()) -> Manifest
    {
        ManifestReader.read(Array(text.utf8), file: "a.yaml", kinds: .all, keeping: before)
    }

    private static func policy(_ spec: String, version: String = "v1") -> String {
        """
        apiVersion: gateway.networking.k8s.io/\(version)
        kind: BackendTLSPolicy
        metadata: {name: p, namespace: ai}
        spec: \(spec)
        """
    }

    struct Case: Sendable {
        let spec: String
        let targets: [String]
        var untold: [String] = []
    }

    static let cases = [
        Case(spec: "{targetRefs: [{group: \"\", kind: Service, name: a}]}", targets: ["Service a"]),
        Case(
            spec:
                "{targetRefs: [{name: a, sectionName: web}, {kind: service, name: b, sectionName: 80}]}",
            targets: ["Service a web", "Service b"]),
        Case(spec: "{targetRefs: {name: 7}}", targets: ["Service 7"]),
        Case(spec: "{targetRef: {kind: Pod, group: g, name: a}}", targets: ["Pod a"]),
        Case(
            spec: "{targetRefs: [{name: a}, {kind: Service}, b]}", targets: ["Service a"],
            untold: ["spec.targetRefs[1]", "spec.targetRefs[2]"]),
        Case(spec: "{targetRefs: []}", targets: [], untold: ["spec.targetRefs"]),
        Case(spec: "{targetRefs: a}", targets: [], untold: ["spec.targetRefs"]),
        Case(spec: "a", targets: [], untold: ["spec"]),
    ]

    @Test(arguments: cases)
    func `all that may be meant as a target is one`(row: Case) throws {
        let manifest = Self.manifest(Self.policy(row.spec))
        #expect(manifest.objects.isEmpty)
        let policy = try #require(manifest.unreadPolicies.first)
        let resource = try #require(policy.object.resource as? BackendTLSPolicy)
        #expect(
            resource.spec.targetRefs.map { ref in
                (["\(ref.kind) \(ref.name)"] + [ref.sectionName].compactMap { $0 }).joined(
                    separator: " ")
            } == row.targets)
        #expect(policy.untold.map(\.fieldPath) == row.untold)
        #expect(policy.untold.allSatisfy { $0.severity == .error && $0.position != nil })
        #expect(policy.untold.allSatisfy { $0.message.hasSuffix("in plain text") })
    }

    @Test func `a policy of an unknown version closes until a good version is there`() {
        let bad = "{targetRefs: [{group: \"\", kind: Service, name: a}]}"
        var documents = DocumentSet()
        documents.refusedPolicies = Self.manifest(Self.policy(bad, version: "v9")).unreadPolicies
        #expect(Admission.admit(documents).refusedPolicies.count == 1)
        let good =
            bad.dropLast() + ", validation: {wellKnownCACertificates: System, hostname: a.example}}"
        documents.objects = Self.manifest(Self.policy(String(good))).objects
        #expect(documents.objects.count == 1)
        #expect(Admission.admit(documents).refusedPolicies.isEmpty)
        documents.refusedPolicies[0].yields = false
        #expect(Admission.admit(documents).refusedPolicies.count == 1)
    }

    // MARK: - Documents as they stood

    private static func pod(_ name: String, _ label: String = "a") -> String {
        "apiVersion: v1\nkind: Pod\nmetadata: {name: \(name), labels: {app: \(label)}}\n"
    }

    @Test func `of a changed file the documents that changed or moved are read again`() {
        let before = Self.manifest(
            [Self.pod("x"), Self.pod("y"), Self.pod("z")].joined(separator: "---\n"))
        #expect(before.objects.map(\.name) == ["x", "y", "z"] && before.parts.count == 3)
        let text = [Self.pod("x"), Self.pod("y", "b") + "\n\n", Self.pod("z"), "kind: Pod\n"]
            .joined(separator: "---\n")
        let kept = Self.manifest(text, keeping: before)
        let anew = Self.manifest(text)
        #expect(kept.objects.map(\.digest) == anew.objects.map(\.digest))
        #expect(kept.objects.map(\.position) == anew.objects.map(\.position))
        #expect(
            kept.objects.map { $0.position(of: "metadata.name") }
                == anew.objects.map { $0.position(of: "metadata.name") })
        #expect(kept.problems == anew.problems && kept.problems.count == 1)
        #expect(kept.parts.map(\.firstLine) == anew.parts.map(\.firstLine))
        let again = Self.manifest(text, keeping: kept)
        #expect(
            again.problems == anew.problems
                && again.objects.map(\.position) == anew.objects.map(\.position))
    }

    @Test func `a document with a mistake is told of as long as it is there`() {
        let text = Self.pod("x") + "---\n" + Self.policy("{targetRefs: []}") + "\n"
        let first = Self.manifest(text)
        let second = Self.manifest(text + "---\n" + Self.pod("y"), keeping: first)
        #expect(first.problems == second.problems && !first.problems.isEmpty)
        #expect(second.unreadPolicies.count == 1 && second.refused == first.refused)
        #expect(second.objects.map(\.name) == ["x", "y"])
        #expect(Self.manifest(Self.pod("x"), keeping: second).unreadPolicies.isEmpty)
    }
}
