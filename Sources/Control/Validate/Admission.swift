/// Which documents are taken: what the API server's schemas would refuse is not used.
///
/// A refused object becomes a problem with the place of the field. Where an earlier version of
/// the object was taken, that one stays, as it would in a cluster when an update is refused.
public enum Admission {
    /// Takes what can be taken, and adds a problem for each field that is refused.
    ///
    /// - Parameters:
    ///   - documents: as read.
    ///   - previous: the taken documents of before, when there are any. Objects that did not
    ///     change since are not checked again.
    /// - Returns: the taken documents with all problems, sorted by place.
    public static func admit(
        _ documents: DocumentSet, keeping previous: DocumentSet? = nil
    ) -> DocumentSet {
        var before: [ObjectKey: LocatedObject] = [:]
        if let previous {
            before.reserveCapacity(previous.objects.count)
            for object in previous.objects { before[object.key] = object }
        }
        var taken: [LocatedObject] = []
        taken.reserveCapacity(documents.objects.count)
        var refusedPolicies = documents.refusedPolicies
        var problems = documents.problems
        for object in documents.objects {
            let earlier = previous == nil ? nil : before[object.key]
            if let earlier, earlier.digest == object.digest {
                taken.append(object)
                continue
            }
            let found = self.problems(of: object)
            if found.isEmpty {
                taken.append(object)
                continue
            }
            problems += found
            if let earlier {
                taken.append(earlier)
                problems.append(
                    object.problem(
                        .notice, reason: "Kept",
                        "its last good version stays in use (generation \(earlier.generation))"))
            } else if object.resource is BackendTLSPolicy {
                refusedPolicies.append(
                    RefusedPolicy(object: object, cause: "it was refused as it is written"))
            }
        }
        let policies = Set(
            taken.lazy.filter { $0.kind == BackendTLSPolicy.kind && $0.group == Groups.gateway }
                .map(\.key))
        refusedPolicies.removeAll { $0.yields && policies.contains($0.object.key) }
        for policy in refusedPolicies { problems += policy.untold }
        problems.sort(by: isBefore)
        var admitted = documents
        admitted.objects = taken
        admitted.refusedPolicies = refusedPolicies
        admitted.problems = problems
        return admitted
    }

    /// What the schema refuses about one object.
    static func problems(of object: LocatedObject) -> [ConfigProblem] {
        var checks = FieldChecks(object)
        switch object.resource {
        case let resource as HTTPRoute: checks.check(resource)
        case let resource as Service: checks.check(resource)
        case let resource as EndpointSlice: checks.check(resource)
        case let resource as Backend: checks.check(resource)
        case let resource as Gateway: checks.check(resource)
        case let resource as GatewayClass: checks.check(resource)
        case let resource as ListenerSet: checks.check(resource)
        case let resource as GRPCRoute: checks.check(resource)
        case let resource as TLSRoute: checks.check(resource)
        case let resource as TCPRoute: checks.check(resource)
        case let resource as UDPRoute: checks.check(resource)
        case let resource as ReferenceGrant: checks.check(resource)
        case let resource as BackendTLSPolicy: checks.check(resource)
        case let resource as XBackendTrafficPolicy: checks.check(resource)
        case let resource as GatewayParameters: checks.check(resource)
        case let resource as InferencePool: checks.check(resource)
        case let resource as InferenceObjective: checks.check(resource)
        case let resource as InferenceModelRewrite: checks.check(resource)
        default: break
        }
        return checks.problems
    }

    private static func isBefore(_ a: ConfigProblem, _ b: ConfigProblem) -> Bool {
        switch (a.position, b.position) {
        case (let x?, let y?) where x != y: x < y
        case (nil, _?): true
        case (_?, nil): false
        default: (a.fieldPath, a.message) < (b.fieldPath, b.message)
        }
    }
}
