import Foundation
import Kernel

/// The origin that reads documents from files and folders, and notices when they change.
///
/// Pull-style: its owner waits until `descriptor` is readable or `delayMilliseconds` are over,
/// then calls `poll`. A file whose text cannot be read, and an object that is refused, keep what
/// was last read from them, as a cluster would keep the object whose update it refused.
public struct ManifestFolder: ~Copyable {
    /// From a change to reading it, so that several files written together are read together.
    static let debounceMilliseconds: UInt64 = 100
    /// The longest that a stream of changes can put off reading.
    static let debounceMillisecondsMax: UInt64 = 1_000
    /// Between two looks at everything, for file systems that do not tell of changes.
    static let scanMilliseconds: UInt64 = 30_000

    private struct Source {
        var stamp: FileStamp?
        /// The stamp is old enough that any later change shows in it.
        var isSettled = false
        /// The same of all files that the documents refer to.
        var attachmentsAreSettled = true
        var digest: UInt64?
        /// The last that could be read.
        var manifest = Manifest()
        /// What is wrong with the text now, when it cannot be read.
        var failure: ConfigProblem?

        /// Whether nobody outside could tell the two apart, places of objects included.
        func saysTheSame(as other: Source) -> Bool {
            digest == other.digest && failure == other.failure
                && manifest.problems == other.manifest.problems
                && manifest.objects.map(\.digest) == other.manifest.objects.map(\.digest)
                && manifest.unreadPolicies.map(\.object.digest)
                    == other.manifest.unreadPolicies.map(\.object.digest)
        }
    }

    private let paths: [String]
    private let kinds: KindRegistry
    private var watch: FileWatch?
    private var watchFailures: [String: ConfigProblem] = [:]
    private var watchedPaths: Set<String> = []

    private var order: [String] = []
    private var sources: [String: Source] = [:]
    private var readStreams: Set<String> = []
    private var listingProblems: [ConfigProblem] = []
    private var unlistedPaths: [String] = []
    private var objects: [ObjectKey: LocatedObject] = [:]
    /// Of `objects`, in their order.
    private var keys: [ObjectKey] = []

    private var firstChange: UInt64?
    private var lastChange: UInt64 = 0
    private var lastScan: UInt64 = 0
    private var isScanRequested = true

    // MARK: - Face

    /// - Parameters:
    ///   - paths: files, folders, or `-` for standard input.
    ///   - kinds: what the documents are decoded as.
    ///   - isWatching: false for a single look, which then takes no descriptor.
    public init(paths: [String], kinds: KindRegistry, isWatching: Bool = true) {
        self.paths = paths
        self.kinds = kinds
        if isWatching { openWatch() }
    }

    /// Readable when files may have changed; -1 when nothing is watched.
    public var descriptor: Int32 {
        switch watch {
        case .some(let watch): watch.raw
        case .none: -1
        }
    }

    /// The time until `poll` has something to do although `descriptor` stays silent.
    public func delayMilliseconds(now: UInt64 = Clock.monotonicMilliseconds()) -> Int32 {
        let due = dueTime
        return due <= now ? 0 : Int32(clamping: due - now)
    }

    /// Makes the next `poll` read all files again, whatever the file system says about them.
    public mutating func requestScan() {
        isScanRequested = true
    }

    /// Looks for changes when it is time to.
    ///
    /// Never waits for changes, though it takes the time of reading what has changed.
    ///
    /// - Parameter now: `Clock.monotonicMilliseconds()`.
    /// - Returns: all documents, the first time and whenever they or their problems changed.
    public mutating func poll(now: UInt64 = Clock.monotonicMilliseconds()) -> DocumentSet? {
        takeChanges(now: now)
        guard dueTime <= now else { return nil }
        let isFirst = lastScan == 0
        let readsAll = isScanRequested
        firstChange = nil
        isScanRequested = false
        lastScan = max(now, 1)
        let hasChanged = scan(readsAll: readsAll, now: now)
        return hasChanged || isFirst ? assemble() : nil
    }

    // MARK: - Time

    private var dueTime: UInt64 {
        if isScanRequested { return 0 }
        let scan = lastScan + Self.scanMilliseconds
        guard let firstChange else { return scan }
        return min(
            scan, lastChange + Self.debounceMilliseconds,
            firstChange + Self.debounceMillisecondsMax)
    }

    private mutating func noteChange(now: UInt64) {
        firstChange = firstChange ?? now
        lastChange = now
    }

    // MARK: - Watching

    private mutating func openWatch() {
        do throws(SystemError) {
            watch = try FileWatch()
        } catch {
            addWatchFailure("", error)
        }
        for path in paths where path != "-" { startWatching(path) }
    }

    private mutating func startWatching(_ path: String) {
        if watchedPaths.contains(path) { return }
        do throws(SystemError) {
            guard watch != nil else { return }
            try watch?.watch(path)
            watchedPaths.insert(path)
            watchFailures[path] = nil
        } catch {
            // A path that does not exist has its own problem, and is tried again at each scan.
            if FileEntry(path: path) != nil { addWatchFailure(path, error) }
        }
    }

