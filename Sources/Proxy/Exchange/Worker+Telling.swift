import HTTP
import Inference
import Kernel
import Runtime

/// What an answer says of how it came about: off unless a Gateway's parameters ask for it (`GatewayParameters.spec.answerHeaders`).
extension Worker {
    /// The most bytes of `x-gateway-decision`.
    private static var decisionBytesMax: Int { 1_024 }

    /// Adds the fields that are asked for to `responseHead`; false when they do not fit.
    mutating func tellOfAnswer(_ id: SlotID) -> Bool {
        if exchanges[id].decision.flags.contains(.sessions) { tellSession(id) }
        if exchanges[id].decision.flags.contains(.authorizes), !tellLeave(id) { return false }
        let parameters = Int(exchanges[id].decision.parameters)
        let fields = generations[UInt32(exchanges[id].generation)].snapshot
            .parameters[parameters].answerFields
        if fields.isEmpty { return true }
        let row = clusters.row(
            ofEndpoint: exchanges[id].endpointID, cluster: exchanges[id].decision.clusterID)
        if fields.contains(.endpoint), row >= 0 {
            let address = clusters.endpoints[Int(row)].address
            output.removeAll()
            output.withFree { Self.write(address, into: &$0) }
            if !addToAnswer("x-gateway-endpoint") { return false }
        }
        if fields.contains(.attempts) {
            output.removeAll()
            let attempts = UInt64(max(1, exchanges[id].attempts))
            output.withFree { _ = HeadWriter.append(decimal: attempts, into: &$0) }
            if !addToAnswer("x-gateway-attempts") { return false }
        }
        if fields.contains(.decision), exchanges[id].poolRequest != .none {
            return tellDecision(id)
        }
        return true
    }

    /// Adds what stands in `output` in place of what a backend may have said.
    private mutating func addToAnswer(_ name: StaticString) -> Bool {
        Self.add(name, output, to: &responseHead)
    }

    private static func add(
        _ name: StaticString, _ value: borrowing Buffer, to head: inout ResponseHead
    ) -> Bool {
        head.set(name: ByteScan.bytes(name), value: value.span)
    }

    // MARK: - Decisions

    private mutating func tellDecision(_ id: SlotID) -> Bool {
        let pooled = exchanges[id].poolRequest
        guard case .leased(let lease) = poolRequests[pooled].pick,
            let ledger = ledger(ofPool: poolRequests[pooled].pool),
            let story = ledger.story(of: lease.id)
        else { return true }
        output.removeAll()
        writeDecision(story, ledger.profile, cluster: exchanges[id].decision.clusterID)
        return addToAnswer("x-gateway-decision")
    }

    /// What was chosen and why.
    ///
    /// `chosen=10.0.0.5:11434; reason=resident; candidates=2; total=110.5; residency-scorer=1*100; next=10.0.0.6:11434; …`
    private mutating func writeDecision(
        _ story: LeaseStory, _ profile: Profile, cluster: UInt32
    ) {
        writeEndpoint(story.chosen.endpoint, "chosen=", of: cluster)
        writeDecision("; reason=")
        let reason = story.decision.reason.word
        writeDecision(reason)
        writeDecision("; candidates=")
        let candidates = UInt64(story.decision.candidateCount)
        output.withFree { _ = HeadWriter.append(decimal: candidates, into: &$0) }
        if story.decision.waitedMilliseconds > 0 {
            writeDecision("; waited-ms=")
            let waited = UInt64(story.decision.waitedMilliseconds)
            output.withFree { _ = HeadWriter.append(decimal: waited, into: &$0) }
        }
        // A lone candidate is not scored.
        guard let next = story.runnerUp else { return }
        writeScores(story.chosen, profile)
        writeEndpoint(next.endpoint, "; next=", of: cluster)
        writeScores(next, profile)
    }

    private mutating func writeScores(_ row: ExplainedEndpoint, _ profile: Profile) {
        writeDecision("; total=")
        writeNumber(row.total)
        for scorer in Scorer.allCases {
            let score = row.scores[Int(scorer.rawValue)]
            if score.isNaN || output.count + 64 > Self.decisionBytesMax { continue }
            writeDecision("; ")
            writeDecision(scorer.word)
            writeDecision("=")
            writeNumber(score)
            writeDecision("*")
            writeNumber(profile[scorer])
        }
    }

    private mutating func writeEndpoint(_ id: UInt32, _ word: StaticString, of cluster: UInt32) {
        writeDecision(word)
        let row = clusters.row(ofEndpoint: id, cluster: cluster)
        if row < 0 {
            writeDecision("gone")
            return
        }
        let address = clusters.endpoints[Int(row)].address
        output.withFree { Self.write(address, into: &$0) }
    }

    private mutating func writeDecision(_ text: StaticString) {
        output.withFree { _ = HeadWriter.append(text, into: &$0) }
    }

    /// A number with up to three digits behind the point.
    private mutating func writeNumber(_ number: Float) {
        let thousandths = UInt64(max(0, min(number, 1e12)) * 1_000 + 0.5)
        output.withFree { out in
            _ = HeadWriter.append(decimal: thousandths / 1_000, into: &out)
            var rest = thousandths % 1_000
            if rest == 0 { return }
            out.append(0x2E)
            while rest > 0 {
                out.append(0x30 + UInt8(rest / 100))
                rest = rest % 100 * 10
            }
        }
    }

    private static func write(_ address: SocketAddress, into output: inout OutputSpan<UInt8>) {
        if address.isIPv6 { output.append(0x5B) }
        address.writeHost(into: &output)
        if address.isIPv6 { output.append(0x5D) }
        output.append(0x3A)
        _ = HeadWriter.append(decimal: UInt64(address.port), into: &output)
    }

    // MARK: - Sessions

    /// The token that brings the client's next request to the same endpoint; nil where the pool does not look at it.
    func sessionToken(_ id: SlotID) -> ByteRange? {
        let row = clusters.row(
            ofEndpoint: exchanges[id].endpointID, cluster: exchanges[id].decision.clusterID)
        if row < 0 { return nil }
        let token = clusters.endpoints[Int(row)].session
        return token.isNone ? nil : token
    }

    /// Adds a session's token to `responseHead`; an answer too large for it goes without.
    mutating func addSession(_ token: ByteRange) {
        Self.addSession(token, clusters, &responseHead)
    }

    private static func addSession(
        _ token: ByteRange, _ clusters: borrowing ClusterSet, _ head: inout ResponseHead
    ) {
        _ = head.set(
            name: ByteScan.bytes(Self.sessionField),
            value: clusters.arena.span.extracting(token.range))
    }
}
