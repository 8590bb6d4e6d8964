import Logging
import Synchronization

/// The level of all messages that go by loggers of `following`, changed while the process runs.
public final class LogLevels: Sendable {
    private let index: Atomic<Int>

    /// Begins with this level.
    public init(_ level: Logger.Level) { index = Atomic(Self.index(of: level)) }

    /// The present level.
    public var current: Logger.Level {
        get { Logger.Level.allCases[index.load(ordering: .relaxed)] }
        set { index.store(Self.index(of: newValue), ordering: .relaxed) }
    }

    /// A logger that writes where the given one does, at the present level.
    public func following(_ logger: Logger) -> Logger {
        var following = logger
        following.handler = LevelledHandler(base: logger.handler, levels: self)
        return following
    }

    private static func index(of level: Logger.Level) -> Int {
        Logger.Level.allCases.firstIndex(of: level) ?? 0
    }
}

/// Passes messages on to another handler, from the shared level on.
private struct LevelledHandler: LogHandler {
    var base: any LogHandler
    let levels: LogLevels

    var logLevel: Logger.Level {
        get { levels.current }
        set { levels.current = newValue }
    }

    var metadata: Logger.Metadata {
        get { base.metadata }
        set { base.metadata = newValue }
    }

    var metadataProvider: Logger.MetadataProvider? {
        get { base.metadataProvider }
        set { if let newValue { base.metadataProvider = newValue } }
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { base[metadataKey: key] }
        set { base[metadataKey: key] = newValue }
    }

    func log(event: LogEvent) { base.log(event: event) }
}
