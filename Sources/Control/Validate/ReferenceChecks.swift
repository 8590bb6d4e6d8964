// What the schema says of references, which all kinds of routes share.

extension FieldChecks {
    /// `spec.parentRefs` of a route.
    mutating func parentRefs(_ refs: [ParentReference]?) {
        guard let refs else { return }
        atMost(32, refs.count, "spec.parentRefs")
        for (index, ref) in refs.enumerated() {
            let path = { "spec.parentRefs[\(index)]" }
            groupKind(ref.group, ref.kind, path())
            objectName(ref.name, path() + ".name")
            namespace(ref.namespace, path() + ".namespace")
            if ref.sectionName != "" { sectionName(ref.sectionName, path() + ".sectionName") }
            port(ref.port, path() + ".port")
        }
        if refs.count > 1 { distinctParents(refs) }
    }

    /// Several references to one parent must each name another part of it.
    private mutating func distinctParents(_ refs: [ParentReference]) {
        var first: [ParentReference: (index: Int, ref: ParentReference)] = [:]
        var seen: Set<ParentReference> = []
        for (index, ref) in refs.enumerated() {
            var parent = ref
            parent.group = ref.effectiveGroup
            parent.kind = ref.effectiveKind
            parent.namespace = ref.namespace ?? object.namespace
            if !seen.insert(parent).inserted {
                refuse("spec.parentRefs[\(index)]", "is given twice")
                continue
            }
            parent.sectionName = nil
            parent.port = nil
            guard let other = first[parent] else {
                first[parent] = (index, ref)
                continue
            }
            let namesSection = (ref.sectionName == nil) == (other.ref.sectionName == nil)
            let namesPort = (ref.port == nil) == (other.ref.port == nil)
            require(
                namesSection && namesPort, "spec.parentRefs[\(index)]",
                "refers to the same parent as entry \(other.index), so both need a "
                    + "sectionName, or both a port")
        }
    }

    /// A backend's reference, at `path`.
    mutating func backend(_ ref: BackendObjectReference, _ path: @autoclosure () -> String) {
        groupKind(ref.group, ref.kind, path())
        objectName(ref.name, path() + ".name")
        namespace(ref.namespace, path() + ".namespace")
        port(ref.port, path() + ".port")
        if ref.port == nil, ref.effectiveKind == "Service", ref.effectiveGroup == Groups.core {
            refuse(path() + ".port", "is required for a Service")
        }
    }

    /// A backend's share.
    mutating func weight(_ weight: Int?, _ path: @autoclosure () -> String) {
        inRange(weight, 0...1_000_000, path() + ".weight")
    }

    /// `spec.hostnames` of a route.
    mutating func hostnames(_ names: [String]?, atMost limit: Int = 16) {
        guard let names else { return }
        atMost(limit, names.count, "spec.hostnames")
        for (index, name) in names.enumerated() { hostname(name, "spec.hostnames[\(index)]") }
    }

    /// A certificate's reference.
    mutating func secret(_ ref: SecretObjectReference, _ path: @autoclosure () -> String) {
        groupKind(ref.group, ref.kind, path())
        objectName(ref.name, path() + ".name")
        namespace(ref.namespace, path() + ".namespace")
    }
}
