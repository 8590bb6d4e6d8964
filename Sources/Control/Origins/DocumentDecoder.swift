import Foundation

/// Decodes a document into a type, and finds all that is wrong with it in one pass.
///
/// An optional field that cannot be decoded becomes nil, a required one a stand-in (empty, zero,
/// the first case), an entry of a list is left out, each with a problem in the log; so decoding
/// goes on, and who asked throws the result away when the log has errors. What types may rely on:
/// - An attempt through a single-value container leaves no trace when it throws, so a type that
///   takes a number or a text tries one after the other there. Attempts with `try?` in a keyed
///   container do leave their problems.
/// - `DecodingError.dataCorrupted` with a sentence as its `debugDescription` becomes that problem.
/// - An enum that is `CaseIterable` with text as its raw value gets its values listed.
/// - The fields of a type are the cases of its coding keys when those are `CaseIterable`, else
///   the keys that its `init(from:)` asks for; a type that asks for `allKeys` takes any field.
struct DocumentDecoder {
    let log: DecodingLog

    init(log: DecodingLog) {
        self.log = log
    }

    /// Decodes a whole document; nil, or errors in the log: it is to be refused.
    func decode<T: Decodable>(_ type: T.Type, from root: DocumentNode) -> T? {
        do {
            return try value(type, of: root, at: DecodingPlace(root: root))
        } catch let failure as DecodingFailure {
            log.append(failure)
        } catch {
            log.append(DecodingPlace(root: root).failure("\(error)"))
        }
        return nil
    }

    // MARK: - Values

    func value<T: Decodable>(
        _ type: T.Type, of node: DocumentNode, at place: DecodingPlace
    ) throws -> T {
        if type == String.self { return cast(try text(node, at: place)) }
        if type == Bool.self { return cast(try bool(node, at: place)) }
        if type == Int.self { return cast(try integer(Int.self, node, at: place)) }
        if type == Int32.self { return cast(try integer(Int32.self, node, at: place)) }
        if type == UInt16.self { return cast(try integer(UInt16.self, node, at: place)) }
        if type == Double.self { return cast(try number(node, at: place)) }
        if type == Data.self { return cast(try data(node, at: place)) }
        if let integer = type as? any (FixedWidthInteger & Decodable).Type {
            return cast(try self.integer(integer, node, at: place))
        }
        if type == Float.self { return cast(Float(try number(node, at: place))) }
        if case .sequence(let items) = node.content,
            let elementwise = type as? any ElementwiseDecodable.Type
        {
            return cast(elementwise.decode(items, at: place, by: self))
        }
        return try composite(type, of: node, at: place)
    }

    /// A type with its own `init(from:)`.
    private func composite<T: Decodable>(
        _ type: T.Type, of node: DocumentNode, at place: DecodingPlace
    ) throws -> T {
        var place = place
        if type is any PartlyDeclared.Type { place.isOpen = true }
        let decoder = NodeDecoder(node: node, place: place, documents: self)
        do {
            let result = try T(from: decoder)
            decoder.reportFields(isComplete: true)
            return result
        } catch {
            decoder.reportFields(isComplete: false)
            throw failure(from: error, type, node, decoder)
        }
    }

    /// Logs what is wrong and gives a stand-in, so that the rest of the document can be read.
    func standIn<T: Decodable>(
        _ type: T.Type, after error: any Error, at place: DecodingPlace
    ) throws -> T {
        if let failure = error as? DecodingFailure {
            log.append(failure)
        } else {
            log.append(place.failure("\(error)"))
        }
        if !place.isStatus, let value = StandIn.value(type) { return value }
        throw DecodingFailure(problems: [])
    }

    private func cast<A, T>(_ value: A) -> T {
        guard let result = value as? T else {
            preconditionFailure("the branch was chosen by the type, so the value has it")
        }
        return result
    }

    // MARK: - Scalars

    private func scalar(
        _ node: DocumentNode, at place: DecodingPlace, expected: String
    ) throws(DecodingFailure) -> Scalar {
        switch node.content {
        case .scalar(let scalar): return scalar
        case .sequence:
            throw place.failure("a list stands where \(expected) is expected")
        case .mapping:
            throw place.failure("fields stand where \(expected) is expected")
        }
    }

