/// What the slots of llama.cpp and Ollama hold: each the tokens of its last request, and nothing shared.
///
/// A request gets the free slot whose tokens begin most like its prompt, and only what differs is
/// computed. Prompts that a slot lets go may be kept in main memory for a while.
struct SlotCache {
    private struct Slot {
        /// One hash a token.
        var tokens: [UInt64] = []
        var isBusy = false
        var usedAt: UInt64 = 0
    }

    private var slots: [Slot]
    /// The first saved first.
    private var saved: [[UInt64]] = []
    private var savedTokens = 0
    private let savedMax: Int

    /// Part of a prompt that has to be in a slot for the slot to be chosen for it.
    static var similarity: Double { 0.1 }

    /// `savedMax` tokens are kept of prompts that no slot holds any more.
    init(slots count: Int, savedMax: Int) {
        slots = Array(repeating: Slot(), count: max(1, count))
        self.savedMax = savedMax
    }

    /// Takes a slot for a prompt: its number, and the tokens that need not be computed.
    ///
    /// Nil when all are busy.
    mutating func take(_ tokens: [UInt64]) -> (slot: Int, matched: Int)? {
        guard let slot = choose(tokens) else { return nil }
        var matched = PromptHash.shared(slots[slot].tokens, tokens)
        let isLost = matched * 2 < slots[slot].tokens.count
        let best = saved.indices.max {
            PromptHash.shared(saved[$0], tokens) < PromptHash.shared(saved[$1], tokens)
        }
        if let best {
            let found = PromptHash.shared(saved[best], tokens)
            if found > matched {
                matched = found
                savedTokens -= saved[best].count
                saved.remove(at: best)
            }
        }
        if isLost { save(slots[slot].tokens) }
        slots[slot].isBusy = true
        return (slot, matched)
    }

    /// Gives a slot back, which now holds these tokens.
    mutating func give(_ slot: Int, _ tokens: [UInt64], now: UInt64) {
        slots[slot].tokens = tokens
        slots[slot].isBusy = false
        slots[slot].usedAt = now
    }

    private func choose(_ tokens: [UInt64]) -> Int? {
        var likest: (slot: Int, matched: Int)?
        var oldest: Int?
        for index in slots.indices where !slots[index].isBusy {
            let matched = PromptHash.shared(slots[index].tokens, tokens)
            let isLike = Double(matched) > Double(tokens.count) * Self.similarity
            if isLike, matched > likest?.matched ?? 0 { likest = (index, matched) }
            if oldest.map({ slots[index].usedAt < slots[$0].usedAt }) ?? true { oldest = index }
        }
        return likest?.slot ?? oldest
    }

    private mutating func save(_ tokens: [UInt64]) {
        guard tokens.count <= savedMax else { return }
        saved.append(tokens)
        savedTokens += tokens.count
        while savedTokens > savedMax {
            savedTokens -= saved[0].count
            saved.removeFirst()
        }
    }
}
