import Inference

/// What an engine's metrics page says of its load; nil where it says nothing.
struct EngineMetrics: Equatable {
    /// Over all models and ranks of the engine together.
    var waiting: Double?
    var running: Double?
    /// 0 to 1, of the fullest cache.
    var kvUsage: Double?
    var blockSize: Double?
    var blockCount: Double?
    var loraLimit: Double?
    var loraRunning: [String] = []
    var loraWaiting: [String] = []
    private var loraAt = -Double.infinity

    init() {}

    /// Reads the lines that matter of a page in Prometheus' text format; all others are passed over in place.
    init(_ page: Span<UInt8>, of engine: EngineKind) {
        let wanted = Self.wanted(of: engine)
        var at = 0
        while at < page.count {
            var end = at
            while end < page.count, page[end] != UInt8(ascii: "\n") { end += 1 }
            let line = page.extracting(at..<end)
            at = end + 1
            if line.isEmpty || line[0] == UInt8(ascii: "#") { continue }
            for row in wanted where Self.has(line, row) { take(line, row) }
        }
    }

    // MARK: - What is looked for

    private enum Meaning {
        case waiting, running, kvUsage, blockSize, blockCount
        /// Facts as labels of a row whose value means nothing.
        case cache(size: String, count: String)
        case lora
    }

    private struct Wanted {
        let name: [UInt8]
        /// A label that the row must have, with its value.
        let label: (String, String)?
        let meaning: Meaning

        init(_ name: String, _ meaning: Meaning, where label: (String, String)? = nil) {
            self.name = Array(name.utf8)
            self.label = label
            self.meaning = meaning
        }
    }

    private static func wanted(of engine: EngineKind) -> [Wanted] {
        switch engine {
        case .vllm: vllm
        case .sglang: sglang
        case .trtllm: trtllm
        case .triton: triton
        case .nim: nim + vllm
        case .llamaCpp: llamaCpp
        case .ollama, .openai, .none: []
        }
    }

    private static var vllm: [Wanted] {
        [
            Wanted("vllm:num_requests_waiting", .waiting),
            Wanted("vllm:num_requests_running", .running),
            Wanted("vllm:kv_cache_usage_perc", .kvUsage),
            Wanted("vllm:gpu_cache_usage_perc", .kvUsage),
            Wanted("vllm:cache_config_info", .cache(size: "block_size", count: "num_gpu_blocks")),
            Wanted("vllm:lora_requests_info", .lora),
        ]
    }
    private static var sglang: [Wanted] {
        [
            Wanted("sglang:num_queue_reqs", .waiting),
            Wanted("sglang:num_running_reqs", .running),
            Wanted("sglang:token_usage", .kvUsage),
            Wanted("sglang:cache_config_info", .cache(size: "page_size", count: "num_pages")),
        ]
    }
    private static var trtllm: [Wanted] {
        [
            Wanted("trtllm_num_requests_waiting", .waiting),
            Wanted("trtllm_num_requests_running", .running),
            Wanted("trtllm_kv_cache_utilization", .kvUsage),
            Wanted("trtllm_kv_cache_tokens_per_block", .blockSize),
            Wanted("trtllm_kv_cache_max_blocks", .blockCount),
        ]
    }
    private static var triton: [Wanted] {
        let requests = "nv_trt_llm_request_metrics"
        let cache = "nv_trt_llm_kv_cache_block_metrics"
        return [
            Wanted(requests, .waiting, where: ("request_type", "waiting")),
            Wanted(requests, .running, where: ("request_type", "scheduled")),
            Wanted(cache, .kvUsage, where: ("kv_cache_block_type", "fraction")),
            Wanted(cache, .blockSize, where: ("kv_cache_block_type", "tokens_per")),
            Wanted(cache, .blockCount, where: ("kv_cache_block_type", "max")),
        ]
    }
    private static var nim: [Wanted] {
        [
            Wanted("num_requests_waiting", .waiting), Wanted("num_requests_running", .running),
            Wanted("gpu_cache_usage_perc", .kvUsage),
        ]
    }
    private static var llamaCpp: [Wanted] {
        [
            Wanted("llamacpp:requests_deferred", .waiting),
            Wanted("llamacpp:requests_processing", .running),
        ]
    }

