/// Objects with their conditions as aligned text, for `check` and `status`.
public enum StatusText {
    /// The kinds in the order in which one reads them.
    private static let order = [
        GatewayClass.kind, GatewayParameters.kind, Gateway.kind, ListenerSet.kind, HTTPRoute.kind,
        GRPCRoute.kind, TLSRoute.kind, TCPRoute.kind, UDPRoute.kind, Backend.kind,
        BackendTLSPolicy.kind, InferencePool.kind, InferenceObjective.kind,
        InferenceModelRewrite.kind, TrafficPolicy.kind,
    ]

    /// One paragraph an object; ends in a line break unless there is none.
    public static func text(_ objects: [ObjectStatus]) -> String {
        let ranks = Dictionary(uniqueKeysWithValues: order.enumerated().map { ($1, $0) })
        let sorted = objects.enumerated().sorted { a, b in
            let ranked = (
                ranks[a.element.kind] ?? order.count, ranks[b.element.kind] ?? order.count
            )
            return ranked.0 == ranked.1 ? a.offset < b.offset : ranked.0 < ranked.1
        }
        return sorted.map { paragraph($0.element) }.joined(separator: "\n")
    }

    private static func paragraph(_ object: ObjectStatus) -> String {
        var lines = ["\(object.reference)"]
        if let addresses = object.status.addresses, !addresses.isEmpty {
            lines.append("  addresses  " + addresses.map(\.value).joined(separator: ", "))
        }
        let sections = object.status.allConditions
        let rows = sections.flatMap(\.conditions)
        let typeWidth = rows.map(\.type.count).max() ?? 0
        let reasonWidth = rows.map(\.reason.count).max() ?? 0
        for (section, conditions) in sections {
            if !section.isEmpty { lines.append("  " + title(section, object.status)) }
            let indent = section.isEmpty ? "  " : "    "
            for condition in conditions {
                let mark = condition.isFault ? "!" : " "
                lines.append(
                    indent.dropLast() + mark + pad(condition.type, typeWidth) + "  "
                        + pad(condition.status.rawValue, 7) + "  "
                        + pad(condition.reason, reasonWidth) + "  " + condition.message)
            }
        }
        if sections.isEmpty {
            lines.append("  not used by any Gateway that ai-gateway serves")
        }
        return lines.map { $0 + "\n" }.joined()
    }

    private static func title(_ section: String, _ status: StatusFields) -> String {
        guard let listener = status.listeners?.first(where: { "listener \($0.name)" == section })
        else { return section }
        let routes = listener.attachedRoutes == 1 ? "1 route" : "\(listener.attachedRoutes) routes"
        return "\(section), \(routes)"
    }

    static func pad(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }
}
