// Messages from many threads arrive, each once, and the receiver is always woken.
import Glibc
import Kernel
import Testing

struct MailboxTests {
    @Test func `messages arrive in their order`() throws {
        let mailbox = try Mailbox<Int>(capacity: 4)
        #expect(mailbox.take() == nil)
        check(mailbox.post(1))
        check(mailbox.post(2))
        #expect(mailbox.take() == 1)
        check(mailbox.post(3))
        #expect(mailbox.take() == 2)
        #expect(mailbox.take() == 3)
        #expect(mailbox.take() == nil)
    }

    @Test func `a full mailbox refuses, and takes again when there is room`() throws {
        let mailbox = try Mailbox<Int>(capacity: 2)
        check(mailbox.post(1))
        check(mailbox.post(2))
        check(!mailbox.post(3))
        #expect(mailbox.take() == 1)
        check(mailbox.post(4))
        #expect(mailbox.take() == 2)
        #expect(mailbox.take() == 4)
    }

    @Test(arguments: [false, true])
    func `the descriptor is ready from a message to its acknowledgement`(edge: Bool) throws {
        var loop = try Loop()
        let mailbox = try Mailbox<Int>(capacity: 8)
        try loop.register(
            mailbox.descriptor, Token(kind: 3, slot: 0, generation: 1), edgeTriggered: edge)
        // An eventfd can always be written: an edge-triggered watch says so at first.
        if edge { #expect(loop.wait(timeoutMilliseconds: 10_000) == 1) }
        #expect(loop.wait(timeoutMilliseconds: 0) == 0)
        for round in 0..<3 {
            check(mailbox.post(round))
            check(mailbox.post(round))
            #expect(loop.wait(timeoutMilliseconds: 10_000) == 1)
            check(loop.event(0).readiness.contains(.readable))
            mailbox.acknowledge()
            #expect(mailbox.take() == round)
            #expect(mailbox.take() == round)
            #expect(mailbox.take() == nil)
            // The acknowledgement made it writable anew, which an edge-triggered watch reports.
            #expect(loop.wait(timeoutMilliseconds: 0) == (edge ? 1 : 0))
            if edge { #expect(loop.event(0).readiness == [.writable]) }
        }
    }

    @Test(arguments: [(false, 3), (true, 3), (true, 64)])
    func `no wake-up is lost between threads`(edge: Bool, capacity: Int) throws {
        let senders = 4
        let messages = 5_000
        let mailbox = try Mailbox<Int>(capacity: capacity)
        var loop = try Loop()
        try loop.register(
            mailbox.descriptor, Token(kind: 3, slot: 0, generation: 1), edgeTriggered: edge)
        var threads: [Thread] = []
        for sender in 0..<senders {
            threads.append(
                try Thread.start(name: "sender") {
                    for number in 0..<messages {
                        while !mailbox.post(sender * messages + number) { _ = sched_yield() }
                    }
                })
        }
        var next = (0..<senders).map { $0 * messages }
        var received = 0
        while received < senders * messages {
            guard loop.wait(timeoutMilliseconds: 10_000) > 0 else {
                Issue.record("A wake-up was lost after \(received) messages.")
                break
            }
            mailbox.acknowledge()
            while let message = mailbox.take() {
                let sender = message / messages
                #expect(next[sender] == message)
                next[sender] += 1
                received += 1
            }
        }
        for thread in threads { thread.join() }
        #expect(received == senders * messages)
    }

    @Test func `messages that nobody took end with the mailbox`() throws {
        let ended = Lock(0)
        do {
            let mailbox = try Mailbox<Parcel>(capacity: 2)
            check(mailbox.post(Parcel(ended)))
            check(mailbox.post(Parcel(ended)))
            check(!mailbox.post(Parcel(ended)))
            #expect(ended.withLock { $0 } == 1)
            if let parcel = mailbox.take() { _ = consume parcel }
            check(mailbox.post(Parcel(ended)))
            #expect(ended.withLock { $0 } == 2)
        }
        #expect(ended.withLock { $0 } == 4)
    }
}

private struct Parcel: ~Copyable, Sendable {
    let ended: Lock<Int>
    init(_ ended: Lock<Int>) { self.ended = ended }
    deinit { ended.withLock { $0 += 1 } }
}