    private mutating func addWatchFailure(_ path: String, _ error: SystemError) {
        let seconds = Self.scanMilliseconds / 1_000
        watchFailures[path] = ConfigProblem(
            .warning, reason: ConfigProblem.Reason.unreadable,
            message: "\(path.isEmpty ? "files" : path) cannot be watched (\(error)); "
                + "changes are noticed within \(seconds) seconds, or at once after SIGHUP")
    }

    private mutating func takeChanges(now: UInt64) {
        guard let changes = watch?.changes(), !changes.isEmpty else { return }
        noteChange(now: now)
    }

    // MARK: - Reading

    /// Brings `sources` up to date; true when anything changed.
    private mutating func scan(readsAll: Bool, now: UInt64) -> Bool {
        let wallNow = Date().timeIntervalSince1970
        if watch != nil {
            for path in paths where path != "-" { startWatching(path) }
        }
        let listing = FolderListing(paths: paths, readStreams: readStreams)
        var hasChanged = false
        for file in listing.files {
            if readIfChanged(file, readsAll: readsAll, wallNow: wallNow) { hasChanged = true }
            if sources[file.path]?.isSettled == false, !file.isStream,
                sources[file.path]?.stamp?.modified ?? 0 > wallNow - 0.01
            {
                // Written this very moment, perhaps still being written.
                noteChange(now: now)
            }
        }
        let problems = listing.failures.map { path, failure in
            ConfigProblem(
                at: nil, reason: failure.reason,
                message: "\(path) cannot be read: \(failure.message)")
        }
        hasChanged = hasChanged || problems != listingProblems
        listingProblems = problems
        unlistedPaths = listing.failures.map(\.path)
        return drop(except: listing) || hasChanged
    }

    /// Forgets files that are gone, but not those below a path that could not be listed.
    private mutating func drop(except listing: FolderListing) -> Bool {
        let listed = Set(listing.files.map(\.path))
        let kept = order.filter { path in
            !listed.contains(path)
                && listing.failures.contains { failed, _ in
                    path == failed || path.hasPrefix(failed.hasSuffix("/") ? failed : failed + "/")
                }
        }
        let gone = Set(order).subtracting(listed).subtracting(kept)
        for path in gone { sources[path] = nil }
        let newOrder = listing.files.map(\.path) + kept
        let hasMoved = newOrder != order
        order = newOrder
        return hasMoved
    }

    private mutating func readIfChanged(
        _ file: FolderListing.File, readsAll: Bool, wallNow: Double
    ) -> Bool {
        if file.isStream, readStreams.contains(file.path) { return false }
        var source = sources[file.path] ?? Source()
        let isSame = sources[file.path] != nil && source.isSettled && source.stamp == file.stamp
        let attachmentsAreSame =
            source.attachmentsAreSettled
            && source.manifest.attachments.allSatisfy { FileEntry(path: $0)?.stamp == $1 }
        if isSame, attachmentsAreSame, !readsAll { return false }
        if file.isStream { readStreams.insert(file.path) }
        source.stamp = file.stamp
        let before = source
        read(file.path, into: &source, evenIfSame: !attachmentsAreSame || readsAll)
        // A time older than a moment shows any later change; a younger one may not.
        source.isSettled = file.stamp.map { !$0.isFresh(now: wallNow) } ?? true
        source.attachmentsAreSettled = source.manifest.attachments.values.allSatisfy {
            $0.map { !$0.isFresh(now: wallNow) } ?? true
        }
        sources[file.path] = source
        for path in source.manifest.attachments.keys.sorted() { startWatching(path) }
        return !source.saysTheSame(as: before)
    }

    private func read(_ path: String, into source: inout Source, evenIfSame: Bool) {
        do throws(FileFailure) {
            let bytes = try FileSystem.read(path, bytesMax: DocumentLimits.fileBytesMax)
            let digest = Digest.of(bytes)
            if digest == source.digest, !evenIfSame { return }
            source.digest = digest
            let manifest = ManifestReader.read(
                bytes, file: path, kinds: kinds, keeping: evenIfSame ? Manifest() : source.manifest)
            if manifest.isUnread {
                source.failure = manifest.problems.first
            } else {
                source.failure = nil
                source.manifest = manifest
            }
        } catch {
            source.digest = nil
            source.failure = ConfigProblem(
                at: SourcePosition(file: path, line: 1, column: 1), reason: error.reason,
                message: "the file cannot be read: \(error.message)")
        }
    }

    // MARK: - Putting together

