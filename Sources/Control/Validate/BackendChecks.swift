import Kernel

// What is demanded of Services, EndpointSlices, Secrets and of our own kinds.

extension FieldChecks {
    mutating func check(_ service: Service) {
        let ports = service.spec.ports ?? []
        for (index, port) in ports.enumerated() {
            let path = "spec.ports[\(index)]"
            self.port(port.port, path + ".port")
            if case .int(let number) = port.targetPort {
                self.port(number, path + ".targetPort")
            }
            require(
                ports.count < 2 || !(port.name ?? "").isEmpty, path + ".name",
                "is required when a Service has several ports")
        }
        unique(ports.compactMap(\.name), { "spec.ports[\($0)].name" }, "port")
        require(
            service.spec.type != "ExternalName" || !(service.spec.externalName ?? "").isEmpty,
            "spec.externalName", "is required with type ExternalName")
    }

    mutating func check(_ slice: EndpointSlice) {
        let isIP = slice.addressType == "IPv4" || slice.addressType == "IPv6"
        require(
            isIP || slice.addressType == "FQDN", "addressType",
            "\"\(slice.addressType)\" is not a type of address; use IPv4 or IPv6")
        for (index, endpoint) in (slice.endpoints ?? []).enumerated() {
            notEmpty(endpoint.addresses.count, "endpoints[\(index)].addresses")
            for (position, text) in endpoint.addresses.enumerated() where isIP {
                let address = SocketAddress(text, port: 0)
                require(
                    address?.isIPv6 == (slice.addressType == "IPv6"),
                    "endpoints[\(index)].addresses[\(position)]",
                    "\"\(text)\" is not an \(slice.addressType) address")
            }
        }
        for (index, port) in (slice.ports ?? []).enumerated() {
            self.port(port.port, "ports[\(index)].port")
        }
    }

    mutating func check(_ backend: Backend) {
        let spec = backend.spec
        notEmpty(spec.endpoints.count, "spec.endpoints")
        atMost(256, spec.endpoints.count, "spec.endpoints")
        for (index, endpoint) in spec.endpoints.enumerated() {
            let path = "spec.endpoints[\(index)]"
            address(endpoint.address, path + ".address")
            port(endpoint.port, path + ".port")
            inRange(endpoint.priority, 0...255, path + ".priority")
            if let vram = endpoint.vram {
                require(
                    Quantity.bytes(vram) != nil, path + ".vram",
                    "\"\(vram)\" is not a quantity; write it as 12Gi")
            }
        }
        if let name = spec.hostHeader, name != "Preserve", name != "Endpoint" {
            let host = name.split(separator: ":", maxSplits: 1).first.map(String.init) ?? ""
            require(
                Patterns.isSubdomain(host.lowercased()), "spec.hostHeader",
                "\"\(name)\" must be Preserve, Endpoint or a name")
        }
        preciseHostname(spec.tls?.hostname, "spec.tls.hostname")
        for (index, ref) in (spec.tls?.caCertificateRefs ?? []).enumerated() {
            groupKind(ref.group, ref.kind, "spec.tls.caCertificateRefs[\(index)]")
            objectName(ref.name, "spec.tls.caCertificateRefs[\(index)].name")
        }
        check(spec.picker, at: "spec.picker", isGateway: false)
        require(
            spec.picker == nil || (spec.modelServer ?? ModelServer.none) != ModelServer.none,
            "spec.picker",
            "needs a modelServer; other endpoints are chosen by their connections alone")
        require(
            spec.tls == nil || spec.protocol?.isTLS ?? false, "spec.tls",
            "needs protocol HTTPS or HTTP2; with \(spec.protocol ?? .http) nothing is encrypted")
    }

    /// An IP address, a DNS name or the name of SRV records (`_http._tcp.name`), without port and scheme.
    private mutating func address(_ text: String, _ path: String) {
        if SocketAddress(text, port: 0) != nil { return }
        if Patterns.endsInNumber(text) {
            return refuse(
                path,
                "\"\(text)\" is no IP address, and no name ends in a number; write it as 192.0.2.1")
        }
        if Patterns.isSubdomain(text.lowercased()) || Patterns.isServiceName(text.lowercased()) {
            return
        }
        if text.contains("://") {
            refuse(path, "\"\(text)\" must be an IP address or a name, without a scheme")
        } else if SocketAddress(parsing: text) != nil || text.contains(":") {
            refuse(path, "\"\(text)\" must be without a port; use the field port")
        } else {
            refuse(
                path,
                "\"\(text)\" is no IP address, DNS name or name of SRV records such as _http._tcp.example.org"
            )
        }
    }

    mutating func check(_ parameters: GatewayParameters) {
        let spec = parameters.spec
        for (name, value) in (spec.limits ?? [:]).sorted(by: { $0.key < $1.key }) {
            if let message = ParameterTable.refusal(ofLimit: name, value) {
                refuse(FieldPath.appending(key: name, to: "spec.limits"), message)
            }
        }
        for (name, value) in (spec.timeouts ?? [:]).sorted(by: { $0.key < $1.key }) {
            if let message = ParameterTable.refusal(ofTimeout: name, value) {
                refuse(FieldPath.appending(key: name, to: "spec.timeouts"), message)
            }
        }
        check(spec.picker, at: "spec.picker", isGateway: true)
        for (index, header) in (spec.answerHeaders ?? []).enumerated() {
            require(
                header.isKnown, "spec.answerHeaders[\(index)]",
                "\"\(header)\" is not \(sentenceList(AnswerHeader.known.map(\.rawValue), "or"))")
        }
        guard let proxies = spec.trustedProxies else { return }
        for (index, text) in (proxies.cidrs ?? []).enumerated() {
            require(
                AddressBlocks.parse(text) != nil, "spec.trustedProxies.cidrs[\(index)]",
                "\"\(text)\" is not an address block; write it as 10.0.0.0/8")
        }
        inRange(proxies.hops, 1...64, "spec.trustedProxies.hops")
        if let header = proxies.header { headerName(header, "spec.trustedProxies.header") }
    }
}
