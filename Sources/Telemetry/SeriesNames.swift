/// The labels of one series.
public struct SeriesLabels: Sendable, Equatable, Hashable {
    public var gateway: String
    public var listener: String
    public var route: String
    public var rule: String
    public var backend: String

    /// Makes labels; empty ones are as if they were not there.
    public init(
        gateway: String = "", listener: String = "", route: String = "", rule: String = "",
        backend: String = ""
    ) {
        self.gateway = gateway
        self.listener = listener
        self.route = route
        self.rule = rule
        self.backend = backend
    }
}

/// The labels of all series, by their stable ids; made by whoever interns the ids.
public struct SeriesNames: Sendable {
    private var labels: [UInt32: SeriesLabels]
    private var listeners: [UInt32: SeriesLabels]

    /// Takes the labels of series, and Gateway and name of listeners, by their stable ids.
    public init(_ labels: [UInt32: SeriesLabels] = [:], listeners: [UInt32: SeriesLabels] = [:]) {
        self.labels = labels
        self.listeners = listeners
    }

    /// The labels of a series: `_other` for the overflow, `_unknown` for an id that has no name.
    public subscript(series: UInt32) -> SeriesLabels {
        if series == Series.none { return labels[series] ?? SeriesLabels() }
        if series == Series.other { return Self.all("_other") }
        return labels[series] ?? Self.all("_unknown")
    }

    /// Gateway and name of a listener; nil when it has none.
    public func listener(_ id: UInt32) -> SeriesLabels? { listeners[id] }

    private static func all(_ word: String) -> SeriesLabels {
        SeriesLabels(gateway: word, listener: word, route: word, rule: word, backend: word)
    }
}
