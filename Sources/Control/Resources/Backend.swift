import Inference

/// Servers outside the cluster, or of a home that has none.
public struct Backend: Resource, Codable {
    public static let kind = "Backend"
    public static let groups = [APIGroup(Groups.own, "v1alpha1")]

    public var metadata: ObjectMeta
    public var spec: BackendSpec
}

public struct BackendSpec: Codable, Sendable {
    public var modelServer: ModelServer?
    public var endpoints: [BackendEndpoint]
    public var `protocol`: BackendProtocol?
    public var hostHeader: String?
    public var proxyProtocol: ProxyProtocol?
    public var tls: BackendTLS?
    public var picker: PickerSpec?
}

public struct ModelServer: OpenEnum {
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
    public static let ollama = Self(rawValue: "ollama")
    public static let none = Self(rawValue: "none")
    public static let known =
        [ollama]
        + ["vllm", "sglang", "llama.cpp", "trtllm", "triton", "nim", "openai"]
        .map(Self.init(rawValue:)) + [none]

    /// What picks and asks it; `.none` for what is not known.
    var engine: EngineKind {
        switch rawValue {
        case "ollama": .ollama
        case "vllm": .vllm
        case "sglang": .sglang
        case "llama.cpp": .llamaCpp
        case "trtllm": .trtllm
        case "triton": .triton
        case "nim": .nim
        case "openai": .openai
        default: .none
        }
    }
}

/// One server: an IP address or a DNS name.
public struct BackendEndpoint: Codable, Hashable, Sendable {
    public var address: String
    public var port: Int
    /// 0 is used first; a higher number only while none of a lower one is usable.
    public var priority: Int?
    /// Memory for models, a quantity such as `12Gi`.
    public var vram: String?
}

public struct BackendProtocol: OpenEnum {
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
    public static let http = Self(rawValue: "HTTP")
    public static let h2c = Self(rawValue: "H2C")
    public static let https = Self(rawValue: "HTTPS")
    public static let http2 = Self(rawValue: "HTTP2")
    public static let known = [http, h2c, https, http2]

    public var isTLS: Bool { self == .https || self == .http2 }
}

public struct ProxyProtocol: OpenEnum {
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
    public static let none = Self(rawValue: "None")
    public static let v1 = Self(rawValue: "V1")
    public static let v2 = Self(rawValue: "V2")
    /// For `GatewayParameters` only.
    public static let accept = Self(rawValue: "Accept")
    public static let known = [none, v1, v2, accept]
    static let ofBackends = [none, v1, v2]
    static let ofGateways = [none, accept]
}

public struct BackendTLS: Codable, Sendable {
    /// The name to ask for and to verify; the endpoint's own when absent.
    public var hostname: String?
    /// Verified against the system's CAs when none are named.
    public var caCertificateRefs: [CACertificateReference]?
}

/// A ConfigMap or Secret of the same namespace with CA certificates under `ca.crt`.
public struct CACertificateReference: Codable, Hashable, Sendable {
    public var group: String?
    public var kind: String?
    public var name: String
}
