import HTTP
import Runtime
import Telemetry

/// `/connections`: who is connected, and what each waits for, as the workers tell it at that moment.
struct ConnectionPages {
    private struct Page: Encodable {
        /// Connections and streams in all; a worker tells of 1,000 of its own.
        var total: Int
        /// Workers that did not answer in time.
        var missing: Int?
        var connections: [Connection]
    }

    private struct Connection: Encodable {
        var client: String
        var worker: UInt32
        /// `opening`, `HTTP/1.1`, `HTTP/2`, `stream` (one request of HTTP/2) or `tunnel`.
        var `protocol`: String
        var tls: Bool
        /// What it waits for.
        var stage: String
        var requests: UInt32
        var waitingBytes: Int
        var request: Request?
    }

    private struct Request: Encodable {
        var method: String
        var ageMilliseconds: UInt64
        var gateway: String?
        var listener: String?
        var route: String?
        var backend: String?
        var endpoint: String?
        var attempts: UInt8
        var receivedBytes: UInt64
        var sentBytes: UInt64
    }

    let report: ConnectionReport
    let names: SeriesNames

    /// One line of JSON, the oldest request first.
    var json: [UInt8] {
        let (rows, total, missing) = report.answer
        let sorted = rows.sorted { a, b in
            if a.hasRequest != b.hasRequest { return a.hasRequest }
            return a.ageNanoseconds > b.ageNanoseconds
        }
        return jsonBytes(
            Page(
                total: total, missing: missing > 0 ? missing : nil,
                connections: sorted.map { connection($0) }))
    }

    private func connection(_ row: ConnectionRow) -> Connection {
        Connection(
            client: "\(row.client)", worker: row.worker, protocol: Self.word(row.kind),
            tls: row.isSecure, stage: row.kind == .opening ? "opening" : "\(row.stage)",
            requests: row.requestCount, waitingBytes: row.waitingBytes,
            request: row.hasRequest ? request(row) : nil)
    }

    private func request(_ row: ConnectionRow) -> Request {
        let listener = names.listener(row.listener)
        let labels = row.series == Series.none ? nil : names[row.series]
        return Request(
            method: "\(row.method.text)", ageMilliseconds: row.ageNanoseconds / 1_000_000,
            gateway: listener?.gateway, listener: listener?.listener, route: labels?.route,
            backend: labels?.backend, endpoint: row.endpoint.map { "\($0)" },
            attempts: row.attempts, receivedBytes: row.receivedBytes, sentBytes: row.sentBytes)
    }

    private static func word(_ kind: ConnectionRow.Kind) -> String {
        switch kind {
        case .opening: "opening"
        case .http1: "HTTP/1.1"
        case .http2: "HTTP/2"
        case .stream: "stream"
        case .tunnel: "tunnel"
        }
    }
}
