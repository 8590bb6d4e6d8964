// Proves that clusters follow the addresses of their names, and that connections of other trust
// belong to another cluster.
import Kernel
import Runtime
import Testing

@testable import Control

@Suite struct CompiledTests {
    private static func text(_ spec: String) -> String {
        """
        apiVersion: gateway.networking.k8s.io/v1
        kind: Gateway
        metadata: {name: gw}
        spec: {gatewayClassName: x, listeners: [{name: http, port: 80, protocol: HTTP}]}
        ---
        apiVersion: ai-gateway.dev/v1alpha1
        kind: Backend
        metadata: {name: api}
        spec: \(spec)
        ---
        apiVersion: gateway.networking.k8s.io/v1
        kind: HTTPRoute
        metadata: {name: a}
        spec:
          parentRefs: [{name: gw}]
          rules: [{backendRefs: [{group: ai-gateway.dev, kind: Backend, name: api}]}]
        """
    }

    @Test func `a name's addresses become endpoints when they are known`() throws {
        var identities = Identities()
        var clients = TLSClientCache()
        let documents = Documents.admitted(
            Self.text(
                "{endpoints: [{address: api.lan, port: 8000, priority: 1}, {address: 10.0.0.1, port: 80}]}"
            ))
        let compiled = compile(status(documents), &identities)
        #expect(compiled.dnsNames == [DNSNameWanted(name: "api.lan", port: 8000)])

        let unresolved = compiled.clusters(&identities, clients: &clients) { _ in [] }
        #expect(unresolved.clusters[0].endpoints.map(\.address.description) == ["10.0.0.1:80"])

        let one = try #require(SocketAddress("10.0.0.7", port: 0))
        let two = try #require(SocketAddress("10.0.0.8", port: 0))
        let resolved = compiled.clusters(&identities, clients: &clients) { name in
            name == "api.lan" ? [one, two, one] : []
        }
        let endpoints = resolved.clusters[0].endpoints
        #expect(
            endpoints.map(\.address.description) == [
                "10.0.0.7:8000", "10.0.0.8:8000", "10.0.0.1:80",
            ])
        #expect(endpoints.map(\.authority) == ["api.lan:8000", "api.lan:8000", "10.0.0.1"])
        #expect(endpoints.map(\.priority) == [1, 1, 0])

