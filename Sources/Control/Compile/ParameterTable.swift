import Kernel
import Runtime

/// The names under which documents set limits and timeouts, with the field that each sets.
///
/// Reading, checking and printing all go through this table, so that they cannot differ.
enum ParameterTable {
    /// A limit: a count, or a number of bytes.
    struct Limit: Sendable {
        let name: String
        let field: WritableKeyPath<Parameters, Int> & Sendable
        /// Values are bytes, and printed as `64Ki`.
        let isBytes: Bool
        let range: ClosedRange<Int>
    }

    /// A timeout, in milliseconds.
    struct Timeout: Sendable {
        let name: String
        let field: WritableKeyPath<Parameters, UInt32> & Sendable
    }

    /// A timeout that the system takes in whole seconds.
    struct SecondsTimeout: Sendable {
        let name: String
        let field: WritableKeyPath<Parameters, Int32> & Sendable
    }

    static let limits: [Limit] = [
        bytes("requestLineBytesMax", \.limits.requestLineBytesMax, 256...(1 << 20)),
        bytes("fieldBytesMax", \.limits.fieldBytesMax, 256...(1 << 20)),
        bytes("fieldsBytesMax", \.limits.fieldsBytesMax, 256...(1 << 20)),
        count("fieldCountMax", \.limits.fieldCountMax, 1...10_000),
        bytes("responseHeadBytesMax", \.limits.responseHeadBytesMax, 256...(1 << 20)),
        count("responseFieldCountMax", \.limits.responseFieldCountMax, 1...10_000),
        bytes("requestContentBytesMax", \.limits.requestContentBytesMax, 1...Int.max),
        bytes("replayBytesMax", \.limits.replayBytesMax, 1...(1 << 30)),
        bytes("heldContentBytesMax", \.limits.heldContentBytesMax, 1...(1 << 30)),
        count("clientConnectionsMax", \.limits.clientConnectionsMax, 1...10_000_000),
        count("udpSessionsMax", \.limits.udpSessionsMax, 1...65_536),
        count("upstreamConnectionsMax", \.limits.upstreamConnectionsMax, 1...1_000_000),
        count("upstreamPendingMax", \.limits.upstreamPendingMax, 1...1_000_000),
        count("retriesMax", \.limits.retriesMax, 0...16),
        count("inferenceRetriesMax", \.limits.inferenceRetriesMax, 0...16),
        count("retryBudgetPercent", \.limits.retryBudgetPercent, 0...100),
        count("retryBudgetMin", \.limits.retryBudgetMin, 0...1_000_000),
        count("interimAnswersMax", \.limits.interimAnswersMax, 1...1_000),
        count("http2StreamsMax", \.limits.http2StreamsMax, 1...1_000_000),
        count("http2TrustedStreamsMax", \.limits.http2TrustedStreamsMax, 1...1_000_000),
        bytes("lingerBytesMax", \.limits.lingerBytesMax, 1...(1 << 30)),
        count("tcpKeepAliveProbes", \.timeouts.tcpKeepAliveProbeCount, 1...127),
    ]

    static let timeouts: [Timeout] = [
        Timeout(name: "requestHeader", field: \.timeouts.requestHeaderMilliseconds),
        Timeout(name: "silentConnection", field: \.timeouts.silentConnectionMilliseconds),
        Timeout(name: "requestBodyIdle", field: \.timeouts.requestBodyIdleMilliseconds),
        Timeout(name: "clientWriteStall", field: \.timeouts.clientWriteStallMilliseconds),
        Timeout(name: "keepAliveIdle", field: \.timeouts.keepAliveIdleMilliseconds),
        Timeout(name: "upstreamIdle", field: \.timeouts.upstreamIdleMilliseconds),
        Timeout(name: "connect", field: \.timeouts.connectMilliseconds),
        Timeout(name: "handshake", field: \.timeouts.handshakeMilliseconds),
        Timeout(name: "firstByte", field: \.timeouts.firstByteMilliseconds),
        Timeout(name: "modelFirstByte", field: \.timeouts.modelFirstByteMilliseconds),
        Timeout(name: "streamIdle", field: \.timeouts.streamIdleMilliseconds),
        Timeout(name: "picker", field: \.timeouts.pickerMilliseconds),
        Timeout(name: "authorization", field: \.timeouts.authorizationMilliseconds),
        Timeout(name: "tunnelIdle", field: \.timeouts.tunnelIdleMilliseconds),
        Timeout(name: "udpIdle", field: \.timeouts.udpIdleMilliseconds),
        Timeout(name: "linger", field: \.timeouts.lingerMilliseconds),
        Timeout(name: "tcpUserTimeout", field: \.timeouts.tcpUserTimeoutMilliseconds),
    ]

