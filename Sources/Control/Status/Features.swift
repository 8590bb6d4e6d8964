/// The features of the Gateway API that are claimed (`GatewayClass.status.supportedFeatures`).
enum Features {
    /// By name.
    static let supported = [
        "BackendTLSPolicy", "BackendTLSPolicySANValidation",
        "GRPCRoute", "GRPCRouteNamedRouteRule", "GRPCRouteRequestHeaderModifier", "Gateway",
        "GatewayAddressEmpty", "GatewayBackendClientCertificate",
        "GatewayFrontendClientCertificateValidation",
        "GatewayFrontendClientCertificateValidationInsecureFallback",
        "GatewayHTTPListenerIsolation",
        "GatewayHTTPSListenerDetectMisdirectedRequests", "GatewayPort8080",
        "GatewayStaticAddresses", "HTTPRoute", "HTTPRoute303RedirectStatusCode",
        "HTTPRoute307RedirectStatusCode", "HTTPRoute308RedirectStatusCode",
        "HTTPRouteBackendProtocolH2C", "HTTPRouteBackendProtocolWebSocket",
        "HTTPRouteBackendRequestHeaderModification", "HTTPRouteBackendRequestRedirect",
        "HTTPRouteBackendTimeout", "HTTPRouteBackendURLRewrite", "HTTPRouteCORS",
        "HTTPRouteDestinationPortMatching", "HTTPRouteExternalAuth",
        "HTTPRouteExternalAuthForwardBody", "HTTPRouteExternalAuthGRPC",
        "HTTPRouteExternalAuthHTTP",
        "HTTPRouteHostRewrite", "HTTPRouteMethodMatching", "HTTPRouteNamedRouteRule",
        "HTTPRouteParentRefPort", "HTTPRoutePathRedirect", "HTTPRoutePathRewrite",
        "HTTPRoutePortRedirect", "HTTPRouteQueryParamMatching", "HTTPRouteRequestMirror",
        "HTTPRouteRequestMultipleMirrors", "HTTPRouteRequestPercentageMirror",
        "HTTPRouteRequestTimeout",
        "HTTPRouteResponseHeaderModification", "HTTPRouteRetry", "HTTPRouteRetryBackendTimeout",
        "HTTPRouteRetryConnectionError", "HTTPRouteSchemeRedirect", "ListenerSet",
        "ReferenceGrant",
        "TCPRoute", "TLSRoute", "TLSRouteModeMixed", "TLSRouteModeTerminate", "UDPRoute",
    ]
}
