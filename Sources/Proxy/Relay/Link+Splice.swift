import Kernel

/// Bytes from one plain link to another inside the system: they are never in our memory.
extension Link {
    /// Why a move ended.
    enum SpliceStop {
        /// Bytes were moved, and there may be more; the target may be congested.
        case moved
        /// The source has nothing now.
        case dry
        /// What comes must be copied: there is no pipe, or `splice` cannot tell what there is. It says at an urgent byte
        /// of TCP that there is nothing, or that the source has ended; only a read proves an end.
        case unseen
        case sourceBroke
        /// Bytes were taken from the source, and the target takes no more.
        case targetBroke
    }

    /// Moves what a source has, at most `limit` bytes of it, to a target that is not congested; both are plain.
    ///
    /// Without `SPLICE_F_MORE`, whatever follows: what it holds back of a packet makes the next call dearer (an upload of
    /// 10 MB over loopback 1.2 times), and late where nothing follows for a while.
    static func splice(
        from source: inout Link, to target: inout Link, atMost limit: Int,
        _ pool: inout BufferPool
    ) -> (count: Int, stop: SpliceStop) {
        let (pipe, count, stop) = source.fillPipe(atMost: limit, &pool)
        if stop != .moved { return (0, stop) }
        return (count, target.drain(pipe, &pool) == .failed ? .targetBroke : .moved)
    }

    /// Takes a pipe and what there is, at most `limit` bytes; with another stop than `.moved` neither.
    mutating func fillPipe(
        atMost limit: Int, _ pool: inout BufferPool
    ) -> (pipe: UInt32, count: Int, stop: SpliceStop) {
        guard !wasUrgent, let pipe = pool.pipes.take() else { return (.max, 0, .unseen) }
        let result = pool.pipes.fill(pipe, from: socket, atMost: limit)
        if case .bytes(let count) = result { return (pipe, count, .moved) }
        pool.pipes.give(pipe)
        switch result {
        case .wouldBlock:
            // The pipe was empty, so it is the source that has nothing; a short fill does not say so.
            isReadable = false
            return (.max, 0, .dry)
        case .bytes, .end: return (.max, 0, .unseen)
        case .failed: return (.max, 0, .sourceBroke)
        }
    }
}
