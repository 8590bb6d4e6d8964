import HTTP

/// Where a share of a rule's requests goes.
public struct BackendRow: BitwiseCopyable, Sendable {
    /// What the share gets.
    public enum Kind: UInt8, BitwiseCopyable, Sendable {
        /// A cluster; `value` is its stable id.
        case cluster
        /// An answer of the gateway; `value` is its status.
        case status
    }

    /// What the share gets.
    public let kind: Kind
    /// What filters of this backend ask for.
    public let flags: RowFlags
    /// The stable id of the cluster, or the status.
    public let value: UInt32
    /// The metric series.
    public let series: UInt32
    /// Sum of the weights up to and with this backend.
    let weightUpTo: UInt32
    /// Filters on the request.
    let request: StepRange
    /// Filters on the response.
    let response: StepRange
    /// The CORS policy in `Table.cors`, which counts in place of the rule's; -1 for none.
    let cors: Int32
    /// Mirrors of this backend.
    let mirrors: StepRange

    /// Indexes of its mirrors in `Table.mirrors`.
    public var mirrorRange: Range<Int> { mirrors.range }
}

/// Highest weight of one backend (`BackendRef.weight`); higher ones count as this.
let backendWeightMax: UInt32 = 1_000_000

extension Table {
    /// The backend that takes a request, by a random number of 32 even bits.
    ///
    /// An index of `backends`; -1 when no backend has a weight above 0, which is answered 500.
    public func backend(rule: Int32, random: UInt32) -> Int32 {
        let sum = rules[Int(rule)].weightSum
        if sum == 0 { return -1 }
        let range = rules[Int(rule)].backends
        let first = Int(range.start)
        let last = first &+ Int(range.count) &- 1
        if first == last { return Int32(truncatingIfNeeded: first) }
        let point = UInt32(truncatingIfNeeded: (UInt64(random) &* UInt64(sum)) &>> 32)
        var at = first
        while at < last && backends[at].weightUpTo <= point { at &+= 1 }
        return Int32(truncatingIfNeeded: at)
    }
}
