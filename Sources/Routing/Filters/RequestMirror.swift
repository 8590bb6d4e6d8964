/// A copy of requests for another backend, whose answers nobody gets (`HTTPRequestMirrorFilter`).
public struct RequestMirror: Sendable, Equatable {
    /// The stable id of the cluster that gets the copies.
    public var cluster: UInt32
    /// The share of requests that are copied: this many of `denominator`, each by chance.
    public var numerator: UInt32
    public var denominator: UInt32
    /// The metric series of what goes wrong there.
    public var series: UInt32
    /// The backend as documents name it, for people.
    public var name: String

    /// Makes a mirror; without a share it gets every request.
    public init(
        cluster: UInt32, numerator: UInt32 = 100, denominator: UInt32 = 100, series: UInt32 = 0,
        name: String = ""
    ) {
        self.cluster = cluster
        self.numerator = numerator
        self.denominator = denominator
        self.series = series
        self.name = name
    }

    /// The mirror as a row.
    var row: MirrorRow {
        MirrorRow(
            cluster: cluster, numerator: numerator, denominator: max(1, denominator),
            series: series)
    }
}

/// A compiled mirror.
public struct MirrorRow: BitwiseCopyable, Sendable {
    /// The stable id of the cluster.
    public let cluster: UInt32
    /// The share of requests that are copied: this many of `denominator`, which is not 0.
    public let numerator: UInt32
    public let denominator: UInt32
    /// The metric series.
    public let series: UInt32
}