        let later = compiled.clusters(&identities, clients: &clients) { _ in [two] }
        let kept = later.clusters[0].endpoints
        #expect(kept[0].id == endpoints[1].id && kept[1].id == endpoints[2].id)
    }

    @Test func `another trust is another cluster`() {
        var identities = Identities()
        let plain = compile(
            status(Documents.admitted(Self.text("{endpoints: [{address: 10.0.0.1, port: 80}]}"))),
            &identities)
        let secure = compile(
            status(
                Documents.admitted(
                    Self.text("{protocol: HTTPS, endpoints: [{address: 10.0.0.1, port: 80}]}"))),
            &identities)
        let named = compile(
            status(
                Documents.admitted(
                    Self.text(
                        "{protocol: HTTPS, tls: {hostname: a.com}, endpoints: [{address: 10.0.0.1, port: 80}]}"
                    ))), &identities)
        let ids = [plain, secure, named].flatMap { $0.blueprints.map(\.id) }
        #expect(Set(ids).count == 3)
    }

    @Test(arguments: [
        ("{protocol: HTTP, ", ClusterProtocol.http, Runtime.ProxyProtocol.none),
        ("{protocol: H2C, ", .h2c, .none), ("{protocol: HTTPS, ", .https, .none),
        ("{protocol: HTTP2, ", .http2, .none), ("{proxyProtocol: V1, ", .http, .v1),
        ("{protocol: HTTP2, proxyProtocol: V2, ", .http2, .v2),
    ])
    func `a cluster speaks what its Backend says, and is another's when that changes`(
        spec: String, proto: ClusterProtocol, header: Runtime.ProxyProtocol
    ) {
        var identities = Identities()
        var clients = TLSClientCache()
        let endpoints = "endpoints: [{address: 10.0.0.1, port: 80}]}"
        let other = compile(
            status(Documents.admitted(Self.text("{proxyProtocol: V2, " + endpoints))), &identities)
        let compiled = compile(
            status(Documents.admitted(Self.text(spec + endpoints))), &identities)
        let cluster = compiled.clusters(&identities, clients: &clients) { _ in [] }.clusters[0]
        #expect(cluster.protocol == proto)
        #expect(cluster.proxyProtocol == header)
        #expect((cluster.tls != nil) == proto.isTLS)
        #expect(cluster.id != other.blueprints[0].id)
    }

    private static let rewrite = """

        ---
        apiVersion: inference.networking.x-k8s.io/v1alpha2
        kind: InferenceModelRewrite
        metadata: {name: a}
        spec:
          poolRef: {group: ai-gateway.dev, kind: Backend, name: api}
          rules: [{targets: [{modelRewrite: b}]}]
        """

    @Test(arguments: [
        ("{modelServer: vllm, endpoints: [{address: 10.0.0.1, port: 80}]}", "", false),
        ("{modelServer: ollama, endpoints: [{address: 10.0.0.1, port: 80}]}", "", false),
        (
            "{modelServer: vllm, endpoints: [{address: 10.0.0.1, port: 80}], picker: {concurrencyPerEndpoint: 2}}",
            "", false
        ),
        (
            "{modelServer: vllm, endpoints: [{address: 10.0.0.1, port: 80}], picker: {concurrencyPerModel: 2}}",
            "", true
        ),
        ("{modelServer: vllm, endpoints: [{address: 10.0.0.1, port: 80}]}", rewrite, true),
        ("{modelServer: vllm, endpoints: [{address: api.lan, port: 80}]}", "", true),
    ])
    func `content is read where the choice or a limit needs it`(
        spec: String, more: String, needsContent: Bool
    ) throws {
        var identities = Identities()
        var clients = TLSClientCache()
        let compiled = compile(
            status(Documents.admitted(Self.text(spec) + more)), &identities)
        let addresses = ["10.0.0.7", "10.0.0.8"].compactMap { SocketAddress($0, port: 0) }
        let result = compiled.clusters(&identities, clients: &clients) { _ in addresses }
        let pool = try #require(result.clusters[0].pool)
        #expect(pool.needsContent == needsContent)
        #expect(pool.picker == .builtIn && pool.id == result.pools[0].id)
        #expect(
            result.pools[0].endpoints.map(\.id) == result.clusters[0].endpoints.map(\.id))
    }

    @Test func `a pool keeps its id until it is picked otherwise`() {
        var identities = Identities()
        var clients = TLSClientCache()
        func id(_ rest: String) -> UInt32? {
            let text = Self.text(
                "{modelServer: vllm, endpoints: [{address: 10.0.0.1, port: 80}\(rest)")
            let compiled = compile(status(Documents.admitted(text)), &identities)
            return compiled.clusters(&identities, clients: &clients) { _ in [] }.clusters[0].pool?
                .id
        }
        let first = id("]}")
        #expect(first != nil && id(", {address: 10.0.0.2, port: 80}]}") == first)
        #expect(id("], picker: {queueLimit: 1}}") != first)
        #expect(id("]}") == first)
    }

    @Test func `servers that are none are not picked`() {
        var identities = Identities()
        var clients = TLSClientCache()
        let text = Self.text("{endpoints: [{address: 10.0.0.1, port: 80}]}")
        let compiled = compile(status(Documents.admitted(text)), &identities)
        let result = compiled.clusters(&identities, clients: &clients) { _ in [] }
        #expect(result.clusters[0].pool == nil && result.pools.isEmpty)
    }

    @Test func `trust that cannot be set up leaves the cluster without endpoints`() {
        var identities = Identities()
        var clients = TLSClientCache()
        let documents = Documents.admitted(
            Self.text(
                "{protocol: HTTPS, tls: {caCertificateRefs: [{name: ca}]}, endpoints: [{address: 10.0.0.1, port: 443}]}"
            ) + """

                ---
                apiVersion: v1
                kind: ConfigMap
                metadata: {name: ca}
                data: {ca.crt: "-----BEGIN CERTIFICATE-----\\nMAA=\\n-----END CERTIFICATE-----\\n"}
                """)
        let compiled = compile(status(documents), &identities)
        let result = compiled.clusters(&identities, clients: &clients) { _ in [] }
        #expect(result.clusters.map(\.endpoints.count) == [0])
        #expect(result.problems.count == 1)
    }

    @Test func `all addresses are those of both families`() {
        let socket = ListenSocketWanted(
            id: 0, place: ListenPlace(address: nil, port: 80), boundPort: 8080, isTLS: false,
            listeners: [])
        #expect(socket.addresses.map(\.description) == ["0.0.0.0:8080", "[::]:8080"])
        #expect(socket.transport == .tcp)
        let datagrams = ListenPlace(address: nil, port: 80, transport: .udp)
        #expect(datagrams != socket.place && datagrams.description == "*:80/udp")
    }
}
