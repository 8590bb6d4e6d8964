import HTTP
import Kernel
import Telemetry

/// The change to WebSocket in the middle of a connection (RFC 9110 §7.8, RFC 6455 §4).
///
/// The request goes out as any other, with `upgrade` and `connection` written anew (`writeHead`); what the client says
/// behind it is held. Any answer but a 101 is an ordinary one.
extension Worker {
    /// Passes a 101 on and begins the tunnel, if the request asked for it; returns the bytes of `rest` used.
    @inline(never)
    mutating func switchProtocols(
        _ id: SlotID, _ upstream: SlotID, _ rest: Span<UInt8>
    ) -> Int {
        guard exchanges[id].upgrades, responseHead.upgrade == .websocket,
            responseHead.removeConnectionFields(keeping: .upgrade),
            !exchanges[id].decision.flags.contains(.responseFilters) || applyResponseFilters(id)
        else {
            answerMalformed(id, upstream)
            return rest.count
        }
        var head = Buffer()
        swap(&head, &output)
        head.removeAll()
        let fits = head.withFree { out in
            HeadWriter.write(
                response: responseHead, to: .http11, framing: .none, closes: false, into: &out)
        }
        if fits {
            sendSwitch(id, head.span, then: rest)
        } else {
            answerMalformed(id, upstream)
        }
        swap(&head, &output)
        return rest.count
    }

    private mutating func sendSwitch(
        _ id: SlotID, _ head: Span<UInt8>, then rest: Span<UInt8>
    ) {
        let downstream = exchanges[id].downstream
        exchanges[id].takeSwitch(headBytes: head.count, rest: rest.count, now: nowNanoseconds)
        if downstreams[downstream].link.send(head, then: rest, &cipher, &buffers) == .failed {
            clientIsGone(downstream)
            return
        }
        if exchanges[id].buffer.capacity > 16 * 1024 { forgetReplay(id) }
        beginTunnel(id)
    }
}

extension Exchange {
    /// The backend agrees to the change: this is its answer.
    fileprivate mutating func takeSwitch(headBytes: Int, rest: Int, now: UInt64) {
        status = 101
        firstByte = now
        sentHeadBytes &+= UInt32(truncatingIfNeeded: headBytes)
        sentToClient &+= UInt64(truncatingIfNeeded: rest)
    }
}
