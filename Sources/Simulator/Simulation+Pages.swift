import BasicContainers
import HTTP
import Kernel
import Peer

extension Simulation {
    /// Answers what needs no model to work.
    mutating func page(
        _ route: Route, _ head: borrowing RequestHead, _ node: Int, _ exchange: ExchangeID,
        _ answers: inout Answers
    ) {
        switch route {
        case .tags:
            return sendTags(exchange, &answers)
        case .model(let range):
            return sendModel(head.span(head.path).extracting(range), exchange, &answers)
        case .resetStatistics:
            nodes[node].resetStatistics(now: now)
            return answers.send(
                exchange, status: 200, type: OpenAIAnswer.type, content: ByteScan.bytes("{}"))
        default:
            break
        }
        // What was due is shown as done.
        nodes[node].catchUp(now: now)
        text.removeAll()
        let page = Self.add(route, nodes, node, catalog, now: now, created: created, to: &text)
        guard let page else { return notFound(exchange, &answers) }
        answers.send(exchange, status: page.status, type: page.type, content: text.span)
    }

    /// Writes a page; nil when the route has none.
    private static func add(
        _ route: Route, _ nodes: borrowing RigidArray<Node>, _ node: Int,
        _ catalog: borrowing Catalog, now: UInt64, created: UInt64, to text: inout Text
    ) -> (status: Int, type: StaticString)? {
        let wall = Clock.wallNanoseconds()
        var type = OllamaAnswer.type
        switch route {
        case .root:
            text.add("Ollama is running")
            type = "text/plain; charset=utf-8"
        case .version, .engineVersion:
            text.add("{\"version\":\"")
            text.add(Page.version)
            text.add("\"}")
        case .running:
            Page.addRunning(nodes[node], catalog, now: now, wall: wall, to: &text)
        case .administration:
            text.add("{\"error\":\"model-simulator does not play this: it has no models on disk\"}")
            return (501, type)
        case .health, .ping:
            return addHealth(nodes[node], to: &text)
        case .load:
            text.add("{\"server_load\":")
            text.add(decimal: nodes[node].runningCount + nodes[node].waitingCount)
            text.add("}")
            type = OpenAIAnswer.type
        case .metrics:
            MetricsPage.add(nodes[node], catalog, now: now, wall: wall, to: &text)
            type = MetricsPage.type
        case .slots:
            Page.addSlots(nodes[node], nodes[node].options, to: &text)
        case .properties:
            Page.addProperties(catalog, nodes[node].options, to: &text)
        case .adapters:
            Page.addAdapters(catalog, to: &text)
        case .models:
            Page.addModels(catalog, nodes[node], created: created, to: &text)
            type = OpenAIAnswer.type
        case .statistics:
            StatisticsPage.add(nodes[node], now: now, to: &text)
            type = OpenAIAnswer.type
        case .tags, .model, .ask, .show, .loadModel, .unloadModel, .resetStatistics, .bytes,
            .chunks, .sink, .unknown:
            return nil
        }
        return (200, type)
    }

    private static func addHealth(
        _ node: borrowing Node, to text: inout Text
    ) -> (status: Int, type: StaticString) {
        let isReady = node.isReady
        guard node.options.engine == .llamaCpp else { return (isReady ? 200 : 503, "") }
        if isReady {
            text.add("{\"status\":\"ok\"}")
        } else {
            Refusal.starting.add(.chatCompletions, .llamaCpp, identifier: 0, to: &text)
        }
        return (isReady ? 200 : 503, OllamaAnswer.type)
    }

    /// `/v1/models/{id}`; the id may hold slashes, plain or encoded.
    private mutating func sendModel(
        _ encoded: Span<UInt8>, _ exchange: ExchangeID, _ answers: inout Answers
    ) {
        var name = Text()
        PercentCoding.decode(encoded, into: &name)
        if let found = catalog.find(name.span) {
            text.removeAll()
            Page.addModel(
                catalog, model: found.model, adapter: found.adapter, options, status: nil,
                created: created, to: &text)
            answers.send(exchange, status: 200, type: OpenAIAnswer.type, content: text.span)
        } else {
            let refusal = Refusal.unknown(name.string, options.engine)
            refuse(refusal, .chatCompletions, exchange, &answers)
        }
    }

