import CLinux
import Glibc
import Synchronization

/// A thread of the system that runs one function.
public struct Thread: Sendable {
    private let handle: Handle

    /// Starts a thread.
    ///
    /// The name is cut to 15 bytes. `nice` is its own (Linux counts per thread); lowering it is
    /// refused silently.
    public static func start(
        name: String, nice: Int? = nil, _ body: @escaping @Sendable () -> Void
    ) throws(SystemError) -> Thread {
        let start = UnsafeMutablePointer<Start>.allocate(capacity: 1)
        // Sound: the new thread takes the value out and frees the memory.
        unsafe start.initialize(to: Start(name: name, nice: nice, body: body))
        var thread = pthread_t()
        // Sound: the thread gets the one pointer to its start value; it owns it from then on.
        let result = unsafe pthread_create(&thread, nil, Thread.main, start)
        if result != 0 {
            // Sound: there is no thread that would free it.
            unsafe start.deinitialize(count: 1)
            // Sound: as above.
            unsafe start.deallocate()
            throw SystemError("pthread_create", result)
        }
        return Thread(handle: Handle(thread: thread))
    }

    /// Waits for the end of the thread; once only.
    public func join() { handle.join() }

    /// Waits for the end of the thread for so long; false when it runs on, and then it may be waited for again.
    public func join(atMostMilliseconds limit: Int) -> Bool { handle.join(limit) }

    private struct Start {
        let name: String
        let nice: Int?
        let body: @Sendable () -> Void
    }

    private typealias Main = @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer?

    private static let main: Main = { pointer in
        // Sound: the pointer that `start` gave away, of this type and used by nobody else.
        guard let start = unsafe pointer?.assumingMemoryBound(to: Start.self) else {
            preconditionFailure("A thread gets what it starts with.")
        }
        // Sound: as above.
        let value = unsafe start.move()
        // Sound: as above.
        unsafe start.deallocate()
        // Sound: a terminated string of at most 15 bytes, read during the call only.
        _ = unsafe pthread_setname_np(pthread_self(), Thread.cut(value.name))
        if let nice = value.nice {
            _ = setpriority(PRIO_PROCESS, id_t(gettid()), Int32(clamping: nice))
        }
        value.body()
        return nil
    }

    /// The longest beginning of whole characters that fits into 15 bytes.
    private static func cut(_ name: String) -> String {
        var result = ""
        for character in name {
            if result.utf8.count + character.utf8.count > 15 { break }
            result.append(character)
        }
        return result
    }

    /// The thread's handle, joined or detached exactly once.
    private final class Handle: Sendable {
        private let thread: pthread_t
        private let isJoined = Atomic<Bool>(false)

        init(thread: pthread_t) { self.thread = thread }

        func join() {
            let before = isJoined.exchange(true, ordering: .relaxed)
            precondition(!before, "A thread is joined once.")
            _ = pthread_join(thread, nil)
        }

        func join(_ milliseconds: Int) -> Bool {
            let before = isJoined.exchange(true, ordering: .relaxed)
            precondition(!before, "A thread is joined once.")
            var end = timespec()
            // Sound: both pointers are valid for the calls, which write or read one value.
            unsafe clock_gettime(CLOCK_MONOTONIC, &end)
            let nanoseconds = end.tv_nsec + milliseconds % 1000 * 1_000_000
            end.tv_sec += milliseconds / 1000 + nanoseconds / 1_000_000_000
            end.tv_nsec = nanoseconds % 1_000_000_000
            // Sound: as above.
            if unsafe pthread_clockjoin_np(thread, nil, CLOCK_MONOTONIC, &end) == 0 { return true }
            isJoined.store(false, ordering: .relaxed)
            return false
        }

        deinit {
            if !isJoined.load(ordering: .relaxed) { _ = pthread_detach(thread) }
        }
    }
}

/// Sets of cores as the system has them.
enum CoreSet {
    /// Words of a set that has room for 8,192 cores.
    private static var words: Int { 128 }

    /// The cores that the calling thread may use, in order.
    static func allowed() -> [Int] {
        // Sound: as inside.
        unsafe withUnsafeTemporaryAllocation(of: cpu_set_t.self, capacity: 8) { sets in
            // Sound: a set is bits; eight of them in a row are one with eight times the cores.
            unsafe sets.initialize(repeating: cpu_set_t())
            let bits = UnsafeMutableRawBufferPointer(sets)
            guard let set = sets.baseAddress else { return [] }
            // Sound: the set and its size belong together.
            if unsafe sched_getaffinity(0, bits.count, set) != 0 { return [] }
            return (0..<words * 64).filter { core in
                // Sound: the byte is inside the set; bits count up as the machine is little-endian.
                unsafe bits[core / 8] & 1 << UInt8(core % 8) != 0
            }
        }
    }
}
