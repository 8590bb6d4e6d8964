import Inference
import Kernel

/// What the control plane tells a worker; each message is carried out between two ticks.
public enum WorkerMessage: ~Copyable, Sendable {
    /// New documents: replaces the table at once, running exchanges keep theirs.
    case snapshot(Snapshot)
    /// New addresses: replaces all clusters.
    case clusters(ClusterSet)
    /// Accept on this socket; the port's id is the table's.
    case listen(port: UInt32, ListenSocket)
    /// Take datagrams from this socket; the port's id is the table's.
    case listenDatagrams(port: UInt32, DatagramSocket)
    /// Accept what waits, then close the socket of this port.
    case unlisten(port: UInt32)
    /// What became of a request in a pool's queue.
    case grant(Grant)
    /// Tell which connections there are.
    case report(ConnectionReport)
    /// Stop accepting after `delay`, finish what runs, end the thread after `timeout` at the latest; milliseconds.
    case drain(delay: UInt64, timeout: UInt64)
    /// End at once.
    case stop
}

/// The control plane's end of all workers: hands every worker its own copy.
public struct Publisher: Sendable {
    /// One mailbox a worker, in the order of the workers' numbers.
    public let mailboxes: [Mailbox<WorkerMessage>]

    /// Over the workers' mailboxes.
    public init(_ mailboxes: [Mailbox<WorkerMessage>]) {
        self.mailboxes = mailboxes
    }

    /// Gives each worker its copy; false when a mailbox was full, in which case it is to be tried again.
    public func publish(_ snapshot: borrowing Snapshot) -> Bool {
        var all = true
        for mailbox in mailboxes where !mailbox.post(.snapshot(snapshot.clone())) { all = false }
        return all
    }

    /// Gives each worker its copy; false when a mailbox was full, in which case it is to be tried again.
    public func publish(_ clusters: borrowing ClusterSet) -> Bool {
        var all = true
        for mailbox in mailboxes where !mailbox.post(.clusters(clusters.clone())) { all = false }
        return all
    }

    /// Tells every worker to drain; milliseconds.
    public func drain(delay: UInt64, timeout: UInt64) {
        for mailbox in mailboxes { _ = mailbox.post(.drain(delay: delay, timeout: timeout)) }
    }

    /// Tells the worker that asked what became of its request; a full mailbox loses it.
    public func grant(_ grant: Grant) {
        let worker = Int(grant.asker.worker)
        if worker < mailboxes.count { _ = mailboxes[worker].post(.grant(grant)) }
    }

    /// Asks every worker for its connections.
    public func ask(_ report: ConnectionReport) {
        for mailbox in mailboxes where !mailbox.post(.report(report)) { report.noteUnreached() }
    }

    /// Tells every worker to close the sockets of one port.
    public func unlisten(port: UInt32) {
        for mailbox in mailboxes { _ = mailbox.post(.unlisten(port: port)) }
    }
}
