import Inference
import Kernel
import Runtime

/// Finds the endpoints of InferencePools and who picks among them.
struct PoolResolver {
    /// Who picks.
    enum Picker {
        case builtIn
        /// A Service, as a cluster of its own.
        case external(ClusterBlueprint, opensOnFailure: Bool)
        /// The reference leads to nothing that can be asked.
        case unresolved(Finding, opensOnFailure: Bool)
    }

    let index: DocumentIndex

    // MARK: - Endpoints

    /// The ready Pods' addresses with each of the pool's ports, in a stable order.
    func endpoints(of pool: Entry<InferencePool>) -> [ClusterBlueprint.Endpoint] {
        let spec = pool.resource.spec
        var seen: Set<SocketAddress> = []
        var endpoints: [ClusterBlueprint.Endpoint] = []
        for pod in index.pods(in: pool.name.namespace, labelled: spec.selector.matchLabels)
        where pod.isReady {
            for number in spec.ports {
                guard let text = pod.address, let port = UInt16(exactly: number),
                    let address = SocketAddress(text, port: port), seen.insert(address).inserted
                else { continue }
                var endpoint = ClusterBlueprint.Endpoint(address)
                endpoint.engine = pod.engine
                endpoint.session = "\(pool.name.namespace)/\(pod.metadata.name)"
                endpoints.append(endpoint)
            }
        }
        return endpoints
    }

    // MARK: - Picker

    /// Follows the reference to the picker.
    func picker(of pool: Entry<InferencePool>) -> Picker {
        guard let (reference, path) = pool.resource.spec.picker else { return .builtIn }
        let opensOnFailure = reference.failureMode == .open
        switch picker(reference, in: pool.name.namespace, at: path) {
        case .success(let cluster): return .external(cluster, opensOnFailure: opensOnFailure)
        case .failure(let error):
            return .unresolved(error.finding, opensOnFailure: opensOnFailure)
        }
    }

    private func picker(
        _ reference: EndpointPickerReference, in namespace: String, at path: String
    ) -> Result<ClusterBlueprint, FindingError> {
        guard reference.group ?? Groups.core == Groups.core,
            reference.effectiveKind == Service.kind
        else {
            return refuse(
                path + ".kind",
                "\(reference.effectiveKind) of group \"\(reference.group ?? "")\" cannot be asked; "
                    + "name a Service")
        }
        let name = NamespacedName(namespace, reference.name)
        guard let service = index.services[name] else {
            let hint = didYouMean(
                name.name, among: index.names(of: Service.kind, in: name.namespace))
            return refuse(path + ".name", "Service \(name) does not exist\(hint)")
        }
        if service.resource.spec.type == "ExternalName" {
            // It would lead the gateway, with all prompts, out of the cluster (GIE's API text).
            return refuse(
                path + ".name", "Service \(name) is of type ExternalName, which no picker may be")
        }
        let number = reference.effectivePort ?? 0
        let ports = service.resource.spec.ports ?? []
        guard let port = ports.first(where: { $0.port == number && $0.takes(.tcp) }) else {
            let known = ports.map { "\($0.port)" }
            return refuse(
                path + ".port",
                "Service \(name) has no port \(number); "
                    + (known.isEmpty
                        ? "it has none" : "its ports are \(sentenceList(known, "and"))"))
        }
        guard let isSealed = Self.isSealed(port) else {
            return refuse(
                path + ".port",
                "\(port.place(of: service)) has appProtocol \(port.appProtocol ?? ""); pickers "
                    + "are spoken to with kubernetes.io/h2c, http2 or grpc in the clear, or "
                    + "with https or none over TLS")
        }
        var tls: ClusterBlueprint.TLS?
        let policy = index.tlsPolicies.policy(of: name, port)
        if let policy {
            tls = policy.sealing(offering: ["h2"])
            if tls == nil { return refuse(path + ".name", policy.closing(port.place(of: service))) }
        } else if isSealed {
            tls = ClusterBlueprint.TLS(
                serverName: "\(name.name).\(name.namespace).svc", authorities: [],
                applicationProtocols: ["h2"], isUnverified: true)
        }
        let endpoints = ServiceEndpoints(index: index).endpoints(of: service, port: port)
        return .success(
            ClusterBlueprint(
                key: "Picker \(name):\(number)", name: "\(name):\(number)", endpoints: endpoints,
                protocol: tls == nil ? .h2c : .http2, transport: .tcp, proxyProtocol: .none,
                tls: tls, hostHeader: .preserve, isModelServer: false, policy: policy?.name))
    }

    /// Whether a picker's port is spoken to over TLS; nil: it speaks something else.
    ///
    /// Where the Service does not say, it is TLS: the reference picker has `--secure-serving` on
    /// by default, with a certificate that it signed itself at its start. Nobody could check that
    /// one, so none is checked unless a BackendTLSPolicy says whom to trust: the connection is
    /// private from onlookers and no more, as with the other gateways that pools are made for.
    private static func isSealed(_ port: ServicePort) -> Bool? {
        switch (port.appProtocol ?? "").lowercased() {
        case "kubernetes.io/h2c", "h2c", "http2", "grpc": false
        case "", "tcp", "https", "kubernetes.io/https": true
        default: nil
        }
    }

    private func refuse(_ path: String, _ message: String) -> Result<ClusterBlueprint, FindingError>
    {
        .failure(FindingError(Finding("InvalidExtensionRef", at: path, message)))
    }

    // MARK: - Words

    /// How endpoints are picked, for the pool's status.
    func words(on picker: Picker) -> String {
        switch picker {
        case .builtIn: "the gateway picks endpoints itself"
        case .external(let cluster, let opensOnFailure):
            "endpoints are picked by Service \(cluster.name), asked "
                + (cluster.tls == nil
                    ? "in the clear, as its appProtocol says"
                    : cluster.policy.map { "over TLS, trusted as BackendTLSPolicy \($0) says" }
                        ?? "over TLS, its certificate unverified")
                + (opensOnFailure ? "; while it fails, the gateway picks itself" : "")
        case .unresolved(_, let opensOnFailure):
            opensOnFailure
                ? "the gateway picks itself meanwhile" : "requests are answered 503 meanwhile"
        }
    }
}

extension Pod {
    /// Whether it takes requests; one from a file that says nothing of its state counts as ready.
    var isReady: Bool {
        if let phase = status?.phase, phase != "Running" { return false }
        return status?.conditions?.first { $0.type == "Ready" }?.status ?? "True" == "True"
    }

    /// What serves models in it: a label says so, with the reference scheduler's words; vLLM without.
    var engine: EngineKind {
        switch metadata.labels?["llm-d.ai/engine-type"]?.lowercased() {
        case "sglang": .sglang
        case "trtllm", "trtllm-serve", "tensorrt-llm": .trtllm
        case "triton", "triton-tensorrt-llm": .triton
        case "llama.cpp", "llamacpp", "llama-cpp": .llamaCpp
        case "ollama": .ollama
        case "nim": .nim
        case "openai": .openai
        default: .vllm
        }
    }

    /// Numeric; nil before it has one.
    var address: String? { status?.podIP ?? status?.podIPs?.first?.ip }
}
