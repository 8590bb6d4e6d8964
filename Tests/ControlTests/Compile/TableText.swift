import Inference
import Kernel
import Routing
import Runtime

@testable import Control

/// A compilation as text, one thing a line, for golden files.
enum TableText {
    static func text(_ compiled: Compiled, _ identities: inout Identities) -> String {
        var lines: [String] = []
        for port in compiled.table.ports {
            let socket = compiled.sockets.first { $0.id == port.id }
            lines.append(
                "port \(port.id) \(socket?.place.description ?? "?") binds "
                    + "\(socket?.addresses.map(\.description).joined(separator: " ") ?? "")")
            for listener in port.listeners {
                lines.append(
                    "  listener \(listener.id) \(listener.hostname ?? "any host") "
                        + (listener.isTLS ? "TLS \(listener.tls) " : "")
                        + (listener.service == .http ? "" : "\(listener.service) ")
                        + "number \(listener.number) parameters \(listener.parameters)")
                lines += listener.matches.map { "    " + text($0) }
            }
        }
        let names = identities.seriesNames
        for (index, rule) in compiled.table.rules.enumerated() {
            let labels = names[rule.series]
            lines.append(
                "rule \(index) id \(rule.id) series \(rule.series) [\(labels.gateway) "
                    + "\(labels.listener) \(labels.route) \(labels.rule)]"
                    + (rule.requestTimeoutMilliseconds > 0
                        ? " request \(rule.requestTimeoutMilliseconds) ms" : "")
                    + (rule.backendTimeoutMilliseconds > 0
                        ? " attempt \(rule.backendTimeoutMilliseconds) ms" : "")
                    + (rule.retry.map { " retries \(text($0))" } ?? "")
                    + (rule.session.map { " sessions \(text($0))" } ?? "")
                    + (rule.hasFailedFilter ? " fails" : ""))
            lines += rule.filters.map { "  filter \(text($0))" }
            for backend in rule.backends {
                lines.append(
                    "  backend \(target(backend.target)) weight \(backend.weight) series "
                        + "\(backend.series) [\(names[backend.series].backend)]")
                lines += backend.filters.map { "    filter \(text($0))" }
            }
        }
        lines += clusters(compiled, &identities)
        lines += compiled.certificates.enumerated().map { index, set in
            "tls \(index) \(set.listener) "
                + set.certificates.map(\.secret.description).joined(separator: " ")
                + (set.clientValidation.map { "; \($0.words)" } ?? "")
        }
        lines += compiled.dnsNames.map { "name \($0.name) port \($0.port)" }
        return lines.map { $0 + "\n" }.joined()
    }

    private static func clusters(
        _ compiled: Compiled, _ identities: inout Identities
    ) -> [String] {
        var lines: [String] = []
        for (id, blueprint) in compiled.blueprints {
            lines.append(
                "cluster \(id) \(blueprint.name) host \(blueprint.hostHeader)"
                    + (blueprint.protocol == .http ? "" : " \(blueprint.protocol)")
                    + (blueprint.transport == .tcp ? "" : " udp")
                    + (blueprint.proxyProtocol == .none ? "" : " proxy \(blueprint.proxyProtocol)")
                    + (blueprint.tls.map { " TLS to \($0.serverName) \($0.applicationProtocols)" }
                        ?? "")
                    + (blueprint.tls?.isUnverified ?? false ? " unverified" : "")
                    + (blueprint.tls?.subjectNames ?? []).map { " or \($0)" }.joined()
                    + (blueprint.tls?.clientCertificate.map { " showing \($0.secret)" } ?? "")
                    + (blueprint.policy.map { " by policy \($0)" } ?? "")
                    + (blueprint.retries.map { " retries \(text($0))" } ?? "")
                    + (blueprint.isModelServer ? " model server" : "")
                    + (blueprint.pool.map { " pool \($0.name) \($0.picker)" } ?? ""))
            if let pool = blueprint.pool {
                let settings = compiled.settings[pool.pool] ?? PickerSettings()
                let configuration = settings.configuration(pool.engine(of: blueprint.endpoints))
                lines.append(
                    "  picks for \(configuration.engine)"
                        + (settings.sendsAnswers ?? true ? "" : ", answers unseen")
                        + ", \(configuration.concurrencyPerModel) a model, "
                        + "\(configuration.concurrencyPerEndpoint) an endpoint, "
                        + "\(configuration.queueLimit) wait "
                        + "\(configuration.queueDeadlineMilliseconds) ms, "
                        + Scorer.allCases.filter { configuration.profile[$0] > 0 }
                        .map { "\($0.name) \(configuration.profile[$0])" }
                        .joined(separator: ", "))
            }
            lines += (blueprint.pool?.objectives ?? []).map {
                "  objective \(String(decoding: $0.name, as: UTF8.self)) priority \($0.priority)"
            }
            lines += (blueprint.pool?.rewrites ?? []).map { row in
                "  rewrite \(row.model ?? "any") to "
                    + row.targets.map { "\($0.model) weight \($0.weight)" }.joined(separator: ", ")
            }
            for endpoint in blueprint.endpoints {
                let host =
                    switch endpoint.host {
                    case .address(let address): "\(address)"
                    case .name(let name, let port): "\(name):\(port) by DNS"
                    }
                lines.append(
                    "  endpoint \(host) as \(endpoint.authority) priority \(endpoint.priority)"
                        + (endpoint.vramBytes > 0 ? " vram \(endpoint.vramBytes)" : "")
                        + (endpoint.session.isEmpty ? "" : " session \(endpoint.session)"))
            }
        }
        return lines
    }

