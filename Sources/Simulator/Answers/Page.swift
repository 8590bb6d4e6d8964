/// Lists of models and other pages that no inference makes.
enum Page {
    /// What `/api/version` says, marked as what it is.
    static var version: StaticString { "0.33.0-simulated" }

    // MARK: - Ollama

    static func addTags(_ catalog: borrowing Catalog, wall: UInt64, to text: inout Text) {
        text.add("{\"models\":[")
        for index in catalog.models.indices {
            if index > 0 { text.add(",") }
            let model = catalog.models[index]
            addName(model, to: &text)
            text.add(",\"modified_at\":\"")
            text.add(timestamp: wall)
            text.add("\"")
            addFile(model, to: &text)
            addCapabilities(model, to: &text)
            text.add("}")
        }
        text.add("]}")
    }

    /// What is in memory, the longest-lived first.
    static func addRunning(
        _ node: borrowing Node, _ catalog: borrowing Catalog, now: UInt64, wall: UInt64,
        to text: inout Text
    ) {
        var rows: [(expires: UInt64, runner: Int)] = []
        for index in node.runners.indices where node.runners[index].isReady {
            let runner = node.runners[index]
            // While it is in use the end is an estimate.
            let left = runner.expiresAt.map { $0 - min(now, $0) } ?? runner.keepAlive.length
            // The list is read by the clock.
            let real = Double(left) / node.options.timeScale
            rows.append((wall + UInt64(min(real, 9.2e18)), index))
        }
        rows.sort { $0.expires > $1.expires }
        text.add("{\"models\":[")
        for (position, row) in rows.enumerated() {
            if position > 0 { text.add(",") }
            let runner = node.runners[row.runner]
            let model = catalog.models[runner.model]
            addName(model, to: &text)
            addFile(model, to: &text)
            text.add(",\"expires_at\":\"")
            text.add(timestamp: row.expires)
            text.add("\",\"size_vram\":")
            text.add(decimal: runner.videoBytes)
            text.add(",\"context_length\":")
            text.add(decimal: runner.contextTokens)
            text.add("}")
        }
        text.add("]}")
    }

    static func addShow(
        _ model: Catalog.Model, contextTokens: Int, wall: UInt64, to text: inout Text
    ) {
        text.add("{\"modelfile\":\"# simulated by model-simulator\\nFROM ")
        text.add(escaped: model.tagged)
        text.add("\\n\",\"parameters\":\"num_ctx ")
        text.add(decimal: contextTokens)
        text.add("\",\"template\":\"{{ .Prompt }}\"")
        addDetails(model, to: &text)
        text.add(",\"model_info\":{\"general.architecture\":\"")
        text.add(text: model.family)
        text.add("\",\"")
        text.add(text: model.family)
        text.add(".context_length\":")
        text.add(decimal: contextTokens)
        text.add("}")
        addCapabilities(model, to: &text)
        text.add(",\"modified_at\":\"")
        text.add(timestamp: wall)
        text.add("\"}")
    }

    private static func addName(_ model: Catalog.Model, to text: inout Text) {
        text.add("{\"name\":\"")
        text.add(escaped: model.tagged)
        text.add("\",\"model\":\"")
        text.add(escaped: model.tagged)
        text.add("\"")
    }

    private static func addFile(_ model: Catalog.Model, to text: inout Text) {
        text.add(",\"size\":")
        text.add(decimal: model.sizeBytes)
        text.add(",\"digest\":\"")
        text.add(text: model.digest)
        text.add("\"")
        addDetails(model, to: &text)
    }

    private static func addDetails(_ model: Catalog.Model, to text: inout Text) {
        text.add(",\"details\":{\"parent_model\":\"\",\"format\":\"gguf\",\"family\":\"")
        text.add(text: model.family)
        text.add("\",\"families\":[\"")
        text.add(text: model.family)
        text.add("\"],\"parameter_size\":\"")
        text.add(text: model.parameters)
        text.add("\",\"quantization_level\":\"")
        text.add(text: model.quantization)
        text.add("\"}")
    }

    private static func addCapabilities(_ model: Catalog.Model, to text: inout Text) {
        text.add(
            model.isEmbedding
                ? ",\"capabilities\":[\"embedding\"]" : ",\"capabilities\":[\"completion\"]")
    }

    // MARK: - OpenAI

