import BasicContainers
import HTTP
import Kernel
import Peer

extension Simulation {
    /// Takes an inference request: reads it, gives it to the node, and writes what is there at once.
    mutating func infer(
        _ dialect: Dialect, _ content: Span<UInt8>, _ node: Int, _ exchange: ExchangeID,
        _ answers: inout Answers
    ) {
        do throws(AskFault) {
            try ask.read(content, dialect)
        } catch {
            return refuse(Refusal(400, error.description(dialect)), dialect, exchange, &answers)
        }
        guard let found = catalog.find(ask.model.span) else {
            return refuse(unknownModel(dialect), dialect, exchange, &answers)
        }
        if let refusal = refusal(dialect, model: found.model) {
            return refuse(refusal, dialect, exchange, &answers)
        }
        if dialect == .countTokens { return sendCount(exchange, &answers) }
        let isNative = dialect == .ollamaGenerate || dialect == .ollamaChat
        if isNative, !ask.hasPrompt, ask.keepAlive == .nanoseconds(0) {
            return unload(found.model, dialect, node, exchange, &answers)
        }
        let job = makeJob(dialect, found.model, found.adapter, exchange, work: work(dialect))
        let startsAtOnce =
            job.reply.streams && !dialect.isOllama
            && (options.engine == .vllm || options.engine == .sglang)
        switch nodes[node].submit(job, now: now) {
        case .busy:
            refuse(.busy, dialect, exchange, &answers)
        case .starting:
            refuse(.starting, dialect, exchange, &answers)
        case .accepted(let id):
            live[exchange.slot] = Live(exchange: exchange, work: .job(node: node, id))
            if startsAtOnce { start(exchange, dialect, &answers) }
            while let next = nodes[node].next(now: now) { progress(node, next, &answers) }
        }
    }

    private func unknownModel(_ dialect: Dialect) -> Refusal {
        let name = ask.model.string
        if name.isEmpty, options.isRouter {
            return Refusal(400, "model name is missing from the request")
        }
        // Ollama's generate looks an empty name up, the others ask for one.
        if name.isEmpty, dialect != .ollamaGenerate, options.engine == .ollama {
            return Refusal(400, "model is required")
        }
        return .unknown(name, options.engine)
    }

    /// What is wrong with a request whose model is known.
    private func refusal(_ dialect: Dialect, model: Int) -> Refusal? {
        let isOllama = options.engine == .ollama
        let isEmbedding = catalog.models[model].isEmbedding
        switch dialect {
        case .ollamaGenerate, .ollamaChat, .chatCompletions, .completions, .messages:
            if isOllama, isEmbedding {
                let verb =
                    dialect == .ollamaGenerate || dialect == .completions
                    ? "generate" : "chat"
                return Refusal(400, "\"\(catalog.models[model].name)\" does not support \(verb)")
            }
        case .ollamaEmbed, .ollamaEmbeddings, .ollamaShow, .embeddings, .countTokens, .completion:
            break
        }
        switch dialect {
        case .chatCompletions where ask.messageCount == 0:
            return Refusal(400, "[] is too short - 'messages'", parameter: "messages")
        case .messages where ask.messageCount == 0:
            return Refusal(400, "messages: at least one message is required")
        case .messages where (ask.tokensMax ?? 0) < 1:
            return Refusal(400, "max_tokens is required and must be positive")
        case .embeddings where ask.inputs.isEmpty:
            return Refusal(400, "invalid input", parameter: "input")
        default:
            break
        }
        // Ollama cuts a long prompt, the others refuse it.
        let tokens = PromptHash.tokens(bytes: ask.prompt.count)
        if !isOllama, tokens >= options.contextTokens {
            return .tooLong(tokens, options.contextTokens, options.engine)
        }
        return nil
    }

    /// What a request is for.
    private func work(_ dialect: Dialect) -> Job.Work {
        switch dialect {
        case .ollamaEmbed, .ollamaEmbeddings, .embeddings: .embed
        case .ollamaGenerate, .ollamaChat: ask.hasPrompt ? .generate : .load
        default: .generate
        }
    }

