import HTTP

/// Refusals in the words and forms of the engine that is played.
struct Refusal {
    let status: Int
    let message: String
    /// The field at fault, where the form has a place for it.
    var parameter: StaticString?

    init(_ status: Int, _ message: String, parameter: StaticString? = nil) {
        self.status = status
        self.message = message
        self.parameter = parameter
    }

    /// More wait than may wait (Ollama's words, with its two blanks).
    static var busy: Refusal {
        Refusal(503, "server busy, please try again.  maximum pending requests exceeded")
    }

    static var starting: Refusal { Refusal(503, "Loading model") }

    /// A model that is not there.
    static func unknown(_ model: String, _ engine: Engine) -> Refusal {
        switch engine {
        case .ollama: Refusal(404, "model '\(model)' not found")
        case .vllm, .sglang, .llamaCpp:
            Refusal(404, "The model `\(model)` does not exist.", parameter: "model")
        }
    }

    static func tooLong(_ promptTokens: Int, _ contextTokens: Int, _ engine: Engine) -> Refusal {
        if engine == .llamaCpp {
            return Refusal(
                400, "the request exceeds the available context size, try increasing it")
        }
        return Refusal(
            400,
            "This model's maximum context length is \(contextTokens) tokens. However, your request "
                + "has \(promptTokens) input tokens. Please reduce the length of the messages.",
            parameter: "messages")
    }

    /// Writes the content in the form of a dialect.
    func add(_ dialect: Dialect, _ engine: Engine, identifier: UInt64, to text: inout Text) {
        if dialect.isOllama {
            text.add("{\"error\":\"")
            text.add(escaped: message)
            text.add("\"}")
        } else if dialect.isAnthropic {
            text.add("{\"type\":\"error\",\"error\":{\"type\":\"")
            text.add(status == 503 ? "overloaded_error" : kind)
            text.add("\",\"message\":\"")
            text.add(escaped: message)
            text.add("\"},\"request_id\":\"req_")
            text.add(hexadecimal: identifier, digits: 16)
            text.add("\"}")
        } else {
            switch engine {
            case .ollama: addOpenAI(kind, code: false, to: &text)
            case .vllm: addOpenAI(exception, code: true, to: &text)
            case .sglang: addSGLang(to: &text)
            case .llamaCpp: addLlamaCpp(to: &text)
            }
        }
    }

    private func addOpenAI(_ type: StaticString, code: Bool, to text: inout Text) {
        text.add("{\"error\":{\"message\":\"")
        text.add(escaped: message)
        text.add("\",\"type\":\"")
        text.add(type)
        text.add("\",\"param\":")
        // Ollama never names the field.
        if let parameter, code {
            text.add("\"")
            text.add(parameter)
            text.add("\"")
        } else {
            text.add("null")
        }
        text.add(",\"code\":")
        if code { text.add(decimal: status) } else { text.add("null") }
        text.add("}}")
    }

    private func addSGLang(to text: inout Text) {
        text.add("{\"object\":\"error\",\"message\":\"")
        text.add(escaped: message)
        text.add("\",\"type\":\"")
        text.add(exception)
        text.add("\",\"param\":null,\"code\":")
        text.add(decimal: status)
        text.add("}")
    }

    private func addLlamaCpp(to text: inout Text) {
        text.add("{\"error\":{\"code\":")
        text.add(decimal: status)
        text.add(",\"message\":\"")
        text.add(escaped: message)
        text.add("\",\"type\":\"")
        text.add(status == 503 ? "unavailable_error" : kind)
        text.add("\"}}")
    }

    private var kind: StaticString {
        switch status {
        case 400: "invalid_request_error"
        case 404: "not_found_error"
        default: "api_error"
        }
    }

    private var exception: StaticString {
        switch status {
        case 400: "BadRequestError"
        case 404: "NotFoundError"
        case 503: "ServiceUnavailableError"
        default: "InternalServerError"
        }
    }
}
