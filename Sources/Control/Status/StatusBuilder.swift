/// Writes the status of each object from what was resolved.
struct StatusBuilder {
    let resolution: Resolution
    let observations: Observations?
    private let history: ConditionWriter.History
    private let now: String?
    private let gatewaysByName: [NamespacedName: Int]
    private var nextRoute = 0
    private var nextSet = 0
    private var nextPolicy = 0
    private var nextTrafficPolicy = 0
    /// For InferencePools, Services and policies: the Gateways that lead to them.
    private lazy var users = BackendUsers(resolution)
    private(set) var objects: [ObjectStatus] = []
    private(set) var problems: [ConfigProblem] = []

    init(_ resolution: Resolution, observations: Observations?) {
        self.resolution = resolution
        self.observations = observations
        history = ConditionWriter.History(observations?.previous ?? [])
        now = observations?.now.map(UTC.text)
        var byName: [NamespacedName: Int] = [:]
        for (number, gateway) in resolution.gateways.enumerated() {
            byName[gateway.name] = number
        }
        gatewaysByName = byName
    }

    /// Adds an object's status; objects come in the order of the documents.
    mutating func add(_ object: LocatedObject) {
        switch object.resource {
        case is HTTPRoute, is GRPCRoute, is TLSRoute, is TCPRoute, is UDPRoute:
            addRoute(
                object, resolution.routes[nextRoute], resolution.index.routes[nextRoute].parentRefs)
            nextRoute += 1
        case let resource as GatewayClass: add(resource, object)
        case is Gateway: addGateway(object)
        case let resource as Backend: add(resource, object)
        case let resource as GatewayParameters: add(resource, object)
        case is ListenerSet:
            addSet(object, resolution.sets[nextSet])
            nextSet += 1
        case is BackendTLSPolicy:
            addTLSPolicy(object, resolution.index.tlsPolicies.admitted[nextPolicy])
            nextPolicy += 1
        case let resource as InferencePool: add(resource, object)
        case let resource as InferenceObjective: add(object, poolRef: resource.spec.poolRef)
        case let resource as InferenceModelRewrite: add(object, poolRef: resource.spec.poolRef)
        case is TrafficPolicy: addTrafficPolicy(object)
        case is XBackendTrafficPolicy:
            add(object, resolution.index.backendTrafficPolicies.policies[nextTrafficPolicy])
            nextTrafficPolicy += 1
        default: break
        }
    }

    /// Brings the problems into the order of the documents' text.
    mutating func sortProblems() {
        problems.sort {
            switch ($0.position, $1.position) {
            case (let a?, let b?) where a != b: a < b
            case (nil, _?): true
            case (_?, nil): false
            default: ($0.fieldPath, $0.message) < ($1.fieldPath, $1.message)
            }
        }
    }

    // MARK: - Parts

    private func writer(_ object: LocatedObject, section: String = "") -> ConditionWriter {
        ConditionWriter(object: object, history: history, now: now, section: section)
    }

    private mutating func append(_ object: LocatedObject, _ status: StatusFields) {
        objects.append(
            ObjectStatus(
                apiVersion: object.apiVersion, kind: object.kind,
                metadata: ObjectStatus.Metadata(
                    name: object.name, namespace: object.namespace,
                    generation: object.generation), status: status))
    }

    private mutating func note(
        _ findings: [Finding], of object: LocatedObject,
        _ severity: ConfigProblem.Severity = .error
    ) {
        for finding in findings {
            problems.append(
                object.problem(
                    severity, at: finding.fieldPath, reason: finding.reason, finding.message))
        }
    }

    // MARK: - GatewayClass and parameters

    private mutating func add(_ gatewayClass: GatewayClass, _ object: LocatedObject) {
        guard gatewayClass.spec.controllerName == GatewayClass.ownController else {
            problems.append(
                object.problem(
                    .notice, at: "spec.controllerName", reason: "Ignored",
                    "is served by \(gatewayClass.spec.controllerName), not by ai-gateway "
                        + "(\(GatewayClass.ownController)); its Gateways are left alone"))
            return
        }
        let parameters = ParametersResolver(index: resolution.index)
        let findings =
            parameters.refusal(
                ofClass: Entry(object: object, resource: gatewayClass)
            ).map { [$0] } ?? []
        note(findings, of: object)
        let writer = writer(object)
        append(
            object,
            StatusFields(
                conditions: [
                    writer.positive(
                        "Accepted", findings, reason: "Accepted",
                        message: "Gateways of this class are served by ai-gateway"),
                    writer.condition(
                        "SupportedVersion", .isTrue, "SupportedVersion",
                        "the Gateway API is read up to v1.6"),
                ],
                supportedFeatures: Features.supported.map(SupportedFeature.init)))
    }

