import ArgumentParser
import Glibc
import Kernel
import Simulator

/// The command line of the simulator.
struct ModelSimulator: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "model-simulator",
        abstract: "A simulated model server, to try, test and measure gateways without a GPU.",
        discussion: """
            It answers as Ollama, vLLM, SGLang or llama.cpp would, and really waits as long as they \
            would: for a model to be loaded, for a free slot, for the prompt and for each token. \
            Every answer says in its text that it is simulated.

            EXAMPLES
              model-simulator              plays an Ollama at 127.0.0.1:11434
              model-simulator --fast       the same, but nothing is waited for
              model-simulator --listen 127.0.0.1:11434 --listen 127.0.0.1:11435
                                           two Ollama nodes in one process
              model-simulator --engine vllm --models llama3 --lora sql,poems
                                           a vLLM with two LoRA adapters

              curl http://127.0.0.1:11434/api/generate \\
                -d '{"model":"llama3","prompt":"Why is the sky blue?"}'

            WHAT ANSWERS
              every engine  /v1/chat/completions, completions, embeddings, models
                            and Anthropic's /v1/messages
              Ollama        /api/chat, generate, embed, embeddings, show, tags, ps,
                            version; nothing that changes what is on disk
              vLLM          /health, /ping, /version, /load, /metrics
              SGLang        /health, /health_generate, /metrics
              llama.cpp     /health, /metrics, /slots, /props, /lora-adapters, /completion,
                            /models, with --router also /models/load and unload
              all but Ollama: /v1/messages/count_tokens

            HOW IT COUNTS
            Four bytes of text are a token. Work goes on in steps: in each, every request that \
            decodes gets a token, and of the prompts so much is computed as --max-batched-tokens \
            allows, the first come first. What of a prompt is known from an earlier one with the \
            same beginning comes from the cache and takes no time.

            STATISTICS (with every engine)
              GET /simulator/statistics  counts of the node as one JSON object
              POST /simulator/reset      begins them anew; caches and models stay

            AIDS FOR BENCHMARKS (with every engine)
              GET /bytes/N           N bytes, with a content length
              GET /chunks/N/SIZE/MS  N chunks of SIZE bytes, MS milliseconds apart
              POST /sink             drops the content, answers its length and Adler-32

            It ends on SIGTERM and SIGINT.
            """)

    @Option(
        help: ArgumentHelp(
            "Address and port of a node, such as 127.0.0.1:11434; may be repeated.",
            discussion:
                "127.0.0.1 and the engine's own port if none is given. Port 0: any free one.",
            valueName: "addr:port"))
    var listen: [String] = []

    @Option(help: "Whose behaviour to play: ollama, vllm, sglang or llama.cpp.")
    var engine: Engine = .ollama

    @Option(
        help: ArgumentHelp(
            "Names, comma-separated; a size may follow, as in llama3=4.7GB.",
            discussion: "llama3, mistral and nomic-embed-text if none are given.",
            valueName: "name[=size],..."))
    var models: String?

    @Option(
        help: ArgumentHelp(
            "LoRA adapters that may be asked for as models; may be repeated.", valueName: "a,b"))
    var lora: [String] = []

    @Option(help: ArgumentHelp("Adapters that a batch of vLLM or SGLang can have.", valueName: "n"))
    var maxLoras: Int = 4

    @Option(
        help: ArgumentHelp(
            "How long an adapter that is not on the accelerator holds the batch up.",
            valueName: "duration"))
    var loraLoadTime: String = "50ms"

    @Flag(help: "A llama.cpp that loads one of several models when it is asked for.")
    var router = false

    @Option(
        help: ArgumentHelp(
            "Time to bring a model into memory; an engine with one model starts so long.",
            discussion: "2s for Ollama and a router, none for the others.",
            valueName: "duration"))
    var loadTime: String?

    @Option(
        help: ArgumentHelp(
            "Bytes a second, such as 1GB: a model's load takes its size divided by it longer.",
            valueName: "size"))
    var loadRate: String?

    @Option(
        help: ArgumentHelp("Prompt tokens that a node computes in a second.", valueName: "rate"))
    var prefillRate: Double = 2_000

    @Option(
        help: ArgumentHelp("Answer tokens a second for one request alone.", valueName: "rate"))
    var decodeRate: Double = 50

    @Option(
        help: ArgumentHelp(
            "What each further request of a batch adds to a decode step, as a part of it.",
            valueName: "part"))
    var batchSlowdown: Double = 0.01

    @Option(help: ArgumentHelp("Prompt tokens computed in one step.", valueName: "n"))
    var maxBatchedTokens: Int = 512

    @Option(
        name: [.customLong("parallel"), .customLong("max-num-seqs")],
        help: ArgumentHelp(
            "Requests worked on at once; more wait in silence.",
            discussion: "1 for each model of Ollama; 256 for vLLM and SGLang, 4 for llama.cpp.",
            valueName: "n"))
    var parallel: Int?

    @Option(
        help: ArgumentHelp(
            "Models in memory at once (Ollama, a router).", discussion: "3 and 4.", valueName: "n"))
    var maxLoaded: Int?

    @Option(
        help: ArgumentHelp(
            "Ollama's requests that may wait for a model; more get 503.", valueName: "n"))
    var maxQueue: Int = 512

    @Option(
        help: ArgumentHelp(
            "How long Ollama keeps an idle model; -1 is for ever.", valueName: "duration"))
    var keepAlive: String = "5m"

    @Option(
        help: ArgumentHelp(
            "Memory of a node's accelerator; an Ollama model that does not fit is slow.",
            valueName: "size"))
    var vram: String = "24GiB"

    @Option(help: ArgumentHelp("Longest prompt and answer together.", valueName: "tokens"))
    var context: Int = 8_192

    @Option(
        help: ArgumentHelp("KV cache of a vLLM or SGLang node.", valueName: "tokens"))
    var cacheTokens: Int = 131_072

    @Option(
        help: ArgumentHelp(
            "The same in blocks, in the place of --cache-tokens.", valueName: "n"))
    var kvBlocks: Int?

    @Option(
        help: ArgumentHelp(
            "Tokens of a block of that cache, which are found again together.",
            discussion: "16 for vLLM, 1 for SGLang, which calls it a page.", valueName: "tokens"))
    var blockSize: Int?

    @Option(help: "Whether what is known of earlier prompts is used: on or off.")
    var prefixCache: Switch = .on

    @Option(
        help: ArgumentHelp(
            "Prompts that llama.cpp keeps in main memory when no slot holds them any more.",
            discussion: "65536 for llama.cpp, none for Ollama.", valueName: "tokens"))
    var promptCache: Int?

    @Option(
        help: ArgumentHelp(
            "Length of answers: a number, or a range such as 20-200.", valueName: "tokens"))
    var answerTokens: String = "32"

    @Option(help: ArgumentHelp("Numbers in an embedding.", valueName: "n"))
    var dimensions: Int = 768

    @Option(help: ArgumentHelp("Another seed gives other words and ids.", valueName: "n"))
    var seed: UInt64 = 1

    @Option(
        help: ArgumentHelp(
            "How much faster than the clock the simulated time goes; pages tell the simulated one.",
            valueName: "factor"))
    var timeScale: Double = 1

    @Flag(help: "Answer at once: no loading, prefill or decode time.")
    var fast = false

    @Flag(help: "Let an Ollama on loopback answer for any Host name, where the real one says 403.")
    var anyHost = false

    @Option(
        help: ArgumentHelp(
            "Threads that share the addresses; each plays a part of every node of its own.",
            valueName: "n"))
    var threads: Int = 1

    func run() throws {
        let options = try options()
        do throws(SystemError) {
            try serve(options)
        } catch {
            throw StartFailure(description: "Cannot listen: \(error).")
        }
    }

    private func serve(_ options: SimulatorOptions) throws(SystemError) {
        // Before any thread begins, so that none of them takes the signals.
        let signals = try SignalDescriptor([SIGTERM, SIGINT])
        _ = Machine.raiseDescriptorLimit()
        let simulator = try Simulator(options)
        let names = options.models.map(\.name).joined(separator: ", ")
        for address in simulator.addresses {
            print("model-simulator: \(engine.rawValue) at http://\(address) (simulated: \(names))")
        }
        fflush(nil)
        while signals.wait(timeoutMilliseconds: -1) == nil {}
        simulator.stop()
    }

    /// The options, checked.
    func options() throws -> SimulatorOptions {
        var options = SimulatorOptions(listen: try addresses())
        options.engine = engine
        if let models { options.models = try Self.models(models) }
        options.adapters = lora.flatMap(Self.names)
        options.adaptersMax = try Self.positive(maxLoras, "--max-loras")
        options.adapterLoadNanoseconds = try Self.duration(loraLoadTime, "--lora-load-time") ?? 0
        if router, engine != .llamaCpp {
            throw ValidationError("--router: only llama.cpp has it; write --engine llama.cpp.")
        }
        options.isRouter = router
        let load = try loadTime.map { try Self.duration($0, "--load-time") }
        let ownLoad: UInt64 = engine == .ollama || router ? 2_000_000_000 : 0
        options.loadNanoseconds = (load ?? ownLoad) ?? 0
        options.loadRate = try loadRate.map { Double(try Self.size($0, "--load-rate")) }
        options.prefillRate = try Self.positive(prefillRate, "--prefill-rate")
        options.decodeRate = try Self.positive(decodeRate, "--decode-rate")
        options.parallel = try parallel.map { try Self.positive($0, "--parallel") }
        options.batchSlowdown = max(0, batchSlowdown)
        options.batchTokens = try Self.positive(maxBatchedTokens, "--max-batched-tokens")
        options.loadedMax = try maxLoaded.map { try Self.positive($0, "--max-loaded") }
        options.queueMax = max(0, maxQueue)
        options.keepAliveNanoseconds = try Self.duration(keepAlive, "--keep-alive")
        options.videoMemoryBytes = try Self.size(vram, "--vram")
        options.contextTokens = max(16, try Self.positive(context, "--context"))
        try setCache(&options)
        options.answerTokens = try Self.range(answerTokens)
        options.dimensions = try Self.positive(dimensions, "--dimensions")
        options.seed = seed
        options.timeScale = try Self.positive(timeScale, "--time-scale")
        options.isFast = fast
        options.checksHost = !anyHost
        options.threads = try Self.positive(threads, "--threads")
        return options
    }

    private func setCache(_ options: inout SimulatorOptions) throws {
        options.blockTokens = try blockSize.map { try Self.positive($0, "--block-size") }
        var tokens = try Self.positive(cacheTokens, "--cache-tokens")
        if let kvBlocks {
            tokens = try Self.positive(kvBlocks, "--kv-blocks") * options.cacheBlockTokens
            if tokens < options.contextTokens {
                throw ValidationError(
                    "--kv-blocks \(kvBlocks): \(tokens) tokens are less than one request may have; "
                        + "write --context \(tokens).")
            }
        }
        options.cacheTokens = tokens
        options.cachesPrefixes = prefixCache == .on
        options.promptCacheTokens = promptCache.map { max(0, $0) }
    }

    private func addresses() throws -> [SocketAddress] {
        if listen.isEmpty { return [SocketAddress.loopback(v6: false, port: engine.defaultPort)] }
        return try listen.map { text in
            guard let address = SocketAddress(parsing: text) else {
                throw ValidationError(
                    "--listen \(text): not an address and port; write 127.0.0.1:11434 or [::1]:0.")
            }
            return address
        }
    }
}

