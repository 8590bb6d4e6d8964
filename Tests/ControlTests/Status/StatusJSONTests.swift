// Proves the forms of `/status`, `/config` and of the report that `check` prints.
import Foundation
import Testing

@testable import Control

@Suite struct StatusJSONTests {
    private static let text = """
        apiVersion: gateway.networking.k8s.io/v1
        kind: Gateway
        metadata: {name: gw, namespace: ai, generation: 4}
        spec: {gatewayClassName: x, listeners: [{name: http, port: 80, protocol: HTTP}]}
        ---
        apiVersion: gateway.networking.k8s.io/v1
        kind: HTTPRoute
        metadata: {name: a, namespace: ai}
        spec: {parentRefs: [{name: gw}], rules: [{backendRefs: [{name: wbe, port: 80}]}]}
        ---
        apiVersion: v1
        kind: Service
        metadata: {name: web, namespace: ai}
        spec: {ports: [{port: 80}], clusterIP: 10.0.0.1}
        ---
        apiVersion: v1
        kind: Secret
        metadata:
          name: key
          namespace: ai
          annotations: {kubectl.kubernetes.io/last-applied-configuration: "{password: hunter2}", kept: "yes"}
        data: {password: aHVudGVyMg==, same: aHVudGVyMg==, other: b3RoZXI=}
        """

    @Test func `the status of an object has the API's form`() throws {
        let documents = Documents.admitted(Self.text)
        let report = status(documents, observations: Observations(now: 0))
        let bytes = StatusDocument(objects: report.objects).json
        let root = try #require(
            JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any])
        #expect(Array(root.keys) == ["objects"])
        let objects = try #require(root["objects"] as? [[String: Any]])
        #expect(objects.map { $0["kind"] as? String } == ["Gateway", "HTTPRoute"])
        let metadata = try #require(objects[0]["metadata"] as? [String: Any])
        #expect(metadata["name"] as? String == "gw" && metadata["generation"] as? Int == 4)
        let parents = (objects[1]["status"] as? [String: Any])?["parents"] as? [[String: Any]]
        let parent = try #require(parents?.first)
        #expect(parent["controllerName"] as? String == GatewayClass.ownController)
        let ref = try #require(parent["parentRef"] as? [String: String])
        #expect(
            ref == [
                "group": Groups.gateway, "kind": "Gateway", "namespace": "ai", "name": "gw",
            ])
        let conditions = try #require(parent["conditions"] as? [[String: Any]])
        #expect(conditions[1]["status"] as? String == "False")
        #expect(conditions[1]["lastTransitionTime"] as? String == "1970-01-01T00:00:00Z")
    }

    @Test func `a status is read back as it was written, and written alike each time`() throws {
        let documents = Documents.admitted(Self.text)
        let observations = Documents.served(documents)
        let report = status(documents, observations: observations)
        let bytes = StatusDocument(objects: report.objects).json
        let read = try StatusDocument(json: bytes)
        #expect(read.objects == report.objects)
        #expect(read.json == bytes)
        #expect(
            StatusDocument(objects: status(documents, observations: observations).objects).json
                == bytes)
        #expect(StatusText.text(read.objects) == StatusText.text(report.objects))
    }

    @Test func `the running documents show digests in the place of secrets`() throws {
        let bytes = ConfigJSON.json(Documents.admitted(Self.text))
        let text = String(decoding: bytes, as: UTF8.self)
        #expect(!text.contains("hunter2") && !text.contains("aHVudGVyMg"))
        let root = try #require(
            JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any])
        #expect(root["kind"] as? String == "List")
        let items = try #require(root["items"] as? [[String: Any]])
        let secret = try #require(items.first { $0["kind"] as? String == "Secret" })
        let data = try #require(secret["data"] as? [String: String])
        // The first digits of the SHA-256 of "hunter2".
        #expect(data["password"] == "sha256:f52fbd32")
        #expect(data["same"] == data["password"] && data["other"] != data["password"])
        let annotations = (secret["metadata"] as? [String: Any])?["annotations"]
        #expect(annotations as? [String: String] == ["kept": "yes"])
    }

    @Test func `the running documents can be read again`() throws {
        let documents = Documents.admitted(Self.text)
        let bytes = ConfigJSON.json(documents)
        let manifest = ManifestReader.read(bytes, file: "config.json", kinds: .all)
        let errors = manifest.problems.filter {
            $0.severity == .error && $0.object?.kind != "Secret"
        }
        #expect(errors.map(\.description) == [])
        #expect(
            Set(manifest.objects.map(\.key)).isSuperset(
                of: documents.objects.filter { $0.kind != "Secret" }.map(\.key)))
    }

    @Test func `a check prints problems, objects and parameters`() {
        let documents = Documents.admitted(Self.text)
        let report = CheckReport(documents, status(documents))
        #expect(!report.isClean)
        let lines = report.text.split(separator: "\n", omittingEmptySubsequences: false)
        let problem =
            "test.yaml:9:57: HTTPRoute ai/a spec.rules[0].backendRefs[0]: "
            + "Service ai/wbe does not exist; did you mean \"web\"?"
        #expect(lines.first.map(String.init) == problem)
        #expect(lines.contains("Gateway ai/gw"))
        #expect(lines.contains("Parameters of Gateway ai/gw"))
        #expect(lines.contains { $0.hasPrefix("  timeouts.firstByte") && $0.hasSuffix("  1m") })
        #expect(lines.dropLast().last == "2 objects, not all accepted, 1 problem")
        let json = String(decoding: report.json, as: UTF8.self)
        #expect(
            json.contains("\"problems\":[{\"column\":57,\"field\":\"spec.rules[0].backendRefs[0]\"")
        )
    }

    @Test func `a check of good documents is clean`() {
        let documents = Documents.admitted(Self.text.replacing("wbe", with: "web"))
        let report = CheckReport(documents, status(documents))
        #expect(report.isClean)
        #expect(report.text.hasSuffix("2 objects, all accepted\n"))
    }
}