    private mutating func add(_ parameters: GatewayParameters, _ object: LocatedObject) {
        let rejected = ParametersResolver.rejection(of: parameters).map { [$0] } ?? []
        var unserved = ParametersResolver.unserved(in: parameters)
        let resolver = ParametersResolver(index: resolution.index)
        if let finding = resolver.sealingFinding(of: Entry(object: object, resource: parameters)) {
            unserved.append(finding)
        }
        note(rejected, of: object)
        note(unserved, of: object, .warning)
        let writer = writer(object)
        var conditions = [
            writer.positive(
                "Accepted", rejected, reason: "Accepted", message: "the parameters are valid")
        ]
        if rejected.isEmpty, !unserved.isEmpty {
            conditions.append(
                writer.condition(
                    "PartiallyInvalid", .isTrue, unserved[0].reason, Finding.text(unserved)))
        }
        append(object, StatusFields(conditions: conditions))
    }

    // MARK: - Gateway

    private mutating func addGateway(_ object: LocatedObject) {
        guard let number = gatewaysByName[NamespacedName(object)] else {
            problems.append(
                object.problem(
                    .notice, at: "spec.gatewayClassName", reason: "Ignored",
                    "is of a class that another controller serves"))
            return
        }
        var status = GatewayStatusWriter(
            resolution, gateway: number, observations: observations,
            writer: { [history, now] section in
                ConditionWriter(object: object, history: history, now: now, section: section)
            })
        append(object, status.write())
        note(status.faults, of: object)
        note(status.warnings, of: object, .warning)
    }

    private mutating func addSet(_ object: LocatedObject, _ set: ResolvedListenerSet) {
        if set.gateway == nil, set.rejected == nil {
            problems.append(
                object.problem(
                    .notice, at: "spec.parentRef", reason: "Ignored",
                    "names a Gateway of a class that another controller serves"))
            return
        }
        var status = ListenerSetStatusWriter(
            resolution, set, observations: observations,
            writer: { [history, now] section in
                ConditionWriter(object: object, history: history, now: now, section: section)
            })
        append(object, status.write())
        note(status.faults, of: object)
        note(status.warnings, of: object, .warning)
    }

    // MARK: - Routes

    private mutating func addRoute(
        _ object: LocatedObject, _ route: ResolvedRoute, _ refs: [ParentReference]
    ) {
        if refs.isEmpty {
            problems.append(
                object.problem(
                    .warning, at: "spec", reason: "NoMatchingParent",
                    "has no parentRefs, so nothing leads to it; name a Gateway"))
        }
        var seen: Set<Finding> = []
        let rules = route.rules.flatMap(\.findings)
        note(route.unresolved, of: object)
        note(rules.filter { seen.insert($0).inserted }, of: object)
        var parents: [ParentStatus] = []
        for parent in route.parents {
            if let finding = parent.rejected, seen.insert(finding).inserted,
                !rules.contains(where: { $0.fieldPath == finding.fieldPath })
            {
                note([finding], of: object)
            }
            note(parent.notes, of: object, .warning)
            parents.append(
                ParentStatus(
                    parentRef: parent.ref, controllerName: GatewayClass.ownController,
                    conditions: conditions(of: route, parent, object)))
        }
        append(object, StatusFields(parents: parents))
    }

    private func conditions(
        of route: ResolvedRoute, _ parent: ResolvedParent, _ object: LocatedObject
    ) -> [Condition] {
        let writer = writer(object, section: parent.ref.shortDescription)
        var conditions = [
            writer.positive(
                "Accepted", parent.rejected.map { [$0] } ?? [], reason: "Accepted",
                message: accepted(parent))
        ]
        conditions.append(
            writer.positive(
                "ResolvedRefs", route.unresolved, reason: "ResolvedRefs",
                message: route.notes.isEmpty
                    ? "all references resolve"
                    : "all references resolve; "
                        + Finding.text(route.notes.map { Finding("", $0) })))
        if parent.rejected == nil, route.isPartial {
            let dropped = route.rules.indices.filter { !route.rules[$0].findings.isEmpty }
            let names = sentenceList(dropped.map { "rules[\($0)]" }, "and")
            let findings = route.rules.flatMap(\.findings)
            conditions.append(
                writer.condition(
                    "PartiallyInvalid", .isTrue, findings[0].reason,
                    "Dropped Rule: requests for \(names) are answered 500; "
                        + Finding.text(findings)))
        }
        return conditions
    }

