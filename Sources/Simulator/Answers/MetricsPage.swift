/// A node's counters as its engine names them, in Prometheus' text format.
struct MetricsPage: ~Copyable {
    static var type: StaticString { "text/plain; version=0.0.4; charset=utf-8" }

    private var text = Text()
    private let prefix: StaticString
    /// Between the braces of each series.
    private let labels: String

    /// Writes the page into `text`; the wall clock is in nanoseconds.
    static func add(
        _ node: borrowing Node, _ catalog: borrowing Catalog, now: UInt64, wall: UInt64,
        to text: inout Text
    ) {
        let name = catalog.models[0].name
        switch node.options.engine {
        case .ollama:
            break
        case .vllm:
            var page = MetricsPage("vllm:", "engine=\"0\",model_name=\"\(name)\"")
            page.addVLLM(node, catalog, wall: wall)
            page.end(&text)
        case .sglang:
            var page = MetricsPage("sglang:", Self.sglangLabels(name))
            page.addSGLang(node, now: now)
            page.end(&text)
        case .llamaCpp:
            var page = MetricsPage("llamacpp:", "")
            page.addLlamaCpp(node)
            page.end(&text)
        }
    }

    private static func sglangLabels(_ name: String) -> String {
        "engine_type=\"unified\",model_name=\"\(name)\",pp_rank=\"0\",tp_rank=\"0\""
    }

    private init(_ prefix: StaticString, _ labels: String) {
        self.prefix = prefix
        self.labels = labels
    }

    private consuming func end(_ other: inout Text) { other.add(text.span) }

    // MARK: - Engines

    private mutating func addVLLM(
        _ node: borrowing Node, _ catalog: borrowing Catalog, wall: UInt64
    ) {
        let metrics = node.metrics
        gauge("num_requests_running", Double(node.runningCount))
        gauge("num_requests_waiting", Double(node.waitingCount))
        describe("num_requests_waiting_by_reason", "gauge")
        let isFull = node.runners.first.map { $0.cache.usedCount == $0.cache.blockCount } ?? false
        series("num_requests_waiting_by_reason", "", ",reason=\"capacity\"")
        value(Double(node.waitingCount))
        series("num_requests_waiting_by_reason", "", ",reason=\"deferred\"")
        value(isFull ? Double(node.waitingCount) : 0)
        gauge("kv_cache_usage_perc", node.runners.first?.cache.usage ?? 0)
        gauge("engine_sleep_state", 0)
        counter("prefix_cache_queries_total", metrics.cacheQueries)
        counter("prefix_cache_hits_total", metrics.cacheHits)
        counter("prompt_tokens_total", metrics.promptTokens)
        counter("prompt_tokens_cached_total", metrics.cachedTokens)
        counter("generation_tokens_total", metrics.generatedTokens)
        counter("num_preemptions_total", metrics.preemptions)
        describe("request_success_total", "counter")
        for (reason, count) in [
            ("stop", metrics.stopped), ("length", metrics.cut), ("abort", metrics.aborted),
        ] {
            series("request_success_total", "", ",finished_reason=\"\(reason)\"")
            value(Double(count))
        }
        describe("cache_config_info", "gauge")
        let blocks = node.runners.first?.cache.blockCount ?? 0
        let caches = node.options.cachesPrefixes ? "True" : "False"
        series(
            "cache_config_info", "",
            ",block_size=\"\(node.options.sharedTokens)\",cache_dtype=\"auto\","
                + "enable_prefix_caching=\"\(caches)\",gpu_memory_utilization=\"0.9\","
                + "num_cpu_blocks=\"None\",num_gpu_blocks=\"\(blocks)\"")
        value(1)
        addAdapters(node, catalog, wall: wall)
        histogram("time_to_first_token_seconds", metrics.firstToken)
        histogram("inter_token_latency_seconds", metrics.betweenTokens)
        histogram("request_time_per_output_token_seconds", metrics.perToken)
        histogram("e2e_request_latency_seconds", metrics.endToEnd)
        histogram("request_queue_time_seconds", metrics.queueTime)
        histogram("request_prefill_time_seconds", metrics.prefillTime)
        histogram("request_decode_time_seconds", metrics.decodeTime)
        histogram("request_inference_time_seconds", metrics.inferenceTime)
    }

    private mutating func addAdapters(
        _ node: borrowing Node, _ catalog: borrowing Catalog, wall: UInt64
    ) {
        if catalog.adapters.isEmpty { return }
        let runner = node.runners[0]
        var running: Set<Int> = []
        var waiting: Set<Int> = []
        for id in runner.running {
            if let adapter = node.jobs[id].adapter { running.insert(adapter) }
        }
        for id in runner.queue {
            if let adapter = node.jobs[id].adapter { waiting.insert(adapter) }
        }
        func names(_ set: Set<Int>) -> String {
            set.sorted().map { catalogNames[$0] }.joined(separator: ",")
        }
        let catalogNames = catalog.adapterNames
        describe("lora_requests_info", "gauge")
        text.add(text: "vllm:lora_requests_info{max_lora=\"\(node.options.adaptersMax)\",")
        text.add(text: "running_lora_adapters=\"\(names(running))\",")
        text.add(text: "waiting_lora_adapters=\"\(names(waiting))\"}")
        value(Double(wall) / 1e9)
    }

