import Kernel

/// Anthropic's answers: one object, or named server-sent events in their order.
enum AnthropicAnswer {
    /// `message_start`, `content_block_start`, `ping`.
    static var openings: Int { 3 }
    /// `content_block_stop`, `message_delta`, `message_stop`.
    static var closings: Int { 3 }

    static func addOpening(_ index: Int, _ job: borrowing Job, to text: inout Text) {
        switch index {
        case 0:
            text.add("event: message_start\ndata: {\"type\":\"message_start\",\"message\":")
            addMessage(job, to: &text)
            text.add("\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,")
            addUsage(job, outputTokens: 1, to: &text)
            text.add("}}\n\n")
        case 1:
            text.add("event: content_block_start\ndata: {\"type\":\"content_block_start\",")
            text.add("\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n")
        default:
            text.add("event: ping\ndata: {\"type\":\"ping\"}\n\n")
        }
    }

    static func addToken(
        _ index: Int, _ job: borrowing Job, _ words: borrowing Words, to text: inout Text
    ) {
        text.add("event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,")
        text.add("\"delta\":{\"type\":\"text_delta\",\"text\":\"")
        words.add(index, seed: job.seed, to: &text)
        text.add("\"}}\n\n")
    }

    static func addClosing(_ index: Int, _ job: borrowing Job, to text: inout Text) {
        switch index {
        case 0:
            text.add("event: content_block_stop\ndata: ")
            text.add("{\"type\":\"content_block_stop\",\"index\":0}\n\n")
        case 1:
            text.add("event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{")
            addStop(job, to: &text)
            text.add("},")
            addUsage(job, outputTokens: job.generated, to: &text)
            text.add("}\n\n")
        default:
            text.add("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n")
        }
    }

    static func addWhole(_ job: borrowing Job, _ words: borrowing Words, to text: inout Text) {
        addMessage(job, to: &text)
        text.add("\"content\":[{\"type\":\"text\",\"text\":\"")
        words.add(0..<job.generated, seed: job.seed, to: &text)
        text.add("\"}],")
        addStop(job, to: &text)
        text.add(",")
        addUsage(job, outputTokens: job.generated, to: &text)
        text.add("}")
    }

    // MARK: - Parts

    private static func addMessage(_ job: borrowing Job, to text: inout Text) {
        text.add("{\"id\":\"msg_")
        text.add(hexadecimal: job.reply.identifier, digits: 16)
        text.add("\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"")
        text.add(escaped: job.reply.model)
        text.add("\",")
    }

    private static func addStop(_ job: borrowing Job, to text: inout Text) {
        text.add(job.isCut ? "\"stop_reason\":\"max_tokens\"" : "\"stop_reason\":\"end_turn\"")
        text.add(",\"stop_sequence\":null")
    }

    /// `input_tokens` leaves out what came from the cache, unlike OpenAI's `prompt_tokens`.
    private static func addUsage(
        _ job: borrowing Job, outputTokens: Int, to text: inout Text
    ) {
        text.add("\"usage\":{\"input_tokens\":")
        text.add(decimal: job.promptTokens - job.cachedTokens)
        text.add(",\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":")
        text.add(decimal: job.cachedTokens)
        text.add(",\"output_tokens\":")
        text.add(decimal: outputTokens)
        text.add("}")
    }
}