extension Engine: ExpressibleByArgument {}

enum Switch: String, ExpressibleByArgument, CaseIterable {
    case on, off
}

// MARK: - Values

extension ModelSimulator {
    static func names(_ text: String) -> [String] {
        text.split(separator: ",").map(String.init)
    }

    static func models(_ text: String) throws -> [ModelOptions] {
        let models = try names(text).map { part in
            let sides = part.split(separator: "=", maxSplits: 1).map(String.init)
            let known = ModelOptions.defaults.first { $0.name == sides[0] }
            let size =
                sides.count > 1
                ? try size(sides[1], "--models \(part)")
                : known?.sizeBytes ?? ModelOptions.defaultSizeBytes
            return ModelOptions(name: sides[0], sizeBytes: size)
        }
        if models.isEmpty {
            throw ValidationError("--models names no model; write --models llama3.")
        }
        return models
    }

    /// Nanoseconds; nil for less than none, which means for ever.
    static func duration(_ text: String, _ option: String) throws -> UInt64? {
        let value = Int(text).map { Int64(clamping: $0) &* 1_000_000_000 }
        guard let nanoseconds = value ?? GoDuration.nanoseconds(text) else {
            throw ValidationError("\(option) \(text): not a duration; write 90, 500ms, 2s or 5m.")
        }
        return nanoseconds < 0 ? nil : UInt64(nanoseconds)
    }

