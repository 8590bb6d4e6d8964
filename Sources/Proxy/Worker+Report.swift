import HTTP
import Kernel
import Runtime

/// What the admin port shows of this worker's connections: nobody else knows them.
extension Worker {
    /// Answers with a copy, as far as it is bounded.
    @inline(never)
    mutating func answer(_ report: ConnectionReport) {
        var rows: [ConnectionRow] = []
        var total = 0
        for slot in 0..<downstreams.highWater where downstreams.isOccupied(slot) {
            total += 1
            if rows.count < ConnectionReport.rowsMax {
                rows.append(row(of: downstreams.id(of: slot)))
            }
        }
        report.take(rows, total: total)
    }

    private func row(of id: SlotID) -> ConnectionRow {
        var row = ConnectionRow(client: downstreams[id].peer, kind: kind(of: id))
        row.worker = UInt32(options.number)
        row.isSecure = downstreams[id].isTLS
        row.requestCount = downstreams[id].requestCount
        row.waitingBytes = downstreams[id].input.count + downstreams[id].link.output.count
        switch downstreams[id].phase {
        case .introduction, .hello, .handshaking, .multiplexing: break
        case .reading:
            let isHeld = downstreams[id].naming != .none || isReadForLeave(id)
            row.stage = isHeld ? .holding : .reading
        case .discarding, .lingering, .closing: row.stage = .closing
        case .exchanging, .tunnel:
            let exchange = downstreams[id].exchange
            if exchanges.contains(exchange) { describe(exchange, in: &row) }
        }
        return row
    }

    private func kind(of id: SlotID) -> ConnectionRow.Kind {
        if downstreams[id].link.stream != nil { return .stream }
        switch downstreams[id].phase {
        case .introduction, .hello, .handshaking: return .opening
        case .multiplexing: return .http2
        case .tunnel: return .tunnel
        case .reading, .exchanging, .discarding, .lingering, .closing: return .http1
        }
    }

    private func describe(_ exchange: SlotID, in row: inout ConnectionRow) {
        row.stage =
            switch exchanges[exchange].phase {
            case .holding: .holding
            case .picking: .picking
            case .connecting: exchanges[exchange].isAuthorizing ? .authorizing : .connecting
            case .awaitingHead: .awaitingAnswer
            case .answering, .tunnel: .answering
            }
        row.hasRequest = true
        row.method = exchanges[exchange].method
        row.ageNanoseconds = nowNanoseconds &- exchanges[exchange].began
        row.listener = exchanges[exchange].decision.listenerID
        row.series = exchanges[exchange].decision.backendSeries
        row.attempts = exchanges[exchange].attempts
        row.receivedBytes = exchanges[exchange].receivedBytes
        row.sentBytes = exchanges[exchange].sentToClient
        row.waitingBytes += exchanges[exchange].buffer.count
        if row.attempts > 0 {
            row.endpoint = address(
                ofEndpoint: exchanges[exchange].endpointID,
                exchanges[exchange].decision.clusterID)
        }
    }
}
