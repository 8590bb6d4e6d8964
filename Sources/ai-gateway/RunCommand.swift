// What options are when they are not given is read as an option is.
// swift-format-ignore-file: NeverForceUnwrap

import ArgumentParser
import Control
import Kernel

struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Serves what the documents under PATH… declare, and follows their changes.",
        discussion: """
            PATH is a file, a folder (its *.yaml, *.yml and *.json, recursively) or - for standard input.
            SIGTERM and SIGINT drain (a second one ends at once); SIGHUP reads all documents again.
            """)

    @Argument(help: "Files, folders or -.")
    var paths: [String]

    @Option(help: "Worker threads; default: the cores that the process may use.")
    var workers: Int?

    @Option(help: ArgumentHelp("Where the admin port listens, or off.", valueName: "address:port"))
    var admin = ListenAddress(argument: "127.0.0.1:15000")!

    @Option(help: "A file whose first line is the token that the admin port asks for.")
    var adminTokenFile: String?

    @Option(
        help: ArgumentHelp("Where the metrics port listens, or off.", valueName: "address:port"))
    var metrics = ListenAddress(argument: "off")!

    @Option(help: "An address for Gateways without their own; may be given again.")
    var address: [String] = []

    @Option(
        help: ArgumentHelp(
            "Binds another port than the listener's; may be given again.",
            valueName: "listener=actual"))
    var bindPort: [PortMapping] = []

    @Option(
        help: ArgumentHelp(
            "How long new connections are still accepted after SIGTERM, such as 5s.",
            valueName: "time"))
    var drainDelay = Milliseconds(argument: "0s")!

    @Option(
        help: ArgumentHelp(
            "How long running exchanges may go on after SIGTERM, such as 30s or 10m.",
            valueName: "time"))
    var drainTimeout = Milliseconds(argument: "10m")!

    @Flag(help: "Share ports that another process holds.")
    var takeOver = false

    @Option(help: "stdout, off, or a file (opened again on SIGHUP).")
    var accessLog = "stdout"

    @Option(help: "How much is said on standard error.")
    var logLevel = LogLevel.info

    @Option(help: "The form of messages on standard error.")
    var output = OutputForm.text

    func validate() throws {
        if let workers, !(1...256).contains(workers) {
            throw ValidationError("--workers is 1 to 256, not \(workers).")
        }
        for text in address where SocketAddress(text, port: 0) == nil {
            throw ValidationError("--address \(text) is not an IP address.")
        }
        var taken: [UInt16: UInt16] = [:]
        for mapping in bindPort {
            if let other = taken[mapping.actual], other != mapping.listener, mapping.actual != 0 {
                throw ValidationError(
                    "--bind-port maps both \(other) and \(mapping.listener) to \(mapping.actual); two listeners on one port this way are refused."
                )
            }
            taken[mapping.actual] = mapping.listener
        }
        if let address = admin.address, !address.isLoopback, adminTokenFile == nil {
            throw ValidationError(
                "--admin \(address) is not a loopback address: it needs --admin-token-file.")
        }
    }

    func run() throws {
        var ports: [UInt16: UInt16] = [:]
        for mapping in bindPort { ports[mapping.listener] = mapping.actual }
        let target: AccessLogTarget =
            switch accessLog {
            case "stdout": .stdout
            case "off": .off
            default: .file(accessLog)
            }
        let options = RunOptions(
            paths: paths, workers: workers ?? Machine.defaultWorkers(), admin: admin.address,
            adminTokenFile: adminTokenFile, metrics: metrics.address,
            placement: Placement(addresses: address, boundPorts: ports),
            drainDelayMilliseconds: drainDelay.value, drainTimeoutMilliseconds: drainTimeout.value,
            takesOver: takeOver, accessLog: target)
        let code = Gateway(options, logLevel: logLevel.rawValue, isJSON: output == .json).run()
        throw ExitCode(code)
    }
}
