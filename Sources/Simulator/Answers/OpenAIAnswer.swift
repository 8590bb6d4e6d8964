import Kernel

/// OpenAI's answers: one object, or server-sent events with one object each.
enum OpenAIAnswer {
    static var streamType: StaticString { "text/event-stream" }
    static var type: StaticString { "application/json" }

    /// Events before the first token: one with the role, except where Ollama says it each time.
    static func openings(_ job: borrowing Job, _ engine: Engine) -> Int {
        job.reply.dialect == .chatCompletions && engine != .ollama ? 1 : 0
    }

    /// Events after the last token: the finish, the usage if it was asked for, the end mark.
    static func closings(_ job: borrowing Job) -> Int { job.reply.includesUsage ? 3 : 2 }

    static func addOpening(_ job: borrowing Job, _ engine: Engine, to text: inout Text) {
        text.add("data: ")
        addHead(job, engine, isStream: true, to: &text)
        text.add("\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},")
        text.add("\"logprobs\":null,\"finish_reason\":null}]}\n\n")
    }

    static func addToken(
        _ index: Int, _ job: borrowing Job, _ words: borrowing Words, _ engine: Engine,
        to text: inout Text
    ) {
        text.add("data: ")
        addHead(job, engine, isStream: true, to: &text)
        if job.reply.dialect == .completions {
            text.add("\"choices\":[{\"text\":\"")
            words.add(index, seed: job.seed, to: &text)
            text.add("\",\"index\":0,\"logprobs\":null,\"finish_reason\":null}]")
            // Ollama says zero until the end, where others say nothing.
            if engine == .ollama { addUsage(0, 0, to: &text) }
        } else {
            text.add("\"choices\":[{\"index\":0,\"delta\":{")
            if engine == .ollama { text.add("\"role\":\"assistant\",") }
            text.add("\"content\":\"")
            words.add(index, seed: job.seed, to: &text)
            text.add("\"},\"finish_reason\":null}]")
            if job.reply.includesUsage { text.add(",\"usage\":null") }
        }
        text.add("}\n\n")
    }

    /// One of the events after the last token.
    static func addClosing(
        _ index: Int, _ job: borrowing Job, _ engine: Engine, to text: inout Text
    ) {
        if index == closings(job) - 1 { return text.add("data: [DONE]\n\n") }
        text.add("data: ")
        addHead(job, engine, isStream: true, to: &text)
        if index == 1 {
            text.add("\"choices\":[]")
            addUsage(job, engine, to: &text)
        } else if job.reply.dialect == .completions {
            text.add("\"choices\":[{\"text\":\"\",\"index\":0,\"logprobs\":null,")
            addFinish(job, to: &text)
            text.add("}]")
        } else {
            text.add("\"choices\":[{\"index\":0,\"delta\":{")
            if engine == .ollama { text.add("\"role\":\"assistant\",\"content\":\"\"") }
            text.add("},")
            addFinish(job, to: &text)
            text.add("}]")
            if job.reply.includesUsage { text.add(",\"usage\":null") }
        }
        if engine == .llamaCpp, index == closings(job) - 2 { addTimings(job, to: &text) }
        text.add("}\n\n")
    }

