/// What Connection lines say (RFC 9110 §7.6.1).
struct ConnectionOptions: OptionSet, BitwiseCopyable {
    let rawValue: UInt8
    static var close: ConnectionOptions { ConnectionOptions(rawValue: 1) }
    static var keepAlive: ConnectionOptions { ConnectionOptions(rawValue: 2) }
    static var upgrade: ConnectionOptions { ConnectionOptions(rawValue: 4) }
    /// A field that is not dropped anyway is named.
    static var otherName: ConnectionOptions { ConnectionOptions(rawValue: 8) }

    init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Reads all Connection lines.
    init(_ fields: borrowing FieldSection, _ text: Span<UInt8>) {
        self.init(rawValue: 0)
        for i in 0..<fields.lines.count where fields.lines[i].id == .connection {
            let value = fields.lines[i].value.range
            var at = value.lowerBound
            while let element = FieldValue.nextElement(text, &at, to: value.upperBound) {
                insert(Self.option(text, element))
            }
        }
    }

    /// Whether the only Connection line says `keep-alive`: by far the most usual one.
    @inline(__always)
    static func isKeepAlive(_ fields: borrowing FieldSection, _ text: Span<UInt8>) -> Bool {
        let value = fields.onlyLine(.connection).value
        return value.count == 10 && isKeepAlive(text, Int(value.start))
    }

    /// Whether the 10 bytes from `at` on are `keep-alive`, by far the most usual value.
    @inline(__always)
    private static func isKeepAlive(_ text: Span<UInt8>, _ at: Int) -> Bool {
        // "keep-ali" and "ep-alive"
        (ByteScan.load8(text, at) | 0x2020_2020_2020_2020) == 0x696C_612D_7065_656B
            && (ByteScan.load8(text, at &+ 2) | 0x2020_2020_2020_2020) == 0x6576_696C_612D_7065
    }

    /// What one element asks for.
    private static func option(_ text: Span<UInt8>, _ element: Range<Int>) -> ConnectionOptions {
        let word = text.extracting(element)
        if word.count == 5, ByteScan.equalFolding(word, ByteScan.bytes("close")) { return .close }
        switch FieldName.recognise(text, at: element.lowerBound, count: element.count) {
        case .keepAlive: return .keepAlive
        case .upgrade: return .upgrade
        case .te, .trailer, .connection, .proxyConnection, .http2Settings: return []
        default: return .otherName
        }
    }

    /// Seconds of `timeout=N` in a Keep-Alive value; nil when there is none.
    static func timeoutSeconds(_ text: Span<UInt8>, _ value: Range<Int>) -> Int? {
        var at = value.lowerBound
        while let element = FieldValue.nextElement(text, &at, to: value.upperBound) {
            let bytes = text.extracting(element)
            if bytes.count < 9 || bytes.count > 17 { continue }
            if !ByteScan.equalFolding(bytes.extracting(0..<8), ByteScan.bytes("timeout=")) {
                continue
            }
            if let seconds = FieldValue.decimal(bytes.extracting(8...)) {
                return Int(truncatingIfNeeded: seconds)
            }
        }
        return nil
    }
}

/// Connection-specific meanings that the next hop is told anew.
public struct KeptOptions: OptionSet, Sendable, BitwiseCopyable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    /// `TE: trailers`, when the sender said so.
    public static var trailers: KeptOptions { KeptOptions(rawValue: 1) }
    /// `Upgrade: websocket`, when the sender asked for it, or answered 101 with it.
    public static var upgrade: KeptOptions { KeptOptions(rawValue: 2) }
}

extension FieldNames {
    /// The names that belong to one connection whatever Connection says.
    @inline(__always)
    @inlinable static var ofConnection: FieldNames {
        FieldNames(.connection).union(FieldNames(.keepAlive)).union(FieldNames(.proxyConnection))
            .union(FieldNames(.te)).union(FieldNames(.trailer)).union(FieldNames(.upgrade))
            .union(FieldNames(.http2Settings))
    }
}

extension FieldName {
    /// Whether Connection may name this field and have it dropped.
    ///
    /// Not what routes, frames, authorises or tells of the client: else a client could make the
    /// gateway drop what the backend relies upon.
    var isRemovableByConnection: Bool {
        switch self {
        case .host, .contentLength, .transferEncoding, .authorization, .proxyAuthorization, .cookie,
            .setCookie, .xAPIKey, .xForwardedFor, .xForwardedProto, .xForwardedHost,
            .xForwardedPort, .forwarded, .via, .xRealIP, .xRequestID, .contentType,
            .contentEncoding, .contentRange, .traceparent, .tracestate, .expect:
            false
        default: true
        }
    }
}

extension FieldSection {
    /// Drops connection-specific lines and, where Connection names others, those.
    @inline(__always)
    mutating func removeConnectionFields(naming: Bool) {
        if naming { removeNamed() }
        dropEach(.ofConnection)
    }

