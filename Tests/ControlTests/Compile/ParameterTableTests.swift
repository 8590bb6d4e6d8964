// Proves that parameters are read, checked and printed by the same names.
import Runtime
import Testing

@testable import Control

@Suite struct ParameterTableTests {
    @Test func `every parameter can be set to what is printed of it`() {
        var spec = GatewayParametersSpec()
        var limits: [String: IntOrString] = [:]
        var timeouts: [String: String] = [:]
        for (name, value) in ParameterTable.values(of: Parameters()) where value != "none" {
            if name.hasPrefix("limits.") { limits[String(name.dropFirst(7))] = .string(value) }
            if name.hasPrefix("timeouts.") { timeouts[String(name.dropFirst(9))] = value }
        }
        spec.limits = limits
        spec.timeouts = timeouts
        for (name, value) in limits {
            #expect(ParameterTable.refusal(ofLimit: name, value) == nil, "\(name)")
        }
        for (name, value) in timeouts {
            #expect(ParameterTable.refusal(ofTimeout: name, value) == nil, "\(name)")
        }
        var parameters = Parameters()
        ParameterTable.apply(spec, to: &parameters)
        #expect(parameters == Parameters())
    }

    @Test func `every limit and timeout there is can be set`() {
        let limits = Mirror(reflecting: Limits()).children.count
        let timeouts = Mirror(reflecting: Timeouts()).children.count
        let seconds = ParameterTable.secondsTimeouts.count
        // The probes of TCP are a count, so they stand among the limits.
        #expect(ParameterTable.limits.count == limits + 1)
        #expect(ParameterTable.timeouts.count + seconds == timeouts - 1)
    }

    @Test func `names are given once`() {
        let names = ParameterTable.values(of: Parameters()).map(\.name)
        #expect(Set(names).count == names.count)
    }

    @Test func `what is set takes effect and the rest stays`() {
        var parameters = Parameters()
        var spec = GatewayParametersSpec()
        spec.limits = ["fieldsBytesMax": .string("32Ki"), "retriesMax": .int(0)]
        spec.timeouts = ["connect": "1500ms", "tcpKeepAliveIdle": "45s"]
        spec.allowHalfClose = true
        spec.proxyProtocol = .accept
        spec.trustedProxies = TrustedProxiesSpec(
            cidrs: ["10.0.0.0/8", "fd00::/8", "192.0.2.1"], hops: 2, header: "CF-Connecting-IP")
        ParameterTable.apply(spec, to: &parameters)
        #expect(parameters.limits.fieldsBytesMax == 32_768)
        #expect(parameters.limits.retriesMax == 0)
        #expect(parameters.timeouts.connectMilliseconds == 1_500)
        #expect(parameters.timeouts.tcpKeepAliveIdleSeconds == 45)
        #expect(parameters.timeouts.firstByteMilliseconds == Timeouts().firstByteMilliseconds)
        #expect(parameters.allowsHalfClose)
        #expect(parameters.acceptsProxyProtocol)
        #expect(parameters.trustedProxies.hops == 2)
        #expect(parameters.trustedProxies.source == .field("cf-connecting-ip"))
        #expect(
            parameters.trustedProxies.blocks.map(AddressBlocks.text)
                == ["10.0.0.0/8", "fd00::/8", "192.0.2.1/32"])
    }

    @Test(arguments: [
        "", "10.0.0.0/", "10.0.0.0/33", "::/129", "a/8", "10.0.0.0/8/8", "fe80::1%lo/8",
    ])
    func `what is no address block is refused`(text: String) {
        #expect(AddressBlocks.parse(text) == nil)
    }

    @Test(arguments: [
        ("64Ki", 65_536), ("12Gi", 12_884_901_888), ("1500", 1_500), ("2k", 2_000),
        ("3M", 3_000_000),
    ])
    func `quantities are numbers of bytes`(text: String, bytes: Int) {
        #expect(Quantity.bytes(text) == bytes)
        #expect(Quantity.bytes(Quantity.text(bytes)) == bytes)
    }

    @Test(arguments: ["", "Ki", "-1", "1.5Gi", "1GiB", "99999999999999999999", "99999999Ti"])
    func `what is no quantity is refused`(text: String) {
        #expect(Quantity.bytes(text) == nil)
    }
}
