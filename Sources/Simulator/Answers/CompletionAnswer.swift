/// llama.cpp's own `/completion`: one object, or server-sent events without an end mark.
enum CompletionAnswer {
    static func addToken(
        _ index: Int, _ job: borrowing Job, _ words: borrowing Words, to text: inout Text
    ) {
        text.add("data: {\"index\":0,\"content\":\"")
        words.add(index, seed: job.seed, to: &text)
        text.add("\",\"tokens\":[],\"stop\":false,\"id_slot\":")
        text.add(decimal: job.slot ?? -1)
        text.add(",\"tokens_predicted\":")
        text.add(decimal: index + 1)
        text.add(",\"tokens_evaluated\":")
        text.add(decimal: job.promptTokens)
        text.add("}\n\n")
    }

    /// The last event, which has no more text.
    static func addEnd(_ job: borrowing Job, to text: inout Text) {
        text.add("data: {\"index\":0,\"content\":\"")
        addRest(job, to: &text)
        text.add("\n\n")
    }

    static func addWhole(_ job: borrowing Job, _ words: borrowing Words, to text: inout Text) {
        text.add("{\"index\":0,\"content\":\"")
        words.add(0..<job.generated, seed: job.seed, to: &text)
        addRest(job, to: &text)
    }

    /// `tokens_cached` is what the slot holds now; what of the prompt was there before is `cache_n`.
    private static func addRest(_ job: borrowing Job, to text: inout Text) {
        text.add("\",\"tokens\":[],\"stop\":true,\"model\":\"")
        text.add(escaped: job.reply.model)
        text.add("\",\"tokens_predicted\":")
        text.add(decimal: job.generated)
        text.add(",\"tokens_evaluated\":")
        text.add(decimal: job.promptTokens)
        text.add(",\"truncated\":false,\"stop_type\":\"")
        text.add(job.isCut ? "limit" : "eos")
        text.add("\",\"stopping_word\":\"\",\"tokens_cached\":")
        text.add(decimal: job.promptTokens + job.generated)
        OpenAIAnswer.addTimings(job, to: &text)
        text.add("}")
    }
}
