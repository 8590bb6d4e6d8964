import BasicContainers
import HTTP
import Kernel
import Telemetry

/// What is told of every request, always last: counters, times, one access record.
extension Worker {
    /// Status that stands for a client that left before an answer had one.
    private static var clientClosed: UInt16 { 499 }

    /// Tells of an exchange that has ended.
    @inline(always)
    mutating func observe(
        _ id: SlotID, _ ended: Ended, _ reason: Span<UInt8> = Span()
    ) {
        exchanges[id].tell(
            &shard, ended: ended, now: nowNanoseconds, clientClosed: Self.clientClosed)
        if options.log != nil { log(id, ended, reason) }
    }

    private mutating func log(
        _ id: SlotID, _ ended: Ended, _ reason: Span<UInt8>
    ) {
        var line = AccessRecord()
        line.time = nowNanoseconds &+ wallOffset
        line.duration = nowNanoseconds &- exchanges[id].began
        if exchanges[id].firstByte != 0 {
            line.timeToFirstByte = exchanges[id].firstByte &- exchanges[id].began
        }
        line.processing = exchanges[id].processing
        if exchanges[id].connected > exchanges[id].connectBegan {
            line.connect = exchanges[id].connected &- exchanges[id].connectBegan
        }
        line.bytesReceived = exchanges[id].receivedBytes
        line.bytesSent = exchanges[id].sentToClient
        line.series = exchanges[id].decision.series
        line.backendSeries = exchanges[id].decision.backendSeries
        line.listener = exchanges[id].decision.listenerID
        line.status = exchanges[id].status
        if line.status == 0, !exchanges[id].isStream { line.status = Self.clientClosed }
        line.retries = exchanges[id].attempts > 0 ? exchanges[id].attempts - 1 : 0
        line.version =
            exchanges[id].isStream ? AccessRecord.streamVersion : exchanges[id].version.rawValue
        line.ended = ended
        let downstream = exchanges[id].downstream
        if downstreams.contains(downstream) {
            line.client = downstreams[downstream].peer
            line.isTLS = downstreams[downstream].isTLS
        }
        let before = exchanges[id].record.path.start
        // What stands before the path is whom a proxy speaks for (`keepToldClient`).
        if before > 0, !exchanges[id].record.path.isNone {
            let told = exchanges[id].buffer.span.extracting(first: Int(before))
            line.client = SocketAddress(told: told)
        }
        line.endpoint = address(
            ofEndpoint: exchanges[id].endpointID, exchanges[id].decision.clusterID)
        let method = exchanges[id].method
        let texts = exchanges[id].record
        var buffer = Buffer()
        swap(&buffer, &exchanges[id].buffer)
        AccessRecordWriter.write(
            line, method: ByteScan.bytes(method.text),
            path: buffer.span.extracting(texts.path.range),
            authority: buffer.span.extracting(texts.authority.range),
            userAgent: buffer.span.extracting(texts.userAgent.range),
            requestID: buffer.span.extracting(texts.requestID.range), reason: reason,
            into: &record)
        swap(&buffer, &exchanges[id].buffer)
        deliver()
    }

    /// Tells of a tunnel that has ended, or of a stream that did not become one; a WebSocket's time is no request's.
    @inline(never)
    mutating func observe(tunnel id: SlotID, _ ended: Ended, _ reason: StaticString) {
        let status = exchanges[id].status
        exchanges[id].count(&shard, status: status)
        if options.log != nil { log(id, ended, ByteScan.bytes(reason)) }
    }

    func address(ofEndpoint id: UInt32, _ cluster: UInt32) -> SocketAddress? {
        let row = clusters.row(ofCluster: cluster)
        if row < 0 { return nil }
        let first = Int(clusters.clusters[Int(row)].firstEndpoint)
        for at in first..<(first + Int(clusters.clusters[Int(row)].endpointCount))
        where clusters.endpoints[at].id == id {
            return clusters.endpoints[at].address
        }
        return nil
    }

    private mutating func write(
        _ line: AccessRecord, _ method: Method, _ reason: Span<UInt8>
    ) {
        Self.write(line, ByteScan.bytes(method.text), requestID, reason, into: &record)
        deliver()
    }

    /// Tells of a session of datagrams.
    mutating func log(_ line: AccessRecord, _ reason: Span<UInt8>) {
        let none = Span<UInt8>()
        AccessRecordWriter.write(
            line, method: none, path: none, authority: none, userAgent: none, requestID: none,
            reason: reason, into: &record)
        deliver()
    }

    private mutating func deliver() {
        guard let log = options.log else { return }
        if !log.write(record.span) { shard.add(.accessLogDropped, 1) }
    }

    // MARK: - Answers without an exchange

    /// Tells of a local answer to the request in `requestHead`.
    mutating func observeLocal(
        _ id: SlotID, _ decision: Decision, status: UInt16, reason: StaticString
    ) {
        shard.countRequest(
            series: decision.backendSeries == Series.none
                ? decision.series : decision.backendSeries,
            method: requestHead.method.rawValue, status: status)
        guard options.log != nil, downstreams.contains(id) else { return }
        var line = AccessRecord()
        line.time = nowNanoseconds &+ wallOffset
        line.series = decision.series
        line.backendSeries = decision.backendSeries
        line.listener = decision.listenerID
        line.status = status
        line.version = requestHead.version.rawValue
        line.ended = .localReply
        line.client = clientOfRequest(id, decision.parameters)
        line.isTLS = downstreams[id].isTLS
        Self.write(line, requestHead, requestID, ByteScan.bytes(reason), into: &record)
        deliver()
    }

    /// The record of a request whose head is at hand.
    private static func write(
        _ line: AccessRecord, _ head: borrowing RequestHead, _ id: borrowing RigidArray<UInt8>,
        _ reason: Span<UInt8>, into record: inout RigidArray<UInt8>
    ) {
        AccessRecordWriter.write(
            line, method: head.span(head.methodText), path: head.span(head.path),
            authority: head.span(head.authority),
            userAgent: head.span(head.value(.userAgent) ?? .none), requestID: id.span,
            reason: reason, into: &record)
    }

    /// The record of something that was no request.
    private static func write(
        _ line: AccessRecord, _ method: Span<UInt8>, _ id: borrowing RigidArray<UInt8>,
        _ reason: Span<UInt8>, into record: inout RigidArray<UInt8>
    ) {
        let none = Span<UInt8>()
        AccessRecordWriter.write(
            line, method: method, path: none, authority: none, userAgent: none,
            requestID: id.span, reason: reason, into: &record)
    }

    /// Tells of an answer to bytes that were no request.
    mutating func observeUnmatched(
        _ id: SlotID, _ reply: LocalReply, method: Method
    ) {
        shard.countRequest(
            series: Series.none, method: method.rawValue, status: reply.row.status)
        guard options.log != nil, downstreams.contains(id) else { return }
        var line = AccessRecord()
        line.time = nowNanoseconds &+ wallOffset
        line.status = reply.row.status
        line.ended = .localReply
        line.client = downstreams[id].peer
        line.isTLS = downstreams[id].isTLS
        guard case .malformed(let problem) = reply else {
            write(line, method, ByteScan.bytes(reply.row.slug))
            return
        }
        let reason = "malformed_request_\(problem.part.rawValue)"
        write(line, method, reason.utf8Span.span)
    }
}
