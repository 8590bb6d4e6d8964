// The kinds that the tests of this folder read, so that they do not depend on the program's own.
import Foundation

@testable import Control

enum SampleMatchType: String, Decodable, CaseIterable, Sendable {
    case exact = "Exact"
    case pathPrefix = "PathPrefix"
    case regularExpression = "RegularExpression"
}

struct SamplePathMatch: Decodable, Sendable {
    var type: SampleMatchType?
    var value: String?
}

struct SampleMatch: Decodable, Sendable {
    var path: SamplePathMatch?
    var headers: [SampleHeader]?
}

struct SampleHeader: Decodable, Sendable {
    var name: String
    var value: String
}

struct SampleBackendRef: Decodable, Sendable {
    var name: String
    var port: UInt16?
    var weight: Int?
}

struct SampleRule: Decodable, Sendable {
    var name: String?
    var matches: [SampleMatch]?
    var backendRefs: [SampleBackendRef]?
    var sticky: Bool?
    var ratio: Double?
}

struct SampleRoute: Resource {
    static let kind = "HTTPRoute"
    static let groups = [APIGroup("gateway.networking.k8s.io", "v1", "v1beta1")]

    struct Spec: Decodable, Sendable {
        var hostnames: [String]?
        var rules: [SampleRule]?
        var options: [String: String]?
    }

    var metadata: ObjectMeta
    var spec: Spec
}

struct SampleClass: Resource {
    static let kind = "GatewayClass"
    static let groups = [APIGroup("gateway.networking.k8s.io", "v1")]
    static let isNamespaced = false

    struct Spec: Decodable, Sendable {
        var controllerName: String
    }

    var metadata: ObjectMeta
    var spec: Spec
}

struct SamplePod: Resource {
    static let kind = "Pod"
    static let groups = [APIGroup("", "v1")]

    struct Spec: Decodable, Sendable, PartlyDeclared {
        var containers: [Container]?
    }
    struct Container: Decodable, Sendable {
        var name: String
    }
    struct Status: Decodable, Sendable {
        var podIP: String?
        var conditions: [Condition]?
    }
    struct Condition: Decodable, Sendable {
        var type: String
        var status: String
    }

    var metadata: ObjectMeta
    var spec: Spec?
    var status: Status?
}

struct SampleSecret: Resource {
    static let kind = "Secret"
    static let groups = [APIGroup("", "v1")]

    var metadata: ObjectMeta
    var type: String?
    var data: [String: Data]?
    var stringData: [String: String]?

    func text(_ key: String) -> String? {
        data?[key].map { String(decoding: $0, as: UTF8.self) }
    }
}

let sampleKinds = KindRegistry([
    SampleRoute.self, SampleClass.self, SamplePod.self, SampleSecret.self,
])

/// Reads one document text as `routes/10.yaml`, or under another name.
func readManifest(_ text: String, file: String = "routes/10.yaml") -> Manifest {
    ManifestReader.read(Array(text.utf8), file: file, kinds: sampleKinds)
}

/// A route's text around the lines of its spec, which begin on line 4.
func routeText(_ spec: String, name: String = "ollama") -> String {
    """
    apiVersion: gateway.networking.k8s.io/v1
    kind: HTTPRoute
    metadata: {name: \(name), namespace: ai}
    \(spec)
    """
}
