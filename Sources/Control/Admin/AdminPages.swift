import Foundation
import Kernel
import Runtime
import Telemetry

/// What the admin and metrics ports show, made from published state and the workers' counters.
struct AdminPages: Sendable {
    let published: PublishedState
    let readers: [ShardReader]
    var endpoints = PublishedEndpoints([])

    /// The content of a path that only shows something.
    func reply(_ route: AdminRoute, query: String? = nil) -> AdminReply {
        // A copy of references: the lock is held for no work.
        let state = published.withLock { $0 }
        switch route {
        case .livez: return .sentence(200, "alive")
        case .readyz: return Self.readiness(state)
        case .metrics: return metrics(state)
        case .status:
            let document = StatusDocument(objects: state.objects, problems: state.problems)
            return AdminReply(200, .json, document.json)
        case .endpoints:
            let now = Clock.monotonicMilliseconds()
            let pages = EndpointPages(endpoints.withLock { $0 }, now: now)
            return AdminReply(200, .json, pages.json)
        case .decisions:
            let pages = DecisionPages(
                endpoints.withLock { $0 }, now: Clock.monotonicMilliseconds(),
                wallMilliseconds: Clock.wallNanoseconds() / 1_000_000)
            return AdminReply(200, .json, pages.json)
        case .explain:
            return ExplainPages(
                views: endpoints.withLock { $0 }, now: Clock.monotonicNanoseconds()
            ).reply(query)
        case .connections:
            return connections(ConnectionReport(workers: 0))
        case .config: return AdminReply(200, .json, ConfigJSON.json(state.documents))
        case .page: return AdminReply(200, .html, Array(Self.page(state).utf8))
        case .drain, .logLevel:
            preconditionFailure("An action is carried out, not shown.")
        }
    }

    /// What the workers said of their connections.
    func connections(_ report: ConnectionReport) -> AdminReply {
        let pages = ConnectionPages(report: report, names: published.withLock { $0.names })
        return AdminReply(200, .json, pages.json)
    }

    private static func readiness(_ state: Published) -> AdminReply {
        if state.isDraining {
            return .sentence(503, "draining: no new work is taken, what is under way ends")
        }
        if state.generation == 0 {
            return .sentence(503, "starting: the documents are not served yet")
        }
        if !state.isReady {
            return .sentence(503, "not ready: no listener could be opened; /status says why")
        }
        return .sentence(200, "ready")
    }

    private func metrics(_ state: Published) -> AdminReply {
        var content: [UInt8] = []
        let facts = PrometheusText.Facts(
            version: Build.version, isLastReloadGood: state.isLastReloadGood)
        PrometheusText.write(readers, names: state.names, facts: facts, into: &content)
        EndpointPages(endpoints.withLock { $0 }, now: Clock.monotonicMilliseconds())
            .metrics(wallSeconds: Int64(Clock.wallNanoseconds() / 1_000_000_000), into: &content)
        ProcessMetrics.write(into: &content)
        return AdminReply(200, .metrics, content)
    }

    // MARK: - The page

    private static func page(_ state: Published) -> String {
        let readiness = String(decoding: readiness(state).content, as: UTF8.self)
        let problems = state.problems.map { "\($0)\n" }.joined()
        let links = AdminRoute.allCases.filter { !$0.isAction && $0 != .page }
            .map { "<a href=\"\($0.rawValue)\">\($0.rawValue)</a>" }.joined(separator: " ")
        return """
            <!doctype html>
            <html lang="en">
            <meta charset="utf-8">
            <meta http-equiv="refresh" content="5">
            <title>ai-gateway</title>
            <style>
            body { font: 15px/1.5 system-ui, sans-serif; margin: 2em; color-scheme: light dark }
            pre { font: 13px/1.45 ui-monospace, monospace; overflow-x: auto }
            </style>
            <h1>ai-gateway \(escaped(Build.version))</h1>
            <p>\(escaped(readiness))</p>
            <p>\(links)</p>
            <h2>Problems</h2>
            <pre>\(problems.isEmpty ? "none" : escaped(problems))</pre>
            <h2>Objects</h2>
            <pre>\(state.objects.isEmpty ? "none" : escaped(StatusText.text(state.objects)))</pre>
            </html>

            """
    }

    static func escaped(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\"": result += "&quot;"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
