import ArgumentParser
import Control

struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Prints the running gateway's objects and their conditions.",
        discussion: "Problems come first. Exit status 1: the gateway was not reached.")

    @Option(help: "The admin port's URL, with an IP address or localhost.")
    var admin = "http://127.0.0.1:15000"

    @Option(help: "A file whose first line is the admin port's token.")
    var adminTokenFile: String?

    @Option(help: "The form of the report.")
    var output = OutputForm.text

    func run() throws {
        let answer = StatusRequest(
            admin: admin, tokenFile: adminTokenFile, isJSON: output == .json
        ).run()
        guard answer.isReached else { throw NotReached(description: answer.text) }
        print(answer.text, terminator: "")
    }

    /// Printed on standard error; the exit status is 1.
    private struct NotReached: Error, CustomStringConvertible {
        let description: String
    }
}
