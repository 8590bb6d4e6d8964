// Names are asked for when they are due; what is told of them is the last good answer.
import Kernel
import Testing

@testable import Control

private func address(_ text: String, port: UInt16 = 0) -> SocketAddress {
    guard let address = SocketAddress(text, port: port) else {
        preconditionFailure("The test writes addresses.")
    }
    return address
}

/// A table whose questions are answered from a dictionary: `name type` to an outcome.
private struct Play {
    var table = NameTable()
    var now: UInt64 = 1_000_000
    var outcomes: [String: NameTable.Outcome] = [:]
    var isReachable: (SocketAddress) -> Bool = { _ in true }
    var asked: [String] = []

    /// Asks and answers until nothing is due.
    mutating func run() -> [NameTable.News] {
        while true {
            let questions = table.takeQuestions(now: now)
            if questions.isEmpty { return table.takeNews() }
            for question in questions {
                let key = "\(question.name) \(question.type)"
                asked.append(key)
                let outcome = outcomes[key] ?? .nothing(cause: "there is no such name")
                table.take(outcome, of: question.id, now: now, isReachable: isReachable)
            }
        }
    }

    /// Moves the clock to when the next name is due; how far that is.
    mutating func skip() -> UInt64? {
        let delay = table.delay(now: now)
        now += delay ?? 0
        return delay
    }
}

