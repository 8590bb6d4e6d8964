import BasicContainers
import Kernel

/// What the pool knows of one endpoint.
struct EndpointRow: BitwiseCopyable {
    var id: UInt32 = 0
    /// Whether the slot is somebody's: a member's, or of one who has left but has leases.
    var isUsed = false
    var isMember = false
    var isReady = true
    var priority: UInt8 = 0
    var known: EndpointObservation.Known = []
    var observedAt: UInt64 = 0
    var waiting: Int32 = 0
    var running: Int32 = 0
    var kvUsage: Float = .nan
    /// Bytes of prompts that its KV cache holds, four for a token; 0 unknown.
    var kvBytes: Int64 = 0
    /// Counts observations, so that a lease knows whether it was made before the last one.
    var serial: UInt32 = 0
    /// `inFlight` at the last observation.
    var inFlightSeen: Int32 = 0
    /// Leases made since the last observation: without a byte yet, and with one.
    var freshWaiting: Int32 = 0
    var freshRunning: Int32 = 0
    /// Of their prompts, the bytes that the endpoint probably did not hold.
    var freshBytes: Int64 = 0
    /// Leases: all of them, and those without a byte yet.
    var inFlight: Int32 = 0
    var unstarted: Int32 = 0
    var bytesInFlight: Int64 = 0
    var breaker = Breaker()
    /// Hash of the model of the last server error.
    var lastFailedModel: UInt64 = 0
    var busyUntil: UInt64 = 0
    var busyTimes: UInt8 = 0
    var session: UInt64 = 0
    var vramBytes: UInt64 = 0
    /// By models that are there, and reserved for those on their way.
    var usedBytes: UInt64 = 0
    var reservedBytes: UInt64 = 0
    var residentCount: Int32 = 0
    var loadingCount: Int32 = 0
    var loraLimit: Int32 = 0
    var loraCount: Int32 = 0
}

/// One request on its way to one endpoint.
struct LeaseRow: Linked {
    enum Place: Int { case time }

    let slot: Int
    let model: Int
    let serial: UInt32
    let pickedAt: UInt64
    let promptBytes: UInt32
    /// Of the prompt, what the endpoint probably did not hold.
    let newBytes: UInt32
    /// Leases without a byte that were there before.
    let ahead: Int32
    let options: UInt32
    let isEndpointProbe: Bool
    let isModelProbe: Bool
    var isLoading: Bool
    /// `ModelPlace.loadSerial` at the pick.
    let loadSerial: UInt32
    /// Whether it alone made the engine load the model.
    let isLoader: Bool
    /// The number of the decision that it came of.
    let decision: UInt64
    var isStarted = false
    var startedAt: UInt64 = 0
    var deadline: UInt64
    var links = Links()

    subscript(place: Place) -> Links {
        get { links }
        set { links = newValue }
    }
}

/// The live state of one pool and the choices made from it: pure, with time as monotonic nanoseconds.
///
/// One value for all workers, behind one lock (`PoolLedger`). Every operation may make room for those who wait:
/// whoever calls one drains `nextGrant` afterwards and tells the askers. Nothing here depends on a message
/// arriving: a grant that is not claimed and a lease that is not finished end by themselves in `sweep`.
public struct PoolState: ~Copyable {
    /// The most leases at a time.
    static var leaseLimit: Int { 65_536 }

    public let configuration: PoolConfiguration
    var rows: RigidArray<EndpointRow>
    var observations: RigidArray<EndpointObservation>
    /// Slots from here on were never used.
    var slotCount = 0
    var models: ModelTable
    var leases = Slab<LeaseRow>(capacity: PoolState.leaseLimit)
    /// The one that ends first in front.
    var leaseTimes = IndexList()
    var queue: FairQueue
    var prefix: PrefixCache
    var decisions = DecisionRing()
    var random: RandomSource