    /// `/api/show`.
    mutating func show(
        _ content: Span<UInt8>, _ exchange: ExchangeID, _ answers: inout Answers
    ) {
        do throws(AskFault) {
            try ask.read(content, .ollamaShow)
        } catch {
            let refusal = Refusal(400, error.description(.ollamaShow))
            return refuse(refusal, .ollamaShow, exchange, &answers)
        }
        if ask.model.isEmpty {
            return refuse(Refusal(400, "model is required"), .ollamaShow, exchange, &answers)
        }
        guard let found = catalog.find(ask.model.span) else {
            let refusal = Refusal.unknown(ask.model.string, .ollama)
            return refuse(refusal, .ollamaShow, exchange, &answers)
        }
        text.removeAll()
        Page.addShow(
            catalog.models[found.model], contextTokens: options.contextTokens,
            wall: startedWall, to: &text)
        answers.send(exchange, status: 200, type: OllamaAnswer.type, content: text.span)
    }

    /// A router's `/models/load` and `/models/unload`.
    mutating func move(
        _ content: Span<UInt8>, isLoad: Bool, _ node: Int, _ exchange: ExchangeID,
        _ answers: inout Answers
    ) {
        guard options.isRouter else { return notFound(exchange, &answers) }
        do throws(AskFault) {
            try ask.read(content, .completion)
        } catch {
            let refusal = Refusal(400, error.description(.completion))
            return refuse(refusal, .chatCompletions, exchange, &answers)
        }
        guard let found = catalog.find(ask.model.span) else {
            let refusal = Refusal.unknown(ask.model.string, .llamaCpp)
            return refuse(refusal, .chatCompletions, exchange, &answers)
        }
        let status = nodes[node].status(of: found.model)
        guard isLoad == (status == .unloaded) else {
            let word = isLoad ? "already loaded" : "not loaded"
            return refuse(Refusal(400, "model is \(word)"), .chatCompletions, exchange, &answers)
        }
        if isLoad {
            var job = makeJob(.completion, found.model, nil, exchange, work: .load)
            // It is answered at once, and nobody waits for its end.
            job.reply.isDetached = true
            _ = nodes[node].submit(job, now: now)
        } else {
            nodes[node].unload(model: found.model, now: now)
        }
        answers.send(
            exchange, status: 200, type: OpenAIAnswer.type,
            content: ByteScan.bytes("{\"success\":true}"))
    }

    /// Answers with a refusal in the form that the dialect and the engine give it.
    mutating func refuse(
        _ refusal: Refusal, _ dialect: Dialect, _ exchange: ExchangeID, _ answers: inout Answers
    ) {
        let identifier = nextIdentifier()
        text.removeAll()
        refusal.add(dialect, options.engine, identifier: identifier, to: &text)
        let type = dialect.isOllama ? OllamaAnswer.type : OpenAIAnswer.type
        answers.send(exchange, status: refusal.status, type: type, content: text.span)
    }
}

/// Percent-encoded text (RFC 3986 §2.1).
enum PercentCoding {
    /// Appends the decoded bytes; a broken escape stays as it is.
    static func decode(_ bytes: Span<UInt8>, into text: inout Text) {
        var at = 0
        while at < bytes.count {
            if bytes[at] == UInt8(ascii: "%"), at + 2 < bytes.count,
                let high = JSONText.hexadecimal(bytes[at + 1]),
                let low = JSONText.hexadecimal(bytes[at + 2])
            {
                text.add(byte: UInt8(high << 4 | low))
                at += 3
            } else {
                text.add(byte: bytes[at])
                at += 1
            }
        }
    }
}
