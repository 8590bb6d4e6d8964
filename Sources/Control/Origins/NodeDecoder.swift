/// The decoder of one node, which also remembers what fields were asked for.
final class NodeDecoder: Decoder {
    let node: DocumentNode
    let place: DecodingPlace
    let documents: DocumentDecoder
    let userInfo: [CodingUserInfoKey: Any] = [:]

    /// Every field that the type has, as far as it is known.
    private var known: Set<String> = []
    /// Required fields that were asked for and are not there.
    private var missing: [String] = []
    /// The type takes any field: a dictionary.
    private var takesAnyField = false
    private var isKeyed = false
    /// The coding keys name every field, whether it was asked for or not.
    private var listsItsKeys = false
    /// Decoders of nested containers, whose fields are judged with this one's.
    private var nested: [NodeDecoder] = []
    /// Built for large mappings only.
    private var index: [String: Int] = [:]

    init(node: DocumentNode, place: DecodingPlace, documents: DocumentDecoder) {
        self.node = node
        self.place = place
        self.documents = documents
        if case .mapping(let members) = node.content, members.count > 16 {
            index.reserveCapacity(members.count)
            for (position, member) in members.enumerated() { index[member.key] = position }
        }
    }

    var codingPath: [any CodingKey] { place.codingPath }

    func container<Key: CodingKey>(
        keyedBy type: Key.Type
    ) throws -> KeyedDecodingContainer<Key> {
        guard case .mapping(let members) = node.content else { throw shapeFailure("fields") }
        isKeyed = true
        if let cases = type as? any (CaseIterable & CodingKey).Type {
            known.formUnion(Self.names(cases))
            listsItsKeys = true
        }
        return KeyedDecodingContainer(FieldContainer<Key>(decoder: self, members: members))
    }

    func unkeyedContainer() throws -> any UnkeyedDecodingContainer {
        guard case .sequence(let items) = node.content else { throw shapeFailure("a list") }
        return ItemContainer(decoder: self, items: items)
    }

    func singleValueContainer() throws -> any SingleValueDecodingContainer {
        ValueContainer(decoder: self)
    }

    /// The members of the node that a key names.
    func member(_ key: String, in members: [DocumentNode.Member]) -> DocumentNode.Member? {
        known.insert(key)
        if !index.isEmpty { return index[key].map { members[$0] } }
        return members.first { $0.key == key }
    }

    func takeAnyField() {
        takesAnyField = true
    }

    func addMissing(_ key: String) {
        missing.append(key)
    }

    func addNested(_ node: DocumentNode, at place: DecodingPlace) -> NodeDecoder {
        let decoder = NodeDecoder(node: node, place: place, documents: documents)
        nested.append(decoder)
        return decoder
    }

    /// The failure of a type's own finding, at the field that it names.
    func failure(_ context: DecodingError.Context) -> DecodingFailure {
        var place = place
        var node = node
        var key: String?
        for step in context.codingPath.dropFirst(codingPath.count) {
            if let member = node.member(step.stringValue) {
                place = place.member(member)
                node = member.value
            } else if case .sequence(let items) = node.content, let index = step.intValue,
                items.indices.contains(index)
            {
                place = place.item(index, items[index])
                node = items[index]
            } else {
                key = step.stringValue
                break
            }
        }
        let problem = place.problem(
            ConfigProblem.Reason.invalidValue, context.debugDescription, key: key)
        return DecodingFailure(problems: [problem])
    }

    // MARK: - Unknown and missing fields

    /// Logs fields that the type does not have and required ones that are not there.
    ///
    /// A near pair of both is one mistake.
    ///
    /// - Parameter isComplete: decoding came to its end, so all fields that the type has were
    ///   asked for.
    func reportFields(isComplete: Bool) {
        for decoder in nested { decoder.reportFields(isComplete: isComplete) }
        guard isKeyed, case .mapping(let members) = node.content else { return }
        if !takesAnyField {
            reportUnknownFields(among: members, isComplete: isComplete || listsItsKeys)
        }
        for key in missing {
            documents.log.append(
                place.problem(
                    ConfigProblem.Reason.missingField, "this field is required", key: key))
        }
        missing = []
    }

    private func reportUnknownFields(among members: [DocumentNode.Member], isComplete: Bool) {
        if place.isRoot { known.formUnion(["apiVersion", "kind", "metadata", "status"]) }
        let unknown = members.filter { !known.contains($0.key) }
        if unknown.isEmpty || (place.isOpen && !place.isRoot) { return }
        let present = Set(members.map(\.key))
        let absent = known.filter { !present.contains($0) }.sorted()
        for member in unknown {
            let meant =
                NearestName.suggestion(for: member.key, among: missing)
                ?? NearestName.suggestion(for: member.key, among: absent)
            if place.isRoot, meant == nil { continue }
            if !isComplete, !missing.contains(where: { $0 == meant }) { continue }
            let isRequired = missing.contains { $0 == meant }
            missing.removeAll { $0 == meant }
            var place = place.member(member)
            place.mark = member.keyMark
            var problem = place.problem(
                ConfigProblem.Reason.unknownField, unknownFieldMessage(meant: meant))
            // Outside `spec` and `data` the API lets other programs keep fields of their own.
            if self.place.isRoot, !isRequired { problem.severity = .warning }
            documents.log.append(problem)
        }
    }

    private func unknownFieldMessage(meant: String?) -> String {
        if let meant { return "unknown field; did you mean \"\(meant)\"?" }
        let names = known.sorted()
        if names.isEmpty { return "unknown field; nothing is expected here" }
        let shown = names.prefix(12).joined(separator: ", ")
        return "unknown field; known here: \(shown)\(names.count > 12 ? ", …" : "")"
    }

    private static func names<T: CaseIterable & CodingKey>(_ type: T.Type) -> [String] {
        type.allCases.map(\.stringValue)
    }

    // MARK: - Shapes

    private func shapeFailure(_ expected: String) -> DecodingFailure {
        switch node.content {
        case .scalar(let scalar) where scalar.type == .null:
            return place.failure("nothing stands where \(expected) \(verb(expected)) expected")
        case .scalar(let scalar):
            return place.failure(
                "\"\(shortened(scalar.text))\" stands where \(expected) \(verb(expected)) expected")
        case .sequence:
            return place.failure("a list stands where fields are expected; remove the \"-\"")
        case .mapping:
            return place.failure(
                "fields stand where a list is expected; begin each entry with \"-\"")
        }
    }

    private func verb(_ noun: String) -> String {
        noun == "fields" ? "are" : "is"
    }
}