    // Of one pick.
    var candidates: RigidArray<Candidate>
    var totals: RigidArray<Float>
    var column: RigidArray<Float>
    /// By the candidates, as `ExplainedEndpoint` has them.
    var scores: RigidArray<InlineArray<13, Float>>
    var waiterBlocks = RigidArray<UInt64>(capacity: PrefixCache.blockLimit)
    var exhausted: RigidArray<Bool>
    var exclusions: RigidArray<Exclusion?>
    var isExplaining = false
    /// Slots of members; who was given a prompt that nobody had the longest time ago is the first.
    var idleOrder: RigidArray<Int32>

    /// A pool without endpoints; the same seed makes the same choices.
    public init(_ configuration: PoolConfiguration, seed: UInt64) {
        self.configuration = configuration
        let capacity = 8
        rows = RigidArray(repeating: EndpointRow(), count: capacity)
        observations = RigidArray(
            repeating: EndpointObservation(observedAt: 0), count: capacity)
        models = ModelTable(slotCapacity: capacity)
        queue = FairQueue(
            limit: configuration.queueLimit,
            blocksPerWaiter: configuration.profile.usesPrefix ? PrefixCache.blockLimit : 0)
        prefix = Self.makePrefix(configuration, capacity)
        random = RandomSource(seed: seed)
        candidates = RigidArray(capacity: capacity)
        totals = RigidArray(repeating: 0, count: capacity)
        column = RigidArray(repeating: 0, count: capacity)
        scores = RigidArray(repeating: InlineArray(repeating: .nan), count: capacity)
        exhausted = RigidArray(repeating: false, count: ModelTable.capacity)
        exclusions = RigidArray(repeating: nil, count: capacity)
        idleOrder = RigidArray(capacity: capacity)
    }

    private static func makePrefix(
        _ configuration: PoolConfiguration, _ capacity: Int
    ) -> PrefixCache {
        // Without a scorer that asks it, the smallest there is.
        PrefixCache(
            slotCapacity: capacity,
            blocksPerSlot: configuration.profile.usesPrefix
                ? configuration.prefixBlocksPerEndpoint : 8,
            bytesMax: configuration.prefixBytesMax)
    }

    /// Bytes of a block of a prompt: four for a token, sixteen tokens unless the engines tell of more.
    ///
    /// SGLang's pages have one token by default: blocks of four bytes would tell of the first kilobyte of a prompt only,
    /// and each costs an entry of the index. The reference scheduler has a lower bound for the same reason.
    public var prefixBlockBytes: Int {
        var tokens: UInt32 = 0
        for slot in 0..<slotCount where rows[slot].isMember {
            let told = observations[slot].blockSize
            if told > 0 { tokens = tokens == 0 ? told : min(tokens, told) }
        }
        return Int(min(max(tokens, Self.blockTokensMin), 1_024)) * 4
    }

    /// Tokens of a block, at least.
    private static var blockTokensMin: UInt32 { UInt32(PrefixBlocks.blockBytesDefault / 4) }

    // MARK: - Endpoints

    /// Replaces the members; who stays keeps all that is known of it, who goes keeps its leases until they end.
    public mutating func setEndpoints(_ endpoints: [PoolEndpoint], now: UInt64) {
        precondition(endpoints.count < 1 << 14, "A pool has less than 16,384 endpoints.")
        for slot in 0..<slotCount where rows[slot].isMember {
            let id = rows[slot].id
            if !endpoints.contains(where: { $0.id == id }) {
                rows[slot].isMember = false
                prefix.forget(slot)
                freeIfUnused(slot)
            }
        }
        for endpoint in endpoints {
            let slot = slot(of: endpoint.id) ?? takeSlot(endpoint.id)
            rows[slot].isMember = true
            rows[slot].session = endpoint.session
            rows[slot].vramBytes = endpoint.vramBytes
            rows[slot].priority = endpoint.priority
        }
        orderIdle()
        grantAll(now)
    }

