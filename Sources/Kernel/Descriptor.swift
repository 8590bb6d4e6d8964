import CLinux
import Glibc

/// Owner of one file descriptor; the end of its life closes it.
public struct Descriptor: ~Copyable, Sendable {
    /// The number the system knows it by; valid as long as this value lives.
    public let raw: Int32

    /// Takes ownership of an open descriptor.
    public init(adopting raw: Int32) {
        precondition(raw >= 0, "A descriptor is not negative.")
        self.raw = raw
    }

    /// Opens a file to write at its end and makes it if there is none (rights 0640).
    public static func appending(to path: String) throws(SystemError) -> Descriptor {
        let flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC
        return Descriptor(
            adopting: try SystemCall.check("open") {
                // Sound: a terminated string, read during the call only.
                unsafe open(path, flags, 0o640)
            })
    }

    /// A second descriptor of what somebody else owns, such as standard output.
    public static func duplicate(of raw: Int32) throws(SystemError) -> Descriptor {
        Descriptor(adopting: try SystemCall.check("fcntl") { fcntl(raw, F_DUPFD_CLOEXEC, 0) })
    }

    /// Gives ownership away: the caller closes it.
    public consuming func release() -> Int32 {
        let raw = raw
        discard self
        return raw
    }

    /// Writes as much as the system takes now; waits when the descriptor is a blocking one.
    public func write(_ bytes: Span<UInt8>) -> IOResult {
        let raw = raw
        // Sound: as inside.
        return unsafe bytes.withUnsafeBufferPointer { buffer in
            SystemCall.writing(
                // Sound: the span's own bytes, read during the call only.
                SystemCall.run { unsafe Glibc.write(raw, buffer.baseAddress, buffer.count) })
        }
    }

    deinit {
        // Never retried: Linux frees the number even when close is interrupted.
        _ = close(raw)
    }
}
