import Kernel

/// A side of an exchange.
enum Side: UInt8, BitwiseCopyable {
    case client, backend

    var other: Side { self == .client ? .backend : .client }
}

/// How far the two directions of a tunnel are: bytes as they come, each direction with its own end.
///
/// A FIN of one side becomes a FIN to the other once all before it is sent; TLS says close_notify with it, and a FIN
/// without one is a cut, unless the other side has ended before, after which many do not say it. A tunnel is done when both directions have ended; a cut of either side cuts both.
struct Tunnel: BitwiseCopyable {
    /// How far one direction is.
    enum Way: UInt8, BitwiseCopyable {
        case open
        /// Its source has ended; its target does not know yet.
        case ended
        /// Its target was told in TLS; the FIN follows as soon as that is sent.
        case told
        /// Its target was told.
        case shut
    }

    private var fromClient = Way.open
    private var fromBackend = Way.open
    /// The side that takes no more bytes; what it said before is still passed on.
    var broken: Side?

    /// The direction that begins at a side.
    subscript(from side: Side) -> Way {
        get { side == .client ? fromClient : fromBackend }
        set {
            if side == .client { fromClient = newValue } else { fromBackend = newValue }
        }
    }

    /// Both sides have ended and know of each other.
    var isDone: Bool { fromClient == .shut && fromBackend == .shut }
}

// MARK: - Moving

extension Tunnel {
    /// Why the moving of one direction's bytes stopped.
    enum Stop {
        /// There are no more, or the target takes no more.
        case waits
        /// Others are to have their turn.
        case turn
        /// The source has ended; not `clean`, it did not say so in TLS.
        case ended(clean: Bool)
        case sourceBroke
        case targetBroke
    }

    /// Moves bytes by way of `input`, which is the worker's, until there is a reason to stop.
    ///
    /// `splices`: so many came the last time that a pipe between two plain links is cheaper; noted for the next time.
    static func move(
        from source: inout Link, to target: inout Link, splices: inout Bool, _ input: inout Buffer,
        _ cipher: inout CipherBuffers, _ pool: inout BufferPool
    ) -> (count: Int, stop: Stop) {
        var count = 0
        // Reads that give nothing, as of TLS's own records, are work all the same.
        var left = Scratch.tickBytes / Scratch.readBytes
        while !target.isCongested {
            // close_notify may come without a FIN, and behind bytes that were read with it.
            if source.heardClose { return (count, .ended(clean: true)) }
            if !source.isReadable { break }
            if left == 0 { return (count, .turn) }
            if splices {
                let step = Link.splice(
                    from: &source, to: &target, atMost: left * Scratch.readBytes, &pool)
                count += step.count
                left -= (step.count + Scratch.readBytes - 1) / Scratch.readBytes
                switch step.stop {
                case .moved: continue
                case .dry: splices = !Relay.isTrickle(count)
                case .unseen: splices = false
                case .sourceBroke: return (count, .sourceBroke)
                case .targetBroke: return (count, .targetBroke)
                }
                if !source.isReadable { break }
            }
            left -= 1
            input.removeAll()
            switch source.read(into: &input, &cipher, &pool) {
            case .bytes:
                count += input.count
                if input.count >= Relay.bulkBytesMin, source.isPlain, target.isPlain {
                    splices = true
                }
                if target.send(input.span, &cipher, &pool) == .failed {
                    return (count, .targetBroke)
                }
            // Less than a record of TLS came: `isReadable` says whether there may be more.
            case .wouldBlock: continue
            case .end(let clean): return (count, .ended(clean: clean))
            case .failed: return (count, .sourceBroke)
            }
        }
        return (count, .waits)
    }

    /// Tells a target that its source has ended, as far as that is possible while bytes may be stuck.
    static func tell(
        _ target: inout Link, _ way: Way, _ cipher: inout CipherBuffers,
        _ pool: inout BufferPool
    ) -> Way {
        var way = way
        if way == .ended, !target.isCongested {
            target.sayClose(&cipher, &pool)
            way = .told
        }
        if way == .told, !target.isCongested {
            target.endSending(&cipher)
            way = .shut
        }
        return way
    }
}
