import BasicContainers
import Kernel

/// A request in the queue, or with a grant that nobody has claimed yet.
struct Waiter: Linked {
    enum Place: Int { case line, time, news }
    enum Phase: UInt8 { case waiting, granted, rejected }

    var request: PickRequest
    let model: Int
    let enteredAt: UInt64
    let blockCount: Int
    /// Of the queue's deadline, then of the claim's.
    var deadline: UInt64
    var phase = Phase.waiting
    var rejection = RejectionReason.deadline
    /// In `lines`, while waiting.
    var line: UInt32 = .max
    /// Of the grant.
    var lease: Lease?
    /// Whether the asker has still to be told.
    var isNews = false
    private var links = InlineArray<3, Links>(repeating: Links())

    init(
        request: PickRequest, model: Int, enteredAt: UInt64, blockCount: Int, deadline: UInt64
    ) {
        self.request = request
        self.model = model
        self.enteredAt = enteredAt
        self.blockCount = blockCount
        self.deadline = deadline
    }

    subscript(place: Place) -> Links {
        get { links[place.rawValue] }
        set { links[place.rawValue] = newValue }
    }
}

/// The waiters of one model, priority and flow, in order of arrival.
struct WaitingLine: Linked {
    enum Place: Int { case band }

    let model: Int
    let priority: Int32
    let flow: UInt64
    /// In `bands`.
    let band: UInt32
    var waiters = IndexList()
    private var links = Links()

    init(model: Int, priority: Int32, flow: UInt64, band: UInt32) {
        self.model = model
        self.priority = priority
        self.flow = flow
        self.band = band
    }

    subscript(place: Place) -> Links {
        get { links }
        set { links = newValue }
    }
}

/// The lines of one model and priority; the first has its turn next.
struct Band: Linked {
    enum Place: Int { case model }

    let priority: Int32
    var lines = IndexList()
    private var links = Links()

    init(priority: Int32) { self.priority = priority }

    subscript(place: Place) -> Links {
        get { links }
        set { links = newValue }
    }
}

/// What waits for one model.
struct ModelQueue: BitwiseCopyable {
    /// From the highest priority on.
    var bands = IndexList()
    var count: Int32 = 0
    /// Of them those that are not alike to others: `PickRequest.isSpecial`.
    var specialCount: Int32 = 0
    /// Place in `FairQueue.active`; -1 while nobody waits.
    var activeAt: Int32 = -1
}

/// The bounded queue of a pool: strict order between priorities, turns between flows, order of arrival in a flow.
///
/// Entering, leaving and taking the next are O(1), but for a walk over a model's priorities, which the
/// operator gives and which are few.
struct FairQueue: ~Copyable {
    let limit: Int
    var waiters: Slab<Waiter>
    var lines: Slab<WaitingLine>
    var bands: Slab<Band>
    /// By row of the model.
    var models: RigidArray<ModelQueue>
    /// Rows of models that somebody waits for.
    private(set) var active: RigidArray<Int32>
    /// Who waits, the one that came first in front; all wait for as long.
    private(set) var byDeadline = IndexList()
    /// Who has a grant, the first given in front.
    private(set) var byClaim = IndexList()
    /// Whose asker has to be told.
    private(set) var news = IndexList()
    /// How many wait.
    private(set) var count = 0
    /// Blocks of waiters, `PrefixCache.blockLimit` for each.
    private var blocks: ZeroedArray<UInt64>
    /// Open addressing over lines; `.max` for none.
    private var index: RigidArray<UInt32>

    init(limit: Int, blocksPerWaiter: Int) {
        self.limit = limit
        // Grants that are not claimed yet stay beside those who wait.
        let capacity = max(1, limit * 2)
        waiters = Slab(capacity: capacity)
        lines = Slab(capacity: max(1, limit))
        bands = Slab(capacity: max(1, limit))
        models = RigidArray(repeating: ModelQueue(), count: ModelTable.capacity)
        active = RigidArray(capacity: ModelTable.capacity)
        blocks = ZeroedArray(count: blocksPerWaiter == 0 ? 0 : capacity * PrefixCache.blockLimit)
        var size = 64
        while size < limit * 2 { size *= 2 }
        index = RigidArray(repeating: .max, count: size)
    }

    var isFull: Bool { count >= limit || waiters.isFull }

    // MARK: - Entering