    /// Members in the order that they had, new ones in front.
    private mutating func orderIdle() {
        var new = RigidArray<Int32>(capacity: rows.count)
        for slot in 0..<slotCount where rows[slot].isMember {
            var isKnown = false
            for i in 0..<idleOrder.count where idleOrder[i] == Int32(slot) { isKnown = true }
            if !isKnown { new.append(Int32(slot)) }
        }
        for i in 0..<idleOrder.count where rows[Int(idleOrder[i])].isMember {
            new.append(idleOrder[i])
        }
        idleOrder = new
    }

    /// The slot of an endpoint; nil when it has none.
    func slot(of id: UInt32) -> Int? {
        for slot in 0..<slotCount where rows[slot].id == id && rows[slot].isUsed { return slot }
        return nil
    }

    private mutating func takeSlot(_ id: UInt32) -> Int {
        var found = slotCount
        for slot in 0..<slotCount where !rows[slot].isUsed {
            found = slot
            break
        }
        if found == rows.count { grow() }
        if found == slotCount { slotCount += 1 }
        rows[found] = EndpointRow(id: id, isUsed: true)
        observations[found] = EndpointObservation(observedAt: 0)
        for row in 0..<models.count { models.places[models.at(row, found)] = ModelPlace() }
        prefix.setBound(configuration.prefixBlocksPerEndpoint, of: found)
        return found
    }

    mutating func freeIfUnused(_ slot: Int) {
        if !rows[slot].isMember && rows[slot].inFlight == 0 { rows[slot] = EndpointRow() }
    }

    /// Twice as many slots; what is known of prompts is lost.
    private mutating func grow() {
        let old = rows.count
        let capacity = old * 2
        var newRows = RigidArray(repeating: EndpointRow(), count: capacity)
        var newObservations = RigidArray(
            repeating: EndpointObservation(observedAt: 0), count: capacity)
        for slot in 0..<old {
            newRows[slot] = rows[slot]
            newObservations[slot] = observations[slot]
        }
        rows = newRows
        observations = newObservations
        var newModels = ModelTable(slotCapacity: 1)
        swap(&newModels, &models)
        models = newModels.grown(to: capacity)
        prefix = Self.makePrefix(configuration, capacity)
        candidates = RigidArray(capacity: capacity)
        totals = RigidArray(repeating: 0, count: capacity)
        column = RigidArray(repeating: 0, count: capacity)
        scores = RigidArray(repeating: InlineArray(repeating: .nan), count: capacity)
        exclusions = RigidArray(repeating: nil, count: capacity)
    }

    // MARK: - Observations

    /// Takes over what a scrape or a poll said; nothing for who is no member.
    public mutating func observe(_ id: UInt32, _ new: EndpointObservation, now: UInt64) {
        guard let slot = slot(of: id), rows[slot].isMember else { return }
        let new = new.bounded
        var all = new
        let old = observations[slot]
        // What this answer does not tell stays as it was: `/api/ps` and `/api/tags` come apart.
        if !new.known.contains(.disk) { all.disk = old.disk }
        if !new.known.contains(.resident) { all.takeResident(of: old) }
        if !new.known.contains(.lora) {
            all.loraRunning = old.loraRunning
            all.loraWaiting = old.loraWaiting
            all.loraLimit = old.loraLimit
        }
        if all.blockSize == 0 { all.blockSize = old.blockSize }
        if all.blockCount == 0 { all.blockCount = old.blockCount }
        let lasting: EndpointObservation.Known = [.disk, .resident, .lora, .anyModel]
        all.known = new.known.union(old.known.intersection(lasting))
        // A list of what is loaded tells that there is more than one.
        if new.known.contains(.resident) { all.known.remove(.anyModel) }
        observations[slot] = all
        rows[slot].isReady = new.isReady
        rows[slot].known = all.known
        rows[slot].observedAt = new.observedAt
        if new.known.contains(.load) {
            rows[slot].waiting = new.waiting
            rows[slot].running = new.running
            rows[slot].serial &+= 1
            rows[slot].inFlightSeen = rows[slot].inFlight
            rows[slot].freshWaiting = 0
            rows[slot].freshRunning = 0
            rows[slot].freshBytes = 0
        }
        rows[slot].kvUsage = new.known.contains(.kvUsage) ? new.kvUsage : .nan
        rows[slot].kvBytes = Int64(all.blockCount) * Int64(all.blockSize) * 4
        rows[slot].loraLimit = all.loraLimit
        rows[slot].loraCount = all.loraRunning.count + all.loraWaiting.count
        if rows[slot].kvBytes > 0 {
            // As many blocks of ours as its cache has room for.
            let count = rows[slot].kvBytes / Int64(prefixBlockBytes)
            prefix.setBound(Int(max(1, count)), of: slot)
        }
        takeFacts(slot, isResidencyNew: new.known.contains(.resident))
        grantAll(now)
    }

