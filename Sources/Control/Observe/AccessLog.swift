import BasicContainers
import Kernel
import Logging
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
    /// Pauses for an output that takes nothing more, before lines are dropped.
    private static let fullPauses = 20

    private let rings: [ByteRing]
    private let published: PublishedState
    private let target: AccessLogTarget
    private let log: Logger
    /// Open from the start on, so that a file that cannot be written keeps the process from starting.
    private let opened = Lock<Descriptor?>(nil)
    private let mustReopen = Atomic<Bool>(false)
    private let mustStop = Atomic<Bool>(false)
    /// The last lines were written, so that the next failure is news.
    private let mayComplain = Atomic<Bool>(true)

    /// Over one ring a worker; throws where the lines cannot be written to.
    public init(
        rings: [ByteRing], target: AccessLogTarget, published: PublishedState, log: Logger
    ) throws(ObserverRefused) {
        self.rings = rings
        self.target = target
        self.published = published
        self.log = log
        do throws(SystemError) {
            var output = try Self.open(target)
            opened.withLock { $0 = output.take() }
        } catch {
            throw ObserverRefused(
                "--access-log \(target.text) cannot be opened (\(error)): name a file that may be written, stdout or off"
            )
        }
    }

    /// Opens the file again, as after a rotation.
    public func reopen() { mustReopen.store(true, ordering: .relaxed) }

    /// Writes what is left, then ends the thread.
    public func stop() { mustStop.store(true, ordering: .relaxed) }

    /// The thread's work.
    public func run() {
        var output = opened.withLock { $0.take() }
        var record = RigidArray<UInt8>(capacity: 16 * 1024)
        var lines: [UInt8] = []
        lines.reserveCapacity(Self.batchBytes + 16 * 1024)
        while true {
            let isLast = mustStop.load(ordering: .relaxed)
            if mustReopen.exchange(false, ordering: .relaxed) { reopen(&output) }
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

    private static func open(_ target: AccessLogTarget) throws(SystemError) -> Descriptor? {
        switch target {
        case .off: return nil
        case .stdout: return try Descriptor.duplicate(of: 1)
        case .file(let path): return try Descriptor.appending(to: path)
        }
    }

    /// Takes the file that now has the name; the old one goes on where there is none to be had.
    private func reopen(_ output: inout Descriptor?) {
        do throws(SystemError) {
            output = try Self.open(target)
        } catch {
            log.error(
                "the access log cannot be opened again; the old file goes on",
                metadata: ["file": "\(target.text)", "cause": "\(error)"])
        }
    }

    /// Writes the lines, or drops them where the system takes none; that is said once until some are taken again.
    private func write(_ lines: inout [UInt8], to output: borrowing Descriptor?) {
        defer { lines.removeAll(keepingCapacity: true) }
        if lines.isEmpty { return }
        var patience = Self.fullPauses
        var from = 0
        while from < lines.count {
            switch Self.write(lines.span.extracting(from..<lines.count), to: output) {
            case .bytes(let count):
                from += count
            case .wouldBlock where patience > 0:
                patience -= 1
                Thread.sleep(milliseconds: Self.pauseMilliseconds)
            case .wouldBlock, .end:
                return say("nobody reads it")
            case .failed(let code):
                return say(SystemError.sentence(for: code))
            }
        }
        mayComplain.store(true, ordering: .relaxed)
    }

    private static func write(_ bytes: Span<UInt8>, to output: borrowing Descriptor?) -> IOResult {
        switch output {
        case .some(let output): return output.write(bytes)
        case .none: return .bytes(bytes.count)
        }
    }

    private func say(_ cause: String) {
        guard mayComplain.exchange(false, ordering: .relaxed) else { return }
        log.error(
            "the access log cannot be written; its lines are lost",
            metadata: ["file": "\(target.text)", "cause": "\(cause)"])
    }
}

extension AccessLogTarget {
    /// As the option has it.
    fileprivate var text: String {
        switch self {
        case .off: "off"
        case .stdout: "stdout"
        case .file(let path): path
        }
    }
}
