// Proves what the API's schemas refuse, that refused objects are not used, and that an update
// which is refused keeps the version before it.
import Testing

@testable import Control

@Suite struct AdmissionTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let kind: String
        let spec: String
        let problems: [String]
        var testDescription: String { "\(kind) \(spec)" }

        init(_ kind: String, _ spec: String, _ problems: String...) {
            self.kind = kind
            self.spec = spec
            self.problems = problems
        }
    }

    private static func rule(_ rule: String) -> String { "{rules: [\(rule)]}" }

    static let routes = [
        Case(
            "HTTPRoute", "{rules: []}", "spec.rules: needs at least one entry"),
        Case(
            "HTTPRoute", "{hostnames: [\"example.com:80\"]}",
            "spec.hostnames[0]: \"example.com:80\" must be a name without a port"),
        Case(
            "HTTPRoute", "{parentRefs: [{name: gw}, {name: gw}]}",
            "spec.parentRefs[1]: is given twice"),
        Case(
            "HTTPRoute", "{parentRefs: [{name: gw}, {name: gw, sectionName: a}]}",
            "spec.parentRefs[1]: refers to the same parent as entry 0, so both need a "
                + "sectionName, or both a port"),
        Case(
            "HTTPRoute", "{parentRefs: [{name: gw, namespace: A_b, port: 0}]}",
            "spec.parentRefs[0].namespace: \"A_b\" is not the name of a namespace",
            "spec.parentRefs[0].port: 0 is not within 1 to 65535"),
        Case(
            "HTTPRoute", "{rules: [{name: a}, {name: a}]}",
            "spec.rules[1].name: \"a\" is already the name of another rule"),
        Case(
            "HTTPRoute",
            "{rules: [\(Array(repeating: "{matches: [\(Array(repeating: "{}", count: 43).joined(separator: ", "))]}", count: 3).joined(separator: ", "))]}",
            "spec.rules: have 129 matches together; at most 128 are allowed"),
        Case(
            "HTTPRoute", rule("{matches: [{path: {value: /a/../b}}]}"),
            "spec.rules[0].matches[0].path.value: \"/a/../b\" must not contain \"/../\""),
        Case(
            "HTTPRoute", rule("{matches: [{path: {value: /a/..}}]}"),
            "spec.rules[0].matches[0].path.value: \"/a/..\" must not end in \"/..\""),
        Case(
            "HTTPRoute", rule("{matches: [{path: {type: Exact, value: \"/a%2Fb\"}}]}"),
            "spec.rules[0].matches[0].path.value: \"/a%2Fb\" must not contain \"%2F\""),
        Case(
            "HTTPRoute", rule("{matches: [{path: {value: \"/a?b=c\"}}]}"),
            "spec.rules[0].matches[0].path.value: \"/a?b=c\" must be without a query; "
                + "use queryParams"),
        Case(
            "HTTPRoute", rule("{matches: [{path: {value: \"/a b\"}}]}"),
            "spec.rules[0].matches[0].path.value: \"/a b\" has characters that must be "
                + "written as %XX"),
        Case(
            "HTTPRoute", rule("{matches: [{headers: [{name: \"a:\", value: b}]}]}"),
            "spec.rules[0].matches[0].headers[0].name: \"a:\" is not a name of a header; "
                + "leave out the colon"),
        Case(
            "HTTPRoute",
            rule("{matches: [{headers: [{name: a, value: b}, {name: a, value: c}]}]}"),
            "spec.rules[0].matches[0].headers[1].name: \"a\" is already the name of another "
                + "header match"),
        Case(
            "HTTPRoute", rule("{matches: [{queryParams: [{name: a, value: \"\"}]}]}"),
            "spec.rules[0].matches[0].queryParams[0].value: must have 1 to 1024 characters"),
        Case(
            "HTTPRoute", rule("{filters: [{type: URLRewrite}]}"),
            "spec.rules[0].filters[0].urlRewrite: is required with type URLRewrite"),
        Case(
            "HTTPRoute", rule("{filters: [{type: CORS, cors: {}, urlRewrite: {}}]}"),
            "spec.rules[0].filters[0].urlRewrite: is not allowed with type CORS"),
        Case(
            "HTTPRoute",
            rule(
                "{filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replacePrefixMatch: /a}}}]}"
            ),
            "spec.rules[0].filters[0].urlRewrite.path.replaceFullPath: is required with type "
                + "ReplaceFullPath",
            "spec.rules[0].filters[0].urlRewrite.path.replacePrefixMatch: is not allowed with "
                + "type ReplaceFullPath"),
        Case(
            "HTTPRoute",
            rule("{filters: [{type: RequestRedirect, requestRedirect: {hostname: \"*.a.com\"}}]}"),
            "spec.rules[0].filters[0].requestRedirect.hostname: \"*.a.com\" must be one name, "
                + "not a wildcard"),
        Case(
            "HTTPRoute",
            rule(
                "{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: a, port: 1}, percent: 101}}]}"
            ),
            "spec.rules[0].filters[0].requestMirror.percent: 101 is not within 0 to 100"),
        Case(
            "HTTPRoute",
            rule(
                "{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: a, port: 1}, percent: 1, fraction: {numerator: 3, denominator: 2}}}]}"
            ),
            "spec.rules[0].filters[0].requestMirror: may have percent or fraction, not both",
            "spec.rules[0].filters[0].requestMirror.fraction.numerator: must be 0 to the "
                + "denominator"),
        Case(
            "HTTPRoute", rule("{timeouts: {request: 1s, backendRequest: 2s}}"),
            "spec.rules[0].timeouts.backendRequest: must not be longer than timeouts.request"),
        Case("HTTPRoute", rule("{timeouts: {request: 0s, backendRequest: 2s}}")),
        Case(
            "HTTPRoute", rule("{retry: {codes: [399], backoff: 1}}"),
            "spec.rules[0].retry.backoff: 1 is a number where text is expected; put it in "
                + "quotes: \"1\""),
        Case(
            "HTTPRoute", rule("{backendRefs: [{name: a, weight: 1000001, port: 1}]}"),
            "spec.rules[0].backendRefs[0].weight: 1000001 is not within 0 to 1000000"),
        Case(
            "HTTPRoute", rule("{backendRefs: [{name: a, group: a/v1, kind: \"b/c\", port: 1}]}"),
            "spec.rules[0].backendRefs[0].group: \"a/v1\" is not an API group; leave out the "
                + "version",
            "spec.rules[0].backendRefs[0].kind: \"b/c\" is not a kind"),
        Case(
            "HTTPRoute",
            rule("{sessionPersistence: {cookieConfig: {lifetimeType: Permanent}}}"),
            "spec.rules[0].sessionPersistence.absoluteTimeout: is required with lifetimeType "
                + "Permanent"),
        Case(
            "GRPCRoute",
            rule(
                "{matches: [{method: {service: a..b, method: c.d}}, {method: {service: 9a}}, "
                    + "{method: {type: RegularExpression, service: \"9[.]\"}}]}"),
            "spec.rules[0].matches[0].method.method: \"c.d\" is not a name of a method of gRPC",
            "spec.rules[0].matches[0].method.service: \"a..b\" is not a name of a service of gRPC",
            "spec.rules[0].matches[1].method.service: \"9a\" is not a name of a service of gRPC"),
        Case(
            "GRPCRoute",
            rule(
                "{filters: [{type: RequestMirror}], "
                    + "backendRefs: [{name: a, port: 1, filters: [{type: RequestHeaderModifier, "
                    + "requestHeaderModifier: {remove: [\"a:\"]}}]}]}"),
            "spec.rules[0].backendRefs[0].filters[0].requestHeaderModifier.remove[0]: \"a:\" is not "
                + "a name of a header; leave out the colon",
            "spec.rules[0].filters[0].requestMirror: is required with type RequestMirror"),
        Case(
            "GRPCRoute", rule("{matches: [{method: {}}]}"),
            "spec.rules[0].matches[0].method: needs a service or a method"),
        Case(
            "TLSRoute", "{rules: [{backendRefs: []}, {backendRefs: [{name: a, port: 1}]}]}",
            "spec.hostnames: needs at least one entry",
            "spec.rules: has 2 entries; at most 1 are allowed",
            "spec.rules[0].backendRefs: needs at least one entry"),
        Case(
            "ReferenceGrant", "{from: [], to: [{group: \"\", kind: Service}]}",
            "spec.from: needs at least one entry"),
        Case(
            "BackendTLSPolicy",
            "{targetRefs: [{group: \"\", kind: Service, name: a}], validation: {hostname: a.com}}",
            "spec.validation: needs either caCertificateRefs or wellKnownCACertificates"),
        Case(
            "BackendTLSPolicy",
            "{targetRefs: [{group: \"\", kind: Service, name: a}, "
                + "{group: \"\", kind: Service, name: a, sectionName: b}, "
                + "{group: \"\", kind: Service, name: c, sectionName: d}, "
                + "{group: \"\", kind: Service, name: c, sectionName: d}, "
                + "{group: \"\", kind: Service, name: c, sectionName: e}], "
                + "validation: {wellKnownCACertificates: System, hostname: a.com}}",
            "spec.targetRefs[1]: refers to the same target as entry 0, so both need a sectionName",
            "spec.targetRefs[3]: is given twice"),
        Case(
            "BackendTLSPolicy",
            "{targetRefs: [{group: \"\", kind: Service, name: a}], validation: {hostname: \"*.a.com\", "
                + "wellKnownCACertificates: System, subjectAltNames: ["
                + "{type: Hostname, uri: \"a://b\"}, {type: URI, uri: \"a:b\"}, "
                + "{type: URI, hostname: a.com}, {type: Email}, "
                + "{type: Hostname, hostname: \"*.a.com\"}]}}",
            "spec.validation.hostname: \"*.a.com\" must be one name, not a wildcard",
            "spec.validation.subjectAltNames[0].hostname: is required with type Hostname",
            "spec.validation.subjectAltNames[0].uri: is not allowed with type Hostname",
            "spec.validation.subjectAltNames[1].uri: \"a:b\" is not a URI with a scheme and an "
                + "authority, as in spiffe://cluster/name",
            "spec.validation.subjectAltNames[2].hostname: is not allowed with type URI",
            "spec.validation.subjectAltNames[2].uri: is required with type URI",
            "spec.validation.subjectAltNames[3].type: \"Email\" is not Hostname or URI"),
    ]

    private static func gateway(_ rest: String) -> String { "{gatewayClassName: a, \(rest)}" }

    static let gateways = [
        Case("Gateway", gateway("listeners: []"), "spec.listeners: needs at least one entry"),
        Case(
            "Gateway",
            gateway(
                "listeners: [{name: a, port: 80, protocol: HTTP}, {name: a, port: 81, protocol: HTTP}]"
            ),
            "spec.listeners[1].name: \"a\" is already the name of another listener"),
        Case(
            "Gateway", gateway("listeners: [{name: a, port: 80, protocol: HTTP, tls: {}}]"),
            "spec.listeners[0].tls: is not allowed with protocol HTTP",
            "spec.listeners[0].tls.certificateRefs: needs at least one entry to terminate TLS"),
        Case(
            "Gateway",
            gateway("listeners: [{name: a, port: 80, protocol: https, tls: {mode: Passthrough}}]"),
            "spec.listeners[0].tls.mode: must be Terminate with protocol HTTPS"),
        Case(
            "Gateway", gateway("listeners: [{name: a, port: 80, protocol: TLS}]"),
            "spec.listeners[0].tls.mode: is required with protocol TLS"),
        Case(
            "Gateway", gateway("listeners: [{name: a, port: 80, protocol: TCP, hostname: a.com}]"),
            "spec.listeners[0].hostname: is not allowed with protocol TCP"),
        Case(
            "Gateway",
            gateway(
                "listeners: [{name: a, port: 80, protocol: HTTP}], addresses: [{value: 127.0.0.1}, {value: 127.0.0.1}, {type: Odd}]"
            ),
            "spec.addresses[1]: 127.0.0.1 is given twice",
            "spec.addresses[2].type: \"Odd\" is not a type of address; use IPAddress"),
        Case(
            "GatewayClass", "{controllerName: ai-gateway.dev}",
            "spec.controllerName: \"ai-gateway.dev\" must be a domain and a path, as in "
                + "\"ai-gateway.dev/gateway-controller\""),
    ]

    static let others = [
        Case(
            "Service", "{ports: [{port: 80}, {port: 81}]}",
            "spec.ports[0].name: is required when a Service has several ports",
            "spec.ports[1].name: is required when a Service has several ports"),
        Case(
            "Service", "{type: ExternalName}",
            "spec.externalName: is required with type ExternalName"),
        Case("Backend", "{endpoints: []}", "spec.endpoints: needs at least one entry"),
        Case(
            "Backend", "{endpoints: [{address: \"http://a\", port: 80}]}",
            "spec.endpoints[0].address: \"http://a\" must be an IP address or a name, without "
                + "a scheme"),
        Case(
            "Backend", "{endpoints: [{address: \"a:80\", port: 80, vram: 12GB}]}",
            "spec.endpoints[0].address: \"a:80\" must be without a port; use the field port",
            "spec.endpoints[0].vram: \"12GB\" is not a quantity; write it as 12Gi"),
        Case(
            "Backend", "{endpoints: [{address: a, port: 80}], tls: {hostname: a.com}}",
            "spec.tls: needs protocol HTTPS or HTTP2; with HTTP nothing is encrypted"),
        Case(
            "Backend", "{endpoints: [{address: a, port: 80}], hostHeader: \"a b\"}",
            "spec.hostHeader: \"a b\" must be Preserve, Endpoint or a name"),
        Case(
            "GatewayParameters",
            "{limits: {fieldByteMax: 1, fieldCountMax: 0}, timeouts: {conect: 1s, connect: 0s, tcpKeepAliveIdle: 1500ms}}",
            "spec.limits.fieldByteMax: is not a limit; did you mean \"fieldBytesMax\"?",
            "spec.limits.fieldCountMax: 0 is not within 1 to 10000",
            "spec.timeouts.conect: is not a timeout; did you mean \"connect\"?",
            "spec.timeouts.connect: 0 would never let anything pass; leave the timeout out for "
                + "its default",
            "spec.timeouts.tcpKeepAliveIdle: 1500ms is not in whole seconds"),
        Case(
            "GatewayParameters",
            "{trustedProxies: {cidrs: [10.0.0.0/33], hops: 0, header: \"a b\"}}",
            "spec.trustedProxies.cidrs[0]: \"10.0.0.0/33\" is not an address block; write it as "
                + "10.0.0.0/8",
            "spec.trustedProxies.header: \"a b\" is not a name of a header",
            "spec.trustedProxies.hops: 0 is not within 1 to 64"),
    ]

    static let pools = [
        Case(
            "InferencePool", "{selector: {matchLabels: {}}, targetPorts: []}",
            "spec.selector.matchLabels: needs at least one entry",
            "spec.targetPorts: needs at least one entry"),
        Case(
            "InferencePool",
            "{selector: {matchLabels: {a: b}}, targetPorts: [{number: 0}, {number: 1}, {number: 1}]}",
            "spec.targetPorts[0].number: 0 is not within 1 to 65535",
            "spec.targetPorts[2].number: \"1\" is already the name of another port"),
        Case(
            "InferencePool",
            "{selector: {matchLabels: {a: b}}, targetPorts: [\((1...9).map { "{number: \($0)}" }.joined(separator: ", "))]}",
            "spec.targetPorts: has 9 entries; at most 8 are allowed"),
        Case(
            "InferencePool",
            "{selector: {matchLabels: {a: b}}, targetPortNumber: 1, extensionRef: {name: p, portNumber: 2}}",
            "spec.extensionRef: is of v1alpha2; its name is endpointPickerRef now",
            "spec.targetPortNumber: is of v1alpha2; write it as targetPorts: [{number: …}]",
            "spec.targetPorts: is required"),
        Case(
            "InferencePool",
            "{selector: {matchLabels: {a: b}}, targetPorts: [{number: 1}], appProtocol: h2c}",
            "spec.appProtocol: \"h2c\" is not a protocol of pools; use http or kubernetes.io/h2c"),
        Case(
            "InferencePool",
            "{selector: {matchLabels: {a: b}}, targetPorts: [{number: 1}], endpointPickerRef: {name: p, failureMode: FailOpenly}}",
            "spec.endpointPickerRef.failureMode: \"FailOpenly\" is not a failure mode; did you "
                + "mean \"FailOpen\"?",
            "spec.endpointPickerRef.port: is required for a Service: the picker's gRPC port, "
                + "often 9002"),
    ]

    static let pickers = [
        Case(
            "Backend",
            "{modelServer: vllm, endpoints: [{address: a, port: 80}], picker: {responseBody: Skip, queueLimit: 65537, queueDeadline: soon, weights: {queue-score: 1, prefix-cache-scorer: -1}}}",
            "spec.picker.queueDeadline: \"soon\" is not a duration; write it as 30s, 500ms or 1h30m",
            "spec.picker.queueLimit: 65537 is not within 0 to 65536",
            "spec.picker.responseBody: is about external pickers, which Backends have none of",
            "spec.picker.weights.prefix-cache-scorer: -1.0 is not within 0 to 1000",
            "spec.picker.weights.queue-score: is not a scorer; did you mean \"queue-scorer\"?"),
        Case(
            "Backend", "{endpoints: [{address: a, port: 80}], picker: {}}",
            "spec.picker: needs a modelServer; other endpoints are chosen by their connections "
                + "alone"),
        Case(
            "GatewayParameters", "{picker: {responseBody: Never, concurrencyPerModel: -1}}",
            "spec.picker.concurrencyPerModel: -1 is not within 0 to 1000000",
            "spec.picker.responseBody: \"Never\" is not Send or Skip"),
    ]

    static let poolPolicies = [
        Case(
            "InferenceObjective", "{priority: 2147483648, poolRef: {name: \"\"}}",
            "spec.poolRef.name: must have 1 to 253 characters",
            "spec.priority: 2147483648 is not within -2147483648 to 2147483647"),
        Case(
            "InferenceModelRewrite", "{poolRef: {name: p}, rules: []}",
            "spec.rules: needs at least one entry"),
        Case(
            "InferenceModelRewrite",
            "{poolRef: {name: p}, rules: [{matches: [{model: {type: Prefix, value: \"\"}}], targets: []}]}",
            "spec.rules[0].matches[0].model.type: \"Prefix\" is not a type of match; use Exact",
            "spec.rules[0].matches[0].model.value: must have 1 to 256 bytes",
            "spec.rules[0].targets: needs at least one entry"),
        Case(
            "InferenceModelRewrite",
            "{poolRef: {name: p}, rules: [{targets: [{weight: 0, modelRewrite: a}, {modelRewrite: b}]}]}",
            "spec.rules[0].targets: need a weight each, or none at all",
            "spec.rules[0].targets[0].weight: 0 is not within 1 to 1000000"),
    ]

    private static func text(_ test: Case) -> String {
        let version =
            switch test.kind {
            case "Service": "v1"
            case "Backend", "GatewayParameters": "ai-gateway.dev/v1alpha1"
            case "InferencePool": "inference.networking.k8s.io/v1"
            case "InferenceObjective", "InferenceModelRewrite":
                "inference.networking.x-k8s.io/v1alpha2"
            default: "gateway.networking.k8s.io/v1"
            }
        return """
            apiVersion: \(version)
            kind: \(test.kind)
            metadata: {name: a}
            spec: \(test.spec)
            """
    }

    @Test(arguments: routes + gateways + others + pools + poolPolicies + pickers)
    func `what the schema refuses is told field by field`(test: Case) {
        let documents = Admission.admit(Documents.read(Self.text(test)))
        let found = documents.problems.map { "\($0.fieldPath): \($0.message)" }
        #expect(found.sorted() == test.problems.sorted())
        #expect(documents.objects.isEmpty == !test.problems.isEmpty)
    }

    @Test func `addresses of a slice are of its family`() {
        let documents = Admission.admit(
            Documents.read(
                """
                apiVersion: discovery.k8s.io/v1
                kind: EndpointSlice
                metadata: {name: a}
                addressType: IPv4
                endpoints: [{addresses: ["::1"]}, {addresses: []}]
                """))
        #expect(
            documents.problems.map { "\($0.fieldPath): \($0.message)" } == [
                "endpoints[0].addresses[0]: \"::1\" is not an IPv4 address",
                "endpoints[1].addresses: needs at least one entry",
            ])
    }

    private static func route(_ path: String) -> String {
        """
        apiVersion: gateway.networking.k8s.io/v1
        kind: HTTPRoute
        metadata: {name: a}
        spec: {rules: [{matches: [{path: {value: \(path)}}]}]}
        """
    }

    @Test func `a refused update keeps the version before it`() throws {
        let good = Admission.admit(Documents.read(Self.route("/good")))
        let bad = Admission.admit(Documents.read(Self.route("bad")), keeping: good)
        let kept = try #require(bad.objects.first?.resource as? HTTPRoute)
        #expect(kept.spec.rules?.first?.matches?.first?.path?.value == "/good")
        #expect(bad.problems.map(\.severity) == [.error, .notice] || bad.problems.count == 2)
        let again = Admission.admit(Documents.read(Self.route("bad")), keeping: bad)
        #expect(again.problems.count == 2)
        let fixed = Admission.admit(Documents.read(Self.route("/fixed")), keeping: again)
        #expect(fixed.problems.isEmpty)
        let taken = try #require(fixed.objects.first?.resource as? HTTPRoute)
        #expect(taken.spec.rules?.first?.matches?.first?.path?.value == "/fixed")
    }

    @Test func `what could not be read stays noted`() {
        var documents = Documents.read(Self.route("/a"))
        documents.unreadPaths = ["broken.yaml"]
        #expect(Admission.admit(documents).unreadPaths == ["broken.yaml"])
    }
}
