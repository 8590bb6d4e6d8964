import Kernel

/// The ready addresses of one port of a Service.
struct ServiceEndpoints {
    let index: DocumentIndex

    /// What serves the port, in a stable order; empty when nothing is ready.
    func endpoints(
        of service: Entry<Service>, port: ServicePort
    ) -> [ClusterBlueprint.Endpoint] {
        let spec = service.resource.spec
        if spec.type == "ExternalName", let name = spec.externalName {
            return [ClusterBlueprint.Endpoint(host: name, port: UInt16(clamping: port.port))]
        }
        let addresses: [SocketAddress]
        if let slices = index.slices[service.name], !slices.isEmpty {
            addresses = self.addresses(in: slices, of: spec, port: port)
        } else {
            addresses = self.addresses(ofPods: service, port: port)
        }
        var seen: Set<SocketAddress> = []
        return addresses.filter { seen.insert($0).inserted }.map {
            ClusterBlueprint.Endpoint($0)
        }
    }

    // MARK: - EndpointSlices

    private struct Candidate {
        let address: SocketAddress
        /// The pod behind it: with two families it has an address of each.
        let target: EndpointTarget?
        let isReady: Bool
        let isServing: Bool
    }

    private func addresses(
        in slices: [EndpointSlice], of spec: ServiceSpec, port: ServicePort
    ) -> [SocketAddress] {
        var candidates: [Candidate] = []
        let families = (spec.ipFamilies ?? []).isEmpty ? ["IPv4", "IPv6"] : spec.ipFamilies ?? []
        let firstFamily = families.first ?? "IPv4"
        let inOrder =
            slices.filter { $0.addressType == firstFamily }
            + slices.filter { $0.addressType != firstFamily && $0.addressType != "FQDN" }
        for slice in inOrder {
            guard let number = number(in: slice, port: port) else { continue }
            for endpoint in slice.endpoints ?? [] {
                guard let text = endpoint.addresses.first,
                    let address = SocketAddress(text, port: number)
                else { continue }
                let conditions = endpoint.conditions
                let isTerminating = conditions?.terminating ?? false
                let isReady = (conditions?.ready ?? true) && !isTerminating
                candidates.append(
                    Candidate(
                        address: address, target: endpoint.targetRef,
                        isReady: isReady || (spec.publishNotReadyAddresses ?? false),
                        isServing: conditions?.serving ?? conditions?.ready ?? true))
            }
        }
        // Pods that end but still answer are better than none.
        let ready = candidates.filter(\.isReady)
        return onePerTarget(ready.isEmpty ? candidates.filter(\.isServing) : ready)
    }

    /// The slice's number for a port of the Service: they go by name.
    private func number(in slice: EndpointSlice, port: ServicePort) -> UInt16? {
        let found = (slice.ports ?? []).first {
            ($0.name ?? "") == (port.name ?? "")
                && ($0.protocol ?? "TCP") == (port.protocol ?? "TCP")
        }
        return found?.port.map { UInt16(clamping: $0) }
    }

    /// A pod with addresses of both families counts once, by its first.
    private func onePerTarget(_ candidates: [Candidate]) -> [SocketAddress] {
        var families: [EndpointTarget: Bool] = [:]
        var addresses: [SocketAddress] = []
        for candidate in candidates {
            if let target = candidate.target, target.name != nil {
                if let isIPv6 = families[target], isIPv6 != candidate.address.isIPv6 { continue }
                families[target] = candidate.address.isIPv6
            }
            addresses.append(candidate.address)
        }
        return addresses
    }

    // MARK: - Pods, where nobody made EndpointSlices

    private func addresses(ofPods service: Entry<Service>, port: ServicePort) -> [SocketAddress] {
        let selector = service.resource.spec.selector ?? [:]
        return index.pods(in: service.name.namespace, labelled: selector).compactMap { pod in
            guard pod.isReady, let ip = pod.address, let number = number(in: pod, port: port)
            else { return nil }
            return SocketAddress(ip, port: number)
        }
    }

    private func number(in pod: Pod, port: ServicePort) -> UInt16? {
        switch port.targetPort {
        case nil: return UInt16(exactly: port.port)
        case .int(let number): return UInt16(exactly: number)
        case .string(let name):
            let containers = (pod.spec?.containers ?? []) + (pod.spec?.initContainers ?? [])
            let found = containers.lazy.flatMap { $0.ports ?? [] }.first { $0.name == name }
            return found.flatMap { UInt16(exactly: $0.containerPort) }
        }
    }
}
