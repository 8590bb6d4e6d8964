import ArgumentParser
import Control
import Kernel

struct CheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Reads, validates and compiles the documents under PATH…; serves nothing.",
        discussion:
            "Prints each problem with its place, and each object's conditions. Exit status 1: problems."
    )

    @Argument(help: "Files, folders or -.")
    var paths: [String]

    @Option(help: "The form of the report.")
    var output = OutputForm.text

    func run() throws {
        let report = Check.report(paths: paths)
        switch output {
        case .json: print(String(decoding: report.json, as: UTF8.self))
        case .text: print(report.text, terminator: "")
        }
        if !report.isClean { throw ExitCode(1) }
    }
}

struct VersionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "version", abstract: "Prints the version.")

    func run() { print("ai-gateway \(Build.version)") }
}
