// What options are when they are not given is read as an option is.
// swift-format-ignore-file: NeverForceUnwrap

import ArgumentParser
import Control
import Kernel

struct PickerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "picker",
        abstract:
            "Picks endpoints of an InferencePool for other gateways, as they ask over ext_proc.",
        discussion: """
            PATH is a file, a folder (its *.yaml, *.yml and *.json, recursively) or - for standard input. gRPC without TLS;
            its health is asked on the same port. SIGTERM and SIGINT drain (a second one ends at once); SIGHUP reads all
            documents again.
            """)

    @Argument(help: "Files, folders or -.")
    var paths: [String]

    @Option(help: ArgumentHelp("Where gateways ask.", valueName: "address:port"))
    var listen: ListenAddress

    @Option(
        help: ArgumentHelp(
            "The pool; needed where the documents have several.", valueName: "namespace/name"))
    var pool: String?

    @Option(
        help: ArgumentHelp(
            """
            How many endpoints are told of each request, 1 to 8, the best first: for gateways that go on to the next \
            when one is out of reach.
            """, valueName: "number"))
    var endpoints = 1

    @Option(help: ArgumentHelp("Where the admin port listens, or off.", valueName: "address:port"))
    var admin = ListenAddress(argument: "127.0.0.1:15000")!

    @Option(help: "A file whose first line is the token that the admin port asks for.")
    var adminTokenFile: String?

    @Option(
        help: ArgumentHelp("Where the metrics port listens, or off.", valueName: "address:port"))
    var metrics = ListenAddress(argument: "off")!

    @Option(
        help: ArgumentHelp(
            "How long new connections are still accepted after SIGTERM, such as 5s.",
            valueName: "time"))
    var drainDelay = Milliseconds(argument: "0s")!

    @Option(
        help: ArgumentHelp(
            "How long running calls may go on after SIGTERM, such as 30s or 10m.", valueName: "time"
        ))
    var drainTimeout = Milliseconds(argument: "10m")!

    @Option(help: "How much is said on standard error.")
    var logLevel = LogLevel.info

    @Option(help: "The form of messages on standard error.")
    var output = OutputForm.text

    func validate() throws {
        if !(1...8).contains(endpoints) {
            throw ValidationError("--endpoints is 1 to 8.")
        }
        if listen.address == nil {
            throw ValidationError("--listen needs an address and a port.")
        }
        if let address = admin.address, !address.isLoopback, adminTokenFile == nil {
            throw ValidationError(
                "--admin \(address) is not a loopback address: it needs --admin-token-file.")
        }
    }

    func run() throws {
        guard let address = listen.address else { throw ExitCode(2) }
        var options = RunOptions(
            paths: paths, workers: 1, admin: admin.address, adminTokenFile: adminTokenFile,
            metrics: metrics.address, drainDelayMilliseconds: drainDelay.value,
            drainTimeoutMilliseconds: drainTimeout.value, accessLog: .off)
        options.purpose = .picker(pool: pool)
        let picker = Picker(
            options, listen: address, endpointsMax: endpoints, logLevel: logLevel.rawValue,
            isJSON: output == .json)
        throw ExitCode(picker.run())
    }
}
