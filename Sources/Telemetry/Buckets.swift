import BasicContainers

/// Finds the bucket of a duration without a search: by the length of its binary number, which
/// leaves at most two bounds to compare with.
struct Buckets: ~Copyable, Sendable {
    /// The bounds among the durations of one length.
    private struct Row: BitwiseCopyable {
        /// The bucket of the shortest of them.
        var first: Int
        /// The first bound that some of them are above; `.max` when there is none.
        var low: UInt64
        /// The second.
        var high: UInt64
    }

    /// How many lengths a number has.
    static var lengths: Int { 64 }

    /// A row for each length of each kind.
    private let rows: RigidArray<Row>

    /// For the bounds of all kinds of histograms.
    init() {
        var rows = RigidArray<Row>(capacity: Histogram.Kind.allCases.count * Self.lengths)
        for kind in Histogram.Kind.allCases {
            let bounds = Histogram.bounds(kind)
            for length in 0..<UInt64(Self.lengths) {
                let least: UInt64 = length == 0 ? 0 : 1 << length
                let most = (2 << length) &- 1
                let inside = bounds.filter { $0 >= least && $0 < most }
                precondition(inside.count <= 2, "Bounds lie far enough from each other.")
                rows.append(
                    Row(
                        first: bounds.count { $0 < least }, low: inside.first ?? .max,
                        high: inside.count == 2 ? inside[1] : .max))
            }
        }
        self.rows = rows
    }

    /// The number of bounds that a duration is above.
    @inline(__always)
    func bucket(_ kind: Histogram.Kind, _ nanoseconds: UInt64) -> Int {
        // Zero is as long as one.
        let length = 63 &- (nanoseconds | 1).leadingZeroBitCount
        let row = rows[Int(kind.rawValue) &* Self.lengths &+ length]
        return row.first &+ (nanoseconds > row.low ? 1 : 0) &+ (nanoseconds > row.high ? 1 : 0)
    }
}
