import HTTP

/// Reads what a request's content says about itself, whatever its form and coding: what an exchange
/// holds while its content comes.
///
/// Content that comes as it is costs no allocation; a form has one of 1 KiB, encoded content has the
/// library's state and 64 KiB, until the value goes.
public struct RequestPeek: ~Copyable {
    private var grammar: BodyGrammar
    private var decoder: DecodedPeek?
    private var refusal: BodyRefusal?

    /// What the content's type says about its form.
    public enum Form: Sendable {
        case json, multipart
        /// Neither: nothing is read of it.
        case opaque

        /// The form of a content type, which is empty when the request has none.
        ///
        /// Model servers read JSON also where a client did not say so: without a type, or with the
        /// one that curl sends with `-d`.
        public init(contentType: Span<UInt8>) {
            var parameters = ParameterScanner()
            let type = contentType.extracting(parameters.head(contentType))
            if type.isEmpty || ByteScan.equalFolding(type, ByteScan.bytes("application/json"))
                || ByteScan.equalFolding(
                    type, ByteScan.bytes("application/x-www-form-urlencoded"))
                || ByteScan.equalFolding(type, ByteScan.bytes("text/plain"))
            {
                self = .json
            } else if ByteScan.equalFolding(type, ByteScan.bytes("multipart/form-data")) {
                self = .multipart
            } else if type.count > 5,
                ByteScan.equalFolding(
                    type.extracting((type.count - 5)..<type.count), ByteScan.bytes("+json"))
            {
                self = .json
            } else {
                self = .opaque
            }
        }
    }

    /// A scanner at the start of content.
    ///
    /// - Parameters:
    ///   - contentType: the field's value, empty when there is none.
    ///   - contentEncoding: the field's value, empty when there is none.
    ///   - acceptsName: whether `name` stands for a missing `model`.
    ///   - decodedMax: the most bytes that encoded content may decode to.
    /// - Throws: a refusal that the type or the coding alone leads to.
    public init(
        contentType: Span<UInt8>, contentEncoding: Span<UInt8>, acceptsName: Bool = false,
        decodedMax: Int
    ) throws(BodyRefusal) {
        guard let coding = ContentCoding(contentEncoding) else { throw .unsupportedCoding }
        let grammar = try BodyGrammar(
            Form(contentType: contentType), contentType: contentType, acceptsName: acceptsName)
        let decoder = try DecodedPeek(coding, decodedMax: decodedMax)
        self.grammar = grammar
        self.decoder = decoder
    }

    /// Takes the next bytes of content; throws at what is refused, and from then on.
    public mutating func scan(_ bytes: Span<UInt8>) throws(BodyRefusal) {
        if let refusal { throw refusal }
        do throws(BodyRefusal) {
            if isEncoded {
                try decoder?.scan(bytes, into: &grammar)
            } else {
                try grammar.scan(bytes)
            }
        } catch {
            refusal = error
            throw error
        }
    }

    /// Tells that the content ends here.
    public mutating func finish() throws(BodyRefusal) {
        if let refusal { throw refusal }
        do throws(BodyRefusal) {
            try decoder?.finish(into: &grammar)
            try grammar.finish()
        } catch {
            refusal = error
            throw error
        }
    }

    /// What was read so far.
    ///
    /// Complete after `finish`; ranges count decoded bytes where there is a coding.
    public var facts: BodyFacts { grammar.facts }

    /// Whether the content is a form; its model's name is then written without quotes.
    public var isForm: Bool { grammar.isForm }

    /// Whether the content has a coding: ranges are then none of the bytes that came, and a name
    /// cannot be written into them.
    public var isEncoded: Bool { decoder != nil }
}
