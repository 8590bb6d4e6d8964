// What the schemas of the other routes, of grants and of policies say.

extension FieldChecks {
    mutating func check(_ route: GRPCRoute) {
        parentRefs(route.spec.parentRefs)
        hostnames(route.spec.hostnames)
        let rules = route.spec.rules ?? []
        atMost(16, rules.count, "spec.rules")
        ruleNames(rules.map(\.name))
        for (index, rule) in rules.enumerated() {
            let path = "spec.rules[\(index)]"
            atMost(64, rule.matches?.count, path + ".matches")
            for (position, match) in (rule.matches ?? []).enumerated() {
                let place = path + ".matches[\(position)]"
                require(
                    match.method.map { $0.service != nil || $0.method != nil } ?? true,
                    place + ".method", "needs a service or a method")
                if let method = match.method { grpcMethod(method, place + ".method") }
                atMost(16, match.headers?.count, place + ".headers")
                for (number, header) in (match.headers ?? []).enumerated() {
                    headerName(header.name, place + ".headers[\(number)].name")
                }
            }
            for (position, ref) in (rule.backendRefs ?? []).enumerated() {
                backend(ref.object, path + ".backendRefs[\(position)]")
                weight(ref.weight, path + ".backendRefs[\(position)]")
                atMost(16, ref.filters?.count, path + ".backendRefs[\(position)].filters")
                for (number, filter) in (ref.filters ?? []).enumerated() {
                    self.filter(filter.http) {
                        path + ".backendRefs[\(position)].filters[\(number)]"
                    }
                }
            }
            atMost(16, rule.filters?.count, path + ".filters")
            for (position, filter) in (rule.filters ?? []).enumerated() {
                self.filter(filter.http) { path + ".filters[\(position)]" }
            }
            atMost(16, rule.backendRefs?.count, path + ".backendRefs")
        }
    }

    /// Names as protocol buffers have them, unless they are regular expressions.
    private mutating func grpcMethod(_ match: GRPCMethodMatch, _ path: String) {
        for (name, field, mayHaveDots) in [
            (match.service, "service", true), (match.method, "method", false),
        ] {
            guard let name else { continue }
            require(name.utf8.count <= 1024, path + ".\(field)", "may have at most 1024 characters")
            guard match.type ?? .exact == .exact else { continue }
            require(
                Patterns.isProtocolBuffersName(name, dots: mayHaveDots), path + ".\(field)",
                "\"\(name)\" is not a name of a \(field) of gRPC")
        }
    }

    mutating func check(_ route: TLSRoute) {
        parentRefs(route.spec.parentRefs)
        require(
            !(route.spec.hostnames ?? []).isEmpty || object.apiVersion.hasSuffix("/v1alpha2"),
            "spec.hostnames", "needs at least one entry")
        hostnames(route.spec.hostnames, atMost: 1024)
        streamRules(route.spec.rules, atMost: 1)
    }

    mutating func check(_ route: TCPRoute) {
        parentRefs(route.spec.parentRefs)
        streamRules(route.spec.rules, atMost: 16)
    }

    mutating func check(_ route: UDPRoute) {
        parentRefs(route.spec.parentRefs)
        streamRules(route.spec.rules, atMost: 16)
    }

    private mutating func streamRules(_ rules: [StreamRouteRule], atMost limit: Int) {
        notEmpty(rules.count, "spec.rules")
        atMost(limit, rules.count, "spec.rules")
        ruleNames(rules.map(\.name))
        for (index, rule) in rules.enumerated() {
            let path = "spec.rules[\(index)].backendRefs"
            let refs = rule.backendRefs ?? []
            notEmpty(refs.count, path)
            atMost(16, refs.count, path)
            for (position, ref) in refs.enumerated() {
                backend(ref.object, path + "[\(position)]")
                weight(ref.weight, path + "[\(position)]")
            }
        }
    }

