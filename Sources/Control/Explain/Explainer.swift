import BasicContainers
import HTTP
import Inference
import Kernel
import Routing
import Runtime
import Telemetry

/// Says what becomes of one request, by the table that the documents compile to.
struct Explainer {
    let asked: AskedRequest
    let resolution: Resolution
    let compiled: Compiled
    let names: SeriesNames
    let clusters: [ClusterDescription]
    let plans: [PoolPlan]
    /// Addresses that stand for DNS names.
    let placeholders: [SocketAddress: String]
    /// Asks a running gateway; nil: the documents alone count.
    let live: AdminCall?

    // MARK: - Listener

    /// The report; throws where the table cannot be built.
    func report() throws(TableError) -> ExplainReport {
        let table = try TableBuilder(compiled.table).build()
        var report = ExplainReport(request: asked.title)
        guard let socket = socket(&report) else { return report }
        report.place = "\(socket.place)" + bound(socket)
        let head: RequestHead
        do throws(Malformed) {
            head = try asked.parsed(compiled.parameters)
        } catch {
            report.answer = ExplainReport.Answer(
                status: error.status, reason: "the request is malformed: \(error)")
            return report
        }
        report.path = String(head.span(head.path))
        report.host = String(head.span(head.host))
        explain(head, on: socket, table, &report)
        return report
    }

    private func bound(_ socket: ListenSocketWanted) -> String {
        socket.boundPort == socket.place.port ? "" : " (bound as \(socket.boundPort))"
    }

    /// The socket that the URL leads to: by the port that is bound, else by the listener's own.
    private func socket(_ report: inout ExplainReport) -> ListenSocketWanted? {
        let tcp = compiled.sockets.filter { $0.transport == .tcp }
        var some = tcp.filter { $0.boundPort == asked.port }
        if some.isEmpty { some = tcp.filter { $0.place.port == asked.port } }
        let address = SocketAddress(asked.urlHost, port: asked.port)?.hostDescription
        let isNamed = some.contains { $0.place.address != nil }
        if let exact = some.first(where: { $0.place.address != nil && $0.place.address == address })
        {
            return exact
        }
        if let all = some.first(where: { $0.place.address == nil }) { return all }
        if address == nil || address == "127.0.0.1" || address == "::1", let first = some.first {
            if some.count > 1 {
                report.notes.append(
                    "several addresses have port \(asked.port): this is about \(first.place); an address in the URL says another"
                )
            }
            return first
        }
        let ports = Set(tcp.map { "\($0.boundPort)" }).sorted()
        let reason =
            isNamed
            ? "no listener has port \(asked.port) on \(asked.urlHost)"
            : "no listener has port \(asked.port)"
        report.answer = ExplainReport.Answer(
            status: 0,
            reason: reason
                + (ports.isEmpty
                    ? "; the documents have no listener that can be served"
                    : "; there are ports \(ports.joined(separator: ", "))"))
        return nil
    }

    private func explain(
        _ asHead: borrowing RequestHead, on socket: ListenSocketWanted, _ table: borrowing Table,
        _ report: inout ExplainReport
    ) {
        let port = table.portIndex(id: socket.id)
        let listeners = compiled.table.ports.first { $0.id == socket.id }?.listeners ?? []
        var tlsListener: Int32 = -1
        if asked.isTLS {
            let name = asked.serverName
            tlsListener = table.listener(port: port, host: name.span, isTLS: true)
            if tlsListener < 0 {
                let hosts = listeners.filter(\.isTLS).compactMap(\.hostname)
                report.answer = ExplainReport.Answer(
                    status: 0,
                    reason: hosts.isEmpty
                        ? "the port has no TLS: the handshake fails"
                        : "no listener has the server name \(asked.urlHost): the handshake fails; there are \(sentenceList(hosts, "and"))"
                )
                return
            }
        }
        if tlsListener >= 0 {
            let row = table.listeners[Int(tlsListener)]
            if row.tls >= 0, let asked = compiled.certificates[Int(row.tls)].clientValidation {
                report.notes.append(asked.words)
            }
        }
        let opened =
            tlsListener >= 0
            ? tlsListener : table.listener(port: port, head: asHead, isTLS: false)
        if opened < 0, !asked.isTLS, listeners.allSatisfy(\.isTLS) {
            report.answer = ExplainReport.Answer(
                status: 0, reason: "the port takes TLS only: say https://")
            return
        }
        if opened >= 0, table.listeners[Int(opened)].service != .http {
            explainStream(opened, listeners, table, &report)
            return
        }
        let found = table.listener(port: port, head: asHead, isTLS: asked.isTLS)
        guard found >= 0 else {
            report.answer = ExplainReport.Answer(
                status: 404, reason: "no_listener: no listener of the port takes the host")
            report.nearMisses = misses(listeners, nil, nil, table).all(asHead)
            return
        }
        let row = table.listeners[Int(found)]
        report.listener = listenerName(row.id)
        if asked.isTLS, found != tlsListener {
            let other = listenerName(table.listeners[Int(tlsListener)].id)
            report.answer = ExplainReport.Answer(
                status: 421,
                reason:
                    "misdirected: the server name led to listener \(other), and the host is another's"
            )
            return
        }
        explainRequest(asHead, on: found, listeners, table, &report)
    }