struct NameTableTests {
    @Test func `A and AAAA come together, sorted, IPv4 first`() {
        var play = Play()
        play.outcomes["gpu a"] = .addresses(
            [address("10.0.0.2"), address("10.0.0.1")], ttlSeconds: 30)
        play.outcomes["gpu aaaa"] = .addresses([address("fd00::1")], ttlSeconds: 20)
        play.table.follow(["gpu"], now: play.now)
        #expect(
            play.run() == [
                .addresses(
                    name: "gpu",
                    [address("10.0.0.1"), address("10.0.0.2"), address("fd00::1")], isFirst: true)
            ])
        #expect(play.skip() == 20_000)
        #expect(play.run() == [])
        #expect(play.asked == ["gpu a", "gpu aaaa", "gpu a", "gpu aaaa"])
    }

    @Test func `another order is no change, another set is`() {
        var play = Play()
        play.table.follow(["gpu"], now: play.now)
        play.outcomes["gpu a"] = .addresses(
            [address("10.0.0.1"), address("10.0.0.2")], ttlSeconds: 5)
        #expect(play.run().count == 1)
        _ = play.skip()
        play.outcomes["gpu a"] = .addresses(
            [address("10.0.0.2"), address("10.0.0.1")], ttlSeconds: 5)
        #expect(play.run() == [])
        _ = play.skip()
        play.outcomes["gpu a"] = .addresses([address("10.0.0.2")], ttlSeconds: 5)
        #expect(
            play.run() == [.addresses(name: "gpu", [address("10.0.0.2")], isFirst: false)])
    }

    @Test(arguments: [(0, 1_000), (1, 1_000), (90, 90_000), (300, 300_000), (86_400, 300_000)])
    func `the pause is the TTL within its bounds`(seconds: UInt32, milliseconds: UInt64) {
        var play = Play()
        play.outcomes["gpu a"] = .addresses([address("10.0.0.1")], ttlSeconds: seconds)
        play.table.follow(["gpu"], now: play.now)
        _ = play.run()
        #expect(play.skip() == milliseconds)
    }

    @Test(arguments: [
        NameTable.Outcome.nothing(cause: "why"), .failed(cause: "why"),
    ])
    func `a failure keeps the last answer, is told once, and is tried again ever later`(
        failure: NameTable.Outcome
    ) {
        var play = Play()
        play.table.follow(["gpu"], now: play.now)
        play.outcomes["gpu a"] = .addresses([address("10.0.0.1")], ttlSeconds: 60)
        #expect(play.run().count == 1)
        play.outcomes["gpu a"] = failure
        play.outcomes["gpu aaaa"] = failure
        #expect(play.skip() == 60_000)
        #expect(play.run() == [.failing(name: "gpu", cause: "why", keeps: true)])
        var delays: [UInt64] = []
        for _ in 0..<7 {
            delays.append(play.skip() ?? 0)
            #expect(play.run() == [])
        }
        #expect(delays == [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000])
        play.outcomes["gpu a"] = .addresses([address("10.0.0.1")], ttlSeconds: 60)
        play.outcomes["gpu aaaa"] = .nothing(cause: "")
        _ = play.skip()
        #expect(play.run() == [.recovered(name: "gpu")])
        #expect(play.skip() == 60_000)
        // The next failure begins from the first pause.
        play.outcomes["gpu a"] = failure
        _ = play.run()
        #expect(play.skip() == 1_000)
    }

    @Test func `a name that never was has no addresses and says so`() {
        var play = Play()
        play.table.follow(["gpu"], now: play.now)
        #expect(
            play.run() == [
                .failing(name: "gpu", cause: "there is no such name", keeps: false)
            ])
    }

    @Test func `a family that fails keeps its addresses, one that is gone does not`() {
        var play = Play()
        play.table.follow(["gpu"], now: play.now)
        play.outcomes["gpu a"] = .addresses([address("10.0.0.1")], ttlSeconds: 60)
        play.outcomes["gpu aaaa"] = .addresses([address("fd00::1")], ttlSeconds: 60)
        _ = play.run()
        play.outcomes["gpu aaaa"] = .failed(cause: "no answer")
        _ = play.skip()
        #expect(play.run() == [])
        // The failed half is asked for again soon, long before the TTL.
        #expect(play.skip() == 1_000)
        play.outcomes["gpu aaaa"] = .nothing(cause: "it has no addresses")
        #expect(
            play.run() == [.addresses(name: "gpu", [address("10.0.0.1")], isFirst: false)])
    }

    @Test func `a family that is late does not hold up the other for long`() throws {
        var play = Play()
        play.table.follow(["gpu"], now: play.now)
        let questions = play.table.takeQuestions(now: play.now)
        let found = [address("10.0.0.1")]
        play.table.take(.addresses(found, ttlSeconds: 60), of: questions[0].id, now: play.now)
        #expect(play.table.takeNews() == [])
        #expect(play.skip() == NameTable.familyWaitMilliseconds)
        play.table.tellLate(now: play.now)
        #expect(play.table.takeNews() == [.addresses(name: "gpu", found, isFirst: true)])
        #expect(play.table.delay(now: play.now) == nil)
        let late = [address("fd00::1")]
        play.table.take(.addresses(late, ttlSeconds: 60), of: questions[1].id, now: play.now)
        #expect(
            play.table.takeNews() == [.addresses(name: "gpu", found + late, isFirst: false)])
        #expect(play.skip() == 60_000)
    }

    @Test func `while a family is late, its last addresses stay`() {
        var play = Play()
        play.outcomes["gpu a"] = .addresses([address("10.0.0.1")], ttlSeconds: 60)
        play.outcomes["gpu aaaa"] = .addresses([address("fd00::1")], ttlSeconds: 60)
        play.table.follow(["gpu"], now: play.now)
        _ = play.run()
        _ = play.skip()
        let questions = play.table.takeQuestions(now: play.now)
        let found = [address("10.0.0.2")]
        play.table.take(.addresses(found, ttlSeconds: 60), of: questions[0].id, now: play.now)
        _ = play.skip()
        play.table.tellLate(now: play.now)
        #expect(
            play.table.takeNews() == [
                .addresses(name: "gpu", found + [address("fd00::1")], isFirst: false)
            ])
    }

    @Test func `addresses without a way to them are left out, unless there are no others`() {
        var play = Play()
        play.isReachable = { !$0.isIPv6 }
        play.outcomes["both a"] = .addresses([address("10.0.0.1")], ttlSeconds: 60)
        play.outcomes["both aaaa"] = .addresses([address("fd00::1")], ttlSeconds: 60)
        play.outcomes["six aaaa"] = .addresses([address("fd00::2")], ttlSeconds: 60)
        play.table.follow(["both", "six"], now: play.now)
        #expect(
            play.run() == [
                .addresses(name: "both", [address("10.0.0.1")], isFirst: true),
                .addresses(name: "six", [address("fd00::2")], isFirst: true),
            ])
    }

    @Test func `names that are wanted no more are forgotten`() {
        var play = Play()
        play.table.follow(["a", "b"], now: play.now)
        let questions = play.table.takeQuestions(now: play.now)
        #expect(questions.map(\.name) == ["a", "a", "b", "b"])
        play.table.follow(["b"], now: play.now)
        for question in questions {
            let found = [address("10.0.0.1")]
            play.table.take(.addresses(found, ttlSeconds: 9), of: question.id, now: play.now)
        }
        #expect(
            play.table.takeNews() == [
                .addresses(name: "b", [address("10.0.0.1")], isFirst: true)
            ])
        play.table.follow([], now: play.now)
        #expect(play.table.delay(now: play.now) == nil)
        // Wanted again, it is told anew.
        play.outcomes["b a"] = .addresses([address("10.0.0.1")], ttlSeconds: 9)
        play.table.follow(["b"], now: play.now)
        #expect(play.run().count == 1)
    }

    @Test func `an outcome counts once, and none that was not asked for`() {
        var play = Play()
        play.table.follow(["a"], now: play.now)
        let first = play.table.takeQuestions(now: play.now)
        for _ in 0..<3 {
            play.table.take(.nothing(cause: ""), of: first[0].id, now: play.now)
            play.table.take(.nothing(cause: ""), of: 999, now: play.now)
        }
        #expect(play.table.takeNews() == [])
        play.table.take(.nothing(cause: ""), of: first[1].id, now: play.now)
        #expect(play.table.takeNews().count == 1)
    }

    @Test func `open questions are asked again when their server has gone`() {
        var play = Play()
        play.table.follow(["a"], now: play.now)
        let first = play.table.takeQuestions(now: play.now)
        #expect(play.table.takeQuestions(now: play.now) == [])
        play.table.askAgain()
        #expect(play.table.delay(now: play.now) == 0)
        #expect(play.table.takeQuestions(now: play.now) == first)
    }

    @Test func `only so many questions are open at once`() {
        var play = Play()
        play.table.follow((0..<1_000).map { "n\($0)" }, now: play.now)
        let first = play.table.takeQuestions(now: play.now)
        #expect(first.count == NameTable.questionsMax)
        #expect(play.table.takeQuestions(now: play.now) == [])
        for question in first.prefix(10) {
            play.table.take(.failed(cause: ""), of: question.id, now: play.now)
        }
        #expect(play.table.delay(now: play.now) == 0)
        #expect(play.table.takeQuestions(now: play.now).count == 10)
    }
}

