import Inference
import Routing

/// Translates `sessionPersistence` of a rule.
enum SessionCompiler {
    /// The name of the cookie or header where the rule gives none; `rule` is `SessionRule.key`.
    static func defaultName(isHeader: Bool, rule: UInt64) -> String {
        if isHeader { return "x-gateway-session" }
        let digits = String(rule, radix: 16)
        return "gateway-session-" + String(digits.prefix(8))
    }

    /// What the table does about it; `rule` tells the rule from every other.
    static func rule(
        _ session: SessionPersistence, of rule: String, secrets: [SessionKey]
    ) -> SessionRule {
        let key = PickingHash.of(rule.utf8.span)
        let name = session.effectiveName
        return SessionRule(
            name: name.map { session.isHeader ? $0.lowercased() : $0 }
                ?? defaultName(isHeader: session.isHeader, rule: key),
            carrier: session.isHeader ? .header : .cookie(path: session.cookie?.path ?? "/"),
            absoluteSeconds: seconds(session.absoluteTimeout),
            idleSeconds: seconds(session.idleTimeout),
            isPermanent: session.lifetime == "Permanent", key: key, secrets: secrets)
    }

    /// Whole seconds, none of which is lost; 0 for none.
    private static func seconds(_ text: String?) -> UInt32 {
        let milliseconds = text.flatMap { GatewayDuration($0) }?.milliseconds ?? 0
        return UInt32(clamping: (milliseconds + 999) / 1_000)
    }
}

extension SessionPersistence {
    /// With the API's default filled in.
    var effectiveType: String { type ?? "Cookie" }
    var isHeader: Bool { effectiveType == "Header" }
    var effectiveName: String? { sessionName ?? (isHeader ? header?.name : cookie?.name) }
    /// How long clients keep a cookie; nil where the rule does not say.
    var lifetime: String? { cookieConfig?.lifetimeType ?? cookie?.lifetimeType }
}
