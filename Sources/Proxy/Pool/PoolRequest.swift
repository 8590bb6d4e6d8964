import Kernel

/// What the gateway knows of a request to a pool beyond its head, from its first byte to the first of its answer.
struct PoolRequest: ~Copyable {
    /// Where the content begins in the exchange's buffer.
    let contentStart: Int
    /// Bytes of content so far, without their framing.
    var contentBytes = 0
    /// The content stands in the buffer as one chunk; its size is written when all of it is there.
    let isChunked: Bool
    /// The last chunk is written and trailer lines follow.
    var isInTrailers = false

    init(contentStart: Int, isChunked: Bool) {
        self.contentStart = contentStart
        self.isChunked = isChunked
    }
}
