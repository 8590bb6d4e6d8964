import Routing

/// Turns filters of the API into those of the table.
///
/// The filters have passed `RuleResolver`: what it refuses is not compiled.
enum FilterCompiler {
    /// The filters that are served, in their order.
    ///
    /// `mirrors` says where RequestMirror filters lead, by position; one that leads nowhere is dropped. `authorization` is
    /// what the ExternalAuth filter asks.
    static func filters(
        _ filters: [HTTPRouteFilter]?, mirrors: [Int: RequestMirror],
        authorization: ExternalAuthorization? = nil
    ) -> [FilterDescription] {
        (filters ?? []).enumerated().compactMap { number, filter in
            switch filter.type {
            case .requestMirror: mirrors[number].map { .requestMirror($0) }
            case .externalAuth: authorization.map { .externalAuth($0) }
            default: self.filter(filter)
            }
        }
    }

    private static func filter(_ filter: HTTPRouteFilter) -> FilterDescription? {
        switch filter.type {
        case .requestHeaderModifier:
            filter.requestHeaderModifier.map { .requestHeaders(modifier($0)) }
        case .responseHeaderModifier:
            filter.responseHeaderModifier.map { .responseHeaders(modifier($0)) }
        case .urlRewrite:
            filter.urlRewrite.map {
                .urlRewrite(URLRewrite(hostname: $0.hostname, path: $0.path.flatMap(path)))
            }
        case .requestRedirect: filter.requestRedirect.map { .requestRedirect(redirect($0)) }
        case .cors: filter.cors.map { .cors(policy($0)) }
        default: nil
        }
    }

    /// Fields to set, add and remove.
    static func modifier(_ filter: HTTPHeaderFilter) -> HeaderModifier {
        HeaderModifier(
            set: (filter.set ?? []).map { HeaderValue($0.name, $0.value) },
            add: (filter.add ?? []).map { HeaderValue($0.name, $0.value) },
            remove: filter.remove ?? [])
    }

    private static func redirect(_ filter: HTTPRequestRedirectFilter) -> RequestRedirect {
        RequestRedirect(
            scheme: filter.scheme, hostname: filter.hostname, path: filter.path.flatMap(path),
            port: filter.port.map { UInt16(clamping: $0) },
            status: UInt16(clamping: filter.statusCode ?? 302))
    }

    /// Who may call from other origins.
    static func policy(_ filter: HTTPCORSFilter) -> CORSPolicy {
        CORSPolicy(
            origins: filter.allowOrigins ?? [],
            allowsCredentials: filter.allowCredentials ?? false,
            methods: filter.allowMethods ?? [], headers: filter.allowHeaders ?? [],
            exposed: filter.exposeHeaders ?? [],
            maxAgeSeconds: UInt32(clamping: filter.maxAge ?? 5))
    }

    private static func path(_ modifier: HTTPPathModifier) -> PathModifier? {
        switch modifier.type {
        case .replaceFullPath: .replaceFull(modifier.replaceFullPath ?? "/")
        case .replacePrefixMatch: .replacePrefixMatch(modifier.replacePrefixMatch ?? "/")
        default: nil
        }
    }
}