    private func text(
        _ node: DocumentNode, at place: DecodingPlace
    ) throws(DecodingFailure) -> String {
        let scalar = try scalar(node, at: place, expected: "text")
        switch scalar.type {
        case .text: return scalar.text
        case .null: throw place.failure("text is expected here; write \"\" for an empty one")
        case .bool:
            throw place.failure(
                "\(scalar.text) is a boolean where text is expected; "
                    + "put it in quotes: \"\(scalar.text)\"")
        case .integer, .float:
            throw place.failure(
                "\(scalar.text) is a number where text is expected; "
                    + "put it in quotes: \"\(scalar.text)\"")
        }
    }

    private func bool(
        _ node: DocumentNode, at place: DecodingPlace
    ) throws(DecodingFailure) -> Bool {
        let scalar = try scalar(node, at: place, expected: "true or false")
        guard let value = scalar.boolOfAnyVersion else {
            throw place.failure("\(quoted(scalar)) stands where true or false is expected")
        }
        if !scalar.isPlain {
            throw place.failure(
                "\(quoted(scalar)) is text where true or false is expected; remove the quotes")
        }
        return value
    }

    private func integer<I: FixedWidthInteger>(
        _ type: I.Type, _ node: DocumentNode, at place: DecodingPlace
    ) throws(DecodingFailure) -> I {
        let scalar = try scalar(node, at: place, expected: "a whole number")
        let unquoted = Scalar(text: scalar.text, isPlain: true)
        guard unquoted.type == .integer else {
            throw place.failure("\(quoted(scalar)) stands where a whole number is expected")
        }
        if !scalar.isPlain {
            throw place.failure(
                "\(quoted(scalar)) is text where a whole number is expected; remove the quotes")
        }
        if scalar.hasLeadingZero {
            throw place.failure(
                "\(scalar.text) begins with a zero, which some readers take for octal; remove it")
        }
        guard let value = scalar.integer(type) else {
            throw place.failure("\(scalar.text) is not within \(I.min) to \(I.max)")
        }
        return value
    }

    private func number(
        _ node: DocumentNode, at place: DecodingPlace
    ) throws(DecodingFailure) -> Double {
        let scalar = try scalar(node, at: place, expected: "a number")
        let type = Scalar(text: scalar.text, isPlain: true).type
        guard type == .integer || type == .float, let value = scalar.double else {
            throw place.failure("\(quoted(scalar)) stands where a number is expected")
        }
        if !scalar.isPlain {
            throw place.failure(
                "\(quoted(scalar)) is text where a number is expected; remove the quotes")
        }
        return value
    }

    /// Bytes in base64, as in a Secret's `data`; line breaks in it are allowed.
    private func data(
        _ node: DocumentNode, at place: DecodingPlace
    ) throws(DecodingFailure) -> Data {
        let scalar = try scalar(node, at: place, expected: "base64 text")
        if scalar.type == .null { return Data() }
        let compact =
            scalar.text.utf8.contains { $0 == 0x0A || $0 == 0x0D || $0 == 0x20 }
            ? scalar.text.filter { !$0.isWhitespace } : scalar.text
        guard let data = Data(base64Encoded: compact) else {
            throw place.failure(
                "the value is not base64; plain text belongs into stringData")
        }
        return data
    }

    /// A scalar as a message shows it: shortened, and what it is when it has no letters.
    private func quoted(_ scalar: Scalar) -> String {
        if scalar.type == .null { return "nothing" }
        return "\"\(shortened(scalar.text))\""
    }

    // MARK: - Failures

    /// Makes a thrown error a failure whose problems say which field and why.
    private func failure<T>(
        from error: any Error, _ type: T.Type, _ node: DocumentNode, _ decoder: NodeDecoder
    ) -> DecodingFailure {
        let place = decoder.place
        if let failure = error as? DecodingFailure { return failure }
        guard let error = error as? DecodingError else { return place.failure("\(error)") }
        switch error {
        case .dataCorrupted(let context):
            if let message = EnumValues.message(for: type, text: node.text) {
                return place.failure(message)
            }
            return decoder.failure(context)
        case .typeMismatch(_, let context), .valueNotFound(_, let context):
            return decoder.failure(context)
        case .keyNotFound(let key, _):
            let problem = place.problem(
                ConfigProblem.Reason.missingField, "this field is required", key: key.stringValue)
            return DecodingFailure(problems: [problem])
        @unknown default:
            return place.failure("\(error)")
        }
    }
}

