import Foundation

/// What a gateway said of itself at one moment: its metrics and its endpoints.
struct TopSample: Sendable {
    /// A row of the metrics page.
    struct Row: Sendable {
        let name: String
        let labels: [String: String]
        let value: Double
    }

    /// Monotonic milliseconds.
    let at: UInt64
    let rows: [Row]
    let endpoints: EndpointPages.Page

    /// A sample of two pages; pages that are none are empty.
    init(at: UInt64, metrics: [UInt8], endpoints: [UInt8]) {
        self.at = at
        rows = String(decoding: metrics, as: UTF8.self).split(separator: "\n").compactMap(Self.row)
        self.endpoints =
            (try? JSONDecoder().decode(EndpointPages.Page.self, from: Data(endpoints)))
            ?? EndpointPages.Page(pools: [])
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