    private func listenerName(_ id: UInt32) -> String {
        names.listener(id).map { "\($0.gateway)/\($0.listener)" } ?? ""
    }

    // MARK: - Rule

    /// All bytes of a connection go by one rule.
    private func explainStream(
        _ listener: Int32, _ listeners: [ListenerDescription], _ table: borrowing Table,
        _ report: inout ExplainReport
    ) {
        report.listener = listenerName(table.listeners[Int(listener)].id)
        let name = asked.isTLS ? asked.serverName : []
        let rule = table.streamRule(listener: listener, host: name.span)
        guard rule >= 0 else {
            report.answer = ExplainReport.Answer(
                status: 0, reason: "no route takes the connection: it is closed")
            return
        }
        report.notes.append(
            "the listener passes bytes on and reads no requests: the rule takes the whole connection"
        )
        let id = table.listeners[Int(listener)].id
        let matches = listeners.first { $0.id == id }?.matches ?? []
        let match = matches.first { $0.rule == Int(rule) }
        note(rule, match, &report)
        report.isRouted = true
        let description = compiled.table.rules[Int(rule)]
        report.backends = backends(of: description).map { backend in
            var backend = backend
            describe(&backend.report, backend.target)
            return backend.report
        }
    }

    private func explainRequest(
        _ asHead: borrowing RequestHead, on listener: Int32, _ listeners: [ListenerDescription],
        _ table: borrowing Table, _ report: inout ExplainReport
    ) {
        let row = table.listeners[Int(listener)]
        let limits = compiled.parameters[Int(row.parameters)].limits
        guard var head = try? asked.parsed(compiled.parameters) else { return }
        if case .length(let count) = head.framing, count > UInt64(limits.requestContentBytesMax) {
            report.answer = ExplainReport.Answer(
                status: 413, reason: "content_too_large: over limits.requestContentBytesMax")
            return
        }
        let path = InferencePath(head.method, path: head.span(head.path))
        var content: AskedContent?
        do throws(BodyRefusal) {
            content = try AskedContent(
                head, asked.content, path, limit: limits.heldContentBytesMax)
        } catch {
            // It matters where somebody reads it: for the route, or for the pool below.
            let answer = ExplainReport.Answer(
                status: Int(error.status), reason: "\(error.sentence)")
            if row.needsModel {
                report.answer = answer
                return
            }
            report.notes.append(
                "where an endpoint is picked by content: \(answer.status): \(answer.reason)")
        }
        report.model = content?.model
        if row.needsModel {
            let field = Array(ModelField.name.utf8)
            head.remove(named: field.span)
            if let model = report.model {
                _ = head.set(name: field.span, value: model.utf8.span)
            }
        }
        let match = table.match(listener: listener, head: head)
        let own = listeners.first { $0.id == row.id }
        let taken = match.match >= 0 ? own?.matches[Int(match.match)] : nil
        report.nearMisses = misses(listeners, own, taken, table).all(head)
        guard match.rule >= 0 else {
            report.answer = ExplainReport.Answer(
                status: 404, reason: "no_route: no rule of the listener takes the request")
            return
        }
        report.isRouted = true
        note(match.rule, taken, &report)
        explainBackends(match, listener, content, table, &report)
    }

