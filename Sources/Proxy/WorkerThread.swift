import Kernel
import Runtime
import Telemetry

/// Starts workers; each is made on its own thread and never leaves it.
public enum WorkerThread {
    /// A thread that serves until its mailbox says stop or a drain has ended.
    public static func start(
        options: WorkerOptions, mailbox: Mailbox<WorkerMessage>, shard: consuming Shard, cpu: Int?
    ) throws(SystemError) -> Thread {
        let parcel = Lock<Shard?>(shard)
        return try Thread.start(name: "worker-\(options.number)", cpu: cpu) {
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
