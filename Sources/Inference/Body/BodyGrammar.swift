/// The two forms that content of inference requests has.
struct BodyGrammar: ~Copyable {
    /// Unused when there is a form.
    private var json: BodyPeek
    private var form: MultipartPeek?

    /// A scanner of content of this form; throws when its type is of no use.
    init(
        _ form: RequestPeek.Form, contentType: Span<UInt8>, acceptsName: Bool
    ) throws(BodyRefusal) {
        switch form {
        case .json: self.init(json: BodyPeek(acceptsName: acceptsName))
        case .multipart: self.init(form: try MultipartPeek(contentType: contentType))
        case .opaque: throw .unsupportedType
        }
    }

    init(json: BodyPeek) {
        self.json = json
        form = nil
    }

    init(form: consuming MultipartPeek) {
        json = BodyPeek()
        self.form = consume form
    }

    var isForm: Bool { form != nil }

    var facts: BodyFacts {
        switch form {
        case .some(let form): form.facts
        case .none: json.facts
        }
    }

    mutating func scan(_ bytes: Span<UInt8>) throws(BodyRefusal) {
        if isForm { try form?.scan(bytes) } else { try json.scan(bytes) }
    }

    mutating func finish() throws(BodyRefusal) {
        if isForm { try form?.finish() } else { try json.finish() }
    }
}