    private func note(
        _ rule: Int32, _ match: MatchDescription?, _ report: inout ExplainReport
    ) {
        let labels = names[compiled.table.rules[Int(rule)].series]
        report.route = ExplainReport.Route(
            kind: kind(labels.route), name: labels.route, rule: labels.rule,
            ruleIndex: match?.ruleIndex ?? 0, matchIndex: match?.matchIndex ?? 0,
            asks: match.map(NearMisses.asks) ?? [])
        report.retry = RetryWords.text(compiled.table.rules[Int(rule)].retry, retries(ofRule: rule))
        report.session = compiled.table.rules[Int(rule)].session.map(SessionWords.text)
    }

    /// What policies say of retries to the backends of a rule, each once.
    private func retries(ofRule rule: Int32) -> [ClusterBlueprint.Retries] {
        var found: [ClusterBlueprint.Retries] = []
        for backend in compiled.table.rules[Int(rule)].backends where backend.hasRetryBudget {
            guard case .cluster(let id) = backend.target,
                let retries = compiled.blueprints.first(where: { $0.id == id })?.blueprint.retries,
                !found.contains(retries)
            else { continue }
            found.append(retries)
        }
        return found
    }

    /// The kind of a route by its name.
    private func kind(_ route: String) -> String {
        let kinds = resolution.index.routes.filter { $0.name.description == route }
            .map(\.kind.rawValue)
        return kinds.isEmpty ? "route" : sentenceList(Array(Set(kinds)).sorted(), "or")
    }

    private func misses(
        _ listeners: [ListenerDescription], _ own: ListenerDescription?,
        _ winner: MatchDescription?, _ table: borrowing Table
    ) -> NearMisses {
        let rules = compiled.table.rules
        let names = names
        return NearMisses(
            // Another listener's rules are near only where none of them is the request's own.
            listeners: own.map { [$0] } ?? listeners, chosen: own, winner: winner,
            ruleName: { names[rules[$0].series].rule }, kind: kind)
    }

    // MARK: - Backends

    private struct Share {
        var report: ExplainReport.Backend
        let target: BackendTarget
    }

    private func backends(of rule: RuleDescription) -> [Share] {
        let sum = rule.backends.reduce(0) { $0 + Int($1.weight) }
        return rule.backends.filter { $0.weight > 0 }.map { backend in
            Share(
                report: ExplainReport.Backend(
                    name: names[backend.series].backend, weight: Int(backend.weight),
                    share: 100 * Double(backend.weight) / Double(max(1, sum)),
                    filters: (rule.filters + backend.filters).map(FilterWords.text)),
                target: backend.target)
        }
    }

    private func explainBackends(
        _ match: RouteMatch, _ listener: Int32, _ content: AskedContent?,
        _ table: borrowing Table, _ report: inout ExplainReport
    ) {
        let rule = compiled.table.rules[Int(match.rule)]
        if rule.hasFailedFilter {
            report.answer = ExplainReport.Answer(
                status: 500,
                reason:
                    "filter_unusable: the rule cannot be served as it is written; ai-gateway check says why"
            )
            return
        }
        let rows = table.rules[Int(match.rule)].backendRange
        let shares = zip(rows, rule.backends).filter { $0.1.weight > 0 }.map(\.0)
        if shares.isEmpty {
            var none = ExplainReport.Backend(name: "", weight: 0, share: 0)
            edit(&none, match, listener, -1, table)
            report.answer =
                none.answer
                ?? ExplainReport.Answer(
                    status: 500, reason: "no_backend: no backend has a weight above 0")
            return
        }
        for (row, share) in zip(shares, backends(of: rule)) {
            var backend = share.report
            edit(&backend, match, listener, Int32(row), table)
            if backend.answer == nil {
                describe(&backend, share.target)
                pick(&backend, share.target, content)
            }
            report.backends.append(backend)
        }
        // A redirect is the rule's, whatever backend it has; so is the answer to a preflight.
        if let answer = report.backends.first?.answer,
            answer.location != nil || [204, 403].contains(answer.status)
        {
            report.answer = answer
            report.backends = []
        }
    }

