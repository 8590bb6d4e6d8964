// Proves how kinds are found and objects ordered by age.
import Testing

@testable import Control

@Suite struct LocatedTests {
    @Test func `a kind is found by group, version and name`() {
        func match(_ group: String, _ version: String, _ kind: String) -> String {
            switch sampleKinds.match(group: group, version: version, kind: kind) {
            case .type(let type): "\(type)"
            case .unknownVersion(let versions): versions.joined(separator: ",")
            case .unknown: "unknown"
            }
        }
        #expect(match("gateway.networking.k8s.io", "v1beta1", "HTTPRoute") == "SampleRoute")
        #expect(match("gateway.networking.k8s.io", "v2", "HTTPRoute") == "v1,v1beta1")
        #expect(match("", "v1", "HTTPRoute") == "unknown")
        #expect(match("", "v1", "Pod") == "SamplePod")
    }

    @Test func `the kind that was meant is named`() {
        let group = "gateway.networking.k8s.io"
        #expect(sampleKinds.nearestKind(to: "HttpRoute", group: group) == "HTTPRoute")
        #expect(
            sampleKinds.nearestKind(to: "HTTPRoute", group: "gateway.networking.k8s.oi")
                == "HTTPRoute of gateway.networking.k8s.io")
        #expect(sampleKinds.nearestKind(to: "Deployment", group: "apps") == nil)
        #expect(sampleKinds.nearestKind(to: "Gateway", group: "networking.istio.io") == nil)
    }

    @Test func `older objects come first, undated ones last, then namespace and name`() {
        let texts = [
            ("c", "creationTimestamp: 2026-01-02T00:00:00Z"), ("b", "namespace: z"),
            ("d", "creationTimestamp: 2026-01-01T00:00:00Z"), ("e", "namespace: a"),
            ("a", "namespace: z"), ("f", "creationTimestamp: 2026-01-01T01:00:00+01:00"),
        ]
        let objects = texts.flatMap { name, more in
            readManifest("apiVersion: v1\nkind: Pod\nmetadata: {name: \(name), \(more)}\n").objects
        }
        #expect(
            objects.sorted { $0.isOlder(than: $1) }.map(\.name) == ["d", "f", "c", "e", "a", "b"])
    }

    @Test func `a problem of an object stands at the field`() {
        let manifest = readManifest(routeText("spec:\n  hostnames: [a]\n"))
        let problem = manifest.objects[0].problem(
            at: "spec.hostnames[0]", reason: "Invalid", "\"a\" is too short")
        #expect(
            problem.description
                == "routes/10.yaml:5:15: HTTPRoute ai/ollama spec.hostnames[0]: \"a\" is too short")
    }
}
