import BasicContainers

/// The pipes of one worker, by which bytes go from socket to socket inside the system.
///
/// A pipe is lent for one move, and longer only while the target has not taken all that is inside.
/// Only an empty one is used again, the last one first; those that were not needed for a while are
/// freed by `trim`. There are at most `countMax`, each charged to the budget with all that it can
/// hold. Whoever gets none copies: so it is where the process has no descriptors left, or its user
/// no pages for pipes (`pipe-user-pages-soft`).
public struct PipePool: ~Copyable {
    /// What a pipe can hold, where the system allows it.
    public static var pipeBytes: Int { 512 << 10 }
    /// A smaller one is worth less than its calls.
    public static var pipeBytesMin: Int { 64 << 10 }

    private let budget: Budget?
    private let countMax: Int
    private var slots: Slab<Pipe>
    /// Slots of those that are not lent.
    private var idle: [UInt32] = []
    /// The fewest that were not lent since `trim` was called.
    private var idleLeast = 0
    /// The system, or the budget, gave none; it is not asked again before `trim`.
    private var isRefused = false
    /// What all that are lent can hold.
    public private(set) var bytesInUse = 0

    /// An empty pool.
    public init(budget: Budget?, countMax: Int) {
        self.budget = budget
        self.countMax = countMax
        slots = Slab(capacity: max(1, countMax))
    }

    deinit {
        var held = 0
        for slot in 0..<slots.highWater where slots.isOccupied(slot) {
            held += slots[slot].capacity
        }
        budget?.give(held)
    }

    /// How many there are, lent ones among them.
    public var count: Int { slots.count }

    /// `trim` has something to do sooner or later.
    public var needsTrim: Bool { isRefused || slots.count > 0 }

    /// Lends an empty pipe; nil when there is none.
    public mutating func take() -> UInt32? {
        guard let slot = idle.popLast() ?? make() else { return nil }
        idleLeast = min(idleLeast, idle.count)
        bytesInUse += slots[slot].capacity
        return slot
    }

    /// Takes a pipe back; one with bytes inside is freed.
    public mutating func give(_ slot: UInt32) {
        bytesInUse -= slots[slot].capacity
        if slots[slot].isEmpty {
            idle.append(slot)
        } else {
            free(slot)
        }
    }

    /// Frees the pipes that were not needed since it was called before, and lets the system be asked again.
    public mutating func trim() {
        isRefused = false
        for _ in 0..<idleLeast {
            if let slot = idle.popLast() { free(slot) }
        }
        idleLeast = idle.count
    }

    /// Frees all that are not lent and makes no other until `trim`: their descriptors are needed.
    public mutating func yieldDescriptors() {
        while let slot = idle.popLast() { free(slot) }
        idleLeast = 0
        isRefused = true
    }

    @inline(never)
    private mutating func make() -> UInt32? {
        if isRefused || slots.count >= countMax { return nil }
        isRefused = true
        do {
            let pipe = try Pipe(capacity: Self.pipeBytes)
            let capacity = pipe.capacity
            if capacity < Self.pipeBytesMin { return nil }
            if let budget, !budget.take(capacity) { return nil }
            let id = slots.insert(pipe)
            isRefused = false
            return id?.slot
        } catch {
            return nil
        }
    }

    private mutating func free(_ slot: UInt32) {
        budget?.give(slots[slot].capacity)
        _ = slots.remove(slot: slot)
    }
}

// MARK: - A pipe that was lent

extension PipePool {
    /// Whether nothing is inside.
    public func isEmpty(_ slot: UInt32) -> Bool { slots[slot].isEmpty }

    /// How many bytes are inside.
    public func count(_ slot: UInt32) -> Int { slots[slot].count }

    /// As `Pipe.fill`.
    public mutating func fill(
        _ slot: UInt32, from socket: borrowing Socket, atMost limit: Int
    ) -> IOResult {
        slots[slot].fill(from: socket, atMost: limit)
    }

    /// As `Pipe.drain`.
    public mutating func drain(_ slot: UInt32, to socket: borrowing Socket) -> IOResult {
        slots[slot].drain(to: socket)
    }
}

extension BufferPool {
    /// Puts what is in a pipe behind the bytes of a buffer and takes the pipe back; false when the budget is spent.
    @inline(never)
    public mutating func pour(pipe: UInt32, into buffer: inout Buffer) -> Bool {
        var piece = RigidArray<UInt8>(capacity: PipePool.pipeBytesMin)
        var fits = true
        while fits, !pipes.isEmpty(pipe) {
            piece.removeAll()
            fits = pipes.read(pipe, into: &piece) && append(piece.span, to: &buffer)
        }
        pipes.give(pipe)
        return fits
    }
}

extension PipePool {
    /// As `Pipe.read`; false when it failed.
    mutating func read(_ slot: UInt32, into bytes: inout RigidArray<UInt8>) -> Bool {
        if case .bytes = slots[slot].read(into: &bytes) { return true }
        return false
    }
}
