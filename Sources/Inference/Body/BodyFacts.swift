/// What a request's content says about itself, as far as choosing a model server needs it.
///
/// Offsets count the content's bytes as they came, from 0.
public struct BodyFacts: Sendable {
    var name = ModelName()

    /// Where the value of `model` lies, quotes included: what a rewrite replaces.
    public internal(set) var modelRange: Range<Int>?

    /// What `stream` says; nil when it is absent or neither true nor false.
    public internal(set) var stream: Bool?

    /// Whether there is a `keep_alive`, whatever it says.
    public internal(set) var hasKeepAlive = false

    /// Whether `messages`, `prompt`, `input` or `contents` hold anything.
    public internal(set) var hasPrompt = false

    /// The greatest of `max_tokens`, `max_completion_tokens` and `max_output_tokens`.
    public internal(set) var maxTokens: UInt64?

    /// Ollama's `options.num_ctx`: another one than the loaded model has makes it load again.
    public internal(set) var contextLength: UInt64?

    /// Where the values lie that prefixes are hashed from.
    public internal(set) var prompts = PromptRanges()

    init() {}

    /// The model's name; nil when the content names none.
    public var model: ModelName? { name.count == 0 ? nil : name }

    /// Whether nothing is asked of the model: for Ollama, to load or to unload it.
    public var isEmptyPrompt: Bool { !hasPrompt }
}

/// Up to four ranges of content, in its order: the values of `messages`, `prompt`, `input`, `system`
/// and `contents` at the top level.
public struct PromptRanges: Sendable {
    private var ranges = InlineArray<4, Range<Int>>(repeating: 0..<0)

    /// How many there are.
    public private(set) var count = 0

    init() {}

    /// One of them.
    public subscript(index: Int) -> Range<Int> {
        precondition(index >= 0 && index < count, "no such range")
        return ranges[index]
    }

    mutating func append(_ range: Range<Int>) {
        if count == ranges.count { return }
        ranges[count] = range
        count += 1
    }

    mutating func removeAll() { count = 0 }
}