    mutating func check(_ grant: ReferenceGrant) {
        notEmpty(grant.spec.from.count, "spec.from")
        atMost(16, grant.spec.from.count, "spec.from")
        for (index, from) in grant.spec.from.enumerated() {
            groupKind(from.group, from.kind, "spec.from[\(index)]")
            namespace(from.namespace, "spec.from[\(index)].namespace")
        }
        notEmpty(grant.spec.to.count, "spec.to")
        atMost(16, grant.spec.to.count, "spec.to")
        for (index, to) in grant.spec.to.enumerated() {
            groupKind(to.group, to.kind, "spec.to[\(index)]")
            if let name = to.name { objectName(name, "spec.to[\(index)].name") }
        }
    }

    mutating func check(_ policy: BackendTLSPolicy) {
        let spec = policy.spec
        notEmpty(spec.targetRefs.count, "spec.targetRefs")
        atMost(16, spec.targetRefs.count, "spec.targetRefs")
        for (index, ref) in spec.targetRefs.enumerated() {
            groupKind(ref.group, ref.kind, "spec.targetRefs[\(index)]")
            objectName(ref.name, "spec.targetRefs[\(index)].name")
            sectionName(ref.sectionName, "spec.targetRefs[\(index)].sectionName")
        }
        distinctTargets(spec.targetRefs)
        preciseHostname(spec.validation.hostname, "spec.validation.hostname")
        let refs = spec.validation.caCertificateRefs ?? []
        atMost(8, refs.count, "spec.validation.caCertificateRefs")
        let hasWellKnown = !(spec.validation.wellKnownCACertificates ?? "").isEmpty
        require(
            refs.isEmpty == hasWellKnown, "spec.validation",
            "needs either caCertificateRefs or wellKnownCACertificates")
        for (index, ref) in refs.enumerated() {
            groupKind(ref.group, ref.kind, "spec.validation.caCertificateRefs[\(index)]")
            objectName(ref.name, "spec.validation.caCertificateRefs[\(index)].name")
        }
        atMost(5, spec.validation.subjectAltNames?.count, "spec.validation.subjectAltNames")
        for (index, name) in (spec.validation.subjectAltNames ?? []).enumerated() {
            subjectAltName(name, "spec.validation.subjectAltNames[\(index)]")
        }
        atMost(16, spec.options?.count, "spec.options")
    }

    /// Several references to one target must each name another port of it.
    private mutating func distinctTargets(_ refs: [LocalPolicyTargetReference]) {
        var first: [LocalPolicyTargetReference: (index: Int, hasSection: Bool)] = [:]
        var seen: Set<LocalPolicyTargetReference> = []
        for (index, ref) in refs.enumerated() {
            let path = "spec.targetRefs[\(index)]"
            if !seen.insert(ref).inserted {
                refuse(path, "is given twice")
                continue
            }
            var whole = ref
            whole.sectionName = nil
            guard let other = first[whole] else {
                first[whole] = (index, ref.sectionName != nil)
                continue
            }
            require(
                other.hasSection && ref.sectionName != nil, path,
                "refers to the same target as entry \(other.index), so both need a sectionName")
        }
    }

    private mutating func subjectAltName(_ name: SubjectAltName, _ path: String) {
        switch name.type {
        case "Hostname":
            require(name.hostname ?? "" != "", path + ".hostname", "is required with type Hostname")
            if name.hostname != "" { hostname(name.hostname, path + ".hostname") }
            require(name.uri ?? "" == "", path + ".uri", "is not allowed with type Hostname")
        case "URI":
            let uri = name.uri ?? ""
            require(!uri.isEmpty, path + ".uri", "is required with type URI")
            require(
                uri.isEmpty || Patterns.isAbsoluteURI(uri), path + ".uri",
                "\"\(uri)\" is not a URI with a scheme and an authority, as in spiffe://cluster/name"
            )
            require(name.hostname ?? "" == "", path + ".hostname", "is not allowed with type URI")
        default: refuse(path + ".type", "\"\(name.type)\" is not Hostname or URI")
        }
    }
}