    /// Makes the set of what all files say now, and remembers it as last good.
    private mutating func assemble() -> DocumentSet {
        var set = DocumentSet(problems: listingProblems, unreadPaths: unlistedPaths)
        set.problems += watchFailures.sorted { $0.key < $1.key }.map(\.value)
        var found: [ObjectKey: LocatedObject] = [:]
        for path in order {
            guard let source = sources[path] else { continue }
            if let failure = source.failure {
                set.unreadPaths.append(path)
                set.problems.append(failure)
                if let notice = keepingNotice(path, source) { set.problems.append(notice) }
            } else {
                set.problems += source.manifest.problems
            }
            found.reserveCapacity(objects.count)
            for object in source.manifest.objects {
                if let first = found[object.key] {
                    set.problems.append(duplicateProblem(object, first: first))
                    if object.resource is BackendTLSPolicy {
                        set.refusedPolicies.append(
                            RefusedPolicy(object: object, cause: "another document has its name"))
                    }
                } else {
                    found[object.key] = object
                }
            }
        }
        for path in order {
            for policy in sources[path]?.manifest.unreadPolicies ?? [] {
                var policy = policy
                // Another document of its name is no version of it.
                if found[policy.object.key] != nil { policy.yields = false }
                set.refusedPolicies.append(policy)
            }
        }
        for path in order {
            for key in sources[path]?.manifest.refused ?? [] where found[key] == nil {
                guard let last = objects[key] else {
                    if key.kind == Namespace.kind { set.unreadNamespaces.insert(key.name) }
                    continue
                }
                found[key] = last
                set.problems.append(
                    last.problem(
                        .notice, reason: ConfigProblem.Reason.invalidValue,
                        "the object as it was last read here stays in force"))
            }
        }
        set.problems += ignoredNotices()
        for (key, object) in found {
            let generation = generation(of: object, key)
            if generation != object.generation { found[key]?.generation = generation }
        }
        objects = found
        set.objects = inOrder(found)
        sort(&set.problems)
        return set
    }

    /// The objects by kind, group, namespace and name; most often the same ones as before.
    private mutating func inOrder(_ found: [ObjectKey: LocatedObject]) -> [LocatedObject] {
        if keys.count == found.count {
            let same = keys.compactMap { found[$0] }
            if same.count == found.count { return same }
        }
        let sorted = found.values.sorted { $0.key < $1.key }
        keys = sorted.map(\.key)
        return sorted
    }

    /// 1 more than before when the object declares something else than before.
    private func generation(of object: LocatedObject, _ key: ObjectKey) -> Int {
        if let given = object.resource.metadata.generation { return given }
        guard let before = objects[key] else { return 1 }
        let isSame = before.declaredDigest == object.declaredDigest
        return isSame ? before.generation : before.generation + 1
    }

    private func duplicateProblem(
        _ object: LocatedObject, first: LocatedObject
    ) -> ConfigProblem {
        ConfigProblem(
            at: object.position, object: object.reference,
            reason: ConfigProblem.Reason.duplicateObject,
            message: "already declared at \(first.position); this one is ignored")
    }

    private func keepingNotice(_ path: String, _ source: Source) -> ConfigProblem? {
        let count = source.manifest.objects.count
        if count == 0 { return nil }
        return ConfigProblem(
            .notice, at: source.failure?.position, reason: ConfigProblem.Reason.syntax,
            message: "\(count == 1 ? "the object" : "the \(count) objects") last read from "
                + "\(path) \(count == 1 ? "stays" : "stay") in force")
    }

    /// One notice for each kind that is not read, at its first document.
    private func ignoredNotices() -> [ConfigProblem] {
        var notices: [String: (notice: ConfigProblem, count: Int)] = [:]
        for path in order {
            for ignored in sources[path]?.manifest.ignored ?? [] {
                let group = APIVersion(ignored.apiVersion).group
                let key = "\(ignored.kind).\(group)"
                if notices[key] != nil {
                    notices[key]?.count += 1
                    continue
                }
                notices[key] = (ignoredNotice(ignored, group: group), 1)
            }
        }
        return notices.values.map { notice, count in
            var notice = notice
            if count > 1 { notice.message += " (\(count) documents)" }
            return notice
        }
    }

    private func ignoredNotice(_ ignored: Manifest.Ignored, group: String) -> ConfigProblem {
        let name = "\(ignored.kind) of \(ignored.apiVersion)"
        let meant = kinds.nearestKind(to: ignored.kind, group: group)
        var message = "\(name) is not a kind that ai-gateway reads; ignored"
        if let meant { message += "; did you mean \(meant)?" }
        return ConfigProblem(
            meant == nil ? .notice : .warning, at: ignored.position,
            reason: ConfigProblem.Reason.unknownKind, message: message)
    }

    /// By place, those without one first; equal places keep the order of finding.
    private func sort(_ problems: inout [ConfigProblem]) {
        let sorted = problems.enumerated().sorted { a, b in
            switch (a.element.position, b.element.position) {
            case (nil, nil):
                a.element.message == b.element.message
                    ? a.offset < b.offset : a.element.message < b.element.message
            case (nil, _?): true
            case (_?, nil): false
            case (let left?, let right?): left == right ? a.offset < b.offset : left < right
            }
        }
        problems = sorted.map(\.element)
    }
}
