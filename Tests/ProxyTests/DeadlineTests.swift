import Testing

@testable import Proxy

/// A deadline that moves without touching the wheel fires once, at the right time.
@Suite struct DeadlineTests {
    @Test func `an entry that comes up early is put in again at the moved deadline`() {
        var deadline = Deadline(at: 100, armed: 100)
        let early = deadline.move(to: 250)
        #expect(early == false)
        #expect(deadline.fired(now: 100) == .again(250))
        #expect(deadline.fired(now: 250) == .due)
        #expect(deadline.at == 0)
    }

    @Test
    func `a deadline that comes nearer needs an entry of its own and the late one is ignored`() {
        var deadline = Deadline(at: 500, armed: 500)
        let nearer = deadline.move(to: 50)
        #expect(nearer)
        #expect(deadline.armed == 50)
        #expect(deadline.fired(now: 50) == .due)
        #expect(deadline.fired(now: 500) == .ignore)
    }

    @Test func `a deadline that was taken away does not fire`() {
        var deadline = Deadline(at: 100, armed: 100)
        let away = deadline.move(to: 0)
        #expect(away == false)
        #expect(deadline.fired(now: 100) == .ignore)
        let again = deadline.move(to: 120)
        #expect(again)
    }

    @Test func `an entry is ignored while an earlier one is pending`() {
        var deadline = Deadline(at: 300, armed: 300)
        #expect(deadline.fired(now: 100) == .ignore)
        #expect(deadline.armed == 300)
    }
}
