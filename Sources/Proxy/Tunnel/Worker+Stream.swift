import HTTP
import Kernel
import Routing
import Runtime
import Telemetry

/// Connections without requests: TCP and TLS listeners, all of whose bytes go to one backend.
///
/// Such a connection is an exchange from its beginning, with no request and no answer, so that it finds its endpoint,
/// waits its turn, is tried again and drained like any other.
extension Worker {
    /// Begins the stream of a connection without TLS, where its port is for streams.
    mutating func beginPlain(_ id: SlotID) {
        let listener = generations[current].snapshot.table.streamListener(
            port: port(downstreams[id].portID))
        if listener >= 0, beginStream(id, listener: listener, serverName: Span()) {
            startStream(id)
        }
    }

    /// Decides where a connection's bytes go; false when they go nowhere, and it is closed.
    mutating func beginStream(
        _ id: SlotID, listener: Int32, serverName: Span<UInt8>
    ) -> Bool {
        Self.decide(
            &decision, listener: listener, serverName: serverName, generations, current, clusters,
            &random)
        let settings = generations[current].settings[Int(decision.parameters)]
        guard
            let slot = exchanges.insert(
                Exchange(
                    stream: id, decision, settings, generation: current, began: nowNanoseconds))
        else {
            shard.add(.rejectedConnections)
            end(downstream: id, .reset)
            return false
        }
        currentUsers &+= 1
        downstreams[id].exchange = slot
        if options.log != nil, buffers.append(serverName, to: &exchanges[slot].buffer) {
            exchanges[slot].record.authority = ByteRange(0..<serverName.count)
        }
        guard let reply = decision.reply else { return true }
        replyAndFinish(slot, id, reply)
        return false
    }

    private static func decide(
        _ decision: inout Decision, listener: Int32, serverName: Span<UInt8>,
        _ generations: borrowing Slab<Generation>, _ generation: UInt32,
        _ clusters: borrowing ClusterSet, _ random: inout RandomSource
    ) {
        generations[generation].decide(
            &decision, listener: listener, serverName: serverName, clusters, &random)
    }

    /// Begins to connect; what the client says meanwhile waits in its socket.
    mutating func startStream(_ id: SlotID) {
        let exchange = downstreams[id].exchange
        downstreams[id].phase = .tunnel
        // It may have to wait for its turn: no longer than a tunnel may be silent.
        setDeadline(downstream: id, in: exchanges[exchange].times.tunnelIdle)
        guard
            let row = chooseEndpoint(
                cluster: exchanges[exchange].decision.clusterID, avoiding: .max)
        else {
            fail(exchange, .noEndpoint)
            return
        }
        attempt(exchange, endpoint: row)
    }
}
