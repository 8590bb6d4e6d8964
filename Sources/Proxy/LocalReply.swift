import HTTP
import Inference
import Telemetry

/// Every answer that the gateway makes itself: the one place where a cause becomes a status.
enum LocalReply: Equatable, BitwiseCopyable {
    case noListener
    case noRoute
    case misdirected
    case outdatedConnection
    case noBackend
    case failedFilter
    case noEndpoint
    case pickerFailed
    /// Who is asked whether the request may pass could not be asked.
    case authorizationFailed
    /// The request may not pass; status, fields and content stand with its question.
    case denied
    case overloaded
    case connectRefused
    case connectTimeout
    case upstreamTLS
    case upstreamReset
    case retriesExhausted
    case retryBudgetSpent
    case malformedAnswer
    case firstByteTimeout
    case attemptTimeout
    case requestTimeout
    case requestHeaderTimeout
    case requestContentTimeout
    case contentTooLarge
    case headTooLargeAfterFilters
    case malformed(Malformed)
    /// Content that no model can be chosen by.
    case unreadableContent(BodyRefusal)
    /// A pool did not take the request.
    case rejected(RejectionReason)
    /// A filter answers with a redirect; its status and Location stand beside.
    case redirect
    /// A CORS policy answers a preflight.
    case preflight
    /// A preflight from an origin that a CORS policy does not let in.
    case originRefused

    /// The answer to a failure on the backend's side.
    init(_ failure: UpstreamFailure) {
        switch failure {
        case .connectRefused: self = .connectRefused
        case .connectTimeout: self = .connectTimeout
        case .tls: self = .upstreamTLS
        case .resetBeforeHead, .truncated, .idleTimeout: self = .upstreamReset
        case .malformedAnswer: self = .malformedAnswer
        case .firstByteTimeout: self = .firstByteTimeout
        case .noEndpoint: self = .noEndpoint
        case .overloaded: self = .overloaded
        case .attemptTimeout: self = .attemptTimeout
        case .requestTimeout: self = .requestTimeout
        }
    }

