import BasicContainers

/// Coarse timers: a hierarchical wheel of 8 ms ticks.
///
/// Entries cannot be cancelled. The owner keeps its own deadline and looks at it when an entry
/// comes out: not yet due means schedule again, another generation means forget it. So moving a
/// deadline later is one store. An entry never comes out early, and at most one tick late.
/// Time is an argument: milliseconds of a clock that does not go back.
public struct TimerWheel: ~Copyable {
    @usableFromInline
    struct Entry: BitwiseCopyable {
        @usableFromInline var token: Token
        /// Lower half of the tick at which it is due.
        @usableFromInline var tick: UInt32
        /// The next entry of the same list.
        @usableFromInline var next: UInt32

        @inlinable
        init(token: Token, tick: UInt32, next: UInt32) {
            self.token = token
            self.tick = tick
            self.next = next
        }
    }

    /// Milliseconds in a tick.
    @inlinable
    public static var tickMilliseconds: UInt64 { 8 }

    /// Deadlines further away are brought forward to this: 2^31 ticks, 198 days.
    @inlinable
    static var ticksMax: UInt64 { 1 << 31 }

    /// Ticks that `elapsed` may lag behind: one turn of the lowest level.
    @inlinable
    static var lagTicks: UInt64 { 64 }

    /// Six levels of 64 slots: 2^36 ticks, 17 years of running.
    @inlinable
    static var levels: Int { 6 }

    @usableFromInline var entries = UniqueArray<Entry>()
    @usableFromInline var firstFree: UInt32 = .max
    /// First entry of the list of each slot of each level.
    @usableFromInline var heads: RigidArray<UInt32>
    /// Which slots of a level have entries.
    @usableFromInline var occupancy: RigidArray<UInt64>
    /// Entries that are due.
    @usableFromInline var due: UInt32 = .max
    /// The tick up to which everything was looked at.
    @usableFromInline var elapsed: UInt64 = 0
    /// When an entry could come out, at the earliest: 0 when one is due, `.max` when there is none.
    @usableFromInline var nextDue: UInt64 = .max
    /// When `popExpired` has to look: at `nextDue`, and often enough for `elapsed` to keep up.
    @usableFromInline var nextLook: UInt64 = 0
    @usableFromInline let origin: UInt64
    @usableFromInline var pendingCount = 0

    /// An empty wheel that starts at `now`.
    public init(now: UInt64) {
        origin = now
        heads = RigidArray(repeating: .max, count: Self.levels * 64)
        occupancy = RigidArray(repeating: 0, count: Self.levels)
    }

    /// How many entries have not come out yet.
    @inlinable
    public var count: Int { pendingCount }

    /// Enters a token that will come out once, at `deadline` or up to a tick later.
    @inlinable
    public mutating func schedule(_ token: Token, at deadline: UInt64) {
        let offset = deadline > origin ? deadline - origin : 0
        var tick = offset / Self.tickMilliseconds
        if offset % Self.tickMilliseconds != 0 { tick += 1 }
        tick = min(tick, elapsed + Self.ticksMax)
        let entry = Entry(token: token, tick: UInt32(truncatingIfNeeded: tick), next: .max)
        let index: UInt32
        if firstFree != .max {
            index = firstFree
            firstFree = entries[Int(index)].next
            entries[Int(index)] = entry
        } else {
            index = UInt32(entries.count)
            entries.append(entry)
        }
        pendingCount += 1
        link(index, tick: tick)
    }

    /// The next token that is due at `now`, in no particular order within a tick; nil: no more.
    ///
    /// One comparison when there is none.
    @inlinable
    @inline(__always)
    public mutating func popExpired(now: UInt64) -> Token? {
        hasWork(now: now) ? popDue(now: now) : nil
    }

    /// Whether `popExpired` could find a token; true now and then when it finds none.
    @inlinable
    @inline(__always)
    public func hasWork(now: UInt64) -> Bool { now >= nextLook }

