import Kernel

/// Which records are asked for (RFC 1035 §3.2.2, RFC 3596, RFC 2782).
enum DNSRecordType: UInt16, Hashable, Sendable {
    case a = 1
    case aaaa = 28
    case srv = 33
}

/// One server of a service, by an SRV record (RFC 2782).
struct DNSService: Hashable, Sendable {
    /// Lower ones are used first.
    var priority: UInt16
    var weight: UInt16
    var port: UInt16
    /// In small letters, without the last dot; empty for "not offered here".
    var target: String
}

/// What an answer says about the name that was asked for.
struct DNSAnswer: Equatable, Sendable {
    /// From A or AAAA records, with port 0.
    var addresses: [SocketAddress] = []
    /// From SRV records.
    var services: [DNSService] = []
    /// The least of the records that led here, aliases among them.
    var ttlSeconds: UInt32 = 0

    var isEmpty: Bool { addresses.isEmpty && services.isEmpty }
}

/// Reads DNS messages, as far as names are resolved by them (RFC 1035 §4).
///
/// Done here and not by the library, whose reader of SRV records keeps no TTL.
enum DNSMessage {
    /// Aliases that are followed from one name to the next.
    private static let aliasesMax = 16
    private static let nameBytesMax = 255
    private static let alias: UInt16 = 5
    private static let internet: UInt16 = 1

    private struct Record {
        var owner: String
        var type: UInt16
        var ttlSeconds: UInt32
        var content: Range<Int>
    }

    /// The records of this type that belong to the name asked for; nil when the message is malformed.
    static func read(_ bytes: [UInt8], type: DNSRecordType) -> DNSAnswer? {
        guard let questions = number(bytes, 4), let answers = number(bytes, 6), questions == 1
        else {
            return nil
        }
        var at = 12
        guard var name = Self.name(bytes, &at), at + 4 <= bytes.count else { return nil }
        at += 4
        var records: [Record] = []
        for _ in 0..<answers {
            guard let record = record(bytes, &at) else { return nil }
            if let record { records.append(record) }
        }
        var ttlSeconds = UInt32.max
        for _ in 0..<aliasesMax {
            let own = records.filter { $0.owner == name }
            let wanted = own.filter { $0.type == type.rawValue }
            if !wanted.isEmpty { return answer(bytes, wanted, type, ttlSeconds) }
            guard let next = own.first(where: { $0.type == alias }) else { break }
            var start = next.content.lowerBound
            guard let target = Self.name(bytes, &start) else { return nil }
            ttlSeconds = min(ttlSeconds, next.ttlSeconds)
            name = target
        }
        return DNSAnswer()
    }

    private static func answer(
        _ bytes: [UInt8], _ records: [Record], _ type: DNSRecordType, _ ttlSeconds: UInt32
    ) -> DNSAnswer? {
        var answer = DNSAnswer(ttlSeconds: ttlSeconds)
        for record in records {
            answer.ttlSeconds = min(answer.ttlSeconds, record.ttlSeconds)
            switch type {
            case .a, .aaaa:
                guard let address = address(bytes[record.content], type) else { return nil }
                // Filters answer so for what they block; here it would mean this machine.
                if !address.isAny { answer.addresses.append(address) }
            case .srv:
                guard let service = service(bytes, record.content) else { return nil }
                if !service.target.isEmpty { answer.services.append(service) }
            }
        }
        return answer
    }

    // MARK: - Parts

    /// One record; an inner nil is one of another class, the outer nil a malformed one.
    private static func record(_ bytes: [UInt8], _ at: inout Int) -> Record?? {
        guard let owner = name(bytes, &at), let type = number(bytes, at),
            let kind = number(bytes, at + 2), let upper = number(bytes, at + 4),
            let lower = number(bytes, at + 6), let count = number(bytes, at + 8)
        else { return nil }
        let start = at + 10
        guard start + Int(count) <= bytes.count else { return nil }
        at = start + Int(count)
        if kind != internet { return .some(nil) }
        let ttl = UInt32(upper) << 16 | UInt32(lower)
        // A set top bit means zero (RFC 2181 §8).
        return Record(
            owner: owner, type: type, ttlSeconds: ttl >> 31 == 0 ? ttl : 0, content: start..<at)
    }

    private static func address(
        _ bytes: ArraySlice<UInt8>, _ type: DNSRecordType
    ) -> SocketAddress? {
        if type == .a {
            guard bytes.count == 4 else { return nil }
            return SocketAddress(bytes.map { String($0) }.joined(separator: "."), port: 0)
        }
        guard bytes.count == 16 else { return nil }
        let groups = stride(from: bytes.startIndex, to: bytes.endIndex, by: 2).map {
            String(UInt16(bytes[$0]) << 8 | UInt16(bytes[$0 + 1]), radix: 16)
        }
        return SocketAddress(groups.joined(separator: ":"), port: 0)
    }

    private static func service(_ bytes: [UInt8], _ content: Range<Int>) -> DNSService? {
        var at = content.lowerBound + 6
        guard at < content.upperBound, let priority = number(bytes, content.lowerBound),
            let weight = number(bytes, content.lowerBound + 2),
            let port = number(bytes, content.lowerBound + 4), let target = name(bytes, &at),
            at == content.upperBound
        else { return nil }
        return DNSService(priority: priority, weight: weight, port: port, target: target)
    }

    private static func number(_ bytes: [UInt8], _ at: Int) -> UInt16? {
        guard at + 2 <= bytes.count else { return nil }
        return UInt16(bytes[at]) << 8 | UInt16(bytes[at + 1])
    }

    /// A name in small letters without its last dot, empty for the root; nil when it is malformed.
    ///
    /// Pointers (RFC 1035 §4.1.4) lead back only, each further than the last: none goes in a circle.
    /// Names with other than visible ASCII, or with dots inside a label, are malformed for us.
    private static func name(_ bytes: [UInt8], _ at: inout Int) -> String? {
        var text: [UInt8] = []
        var cursor = at
        var floor = at
        var end: Int?
        while true {
            guard cursor < bytes.count else { return nil }
            let count = Int(bytes[cursor])
            if count == 0 {
                at = end ?? cursor + 1
                return String(decoding: text, as: UTF8.self)
            }
            if count >= 0xC0 {
                guard let pointer = number(bytes, cursor) else { return nil }
                let target = Int(pointer & 0x3FFF)
                guard target < floor else { return nil }
                if end == nil { end = cursor + 2 }
                floor = target
                cursor = target
                continue
            }
            guard count < 64, cursor + 1 + count <= bytes.count,
                text.count + 1 + count <= nameBytesMax
            else { return nil }
            if !text.isEmpty { text.append(UInt8(ascii: ".")) }
            for byte in bytes[(cursor + 1)..<(cursor + 1 + count)] {
                guard byte > 0x20, byte < 0x7F, byte != UInt8(ascii: ".") else { return nil }
                text.append(byte &- 0x41 < 26 ? byte | 0x20 : byte)
            }
            cursor += 1 + count
        }
    }
}
