import Kernel

/// A model in memory, or on its way there: its slots, its queue, its cache and the step it is at.
struct Runner {
    /// One pass over the model, or several equal ones: each request that decodes gets a token, and some
    /// of the prompts are computed.
    struct Step {
        let startedAt: UInt64
        /// Of one pass.
        let nanoseconds: UInt64
        var count: Int
        /// Which of the runner's timers counts.
        let serial: UInt32

        var endsAt: UInt64 { startedAt + nanoseconds * UInt64(count) }
    }

    /// Why a model is put out of memory before its time.
    enum Doom {
        /// Another one needs the room.
        case room
        /// It is wanted with other options.
        case options
    }

    /// Never used again for another life.
    let id: UInt32
    let model: Int
    /// What it was loaded with.
    let contextTokens: Int
    let optionsHash: UInt64
    /// Of the model's bytes, those on the accelerator.
    let videoBytes: UInt64
    var isReady = false
    /// Why it goes as soon as it is idle.
    var doom: Doom?
    /// Jobs that hold it, in slots or waiting for one.
    var holders = 0
    /// Jobs in slots, the first come first.
    var running: [SlotID] = []
    /// Jobs that wait for a slot, the first come first.
    var queue: [SlotID] = []
    var cache: KVCache
    var slots: SlotCache
    var keepAlive: KeepAlive
    /// When it is unloaded, if nothing comes before; nil while it is in use or pinned.
    var expiresAt: UInt64?
    /// When it was last asked for.
    var usedAt: UInt64 = 0
    /// Adapters on the accelerator, least recently used first.
    var adapters: [Int] = []
    /// Adapters that the next step brings there.
    var adapterLoads = 0
    /// Whether a step of it is under way.
    var isBusy: Bool { step != nil }
    var step: Step?
    var stepCount: UInt32 = 0
}
