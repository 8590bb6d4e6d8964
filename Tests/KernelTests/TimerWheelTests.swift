// Timers never come out early, at most a tick late, and exactly once.
import Kernel
import Testing

struct TimerWheelTests {
    private func token(_ number: Int) -> Token {
        Token(kind: 1, slot: UInt32(number), generation: 1)
    }

    private func pop(_ wheel: inout TimerWheel, _ now: UInt64) -> [UInt32] {
        var slots: [UInt32] = []
        while let token = wheel.popExpired(now: now) { slots.append(token.slot) }
        return slots
    }

    @Test(arguments: [0, 1, 12_345, 1 << 40] as [UInt64])
    func `a timer comes out at its deadline or within a tick after it`(start: UInt64) {
        for delay: UInt64 in [
            1, 7, 8, 9, 15, 16, 511, 512, 513, 1000, 4095, 4096, 32_768, 60_000, 262_144, 300_000,
            3_600_000, 86_400_000, 1 << 31,
        ] {
            var wheel = TimerWheel(now: start)
            let deadline = start + delay
            wheel.schedule(token(1), at: deadline)
            #expect(wheel.popExpired(now: start) == nil)
            #expect(wheel.popExpired(now: deadline - 1) == nil)
            #expect(wheel.popExpired(now: deadline + 8) == token(1))
            #expect(wheel.popExpired(now: deadline + 1000) == nil)
            #expect(wheel.count == 0)
        }
    }

    @Test func `a deadline that has passed comes out at once`() {
        var wheel = TimerWheel(now: 1000)
        wheel.schedule(token(1), at: 0)
        wheel.schedule(token(2), at: 1000)
        #expect(wheel.nextDelay(now: 1000) == 0)
        #expect(pop(&wheel, 1000).sorted() == [1, 2])
    }

    @Test func `a delay leads to the next timer and never past it`() {
        var wheel = TimerWheel(now: 500)
        #expect(wheel.nextDelay(now: 500) == -1)
        wheel.schedule(token(1), at: 500 + 100_000)
        wheel.schedule(token(2), at: 500 + 40)
        #expect(wheel.nextDelay(now: 500) == 40)
        #expect(wheel.nextDelay(now: 530) == 10)
        #expect(wheel.nextDelay(now: 600) == 0)
        var now: UInt64 = 500
        var waits = 0
        var out: [UInt32] = []
        while wheel.count > 0 {
            let delay = wheel.nextDelay(now: now)
            #expect(delay >= 0)
            now += UInt64(max(0, delay))
            out += pop(&wheel, now)
            waits += 1
            if waits > 20 { break }
        }
        #expect(out == [2, 1])
        #expect(waits <= 8)
        #expect(now >= 500 + 100_000 && now <= 500 + 100_008)
    }

    @Test func `many timers come out in the order of their ticks, whatever the steps`() {
        var random = RandomSource(seed: 7)
        for step: UInt64 in [1, 8, 13, 1000, 100_000] {
            var wheel = TimerWheel(now: 77)
            var deadlines: [UInt64] = []
            var cameOut: [UInt64?] = []
            var now: UInt64 = 77
            var left = 0
            func enter(_ delay: UInt64, _ wheel: inout TimerWheel) {
                wheel.schedule(token(deadlines.count), at: now + delay)
                deadlines.append(now + delay)
                cameOut.append(nil)
                left += 1
            }
            for _ in 0..<2000 { enter(UInt64(random.next(below: 400_000)), &wheel) }
            while left > 0 {
                while let token = wheel.popExpired(now: now) {
                    let index = Int(token.slot)
                    #expect(cameOut[index] == nil)
                    cameOut[index] = now
                    left -= 1
                    // Some are entered while others come out.
                    if deadlines.count < 2500 {
                        enter(UInt64(random.next(below: 5000)) + 1, &wheel)
                    }
                }
                #expect(wheel.count == left)
                now += step
            }
            for (deadline, time) in zip(deadlines, cameOut) {
                guard let time else {
                    Issue.record("A timer never came out.")
                    continue
                }
                #expect(time >= deadline)
                #expect(time < deadline + 8 + step)
            }
        }
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func `whatever the order of calls, nobody waits past a deadline`(seed: UInt64) {
        var random = RandomSource(seed: seed)
        var now: UInt64 = 1_000_003
        var wheel = TimerWheel(now: now)
        var waiting: [UInt32: UInt64] = [:]
        for number in 0..<20_000 as Range<UInt32> {
            switch random.next(below: 4) {
            case 0:
                let far: UInt32 = [20, 700, 40_000, 3_000_000][Int(random.next(below: 4))]
                waiting[number] = now + UInt64(random.next(below: far))
                wheel.schedule(token(Int(number)), at: waiting[number] ?? 0)
            case 1:
                // One at a time: more may be due, and more may be entered before they come out.
                guard let found = wheel.popExpired(now: now) else {
                    #expect(waiting.values.allSatisfy { $0 + 8 > now })
                    continue
                }
                guard let deadline = waiting.removeValue(forKey: found.slot) else {
                    Issue.record("A timer came out twice.")
                    continue
                }
                #expect(deadline <= now)
            default:
                let step = random.next(below: [3, 30, 3000][Int(random.next(below: 3))])
                now += UInt64(step)
            }
            let delay = wheel.nextDelay(now: now)
            if let first = waiting.values.min() {
                // A tick begins at most eight milliseconds after the deadline.
                #expect(delay >= 0 && now + UInt64(delay) <= max(first + 8, now))
            } else {
                #expect(delay == -1)
            }
            if delay == 0 { check(wheel.hasWork(now: now)) }
            #expect(wheel.count == waiting.count)
        }
    }

    @Test func `without work a look is at most one turn of the wheel away`() {
        var wheel = TimerWheel(now: 0)
        wheel.schedule(token(1), at: 1 << 40)
        for now in stride(from: UInt64(0), to: 100_000, by: 100) {
            #expect(wheel.popExpired(now: now) == nil)
            check(!wheel.hasWork(now: now))
            check(wheel.hasWork(now: now + 513))
        }
    }

    @Test func `a deadline far away is brought forward, not lost`() {
        var wheel = TimerWheel(now: 0)
        wheel.schedule(token(1), at: .max)
        let limit: UInt64 = (1 << 31) * 8
        #expect(wheel.nextDelay(now: 0) == .max)
        #expect(wheel.popExpired(now: limit - 8) == nil)
        #expect(wheel.popExpired(now: limit) == token(1))
    }

    @Test func `a clock that stands still or goes back changes nothing`() {
        var wheel = TimerWheel(now: 1000)
        wheel.schedule(token(1), at: 2000)
        #expect(wheel.popExpired(now: 1500) == nil)
        #expect(wheel.popExpired(now: 10) == nil)
        #expect(wheel.popExpired(now: 1500) == nil)
        wheel.schedule(token(2), at: 1400)
        #expect(wheel.popExpired(now: 1500) == token(2))
        #expect(wheel.popExpired(now: 2008) == token(1))
    }

    @Test func `steady use needs no more room`() {
        var wheel = TimerWheel(now: 0)
        for now in stride(from: UInt64(0), to: 400_000, by: 40) {
            wheel.schedule(token(1), at: now + 30)
            #expect(pop(&wheel, now + 40) == [1])
        }
        #expect(wheel.count == 0)
    }
}
