import Foundation

/// The token of the admin port, in a file that may be replaced while the process runs.
struct AdminToken: Sendable {
    /// The file cannot be used.
    struct Refused: Error, CustomStringConvertible {
        let description: String
    }

    private let path: String
    private var stamp: FileStamp?
    private(set) var bytes: [UInt8]

    /// Reads the file's first line.
    init(path: String) throws(Refused) {
        self.path = path
        stamp = FileEntry(path: path)?.stamp
        bytes = try Self.read(path)
    }

    /// Reads the file again when it is another; one that cannot be used changes nothing.
    mutating func refresh() {
        guard let present = FileEntry(path: path)?.stamp, present != stamp else { return }
        stamp = present
        if let bytes = try? Self.read(path) { self.bytes = bytes }
    }

    private static func read(_ path: String) throws(Refused) -> [UInt8] {
        let content: [UInt8]
        do throws(FileFailure) {
            content = try FileSystem.read(path, bytesMax: 1 << 20)
        } catch {
            throw Refused(description: "the token file \(path) cannot be read: \(error.message)")
        }
        return try token(String(decoding: content, as: UTF8.self), path)
    }

    /// The first line of a text, without white space around it.
    static func token(_ text: String, _ path: String) throws(Refused) -> [UInt8] {
        let line = text.prefix { !$0.isNewline }.trimmingCharacters(in: .whitespaces)
        guard !line.isEmpty, line.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw Refused(
                description:
                    """
                    the first line of the token file \(path) must be visible ASCII characters, \
                    without spaces; write one by openssl rand -hex 32
                    """
            )
        }
        return Array(line.utf8)
    }

    /// Whether two texts are the same; takes as long for every `given` of the same length.
    static func isEqual(_ given: [UInt8], _ token: [UInt8]) -> Bool {
        var difference: UInt8 = given.count == token.count ? 0 : 1
        for index in given.indices {
            difference |= given[index] ^ token[index % token.count]
        }
        return difference == 0
    }
}
