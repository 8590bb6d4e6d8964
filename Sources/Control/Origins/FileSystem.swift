import Foundation

/// What tells one state of a file from another without reading it.
struct FileStamp: Hashable, Sendable {
    var device: UInt64
    var inode: UInt64
    var size: UInt64
    /// Seconds since 1970; a file system's finest step is kept to about a microsecond.
    var modified: Double

    /// Whether the file could still change without its stamp changing: it was written so shortly
    /// before `now` that the next write may bear the same time.
    func isFresh(now: Double) -> Bool {
        modified > now - 2
    }
}

/// A file or folder behind a path, symbolic links followed.
struct FileEntry: Sendable {
    enum FileType: Sendable {
        case regular, folder
        /// A pipe or device: it can be read once at most.
        case stream
    }

    var type: FileType
    var stamp: FileStamp

    /// Nil when there is nothing, or nothing that may be looked at.
    init?(path: String) {
        guard var attributes = try? FileManager.default.attributesOfItem(atPath: path) else {
            return nil
        }
        if attributes[.type] as? FileAttributeType == .typeSymbolicLink {
            let target = URL(fileURLWithPath: path).resolvingSymlinksInPath().path
            guard let found = try? FileManager.default.attributesOfItem(atPath: target) else {
                return nil
            }
            attributes = found
        }
        switch attributes[.type] as? FileAttributeType {
        case .typeRegular?: type = .regular
        case .typeDirectory?: type = .folder
        case .typeSymbolicLink?, nil: return nil
        default: type = .stream
        }
        stamp = FileStamp(
            device: (attributes[.systemNumber] as? NSNumber)?.uint64Value ?? 0,
            inode: (attributes[.systemFileNumber] as? NSNumber)?.uint64Value ?? 0,
            size: (attributes[.size] as? NSNumber)?.uint64Value ?? 0,
            modified: (attributes[.modificationDate] as? Date)?.timeIntervalSince1970 ?? 0)
    }
}

/// Why a file was not read, as the end of a sentence.
struct FileFailure: Error, Equatable {
    var message: String
    var reason = ConfigProblem.Reason.unreadable

    /// The system's own words for an error of Foundation.
    init(_ error: any Error) {
        let code = (error as NSError).userInfo[NSUnderlyingErrorKey] as? NSError
        let posix = (error as? CocoaError)?.underlying as? POSIXError
        switch posix?.code ?? code.flatMap({ POSIXErrorCode(rawValue: Int32($0.code)) }) {
        case .ENOENT?: message = "no such file or folder"
        case .EACCES?: message = "permission denied"
        case .EISDIR?: message = "it is a folder"
        default: message = "\((error as NSError).localizedDescription)"
        }
    }

    init(_ message: String, reason: String = ConfigProblem.Reason.unreadable) {
        self.message = message
        self.reason = reason
    }
}

enum FileSystem {
    /// The bytes of a file, or of standard input for `-`.
    static func read(_ path: String, bytesMax: Int) throws(FileFailure) -> [UInt8] {
        do {
            let handle: FileHandle
            if path == "-" {
                handle = .standardInput
            } else {
                handle = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
            }
            var bytes: [UInt8] = []
            while let part = try handle.read(upToCount: 1 << 20), !part.isEmpty {
                bytes += part
                if bytes.count > bytesMax {
                    throw FileFailure(
                        "larger than \(bytesMax >> 20) MiB; split it",
                        reason: ConfigProblem.Reason.tooLarge)
                }
            }
            return bytes
        } catch let failure as FileFailure {
            throw failure
        } catch {
            throw FileFailure(error)
        }
    }

    /// A path that a document in `file` gives relative to itself.
    static func path(_ path: String, relativeTo file: String) -> String {
        if path.hasPrefix("/") { return path }
        guard let slash = file.lastIndex(of: "/") else { return path }
        return String(file[...slash]) + path
    }

    static func join(_ folder: String, _ name: String) -> String {
        folder.hasSuffix("/") ? folder + name : "\(folder)/\(name)"
    }
}