    mutating func makeJob(
        _ dialect: Dialect, _ model: Int, _ adapter: Int?, _ exchange: ExchangeID, work: Job.Work
    ) -> Job {
        let isNative = dialect == .ollamaGenerate || dialect == .ollamaChat
        // Only Ollama takes the context's length from a request; one that has none means the default.
        let asked = options.engine == .ollama ? ask.contextTokens : nil
        let context = min(max(asked ?? options.contextTokens, 2), 1 << 22)
        // An adapter's cache is its own, and so is a model's.
        let start = UInt64(adapter.map { $0 + 1 } ?? 0)
        let block = options.sharedTokens
        var chain = PromptHash.chain(ask.prompt.span, from: start, blockTokens: block)
        let isCached = options.cachesPrefixes && work == .generate
        let tail = isCached ? Self.bytes(ask.prompt, from: chain.wholeBytes) : []
        if !isCached { chain.blocks = [] }
        var promptTokens = PromptHash.tokens(bytes: ask.prompt.count)
        if work == .embed { promptTokens = ask.inputs.reduce(0) { $0 + $1.tokens } }
        promptTokens = min(promptTokens, context - 1)
        chain.blocks.removeLast(max(0, chain.blocks.count - promptTokens / block))
        let seed = PromptHash.mix(chain.whole, options.seed)
        let length = answerLength(seed, room: context - promptTokens)
        var name: [UInt8] = []
        for index in ask.model.span.indices { name.append(ask.model.span[index]) }
        let reply = Reply(
            exchange: exchange, dialect: dialect,
            streams: work == .generate && (ask.streams ?? isNative),
            includesUsage: ask.includesUsage, isBase64: ask.isBase64, model: name,
            identifier: nextIdentifier(), created: Clock.wallNanoseconds() / 1_000_000_000,
            inputs: ask.inputs)
        var job = Job(
            work: work, model: model, promptTokens: promptTokens,
            targetTokens: work == .generate ? length.tokens : 0, isCut: length.isCut,
            chain: chain, seed: seed, reply: reply)
        job.tail = tail
        job.adapter = adapter
        job.contextTokens = context
        job.optionsHash = ask.optionsHash
        if options.engine == .ollama { job.keepAlive = ask.keepAlive }
        return job
    }