    static let secondsTimeouts: [SecondsTimeout] = [
        SecondsTimeout(name: "tcpKeepAliveIdle", field: \.timeouts.tcpKeepAliveIdleSeconds),
        SecondsTimeout(
            name: "tcpKeepAliveInterval", field: \.timeouts.tcpKeepAliveIntervalSeconds),
    ]

    static let answerHeaders: [(header: AnswerHeader, field: AnswerFields)] = [
        (.endpoint, .endpoint), (.attempts, .attempts), (.decision, .decision),
    ]

    private static func bytes(
        _ name: String, _ field: WritableKeyPath<Parameters, Int> & Sendable,
        _ range: ClosedRange<Int>
    ) -> Limit {
        Limit(name: name, field: field, isBytes: true, range: range)
    }

    private static func count(
        _ name: String, _ field: WritableKeyPath<Parameters, Int> & Sendable,
        _ range: ClosedRange<Int>
    ) -> Limit {
        Limit(name: name, field: field, isBytes: false, range: range)
    }

    private static let timeoutNames = timeouts.map(\.name) + secondsTimeouts.map(\.name)

    // MARK: - Checking

    /// Why a limit cannot be set so; nil when it can.
    static func refusal(ofLimit name: String, _ value: IntOrString) -> String? {
        guard let limit = limits.first(where: { $0.name == name }) else {
            return unknown("limit", name, among: limits.map(\.name))
        }
        guard let number = number(value) else {
            return limit.isBytes
                ? "\"\(value)\" is not a number of bytes; write it as 65536 or 64Ki"
                : "\"\(value)\" is not a whole number"
        }
        if !limit.range.contains(number) {
            return limit.range.upperBound == .max
                ? "\(value) is less than \(limit.range.lowerBound)"
                : "\(value) is not within \(limit.range.lowerBound) to \(limit.range.upperBound)"
        }
        return nil
    }

    /// Why a timeout cannot be set so; nil when it can.
    static func refusal(ofTimeout name: String, _ value: String) -> String? {
        guard timeoutNames.contains(name) else {
            return unknown("timeout", name, among: timeoutNames)
        }
        guard let duration = GatewayDuration(value) else {
            return "\"\(value)\" is not a duration; write it as 30s, 500ms or 1h30m"
        }
        if duration.milliseconds == 0 {
            return "0 would never let anything pass; leave the timeout out for its default"
        }
        if duration.milliseconds > 86_400_000 { return "\(value) is more than 24h" }
        if secondsTimeouts.contains(where: { $0.name == name }),
            duration.milliseconds % 1_000 != 0
        {
            return "\(value) is not in whole seconds"
        }
        return nil
    }

    private static func unknown(
        _ noun: String, _ name: String, among names: [String]
    ) -> String {
        if let meant = NearestName.suggestion(for: name, among: names) {
            return "is not a \(noun); did you mean \"\(meant)\"?"
        }
        return "is not a \(noun); known are \(names.joined(separator: ", "))"
    }

    private static func number(_ value: IntOrString) -> Int? {
        switch value {
        case .int(let number): number
        case .string(let text): Quantity.bytes(text)
        }
    }

    // MARK: - Setting

