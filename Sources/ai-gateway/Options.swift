import ArgumentParser
import Control
import Kernel

/// The program's commands (`interface.md` §1).
struct AIGateway: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ai-gateway",
        abstract:
            "An AI inference gateway and L7 proxy that reads Kubernetes Gateway API documents.",
        discussion: """
            Try it:  ai-gateway check routes/    then    ai-gateway run routes/ --bind-port 80=8080
            """,
        subcommands: [
            RunCommand.self, CheckCommand.self, ExplainCommand.self, StatusCommand.self,
            TopCommand.self,
            PickerCommand.self, VersionCommand.self,
        ])
}

/// A number and a unit, such as `10m`, `30s` or `500ms`.
struct Milliseconds: ExpressibleByArgument {
    let value: UInt64

    init?(argument: String) {
        guard let parsed = Milliseconds.parse(argument) else { return nil }
        value = parsed
    }

    private static func parse(_ text: String) -> UInt64? {
        let units: [(String, UInt64)] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)]
        for (suffix, factor) in units where text.hasSuffix(suffix) {
            guard let number = UInt64(text.dropLast(suffix.count)), number < 1 << 40 else {
                continue
            }
            return number * factor
        }
        return nil
    }

    var defaultValueDescription: String { "\(value)ms" }
}

/// `LISTENER_PORT=ACTUAL`.
struct PortMapping: ExpressibleByArgument {
    let listener: UInt16
    let actual: UInt16

    init?(argument: String) {
        let parts = argument.split(separator: "=", omittingEmptySubsequences: false)
        guard parts.count == 2, let listener = UInt16(parts[0]), let actual = UInt16(parts[1]),
            listener > 0
        else { return nil }
        self.listener = listener
        self.actual = actual
    }
}

/// `ADDR:PORT` or `off`.
struct ListenAddress: ExpressibleByArgument {
    /// Nil: off.
    let address: SocketAddress?

    init?(argument: String) {
        if argument == "off" {
            address = nil
            return
        }
        guard let parsed = SocketAddress(parsing: argument) else { return nil }
        address = parsed
    }
}

/// How much is said on standard error.
enum LogLevel: String, ExpressibleByArgument, CaseIterable {
    case trace, debug, info, notice, warning, error, critical
}

/// The form of messages and reports.
enum OutputForm: String, ExpressibleByArgument, CaseIterable {
    case text, json
}