    /// Drops every line that Connection names and may have dropped.
    @inline(never)
    private mutating func removeNamed() {
        for i in 0..<lines.count where lines[i].id == .connection {
            let value = lines[i].value.range
            var at = value.lowerBound
            while let element = FieldValue.nextElement(bytes.span, &at, to: value.upperBound) {
                dropAll(named: element)
            }
        }
    }

    /// Drops the lines whose name lies at a range of the own bytes.
    private mutating func dropAll(named element: Range<Int>) {
        let id = FieldName.recognise(bytes.span, at: element.lowerBound, count: element.count)
        for i in 0..<lines.count {
            let line = lines[i]
            if line.id != id || !id.isRemovableByConnection { continue }
            if id == .other {
                let name = line.name.range
                if name.count != element.count || isProtected(name) { continue }
                if !equalFolding(name, element) { continue }
            }
            drop(i)
        }
    }

    /// Whether an unknown name begins like forwarding fields.
    private func isProtected(_ name: Range<Int>) -> Bool {
        Forwarded.isForwardingName(bytes.span, name)
    }

    /// Whether two ranges of the own bytes are equal without regard to case.
    private func equalFolding(_ a: Range<Int>, _ b: Range<Int>) -> Bool {
        for i in 0..<a.count {
            let left = ByteScan.lowered(bytes[a.lowerBound + i])
            if left != ByteScan.lowered(bytes[b.lowerBound + i]) { return false }
        }
        return true
    }

    /// Tells the next hop what is kept; false when it does not fit.
    @inline(never)
    mutating func restate(trailers: Bool, upgrade: Bool) -> Bool {
        if !trailers && !upgrade { return true }
        if trailers, !appendChecked(.te, nameCount: 2, line: "te: trailers\r\n") { return false }
        if upgrade,
            !appendChecked(.upgrade, nameCount: 7, line: "upgrade: websocket\r\n")
        {
            return false
        }
        let options: StaticString = trailers ? (upgrade ? "te, upgrade" : "te") : "upgrade"
        return appendChecked(.connection, prefix: "connection: ", value: ByteScan.bytes(options))
    }
}

extension RequestHead {
    /// Whether it has any field that belongs to one connection only.
    @inlinable @inline(always)
    public var hasConnectionFields: Bool { !fields.names.isDisjoint(with: .ofConnection) }

    /// Drops what belongs to one connection only (RFC 9110 §7.6.1): Connection and every field it
    /// names, Keep-Alive, Proxy-Connection, TE, Trailer, Upgrade, HTTP2-Settings.
    ///
    /// Connection cannot drop Host, framing, credentials, content description or forwarding fields.
    /// What `kept` lists is told anew if the sender asked for it; false when that does not fit.
    /// Expect stays: whoever answers it calls `remove(.expect)`.
    @discardableResult
    @inlinable @inline(always)
    public mutating func removeConnectionFields(keeping kept: KeptOptions = []) -> Bool {
        // Whatever Connection names and whatever is kept comes from such lines, too.
        fields.names.isDisjoint(with: .ofConnection) || removeAnyConnectionFields(kept)
    }

    @usableFromInline @inline(never)
    mutating func removeAnyConnectionFields(_ kept: KeptOptions) -> Bool {
        fields.removeConnectionFields(naming: namesFields)
        if kept.isEmpty { return true }
        return fields.restate(
            trailers: kept.contains(.trailers) && acceptsTrailers,
            upgrade: kept.contains(.upgrade) && upgrade == .websocket)
    }
}

extension ResponseHead {
    /// Drops what belongs to one connection only (RFC 9110 §7.6.1), as for requests.
    ///
    /// With `.upgrade` kept, the `Upgrade: websocket` of a 101 is told anew; false when it does not
    /// fit.
    @discardableResult
    @inlinable @inline(always)
    public mutating func removeConnectionFields(keeping kept: KeptOptions = []) -> Bool {
        fields.names.isDisjoint(with: .ofConnection) || removeSomeConnectionFields(kept)
    }

    /// The same where there is such a line: most often a single one, Connection.
    @usableFromInline @inline(never)
    mutating func removeSomeConnectionFields(_ kept: KeptOptions) -> Bool {
        let present = fields.names.intersection(.ofConnection)
        if present == FieldNames(.connection), !namesFields, kept.isEmpty,
            fields.dropOnly(.connection)
        {
            return true
        }
        return removeAnyConnectionFields(kept)
    }

    @inline(never)
    private mutating func removeAnyConnectionFields(_ kept: KeptOptions) -> Bool {
        fields.removeConnectionFields(naming: namesFields)
        if kept.isEmpty { return true }
        return fields.restate(
            trailers: false,
            upgrade: kept.contains(.upgrade) && status == 101 && upgrade == .websocket)
    }
}