    private static func bytes(_ text: borrowing Text, from start: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count - start)
        for index in start..<text.count { bytes.append(text.span[index]) }
        return bytes
    }

    /// How many tokens the answer has, and whether a bound cuts it.
    private func answerLength(_ seed: UInt64, room: Int) -> (tokens: Int, isCut: Bool) {
        let range = options.answerTokens
        var natural = range.lowerBound
        if range.count > 1 {
            natural += Int(PromptHash.mix(seed, 0x416E_7377) % UInt64(range.count))
        }
        if let least = ask.tokensMin { natural = max(natural, min(least, room)) }
        var bound = room
        if let most = ask.tokensMax, most >= 0 { bound = min(bound, max(most, 1)) }
        if ask.ignoresEnd, ask.tokensMax != nil { natural = max(natural, bound) }
        return natural >= bound && (natural > bound || ask.ignoresEnd)
            ? (bound, true) : (natural, false)
    }

    private mutating func unload(
        _ model: Int, _ dialect: Dialect, _ node: Int, _ exchange: ExchangeID,
        _ answers: inout Answers
    ) {
        nodes[node].unload(model: model, now: now)
        text.removeAll()
        Self.addUnloaded(ask, dialect, to: &text)
        answers.send(exchange, status: 200, type: OllamaAnswer.type, content: text.span)
        while let next = nodes[node].next(now: now) { progress(node, next, &answers) }
    }

    private static func addUnloaded(
        _ ask: borrowing Ask, _ dialect: Dialect, to text: inout Text
    ) {
        OllamaAnswer.addUnloaded(
            ask.model.span, isChat: dialect == .ollamaChat, wall: Clock.wallNanoseconds(),
            to: &text)
    }

    private mutating func sendCount(_ exchange: ExchangeID, _ answers: inout Answers) {
        text.removeAll()
        text.add("{\"input_tokens\":")
        text.add(decimal: PromptHash.tokens(bytes: ask.prompt.count))
        text.add("}")
        answers.send(exchange, status: 200, type: OpenAIAnswer.type, content: text.span)
    }

    // MARK: - Answers

    /// Writes what a job has come to since the last time.
    mutating func progress(_ node: Int, _ id: SlotID, _ answers: inout Answers) {
        guard nodes[node].jobs.contains(id) else { return }
        let isDone = nodes[node].jobs[id].phase == .done
        if nodes[node].jobs[id].reply.isDetached {
            if isDone { nodes[node].remove(id) }
            return
        }
        let exchange = nodes[node].jobs[id].reply.exchange
        guard answers.isOpen(exchange) else { return }
        let dialect = nodes[node].jobs[id].reply.dialect
        guard nodes[node].jobs[id].reply.streams else {
            if isDone { sendWhole(node, id, exchange, &answers) }
            return
        }
        if nodes[node].jobs[id].generated == 0, !isDone { return }
        if !answers.hasStarted(exchange) { start(exchange, dialect, &answers) }
        while let part = nextPart(node, id) {
            if answers.room(exchange) == 0 { return answers.awaitRoom(exchange) }
            text.removeAll()
            Self.add(part, nodes, node, id, words, to: &text)
            guard answers.write(exchange, text.span) else { return }
            switch part {
            case .opening: nodes[node].jobs[id].reply.opened += 1
            case .token: nodes[node].jobs[id].reply.written += 1
            case .closing: nodes[node].jobs[id].reply.closed += 1
            }
        }
        if isDone {
            answers.finish(exchange)
            forget(node, id, exchange)
        }
    }

    private enum Part {
        case opening(Int)
        case token(Int)
        case closing(Int)
    }

    /// What is written next of a stream; nil when it must be waited for, or is all written.
    private func nextPart(_ node: Int, _ id: SlotID) -> Part? {
        let dialect = nodes[node].jobs[id].reply.dialect
        let engine = options.engine
        let openings =
            dialect.isOllama || dialect == .completion
            ? 0
            : dialect.isAnthropic
                ? AnthropicAnswer.openings : OpenAIAnswer.openings(nodes[node].jobs[id], engine)
        let opened = nodes[node].jobs[id].reply.opened
        if opened < openings { return .opening(opened) }
        let written = nodes[node].jobs[id].reply.written
        if written < nodes[node].jobs[id].generated { return .token(written) }
        guard nodes[node].jobs[id].phase == .done else { return nil }
        let closings =
            dialect.isOllama || dialect == .completion
            ? 1
            : dialect.isAnthropic
                ? AnthropicAnswer.closings : OpenAIAnswer.closings(nodes[node].jobs[id])
        let closed = nodes[node].jobs[id].reply.closed
        return closed < closings ? .closing(closed) : nil
    }

    private static func add(
        _ part: Part, _ nodes: borrowing RigidArray<Node>, _ node: Int, _ id: SlotID,
        _ words: borrowing Words, to text: inout Text
    ) {
        let engine = nodes[node].options.engine
        let wall = Clock.wallNanoseconds()
        add(part, nodes[node].jobs[id], words, engine, wall: wall, to: &text)
    }

    private static func add(
        _ part: Part, _ job: borrowing Job, _ words: borrowing Words, _ engine: Engine,
        wall: UInt64, to text: inout Text
    ) {
        let dialect = job.reply.dialect
        switch part {
        case .opening(let index):
            if dialect.isAnthropic {
                AnthropicAnswer.addOpening(index, job, to: &text)
            } else {
                OpenAIAnswer.addOpening(job, engine, to: &text)
            }
        case .token(let index):
            if dialect.isOllama {
                OllamaAnswer.addToken(index, job, words, wall: wall, to: &text)
            } else if dialect == .completion {
                CompletionAnswer.addToken(index, job, words, to: &text)
            } else if dialect.isAnthropic {
                AnthropicAnswer.addToken(index, job, words, to: &text)
            } else {
                OpenAIAnswer.addToken(index, job, words, engine, to: &text)
            }
        case .closing(let index):
            if dialect.isOllama {
                OllamaAnswer.addEnd(job, words, wall: wall, isWhole: false, to: &text)
                text.add("\n")
            } else if dialect == .completion {
                CompletionAnswer.addEnd(job, to: &text)
            } else if dialect.isAnthropic {
                AnthropicAnswer.addClosing(index, job, to: &text)
            } else {
                OpenAIAnswer.addClosing(index, job, engine, to: &text)
            }
        }
    }

    private mutating func start(
        _ exchange: ExchangeID, _ dialect: Dialect, _ answers: inout Answers
    ) {
        // llama.cpp closes after each stream and does not say so.
        if options.engine == .llamaCpp { answers.closeAfter(exchange, isAnnounced: false) }
        let type = dialect.isOllama ? OllamaAnswer.streamType : OpenAIAnswer.streamType
        answers.start(exchange, status: 200, type: type, length: nil)
    }

    private mutating func sendWhole(
        _ node: Int, _ id: SlotID, _ exchange: ExchangeID, _ answers: inout Answers
    ) {
        text.removeAll()
        let type = Self.addWhole(nodes, node, id, words, to: &text)
        answers.send(exchange, status: 200, type: type, content: text.span)
        forget(node, id, exchange)
    }

    private static func addWhole(
        _ nodes: borrowing RigidArray<Node>, _ node: Int, _ id: SlotID,
        _ words: borrowing Words, to text: inout Text
    ) -> StaticString {
        addWhole(nodes[node].jobs[id], words, nodes[node].options, to: &text)
    }

    /// Writes a whole answer; its content type.
    private static func addWhole(
        _ job: borrowing Job, _ words: borrowing Words, _ options: borrowing SimulatorOptions,
        to text: inout Text
    ) -> StaticString {
        switch job.reply.dialect {
        case .ollamaGenerate, .ollamaChat, .ollamaShow:
            let wall = Clock.wallNanoseconds()
            OllamaAnswer.addEnd(job, words, wall: wall, isWhole: true, to: &text)
            return OllamaAnswer.type
        case .ollamaEmbed:
            OllamaAnswer.addEmbeddings(job, dimensions: options.dimensions, to: &text)
            return OllamaAnswer.type
        case .ollamaEmbeddings:
            OllamaAnswer.addEmbedding(job, dimensions: options.dimensions, to: &text)
            return OllamaAnswer.type
        case .chatCompletions, .completions:
            OpenAIAnswer.addWhole(job, words, options.engine, to: &text)
        case .embeddings:
            OpenAIAnswer.addEmbeddings(job, dimensions: options.dimensions, to: &text)
        case .completion:
            CompletionAnswer.addWhole(job, words, to: &text)
        case .messages, .countTokens:
            AnthropicAnswer.addWhole(job, words, to: &text)
        }
        return OpenAIAnswer.type
    }

    private mutating func forget(_ node: Int, _ id: SlotID, _ exchange: ExchangeID) {
        nodes[node].remove(id)
        if live[exchange.slot]?.exchange == exchange { live[exchange.slot] = nil }
    }
}
