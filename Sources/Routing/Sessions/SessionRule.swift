import HTTP

/// How requests of a rule stay with the endpoint of the first one (`rules[].sessionPersistence`).
public struct SessionRule: Equatable, Sendable {
    /// What carries a session's token.
    public enum Carrier: Equatable, Sendable {
        /// A cookie for this path and what is below it.
        case cookie(path: String)
        case header
    }

    /// The name of the cookie or of the header, in small letters where it is a header's.
    public var name: String
    public var carrier: Carrier
    /// How long a session lasts, in seconds; 0 for as long as its endpoint is there.
    public var absoluteSeconds: UInt32
    /// How long a session may be silent, in seconds; 0 for as long as it lasts.
    public var idleSeconds: UInt32
    /// Whether clients keep the cookie beyond their own end, for as long as the session lasts.
    public var isPermanent: Bool
    /// What tells this rule's tokens from another's; known to the gateway only, and the same as long as the rule has its
    /// name.
    public var key: UInt64
    /// What proofs are made with: the first signs, and all are taken; never empty.
    public var secrets: [SessionKey]

    public init(
        name: String, carrier: Carrier = .cookie(path: "/"), absoluteSeconds: UInt32 = 0,
        idleSeconds: UInt32 = 0, isPermanent: Bool = false, key: UInt64,
        secrets: [SessionKey] = [.ofProcess]
    ) {
        self.secrets = secrets
        self.name = name
        self.carrier = carrier
        self.absoluteSeconds = absoluteSeconds
        self.idleSeconds = idleSeconds
        self.isPermanent = isPermanent
        self.key = key
    }
}

/// A rule's sessions, compiled.
public struct SessionRow: BitwiseCopyable, Sendable {
    /// The name of the cookie or of the header.
    let name: ArenaRange
    /// Of a cookie.
    let path: ArenaRange
    public let isCookie: Bool
    public let isPermanent: Bool
    public let absoluteSeconds: UInt32
    public let idleSeconds: UInt32
    public let key: UInt64
    /// In `Table.sessionKeys`.
    let secrets: StepRange

    /// Whether a session with this token goes on at `now`, seconds since 1970.
    public func isValid(_ token: SessionToken, now: UInt32) -> Bool {
        // Gateways that share sessions may differ a little about the time.
        let latest = now &+ Self.skewSeconds
        if token.began > latest || token.used > latest { return false }
        if absoluteSeconds != 0, now > token.began, now - token.began >= absoluteSeconds {
            return false
        }
        return idleSeconds == 0 || now <= token.used || now - token.used < idleSeconds
    }

    private static var skewSeconds: UInt32 { 60 }
}

extension Table {
    /// How requests of a rule stay together; nil where they do not.
    public func session(rule: Int32) -> SessionRow? {
        if rule < 0 { return nil }
        let row = rules[Int(rule)].session
        return row < 0 ? nil : sessions[Int(row)]
    }

    /// Which of the keys of a rule's sessions a token for an endpoint was made with, 0 for the one that signs now; nil when
    /// it was not made for this endpoint of the rule.
    public func key(of token: SessionToken, _ row: SessionRow, endpoint: UInt64) -> Int? {
        for at in row.secrets.range
        where token.belongs(toRule: row.key, endpoint: endpoint, under: sessionKeys[at]) {
            return at - row.secrets.range.lowerBound
        }
        return nil
    }

    /// A token for an endpoint of a rule with sessions.
    public func token(
        began: UInt32, used: UInt32, _ row: SessionRow, endpoint: UInt64
    ) -> SessionToken {
        SessionToken(
            began: began, used: used, rule: row.key, endpoint: endpoint,
            under: sessionKeys[row.secrets.range.lowerBound])
    }

    /// The token that a request brings; nil when it brings none that can be read.
    ///
    /// Of several cookies of the name the first that can be read counts.
    public func sessionToken(_ row: SessionRow, in head: borrowing RequestHead) -> SessionToken? {
        let name = arena.span.extracting(row.name.range)
        if !row.isCookie {
            guard let value = head.first(named: name) else { return nil }
            return SessionToken(parsing: head.span(value))
        }
        var from = 0
        while let index = head.fields.index(named: ByteScan.bytes("cookie"), from: from) {
            let value = head.span(head.fields[index].value)
            if let token = Self.token(name, inCookies: value) { return token }
            from = index + 1
        }
        return nil
    }

    /// The token in a list of cookies `a=b; c=d` (RFC 6265 §4.2.1).
    static func token(_ name: Span<UInt8>, inCookies list: Span<UInt8>) -> SessionToken? {
        var from = 0
        while from < list.count {
            while from < list.count, list[from] == 0x20 || list[from] == 0x3B { from += 1 }
            var end = from
            while end < list.count, list[end] != 0x3B { end += 1 }
            if end - from == name.count + 1 + SessionToken.textCount,
                list[from + name.count] == 0x3D
            {
                var isNamed = true
                for at in 0..<name.count where list[from + at] != name[at] { isNamed = false }
                if isNamed,
                    let token = SessionToken(
                        parsing: list.extracting((from + name.count + 1)..<end))
                {
                    return token
                }
            }
            from = end
        }
        return nil
    }

    /// Writes what an answer says of a token: a cookie, which goes over TLS only where `isSecure`, or the header's
    /// value.
    ///
    /// False when there is no room for it.
    public func write(
        _ token: SessionToken, _ row: SessionRow, now: UInt32, isSecure: Bool,
        into output: inout OutputSpan<UInt8>
    ) -> Bool {
        let text = token.text
        if !row.isCookie { return HeadWriter.append(text.span, into: &output) }
        guard HeadWriter.append(arena.span.extracting(row.name.range), into: &output),
            HeadWriter.append("=", into: &output), HeadWriter.append(text.span, into: &output),
            HeadWriter.append("; Path=", into: &output),
            HeadWriter.append(arena.span.extracting(row.path.range), into: &output)
        else { return false }
        if row.isPermanent {
            let ends = token.began &+ row.absoluteSeconds
            guard HeadWriter.append("; Max-Age=", into: &output),
                HeadWriter.append(decimal: UInt64(ends > now ? ends - now : 0), into: &output)
            else { return false }
        }
        return HeadWriter.append("; HttpOnly; SameSite=Lax", into: &output)
            && (!isSecure || HeadWriter.append("; Secure", into: &output))
    }

    /// Gives an answer what `write` wrote, beside the backend's own cookies or in place of its header; an answer that has no
    /// room for it goes without.
    public func tell(_ value: Span<UInt8>, _ row: SessionRow, in head: inout ResponseHead) {
        if row.isCookie {
            _ = head.append(name: "set-cookie", value: value)
        } else {
            _ = head.set(name: arena.span.extracting(row.name.range), value: value)
        }
    }
}
