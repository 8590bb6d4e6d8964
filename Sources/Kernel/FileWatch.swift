import CLinux
import Glibc

/// Says that something below the watched files and folders may have changed.
///
/// What lies behind a symbolic link is watched too, and so is the link itself: a folder that is
/// swapped by renaming a link (as mounted ConfigMaps are) is noticed. Which file it was is not
/// said: the receiver reads the whole path again and compares. A file counts as changed when a
/// writer closes it, or when it is made, moved, removed or given other rights.
public struct FileWatch: ~Copyable {
    /// What has happened since the last call.
    public struct Changes: Equatable, Sendable {
        /// The watched paths with a change below them, as they were given, in that order.
        public var paths: [String] = []
        /// Changes may have gone unnoticed, now or later.
        ///
        /// There were too many at once, or there are more folders than can be watched: read
        /// everything again, and look from time to time.
        public var isIncomplete = false

        public init(paths: [String] = [], isIncomplete: Bool = false) {
            self.paths = paths
            self.isIncomplete = isIncomplete
        }

        public var isEmpty: Bool { paths.isEmpty && !isIncomplete }
    }

    /// Folders that are watched at most, and levels below a watched path.
    static var watchesMax: Int { 8192 }
    static var depthMax: Int { 16 }

    private let descriptor: Descriptor
    private var paths: [String] = []
    private var places = Places()

    public init() throws(SystemError) {
        descriptor = Descriptor(
            adopting: try SystemCall.check("inotify_init1") {
                inotify_init1(Int32(IN_CLOEXEC | IN_NONBLOCK))
            })
    }

    /// The descriptor that is readable when there are changes; register it level-triggered.
    public var raw: Int32 { descriptor.raw }

    /// Begins to watch a file, or a folder with all below it; throws when it does not exist.
    ///
    /// It may disappear and come back later.
    public mutating func watch(_ path: String) throws(SystemError) {
        var status = stat()
        // Sound: a terminated string, and room for the result.
        try SystemCall.check("stat") { unsafe stat(path, &status) }
        paths.append(path)
        places.place(path, root: paths.count - 1, descriptor.raw)
        if let failure = places.failure, places.interests.isEmpty {
            throw SystemError("inotify_add_watch", failure)
        }
    }

    /// Takes what has changed, without waiting; it may be nothing although the descriptor was
    /// readable.
    ///
    /// New folders are watched before this returns, so what is read afterwards is complete.
    public mutating func changes() -> Changes {
        var seen = Seen()
        var reads = 0
        // A storm of events is cut into several calls: the descriptor stays readable.
        while reads < 64, readEvents(into: &seen) { reads += 1 }
        if seen.overflowed { seen.roots = Set(paths.indices) }
        if !seen.roots.isEmpty { replaceWatches() }
        let isIncomplete = seen.overflowed || (places.failure != nil && !seen.roots.isEmpty)
        return Changes(paths: seen.roots.sorted().map { paths[$0] }, isIncomplete: isIncomplete)
    }

    /// Waits for a change; false when so many milliseconds are over, below zero: without end.
    public func wait(timeoutMilliseconds: Int32) -> Bool {
        poll(raw, timeoutMilliseconds: timeoutMilliseconds)
    }
}

// MARK: - Events

extension FileWatch {
    private struct Seen {
        var roots: Set<Int> = []
        var overflowed = false
    }

    /// Reads one batch of events; false when there was none.
    private func readEvents(into seen: inout Seen) -> Bool {
        let raw = descriptor.raw
        // Sound: the memory is used during the call only.
        return unsafe withUnsafeTemporaryAllocation(byteCount: 16 << 10, alignment: 8) { buffer in
            let count = SystemCall.run {
                // Sound: the buffer and its size go together.
                unsafe read(raw, buffer.baseAddress, buffer.count)
            }
            guard count > 0 else { return false }
            var at = 0
            while at + 16 <= count {
                // Sound: whole events only are read: descriptor, mask, cookie, length, name.
                let watch = unsafe buffer.loadUnaligned(fromByteOffset: at, as: Int32.self)
                // Sound: as above.
                let mask = unsafe buffer.loadUnaligned(fromByteOffset: at + 4, as: UInt32.self)
                // Sound: as above.
                let length = unsafe buffer.loadUnaligned(fromByteOffset: at + 12, as: UInt32.self)
                let end = at + 16 + Int(length)
                // Sound: the name is inside what was read, filled up with zeroes.
                let name = unsafe buffer[at + 16..<min(end, count)].prefix { $0 != 0 }
                // Sound: the bytes are copied at once.
                let text = unsafe String(decoding: name, as: UTF8.self)
                note(watch: watch, mask: mask, name: text, in: &seen)
                at = end
            }
            return true
        }
    }

    private func note(watch: Int32, mask: UInt32, name: String, in seen: inout Seen) {
        if mask & UInt32(IN_Q_OVERFLOW) != 0 { seen.overflowed = true }
        // The folder is gone (its end was reported before), or its watch was taken away by us.
        if mask & UInt32(IN_IGNORED) != 0 { return }
        for interest in places.interests[watch] ?? []
        where interest.name == nil || interest.name == name || name.isEmpty {
            seen.roots.insert(interest.root)
        }
    }