    private func accepted(_ parent: ResolvedParent) -> String {
        let names = parent.attachments.map {
            resolution.listeners[$0.listener].description
        }
        let text =
            "attached to listener\(names.count == 1 ? "" : "s") " + sentenceList(names, "and")
        return parent.notes.isEmpty ? text : "\(text); \(Finding.text(parent.notes))"
    }

    // MARK: - Backends

    private mutating func add(_ backend: Backend, _ object: LocatedObject) {
        let rejected = BackendResolver.rejection(of: backend).map { [$0] } ?? []
        var unresolved: [Finding] = []
        if rejected.isEmpty, backend.spec.protocol?.isTLS ?? false {
            let resolver = BackendResolver(resolution.index, observations: observations)
            let entry = Entry(object: object, resource: backend)
            if case .failure(let error) = resolver.trust(of: entry) {
                unresolved = [error.finding]
            }
        }
        note(rejected + unresolved, of: object)
        let writer = writer(object)
        append(
            object,
            StatusFields(conditions: [
                writer.positive(
                    "Accepted", rejected, reason: "Accepted", message: "the backend is valid"),
                writer.positive(
                    "ResolvedRefs", unresolved, reason: "ResolvedRefs",
                    message: "all references resolve"),
            ]))
    }

    // MARK: - BackendTLSPolicies

    /// One entry a Gateway, for as long as one of its routes, or a pool's picker, refers to a target.
    private mutating func addTLSPolicy(_ object: LocatedObject, _ policy: ResolvedTLSPolicy) {
        var targets: [Int: [ResolvedTLSPolicy.Target]] = [:]
        for target in policy.targets {
            guard let service = target.service else { continue }
            for number in users.gateways(ofService: service) {
                targets[number, default: []].append(target)
            }
        }
        // Without certificates it is the references that are at fault.
        let rejected = policy.rejected.filter { $0.reason != "NoValidCACertificate" }
        note(policy.targets.compactMap(\.refusal) + policy.unresolved + rejected, of: object)
        // As many as the API lets a policy have.
        let ancestors = targets.sorted { $0.key < $1.key }.prefix(16)
        append(
            object,
            StatusFields(
                ancestors: ancestors.map { number, targets in
                    let ref = parentReference(toGateway: number)
                    let writer = writer(object, section: ref.shortDescription)
                    let refusals = targets.compactMap(\.refusal)
                    let held = targets.filter { $0.refusal == nil }.map(\.title)
                    var accepted = "holds for \(sentenceList(held, "and"))"
                    if !refusals.isEmpty { accepted += "; \(Finding.text(refusals))" }
                    return AncestorStatus(
                        ancestorRef: ref, controllerName: GatewayClass.ownController,
                        conditions: [
                            writer.positive(
                                "Accepted", (held.isEmpty ? refusals : []) + policy.rejected,
                                reason: "Accepted", message: accepted),
                            writer.positive(
                                "ResolvedRefs", policy.unresolved, reason: "ResolvedRefs",
                                message: "all references resolve"),
                        ])
                }))
    }

    /// Says what BackendTLSPolicies that are not used close, so that whoever sees a Service without answers finds out why.
    mutating func addRefusedPolicies() {
        for policy in resolution.index.tlsPolicies.refused {
            let closed = policy.targets.filter { $0.refusal == nil }.map(\.title)
            note(policy.targets.compactMap(\.refusal), of: policy.entry.object)
            if closed.isEmpty { continue }
            let finding = Finding(
                "Closed", at: "spec.targetRefs",
                "\(Finding.text(policy.rejected)), so nothing is sent to \(sentenceList(closed, "and")) "
                    + "until it is mended or deleted")
            note([finding], of: policy.entry.object, .notice)
        }
    }

    // MARK: - XBackendTrafficPolicies