    /// Sets what a checked document says; the rest stays.
    static func apply(_ spec: GatewayParametersSpec, to parameters: inout Parameters) {
        for limit in limits {
            guard let value = spec.limits?[limit.name].flatMap(number) else { continue }
            parameters[keyPath: limit.field] = value
        }
        for timeout in timeouts {
            guard let value = spec.timeouts?[timeout.name].flatMap({ GatewayDuration($0) })
            else { continue }
            parameters[keyPath: timeout.field] = value.clampedMilliseconds
        }
        for timeout in secondsTimeouts {
            guard let value = spec.timeouts?[timeout.name].flatMap({ GatewayDuration($0) })
            else { continue }
            parameters[keyPath: timeout.field] = Int32(clamping: value.milliseconds / 1_000)
        }
        if let halfClose = spec.allowHalfClose { parameters.allowsHalfClose = halfClose }
        if let header = spec.proxyProtocol { parameters.acceptsProxyProtocol = header == .accept }
        if let headers = spec.answerHeaders {
            parameters.answerFields = AnswerFields(
                answerHeaders.filter { headers.contains($0.header) }.map(\.field))
        }
        guard let proxies = spec.trustedProxies else { return }
        if let blocks = proxies.cidrs {
            parameters.trustedProxies.blocks = blocks.compactMap(AddressBlocks.parse)
        }
        if let hops = proxies.hops { parameters.trustedProxies.hops = hops }
        if let header = proxies.header?.lowercased() {
            parameters.trustedProxies.source =
                header == "x-forwarded-for" ? .xForwardedFor : .field(header)
        }
    }

    // MARK: - Printing

    /// Every parameter with its value, in the table's order.
    static func values(of parameters: Parameters) -> [(name: String, value: String)] {
        var values: [(String, String)] = []
        for limit in limits {
            let value = parameters[keyPath: limit.field]
            let text = limit.isBytes ? Quantity.text(value) : "\(value)"
            values.append(("limits.\(limit.name)", value == .max ? "none" : text))
        }
        for timeout in timeouts {
            let value = UInt64(parameters[keyPath: timeout.field])
            values.append(
                ("timeouts.\(timeout.name)", GatewayDuration.text(milliseconds: value)))
        }
        for timeout in secondsTimeouts {
            values.append(("timeouts.\(timeout.name)", "\(parameters[keyPath: timeout.field])s"))
        }
        let proxies = parameters.trustedProxies
        let blocks = proxies.blocks.map(AddressBlocks.text).joined(separator: ", ")
        values.append(("trustedProxies.cidrs", blocks.isEmpty ? "none" : blocks))
        values.append(("trustedProxies.hops", "\(proxies.hops)"))
        switch proxies.source {
        case .xForwardedFor: values.append(("trustedProxies.header", "X-Forwarded-For"))
        case .field(let name): values.append(("trustedProxies.header", name))
        }
        values.append(("allowHalfClose", "\(parameters.allowsHalfClose)"))
        values.append(("proxyProtocol", parameters.acceptsProxyProtocol ? "Accept" : "None"))
        let headers = answerHeaders.filter { parameters.answerFields.contains($0.field) }
            .map(\.header.rawValue).joined(separator: ", ")
        values.append(("answerHeaders", headers.isEmpty ? "none" : headers))
        return values
    }
}

extension Timeouts {
    /// The probes as a count like the others.
    fileprivate var tcpKeepAliveProbeCount: Int {
        get { Int(tcpKeepAliveProbes) }
        set { tcpKeepAliveProbes = Int32(clamping: newValue) }
    }
}

/// Address blocks as text (`10.0.0.0/8`, `fd00::/8`; one address without a slash).
enum AddressBlocks {
    /// The block; nil when the text is none.
    static func parse(_ text: String) -> AddressBlock? {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard (1...2).contains(parts.count), !parts[0].contains("%"),
            let address = SocketAddress(String(parts[0]), port: 0)
        else { return nil }
        let bits = address.isIPv6 ? 128 : 32
        guard parts.count == 2 else { return AddressBlock(address: address, prefixLength: bits) }
        guard parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }), let length = Int(parts[1]),
            length <= bits
        else { return nil }
        return AddressBlock(address: address, prefixLength: length)
    }

    /// The block as it would be written.
    static func text(_ block: AddressBlock) -> String {
        "\(block.address.hostDescription)/\(block.prefixLength)"
    }
}
