import ArgumentParser
import Control
import Foundation
import Kernel

struct ExplainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain",
        abstract:
            "Says what becomes of one request: listener, rule, filters, backend and endpoint, and why.",
        usage: "ai-gateway explain PATH... [-X METHOD] [-H 'name: value']... [-d DATA|@FILE] URL",
        discussion: """
            Nothing is sent. What nearly took the request is told with what it lacks. Scores of a pool's endpoints come from
            the documents alone, or with --admin from the gateway that runs there.
            Exit status 3: no route; 1: the documents cannot be read.
            """)

    @Argument(help: "Files, folders or -, and behind them the URL.")
    var arguments: [String]

    @Option(
        name: [.customShort("X"), .customLong("method")],
        help: "The method; default: GET, or POST with -d.")
    var method: String?

    @Option(
        name: [.customShort("H"), .customLong("header")], parsing: .singleValue,
        help: "'name: value'; may be given again.")
    var headers: [String] = []

    @Option(name: [.customShort("d"), .customLong("data")], help: "The content, or @FILE.")
    var data: String?

    @Flag(name: .customLong("http2"), help: "The request comes over HTTP/2.")
    var isHTTP2 = false

    @Option(help: "An address for Gateways without their own; may be given again.")
    var address: [String] = []

    @Option(help: "LISTENER_PORT=ACTUAL, as run has it; may be given again.")
    var bindPort: [PortMapping] = []

    @Option(help: "The admin port's URL of a gateway that runs, for what its pools know.")
    var admin: String?

    @Option(help: "A file whose first line is the admin port's token.")
    var adminTokenFile: String?

    @Option(help: "The form of the report.")
    var output = OutputForm.text

    func validate() throws {
        if arguments.count < 2 {
            throw ValidationError("Say one PATH or more, and behind them the URL.")
        }
        for header in headers where Self.field(header) == nil {
            throw ValidationError("-H \"\(header)\" is not 'name: value'.")
        }
    }

    func run() throws {
        guard let url = arguments.last else { throw ExitCode(2) }
        var request = ExplainRequest(paths: Array(arguments.dropLast()), url: url)
        request.method = method
        request.fields = headers.compactMap(Self.field)
        request.content = try content()
        request.isHTTP2 = isHTTP2
        var ports: [UInt16: UInt16] = [:]
        for mapping in bindPort { ports[mapping.listener] = mapping.actual }
        request.placement = Placement(addresses: address, boundPorts: ports)
        request.admin = admin
        request.adminTokenFile = adminTokenFile
        request.isJSON = output == .json
        let answer = request.run()
        for message in answer.messages { Messages.say(message) }
        print(answer.text, terminator: "")
        if answer.status != 0 { throw ExitCode(answer.status) }
    }

    private func content() throws -> [UInt8]? {
        guard let data else { return nil }
        guard data.hasPrefix("@") else { return Array(data.utf8) }
        do {
            return Array(try Data(contentsOf: URL(fileURLWithPath: String(data.dropFirst()))))
        } catch {
            Messages.say("-d \(data) cannot be read.")
            throw ExitCode(2)
        }
    }

    /// The parts of `name: value`; nil when it is none, or has line breaks that would begin another field.
    private static func field(_ text: String) -> (name: String, value: String)? {
        guard let colon = text.firstIndex(of: ":"), colon != text.startIndex,
            !text.utf8.contains(where: { $0 == 13 || $0 == 10 })
        else { return nil }
        let value = text[text.index(after: colon)...].drop { $0 == " " }
        return (String(text[..<colon]), String(value))
    }
}