    /// Bytes, such as `24GiB`, `24Gi`, `4.7GB`, `512M`.
    static func size(_ text: String, _ option: String) throws -> UInt64 {
        let number = text.prefix { $0.isNumber || $0 == "." }
        var unit = text.dropFirst(number.count).lowercased()
        if unit.hasSuffix("b") { unit.removeLast() }
        let scales: [String: Double] = [
            "": 1, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12,
            "ki": 1024, "mi": 1_048_576, "gi": 1_073_741_824, "ti": 1_099_511_627_776,
        ]
        guard let value = Double(number), let scale = scales[unit], value * scale < 1e18 else {
            throw ValidationError("\(option) \(text): not a size; write 24GiB or 4.7GB.")
        }
        return UInt64(value * scale)
    }

    static func range(_ text: String) throws -> ClosedRange<Int> {
        let ends = text.split(separator: "-").compactMap { Int($0) }
        guard let first = ends.first, let last = ends.last, ends.count <= 2, first > 0,
            first <= last, last <= 1_000_000
        else {
            throw ValidationError("--answer-tokens \(text): write a number or a range as 20-200.")
        }
        return first...last
    }

    static func positive<Number: Numeric & Comparable>(
        _ value: Number, _ option: String
    ) throws -> Number {
        if value > 0 { return value }
        throw ValidationError("\(option) \(value): must be more than 0.")
    }
}

/// Why the simulator cannot start.
struct StartFailure: Error, CustomStringConvertible {
    let description: String
}
