import Kernel

/// Memory that nobody needs any more goes back: pipes, and large buffers of what was held.
extension Worker {
    /// How often it is looked for while there is any.
    private static var tendMilliseconds: UInt64 { 1_000 }

    /// Sees to it that what nobody will need is looked for.
    @inline(always)
    mutating func tendBuffers() {
        if tendsBuffers || !buffers.needsTending { return }
        tendsBuffers = true
        timers.schedule(
            Token(kind: TokenKind.tending, slot: 0, generation: 1),
            at: now + Self.tendMilliseconds)
    }

    /// Gives it back, and looks again as long as there is more.
    mutating func releaseUnneeded() {
        buffers.pipes.trim()
        buffers.cool()
        tendsBuffers = false
        tendBuffers()
    }
}