/// Text for a message: at most 60 characters of it, in one line.
func shortened(_ text: String) -> String {
    let line = text.prefix { !$0.isNewline }.prefix(60)
    return line.count == text.count ? text : line + "…"
}

// MARK: - Lists, one entry after another

/// A list whose entries are decoded one by one, so that a bad one does not hide the others.
protocol ElementwiseDecodable {
    static func decode(
        _ items: [DocumentNode], at place: DecodingPlace, by decoder: DocumentDecoder
    ) -> Self
}

extension Array: ElementwiseDecodable where Element: Decodable {
    static func decode(
        _ items: [DocumentNode], at place: DecodingPlace, by decoder: DocumentDecoder
    ) -> [Element] {
        var elements: [Element] = []
        elements.reserveCapacity(items.count)
        for (index, item) in items.enumerated() {
            let place = place.item(index, item)
            do {
                elements.append(try decoder.value(Element.self, of: item, at: place))
            } catch let failure as DecodingFailure {
                decoder.log.append(failure)
            } catch {
                decoder.log.append(place.failure("\(error)"))
            }
        }
        return elements
    }
}

// MARK: - Stand-ins

/// Values that stand for required fields that could not be read.
private enum StandIn {
    static func value<T: Decodable>(_ type: T.Type) -> T? {
        if let optional = type as? any ExpressibleByNilLiteral.Type {
            return optional.init(nilLiteral: ()) as? T
        }
        if let text = type as? any RangeReplaceableCollection.Type { return text.init() as? T }
        if let number = type as? any Numeric.Type { return number.init(exactly: 0) as? T }
        if type == Bool.self { return false as? T }
        if let cases = type as? any CaseIterable.Type { return first(cases) as? T }
        let start = TextMark(line: 1, column: 1)
        let forms: [DocumentNode.Content] = [
            .mapping([]), .sequence([]), .scalar(Scalar(text: "", isPlain: false)),
        ]
        for form in forms {
            let decoder = DocumentDecoder(log: DecodingLog())
            if let value = decoder.decode(type, from: DocumentNode(form, at: start)) {
                return value
            }
        }
        return nil
    }

    private static func first<T: CaseIterable>(_ type: T.Type) -> Any? {
        type.allCases.first
    }
}

// MARK: - Enums

/// The values of an enum, for messages.
enum EnumValues {
    /// Why a text is not a value of an enum; nil when the type is none with known values.
    static func message<T>(for type: T.Type, text: String?) -> String? {
        guard let text, let cases = type as? any CaseIterable.Type else { return nil }
        let values = rawValues(cases)
        guard !values.isEmpty, !values.contains(text) else { return nil }
        let noun = noun(for: "\(type)")
        let refusal = "\"\(shortened(text))\" is not \(noun)"
        if let meant = NearestName.suggestion(for: text, among: values) {
            return "\(refusal); did you mean \"\(meant)\"?"
        }
        return "\(refusal); use \(sentenceList(values, "or"))"
    }

    private static func rawValues<T: CaseIterable>(_ type: T.Type) -> [String] {
        type.allCases.compactMap { ($0 as? any RawRepresentable)?.rawValue as? String }
    }

    /// A type's name as words with their article: `PathMatchType`, "a path match type".
    static func noun(for typeName: String) -> String {
        let letters = Array(typeName)
        var words: [String] = []
        for (index, letter) in letters.enumerated() {
            let next = index + 1 < letters.count ? letters[index + 1] : nil
            let before = index > 0 ? letters[index - 1] : nil
            let begins =
                letter.isUppercase
                && (before?.isUppercase != true || next?.isLowercase == true)
            if begins || words.isEmpty { words.append("") }
            words[words.count - 1].append(letter)
        }
        let spoken = words.map { word in
            word.count > 1 && word.allSatisfy(\.isUppercase) ? word : word.lowercased()
        }
        let isAcronym = spoken.first.map { $0.first?.isUppercase == true } ?? false
        let vowels = isAcronym ? "AEFHILMNORSX" : "aeio"
        let article = spoken.first?.first.map(vowels.contains) == true ? "an" : "a"
        return "\(article) \(spoken.joined(separator: " "))"
    }
}
