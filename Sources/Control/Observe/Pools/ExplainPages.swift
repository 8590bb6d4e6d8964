import Foundation
import Inference
import Kernel
import Runtime

/// `/explain?pool=NAME&model=…`: how a pool of this process would choose now, and why; nothing changes by asking.
struct ExplainPages {
    let views: [PoolView]
    /// Monotonic nanoseconds.
    let now: UInt64

    /// What the query is answered.
    func reply(_ query: String?) -> AdminReply {
        let known = views.filter { $0.ledger != nil }
        let names = sentenceList(known.map(\.name), "and")
        guard let question = PoolQuestion(query: query ?? "") else {
            return .sentence(
                400,
                """
                A parameter cannot be read; there are pool, model, prompt-bytes, priority, session, \
                options, block-bytes and blocks.
                """)
        }
        if known.isEmpty { return .sentence(404, "No pool is picked for here.") }
        if question.pool == nil, known.count > 1 {
            return .sentence(400, "Say which pool: /explain?pool=NAME; there are \(names).")
        }
        guard let view = known.first(where: { question.pool ?? $0.name == $0.name }),
            let ledger = view.ledger
        else { return .sentence(404, "There is no such pool; there are \(names).") }
        return AdminReply(200, .json, jsonBytes(Self.report(question, view, ledger, now)))
    }

    private static func report(
        _ asked: PoolQuestion, _ view: PoolView, _ ledger: PoolLedger, _ now: UInt64
    ) -> PoolReport {
        var question = asked
        question.pool = view.name
        let bytes = ledger.prefixBlockBytes
        // Hashes of blocks of another size say nothing here.
        let blocks = question.blockBytes == bytes ? question.blocks : []
        var told = Explanation()
        ledger.explain(
            question.request(engine: ledger.engine), prefix: blocks.span, now: now, into: &told)
        let names = view.addresses
        var report = question.report(
            told, engine: ledger.engine, profile: ledger.profile, blockBytes: bytes,
            blocks: blocks.count, source: "gateway"
        ) { names[$0] ?? "\($0)" }
        let counts = ledger.counts
        report.waiting = counts.waiting
        report.running = counts.running
        return report
    }
}

extension PoolView {
    /// `address:port` of the endpoints, by their ids.
    var addresses: [UInt32: String] {
        Dictionary(
            endpoints.map { ($0.endpoint.id, "\($0.endpoint.address)") }
        ) { first, _ in first }
    }
}

extension PoolQuestion {
    /// The most blocks that are read.
    private static let blocksMax = 256

    /// A question as the query of `/explain` has it; nil when a parameter is none.
    init?(query: String) {
        var components = URLComponents()
        components.percentEncodedQuery = query.isEmpty ? nil : query
        for item in components.queryItems ?? [] {
            let value = item.value ?? ""
            switch item.name {
            case "pool": pool = value
            case "model": model = value.isEmpty ? nil : value
            case "session": session = value
            case "prompt-bytes":
                guard let number = UInt32(value) else { return nil }
                promptBytes = Int(number)
            case "priority":
                guard let number = Int32(value) else { return nil }
                priority = number
            case "options":
                guard let number = UInt32(value) else { return nil }
                options = number
            case "block-bytes":
                guard let number = UInt16(value) else { return nil }
                blockBytes = Int(number)
            case "blocks":
                for word in value.split(separator: ",") {
                    guard let hash = UInt64(word, radix: 16), blocks.count < Self.blocksMax else {
                        return nil
                    }
                    blocks.append(hash)
                }
            default: return nil
            }
        }
    }

    /// The path and query that ask it.
    var target: String {
        var items: [(String, String)] = []
        if let pool { items.append(("pool", pool)) }
        if let model { items.append(("model", model)) }
        if let session { items.append(("session", session)) }
        items.append(("prompt-bytes", "\(promptBytes)"))
        items.append(("priority", "\(priority)"))
        items.append(("options", "\(options)"))
        items.append(("block-bytes", "\(blockBytes)"))
        if !blocks.isEmpty {
            items.append(("blocks", blocks.map { String($0, radix: 16) }.joined(separator: ",")))
        }
        return "/explain?"
            + items.map { "\($0)=\(Self.encoded($1))" }.joined(separator: "&")
    }

    private static func encoded(_ text: String) -> String {
        var result = ""
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."),
                UInt8(ascii: "_"), UInt8(ascii: ","):
                result.unicodeScalars.append(UnicodeScalar(byte))
            default:
                let digits = String(byte, radix: 16, uppercase: true)
                result += digits.count == 1 ? "%0\(digits)" : "%\(digits)"
            }
        }
        return result
    }
}
