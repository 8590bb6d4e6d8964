import BasicContainers
import HTTP
import Kernel
import Runtime
import Telemetry

/// Exchanges of one cluster that wait for a connection, in order of arrival.
struct WaitingQueue: BitwiseCopyable {
    var first = SlotID.none
    var last = SlotID.none
    var count: Int32 = 0
}

/// This worker's backend connections: choosing an endpoint, taking a pooled connection, giving it back.
extension Worker {
    /// Failures to connect in a row after which an endpoint is avoided for a while.
    private static var failuresBeforeAvoiding: Int32 { 3 }
    /// How long a failing endpoint is avoided while others are there.
    private static var avoidMilliseconds: UInt64 { 3_000 }

    // MARK: - Choosing

    /// Row of the endpoint for the next attempt of an exchange: none that failed it already, as long as there is another.
    mutating func chooseEndpoint(_ id: SlotID) -> Int32? {
        chooseEndpoint(
            cluster: exchanges[id].decision.clusterID, avoiding: exchanges[id].failedEndpoint,
            exchanges[id].failedEndpoints)
    }

    /// Row of the endpoint for the next attempt: of two at random the one with fewer exchanges, within the first
    /// priority group that has a usable one; nil when the cluster has none at all.
    ///
    /// `failed` has a bit for each endpoint that failed before the last one, `Exchange.failedEndpoints`.
    mutating func chooseEndpoint(
        cluster id: UInt32, avoiding last: UInt32, _ failed: UInt64 = 0
    ) -> Int32? {
        let row = clusters.row(ofCluster: id)
        guard row >= 0 else { return nil }
        let cluster = clusters.clusters[Int(row)]
        if cluster.endpointCount == 0 { return nil }
        if cluster.endpointCount == 1 { return cluster.firstEndpoint }
        return chooseEndpoint(of: cluster, avoiding: last, failed)
    }

    private mutating func chooseEndpoint(
        of cluster: ClusterRow, avoiding last: UInt32, _ failed: UInt64
    ) -> Int32? {
        if let chosen = chooseByPriority(of: cluster, avoiding: last, failed) { return chosen }
        // All have failed, or share their bits with one that has: another than the last one, all the same.
        if failed != 0, let chosen = chooseByPriority(of: cluster, avoiding: last, 0) {
            return chosen
        }
        // Every endpoint is avoided or tried: the least bad is better than none.
        return cluster.firstEndpoint
            + Int32(random.next(below: UInt32(cluster.endpointCount)))
    }

    private mutating func chooseByPriority(
        of cluster: ClusterRow, avoiding last: UInt32, _ failed: UInt64
    ) -> Int32? {
        var start = cluster.firstEndpoint
        let end = cluster.firstEndpoint + cluster.endpointCount
        while start < end {
            let group = endOfGroup(start, end)
            if let chosen = choose(from: start, to: group, avoiding: last, failed) {
                return chosen
            }
            start = group
        }
        return nil
    }

    private func endOfGroup(_ start: Int32, _ end: Int32) -> Int32 {
        let priority = clusters.endpoints[Int(start)].priority
        var at = start + 1
        while at < end, clusters.endpoints[Int(at)].priority == priority { at += 1 }
        return at
    }

    private mutating func choose(
        from start: Int32, to end: Int32, avoiding last: UInt32, _ failed: UInt64
    ) -> Int32? {
        let count = UInt32(end - start)
        let first = start + Int32(random.next(below: count))
        var second = start + Int32(random.next(below: count))
        if second == first { second = second + 1 == end ? start : second + 1 }
        let usableFirst = isUsable(first, last, failed)
        let usableSecond = isUsable(second, last, failed)
        if usableFirst, usableSecond {
            let a = endpoints[Int(clusters.endpoints[Int(first)].id)].active
            let b = endpoints[Int(clusters.endpoints[Int(second)].id)].active
            return b < a ? second : first
        }
        if usableFirst { return first }
        if usableSecond { return second }
        for at in start..<end where isUsable(at, last, failed) { return at }
        return nil
    }

