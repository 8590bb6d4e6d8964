// A folder of its own for each test that needs files.
import Foundation

/// Removed with all in it when the last reference goes.
final class TemporaryFolder {
    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "ai-gateway-tests-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }

    func path(_ name: String) -> String { "\(path)/\(name)" }

    func makeFolder(_ name: String) throws {
        try FileManager.default.createDirectory(
            atPath: path(name), withIntermediateDirectories: true)
    }

    /// Writes a file in place, so many seconds ago as far as its time tells.
    func write(_ name: String, _ text: String, ageSeconds: Double = 0) throws {
        try text.write(toFile: path(name), atomically: false, encoding: .utf8)
        if ageSeconds > 0 { try setAge(name, ageSeconds) }
    }

    func setAge(_ name: String, _ seconds: Double) throws {
        try FileManager.default.setAttributes(
            [.modificationDate: Date(timeIntervalSinceNow: -seconds)], ofItemAtPath: path(name))
    }

    func link(_ name: String, to target: String) throws {
        try FileManager.default.createSymbolicLink(
            atPath: path(name), withDestinationPath: target)
    }

    func remove(_ name: String) throws {
        try FileManager.default.removeItem(atPath: path(name))
    }

    /// Renames over what is there in one step, as rename(2) does and Foundation does not.
    func rename(_ name: String, to other: String) throws {
        let move = Process()
        move.executableURL = URL(fileURLWithPath: "/bin/mv")
        move.arguments = ["-T", path(name), path(other)]
        try move.run()
        move.waitUntilExit()
        if move.terminationStatus != 0 { throw CocoaError(.fileWriteUnknown) }
    }
}