    /// The whole answer of a request that does not stream.
    static func addWhole(
        _ job: borrowing Job, _ words: borrowing Words, _ engine: Engine, to text: inout Text
    ) {
        addHead(job, engine, isStream: false, to: &text)
        if job.reply.dialect == .completions {
            text.add("\"choices\":[{\"text\":\"")
            words.add(0..<job.generated, seed: job.seed, to: &text)
            text.add("\",\"index\":0,\"logprobs\":null,")
        } else {
            text.add("\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"")
            words.add(0..<job.generated, seed: job.seed, to: &text)
            text.add("\"},")
        }
        addFinish(job, to: &text)
        text.add("}]")
        addUsage(job, engine, to: &text)
        if engine == .llamaCpp { addTimings(job, to: &text) }
        text.add("}")
    }

    /// `/v1/embeddings`.
    static func addEmbeddings(_ job: borrowing Job, dimensions: Int, to text: inout Text) {
        text.add("{\"object\":\"list\",\"data\":[")
        for index in job.reply.inputs.indices {
            if index > 0 { text.add(",") }
            text.add("{\"object\":\"embedding\",\"index\":")
            text.add(decimal: index)
            text.add(",\"embedding\":")
            Words.addEmbedding(
                seed: job.reply.inputs[index].hash, dimensions: dimensions,
                isBase64: job.reply.isBase64, to: &text)
            text.add("}")
        }
        text.add("],\"model\":\"")
        text.add(escaped: job.reply.model)
        text.add("\",\"usage\":{\"prompt_tokens\":")
        text.add(decimal: job.promptTokens)
        text.add(",\"total_tokens\":")
        text.add(decimal: job.promptTokens)
        text.add("}}")
    }

    // MARK: - Parts

    private static func addHead(
        _ job: borrowing Job, _ engine: Engine, isStream: Bool, to text: inout Text
    ) {
        let isChat = job.reply.dialect == .chatCompletions
        text.add(isChat ? "{\"id\":\"chatcmpl-" : "{\"id\":\"cmpl-")
        if engine == .ollama {
            text.add(decimal: job.reply.identifier % 1_000)
        } else {
            text.add(hexadecimal: job.reply.identifier, digits: 16)
        }
        switch (isChat, isStream) {
        case (true, true): text.add("\",\"object\":\"chat.completion.chunk\",\"created\":")
        case (true, false): text.add("\",\"object\":\"chat.completion\",\"created\":")
        case (false, _): text.add("\",\"object\":\"text_completion\",\"created\":")
        }
        text.add(decimal: job.reply.created)
        text.add(",\"model\":\"")
        text.add(escaped: job.reply.model)
        text.add("\",")
        if engine == .ollama { text.add("\"system_fingerprint\":\"fp_ollama\",") }
    }

    private static func addFinish(_ job: borrowing Job, to text: inout Text) {
        text.add(job.isCut ? "\"finish_reason\":\"length\"" : "\"finish_reason\":\"stop\"")
    }

    private static func addUsage(
        _ job: borrowing Job, _ engine: Engine, to text: inout Text
    ) {
        // vLLM and SGLang tell it when they are started with a flag for it.
        addUsage(job.promptTokens, job.generated, to: &text, isOpen: engine != .ollama)
        if engine != .ollama {
            text.add(",\"prompt_tokens_details\":{\"cached_tokens\":")
            text.add(decimal: job.cachedTokens)
            text.add("}}")
        }
    }

    private static func addUsage(
        _ prompt: Int, _ completion: Int, to text: inout Text, isOpen: Bool = false
    ) {
        text.add(",\"usage\":{\"prompt_tokens\":")
        text.add(decimal: prompt)
        text.add(",\"completion_tokens\":")
        text.add(decimal: completion)
        text.add(",\"total_tokens\":")
        text.add(decimal: prompt + completion)
        if !isOpen { text.add("}") }
    }

    /// llama.cpp's own figures; `cache_n` was reused, `prompt_n` computed.
    static func addTimings(_ job: borrowing Job, to text: inout Text) {
        text.add(",\"timings\":{\"cache_n\":")
        text.add(decimal: job.cachedTokens)
        text.add(",\"prompt_n\":")
        text.add(decimal: job.promptTokens - job.cachedTokens)
        text.add(",\"prompt_ms\":")
        text.add(fixed: Double(job.firstAt - job.startedAt) / 1e6, places: 3)
        text.add(",\"predicted_n\":")
        text.add(decimal: job.generated)
        text.add(",\"predicted_ms\":")
        text.add(fixed: Double(job.finishedAt - job.firstAt) / 1e6, places: 3)
        text.add("}")
    }
}