    /// Brings the places of one endpoint in line with its observation.
    private mutating func takeFacts(_ slot: Int, isResidencyNew: Bool) {
        let observedAt = observations[slot].observedAt
        for row in 0..<models.count {
            let at = models.at(row, slot)
            models.places[at].facts = []
            // What an answer showed since counts until a later poll says otherwise.
            if isResidencyNew && models.places[at].seenAt <= observedAt {
                models.places[at].seenAt = 0
            }
        }
        var used: UInt64 = 0
        let residentCount = Int(observations[slot].residentCount)
        for i in 0..<residentCount {
            let model = observations[slot].resident(i)
            used &+= model.sizeVRAM
            guard let row = models.find(model.model) else { continue }
            let at = models.at(row, slot)
            models.places[at].facts.insert(.resident)
            if model.isWhollyInVRAM { models.places[at].facts.insert(.whollyInVRAM) }
            if model.options != 0 { models.places[at].options = model.options }
            models.rows[row].size = max(models.rows[row].size, model.size)
        }
        if isResidencyNew {
            rows[slot].usedBytes = used
            rows[slot].residentCount = Int32(residentCount)
        }
        mark(observations[slot].disk, slot, .onDisk)
        mark(observations[slot].loraRunning, slot, .loraRunning)
        mark(observations[slot].loraWaiting, slot, .loraWaiting)
    }

    private mutating func mark<let capacity: Int>(
        _ list: HashList<capacity>, _ slot: Int, _ fact: ModelPlace.Facts
    ) {
        for i in 0..<Int(list.count) {
            guard let row = models.find(list[i]) else { continue }
            models.places[models.at(row, slot)].facts.insert(fact)
        }
    }

    /// The row of a model, made when it has none.
    mutating func row(of model: UInt64, _ now: UInt64) -> Int {
        if let row = models.find(model) {
            models.rows[row].lastUsed = now
            return row
        }
        let row = models.add(model, queue.models)
        if row == 0 { return 0 }
        models.rows[row].lastUsed = now
        for slot in 0..<slotCount where rows[slot].isMember { takeFacts(of: row, slot) }
        return row
    }

    private mutating func takeFacts(of row: Int, _ slot: Int) {
        let hash = models.rows[row].hash
        let at = models.at(row, slot)
        for i in 0..<Int(observations[slot].residentCount)
        where observations[slot].resident(i).model == hash {
            let model = observations[slot].resident(i)
            models.places[at].facts.insert(.resident)
            if model.isWhollyInVRAM { models.places[at].facts.insert(.whollyInVRAM) }
            models.places[at].options = model.options
            models.rows[row].size = max(models.rows[row].size, model.size)
        }
        if observations[slot].disk.contains(hash) { models.places[at].facts.insert(.onDisk) }
        if observations[slot].loraRunning.contains(hash) {
            models.places[at].facts.insert(.loraRunning)
        }
        if observations[slot].loraWaiting.contains(hash) {
            models.places[at].facts.insert(.loraWaiting)
        }
    }
}