    static func addModels(
        _ catalog: borrowing Catalog, _ node: borrowing Node, created: UInt64, to text: inout Text
    ) {
        let options = node.options
        text.add("{\"object\":\"list\",\"data\":[")
        for index in catalog.models.indices {
            if index > 0 { text.add(",") }
            let status = options.isRouter ? node.status(of: index) : nil
            addModel(
                catalog, model: index, adapter: nil, options, status: status, created: created,
                to: &text)
        }
        for index in catalog.adapters.indices {
            text.add(",")
            addModel(
                catalog, model: 0, adapter: index, options, status: nil, created: created, to: &text
            )
        }
        text.add("]}")
    }

    static func addModel(
        _ catalog: borrowing Catalog, model: Int, adapter: Int?,
        _ options: borrowing SimulatorOptions, status: Node.ModelStatus?, created: UInt64,
        to text: inout Text
    ) {
        let base = catalog.models[model]
        let name =
            adapter.map { catalog.adapterNames[$0] }
            ?? (options.engine == .ollama ? base.tagged : base.name)
        text.add("{\"id\":\"")
        text.add(escaped: name)
        text.add("\",\"object\":\"model\",\"created\":")
        text.add(decimal: created)
        text.add(",\"owned_by\":\"")
        switch options.engine {
        case .ollama: text.add("library\"")
        case .llamaCpp: text.add("llamacpp\",\"meta\":{\"n_ctx_train\":")
        case .vllm: text.add("vllm\"")
        case .sglang: text.add("sglang\"")
        }
        switch options.engine {
        case .ollama: break
        case .llamaCpp:
            text.add(decimal: options.contextTokens)
            text.add(",\"size\":")
            text.add(decimal: base.sizeBytes)
            text.add("}")
            if let status {
                text.add(",\"status\":{\"value\":\"")
                text.add(text: status.rawValue)
                text.add("\"}")
            }
        case .vllm, .sglang:
            text.add(",\"root\":\"")
            text.add(escaped: name)
            text.add("\",\"parent\":")
            if adapter != nil {
                text.add("\"")
                text.add(escaped: base.name)
                text.add("\"")
            } else {
                text.add("null")
            }
            text.add(",\"max_model_len\":")
            text.add(decimal: options.contextTokens)
        }
        text.add("}")
    }

    // MARK: - llama.cpp

    /// The slots of all models in memory, one model after the other.
    static func addSlots(
        _ node: borrowing Node, _ options: borrowing SimulatorOptions, to text: inout Text
    ) {
        text.add("[")
        var id = 0
        for runner in node.runners {
            for slot in 0..<options.slots {
                if id > 0 { text.add(",") }
                text.add("{\"id\":")
                text.add(decimal: id)
                text.add(",\"n_ctx\":")
                text.add(decimal: runner.contextTokens)
                let job = runner.running.first { node.jobs[$0].slot == slot }
                text.add(",\"is_processing\":")
                text.add(job == nil ? "false" : "true")
                if let job { addWork(node.jobs[job], to: &text) }
                text.add("}")
                id += 1
            }
        }
        text.add("]")
    }

    private static func addWork(_ job: borrowing Job, to text: inout Text) {
        text.add(",\"n_prompt_tokens\":")
        text.add(decimal: job.promptTokens)
        text.add(",\"n_prompt_tokens_processed\":")
        text.add(decimal: min(job.computedTokens, job.promptTokens) - job.cachedTokens)
        text.add(",\"n_prompt_tokens_cache\":")
        text.add(decimal: job.cachedTokens)
        text.add(",\"next_token\":[{\"n_decoded\":")
        text.add(decimal: job.generated)
        text.add("}]")
    }

    static func addProperties(
        _ catalog: borrowing Catalog, _ options: borrowing SimulatorOptions, to text: inout Text
    ) {
        text.add("{\"total_slots\":")
        text.add(decimal: options.slots)
        text.add(",\"model_alias\":\"")
        text.add(escaped: catalog.models[0].name)
        text.add("\",\"build_info\":\"model-simulator\",\"is_sleeping\":false,")
        text.add("\"default_generation_settings\":{\"n_ctx\":")
        text.add(decimal: options.contextTokens)
        text.add("}}")
    }

    static func addAdapters(_ catalog: borrowing Catalog, to text: inout Text) {
        text.add("[")
        for index in catalog.adapterNames.indices {
            if index > 0 { text.add(",") }
            text.add("{\"id\":")
            text.add(decimal: index)
            text.add(",\"path\":\"")
            text.add(escaped: catalog.adapterNames[index])
            text.add("\",\"scale\":1.0}")
        }
        text.add("]")
    }
}