    /// Status, slug for `x-gateway-error` and the log, and what to say.
    var row: (status: UInt16, slug: StaticString, sentence: StaticString) {
        switch self {
        case .noListener:
            (
                404, "no_listener",
                """
                No listener of this gateway serves this host. Check the Host header and the \
                listeners' hostnames.
                """
            )
        case .noRoute:
            (
                404, "no_route",
                """
                No route matches this request. Check the path, method and headers against \
                the HTTPRoutes, or ask the gateway's operator.
                """
            )
        case .misdirected:
            (
                421, "misdirected",
                """
                This connection was made for another server name. Open a new connection \
                whose TLS server name is the requested host.
                """
            )
        case .outdatedConnection:
            (
                421, "outdated_connection",
                """
                This connection was made before the gateway asked clients for the certificates \
                that it asks for now. Open a new connection.
                """
            )
        case .noBackend:
            (
                500, "no_backend",
                """
                The matching route has no usable backend. Its status says which reference is \
                wrong.
                """
            )
        case .failedFilter:
            (
                500, "filter_unusable",
                """
                The matching route has a filter that this gateway cannot apply, so the \
                request was not forwarded. Its status says which.
                """
            )
        case .noEndpoint:
            (
                503, "no_endpoint",
                """
                The backend has no endpoint that is ready. Try again later.
                """
            )
        case .pickerFailed:
            (
                503, "picker_failed",
                """
                The endpoint picker of this pool did not choose an endpoint. Try again later.
                """
            )
        case .authorizationFailed:
            (
                503, "authorization_failed",
                """
                The request was not authorized, because the authorization service could not be \
                asked or gave no usable answer. Try again later.
                """
            )
        case .denied: (403, "authorization_denied", "")
        case .overloaded:
            (
                503, "overloaded",
                """
                Too many requests are under way to this backend. Try again later.
                """
            )
        case .connectRefused:
            (
                503, "connect_refused",
                """
                No connection to the backend could be made. It may be starting or down; try \
                again later.
                """
            )
        case .connectTimeout:
            (
                503, "connect_timeout",
                """
                The backend did not accept a connection in time. It may be down or \
                overloaded; try again later.
                """
            )
        case .upstreamTLS:
            (
                502, "upstream_tls",
                """
                The TLS handshake with the backend failed, so nothing was sent. The \
                gateway's operator should check its certificate and name.
                """
            )
        case .upstreamReset:
            (
                502, "upstream_reset",
                """
                The backend ended the connection before it answered. The request may have \
                been started; try again if that is safe.
                """
            )
        case .retriesExhausted:
            (
                503, "retries_exhausted",
                """
                The backend ended the connection before it answered, each time that the request was \
                sent. Try again later.
                """
            )
        case .retryBudgetSpent:
            (
                503, "retry_budget_spent",
                """
                The backend failed, and too many requests to it have been sent again lately for this one to                 be. Try again later.
                """
            )
        case .malformedAnswer:
            (
                502, "malformed_answer",
                """
                The backend's answer breaks HTTP and was not passed on. The gateway's \
                operator should look at the backend.
                """
            )
        case .firstByteTimeout:
            (
                504, "first_byte_timeout",
                """
                The backend did not begin to answer in time. It may be loading a model; try \
                again later.
                """
            )
        case .attemptTimeout:
            (
                504, "backend_request_timeout",
                """
                The backend did not answer within the route's timeouts.backendRequest.
                """
            )
        case .requestTimeout:
            (
                504, "request_timeout",
                """
                The request was not finished within the route's timeouts.request.
                """
            )
        case .requestHeaderTimeout:
            (
                408, "request_header_timeout",
                """
                The request's head did not arrive in time. Send it again.
                """
            )
        case .requestContentTimeout:
            (
                408, "request_content_timeout",
                """
                The request's content stopped arriving. Send it again.
                """
            )
        case .contentTooLarge:
            (
                413, "content_too_large",
                """
                The request's content is larger than this gateway accepts. Send less, or \
                have the limit raised.
                """
            )
        case .headTooLargeAfterFilters:
            (
                431, "head_too_large",
                """
                The request's head is too large after the route's filters were applied. Send \
                fewer or shorter fields.
                """
            )
        case .redirect: (302, "redirect", "")
        case .preflight: (204, "preflight", "")
        case .originRefused:
            (
                403, "origin_refused",
                """
                Pages of this origin may not call this route. Have it added to \
                allowOrigins of the route's CORS filter.
                """
            )
        case .malformed(let problem):
            (UInt16(problem.status), "malformed_request", problem.sentence)
        case .unreadableContent(let refusal):
            (refusal.status, "unreadable_content", refusal.sentence)
        case .rejected(let reason): LocalReply.row(of: reason)
        }
    }

    private static func row(
        of reason: RejectionReason
    ) -> (status: UInt16, slug: StaticString, sentence: StaticString) {
        let status = UInt16(reason.status)
        return switch reason {
        case .saturated:
            (status, "pool_saturated", "All model servers are busy. Try again later.")
        case .queueFull:
            (
                status, "pool_queue_full",
                "Too many requests wait for the model servers already. Try again later."
            )
        case .evicted:
            (
                status, "pool_evicted",
                """
                The request waited for a model server and gave its place to one of higher \
                priority. Try again later.
                """
            )
        case .deadline:
            (
                status, "pool_wait_expired",
                "No model server was free in time. Try again later."
            )
        case .noEndpoint:
            (
                status, "no_endpoint",
                "The backend has no endpoint that is ready. Try again later."
            )
        case .modelUnknown:
            (
                status, "model_not_found",
                "No model server has this model. Check its name, or have it installed."
            )
        }
    }

    /// The client may try again soon.
    var hasRetryAfter: Bool { row.status == 503 || row.status == 429 }

    /// The field that says why a pool dropped the request (`inference-extension.md` §8); empty for none.
    var droppedReason: StaticString {
        if case .rejected(let reason) = self { reason.droppedReason } else { "" }
    }
}

extension Dialect {
    /// By the content type of a call, else by the path.
    init(path: Span<UInt8>, contentType: Span<UInt8>) {
        if GRPCType.isCall(contentType) { self = .grpc } else { self.init(path: path) }
    }

    /// By a head that `HeadWriter` wrote.
    init(head: Span<UInt8>) {
        self.init(
            path: HeadLines.requestLine(of: head),
            contentType: head.extracting(HeadLines.value("content-type:", in: head, from: 0)))
    }
}
