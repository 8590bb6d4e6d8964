/// Durations in fixed buckets: cells for each bucket, one for what is above, one for the sum.
public enum Histogram {
    /// What is measured.
    public enum Kind: UInt8, CaseIterable, Sendable, BitwiseCopyable {
        /// From the first byte of the request to the last of the answer.
        case requestDuration
        /// The gateway's own share of it.
        case processing
        /// From the start of a connect to a usable upstream connection.
        case upstreamConnect
        /// From the start of an attempt to the first byte of its answer.
        case timeToFirstByte
        /// From a request's head to the choice of its pool's external picker.
        case picking
        /// One turn of a worker's loop, from the end of its wait to the next, for several events or for messages: whoever
        /// comes meanwhile waits that long.
        case workerTick
    }

    /// Buckets with an upper bound, of every kind.
    static var bucketCount: Int { 18 }
    /// Cells of one row: buckets, the one without bound, the sum in nanoseconds.
    static var cells: Int { bucketCount + 2 }
    /// Offset of the sum in a row.
    static var sumOffset: Int { bucketCount + 1 }

    /// Upper bounds in nanoseconds, inclusive and ascending, as a new array.
    public static func bounds(_ kind: Kind) -> [UInt64] {
        let microsecond: UInt64 = 1_000
        let millisecond = 1_000 * microsecond
        let second = 1_000 * millisecond
        switch kind {
        case .requestDuration, .timeToFirstByte:
            // Up to 600 s: answers of models are long streams.
            return [1, 2, 5, 10, 25, 50, 100, 250, 500].map { $0 * millisecond }
                + [1, 2, 5, 10, 30, 60, 120, 300, 600].map { $0 * second }
        case .processing:
            return [5, 10, 25, 50, 75, 100, 150, 250, 500].map { $0 * microsecond }
                + [1, 2, 5, 10, 25, 50, 100, 500, 1_000].map { $0 * millisecond }
        case .workerTick:
            return [10, 25, 50, 100, 250, 500].map { $0 * microsecond }
                + [1, 2, 5, 10, 25, 50, 100, 250, 500].map { $0 * millisecond }
                + [1, 2, 5].map { $0 * second }
        case .upstreamConnect, .picking:
            return [25, 50, 100, 250, 500].map { $0 * microsecond }
                + [1, 2, 5, 10, 25, 50, 100, 250, 500].map { $0 * millisecond }
                + [1, 2, 5, 10].map { $0 * second }
        }
    }
}
