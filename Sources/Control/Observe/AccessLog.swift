import BasicContainers
import Foundation
import Kernel
import Synchronization
import Telemetry

/// The exporter's thread: takes access records from the workers' rings and writes one JSON line each.
///
/// Records are dropped and counted where this thread cannot keep up; workers never wait for it.
public final class AccessLog: Sendable {
    /// Between two looks into the rings.
    private static let pauseMilliseconds: UInt32 = 50
    /// Lines are written together up to this many bytes.
    private static let batchBytes = 64 * 1024

    private let rings: [ByteRing]
    private let published: PublishedState
    private let target: AccessLogTarget
    private let mustReopen = Atomic<Bool>(false)
    private let mustStop = Atomic<Bool>(false)

    /// Over one ring a worker.
    public init(rings: [ByteRing], target: AccessLogTarget, published: PublishedState) {
        self.rings = rings
        self.target = target
        self.published = published
    }

    /// Opens the file again, as after a rotation.
    public func reopen() { mustReopen.store(true, ordering: .relaxed) }

    /// Writes what is left, then ends the thread.
    public func stop() { mustStop.store(true, ordering: .relaxed) }

    /// The thread's work.
    public func run() {
        var output = open()
        var record = RigidArray<UInt8>(capacity: 16 * 1024)
        var lines: [UInt8] = []
        lines.reserveCapacity(Self.batchBytes + 16 * 1024)
        while true {
            let isLast = mustStop.load(ordering: .relaxed)
            if mustReopen.exchange(false, ordering: .relaxed) { output = open() }
            let names = published.withLock { $0.names }
            for ring in rings {
                while ring.read(into: &record) {
                    _ = AccessLogLine.write(record.span, names: names, into: &lines)
                    record.removeAll()
                    if lines.count >= Self.batchBytes { write(&lines, to: output) }
                }
            }
            write(&lines, to: output)
            if isLast { return }
            Thread.sleep(milliseconds: Self.pauseMilliseconds)
        }
    }

    private func open() -> FileHandle? {
        switch target {
        case .off: return nil
        case .stdout: return FileHandle.standardOutput
        case .file(let path):
            if !FileManager.default.fileExists(atPath: path) {
                _ = FileManager.default.createFile(atPath: path, contents: nil)
            }
            let file = FileHandle(forWritingAtPath: path)
            _ = try? file?.seekToEnd()
            return file
        }
    }

    private func write(_ lines: inout [UInt8], to output: FileHandle?) {
        if lines.isEmpty { return }
        try? output?.write(contentsOf: lines)
        lines.removeAll(keepingCapacity: true)
    }
}
