import Kernel
import Runtime
import Telemetry

/// Starts workers; each is made on its own thread and never leaves it.
public enum WorkerThread {
    /// A thread that serves until its mailbox says stop or a drain has ended.
    ///
    /// It is not pinned to a core: where others need one too, the scheduler knows better which. Pinned, two workers on two
    /// cores with the load and the origin beside them answered 40,000 requests a second, and now 64,000
    /// (`bench/run get-2-cores`).
    public static func start(
        options: WorkerOptions, mailbox: Mailbox<WorkerMessage>, shard: consuming Shard
    ) throws(SystemError) -> Thread {
        let parcel = Lock<Shard?>(shard)
        return try Thread.start(name: "worker-\(options.number)") {
            guard let shard = parcel.withLock({ $0.take() }) else { return }
            do throws(SystemError) {
                var worker = try Worker(options: options, mailbox: mailbox, shard: shard)
                worker.run()
            } catch {
                preconditionFailure("A worker has a loop: \(error)")
            }
        }
    }
}
