import Runtime

/// An XBackendTrafficPolicy with what was found about it.
struct ResolvedTrafficPolicy: Sendable {
    /// One of its `targetRefs`.
    struct Target: Sendable {
        let backend: PoolName
        /// As people name it: `Service ai/web`.
        let title: String
        /// Why the policy does not hold there; nil when it does.
        var refusal: Finding?
    }

    let entry: Entry<XBackendTrafficPolicy>
    /// By position in `targetRefs`.
    var targets: [Target] = []
    /// Why it holds nowhere; empty when it does.
    var rejected: [Finding] = []

    var name: NamespacedName { entry.name }
    var session: SessionPersistence? { entry.resource.spec.sessionPersistence }
}

/// Which XBackendTrafficPolicy holds for which backend: of two the older one, then the first by name.
struct TrafficPolicies: Sendable {
    /// In the order of the documents.
    private(set) var policies: [ResolvedTrafficPolicy] = []
    /// Into `policies`.
    private var holders: [PoolName: Int] = [:]

    init() {}

    init(_ entries: [Entry<XBackendTrafficPolicy>], _ index: DocumentIndex) {
        for entry in entries { policies.append(Self.read(entry, index)) }
        let byAge = policies.indices.sorted {
            policies[$0].entry.object.isOlder(than: policies[$1].entry.object)
        }
        for number in byAge where policies[number].rejected.isEmpty { claim(number) }
    }

    /// The policy that holds for what a reference leads to; nil for none.
    func policy(of ref: BackendObjectReference, in namespace: String) -> ResolvedTrafficPolicy? {
        if holders.isEmpty { return nil }
        let name = NamespacedName(ref.namespace ?? namespace, ref.name)
        return policy(of: PoolName(ref.effectiveGroup, name, kind: ref.effectiveKind))
    }

    /// The policy that holds for a backend; nil for none.
    func policy(of backend: PoolName) -> ResolvedTrafficPolicy? {
        holders[backend].map { policies[$0] }
    }

    /// How many retries a backend gets, where a policy says so.
    func retries(of group: String, _ kind: String, _ name: NamespacedName) -> ClusterBlueprint
        .Retries?
    {
        if holders.isEmpty { return nil }
        let backend = PoolName(group, name, kind: kind)
        guard let policy = policy(of: backend),
            let constraint = policy.entry.resource.spec.retryConstraint
        else { return nil }
        return ClusterBlueprint.Retries(
            allowance: constraint.allowance, policy: policy.name, backend: backend)
    }

    /// How requests of a rule without sessions of its own stay together: where policies say the same of all its backends.
    func session(of rule: HTTPRouteRule, in namespace: String) -> SessionPersistence? {
        let sessions = sessions(of: rule, in: namespace)
        guard let first = sessions.first, sessions.allSatisfy({ $0 == first }) else { return nil }
        return first
    }

    /// Why sessions that a policy asks for are not kept in a rule; nil when they are, or none asks.
    func loss(in rule: HTTPRouteRule, of namespace: String) -> String? {
        if holders.isEmpty || rule.sessionPersistence != nil { return nil }
        let isAsked = sessions(of: rule, in: namespace).contains { $0 != nil }
        if !isAsked || session(of: rule, in: namespace) != nil { return nil }
        return
            "sessions of its backends' policies are not kept, for they do not say the same of all of them"
    }

    private func sessions(of rule: HTTPRouteRule, in namespace: String) -> [SessionPersistence?] {
        if holders.isEmpty || rule.sessionPersistence != nil { return [] }
        return (rule.backendRefs ?? []).map { policy(of: $0.object, in: namespace)?.session }
    }

    private mutating func claim(_ number: Int) {
        for (position, target) in policies[number].targets.enumerated() where target.refusal == nil
        {
            guard let holder = holders[target.backend] else {
                holders[target.backend] = number
                continue
            }
            policies[number].targets[position].refusal = Finding(
                "Conflicted", at: "spec.targetRefs[\(position)]",
                "XBackendTrafficPolicy \(policies[holder].name) comes first and holds for \(target.title)"
            )
        }
    }

    // MARK: - Reading

