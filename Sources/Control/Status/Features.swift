/// The features of the Gateway API that are claimed (`GatewayClass.status.supportedFeatures`).
enum Features {
    /// By name.
    static let supported = [
        "Gateway", "GatewayAddressEmpty", "GatewayHTTPListenerIsolation",
        "GatewayHTTPSListenerDetectMisdirectedRequests", "GatewayPort8080",
        "GatewayStaticAddresses", "HTTPRoute", "HTTPRoute303RedirectStatusCode",
        "HTTPRoute307RedirectStatusCode", "HTTPRoute308RedirectStatusCode",
        "HTTPRouteBackendRequestHeaderModification", "HTTPRouteBackendRequestRedirect",
        "HTTPRouteBackendTimeout",
        "HTTPRouteBackendURLRewrite", "HTTPRouteDestinationPortMatching", "HTTPRouteHostRewrite",
        "HTTPRouteMethodMatching", "HTTPRouteNamedRouteRule", "HTTPRouteParentRefPort",
        "HTTPRoutePathRedirect", "HTTPRoutePathRewrite", "HTTPRoutePortRedirect",
        "HTTPRouteQueryParamMatching", "HTTPRouteRequestTimeout",
        "HTTPRouteResponseHeaderModification", "HTTPRouteSchemeRedirect", "ReferenceGrant",
    ]
}