    /// Milliseconds until an entry could come out: 0 when one is due, -1 when there is none.
    ///
    /// It may be too short for entries far away (the wheel then sorts them finer), never too long.
    @inlinable
    @inline(__always)
    public func nextDelay(now: UInt64) -> Int32 {
        if nextDue <= now { return 0 }
        if nextDue == .max { return -1 }
        return Int32(truncatingIfNeeded: min(nextDue &- now, UInt64(Int32.max)))
    }
}

// MARK: - The wheel

extension TimerWheel {
    /// Puts an entry where its tick belongs: the level of the highest digit in which it differs.
    @inlinable
    mutating func link(_ index: UInt32, tick: UInt64) {
        guard tick > elapsed else {
            entries[Int(index)].next = due
            due = index
            comeDue(at: 0)
            return
        }
        let level = (63 - ((tick ^ elapsed) | 63).leadingZeroBitCount) / 6
        precondition(level < Self.levels, "The wheel runs for at most 17 years.")
        let slot = Int(tick >> (6 * UInt64(level))) & 63
        entries[Int(index)].next = heads[level * 64 + slot]
        heads[level * 64 + slot] = index
        occupancy[level] |= 1 << UInt64(slot)
        let begin = tick & ~(1 << (6 * UInt64(level)) - 1)
        comeDue(at: origin + begin * Self.tickMilliseconds)
    }

    /// Takes note that an entry could come out at this time.
    @inlinable
    @inline(__always)
    mutating func comeDue(at time: UInt64) {
        nextDue = min(nextDue, time)
        nextLook = min(nextLook, time)
    }

    /// Finds out when to look next.
    @inlinable
    mutating func settle() {
        if due != .max {
            nextDue = 0
        } else if let next = nextSlot() {
            nextDue = origin + next.tick * Self.tickMilliseconds
        } else {
            nextDue = .max
        }
        nextLook = min(nextDue, origin + (elapsed + Self.lagTicks) * Self.tickMilliseconds)
    }

    /// The next token that is due, after having moved on to `now`.
    @inlinable
    @inline(never)
    mutating func popDue(now: UInt64) -> Token? {
        if due == .max {
            advance(to: now)
            settle()
        }
        guard due != .max else { return nil }
        let index = due
        let entry = entries[Int(index)]
        due = entry.next
        entries[Int(index)].next = firstFree
        firstFree = index
        pendingCount -= 1
        if due == .max { settle() }
        return entry.token
    }

    /// The earliest slot with entries and the tick at which it begins.
    ///
    /// Entries of a level share all higher digits with `elapsed` and are ahead of it in their own,
    /// so a lower level is always earlier and the lowest set bit is its earliest slot.
    @inlinable
    @inline(__always)
    func nextSlot() -> (level: Int, slot: Int, tick: UInt64)? {
        for level in 0..<Self.levels where occupancy[level] != 0 {
            let slot = occupancy[level].trailingZeroBitCount
            let shift = 6 * UInt64(level)
            let upper = (elapsed >> (shift + 6)) << (shift + 6)
            return (level, slot, upper | UInt64(slot) << shift)
        }
        return nil
    }

    /// Moves on to `now`, at most until something is due.
    @inlinable
    mutating func advance(to now: UInt64) {
        let target = now > origin ? (now - origin) / Self.tickMilliseconds : 0
        while due == .max {
            guard let next = nextSlot(), next.tick <= target else {
                elapsed = max(elapsed, target)
                return
            }
            elapsed = next.tick
            occupancy[next.level] &= ~(1 << UInt64(next.slot))
            var index = heads[next.level * 64 + next.slot]
            heads[next.level * 64 + next.slot] = .max
            if next.level == 0 {
                due = index
                return
            }
            while index != .max {
                let entry = entries[Int(index)]
                let ahead = entry.tick &- UInt32(truncatingIfNeeded: elapsed)
                link(index, tick: elapsed + UInt64(ahead))
                index = entry.next
            }
        }
    }
}