    private func isUsable(_ row: Int32, _ last: UInt32, _ failed: UInt64) -> Bool {
        let id = clusters.endpoints[Int(row)].id
        return id != last && failed >> UInt64(id & 63) & 1 == 0 && isReached(row)
    }

    /// Whether this worker's last attempts to connect to an endpoint did not all fail.
    func isReached(_ row: Int32) -> Bool {
        endpoints[Int(clusters.endpoints[Int(row)].id)].avoidedUntil <= now
    }

    /// Notes that an endpoint could not be reached, or could.
    mutating func note(endpoint id: UInt32, reached: Bool) {
        if reached {
            endpoints[Int(id)].failures = 0
            endpoints[Int(id)].avoidedUntil = 0
            return
        }
        endpoints[Int(id)].failures += 1
        if endpoints[Int(id)].failures >= Self.failuresBeforeAvoiding {
            endpoints[Int(id)].avoidedUntil = now + Self.avoidMilliseconds
        }
    }

    // MARK: - Idle connections

    /// Gives the pooled connection of an endpoint that was used last to an exchange; nil when there is none.
    @inline(always)
    mutating func takeIdle(endpoint id: UInt32, for exchange: SlotID) -> SlotID? {
        let slot = endpoints[Int(id)].firstIdle
        if slot == .max { return nil }
        endpoints[Int(id)].active &+= 1
        let next = upstreams[slot].leavePool(for: exchange)
        endpoints[Int(id)].firstIdle = next
        if next != .max { upstreams[next].previousIdle = .max }
        return upstreams.id(of: slot)
    }

    private mutating func unlinkIdle(_ id: SlotID) {
        let previous = upstreams[id].previousIdle
        let next = upstreams[id].nextIdle
        if previous == .max {
            endpoints[Int(upstreams[id].endpointID)].firstIdle = next
        } else {
            upstreams[previous].nextIdle = next
        }
        if next != .max { upstreams[next].previousIdle = previous }
        upstreams[id].nextIdle = .max
        upstreams[id].previousIdle = .max
    }

    /// Puts a connection that is clean back, or hands it to an exchange that waits for one.
    @inline(always)
    mutating func release(upstream id: SlotID) {
        if isDraining && exchanges.count <= 1 || upstreams[id].isIntroduced {
            endpoints[Int(upstreams[id].endpointID)].active &-= 1
            upstreams[id].exchange = .none
            close(upstream: id)
            return
        }
        let pooled = Self.pool(
            &upstreams[id], id.slot, &endpoints, now: now, limit: timeouts.upstreamIdleMilliseconds)
        if pooled.next != .max { upstreams[pooled.next].previousIdle = id.slot }
        if pooled.mustArm {
            timers.schedule(Token(kind: TokenKind.upstream, id), at: upstreams[id].timer.at)
        }
        serveWaiting(cluster: pooled.cluster)
    }

    /// Puts a connection before its endpoint's idle ones, of which `next` was the first.
    @inline(always)
    private static func pool(
        _ upstream: inout Upstream, _ slot: UInt32, _ endpoints: inout UniqueArray<EndpointState>,
        now: UInt64, limit: UInt32
    ) -> (next: UInt32, cluster: UInt32, mustArm: Bool) {
        let endpoint = Int(upstream.endpointID)
        let next = endpoints[endpoint].firstIdle
        endpoints[endpoint].active &-= 1
        endpoints[endpoint].firstIdle = slot
        let pooled = upstream.enterPool(before: next, now: now, limit: limit)
        return (next, pooled.cluster, pooled.mustArm)
    }

