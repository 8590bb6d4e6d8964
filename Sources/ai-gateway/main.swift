import ArgumentParser
import Control

// Bad usage ends with status 2 (`interface.md` §1); the parser's own habit is 64.
do {
    var command = try AIGateway.parseAsRoot()
    try command.run()
} catch {
    let code = AIGateway.exitCode(for: error)
    if code == .validationFailure {
        Messages.say(AIGateway.fullMessage(for: error))
        AIGateway.exit(withError: ExitCode(2))
    }
    AIGateway.exit(withError: error)
}