    // MARK: - One line

    /// Whether the line is a row of that name: after it come labels or the value.
    private static func has(_ line: Span<UInt8>, _ row: Wanted) -> Bool {
        let count = row.name.count
        if line.count <= count { return false }
        for i in 0..<count where line[i] != row.name[i] { return false }
        let next = line[count]
        return next == UInt8(ascii: "{") || next == UInt8(ascii: " ") || next == UInt8(ascii: "\t")
    }

    private mutating func take(_ line: Span<UInt8>, _ row: Wanted) {
        guard let (labels, value) = Self.parse(line, from: row.name.count) else { return }
        if let (name, wanted) = row.label, labels[name] != wanted { return }
        switch row.meaning {
        case .waiting: waiting = (waiting ?? 0) + value
        case .running: running = (running ?? 0) + value
        case .kvUsage: kvUsage = max(kvUsage ?? 0, value)
        case .blockSize: blockSize = value
        case .blockCount: blockCount = value
        case .cache(let size, let count):
            blockSize = labels[size].flatMap(Double.init) ?? blockSize
            blockCount = labels[count].flatMap(Double.init) ?? blockCount
        case .lora:
            // Each change makes a new row; its value is the time, so the latest one holds.
            if value < loraAt { return }
            loraAt = value
            loraLimit = labels["max_lora"].flatMap(Double.init)
            loraRunning = Self.list(labels["running_lora_adapters"])
            loraWaiting = Self.list(labels["waiting_lora_adapters"])
        }
    }

    private static func list(_ text: String?) -> [String] {
        (text ?? "").split(separator: ",").map { name in
            String(name.drop { $0 == " " })
        }
        .filter { !$0.isEmpty }
    }

    /// The labels and the value of a row; nil when it is malformed or no finite number.
    private static func parse(
        _ line: Span<UInt8>, from start: Int
    ) -> (labels: [String: String], value: Double)? {
        var labels: [String: String] = [:]
        var at = start
        if line[at] == UInt8(ascii: "{") {
            at += 1
            while at < line.count, line[at] != UInt8(ascii: "}") {
                guard let (name, value, end) = label(line, from: at) else { return nil }
                labels[name] = value
                at = end
            }
            at += 1
        }
        var word: [UInt8] = []
        while at < line.count, line[at] == UInt8(ascii: " ") || line[at] == UInt8(ascii: "\t") {
            at += 1
        }
        while at < line.count, line[at] > UInt8(ascii: " "), word.count < 64 {
            word.append(line[at])
            at += 1
        }
        guard let value = Double(String(decoding: word, as: UTF8.self)), value.isFinite else {
            return nil
        }
        return (labels, value)
    }

    /// One label, and where what follows it begins.
    private static func label(
        _ line: Span<UInt8>, from start: Int
    ) -> (name: String, value: String, end: Int)? {
        var at = start
        var name: [UInt8] = []
        while at < line.count, line[at] != UInt8(ascii: "=") {
            if line[at] > UInt8(ascii: " ") { name.append(line[at]) }
            at += 1
        }
        at += 1
        guard at < line.count, line[at] == UInt8(ascii: "\"") else { return nil }
        at += 1
        var value: [UInt8] = []
        while at < line.count, line[at] != UInt8(ascii: "\"") {
            if line[at] == UInt8(ascii: "\\"), at + 1 < line.count {
                at += 1
                value.append(line[at] == UInt8(ascii: "n") ? UInt8(ascii: "\n") : line[at])
            } else {
                value.append(line[at])
            }
            at += 1
        }
        guard at < line.count else { return nil }
        at += 1
        if at < line.count, line[at] == UInt8(ascii: ",") { at += 1 }
        return (String(decoding: name, as: UTF8.self), String(decoding: value, as: UTF8.self), at)
    }
}
