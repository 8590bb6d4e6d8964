import Routing

/// Turns ExternalAuth filters of the API into those of the table.
enum AuthorizationCompiler {
    /// A filter that was checked, as it is asked at a cluster; `cluster` is nil where nobody is there.
    static func authorization(
        _ filter: HTTPExternalAuthFilter, cluster: UInt32?, series: UInt32, name: String
    ) -> ExternalAuthorization {
        let isCall = filter.isGRPC
        return ExternalAuthorization(
            cluster: cluster ?? .max, dialect: isCall ? .grpc : .http,
            path: isCall ? "" : ExternalAuthorization.prefix(filter.http?.path ?? ""),
            requestFields: (isCall ? filter.grpc?.allowedHeaders : filter.http?.allowedHeaders)
                ?? [],
            answerFields: isCall ? [] : filter.http?.allowedResponseHeaders ?? [],
            contentBytesMax: UInt32(clamping: filter.forwardBody?.maxSize ?? 0), series: series,
            name: name)
    }
}

extension HTTPExternalAuthFilter {
    /// Whether what is asked is a call of Envoy's `Authorization`.
    var isGRPC: Bool { self.protocol == "GRPC" }
}
