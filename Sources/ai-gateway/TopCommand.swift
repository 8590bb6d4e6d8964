// What options are when they are not given is read as an option is.
// swift-format-ignore-file: NeverForceUnwrap

import ArgumentParser
import Control
import Foundation

struct TopCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "top",
        abstract: "Shows routes, endpoints, models and streams of the running gateway, live.",
        discussion: "q or Ctrl-C ends it. Exit status 1: the gateway was not reached.")

    @Option(help: "The admin port's URL, with an IP address or localhost.")
    var admin = "http://127.0.0.1:15000"

    @Option(help: "A file whose first line is the admin port's token.")
    var adminTokenFile: String?

    @Option(help: "Between two looks.")
    var interval = Milliseconds(argument: "1s")!

    @Flag(help: "One look, for a pipe: sums since the gateway's start.")
    var once = false

    func run() throws {
        let request = TopRequest(
            admin: admin, tokenFile: adminTokenFile, intervalMilliseconds: interval.value)
        if once {
            let answer = request.once()
            guard let text = answer.text else { throw refused(answer.sentence) }
            print(text, terminator: "")
        } else if let sentence = request.run({ FileHandle.standardOutput.write(Data($0.utf8)) }) {
            throw refused(sentence)
        }
    }

    private func refused(_ sentence: String?) -> ExitCode {
        Messages.say(sentence ?? "")
        return ExitCode(1)
    }
}