    /// Puts a request at the end of its line; the caller has checked that the queue is not full.
    mutating func enter(
        _ request: PickRequest, _ prefix: Span<UInt64>, model: Int, now: UInt64, deadline: UInt64
    ) -> SlotID {
        let blockCount = blocks.count == 0 ? 0 : min(prefix.count, PrefixCache.blockLimit)
        let new = waiters.insert(
            Waiter(
                request: request, model: model, enteredAt: now, blockCount: blockCount,
                deadline: deadline))
        guard let id = new else { preconditionFailure("A queue that is not full has room.") }
        let base = Int(id.slot) * PrefixCache.blockLimit
        for i in 0..<blockCount { blocks[base + i] = prefix[i] }
        let line = line(of: request, model)
        waiters[id].line = line
        lines[line].waiters.append(id.slot, .line, &waiters)
        byDeadline.append(id.slot, .time, &waiters)
        count += 1
        models[model].count += 1
        if request.isSpecial { models[model].specialCount += 1 }
        if models[model].activeAt < 0 {
            models[model].activeAt = Int32(active.count)
            active.append(Int32(model))
        }
        return id
    }

    private mutating func line(of request: PickRequest, _ model: Int) -> UInt32 {
        var at = home(model, request.priority, request.flow)
        while index[at] != .max {
            let line = index[at]
            if lines[line].model == model && lines[line].priority == request.priority
                && lines[line].flow == request.flow
            {
                return line
            }
            at = (at + 1) & (index.count - 1)
        }
        let band = band(of: request.priority, model)
        let new = lines.insert(
            WaitingLine(model: model, priority: request.priority, flow: request.flow, band: band))
        guard let id = new else { preconditionFailure("There are no more lines than waiters.") }
        index[at] = id.slot
        bands[band].lines.append(id.slot, .band, &lines)
        return id.slot
    }

    private mutating func band(of priority: Int32, _ model: Int) -> UInt32 {
        var next = models[model].bands.first
        while next != .max && bands[next].priority > priority { next = bands[next][.model].next }
        if next != .max && bands[next].priority == priority { return next }
        guard let id = bands.insert(Band(priority: priority)) else {
            preconditionFailure("There are no more bands than waiters.")
        }
        if next == .max {
            models[model].bands.append(id.slot, .model, &bands)
        } else {
            models[model].bands.insert(id.slot, before: next, .model, &bands)
        }
        return id.slot
    }

    private func home(_ model: Int, _ priority: Int32, _ flow: UInt64) -> Int {
        var hash = flow ^ UInt64(truncatingIfNeeded: model) &* 0x9E37_79B9_7F4A_7C15
        hash ^= UInt64(truncatingIfNeeded: priority) &* 0xC2B2_AE3D_27D4_EB4F
        hash = (hash ^ hash >> 31) &* 0x94D0_49BB_1331_11EB
        return Int(truncatingIfNeeded: hash >> 32) & (index.count - 1)
    }

    // MARK: - Leaving

    /// Takes a waiter out of its line; it stays in `waiters`.
    private mutating func leaveLine(_ slot: UInt32) {
        let line = waiters[slot].line
        let model = waiters[slot].model
        lines[line].waiters.remove(slot, .line, &waiters)
        waiters[slot].line = .max
        count -= 1
        models[model].count -= 1
        if waiters[slot].request.isSpecial { models[model].specialCount -= 1 }
        if lines[line].waiters.isEmpty { removeLine(line, model) }
        if models[model].count == 0 {
            let at = Int(models[model].activeAt)
            models[model].activeAt = -1
            let last = active.removeLast()
            if at < active.count {
                active[at] = last
                models[Int(last)].activeAt = Int32(at)
            }
        }
    }

    private mutating func removeLine(_ line: UInt32, _ model: Int) {
        let band = lines[line].band
        bands[band].lines.remove(line, .band, &lines)
        if bands[band].lines.isEmpty {
            models[model].bands.remove(band, .model, &bands)
            bands.destroy(bands.id(of: band))
        }
        let mask = index.count - 1
        var hole = home(model, lines[line].priority, lines[line].flow)
        while index[hole] != line { hole = (hole + 1) & mask }
        lines.destroy(lines.id(of: line))
        // Who stands behind the hole and has its home at it or before it moves up.
        var at = (hole + 1) & mask
        while index[at] != .max {
            let other = index[at]
            let wanted = home(lines[other].model, lines[other].priority, lines[other].flow)
            if (at &- wanted) & mask >= (at &- hole) & mask {
                index[hole] = other
                hole = at
            }
            at = (at + 1) & mask
        }
        index[hole] = .max
    }

