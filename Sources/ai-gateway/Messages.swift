import Foundation
import Logging

/// Where messages for the operator go: standard error, as text or one JSON object a line.
enum Messages {
    /// A line on standard error for the person at the terminal.
    static func say(_ line: String) {
        FileHandle.standardError.write(Data((line + "\n").utf8))
    }

    /// The process's logger; `level` is a level's name.
    static func logger(level: String, isJSON: Bool) -> Logger {
        let wanted = Logger.Level(rawValue: level) ?? .info
        return Logger(label: "ai-gateway") { _ in MessageHandler(level: wanted, isJSON: isJSON) }
    }
}

/// Writes one line a message.
private struct MessageHandler: LogHandler {
    var logLevel: Logger.Level
    var metadata: Logger.Metadata = [:]
    let isJSON: Bool

    init(level: Logger.Level, isJSON: Bool) {
        logLevel = level
        self.isJSON = isJSON
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let all = metadata.merging(event.metadata ?? [:]) { $1 }
        let line = isJSON ? json(event, all) : text(event, all)
        FileHandle.standardError.write(Data((line + "\n").utf8))
    }

    private func text(_ event: LogEvent, _ all: Logger.Metadata) -> String {
        let fields = all.sorted { $0.key < $1.key }.map { " \($0.key)=\($0.value)" }.joined()
        return "\(event.level): \(event.message)\(fields)"
    }

    private func json(_ event: LogEvent, _ all: Logger.Metadata) -> String {
        var object: [String: String] = [:]
        for (key, value) in all { object[key] = "\(value)" }
        object["time"] = Date().formatted(.iso8601)
        object["level"] = "\(event.level)"
        object["message"] = "\(event.message)"
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let data = try? encoder.encode(object) else { return "{}" }
        return String(decoding: data, as: UTF8.self)
    }
}