// MARK: - Services

struct ServiceNameTests {
    private let name = "_ollama._tcp.lan"

    private func service(_ target: String, _ port: UInt16, priority: UInt16 = 1) -> DNSService {
        DNSService(priority: priority, weight: 0, port: port, target: target)
    }

    @Test(arguments: [
        ("_ollama._tcp.lan", true), ("_x._udp.a.b", true), ("gpu.lan", false), ("_a.b", false),
        ("_a._b", false), ("a._tcp.lan", false), ("_a.tcp.lan", false),
    ])
    func `service names are told by their first labels`(name: String, isService: Bool) {
        #expect(NameTable.isService(name) == isService)
    }

    @Test func `targets are resolved and give addresses with ports`() {
        var play = Play()
        play.outcomes["\(name) srv"] = .services(
            [service("n2", 2), service("n1", 1)], ttlSeconds: 50)
        play.outcomes["n1. a"] = .addresses([address("10.0.0.1")], ttlSeconds: 40)
        play.outcomes["n2. a"] = .addresses([address("10.0.0.2")], ttlSeconds: 60)
        play.table.follow([name], now: play.now)
        #expect(
            play.run() == [
                .addresses(
                    name: name, [address("10.0.0.1", port: 1), address("10.0.0.2", port: 2)],
                    isFirst: true)
            ])
        #expect(play.skip() == 40_000)
        #expect(play.asked == ["\(name) srv", "n1. a", "n1. aaaa", "n2. a", "n2. aaaa"])
    }

    @Test func `the best priority that has addresses is used`() {
        var play = Play()
        play.outcomes["\(name) srv"] = .services(
            [service("spare", 9, priority: 20), service("n1", 1, priority: 10)], ttlSeconds: 50)
        play.outcomes["spare. a"] = .addresses([address("10.0.0.9")], ttlSeconds: 40)
        play.table.follow([name], now: play.now)
        #expect(
            play.run() == [.addresses(name: name, [address("10.0.0.9", port: 9)], isFirst: true)])
        play.outcomes["n1. a"] = .addresses([address("10.0.0.1")], ttlSeconds: 40)
        _ = play.skip()
        #expect(
            play.run() == [.addresses(name: name, [address("10.0.0.1", port: 1)], isFirst: false)])
        // A target whose server says nothing keeps its place.
        play.outcomes["n1. a"] = .failed(cause: "no answer")
        _ = play.skip()
        #expect(play.run() == [])
    }

    @Test func `a service that is gone keeps what it had`() {
        var play = Play()
        play.outcomes["\(name) srv"] = .services([service("n1", 1)], ttlSeconds: 50)
        play.outcomes["n1. a"] = .addresses([address("10.0.0.1")], ttlSeconds: 40)
        play.table.follow([name], now: play.now)
        _ = play.run()
        for outcome in [NameTable.Outcome.services([], ttlSeconds: 9), .failed(cause: "no answer")]
        {
            play.outcomes["\(name) srv"] = outcome
            _ = play.skip()
            #expect(play.run().allSatisfy { if case .failing = $0 { true } else { false } })
        }
    }

    @Test func `only so many targets are looked at`() {
        var play = Play()
        let services = (0..<100).map { service("n\($0)", 1, priority: UInt16($0)) }
        play.outcomes["\(name) srv"] = .services(services, ttlSeconds: 50)
        play.table.follow([name], now: play.now)
        _ = play.run()
        #expect(play.asked.count == 1 + 2 * NameTable.targetsMax)
        #expect(play.asked.contains("n15. a") && !play.asked.contains("n16. a"))
    }
}