    /// The waiter gets a lease, and its flow has had its turn.
    mutating func grant(_ slot: UInt32, _ lease: Lease, claimBy deadline: UInt64) {
        let line = waiters[slot].line
        let band = lines[line].band
        if bands[band].lines.first == line {
            bands[band].lines.remove(line, .band, &lines)
            bands[band].lines.append(line, .band, &lines)
        }
        leaveLine(slot)
        byDeadline.remove(slot, .time, &waiters)
        waiters[slot].phase = .granted
        waiters[slot].lease = lease
        waiters[slot].deadline = deadline
        byClaim.append(slot, .time, &waiters)
        addNews(slot)
    }

    /// The waiter leaves without a lease, and its asker has to be told.
    mutating func reject(_ slot: UInt32, _ reason: RejectionReason) {
        leaveLine(slot)
        byDeadline.remove(slot, .time, &waiters)
        waiters[slot].phase = .rejected
        waiters[slot].rejection = reason
        addNews(slot)
    }

    private mutating func addNews(_ slot: UInt32) {
        waiters[slot].isNews = true
        news.append(slot, .news, &waiters)
    }

    /// The waiter ends, in whatever phase it is; its lease, if any, is the caller's to give back.
    mutating func end(_ id: SlotID) -> Lease? {
        let slot = id.slot
        if waiters[slot].isNews { news.remove(slot, .news, &waiters) }
        var lease: Lease?
        switch waiters[slot].phase {
        case .waiting:
            leaveLine(slot)
            byDeadline.remove(slot, .time, &waiters)
        case .granted:
            byClaim.remove(slot, .time, &waiters)
            lease = waiters[slot].lease
        case .rejected: break
        }
        waiters.destroy(id)
        return lease
    }

    /// The next that somebody has to be told; who left without a lease ends with that.
    mutating func nextNews(retryAfter: UInt32) -> Grant? {
        let slot = news.first
        if slot == .max { return nil }
        news.remove(slot, .news, &waiters)
        waiters[slot].isNews = false
        let id = waiters.id(of: slot)
        let asker = waiters[slot].request.asker
        if waiters[slot].phase == .granted {
            return Grant(asker: asker, ticket: Ticket(slot: id), rejection: nil)
        }
        let rejection = Rejection(
            reason: waiters[slot].rejection, retryAfterMilliseconds: retryAfter)
        waiters.destroy(id)
        return Grant(asker: asker, ticket: Ticket(slot: id), rejection: rejection)
    }

    // MARK: - Looking

    /// A waiter's blocks.
    func copyBlocks(of slot: UInt32, to output: inout RigidArray<UInt64>) {
        output.removeAll()
        let base = Int(slot) * PrefixCache.blockLimit
        for i in 0..<waiters[slot].blockCount { output.append(blocks[base + i]) }
    }

    /// The highest priority of those who wait for a model.
    func highestPriority(_ model: Int) -> Int32 { bands[models[model].bands.first].priority }

    /// The waiter behind this one in the order of turns, among those of a model; `.max` at the end.
    func next(after slot: UInt32) -> UInt32 {
        let next = waiters[slot][.line].next
        if next != .max { return next }
        var line = lines[waiters[slot].line][.band].next
        if line == .max {
            let band = bands[lines[waiters[slot].line].band][.model].next
            if band == .max { return .max }
            line = bands[band].lines.first
        }
        return lines[line].waiters.first
    }

    /// The waiter of a model whose turn it is; `.max` for none.
    func first(_ model: Int) -> UInt32 {
        let band = models[model].bands.first
        if band == .max { return .max }
        return lines[bands[band].lines.first].waiters.first
    }

    /// Who came last among those of the lowest priority, if that is below `priority`; `.max` for none.
    func last(below priority: Int32) -> UInt32 {
        var found = UInt32.max
        var lowest = priority
        for i in 0..<active.count {
            let band = models[Int(active[i])].bands.last
            if bands[band].priority < lowest {
                lowest = bands[band].priority
                found = band
            }
        }
        if found == .max { return .max }
        return lines[bands[found].lines.last].waiters.last
    }
}
