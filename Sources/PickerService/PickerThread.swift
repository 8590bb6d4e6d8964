import Kernel
import Runtime

/// What the picker's service is made with.
public struct PickerOptions: Sendable {
    /// Connections of gateways, at most.
    public var connectionsMax: Int
    /// Calls at once, over all connections.
    public var callsMax: Int
    /// Endpoints that are told of each request, 1 ...
    ///
    /// 8: the one that it is given, and those to go on to.
    public var endpointsMax: Int
    /// All buffers come out of this.
    public var budget: Budget?
    /// But for content that is held as a whole: that comes out of this.
    public var heldBudget: Budget?

    public init(
        connectionsMax: Int = 4096, callsMax: Int = 65_536, endpointsMax: Int = 1,
        budget: Budget? = nil, heldBudget: Budget? = nil
    ) {
        self.endpointsMax = endpointsMax
        self.connectionsMax = connectionsMax
        self.callsMax = callsMax
        self.budget = budget
        self.heldBudget = heldBudget
    }
}

/// Starts the picker's service on a thread of its own.
public enum PickerThread {
    /// A thread that serves until its mailbox says stop or a drain has ended.
    ///
    /// The mailbox brings sockets to listen on, the pool among the clusters, and grants of the pool's queue: the service
    /// is worker 0 of its publisher.
    public static func start(
        options: PickerOptions, mailbox: Mailbox<WorkerMessage>
    ) throws(SystemError) -> Thread {
        try Thread.start(name: "picker") {
            do throws(SystemError) {
                var server = try PickerServer(options: options, mailbox: mailbox)
                server.run()
            } catch {
                preconditionFailure("The picker's service has a loop: \(error)")
            }
        }
    }
}