    private static func text(_ session: SessionRule) -> String {
        "\(session.carrier) \(session.name) for \(session.absoluteSeconds) s silent "
            + "\(session.idleSeconds) s" + (session.isPermanent ? " permanent" : "")
            + (session.secrets == [.ofProcess] ? "" : " under \(session.secrets.count) keys")
    }

    private static func text(_ retries: ClusterBlueprint.Retries) -> String {
        let allowance = retries.allowance
        return "\(allowance.percent)% of \(allowance.milliseconds) ms or \(allowance.least) of "
            + "\(allowance.leastMilliseconds) ms by \(retries.policy)"
    }

    private static func text(_ retry: RetryRule) -> String {
        "\(retry.attempts.map { "\($0)" } ?? "-") after "
            + "\(retry.backoffMilliseconds.map { "\($0)" } ?? "-") ms "
            + "\(RetryRule.statuses.filter(retry.contains))"
    }

    private static func target(_ target: BackendTarget) -> String {
        switch target {
        case .cluster(let id): "cluster \(id)"
        case .status(let status): "answers \(status)"
        }
    }

    private static func text(_ match: MatchDescription) -> String {
        var words = [match.hostnames.isEmpty ? "*" : match.hostnames.joined(separator: ",")]
        switch match.path {
        case .exact(let path): words.append("exact \(path)")
        case .prefix(let path): words.append("prefix \(path)")
        case .regularExpression(let path): words.append("pattern \(path)")
        }
        if let method = match.method { words.append(method) }
        words += match.headers.map {
            "header \($0.name)\($0.isRegularExpression ? "~" : "=")\($0.value)"
        }
        words += match.query.map {
            "query \($0.name)\($0.isRegularExpression ? "~" : "=")\($0.value)"
        }
        let age = match.age == .max ? "" : " since \(match.age)"
        return words.joined(separator: " ")
            + " -> rule \(match.rule) (\(match.route) \(match.ruleIndex).\(match.matchIndex)\(age))"
    }

    private static func text(_ filter: FilterDescription) -> String {
        switch filter {
        case .requestHeaders(let modifier): "request headers \(text(modifier))"
        case .responseHeaders(let modifier): "response headers \(text(modifier))"
        case .urlRewrite(let rewrite):
            "rewrite host \(rewrite.hostname ?? "-") path \(text(rewrite.path))"
        case .requestRedirect(let redirect):
            "redirect \(redirect.status) scheme \(redirect.scheme ?? "-") "
                + "host \(redirect.hostname ?? "-") port \(redirect.port.map { "\($0)" } ?? "-") "
                + "path \(text(redirect.path))"
        case .requestMirror(let mirror):
            "mirror cluster \(mirror.cluster) \(mirror.numerator) of \(mirror.denominator) series "
                + "\(mirror.series) [\(mirror.name)]"
        case .externalAuth(let asked):
            "authorization \(asked.dialect) cluster \(asked.cluster) path \"\(asked.path)\" tells "
                + "\(asked.requestFields.joined(separator: ",")) takes "
                + "\(asked.answerFields.joined(separator: ",")) content \(asked.contentBytesMax) "
                + "series \(asked.series) [\(asked.name)]"
        case .cors(let policy):
            "cors \(policy.origins.joined(separator: ","))"
                + (policy.allowsCredentials ? " credentials" : "")
                + " methods \(policy.methods.joined(separator: ","))"
                + " headers \(policy.headers.joined(separator: ","))"
                + " exposed \(policy.exposed.joined(separator: ",")) age \(policy.maxAgeSeconds)"
        }
    }

    private static func text(_ modifier: HeaderModifier) -> String {
        let set = modifier.set.map { "set \($0.name)=\($0.value)" }
        let add = modifier.add.map { "add \($0.name)=\($0.value)" }
        return (set + add + modifier.remove.map { "remove \($0)" }).joined(separator: " ")
    }

    private static func text(_ modifier: PathModifier?) -> String {
        switch modifier {
        case nil: "-"
        case .replaceFull(let path): "full \"\(path)\""
        case .replacePrefixMatch(let path): "prefix \"\(path)\""
        }
    }
}
