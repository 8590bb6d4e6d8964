import HTTP
import Kernel
import Routing
import Runtime

/// What `ai-gateway explain` does: says what becomes of one request, without sending it.
public struct ExplainRequest: Sendable {
    /// What to print, where, and how the command ends.
    public struct Answer: Equatable, Sendable {
        /// For standard output.
        public var text = ""
        /// For standard error, a line each.
        public var messages: [String] = []
        /// 0 routed, 1 the documents cannot be read, 2 wrong usage, 3 no route.
        public var status: Int32 = 0
    }

    /// Files, folders or `-`.
    public var paths: [String]
    public var url: String
    /// Nil: GET, or POST with content.
    public var method: String?
    public var fields: [(name: String, value: String)] = []
    public var content: [UInt8]?
    public var isHTTP2 = false
    /// As `run` has it, so that a URL with the port that is bound works.
    public var placement = Placement()
    /// The admin port of a running gateway, for the state of pools; nil: the documents alone count.
    public var admin: String?
    public var adminTokenFile: String?
    public var isJSON = false

    public init(paths: [String], url: String) {
        self.paths = paths
        self.url = url
    }

    /// Reads, compiles and says; nothing is opened, and nothing sent but to the admin port.
    public func run() -> Answer {
        var answer = Answer()
        let asked: AskedRequest
        do throws(AskedRequest.Unusable) {
            asked = try AskedRequest(
                url: url, method: method, fields: fields, content: content, isHTTP2: isHTTP2)
        } catch {
            answer.messages = [error.description]
            answer.status = 2
            return answer
        }
        var origin = ManifestFolder(paths: paths, kinds: KindRegistry.all, isWatching: false)
        let read = origin.poll() ?? DocumentSet()
        if !read.unreadPaths.isEmpty {
            answer.messages = read.problems.map { "\($0)" }
            answer.status = 1
            return answer
        }
        let documents = Admission.admit(read)
        let status = status(
            documents, placement: placement, observations: .ofDocuments(documents))
        do throws(TableError) {
            var report = try explain(asked, status)
            let errors = (documents.problems + status.problems).count { $0.severity == .error }
            if errors > 0 {
                report.notes.append(
                    "the documents have \(errors) problem\(errors == 1 ? "" : "s"): ai-gateway check tells"
                )
            }
            answer.text = isJSON ? String(decoding: jsonBytes(report), as: UTF8.self) : report.text
            answer.status = report.isRouted ? 0 : 3
        } catch {
            answer.messages = ["the documents make no table: \(error)"]
            answer.status = 1
        }
        return answer
    }

    private func explain(
        _ asked: AskedRequest, _ status: StatusReport
    ) throws(TableError) -> ExplainReport {
        var identities = Identities()
        let compiled = compile(status, &identities)
        var placeholders: [String: SocketAddress] = [:]
        for (at, wanted) in compiled.dnsNames.enumerated() where placeholders[wanted.name] == nil {
            let number = at + 1
            placeholders[wanted.name] = SocketAddress(
                "0.\(number >> 16 & 255).\(number >> 8 & 255).\(number & 255)", port: 0)
        }
        var clients = TLSClientCache()
        let result = compiled.clusters(&identities, clients: &clients) { name in
            placeholders[name].map { [$0] } ?? []
        }
        var standIns: [SocketAddress: String] = [:]
        for wanted in compiled.dnsNames {
            guard var address = placeholders[wanted.name] else { continue }
            address.port = wanted.port
            standIns[address] = wanted.name
        }
        let explainer = Explainer(
            asked: asked, resolution: status.resolution, compiled: compiled,
            names: identities.seriesNames, clusters: result.clusters, plans: result.pools,
            placeholders: standIns,
            live: admin.map { AdminCall(admin: $0, tokenFile: adminTokenFile) })
        var report = try explainer.report()
        report.notes += result.problems.map(\.message)
        let pools = report.backends.compactMap(\.pool)
        if pools.contains(where: { $0.source == "documents" }) {
            report.notes.append(
                admin == nil
                    ? "the scores come from the documents alone, as of endpoints that nothing is known of; --admin URL asks a gateway that runs"
                    : "the gateway could not be asked: scores come from the documents alone")
        }
        if !standIns.isEmpty {
            report.notes.append("DNS names are not looked up here: each stands for one endpoint")
        }
        return report
    }
}
