/// All that follows from the documents about Gateways, routes and backends: what status reports
/// and what tables are made from.
struct Resolution: Sendable {
    let index: DocumentIndex
    let placement: Placement
    let gateways: [ResolvedGateway]
    let listeners: [ResolvedListener]
    /// In the order of the documents.
    let sets: [ResolvedListenerSet]
    /// Gateways that another controller serves.
    let foreign: [Entry<Gateway>]
    /// In the order of `index.routes`.
    let routes: [ResolvedRoute]
    /// What routes refer to.
    let clusters: [ClusterBlueprint]
    /// By listener: how many routes are attached.
    let attachedRoutes: [Int]

    init(_ documents: DocumentSet, placement: Placement, observations: Observations?) {
        let index = DocumentIndex(documents)
        var gateways = GatewayResolver(index, placement: placement, observations: observations)
        gateways.resolve()
        let resolver = RouteResolver(index, gateways)
        var backends = BackendResolver(index, observations: observations)
        var routes = index.routes.map { resolver.resolve($0, backends: &backends) }
        RouteConflicts(index.routes, gateways.listeners).apply(to: &routes)
        var attached = Array(repeating: 0, count: gateways.listeners.count)
        for route in routes {
            var seen: Set<Int> = []
            for parent in route.parents where parent.rejected == nil {
                for attachment in parent.attachments
                where seen.insert(attachment.listener).inserted {
                    attached[attachment.listener] += 1
                }
            }
        }
        self.index = index
        self.placement = placement
        self.gateways = gateways.gateways
        self.listeners = gateways.listeners
        self.sets = gateways.sets
        self.foreign = gateways.foreign
        self.routes = routes
        self.clusters = backends.clusters
        self.attachedRoutes = attached
    }
}
