/// An object with its status, in the API's form.
public struct ObjectStatus: Codable, Hashable, Sendable {
    public struct Metadata: Codable, Hashable, Sendable {
        public var name: String
        public var namespace: String?
        public var generation: Int
    }

    public var apiVersion: String
    public var kind: String
    public var metadata: Metadata
    public var status: StatusFields

    /// The object as people say it.
    public var reference: ObjectReference {
        ObjectReference(kind: kind, namespace: metadata.namespace, name: metadata.name)
    }
}

/// The fields of all kinds' statuses; each kind has some of them.
public struct StatusFields: Codable, Hashable, Sendable {
    public var conditions: [Condition]?
    /// GatewayClass.
    public var supportedFeatures: [SupportedFeature]?
    /// Gateway: the addresses that are bound.
    public var addresses: [GatewayStatusAddress]?
    /// Gateway.
    public var listeners: [ListenerStatus]?
    /// Gateway.
    public var attachedListenerSets: Int?
    /// Routes and InferencePools.
    public var parents: [ParentStatus]?
    /// Policies.
    public var ancestors: [AncestorStatus]?
}

public struct SupportedFeature: Codable, Hashable, Sendable {
    public var name: String
}

public struct GatewayStatusAddress: Codable, Hashable, Sendable {
    public var type: String
    public var value: String
}

public struct ListenerStatus: Codable, Hashable, Sendable {
    public var name: String
    public var supportedKinds: [RouteGroupKind]
    public var attachedRoutes: Int
    public var conditions: [Condition]
}

public struct ParentStatus: Codable, Hashable, Sendable {
    public var parentRef: ParentReference
    public var controllerName: String
    public var conditions: [Condition]
}

public struct AncestorStatus: Codable, Hashable, Sendable {
    public var ancestorRef: ParentReference
    public var controllerName: String
    public var conditions: [Condition]
}

extension StatusFields {
    /// Every condition with where in the status it stands: empty for the object itself, else
    /// `listener http`, `Gateway ai/gw` and the like.
    var allConditions: [(section: String, conditions: [Condition])] {
        var sections: [(String, [Condition])] = []
        if let conditions { sections.append(("", conditions)) }
        for listener in listeners ?? [] {
            sections.append(("listener \(listener.name)", listener.conditions))
        }
        for parent in parents ?? [] {
            sections.append((parent.parentRef.shortDescription, parent.conditions))
        }
        for ancestor in ancestors ?? [] {
            sections.append((ancestor.ancestorRef.shortDescription, ancestor.conditions))
        }
        return sections
    }
}

extension ParentReference {
    /// `Gateway ai/gw`, with the section and port where they are given.
    var shortDescription: String {
        var text = effectiveKind + " "
        if let namespace { text += "\(namespace)/" }
        text += name
        if let sectionName { text += " listener \(sectionName)" }
        if let port { text += " port \(port)" }
        return text
    }
}