    /// One entry a Gateway, for as long as one of its routes refers to a target.
    private mutating func add(_ object: LocatedObject, _ policy: ResolvedTrafficPolicy) {
        var targets: [Int: [ResolvedTrafficPolicy.Target]] = [:]
        for target in policy.targets {
            let gateways =
                target.backend.kind == Service.kind
                ? Array(users.gateways(ofService: target.backend.name))
                : Array(users.gateways(ofPool: target.backend).keys)
            for number in gateways { targets[number, default: []].append(target) }
        }
        note(policy.targets.compactMap(\.refusal) + policy.rejected, of: object)
        let ancestors = targets.sorted { $0.key < $1.key }.prefix(16)
        append(
            object,
            StatusFields(
                ancestors: ancestors.map { number, targets in
                    let ref = parentReference(toGateway: number)
                    let refusals = targets.compactMap(\.refusal)
                    let held = targets.filter { $0.refusal == nil }.map(\.title)
                    var accepted = "holds for \(sentenceList(held, "and"))"
                    if !refusals.isEmpty { accepted += "; \(Finding.text(refusals))" }
                    return AncestorStatus(
                        ancestorRef: ref, controllerName: GatewayClass.ownController,
                        conditions: [
                            writer(object, section: ref.shortDescription).positive(
                                "Accepted", (held.isEmpty ? refusals : []) + policy.rejected,
                                reason: "Accepted", message: accepted)
                        ])
                }))
    }

    // MARK: - InferencePools

    /// One entry a Gateway, for as long as one of its routes refers to the pool.
    private mutating func add(_ pool: InferencePool, _ object: LocatedObject) {
        let entry = Entry(object: object, resource: pool)
        let resolver = PoolResolver(index: resolution.index)
        let picker = resolver.picker(of: entry)
        var unresolved: [Finding] = []
        if case .unresolved(var finding, _) = picker {
            finding.message += "; " + resolver.words(on: picker)
            unresolved = [finding]
        }
        note(unresolved, of: object)
        var export: Finding?
        if pool.metadata.annotations?[InferencePool.exportAnnotation] != nil {
            export = Finding("NotSupported", "pools are not exported to other clusters")
            note([export].compactMap { $0 }, of: object, .warning)
        }
        let count = resolver.endpoints(of: entry).count
        let accepted =
            "\(count == 0 ? "no endpoint is" : count == 1 ? "1 endpoint is" : "\(count) endpoints are")"
            + " ready; " + resolver.words(on: picker)
        let gateways = users.gateways(ofPool: PoolName(object)).sorted { $0.key < $1.key }
        append(
            object,
            StatusFields(
                parents: gateways.map { number, hasRoute in
                    let ref = parentReference(toGateway: number)
                    let writer = writer(object, section: ref.shortDescription)
                    let rejected =
                        hasRoute
                        ? []
                        : [
                            Finding(
                                "HTTPRouteNotAccepted",
                                "no route that refers to it is accepted by the Gateway")
                        ]
                    var conditions = [
                        writer.positive(
                            "Accepted", rejected, reason: "Accepted", message: accepted),
                        writer.positive(
                            "ResolvedRefs", unresolved, reason: "ResolvedRefs",
                            message: "all references resolve"),
                    ]
                    if let export {
                        conditions.append(
                            writer.positive(
                                "Exported", [export], reason: "Exported", message: ""))
                    }
                    return ParentStatus(
                        parentRef: ref, controllerName: GatewayClass.ownController,
                        conditions: conditions)
                }))
    }

    /// An objective or a rewrite: it waits for as long as its pool is not there.
    private mutating func add(_ object: LocatedObject, poolRef: InferencePoolReference) {
        let namespace = object.namespace ?? ""
        let finding = PoolPolicies.refusal(of: poolRef, in: namespace, resolution.index)
        note([finding].compactMap { $0 }, of: object, .warning)
        let pool = PoolPolicies.pool(poolRef, of: NamespacedName(object))
        let writer = writer(object)
        append(
            object,
            StatusFields(conditions: [
                finding.map {
                    writer.condition("Accepted", .unknown, $0.reason, $0.text)
                } ?? writer.condition("Accepted", .isTrue, "Accepted", "holds for \(pool)")
            ]))
    }

    private func parentReference(toGateway number: Int) -> ParentReference {
        let name = resolution.gateways[number].name
        return ParentReference(
            group: Groups.gateway, kind: Gateway.kind, namespace: name.namespace, name: name.name)
    }

    private mutating func addTrafficPolicy(_ object: LocatedObject) {
        let finding = Finding("UnsupportedValue", "TrafficPolicy is not supported yet")
        note([finding], of: object)
        append(
            object,
            StatusFields(conditions: [
                writer(object).positive("Accepted", [finding], reason: "Accepted", message: "")
            ]))
    }
}
