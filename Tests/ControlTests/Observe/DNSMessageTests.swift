// DNS messages give the records of the name that was asked for, and nothing else, whatever comes.
import Kernel
import Testing

@testable import Control

private func address(_ text: String) throws -> SocketAddress {
    try #require(SocketAddress(text, port: 0))
}

struct DNSMessageTests {
    @Test func `addresses come with the least TTL`() throws {
        let message = DNSWriter.message(
            question: "gpu.lan", type: 1,
            [
                ("gpu.lan", .a("10.0.0.1"), 60), ("GPU.lan", .a("10.0.0.2"), 20),
                ("other.lan", .a("10.0.0.3"), 5), ("gpu.lan", .aaaa("fd00::1"), 1),
            ])
        let answer = try #require(DNSMessage.read(message, type: .a))
        #expect(answer.addresses == [try address("10.0.0.1"), try address("10.0.0.2")])
        #expect(answer.ttlSeconds == 20)
    }

    @Test func `IPv6 addresses are read as they are`() throws {
        let message = DNSWriter.message(
            question: "gpu.lan", type: 28, [("gpu.lan", .aaaa("2001:db8::ff:0:1"), 9)])
        let answer = try #require(DNSMessage.read(message, type: .aaaa))
        #expect(answer.addresses == [try address("2001:db8::ff:0:1")])
    }

    @Test func `aliases are followed in any order, and their TTL counts`() throws {
        let message = DNSWriter.message(
            question: "a.lan", type: 1,
            [
                ("c.lan", .a("10.0.0.9"), 300), ("b.lan", .alias("c.lan"), 7),
                ("a.lan", .alias("b.lan"), 70),
            ])
        let answer = try #require(DNSMessage.read(message, type: .a))
        #expect(answer.addresses == [try address("10.0.0.9")])
        #expect(answer.ttlSeconds == 7)
    }

    @Test func `aliases in a circle lead nowhere`() throws {
        let message = DNSWriter.message(
            question: "a.lan", type: 1,
            [("a.lan", .alias("b.lan"), 7), ("b.lan", .alias("a.lan"), 7)])
        #expect(try #require(DNSMessage.read(message, type: .a)).isEmpty)
    }

    @Test func `services come with port and target`() throws {
        let message = DNSWriter.message(
            question: "_ollama._tcp.lan", type: 33,
            [
                (
                    "_ollama._tcp.lan",
                    .srv(priority: 1, weight: 5, port: 11_434, target: "N1.lan"), 30
                ),
                ("_ollama._tcp.lan", .srv(priority: 2, weight: 0, port: 80, target: ""), 30),
            ])
        let answer = try #require(DNSMessage.read(message, type: .srv))
        #expect(
            answer.services == [
                DNSService(priority: 1, weight: 5, port: 11_434, target: "n1.lan")
            ])
        #expect(answer.ttlSeconds == 30)
    }

    @Test func `the unspecified address is no address`() throws {
        let message = DNSWriter.message(
            question: "ads.lan", type: 1, [("ads.lan", .a("0.0.0.0"), 60)])
        #expect(try #require(DNSMessage.read(message, type: .a)).isEmpty)
    }

    @Test func `a TTL with its top bit set is zero`() throws {
        let message = DNSWriter.message(
            question: "a.lan", type: 1, [("a.lan", .a("10.0.0.1"), 0x8000_0001)])
        #expect(try #require(DNSMessage.read(message, type: .a)).ttlSeconds == 0)
    }

    @Test func `names may point back`() throws {
        var message = DNSWriter.message(question: "a.lan", type: 1, [])
        message[7] = 1
        message += DNSWriter.record([0xC0, 12], .a("10.0.0.1"), ttl: 3)
        let answer = try #require(DNSMessage.read(message, type: .a))
        #expect(answer.addresses == [try address("10.0.0.1")])
    }

    @Test(arguments: [
        // To itself, forward, and to a pointer that leads on.
        [UInt8(0xC0), 23], [0xC0, 200], [0xC0, 24],
        // A label of a kind that does not exist, and one with a dot inside.
        [0x80, 1, 0], [3, 0x61, 0x2E, 0x62, 0], [1, 0x20, 0],
    ])
    func `a malformed owner is refused`(owner: [UInt8]) {
        var message = DNSWriter.message(question: "a.lan", type: 1, [])
        #expect(message.count == 23)
        message[7] = 1
        message += DNSWriter.record(owner, .a("10.0.0.1"), ttl: 3)
        #expect(DNSMessage.read(message, type: .a) == nil)
    }

    @Test(arguments: [
        DNSRecord.a("10.0.0.1"), .aaaa("fd00::1"),
        .srv(priority: 1, weight: 1, port: 1, target: "b.lan"),
    ])
    func `a message cut anywhere is refused`(record: DNSRecord) throws {
        let type = try #require(DNSRecordType(rawValue: record.type))
        let message = DNSWriter.message(
            question: "a.lan", type: record.type, [("a.lan", record, 60)])
        #expect(DNSMessage.read(message, type: type)?.isEmpty == false)
        for count in 0..<message.count {
            #expect(DNSMessage.read(Array(message[..<count]), type: type) == nil, "\(count)")
        }
    }

    @Test func `no change of bytes traps`() {
        let message = DNSWriter.message(
            question: "a.lan", type: 33,
            [
                ("a.lan", .alias("b.lan"), 60),
                ("b.lan", .srv(priority: 1, weight: 1, port: 1, target: "c.b.lan"), 60),
            ])
        var random = SystemRandomNumberGenerator()
        for at in message.indices {
            for value in UInt8.min...UInt8.max {
                var changed = message
                changed[at] = value
                changed[Int.random(in: message.indices, using: &random)] = .random(in: 0...255)
                for type in [DNSRecordType.a, .aaaa, .srv] {
                    _ = DNSMessage.read(changed, type: type)
                }
            }
        }
    }
}
