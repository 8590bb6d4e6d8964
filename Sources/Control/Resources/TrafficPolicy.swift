/// Policies for traffic.
///
/// Read; not served yet.
public struct TrafficPolicy: Resource, Codable {
    public static let kind = "TrafficPolicy"
    public static let groups = [APIGroup(Groups.own, "v1alpha1")]

    public var metadata: ObjectMeta
    public var spec: OpaqueSettings?
}
