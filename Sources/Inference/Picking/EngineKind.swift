/// What kind of model server a pool's endpoints are.
public enum EngineKind: UInt8, Sendable, BitwiseCopyable, CaseIterable {
    case ollama, vllm, sglang, llamaCpp, trtllm, triton, nim, openai, none

    /// Whether models come and go in its memory, so that a request may have to wait for a load.
    public var loadsOnDemand: Bool { self == .ollama || self == .llamaCpp }
}