    /// Walks all paths again and drops the watches that none needs any more.
    private mutating func replaceWatches() {
        var fresh = Places()
        for (root, path) in paths.enumerated() { fresh.place(path, root: root, descriptor.raw) }
        for watch in places.interests.keys where fresh.interests[watch] == nil {
            _ = inotify_rm_watch(descriptor.raw, watch)
        }
        places = fresh
    }
}

// MARK: - Places

/// Which folders must be watched for which paths.
private struct Places {
    struct Interest: Hashable {
        let root: Int
        /// The only name in the folder that matters; nil: all do.
        let name: String?
    }

    /// Who is interested in the events of a watch.
    var interests: [Int32: Set<Interest>] = [:]
    /// Why a folder could not be watched.
    var failure: Int32?

    /// Watches what the path is, and whatever could make it something else.
    mutating func place(_ path: String, root: Int, _ raw: Int32) {
        var links = 0
        follow(path, root: root, raw, depth: 0, links: &links)
    }

    /// Goes along a path, watching each link on the way and what is at its end.
    private mutating func follow(
        _ path: String, root: Int, _ raw: Int32, depth: Int, links: inout Int
    ) {
        let parts = path.split(separator: "/").filter { $0 != "." }
        var folder = path.hasPrefix("/") ? "/" : "."
        for (index, part) in parts.enumerated() {
            let name = String(part)
            let place = folder == "/" ? "/\(name)" : "\(folder)/\(name)"
            let kind = Places.kind(of: place)
            if kind == nil || kind == .link || (kind == .file && index == parts.count - 1) {
                add(folder, Interest(root: root, name: name), raw)
            }
            if kind == .link {
                links += 1
                guard links <= 40, let target = Places.target(of: place) else { return }
                let rest = parts[(index + 1)...].map { "/\($0)" }.joined()
                let begin = target.hasPrefix("/") ? "" : "\(folder)/"
                return follow(begin + target + rest, root: root, raw, depth: depth, links: &links)
            }
            if kind == nil { return }
            folder = place
        }
        if Places.kind(of: folder) == .folder { walk(folder, root: root, raw, depth: depth) }
    }

    /// Watches a folder and all below it.
    private mutating func walk(_ folder: String, root: Int, _ raw: Int32, depth: Int) {
        let interest = Interest(root: root, name: nil)
        guard add(folder, interest, raw) else { return }
        guard depth < FileWatch.depthMax else {
            failure = ELOOP
            return
        }
        for name in Places.names(in: folder) {
            let place = "\(folder)/\(name)"
            switch Places.kind(of: place) {
            case .folder:
                walk(place, root: root, raw, depth: depth + 1)
            case .link:
                var links = 0
                follow(place, root: root, raw, depth: depth + 1, links: &links)
            case .file, nil:
                break
            }
        }
    }

    /// Adds an interest; false when it was there before or the folder cannot be watched.
    @discardableResult
    private mutating func add(_ folder: String, _ interest: Interest, _ raw: Int32) -> Bool {
        guard interests.count < FileWatch.watchesMax else {
            failure = ENOSPC
            return false
        }
        let mask =
            IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_CLOSE_WRITE | IN_ATTRIB
            | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR
        let watch: Int32 = SystemCall.run {
            // Sound: a terminated string, read during the call only.
            unsafe inotify_add_watch(raw, folder, UInt32(mask))
        }
        guard watch >= 0 else {
            // A folder that has just gone is no failure: its parent reports that.
            if watch != -ENOENT && watch != -ENOTDIR { failure = -watch }
            return false
        }
        return interests[watch, default: []].insert(interest).inserted
    }

    private enum Kind { case file, folder, link }

    private static func kind(of path: String) -> Kind? {
        var status = stat()
        // Sound: a terminated string, and room for the result.
        let result: Int32 = SystemCall.run { unsafe lstat(path, &status) }
        if result < 0 { return nil }
        switch status.st_mode & S_IFMT {
        case S_IFDIR: return .folder
        case S_IFLNK: return .link
        default: return .file
        }
    }

    private static func target(of link: String) -> String? {
        // Sound: the memory is used during the call only.
        unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 4096) { buffer in
            guard let start = buffer.baseAddress else { return nil }
            // Sound: a terminated string, and a buffer with its size.
            let count = SystemCall.run { unsafe readlink(link, start, buffer.count) }
            guard count > 0, count < buffer.count else { return nil }
            // Sound: the bytes that the call wrote, copied at once.
            return unsafe String(
                decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }
    }

    private static func names(in folder: String) -> [String] {
        // Sound: a terminated string; the stream is closed below.
        guard let stream = unsafe opendir(folder) else { return [] }
        defer {
            // Sound: opened above.
            _ = unsafe closedir(stream)
        }
        guard let nameOffset = MemoryLayout<dirent>.offset(of: \.d_name) else { return [] }
        var names: [String] = []
        // Sound: the stream is open; an entry is valid until the next call.
        while let entry = unsafe readdir(stream) {
            // Sound: the address of the name inside the entry, which may be shorter than its type.
            let start = unsafe UnsafeRawPointer(entry) + nameOffset
            // Sound: the name is terminated; copied at once.
            let name = unsafe String(cString: start.assumingMemoryBound(to: CChar.self))
            if name != "." && name != ".." { names.append(name) }
        }
        return names
    }
}
