/// What the scorers know of one endpoint, gathered once a pick.
struct Candidate: BitwiseCopyable {
    /// In the pool's rows.
    var slot: Int32
    /// Whether no limit keeps the request out.
    var hasRoom: Bool
    /// Whether the model need not be loaded for this request: it is there, or is loading already.
    var isWarm: Bool
    var lora: LoRAPlace
    var isSession: Bool
    var residency: ResidencyClass
    /// Requests in the engine's queue and in work, as observed and since.
    var waiting: Float
    var running: Float
    /// From 0 to 1; not a number when unknown.
    var kvUsage: Float
    /// Requests that this gateway has there: in all, and for the model.
    var inFlight: Float
    var modelInFlight: Float
    /// About four bytes a token.
    var tokensInFlight: Float
    /// Blocks of the prompt that are there, from its start.
    var matched: Float
    /// From 0 to 1, 1 for who has not been given a new prompt for the longest time.
    var idleRank: Float
    /// Models in memory and on their way there.
    var residentCount: Float
    /// Estimated time to the first token, in milliseconds.
    var ttft: Float
    /// Requests of this gateway that have no answer yet.
    var unstarted: Int32 = 0
}

/// Where a LoRA adapter is.
enum LoRAPlace: UInt8, BitwiseCopyable {
    case none, waiting, room, running
}

/// What it takes to have the model on an endpoint (`ai-features.md` §1.4).
enum ResidencyClass: UInt8, BitwiseCopyable {
    /// It is wholly in video memory, or on its way.
    case inVRAM
    /// It is partly on the CPU.
    case resident
    /// It fits beside what is there.
    case fits
    /// Something else may have to go.
    case unknown
}
