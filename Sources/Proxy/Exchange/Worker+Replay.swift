import HTTP
import Kernel
import Runtime

/// Content that was kept goes out in slices: a backend that takes them slowly makes nobody keep them twice.
extension Worker {
    /// Sends what was kept, behind what went with the head, until the backend takes no more.
    @inline(never)
    mutating func continueReplay(_ id: SlotID) {
        let upstream = exchanges[id].upstream
        guard upstream != .none, upstreams.contains(upstream) else { return }
        while exchanges[id].isReplaying, !upstreams[upstream].link.isCongested {
            let result = Self.sendSlice(
                &exchanges[id], over: &upstreams[upstream].link, &cipher, &buffers)
            if result == .failed {
                exchanges[id].replayed = .max
                requestWriteFailed(id)
                return
            }
        }
        if exchanges[id].isReplaying { return }
        if exchanges[id].isMirror {
            noteGiven(id)
            return
        }
        if exchanges[id].isProcessed { resumePicker(id) }
        if exchanges[id].phase == .answering {
            forgetReplay(id)
        } else if !exchanges[id].requestDone {
            enqueue(downstream: exchanges[id].downstream)
        } else if exchanges[id].phase == .awaitingHead {
            setDeadline(upstream: upstream, in: exchanges[id].times.firstByte)
        }
    }

    private static func sendSlice(
        _ exchange: inout Exchange, over link: inout Link, _ cipher: inout CipherBuffers,
        _ buffers: inout BufferPool
    ) -> LinkWrite {
        let from = Int(exchange.replayed)
        let to = min(exchange.buffer.count, from + Scratch.tickBytes)
        // At the end nothing is to be sent again: what is kept from now on is sent when it comes.
        exchange.replayed = to == exchange.buffer.count ? .max : UInt32(to)
        return link.send(ByteScan.part(exchange.buffer.span, from, to), &cipher, &buffers)
    }
}
