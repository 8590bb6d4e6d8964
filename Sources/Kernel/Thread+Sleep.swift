import Glibc

extension Thread {
    /// Lets the calling thread rest; never on a worker.
    public static func sleep(milliseconds: UInt32) {
        var rest = timespec(
            tv_sec: Int(milliseconds / 1000), tv_nsec: Int(milliseconds % 1000) * 1_000_000)
        var left = timespec()
        // Sound: both live during the call; an interrupted sleep goes on with what is left.
        while unsafe nanosleep(&rest, &left) != 0, errno == EINTR { rest = left }
    }
}
