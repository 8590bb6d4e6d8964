import Kernel

/// Ollama's own answers: one object, or one object a line.
enum OllamaAnswer {
    static var streamType: StaticString { "application/x-ndjson" }
    static var type: StaticString { "application/json; charset=utf-8" }

    /// One line of a stream, with one token.
    static func addToken(
        _ index: Int, _ job: borrowing Job, _ words: borrowing Words, wall: UInt64,
        to text: inout Text
    ) {
        addHead(job, wall: wall, to: &text)
        open(job, to: &text)
        words.add(index, seed: job.seed, to: &text)
        close(job, to: &text)
        text.add(",\"done\":false}\n")
    }

    /// The last line of a stream, or with its content the whole answer.
    static func addEnd(
        _ job: borrowing Job, _ words: borrowing Words, wall: UInt64, isWhole: Bool,
        to text: inout Text
    ) {
        addHead(job, wall: wall, to: &text)
        open(job, to: &text)
        if isWhole { words.add(0..<job.generated, seed: job.seed, to: &text) }
        close(job, to: &text)
        text.add(",\"done\":true,\"done_reason\":\"")
        if job.work == .load {
            text.add("load\"}")
            return
        }
        text.add(job.isCut ? "length" : "stop")
        text.add("\"")
        addTimes(job, to: &text)
        add(",\"eval_count\":", UInt64(job.generated), to: &text)
        add(",\"eval_duration\":", job.finishedAt - job.firstAt, to: &text)
        text.add("}")
    }

    /// The answer to a request that only unloads a model.
    static func addUnloaded(
        _ model: Span<UInt8>, isChat: Bool, wall: UInt64, to text: inout Text
    ) {
        text.add("{\"model\":\"")
        text.add(escaped: model)
        text.add("\",\"created_at\":\"")
        text.add(timestamp: wall)
        text.add(
            isChat
                ? #"","message":{"role":"assistant","content":""}"# : #"","response":"""#)
        text.add(",\"done\":true,\"done_reason\":\"unload\"}")
    }

    /// `/api/embed`: one embedding for each input.
    static func addEmbeddings(_ job: borrowing Job, dimensions: Int, to text: inout Text) {
        text.add("{\"model\":\"")
        text.add(escaped: job.reply.model)
        text.add("\",\"embeddings\":[")
        for index in job.reply.inputs.indices {
            if index > 0 { text.add(",") }
            Words.addEmbedding(
                seed: job.reply.inputs[index].hash, dimensions: dimensions, isBase64: false,
                to: &text)
        }
        text.add("]")
        addTimes(job, to: &text)
        text.add("}")
    }

    /// `/api/embeddings`, the older form: one embedding.
    static func addEmbedding(_ job: borrowing Job, dimensions: Int, to text: inout Text) {
        text.add("{\"embedding\":")
        if let input = job.reply.inputs.first {
            Words.addEmbedding(
                seed: input.hash, dimensions: dimensions, isBase64: false, to: &text)
        } else {
            text.add("[]")
        }
        text.add("}")
    }

    // MARK: - Parts

    private static func addHead(_ job: borrowing Job, wall: UInt64, to text: inout Text) {
        text.add("{\"model\":\"")
        text.add(escaped: job.reply.model)
        text.add("\",\"created_at\":\"")
        text.add(timestamp: wall)
    }

    private static func open(_ job: borrowing Job, to text: inout Text) {
        text.add(
            job.reply.dialect == .ollamaChat
                ? "\",\"message\":{\"role\":\"assistant\",\"content\":\"" : "\",\"response\":\"")
    }

    private static func close(_ job: borrowing Job, to text: inout Text) {
        text.add(job.reply.dialect == .ollamaChat ? "\"}" : "\"")
    }

    private static func addTimes(_ job: borrowing Job, to text: inout Text) {
        // Both are in every answer of the real server: looking a hot model up takes some time too.
        let load = max(job.loadedAt - job.submittedAt, 1_000)
        add(",\"total_duration\":", max(job.finishedAt - job.submittedAt, load), to: &text)
        add(",\"load_duration\":", load, to: &text)
        add(",\"prompt_eval_count\":", UInt64(job.promptTokens), to: &text)
        if job.work == .generate {
            add(",\"prompt_eval_duration\":", job.firstAt - job.startedAt, to: &text)
        }
    }

    /// Ollama leaves numbers out that are zero.
    private static func add(_ name: StaticString, _ value: UInt64, to text: inout Text) {
        if value == 0 { return }
        text.add(name)
        text.add(decimal: value)
    }
}
