import Kernel

// What the schemas of GatewayClass, Gateway and ListenerSet say.

extension FieldChecks {
    mutating func check(_ gatewayClass: GatewayClass) {
        let spec = gatewayClass.spec
        require(
            Patterns.isDomainPath(spec.controllerName), "spec.controllerName",
            "\"\(spec.controllerName)\" must be a domain and a path, as in "
                + "\"\(GatewayClass.ownController)\"")
        if let ref = spec.parametersRef {
            groupKind(ref.group, ref.kind, "spec.parametersRef")
            objectName(ref.name, "spec.parametersRef.name")
            namespace(ref.namespace, "spec.parametersRef.namespace")
        }
        require(
            spec.description?.count ?? 0 <= 64, "spec.description",
            "may have at most 64 characters")
    }

    mutating func check(_ gateway: Gateway) {
        let spec = gateway.spec
        objectName(spec.gatewayClassName, "spec.gatewayClassName")
        listeners(spec.listeners)
        addresses(spec.addresses ?? [])
        if let infrastructure = spec.infrastructure {
            atMost(8, infrastructure.labels?.count, "spec.infrastructure.labels")
            atMost(16, infrastructure.annotations?.count, "spec.infrastructure.annotations")
            metadata(infrastructure)
            if let ref = infrastructure.parametersRef {
                groupKind(ref.group, ref.kind, "spec.infrastructure.parametersRef")
                objectName(ref.name, "spec.infrastructure.parametersRef.name")
            }
        }
        if let ref = spec.tls?.backend?.clientCertificateRef {
            secret(ref, "spec.tls.backend.clientCertificateRef")
        }
        if let frontend = spec.tls?.frontend { self.frontend(frontend) }
    }

    /// What generated objects are to be labelled and annotated with.
    private mutating func metadata(_ infrastructure: GatewayInfrastructure) {
        for (key, value) in (infrastructure.labels ?? [:]).sorted(by: { $0.key < $1.key }) {
            let path = "spec.infrastructure.labels.\(key)"
            require(Patterns.isLabelKey(key), path, "\"\(key)\" is not the key of a label")
            require(Patterns.isLabelValue(value), path, "\"\(value)\" is not the value of a label")
        }
        for key in (infrastructure.annotations ?? [:]).keys.sorted() {
            require(
                Patterns.isLabelKey(key), "spec.infrastructure.annotations.\(key)",
                "\"\(key)\" is not the key of an annotation")
        }
    }

    mutating func check(_ set: ListenerSet) {
        objectName(set.spec.parentRef.name, "spec.parentRef.name")
        listeners(set.spec.listeners)
    }

    private mutating func listeners(_ listeners: [Listener]) {
        notEmpty(listeners.count, "spec.listeners")
        atMost(64, listeners.count, "spec.listeners")
        unique(listeners.map(\.name), { "spec.listeners[\($0)].name" }, "listener")
        for (index, listener) in listeners.enumerated() {
            self.listener(listener, "spec.listeners[\(index)]")
        }
    }

    private mutating func listener(_ listener: Listener, _ path: String) {
        sectionName(listener.name, path + ".name")
        if listener.hostname != "" { hostname(listener.hostname, path + ".hostname") }
        port(listener.port, path + ".port")
        require(
            Patterns.isProtocol(listener.protocol.rawValue), path + ".protocol",
            "\"\(listener.protocol)\" is not a protocol")
        let proto = listener.protocol.canonical
        if [.http, .tcp, .udp].contains(proto) {
            require(listener.tls == nil, path + ".tls", "is not allowed with protocol \(proto)")
        }
        if [.tcp, .udp].contains(proto) {
            require(
                listener.hostname ?? "" == "", path + ".hostname",
                "is not allowed with protocol \(proto)")
        }
        if let tls = listener.tls { listenerTLS(tls, proto, path + ".tls") }
        if proto == .tls {
            require(listener.tls?.mode != nil, path + ".tls.mode", "is required with protocol TLS")
        }
        atMost(8, listener.allowedRoutes?.kinds?.count, path + ".allowedRoutes.kinds")
        for (index, kind) in (listener.allowedRoutes?.kinds ?? []).enumerated() {
            groupKind(kind.group, kind.kind, path + ".allowedRoutes.kinds[\(index)]")
        }
    }

    private mutating func listenerTLS(
        _ tls: ListenerTLSConfig, _ proto: ProtocolType, _ path: String
    ) {
        if proto == .https {
            require(
                tls.mode == nil || tls.mode == .terminate, path + ".mode",
                "must be Terminate with protocol HTTPS")
        }
        if tls.mode ?? .terminate == .terminate {
            require(
                !(tls.certificateRefs ?? []).isEmpty || !(tls.options ?? [:]).isEmpty,
                path + ".certificateRefs", "needs at least one entry to terminate TLS")
        }
        atMost(64, tls.certificateRefs?.count, path + ".certificateRefs")
        atMost(16, tls.options?.count, path + ".options")
        for (index, ref) in (tls.certificateRefs ?? []).enumerated() {
            secret(ref, path + ".certificateRefs[\(index)]")
        }
    }

    private mutating func addresses(_ addresses: [GatewaySpecAddress]) {
        atMost(16, addresses.count, "spec.addresses")
        var seen: Set<GatewaySpecAddress> = []
        for (index, address) in addresses.enumerated() {
            let path = "spec.addresses[\(index)]"
            let type = address.type ?? .ipAddress
            require(
                type.isKnown || type.rawValue == "NamedAddress"
                    || Patterns.isDomainPath(type.rawValue), path + ".type",
                "\"\(type)\" is not a type of address; use IPAddress")
            guard let value = address.value, !value.isEmpty else { continue }
            require(value.utf8.count <= 253, path + ".value", "may have at most 253 characters")
            if type == .hostname { hostname(value, path + ".value") }
            let whole = GatewaySpecAddress(type: type, value: value)
            require(seen.insert(whole).inserted, path, "\(value) is given twice")
        }
    }

    private mutating func frontend(_ frontend: FrontendTLSConfig) {
        let path = "spec.tls.frontend"
        validation(frontend.default.validation, path + ".default.validation")
        atMost(64, frontend.perPort?.count, path + ".perPort")
        for (index, entry) in (frontend.perPort ?? []).enumerated() {
            port(entry.port, path + ".perPort[\(index)].port")
            validation(entry.tls.validation, path + ".perPort[\(index)].tls.validation")
        }
        unique(
            (frontend.perPort ?? []).map { "\($0.port)" }, { path + ".perPort[\($0)].port" },
            "entry")
    }

    private mutating func validation(_ validation: FrontendTLSValidation?, _ path: String) {
        guard let validation else { return }
        notEmpty(validation.caCertificateRefs.count, path + ".caCertificateRefs")
        atMost(8, validation.caCertificateRefs.count, path + ".caCertificateRefs")
        for (index, ref) in validation.caCertificateRefs.enumerated() {
            let path = path + ".caCertificateRefs[\(index)]"
            groupKind(ref.group, ref.kind, path)
            objectName(ref.name, path + ".name")
            namespace(ref.namespace, path + ".namespace")
        }
        if let mode = validation.mode, !mode.isKnown {
            let names = FrontendValidationMode.known.map(\.rawValue)
            refuse(
                path + ".mode",
                "\"\(mode)\" is not AllowValidOnly or AllowInsecureFallback"
                    + didYouMean(mode.rawValue, among: names))
        }
    }
}
