import Foundation

/// What a gateway said of itself at one moment: its metrics and its endpoints.
struct TopSample: Sendable {
    /// A row of the metrics page.
    struct Row: Sendable {
        let name: String
        let labels: [String: String]
        let value: Double
    }

    /// `/endpoints`, as far as it is shown.
    struct Endpoints: Codable, Equatable, Sendable {
        struct Pool: Codable, Equatable, Sendable {
            var name: String
            var waiting: Int?
            var endpoints: [Endpoint]
        }

        struct Endpoint: Codable, Equatable, Sendable {
            var address: String
            var engine: String
            var state: String
            var trouble: String?
            var inFlight: Int?
            var loading: Int?
            var ejectedForMilliseconds: UInt64?
            var waiting: Double?
            var running: Double?
            var kvUsage: Double?
            var resident: [Model]?
        }

        struct Model: Codable, Equatable, Sendable {
            var name: String
            var vramBytes: UInt64?
            var until: String?
            var state: String?
        }

        var pools: [Pool] = []
    }

    /// Monotonic milliseconds.
    let at: UInt64
    let rows: [Row]
    let endpoints: Endpoints

    /// A sample of two pages; pages that are none are empty.
    init(at: UInt64, metrics: [UInt8], endpoints: [UInt8]) {
        self.at = at
        rows = String(decoding: metrics, as: UTF8.self).split(separator: "\n").compactMap(Self.row)
        self.endpoints =
            (try? JSONDecoder().decode(Endpoints.self, from: Data(endpoints))) ?? Endpoints()
    }

    /// The sum of the rows of a name that have these labels.
    func sum(_ name: String, _ labels: [String: String] = [:]) -> Double {
        rows.reduce(0) { sum, row in
            row.name == name && labels.allSatisfy { row.labels[$0] == $1 } ? sum + row.value : sum
        }
    }

    /// A line of the text format; nil for comments and what is none.
    private static func row(_ line: Substring) -> Row? {
        if line.hasPrefix("#") { return nil }
        let name = line.prefix { $0 != "{" && $0 != " " }
        var labels: [String: String] = [:]
        var rest = line.dropFirst(name.count)
        if rest.first == "{" {
            rest = rest.dropFirst()
            while let first = rest.first, first != "}" {
                let label = rest.prefix { $0 != "=" }
                rest = rest.dropFirst(label.count + 2)
                var value = ""
                while let next = rest.popFirst(), next != "\"" {
                    guard next == "\\", let escaped = rest.popFirst() else {
                        value.append(next)
                        continue
                    }
                    value.append(escaped == "n" ? "\n" : escaped)
                }
                labels[String(label)] = value
                if rest.first == "," { rest = rest.dropFirst() }
            }
            rest = rest.dropFirst()
        }
        guard let value = Double(rest.trimmingCharacters(in: .whitespaces)) else { return nil }
        return Row(name: String(name), labels: labels, value: value)
    }
}
