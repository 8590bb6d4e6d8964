import HTTP
import Kernel
import Runtime
import Telemetry

extension Worker {
    /// Carries out what the control plane asked for since the last tick.
    mutating func readMailbox() {
        mailbox.acknowledge()
        while let message = mailbox.take() {
            switch consume message {
            case .snapshot(let snapshot): install(snapshot)
            case .clusters(let set): install(set)
            case .listen(let port, let socket): listen(port: port, socket)
            case .listenDatagrams(let port, let socket): listen(port: port, socket)
            case .unlisten(let port):
                unlisten(port: port)
                unlistenDatagrams(port: port)
            case .grant(let grant): take(grant)
            case .report(let report): answer(report)
            case .drain(let delay, let timeout): beginDrain(delay: delay, timeout: timeout)
            case .stop: isStopped = true
            }
        }
    }

    /// A new generation of the documents; the old one goes when its last exchange has an answer.
    private mutating func install(_ snapshot: consuming Snapshot) {
        let previous = current
        guard let id = generations.insert(Generation(snapshot)) else { return }
        countPatternLimits()
        patternLimits = 0
        current = id.slot
        timeouts = generations[current].snapshot.parameters[0].timeouts
        lingerBytesMax = generations[current].snapshot.parameters[0].limits.lingerBytesMax
        fitHeads()
        mayNeedModel =
            generations[current].someNeedModel() || authorizations.count > 0
            || generations[current].snapshot.table.authorizes
        reviewSessions()
        if previous != .max {
            generations[previous].users = currentUsers
            if currentUsers == 0 { _ = generations.remove(slot: previous) }
        }
        currentUsers = 0
        if cipher.multiplexers.count > 0 { shutDownOrphans() }
    }

    /// Heads are parsed before their listener is known: by the widest limits of all listeners.
    private mutating func fitHeads() {
        var widest = HeadLimits.request
        var answers = HeadLimits.response
        connectionsMax = 0
        sessionsMax = 0
        trustsPeers = false
        takesIntroductions = false
        for row in 0..<generations[current].snapshot.parameters.count {
            let trusted = generations[current].snapshot.parameters[row].trustedProxies
            if !trusted.blocks.isEmpty || trusted.source != .xForwardedFor { trustsPeers = true }
            if generations[current].snapshot.parameters[row].acceptsProxyProtocol {
                takesIntroductions = true
            }
            let limits = generations[current].snapshot.parameters[row].limits
            let isFirst = row == 0
            connectionsMax = max(connectionsMax, limits.clientConnectionsMax)
            sessionsMax = min(max(sessionsMax, limits.udpSessionsMax), options.sessionsMax)
            widest.requestLineBytes = max(
                isFirst ? 0 : widest.requestLineBytes, limits.requestLineBytesMax)
            widest.fieldBytes = max(isFirst ? 0 : widest.fieldBytes, limits.fieldBytesMax)
            widest.fieldsBytes = max(isFirst ? 0 : widest.fieldsBytes, limits.fieldsBytesMax)
            widest.fieldCount = max(isFirst ? 0 : widest.fieldCount, limits.fieldCountMax)
            answers.fieldsBytes = max(
                isFirst ? 0 : answers.fieldsBytes, limits.responseHeadBytesMax)
            answers.fieldCount = max(isFirst ? 0 : answers.fieldCount, limits.responseFieldCountMax)
        }
        if widest != requestHead.limits { requestHead = RequestHead(limits: widest) }
        if answers != responseHead.limits { responseHead = ResponseHead(limits: answers) }
    }

    /// An exchange no longer needs the table that decided about it.
    @inline(always)
    mutating func release(generation: Int32) {
        if generation < 0 { return }
        if generation == Int32(truncatingIfNeeded: current) {
            currentUsers &-= 1
        } else {
            release(old: UInt32(truncatingIfNeeded: generation))
        }
    }

    @inline(never)
    private mutating func release(old slot: UInt32) {
        generations[slot].users -= 1
        if generations[slot].users == 0 { _ = generations.remove(slot: slot) }
    }

    private mutating func install(_ set: consuming ClusterSet) {
        clusters = set
        while endpoints.count < clusters.endpointIDLimit { endpoints.append(EndpointState()) }
        while queues.count < clusters.clusterIDLimit { queues.append(WaitingQueue()) }
        for row in 0..<clusters.pools.count {
            let id = Int(clusters.pools[row].id)
            while ledgers.count <= id { ledgers.append(nil) }
            ledgers[id] = clusters.pools[row].ledger
        }
        closeOrphanedUpstreams()
        reviewSessions()
    }

    /// Idle connections to endpoints that no cluster has any more are closed; active ones finish.
    private mutating func closeOrphanedUpstreams() {
        for id in 0..<endpoints.count where endpoints[id].firstIdle != .max {
            if clusters.hasEndpoint(UInt32(id)) { continue }
            while endpoints[id].firstIdle != .max {
                close(upstream: upstreams.id(of: endpoints[id].firstIdle))
            }
        }
    }
}