    private mutating func addSGLang(_ node: borrowing Node, now: UInt64) {
        let metrics = node.metrics
        let seconds = max(1e-9, Double(now - min(now, metrics.startedAt)) / 1e9)
        gauge("num_running_reqs", Double(node.runningCount))
        gauge("num_queue_reqs", Double(node.waitingCount))
        let cache = node.runners.first?.cache
        gauge("token_usage", cache?.usage ?? 0)
        let page = node.options.sharedTokens
        gauge("num_used_tokens", Double((cache?.usedCount ?? 0) * page))
        gauge("max_total_num_tokens", Double((cache?.blockCount ?? 0) * page))
        // Of the last batch, not of all.
        gauge("cache_hit_rate", metrics.lastHitRate)
        gauge("gen_throughput", Double(metrics.generatedTokens) / seconds)
        counter("prompt_tokens_total", metrics.promptTokens)
        counter("cached_tokens_total", metrics.cachedTokens)
        counter("generation_tokens_total", metrics.generatedTokens)
        counter("num_requests_total", metrics.finished)
        describe("cache_config_info", "gauge")
        series(
            "cache_config_info", "",
            ",page_size=\"\(page)\",num_pages=\"\(cache?.blockCount ?? 0)\"")
        value(1)
        histogram("time_to_first_token_seconds", metrics.firstToken)
        histogram("inter_token_latency_seconds", metrics.betweenTokens)
        histogram("e2e_request_latency_seconds", metrics.endToEnd)
    }

    private mutating func addLlamaCpp(_ node: borrowing Node) {
        let metrics = node.metrics
        let computed = metrics.promptTokens - metrics.cachedTokens
        let prefill = Double(metrics.prefillNanoseconds) / 1e9
        let decode = Double(metrics.decodeNanoseconds) / 1e9
        counter("prompt_tokens_total", computed)
        counter("prompt_tokens_cached_total", metrics.cachedTokens)
        describe("prompt_seconds_total", "counter")
        series("prompt_seconds_total", "")
        value(prefill)
        counter("tokens_predicted_total", metrics.generatedTokens)
        describe("tokens_predicted_seconds_total", "counter")
        series("tokens_predicted_seconds_total", "")
        value(decode)
        counter("n_decode_total", metrics.generatedTokens)
        counter("n_tokens_max", metrics.longestTokens)
        gauge("n_busy_slots_per_decode", Double(node.runningCount))
        gauge("prompt_tokens_seconds", prefill > 0 ? Double(computed) / prefill : 0)
        gauge(
            "predicted_tokens_seconds",
            decode > 0 ? Double(metrics.generatedTokens) / decode : 0)
        // Builds of today have neither of these two any more.
        gauge("kv_cache_usage_ratio", node.cacheUsage)
        gauge("kv_cache_tokens", Double(node.heldTokens))
        gauge("requests_processing", Double(node.runningCount))
        gauge("requests_deferred", Double(node.waitingCount))
    }

    // MARK: - Lines

    private mutating func describe(_ name: StaticString, _ type: StaticString) {
        text.add("# HELP ")
        text.add(prefix)
        text.add(name)
        text.add(" Simulated.\n# TYPE ")
        text.add(prefix)
        text.add(name)
        text.add(" ")
        text.add(type)
        text.add("\n")
    }

    private mutating func series(
        _ name: StaticString, _ suffix: StaticString, _ more: String = ""
    ) {
        text.add(prefix)
        text.add(name)
        text.add(suffix)
        if labels.isEmpty, more.isEmpty { return }
        text.add("{")
        text.add(text: labels)
        text.add(text: labels.isEmpty ? String(more.dropFirst()) : more)
        text.add("}")
    }

    private mutating func value(_ value: Double) {
        text.add(" ")
        text.add(fixed: value, places: 6)
        text.add("\n")
    }

    private mutating func gauge(_ name: StaticString, _ number: Double) {
        describe(name, "gauge")
        series(name, "")
        value(number)
    }

    private mutating func counter(_ name: StaticString, _ number: UInt64) {
        describe(name, "counter")
        series(name, "")
        text.add(" ")
        text.add(decimal: number)
        text.add("\n")
    }

    private mutating func histogram(_ name: StaticString, _ histogram: Histogram) {
        describe(name, "histogram")
        var total: UInt64 = 0
        for index in histogram.counts.indices {
            total += histogram.counts[index]
            let bound = index < histogram.bounds.count ? "\(histogram.bounds[index])" : "+Inf"
            series(name, "_bucket", ",le=\"\(bound)\"")
            text.add(" ")
            text.add(decimal: total)
            text.add("\n")
        }
        series(name, "_sum")
        value(histogram.sum)
        series(name, "_count")
        text.add(" ")
        text.add(decimal: total)
        text.add("\n")
    }
}
