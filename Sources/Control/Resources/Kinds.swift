extension KindRegistry {
    /// Every kind that this program reads.
    ///
    /// To add one, write its type and list it here.
    public static let all = KindRegistry([
        GatewayClass.self, Gateway.self, ListenerSet.self, HTTPRoute.self, GRPCRoute.self,
        TLSRoute.self, TCPRoute.self, UDPRoute.self, ReferenceGrant.self, BackendTLSPolicy.self,
        Namespace.self, Service.self, EndpointSlice.self, Pod.self, Secret.self, ConfigMap.self,
        ServiceImport.self, InferencePool.self, InferenceObjective.self,
        InferenceModelRewrite.self, Backend.self, GatewayParameters.self, TrafficPolicy.self,
        XBackendTrafficPolicy.self,
    ])
}
