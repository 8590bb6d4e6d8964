// Proves what the origin keeps, drops and tells while files change under it.
import Foundation
import Testing

@testable import Control

/// The origin in a box: the expectation macros copy what they are given.
private final class Origin {
    private var folder: ManifestFolder

    init(paths: [String], kinds: KindRegistry, isWatching: Bool = true) {
        folder = ManifestFolder(paths: paths, kinds: kinds, isWatching: isWatching)
    }

    var descriptor: Int32 { folder.descriptor }
    func poll(now: UInt64) -> DocumentSet? { folder.poll(now: now) }
    func requestScan() { folder.requestScan() }
    func delayMilliseconds(now: UInt64) -> Int32 { folder.delayMilliseconds(now: now) }
}

@Suite struct ManifestFolderTests {
    private static let start: UInt64 = 1_000_000

    private func pod(_ name: String, _ more: String = "") -> String {
        "apiVersion: v1\nkind: Pod\nmetadata: {name: \(name)}\n\(more)"
    }

    private func lines(_ set: DocumentSet?, _ folder: TemporaryFolder) -> [String]? {
        set?.problems.map { $0.description.replacing(folder.path + "/", with: "") }
    }

    @Test func `all documents come with the first poll, sorted, and then only changes`() throws {
        let folder = try TemporaryFolder()
        try folder.write("b.yaml", pod("z") + "---\n" + pod("a"))
        try folder.write("a.yaml", routeText("spec: {}"))
        let origin = Origin(paths: [folder.path], kinds: sampleKinds)
        #expect(origin.delayMilliseconds(now: Self.start) == 0)
        let set = try #require(origin.poll(now: Self.start))
        #expect(
            set.objects.map(\.reference.description)
                == ["HTTPRoute ai/ollama", "Pod default/a", "Pod default/z"])
        #expect(set.problems.isEmpty)
        #expect(set.unreadPaths.isEmpty)
        #expect(origin.poll(now: Self.start + 1) == nil)
        #expect(origin.poll(now: Self.start + 60_000) == nil)
        origin.requestScan()
        #expect(origin.delayMilliseconds(now: Self.start + 60_000) == 0)
        #expect(origin.poll(now: Self.start + 60_000) == nil)
    }

    @Test func `a change is noticed, and read when it has been quiet for a while`() throws {
        let folder = try TemporaryFolder()
        try folder.write("a.yaml", pod("a"), ageSeconds: 60)
        let origin = Origin(paths: [folder.path], kinds: sampleKinds)
        _ = origin.poll(now: Self.start)
        #expect(origin.delayMilliseconds(now: Self.start) == 30_000)
        #expect(origin.descriptor >= 0)

        try folder.write("b.yaml", pod("b"), ageSeconds: 60)
        #expect(origin.poll(now: Self.start + 1_000) == nil)
        #expect(origin.delayMilliseconds(now: Self.start + 1_000) == 100)
        try folder.write("c.yaml", pod("c"), ageSeconds: 60)
        #expect(origin.poll(now: Self.start + 1_090) == nil)
        #expect(origin.delayMilliseconds(now: Self.start + 1_090) == 100)
        let set = origin.poll(now: Self.start + 1_190)
        #expect(set?.objects.map(\.name) == ["a", "b", "c"])
    }

    @Test func `a stream of changes cannot put off reading for more than a second`() throws {
        let folder = try TemporaryFolder()
        try folder.write("a.yaml", pod("a"), ageSeconds: 60)
        let origin = Origin(paths: [folder.path], kinds: sampleKinds)
        _ = origin.poll(now: Self.start)
        for step in 0..<20 {
            try folder.write("b.yaml", pod("b\(step)"), ageSeconds: 60)
            let set = origin.poll(now: Self.start + 1_000 + UInt64(step) * 50)
            #expect(set == nil)
        }
        try folder.write("b.yaml", pod("last"), ageSeconds: 60)
        let set = origin.poll(now: Self.start + 2_000)
        #expect(set?.objects.map(\.name) == ["a", "last"])
    }

    @Test func `what nobody tells of is found by looking every thirty seconds`() throws {
        let folder = try TemporaryFolder()
        try folder.write("a.yaml", pod("a"), ageSeconds: 60)
        let origin = Origin(paths: [folder.path], kinds: sampleKinds, isWatching: false)
        #expect(origin.descriptor == -1)
        _ = origin.poll(now: Self.start)
        try folder.write("a.yaml", pod("b"), ageSeconds: 30)
        #expect(origin.poll(now: Self.start + 29_999) == nil)
        #expect(origin.poll(now: Self.start + 30_000)?.objects.map(\.name) == ["b"])
        try folder.write("a.yaml", pod("c"), ageSeconds: 20)
        origin.requestScan()
        #expect(origin.poll(now: Self.start + 30_001)?.objects.map(\.name) == ["c"])
    }

    @Test func `a file that changes within the same moment and size is read again`() throws {
        let folder = try TemporaryFolder()
        try folder.write("a.yaml", pod("a"))
        let origin = Origin(paths: [folder.path], kinds: sampleKinds, isWatching: false)
        _ = origin.poll(now: Self.start)
        let time = try FileManager.default.attributesOfItem(atPath: folder.path("a.yaml"))
        try folder.write("a.yaml", pod("b"))
        try FileManager.default.setAttributes(
            [.modificationDate: try #require(time[.modificationDate])],
            ofItemAtPath: folder.path("a.yaml"))
        #expect(origin.poll(now: Self.start + 30_000)?.objects.map(\.name) == ["b"])
    }

    @Test func `a mounted ConfigMap is followed when its link is swapped`() throws {
        let folder = try TemporaryFolder()
        try folder.makeFolder("..one")
        try folder.write("..one/a.yaml", pod("a"), ageSeconds: 60)
        try folder.link("..data", to: "..one")
        try folder.link("a.yaml", to: "..data/a.yaml")
        let origin = Origin(paths: [folder.path], kinds: sampleKinds)
        #expect(origin.poll(now: Self.start)?.objects.map(\.name) == ["a"])
        for (step, name) in ["b", "c", "d"].enumerated() {
            try folder.makeFolder("..\(name)")
            try folder.write("..\(name)/a.yaml", pod(name), ageSeconds: 60)
            try folder.link("..data_tmp", to: "..\(name)")
            try folder.rename("..data_tmp", to: "..data")
            let now = Self.start + UInt64(step + 1) * 1_000
            #expect(origin.poll(now: now) == nil)
            let set = origin.poll(now: now + 100)
            #expect(set?.objects.map(\.name) == [name])
            #expect(set?.problems.isEmpty == true)
        }
    }

    @Test func `a file with a syntax error keeps its last good objects, others go on`() throws {
        let folder = try TemporaryFolder()
        try folder.write("a.yaml", pod("a") + "---\n" + pod("b"), ageSeconds: 60)
        try folder.write("c.yaml", pod("c"), ageSeconds: 60)
        let origin = Origin(paths: [folder.path], kinds: sampleKinds)
        _ = origin.poll(now: Self.start)
        try folder.write("a.yaml", pod("x") + "---\na: [\n", ageSeconds: 50)
        try folder.write("c.yaml", pod("d"), ageSeconds: 50)
        _ = origin.poll(now: Self.start + 1_000)
        let set = try #require(origin.poll(now: Self.start + 1_100))
        #expect(set.objects.map(\.name) == ["a", "b", "d"])
        #expect(set.unreadPaths == [folder.path("a.yaml")])
        #expect(
            lines(set, folder) == [
                "a.yaml:6:1: not YAML: did not find expected node content "
                    + "(while parsing a flow node that begins on line 6)",
                "a.yaml:6:1: notice: the 2 objects last read from a.yaml stay in force",
            ])
        try folder.write("a.yaml", pod("e"), ageSeconds: 40)
        _ = origin.poll(now: Self.start + 2_000)
        let healed = try #require(origin.poll(now: Self.start + 2_100))
        #expect(healed.objects.map(\.name) == ["d", "e"])
        #expect(healed.problems.isEmpty)
    }

    @Test func `at the start a syntax error and a missing path are told as unread`() throws {
        let folder = try TemporaryFolder()
        try folder.write("a.yaml", "a: [")
        let origin = Origin(
            paths: [folder.path, folder.path("none")], kinds: sampleKinds, isWatching: false)
        let set = try #require(origin.poll(now: Self.start))
        #expect(set.unreadPaths == [folder.path("none"), folder.path("a.yaml")])
        #expect(lines(set, folder)?.first == "none cannot be read: no such file or folder")
        #expect(set.objects.isEmpty)
    }

    @Test func `a refused object keeps its last good form, wherever it stood`() throws {
        let folder = try TemporaryFolder()
        let good = routeText("spec: {hostnames: [a]}")
        try folder.write("a.yaml", good + "\n---\n" + pod("p"), ageSeconds: 60)
        let origin = Origin(paths: [folder.path], kinds: sampleKinds, isWatching: false)
        _ = origin.poll(now: Self.start)
        try folder.write("a.yaml", pod("p"), ageSeconds: 50)
        try folder.write("b.yaml", routeText("spec: {hostname: [a]}"), ageSeconds: 50)
        let set = try #require(origin.poll(now: Self.start + 30_000))
        #expect(set.objects.map(\.name) == ["ollama", "p"])
        #expect((set.objects[0].resource as? SampleRoute)?.spec.hostnames == ["a"])
        #expect(set.unreadPaths.isEmpty)
        #expect(
            lines(set, folder) == [
                "a.yaml:1:1: notice: HTTPRoute ai/ollama: "
                    + "the object as it was last read here stays in force",
                "b.yaml:4:8: HTTPRoute ai/ollama spec.hostname: "
                    + "unknown field; did you mean \"hostnames\"?",
            ])
        try folder.remove("b.yaml")
        #expect(origin.poll(now: Self.start + 60_000)?.objects.map(\.name) == ["p"])
    }

    @Test func `the same object twice is told with both places, and the first stays`() throws {
        let folder = try TemporaryFolder()
        let text = routeText("spec: {hostnames: [b]}").replacing("io/v1", with: "io/v1beta1")
        try folder.write("b.yaml", text)
        try folder.write("a.yaml", "# first\n" + routeText("spec: {hostnames: [a]}"))
        let origin = Origin(paths: [folder.path], kinds: sampleKinds, isWatching: false)
        let set = origin.poll(now: Self.start)
        #expect((set?.objects.first?.resource as? SampleRoute)?.spec.hostnames == ["a"])
        #expect(set?.objects.count == 1)
        #expect(
            lines(set, folder)
                == [
                    "b.yaml:1:1: HTTPRoute ai/ollama: already declared at a.yaml:2:1; "
                        + "this one is ignored"
                ])
    }

    @Test func `a file that is gone takes its objects along, a whole path that is gone does not`()
        throws
    {
        let folder = try TemporaryFolder()
        try folder.makeFolder("x")
        try folder.write("x/a.yaml", pod("a"), ageSeconds: 60)
        try folder.write("x/b.yaml", pod("b"), ageSeconds: 60)
        let origin = Origin(paths: [folder.path("x")], kinds: sampleKinds, isWatching: false)
        _ = origin.poll(now: Self.start)
        try folder.remove("x/a.yaml")
        #expect(origin.poll(now: Self.start + 30_000)?.objects.map(\.name) == ["b"])
        try folder.remove("x")
        let set = origin.poll(now: Self.start + 60_000)
        #expect(set?.objects.map(\.name) == ["b"])
        #expect(lines(set, folder) == ["x cannot be read: no such file or folder"])
        try folder.makeFolder("x")
        let empty = origin.poll(now: Self.start + 90_000)
        #expect(empty?.objects.isEmpty == true)
        #expect(empty?.problems.isEmpty == true)
    }

    @Test func `the generation counts changes of what is declared`() throws {
        let folder = try TemporaryFolder()
        let origin = Origin(paths: [folder.path], kinds: sampleKinds, isWatching: false)
        var now = Self.start
        func generation(_ text: String, _ age: Double) throws -> Int? {
            try folder.write("a.yaml", text, ageSeconds: age)
            defer { now += 30_000 }
            return origin.poll(now: now)?.objects.first?.generation
        }
        #expect(try generation(routeText("spec: {hostnames: [a]}"), 90) == 1)
        #expect(try generation(routeText("spec: {hostnames: [b]}"), 80) == 2)
        #expect(try generation(routeText("# why\nspec: {hostnames: ['b']}\nstatus: {}"), 70) == 2)
        #expect(try generation(routeText("spec: {hostnames: [a]}"), 60) == 3)
        let given = routeText("spec: {}").replacing(
            "name: ollama", with: "name: ollama, generation: 12")
        #expect(try generation(given, 50) == 12)
    }

    @Test func `a kind that is not read is told once, with the kind that was meant`() throws {
        let folder = try TemporaryFolder()
        func text(_ version: String, _ kind: String) -> String {
            "apiVersion: \(version)\nkind: \(kind)\nmetadata: {name: a}\n---\n"
        }
        try folder.write("a.yaml", text("apps/v1", "Deployment") + text("apps/v1", "Deployment"))
        try folder.write(
            "b.yaml",
            text("apps/v1", "Deployment") + text("gateway.networking.k8s.io/v1", "HttpRoute"))
        let origin = Origin(paths: [folder.path], kinds: sampleKinds, isWatching: false)
        #expect(
            lines(origin.poll(now: Self.start), folder) == [
                "a.yaml:1:1: notice: Deployment of apps/v1 is not a kind that ai-gateway reads; "
                    + "ignored (3 documents)",
                "b.yaml:5:1: warning: HttpRoute of gateway.networking.k8s.io/v1 is not a kind that "
                    + "ai-gateway reads; ignored; did you mean HTTPRoute?",
            ])
    }

    @Test func `files named by a Secret are watched and read again`() throws {
        let folder = try TemporaryFolder()
        try folder.makeFolder("docs")
        try folder.makeFolder("certs")
        try folder.write("certs/key.pem", "one", ageSeconds: 60)
        try folder.write(
            "docs/a.yaml",
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: a\n  annotations:\n"
                + "    ai-gateway.dev/key-file: ../certs/key.pem\n", ageSeconds: 60)
        let origin = Origin(paths: [folder.path("docs")], kinds: sampleKinds)
        func key(_ set: DocumentSet?) -> String? {
            (set?.objects.first?.resource as? SampleSecret)?.text("tls.key")
        }
        #expect(key(origin.poll(now: Self.start)) == "one")
        try folder.write("certs/key.pem", "two", ageSeconds: 50)
        #expect(origin.poll(now: Self.start + 1_000) == nil)
        let changed = origin.poll(now: Self.start + 1_100)
        #expect(key(changed) == "two")
        #expect(changed?.objects.first?.generation == 2)
        try folder.remove("certs/key.pem")
        _ = origin.poll(now: Self.start + 2_000)
        let missing = origin.poll(now: Self.start + 2_100)
        #expect(key(missing) == "two")
        #expect(missing?.problems.count == 2)
        try folder.write("certs/key.pem", "three", ageSeconds: 40)
        _ = origin.poll(now: Self.start + 3_000)
        #expect(key(origin.poll(now: Self.start + 3_100)) == "three")
    }

    @Test func `a named file that changes within the same moment and size is read again`() throws {
        let folder = try TemporaryFolder()
        try folder.write("key.pem", "one")
        try folder.write(
            "a.yaml",
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: a\n  annotations:\n"
                + "    ai-gateway.dev/key-file: key.pem\n", ageSeconds: 60)
        let origin = Origin(paths: [folder.path], kinds: sampleKinds, isWatching: false)
        _ = origin.poll(now: Self.start)
        let time = try FileManager.default.attributesOfItem(atPath: folder.path("key.pem"))
        try folder.write("key.pem", "two")
        try FileManager.default.setAttributes(
            [.modificationDate: try #require(time[.modificationDate])],
            ofItemAtPath: folder.path("key.pem"))
        let set = origin.poll(now: Self.start + 30_000)
        #expect((set?.objects.first?.resource as? SampleSecret)?.text("tls.key") == "two")
        #expect(origin.poll(now: Self.start + 60_000) == nil)
    }

    @Test func `a stream is read once and kept`() throws {
        let origin = Origin(paths: ["/dev/null"], kinds: sampleKinds, isWatching: false)
        #expect(origin.poll(now: Self.start)?.objects.isEmpty == true)
        origin.requestScan()
        #expect(origin.poll(now: Self.start + 1) == nil)
    }

    @Test func `ten thousand documents are read`() throws {
        let folder = try TemporaryFolder()
        let text = (0..<10_000).map { pod("p\($0)") }.joined(separator: "---\n")
        try folder.write("a.yaml", text)
        let origin = Origin(paths: [folder.path], kinds: sampleKinds, isWatching: false)
        #expect(origin.poll(now: Self.start)?.objects.count == 10_000)
    }
}
