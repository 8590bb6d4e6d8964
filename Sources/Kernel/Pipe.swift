// A buffer that has bytes has an address.
// swift-format-ignore-file: NeverForceUnwrap

import BasicContainers
import CLinux
import Glibc

/// A pipe that carries bytes from one socket to another inside the system, without copying.
///
/// Reuse it only when empty. Making the first one ignores SIGPIPE in the process: unlike `send`,
/// `splice` has no way to ask for EPIPE alone.
public struct Pipe: ~Copyable, Sendable {
    private let output: Descriptor
    private let input: Descriptor
    /// How many bytes are inside.
    public private(set) var count = 0
    /// How many bytes it can hold at best; small packets fill it earlier, by slots.
    public let capacity: Int

    /// Makes a pipe of about this capacity, or of the size that the system still allows.
    public init(capacity wanted: Int = 256 << 10) throws(SystemError) {
        Signals.ignoreBrokenPipe()
        var ends: [Int32] = [-1, -1]
        try SystemCall.check("pipe2") {
            // Sound: room for the two numbers that the call writes.
            unsafe pipe2(&ends, O_NONBLOCK | O_CLOEXEC)
        }
        output = Descriptor(adopting: ends[0])
        input = Descriptor(adopting: ends[1])
        let set = fcntl(input.raw, F_SETPIPE_SZ, Int32(clamping: wanted))
        capacity = Int(set >= 0 ? set : fcntl(input.raw, F_GETPIPE_SZ))
    }

    public var isEmpty: Bool { count == 0 }

    /// Moves bytes from a socket into the pipe.
    ///
    /// Would-block says that the socket has nothing *or* that the pipe is full by slots: unless the
    /// pipe was empty, drain it and fill again before waiting for an event. A short fill says
    /// nothing.
    public mutating func fill(from socket: borrowing Socket, atMost limit: Int) -> IOResult {
        precondition(limit > 0, "Moving nothing would look like the end.")
        let (source, target) = (socket.raw, input.raw)
        let result = SystemCall.run { splice(source, nil, target, nil, limit, Pipe.flags) }
        if result > 0 { count += result }
        return SystemCall.reading(result)
    }

    /// Moves bytes from the pipe into a socket; the pipe must not be empty.
    ///
    /// `moreFollows` lets the system wait for more before it sends a small last packet.
    public mutating func drain(
        to socket: borrowing Socket, moreFollows: Bool = false
    ) -> IOResult {
        precondition(count > 0, "Only a pipe with bytes can be drained.")
        let (source, target, limit) = (output.raw, socket.raw, count)
        let flags = moreFollows ? Pipe.flags | UInt32(SPLICE_F_MORE) : Pipe.flags
        let result = SystemCall.run { splice(source, nil, target, nil, limit, flags) }
        if result > 0 { count -= result }
        return SystemCall.writing(result)
    }

    /// Reads bytes out of the pipe into the free capacity, of which there must be some.
    public mutating func read(into array: inout RigidArray<UInt8>) -> IOResult {
        precondition(count > 0 && !array.isFull, "Only a pipe with bytes can be read, into room.")
        let source = output.raw
        let result: Int = array.edit { bytes in
            // Sound: as inside.
            unsafe bytes.withUnsafeMutableBufferPointer { buffer, used in
                let start = used
                let result = SystemCall.run {
                    // Sound: the span's own memory behind the bytes in use, with its size.
                    unsafe Glibc.read(source, buffer.baseAddress! + start, buffer.count - start)
                }
                if result > 0 { used = start + result }
                return result
            }
        }
        if result > 0 { count -= result }
        return SystemCall.reading(result)
    }

    private static var flags: UInt32 { UInt32(SPLICE_F_MOVE) | UInt32(SPLICE_F_NONBLOCK) }
}