    /// Applies the filters of the rule and of a backend, as the request would have them.
    private func edit(
        _ backend: inout ExplainReport.Backend, _ match: RouteMatch, _ listener: Int32,
        _ row: Int32, _ table: borrowing Table
    ) {
        guard var head = try? asked.parsed(compiled.parameters) else { return }
        if let answer = preflight(match.rule, row, head, table) {
            backend.answer = answer
            return
        }
        var scratch = RigidArray<UInt8>(capacity: 64 << 10)
        let outcome = table.applyRequestFilters(
            rule: match.rule, backend: row, match: match, listener: listener, head: &head,
            scratch: &scratch)
        switch outcome {
        case .forward:
            backend.requestLine =
                "\(String(head.span(head.methodText))) \(String(head.span(head.target)))"
            backend.host = String(head.span(head.authority))
            var flags = table.rules[Int(match.rule)].flags
            if row >= 0 { flags.formUnion(table.backends[Int(row)].flags) }
            if !flags.contains(.rewritesHost), row >= 0,
                table.backends[Int(row)].kind == .cluster,
                let cluster = clusters.first(where: { $0.id == table.backends[Int(row)].value })
            {
                switch cluster.hostHeader {
                case .preserve: break
                case .endpoint:
                    backend.host =
                        cluster.endpoints.count == 1
                        ? cluster.endpoints[0].authority : "the endpoint's own"
                case .name(let name): backend.host = name
                }
            }
        case .redirect(let status):
            backend.answer = ExplainReport.Answer(
                status: Int(status), reason: "a redirect by a filter",
                location: String(scratch.span))
        case .failed:
            backend.answer = ExplainReport.Answer(status: 500, reason: "filter_unusable")
        case .tooLarge:
            backend.answer = ExplainReport.Answer(
                status: 431, reason: "head_too_large: filters make the head too large")
        }
    }

    /// The answer of a CORS filter to a preflight.
    private func preflight(
        _ rule: Int32, _ backend: Int32, _ head: borrowing RequestHead, _ table: borrowing Table
    ) -> ExplainReport.Answer? {
        var flags = table.rules[Int(rule)].flags
        if backend >= 0 { flags.formUnion(table.backends[Int(backend)].flags) }
        guard flags.contains(.cors), Table.isPreflight(head) else { return nil }
        return table.allowedOrigin(rule: rule, backend: backend, head: head) == nil
            ? ExplainReport.Answer(
                status: 403, reason: "origin_refused: the CORS filter does not let this origin in")
            : ExplainReport.Answer(status: 204, reason: "preflight: answered by the CORS filter")
    }

    /// Where a backend leads, and which endpoints it has.
    private func describe(_ backend: inout ExplainReport.Backend, _ target: BackendTarget) {
        switch target {
        case .status(let status):
            backend.answer = ExplainReport.Answer(
                status: Int(status),
                reason: status == 503
                    ? "no_endpoint: "
                        + (closing(backend.name) ?? "it has no endpoint that is ready")
                    : "no_backend: the reference does not resolve; ai-gateway check says why")
        case .cluster(let id):
            guard let cluster = clusters.first(where: { $0.id == id }) else { return }
            let blueprint = compiled.blueprints.first { $0.id == id }?.blueprint
            backend.target = blueprint?.key
            backend.tls = blueprint?.sealing
            backend.protocol = "\(cluster.protocol)"
            if cluster.endpoints.isEmpty {
                backend.answer = ExplainReport.Answer(
                    status: 503, reason: "no_endpoint: it has no endpoint that is ready")
            } else if cluster.pool == nil {
                backend.choice =
                    cluster.endpoints.count == 1
                    ? "the only one"
                    : "the less busy of two by chance, of those of the lowest priority"
                backend.endpoints = cluster.endpoints.map {
                    ExplainReport.Endpoint(address: shown($0), priority: Int($0.priority))
                }
            }
        }
    }

    /// Why a policy closes a Service's port, by its name in metrics; nil where none does.
    private func closing(_ name: String) -> String? {
        let parts = name.split(separator: ":").map(String.init)
        guard parts.count == 2, let number = Int(parts[1]),
            let service = resolution.index.services.first(where: { $0.key.description == parts[0] }
            ),
            let port = (service.value.resource.spec.ports ?? []).first(where: { $0.port == number }
            ),
            let policy = resolution.index.tlsPolicies.policy(of: service.key, port),
            policy.tls == nil
        else { return nil }
        return policy.closing(port.place(of: service.value))
    }

    private func shown(_ endpoint: EndpointDescription) -> String {
        placeholders[endpoint.address] == nil ? "\(endpoint.address)" : endpoint.authority
    }

    // MARK: - Pools