    private static func read(
        _ entry: Entry<XBackendTrafficPolicy>, _ index: DocumentIndex
    ) -> ResolvedTrafficPolicy {
        var policy = ResolvedTrafficPolicy(entry: entry)
        let spec = entry.resource.spec
        for (position, ref) in spec.targetRefs.enumerated() {
            let path = "spec.targetRefs[\(position)]"
            let backend = PoolName(
                ref.group, NamespacedName(entry.name.namespace, ref.name), kind: ref.kind)
            let finding = refusal(of: backend, isSession: spec.sessionPersistence != nil, index)
            policy.targets.append(
                ResolvedTrafficPolicy.Target(
                    backend: backend, title: "\(backend)",
                    refusal: finding.map { Finding($0.reason, at: path, $0.message) }))
        }
        if let session = spec.sessionPersistence {
            policy.rejected = SessionChecks.findings(in: session, at: "spec.sessionPersistence")
                .map { Finding("Invalid", at: $0.fieldPath, $0.message) }
        }
        return policy
    }

    private static func refusal(
        of backend: PoolName, isSession: Bool, _ index: DocumentIndex
    ) -> Finding? {
        let isThere: Bool
        switch (backend.group, backend.kind) {
        case (Groups.core, Service.kind):
            let service = index.services[backend.name]
            isThere = service != nil
            if isSession, service?.resource.spec.sessionAffinity == "ClientIP" {
                return Finding(
                    "Invalid", "\(backend) has a sessionAffinity of its own; have one of both")
            }
        case (Groups.own, Backend.kind): isThere = index.backends[backend.name] != nil
        case (_, InferencePool.kind) where PoolName.isGroup(backend.group):
            let pool = index.pools[backend]
            isThere = pool != nil
            if isSession, let pool, case .external = PoolResolver(index: index).picker(of: pool) {
                return Finding(
                    "Invalid", "the endpoints of \(backend) are chosen by its endpoint picker")
            }
        default:
            return Finding(
                "TargetNotFound",
                "\(backend.kind) of group \"\(backend.group)\" is not a target; use Service, InferencePool, or "
                    + "Backend of group \(Groups.own)")
        }
        if isThere { return nil }
        let names = index.names(of: backend.kind, in: backend.name.namespace)
        return Finding(
            "TargetNotFound",
            "\(backend) does not exist" + didYouMean(backend.name.name, among: names))
    }
}

extension RetryConstraint {
    /// With the API's defaults filled in.
    var allowance: RetryAllowance {
        var allowance = RetryAllowance()
        if let percent = budget?.percent { allowance.percent = UInt64(clamping: percent) }
        if let text = budget?.interval, let interval = GatewayDuration(text) {
            allowance.milliseconds = max(1, interval.milliseconds)
        }
        if let count = minRetryRate?.count { allowance.least = UInt64(clamping: count) }
        if let text = minRetryRate?.interval, let interval = GatewayDuration(text) {
            allowance.leastMilliseconds = max(1, interval.milliseconds)
        }
        return allowance
    }
}

// What the schema says of these policies.

extension FieldChecks {
    mutating func check(_ policy: XBackendTrafficPolicy) {
        let spec = policy.spec
        notEmpty(spec.targetRefs.count, "spec.targetRefs")
        atMost(16, spec.targetRefs.count, "spec.targetRefs")
        var seen: Set<LocalObjectReference> = []
        for (index, ref) in spec.targetRefs.enumerated() {
            groupKind(ref.group, ref.kind, "spec.targetRefs[\(index)]")
            objectName(ref.name, "spec.targetRefs[\(index)].name")
            require(seen.insert(ref).inserted, "spec.targetRefs[\(index)]", "is given twice")
        }
        if let budget = spec.retryConstraint?.budget {
            let path = "spec.retryConstraint.budget"
            inRange(budget.percent, 0...100, path + ".percent")
            interval(budget.interval, least: 1_000, path + ".interval")
        }
        if let rate = spec.retryConstraint?.minRetryRate {
            let path = "spec.retryConstraint.minRetryRate"
            inRange(rate.count, 1...1_000_000, path + ".count")
            interval(rate.interval, least: 1, path + ".interval")
        }
        if let session = spec.sessionPersistence {
            self.session(session, "spec.sessionPersistence")
        }
    }

    private mutating func interval(_ text: String?, least: UInt64, _ path: String) {
        guard let text, let duration = duration(text, path) else { return }
        require(
            (least...3_600_000).contains(duration.milliseconds), path,
            "\(text) is not within \(GatewayDuration.text(milliseconds: least)) to 1h")
    }
}
