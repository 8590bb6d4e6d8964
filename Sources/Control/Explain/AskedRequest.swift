import BasicContainers
import HTTP
import Inference
import Kernel
import Runtime

/// The request that is to be explained, as a client would send it.
struct AskedRequest: Sendable {
    /// Why the words of the command line make no request, as a sentence.
    struct Unusable: Error, CustomStringConvertible {
        let description: String
    }

    let isTLS: Bool
    /// Of the URL: in small letters, without brackets; what is asked for by SNI unless it is an address.
    let urlHost: String
    let port: UInt16
    let isHTTP2: Bool
    /// `POST http://…`.
    let title: String
    /// The head as HTTP/1.1 has it.
    let head: [UInt8]
    let content: [UInt8]

    /// A request by what `explain` was told.
    ///
    /// - Parameters:
    ///   - url: `http://…` or `https://…`; without a scheme the first.
    ///   - method: nil: GET, or POST with content.
    ///   - fields: a `host` among them takes the place of the URL's.
    ///   - content: nil for none.
    ///   - isHTTP2: asked over HTTP/2.
    /// - Throws: what about it cannot be asked for.
    init(
        url: String, method: String?, fields: [(name: String, value: String)], content: [UInt8]?,
        isHTTP2: Bool
    ) throws(Unusable) {
        var rest = Substring(url)
        var scheme = "http"
        if let mark = url.range(of: "://") {
            scheme = url[..<mark.lowerBound].lowercased()
            rest = url[mark.upperBound...]
        }
        guard scheme == "http" || scheme == "https" else {
            throw Unusable(description: "\(url): only http:// and https:// can be explained.")
        }
        isTLS = scheme == "https"
        let authority = String(rest.prefix { $0 != "/" && $0 != "?" && $0 != "#" })
        var target = String(rest.dropFirst(authority.count).prefix { $0 != "#" })
        if !target.hasPrefix("/") { target = "/" + target }
        let bytes = Array(authority.utf8)
        guard let parts = Authority.parse(bytes.span) else {
            throw Unusable(
                description: "\(url): \"\(authority)\" is no host with or without a port.")
        }
        let host = String(decoding: bytes[parts.host], as: UTF8.self).lowercased()
        urlHost = host.hasPrefix("[") ? String(host.dropFirst().dropLast()) : host
        port = parts.port ?? (isTLS ? 443 : 80)
        self.isHTTP2 = isHTTP2
        self.content = content ?? []
        let method = method ?? (content == nil ? "GET" : "POST")
        title = "\(method) \(scheme)://\(authority)\(target)"
        var text = "\(method) \(target) HTTP/1.1\r\n"
        let names = Set(fields.map { $0.name.lowercased() })
        if !names.contains("host") { text += "host: \(authority)\r\n" }
        for field in fields { text += "\(field.name): \(field.value)\r\n" }
        if content != nil, !names.contains("content-length"), !names.contains("transfer-encoding") {
            text += "content-length: \(self.content.count)\r\n"
        }
        head = Array((text + "\r\n").utf8)
    }

    /// The server name of the ClientHello; empty for an address.
    var serverName: [UInt8] {
        SocketAddress(urlHost, port: 0) == nil ? Array(urlHost.utf8) : []
    }

    /// The head as the gateway reads it, by the widest limits of all listeners.
    func parsed(_ parameters: [Parameters]) throws(Malformed) -> RequestHead {
        var limits = HeadLimits.request
        for (row, each) in parameters.enumerated() {
            let own = each.limits
            limits.requestLineBytes = max(
                row == 0 ? 0 : limits.requestLineBytes, own.requestLineBytesMax)
            limits.fieldBytes = max(row == 0 ? 0 : limits.fieldBytes, own.fieldBytesMax)
            limits.fieldsBytes = max(row == 0 ? 0 : limits.fieldsBytes, own.fieldsBytesMax)
            limits.fieldCount = max(row == 0 ? 0 : limits.fieldCount, own.fieldCountMax)
        }
        var result = RequestHead(limits: limits)
        switch result.parse(head.span) {
        case .complete: break
        case .incomplete: throw Malformed(.requestLineBroken)
        case .malformed(let problem): throw problem
        }
        if isHTTP2 { result.cameOverHTTP2() }
        return result
    }
}

/// What of a request's content the choice of its route or its endpoint may need.
struct AskedContent: Sendable {
    let facts: BodyFacts
    let isEncoded: Bool
    let isForm: Bool
    /// All of it.
    let bytes: [UInt8]

    /// Reads content as the gateway does; nil when nothing is read of it.
    init?(
        _ head: borrowing RequestHead, _ content: [UInt8], _ path: InferencePath, limit: Int
    ) throws(BodyRefusal) {
        guard path.readsModel, !content.isEmpty else { return nil }
        var peek = try RequestPeek(
            contentType: head.span(head.value(.contentType) ?? .none),
            contentEncoding: head.span(head.value(.contentEncoding) ?? .none),
            acceptsName: path.acceptsName, decodedMax: limit)
        try peek.scan(content.span)
        try peek.finish()
        facts = peek.facts
        isEncoded = peek.isEncoded
        isForm = peek.isForm
        bytes = content
    }

    /// The name of the model; nil when the content names none.
    var model: String? { facts.model.map { String($0.span) } }

    /// Bytes of the prompt, as the pick counts them.
    var promptBytes: Int { (0..<facts.prompts.count).reduce(0) { $0 + facts.prompts[$1].count } }

    /// The chain of the prompt.
    func blocks(of blockBytes: Int, model: ModelName?) -> [UInt64] {
        guard facts.prompts.count > 0, !isEncoded, let model = model ?? facts.model,
            blockBytes > 0
        else { return [] }
        var blocks = PrefixBlocks(model: model, blockBytes: blockBytes)
        var hashes = RigidArray<UInt64>(capacity: PrefixBlocks.countDefault)
        hashes.edit { output in
            for at in 0..<facts.prompts.count where !blocks.isFull {
                blocks.update(bytes.span.extracting(facts.prompts[at]), into: &output)
            }
            blocks.finish(into: &output)
        }
        return (0..<hashes.count).map { hashes[$0] }
    }
}

extension String {
    /// Bytes as text.
    init(_ bytes: Span<UInt8>) {
        self.init(decoding: bytes.indices.map { bytes[$0] }, as: UTF8.self)
    }
}