    private func pick(
        _ backend: inout ExplainReport.Backend, _ target: BackendTarget, _ content: AskedContent?
    ) {
        guard backend.answer == nil, case .cluster(let id) = target,
            let cluster = clusters.first(where: { $0.id == id }), let pool = cluster.pool,
            let plan = plans.first(where: { $0.id == pool.id })
        else { return }
        switch pool.picker {
        case .builtIn:
            backend.choice = "picked by the gateway"
        case .external(let picker, let opensOnFailure):
            let name = clusters.first { $0.id == picker }?.name ?? "its picker"
            backend.choice =
                "picked by \(name) over ext_proc"
                + (opensOnFailure
                    ? "; when that fails, by the gateway, as follows" : "; when that fails, 503")
            if !opensOnFailure { return }
        }
        guard let configuration = plan.configuration else { return }
        var question = question(pool, configuration, content, &backend)
        question.pool = plan.name
        let shownBy = Dictionary(
            cluster.endpoints.map { ($0.id, shown($0)) }
        ) { first, _ in first }
        backend.pool = documents(question, configuration, plan, content) { shownBy[$0] ?? "\($0)" }
        guard let live else { return }
        ask(live, question, content, &backend)
    }

    private func question(
        _ pool: PoolDescription, _ configuration: PoolConfiguration, _ content: AskedContent?,
        _ backend: inout ExplainReport.Backend
    ) -> PoolQuestion {
        var question = PoolQuestion()
        if let head = try? asked.parsed(compiled.parameters) {
            if let token = head.first(named: "x-session-token".utf8.span) {
                question.session = String(head.span(token))
            }
            if let name = head.first(named: "x-gateway-inference-objective".utf8.span) {
                question.priority = pool.priority(head.span(name))
            }
        }
        guard pool.needsContent, let content else { return question }
        question.model = content.model
        if let name = content.facts.model, let targets = pool.targets(of: name.span) {
            let sum = targets.reduce(0) { $0 + Int($1.weight) }
            backend.rewrites = targets.map {
                ExplainReport.Rewrite(
                    model: $0.model, share: 100 * Double($0.weight) / Double(max(1, sum)))
            }
            question.model = targets.max { $0.weight < $1.weight }?.model
        }
        question.promptBytes = content.promptBytes
        question.options = UInt32(clamping: content.facts.contextLength ?? 0)
        return question
    }

    /// How the pool would choose with nothing known but the documents.
    private func documents(
        _ question: PoolQuestion, _ configuration: PoolConfiguration, _ plan: PoolPlan,
        _ content: AskedContent?, _ name: (UInt32) -> String
    ) -> PoolReport {
        var state = PoolState(configuration, seed: 1)
        state.setEndpoints(plan.endpoints, now: 1)
        var told = Explanation()
        let blocks = chain(question, content, blockBytes: state.prefixBlockBytes)
        state.explain(
            question.request(engine: configuration.engine), prefix: blocks.span, now: 1, into: &told
        )
        return question.report(
            told, engine: configuration.engine, profile: configuration.profile,
            blockBytes: state.prefixBlockBytes, blocks: blocks.count, source: "documents",
            name: name)
    }

    private func chain(
        _ question: PoolQuestion, _ content: AskedContent?, blockBytes: Int
    ) -> [UInt64] {
        let name = question.model.flatMap { ModelName($0.utf8.span) }
        return content?.blocks(of: blockBytes, model: name) ?? []
    }

    /// Takes the scores of a gateway that runs; where it cannot be asked, a note says so.
    private func ask(
        _ call: AdminCall, _ asked: PoolQuestion, _ content: AskedContent?,
        _ backend: inout ExplainReport.Backend
    ) {
        var question = asked
        // Blocks are hashed by the size that the pool has learned: it is asked once more where that is another.
        question.blockBytes = backend.pool?.blockBytes ?? 0
        for _ in 0..<2 {
            question.blocks = chain(question, content, blockBytes: question.blockBytes)
            let answer: [UInt8]
            do throws(AdminCall.Refused) {
                answer = try call.get(question.target)
            } catch {
                backend.choice = (backend.choice ?? "") + "; \(error)"
                return
            }
            guard let report = try? PoolReport(json: answer) else { return }
            backend.pool = report
            if report.blockBytes == question.blockBytes || content == nil { return }
            question.blockBytes = report.blockBytes
        }
    }
}
