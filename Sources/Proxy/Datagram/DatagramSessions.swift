import BasicContainers
import Kernel

/// All sessions of one worker: found by their client, and in the order of their last datagrams.
///
/// Finding, touching and removing allocate nothing. Chains stay short whatever clients choose, since the hash is keyed.
struct DatagramSessions: ~Copyable {
    /// More than a worker may have.
    static var capacity: Int { 65_536 }

    var slots = Slab<DatagramSession>(capacity: capacity)
    /// First session of each bucket, `.max` for none.
    ///
    /// A power of two, and never fewer than sessions.
    private var buckets = RigidArray<UInt32>(repeating: .max, count: 256)
    private let seed: UInt64
    private var oldestSlot = UInt32.max
    private var newestSlot = UInt32.max

    init(seed: UInt64) { self.seed = seed }

    var count: Int { slots.count }

    func hash(_ client: DatagramClient) -> UInt64 { client.hash(seed: seed) }

    /// The session of a client whose hash this is.
    func find(_ client: DatagramClient, hash: UInt64) -> SlotID? {
        var slot = buckets[bucket(hash)]
        while slot != .max {
            if slots[slot].hash == hash, slots[slot].client == client { return slots.id(of: slot) }
            slot = slots[slot].nextInBucket
        }
        return nil
    }

    /// The session whose last datagram is the longest ago.
    var oldest: SlotID? { oldestSlot == .max ? nil : slots.id(of: oldestSlot) }

    /// Adds a session as the newest; nil when there is no more room.
    mutating func insert(_ session: consuming DatagramSession) -> SlotID? {
        guard let id = slots.insert(session) else { return nil }
        if slots.count > buckets.count { grow() } else { chain(id.slot) }
        append(id.slot)
        return id
    }

    /// Ends a session and closes its socket.
    mutating func remove(_ id: SlotID) {
        unchain(id.slot)
        unlink(id.slot)
        slots.destroy(id)
    }

    /// Makes a session the newest.
    mutating func touch(_ id: SlotID) {
        if newestSlot == id.slot { return }
        unlink(id.slot)
        append(id.slot)
    }

    // MARK: - Order

    private mutating func append(_ slot: UInt32) {
        slots[slot].older = newestSlot
        slots[slot].newer = .max
        if newestSlot == .max { oldestSlot = slot } else { slots[newestSlot].newer = slot }
        newestSlot = slot
    }

    private mutating func unlink(_ slot: UInt32) {
        let older = slots[slot].older
        let newer = slots[slot].newer
        if older == .max { oldestSlot = newer } else { slots[older].newer = newer }
        if newer == .max { newestSlot = older } else { slots[newer].older = older }
    }

    // MARK: - Buckets

    private func bucket(_ hash: UInt64) -> Int {
        Int(truncatingIfNeeded: hash) & (buckets.count - 1)
    }

    private mutating func chain(_ slot: UInt32) {
        let at = bucket(slots[slot].hash)
        slots[slot].nextInBucket = buckets[at]
        buckets[at] = slot
    }

    private mutating func unchain(_ slot: UInt32) {
        let at = bucket(slots[slot].hash)
        let next = slots[slot].nextInBucket
        if buckets[at] == slot {
            buckets[at] = next
            return
        }
        var before = buckets[at]
        while slots[before].nextInBucket != slot { before = slots[before].nextInBucket }
        slots[before].nextInBucket = next
    }

    /// Doubles the buckets and chains every session anew.
    private mutating func grow() {
        buckets = RigidArray(repeating: .max, count: buckets.count * 2)
        for slot in 0..<slots.highWater where slots.isOccupied(slot) { chain(slot) }
    }
}
