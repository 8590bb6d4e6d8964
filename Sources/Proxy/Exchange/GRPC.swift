import HTTP

/// gRPC as far as a gateway that forwards it has a say: errors of its own, and deadlines
/// (the protocol's «gRPC over HTTP2»).
enum GRPC {
    /// The `grpc-status` that says what an answer of the gateway's own means.
    static func status(_ reply: LocalReply) -> UInt64 {
        switch reply {
        case .noListener, .noRoute: 12  // UNIMPLEMENTED
        case .firstByteTimeout, .attemptTimeout, .requestTimeout: 4  // DEADLINE_EXCEEDED
        case .contentTooLarge, .headTooLargeAfterFilters: 8  // RESOURCE_EXHAUSTED
        // RESOURCE_EXHAUSTED, INTERNAL
        case .malformed(let problem): problem.status == 431 ? 8 : 13
        case .requestHeaderTimeout, .requestContentTimeout: 13
        case .unreadableContent: 3  // INVALID_ARGUMENT
        case .rejected(.modelUnknown): 5  // NOT_FOUND
        // RESOURCE_EXHAUSTED
        case .rejected(.saturated), .rejected(.queueFull), .rejected(.evicted): 8
        case .redirect, .preflight: 2  // UNKNOWN
        case .originRefused, .denied: 7  // PERMISSION_DENIED
        case .misdirected, .outdatedConnection, .noBackend, .failedFilter, .noEndpoint,
            .pickerFailed,
            .authorizationFailed, .overloaded, .connectRefused, .connectTimeout, .upstreamTLS,
            .upstreamReset,
            .retriesExhausted, .retryBudgetSpent, .malformedAnswer, .rejected(.noEndpoint),
            .rejected(.deadline):
            14  // UNAVAILABLE
        }
    }

    /// What `grpc-timeout` says, in milliseconds, at least 1: up to eight digits and a unit; nil when it is malformed.
    static func milliseconds(_ timeout: Span<UInt8>) -> UInt32? {
        guard timeout.count >= 2, timeout.count <= 9 else { return nil }
        var number: UInt64 = 0
        for at in 0..<(timeout.count - 1) {
            let digit = timeout[at] &- UInt8(ascii: "0")
            if digit > 9 { return nil }
            number = number * 10 + UInt64(digit)
        }
        let milliseconds: UInt64
        switch timeout[timeout.count - 1] {
        case UInt8(ascii: "H"): milliseconds = number * 3_600_000
        case UInt8(ascii: "M"): milliseconds = number * 60_000
        case UInt8(ascii: "S"): milliseconds = number * 1_000
        case UInt8(ascii: "m"): milliseconds = number
        case UInt8(ascii: "u"): milliseconds = (number + 999) / 1_000
        case UInt8(ascii: "n"): milliseconds = (number + 999_999) / 1_000_000
        default: return nil
        }
        return UInt32(clamping: max(milliseconds, 1))
    }
}
