// A stand-in for a DNS server: answers over UDP on loopback from a table that tests change.
import Glibc
import Kernel

@testable import Control

/// A record's content.
enum DNSRecord {
    case a(String)
    case aaaa(String)
    case alias(String)
    case srv(priority: UInt16, weight: UInt16, port: UInt16, target: String)

    var type: UInt16 {
        switch self {
        case .a: 1
        case .aaaa: 28
        case .alias: 5
        case .srv: 33
        }
    }
}

/// What the stand-in does with a question.
enum DNSMood: Sendable {
    case answering
    case silent
    /// SERVFAIL.
    case failing
}

/// Writes DNS messages.
enum DNSWriter {
    static func number(_ value: UInt16) -> [UInt8] { [UInt8(value >> 8), UInt8(value & 0xFF)] }

    static func name(_ text: String) -> [UInt8] {
        text.split(separator: ".").flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) } + [0]
    }

    static func record(_ owner: [UInt8], _ record: DNSRecord, ttl: UInt32) -> [UInt8] {
        let content: [UInt8]
        switch record {
        case .a(let text): content = text.split(separator: ".").map { UInt8($0) ?? 0 }
        case .aaaa(let text):
            var address = in6_addr()
            // Sound: a terminated string and room for its sixteen bytes.
            _ = unsafe inet_pton(AF_INET6, text, &address)
            // Sound: plain bytes.
            content = unsafe withUnsafeBytes(of: &address) { unsafe Array($0) }
        case .alias(let target): content = name(target)
        case .srv(let priority, let weight, let port, let target):
            content = number(priority) + number(weight) + number(port) + name(target)
        }
        return owner + number(record.type) + number(1) + number(UInt16(ttl >> 16))
            + number(UInt16(ttl & 0xFFFF)) + number(UInt16(content.count)) + content
    }

    /// An answer to one question; each record with its owner, and its TTL.
    static func message(
        id: UInt16 = 7, question: String, type: UInt16, code: UInt16 = 0,
        _ records: [(owner: String, record: DNSRecord, ttl: UInt32)]
    ) -> [UInt8] {
        number(id) + number(0x8180 | code) + number(1) + number(UInt16(records.count))
            + number(0) + number(0) + name(question) + number(type) + number(1)
            + records.flatMap { record(name($0.owner), $0.record, ttl: $0.ttl) }
    }
}

/// Answers until its life ends.
final class DNSResponder: Sendable {
    private struct State {
        var records: [String: [(DNSRecord, UInt32)]] = [:]
        var mood = DNSMood.answering
        var ignored: UInt16?
        var questions: [String] = []
        var isOver = false
    }

    private let state: Lock<State>
    private let descriptor: Int32
    private let thread: Lock<Kernel.Thread?>
    /// Where it answers.
    let address: SocketAddress

    /// Answers at `127.0.0.1`, or at another loopback address `127.0.53.last`.
    init(last: UInt8? = nil, port: UInt16 = 0) throws {
        let raw = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        var place = sockaddr_in()
        place.sin_family = sa_family_t(AF_INET)
        place.sin_port = port.bigEndian
        let host = last.map { 0x7f00_3500 | UInt32($0) } ?? 0x7f00_0001
        place.sin_addr.s_addr = host.bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        // Sound: an address of its own size, for the calls only.
        let result = unsafe withUnsafeMutableBytes(of: &place) { bytes in
            let form = unsafe bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self)
            let bound = unsafe bind(raw, __CONST_SOCKADDR_ARG(__sockaddr__: form), size)
            return unsafe bound
                + getsockname(raw, __SOCKADDR_ARG(__sockaddr__: form), &size)
        }
        guard raw >= 0, result == 0 else { throw SystemError("bind", errno) }
        var timeout = timeval(tv_sec: 0, tv_usec: 20_000)
        // Sound: plain bytes with their size.
        _ = unsafe setsockopt(
            raw, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        descriptor = raw
        let text = last.map { "127.0.53.\($0)" } ?? "127.0.0.1"
        guard let address = SocketAddress(text, port: UInt16(bigEndian: place.sin_port)) else {
            preconditionFailure("Four numbers are an address.")
        }
        self.address = address
        let state = Lock(State())
        self.state = state
        thread = Lock(nil)
        let started = try Kernel.Thread.start(name: "dns") { Self.serve(raw, state) }
        thread.withLock { $0 = started }
    }

    deinit {
        state.withLock { $0.isOver = true }
        thread.withLock { $0?.join() }
        close(descriptor)
    }

    /// Replaces all records of a name; none: the name is there without records, nil: it is not.
    func set(_ name: String, _ records: [DNSRecord]?, ttl: UInt32 = 1) {
        state.withLock { $0.records[name] = records?.map { ($0, ttl) } }
    }

    func set(_ mood: DNSMood) { state.withLock { $0.mood = mood } }

    /// Leaves questions of a type without an answer.
    func ignore(type: UInt16) { state.withLock { $0.ignored = type } }

    /// What was asked, as `name type`.
    var questions: [String] { state.withLock { $0.questions } }

    private static func serve(_ raw: Int32, _ state: Lock<State>) {
        var buffer = [UInt8](repeating: 0, count: 2_048)
        while !state.withLock({ $0.isOver }) {
            var peer = sockaddr_in()
            var size = socklen_t(MemoryLayout<sockaddr_in>.size)
            // Sound: memory with its size, for the call only.
            let count = unsafe withUnsafeMutableBytes(of: &peer) { bytes in
                let form = unsafe bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self)
                return unsafe recvfrom(
                    raw, &buffer, buffer.count, 0, __SOCKADDR_ARG(__sockaddr__: form), &size)
            }
            guard count > 12, let answer = answer(Array(buffer[..<count]), state) else { continue }
            // Sound: as above.
            _ = unsafe withUnsafeMutableBytes(of: &peer) { bytes in
                let form = unsafe bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self)
                return unsafe sendto(
                    raw, answer, answer.count, 0, __CONST_SOCKADDR_ARG(__sockaddr__: form), size)
            }
        }
    }

    private static func answer(_ query: [UInt8], _ state: Lock<State>) -> [UInt8]? {
        var labels: [String] = []
        var at = 12
        while at < query.count, query[at] != 0 {
            let count = Int(query[at])
            labels.append(String(decoding: query[(at + 1)...(at + count)], as: UTF8.self))
            at += 1 + count
        }
        let name = labels.joined(separator: ".")
        let type = UInt16(query[at + 1]) << 8 | UInt16(query[at + 2])
        let id = UInt16(query[0]) << 8 | UInt16(query[1])
        let (records, mood) = state.withLock { state in
            state.questions.append("\(name) \(type)")
            let mood = state.ignored == type ? DNSMood.silent : state.mood
            return (state.records[name.lowercased()], mood)
        }
        switch mood {
        case .silent: return nil
        case .failing: return DNSWriter.message(id: id, question: name, type: type, code: 2, [])
        case .answering: break
        }
        guard let records else {
            return DNSWriter.message(id: id, question: name, type: type, code: 3, [])
        }
        let fitting = records.filter { $0.0.type == type }
        return DNSWriter.message(
            id: id, question: name, type: type, fitting.map { (name, $0.0, $0.1) })
    }
}
