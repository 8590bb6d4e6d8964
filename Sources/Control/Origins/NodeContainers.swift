/// The fields of a mapping.
struct FieldContainer<Key: CodingKey>: KeyedDecodingContainerProtocol {
    let decoder: NodeDecoder
    let members: [DocumentNode.Member]

    var codingPath: [any CodingKey] { decoder.codingPath }

    var allKeys: [Key] {
        decoder.takeAnyField()
        return members.compactMap { Key(stringValue: $0.key) }
    }

    func contains(_ key: Key) -> Bool {
        decoder.member(key.stringValue, in: members) != nil
    }

    func decodeNil(forKey key: Key) throws -> Bool {
        decoder.member(key.stringValue, in: members)?.value.isNull ?? true
    }

    func decode<T: Decodable>(_ type: T.Type, forKey key: Key) throws -> T {
        let documents = decoder.documents
        guard let member = decoder.member(key.stringValue, in: members) else {
            decoder.addMissing(key.stringValue)
            return try documents.standIn(
                type, after: DecodingFailure(problems: []), at: decoder.place)
        }
        let place = decoder.place.member(member)
        do {
            return try documents.value(type, of: member.value, at: place)
        } catch {
            return try documents.standIn(type, after: error, at: place)
        }
    }

    func decodeIfPresent<T: Decodable>(_ type: T.Type, forKey key: Key) throws -> T? {
        optional(type, key)
    }

    // The standard library's own versions of these would go through `decode`, and so give a
    // stand-in where nil is wanted.
    func decodeIfPresent(_ type: Bool.Type, forKey key: Key) -> Bool? { optional(type, key) }
    func decodeIfPresent(_ type: String.Type, forKey key: Key) -> String? { optional(type, key) }
    func decodeIfPresent(_ type: Double.Type, forKey key: Key) -> Double? { optional(type, key) }
    func decodeIfPresent(_ type: Float.Type, forKey key: Key) -> Float? { optional(type, key) }
    func decodeIfPresent(_ type: Int.Type, forKey key: Key) -> Int? { optional(type, key) }
    func decodeIfPresent(_ type: Int8.Type, forKey key: Key) -> Int8? { optional(type, key) }
    func decodeIfPresent(_ type: Int16.Type, forKey key: Key) -> Int16? { optional(type, key) }
    func decodeIfPresent(_ type: Int32.Type, forKey key: Key) -> Int32? { optional(type, key) }
    func decodeIfPresent(_ type: Int64.Type, forKey key: Key) -> Int64? { optional(type, key) }
    func decodeIfPresent(_ type: UInt.Type, forKey key: Key) -> UInt? { optional(type, key) }
    func decodeIfPresent(_ type: UInt8.Type, forKey key: Key) -> UInt8? { optional(type, key) }
    func decodeIfPresent(_ type: UInt16.Type, forKey key: Key) -> UInt16? { optional(type, key) }
    func decodeIfPresent(_ type: UInt32.Type, forKey key: Key) -> UInt32? { optional(type, key) }
    func decodeIfPresent(_ type: UInt64.Type, forKey key: Key) -> UInt64? { optional(type, key) }

    /// The value, or nil when it is absent, null or, with a problem in the log, wrong.
    private func optional<T: Decodable>(_ type: T.Type, _ key: Key) -> T? {
        guard let member = decoder.member(key.stringValue, in: members),
            !member.value.isNull
        else { return nil }
        let place = decoder.place.member(member)
        do {
            return try decoder.documents.value(type, of: member.value, at: place)
        } catch let failure as DecodingFailure {
            decoder.documents.log.append(failure)
        } catch {
            decoder.documents.log.append(place.failure("\(error)"))
        }
        return nil
    }

    func nestedContainer<NestedKey: CodingKey>(
        keyedBy type: NestedKey.Type, forKey key: Key
    ) throws -> KeyedDecodingContainer<NestedKey> {
        try nestedDecoder(key).container(keyedBy: type)
    }

    func nestedUnkeyedContainer(forKey key: Key) throws -> any UnkeyedDecodingContainer {
        try nestedDecoder(key).unkeyedContainer()
    }

    func superDecoder() throws -> any Decoder { decoder }

    func superDecoder(forKey key: Key) throws -> any Decoder { try nestedDecoder(key) }

    private func nestedDecoder(_ key: Key) throws -> NodeDecoder {
        guard let member = decoder.member(key.stringValue, in: members) else {
            decoder.addMissing(key.stringValue)
            throw DecodingFailure(problems: [])
        }
        return decoder.addNested(member.value, at: decoder.place.member(member))
    }
}

/// The entries of a list, for types that go through them themselves.
struct ItemContainer: UnkeyedDecodingContainer {
    let decoder: NodeDecoder
    let items: [DocumentNode]
    var currentIndex = 0

    init(decoder: NodeDecoder, items: [DocumentNode]) {
        self.decoder = decoder
        self.items = items
    }

    var codingPath: [any CodingKey] { decoder.codingPath }
    var count: Int? { items.count }
    var isAtEnd: Bool { currentIndex == items.count }

    mutating func decodeNil() throws -> Bool {
        guard currentIndex < items.count, items[currentIndex].isNull else { return false }
        currentIndex += 1
        return true
    }

    mutating func decode<T: Decodable>(_ type: T.Type) throws -> T {
        let (node, place) = try next()
        return try decoder.documents.value(type, of: node, at: place)
    }

    mutating func nestedContainer<NestedKey: CodingKey>(
        keyedBy type: NestedKey.Type
    ) throws -> KeyedDecodingContainer<NestedKey> {
        let (node, place) = try next()
        return try decoder.addNested(node, at: place).container(keyedBy: type)
    }

    mutating func nestedUnkeyedContainer() throws -> any UnkeyedDecodingContainer {
        let (node, place) = try next()
        return try decoder.addNested(node, at: place).unkeyedContainer()
    }

    mutating func superDecoder() throws -> any Decoder {
        let (node, place) = try next()
        return decoder.addNested(node, at: place)
    }

    private mutating func next() throws -> (DocumentNode, DecodingPlace) {
        guard currentIndex < items.count else {
            throw decoder.place.failure("the list has too few entries")
        }
        let index = currentIndex
        currentIndex += 1
        return (items[index], decoder.place.item(index, items[index]))
    }
}

/// The node itself as one value.
struct ValueContainer: SingleValueDecodingContainer {
    let decoder: NodeDecoder

    var codingPath: [any CodingKey] { decoder.codingPath }

    func decodeNil() -> Bool { decoder.node.isNull }

    /// Decodes, or throws and leaves no trace in the log, so that another type can be tried.
    func decode<T: Decodable>(_ type: T.Type) throws -> T {
        let log = decoder.documents.log
        let count = log.problems.count
        do {
            let value = try decoder.documents.value(type, of: decoder.node, at: decoder.place)
            if log.problems.count == count { return value }
            let problems = log.takeProblems(after: count)
            if problems.allSatisfy({ $0.severity != .error }) {
                for problem in problems { log.append(problem) }
                return value
            }
            throw DecodingFailure(problems: problems)
        } catch let failure as DecodingFailure {
            throw DecodingFailure(problems: log.takeProblems(after: count) + failure.problems)
        }
    }
}