    /// Frees a backend connection; the exchange that used it must have let go of it.
    @inline(never)
    mutating func close(upstream id: SlotID) {
        if upstreams[id].link.stream != nil {
            forget(upstreamStream: id, .cancel)
            return
        }
        if upstreams[id].phase == .idle { unlinkIdle(id) }
        if upstreams[id].phase == .multiplexing { closeStreams(ofUpstream: id) }
        let wasPromised = keepPromise(id)
        let endpoint = Int(upstreams[id].endpointID)
        let cluster = upstreams[id].clusterID
        endpoints[endpoint].open -= 1
        upstreams[id].link.discardOutput(&buffers)
        buffers.reclaim(&upstreams[id].input)
        upstreams.destroy(id)
        countUpstreams()
        if wasPromised {
            serveAllWaiting(cluster: cluster)
        } else {
            serveWaiting(cluster: cluster)
        }
    }

    /// Tells how many connections to backends there are; streams are none.
    mutating func countUpstreams() {
        shard.set(.upstreamConnections, UInt64(upstreams.count - upstreamStreams))
    }

    /// A connection that others wait for has been made, or never will be; whether it was such a one.
    mutating func keepPromise(_ id: SlotID) -> Bool {
        if !upstreams[id].isPromised { return false }
        upstreams[id].isPromised = false
        endpoints[Int(upstreams[id].endpointID)].promised -= 1
        return true
    }

    // MARK: - Waiting

    /// Puts an exchange at the end of its cluster's queue; false when the queue is full.
    mutating func wait(_ exchange: SlotID) -> Bool {
        let cluster = Int(exchanges[exchange].decision.clusterID)
        if Int(queues[cluster].count) >= limits(of: exchange).upstreamPendingMax { return false }
        exchanges[exchange].nextWaiting = .none
        exchanges[exchange].wait = .turn
        if queues[cluster].last == .none {
            queues[cluster].first = exchange
        } else {
            let last = queues[cluster].last
            exchanges[last].nextWaiting = exchange
        }
        queues[cluster].last = exchange
        queues[cluster].count += 1
        return true
    }

    /// Takes an exchange that is over out of its cluster's queue.
    mutating func stopWaiting(_ exchange: SlotID) {
        guard exchanges[exchange].wait == .turn else { return }
        exchanges[exchange].wait = .nothing
        let cluster = Int(exchanges[exchange].decision.clusterID)
        let next = exchanges[exchange].nextWaiting
        var previous = SlotID.none
        var at = queues[cluster].first
        while at != .none, at != exchange {
            previous = at
            at = exchanges[at].nextWaiting
        }
        if previous == .none {
            queues[cluster].first = next
        } else {
            exchanges[previous].nextWaiting = next
        }
        if queues[cluster].last == exchange { queues[cluster].last = previous }
        queues[cluster].count -= 1
    }

    /// A connection came free or went: the exchange that waits longest goes on in the next round.
    @inline(always)
    mutating func serveWaiting(cluster: UInt32) {
        let next = queues[Int(cluster)].first
        guard next != .none else { return }
        stopWaiting(next)
        exchanges[next].wait = .called
        ready.push(Token(kind: TokenKind.exchange, next))
    }

    /// All that wait go on in the next round; who finds no room waits again.
    mutating func serveAllWaiting(cluster: UInt32) {
        guard Int(cluster) < queues.count else { return }
        var left = queues[Int(cluster)].count
        while left > 0 {
            left -= 1
            serveWaiting(cluster: cluster)
        }
    }

    /// The attempts of those that waited for a connection to this endpoint fail as it did.
    mutating func failWaiting(cluster: UInt32, endpoint: UInt32, _ reason: UpstreamFailure) {
        var failed = UniqueArray<SlotID>()
        var id = queues[Int(cluster)].first
        while id != .none {
            let next = exchanges[id].nextWaiting
            if exchanges[id].endpointID == endpoint {
                stopWaiting(id)
                failed.append(id)
            }
            id = next
        }
        for at in 0..<failed.count where exchanges.contains(failed[at]) {
            attemptFailed(failed[at], reason)
        }
    }

    func limits(of exchange: SlotID) -> Limits {
        if exchanges[exchange].generation < 0 { return Limits() }
        let generation = UInt32(exchanges[exchange].generation)
        return generations[generation].snapshot.parameters[
            Int(exchanges[exchange].decision.parameters)
        ]
        .limits
    }
}
