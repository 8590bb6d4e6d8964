import Foundation

/// The files that the paths of the command line mean at one moment.
///
/// Below a folder these are `*.yaml`, `*.yml` and `*.json`, names that begin with a point left
/// out. So a mounted ConfigMap, where `a.yaml` is a link into `..data` and that a link to a folder
/// named by time, is read through its visible links only. A file or folder that several paths or
/// links lead to is listed once, under the first.
struct FolderListing {
    struct File {
        /// As the command line reaches it; problems show it.
        var path: String
        /// Nil for standard input.
        var stamp: FileStamp?
        /// It can be read only once: standard input or a pipe.
        var isStream = false
    }

    /// In the order of the paths, inside a folder by name.
    private(set) var files: [File] = []
    /// Paths that could not be listed, with the reason.
    private(set) var failures: [(path: String, failure: FileFailure)] = []
    private var seen: Set<FileStamp> = []

    /// - Parameters:
    ///   - paths: files, folders, or `-`.
    ///   - readStreams: streams read before, which may be gone and must not be opened again.
    init(paths: [String], readStreams: Set<String> = []) {
        for path in paths {
            if path == "-" || readStreams.contains(path) {
                files.append(File(path: path, stamp: nil, isStream: true))
                continue
            }
            guard let entry = FileEntry(path: path) else {
                failures.append((path, failure(of: path)))
                continue
            }
            add(entry, path: path, depth: 0)
        }
    }

    private mutating func add(_ entry: FileEntry, path: String, depth: Int) {
        switch entry.type {
        case .stream:
            // A pipe is read when it is named (`<(…)`), not when it lies about in a folder.
            if depth == 0 { files.append(File(path: path, stamp: nil, isStream: true)) }
        case .regular:
            guard seen.insert(identity(entry.stamp)).inserted else { return }
            if files.count == DocumentLimits.filesMax {
                let message = "more than \(DocumentLimits.filesMax) files"
                failures.append((path, FileFailure(message, reason: ConfigProblem.Reason.tooLarge)))
            }
            guard files.count < DocumentLimits.filesMax else { return }
            files.append(File(path: path, stamp: entry.stamp))
        case .folder:
            guard seen.insert(identity(entry.stamp)).inserted else { return }
            addFolder(path, depth: depth)
        }
    }

    private mutating func addFolder(_ folder: String, depth: Int) {
        guard depth < DocumentLimits.folderDepthMax else {
            failures.append((folder, FileFailure("folders too deep inside each other")))
            return
        }
        let names: [String]
        do {
            names = try FileManager.default.contentsOfDirectory(atPath: folder)
        } catch {
            failures.append((folder, FileFailure(error)))
            return
        }
        for name in names.sorted() where !name.hasPrefix(".") {
            let path = FileSystem.join(folder, name)
            guard let entry = FileEntry(path: path) else {
                // A link to nothing, or a file that went away since the folder was read.
                if Self.isManifest(name), isDanglingLink(path) {
                    failures.append((path, FileFailure("a link to a file that does not exist")))
                }
                continue
            }
            if entry.type == .regular, !Self.isManifest(name) { continue }
            add(entry, path: path, depth: depth + 1)
        }
    }

    private static func isManifest(_ name: String) -> Bool {
        [".yaml", ".yml", ".json"].contains { name.hasSuffix($0) }
    }

    private func identity(_ stamp: FileStamp) -> FileStamp {
        FileStamp(device: stamp.device, inode: stamp.inode, size: 0, modified: 0)
    }

    private func isDanglingLink(_ path: String) -> Bool {
        (try? FileManager.default.destinationOfSymbolicLink(atPath: path)) != nil
    }

    private func failure(of path: String) -> FileFailure {
        do {
            _ = try FileManager.default.attributesOfItem(atPath: path)
            return FileFailure("a link to a file that does not exist")
        } catch {
            return FileFailure(error)
        }
    }
}
