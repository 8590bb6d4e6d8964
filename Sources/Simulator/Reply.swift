import Peer

/// How an inference request is answered, and how far its answer has got.
struct Reply {
    let exchange: ExchangeID
    let dialect: Dialect
    let streams: Bool
    /// Whether a stream ends with a chunk of usage (OpenAI's `include_usage`).
    let includesUsage: Bool
    let isBase64: Bool
    /// The model as the request wrote it, which is how answers name it.
    let model: [UInt8]
    /// Digits of the answer's id.
    let identifier: UInt64
    /// Seconds since 1970.
    let created: UInt64
    /// Texts to be embedded.
    let inputs: [Ask.Input]
    /// Whether the client has left, but the work goes on (llama.cpp).
    var isDetached = false
    /// Tokens that are written.
    var written = 0
    /// Parts of the stream's beginning and end that are written.
    var opened = 0
    var closed = 0
}
