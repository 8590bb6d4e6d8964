import Kernel

/// What the command line of `run` or `picker` says (`interface.md` §1).
public struct RunOptions: Sendable {
    /// What the documents are read for.
    public enum Purpose: Sendable, Equatable {
        /// To serve their Gateways.
        case gateway
        /// To pick endpoints of one pool for other gateways; nil: of the only one there is.
        case picker(pool: String?)
    }

    /// Files, folders, or `-` for standard input.
    public var paths: [String]
    public var workers: Int
    /// Where the admin port listens; nil: off.
    public var admin: SocketAddress?
    /// A file whose first line is the admin port's token.
    public var adminTokenFile: String?
    /// Where the metrics port listens; nil: off.
    public var metrics: SocketAddress?
    public var placement: Placement
    public var drainDelayMilliseconds: UInt64
    public var drainTimeoutMilliseconds: UInt64
    /// Share ports that another process holds.
    public var takesOver: Bool
    public var accessLog: AccessLogTarget
    public var purpose = Purpose.gateway

    public init(
        paths: [String], workers: Int, admin: SocketAddress? = nil, adminTokenFile: String? = nil,
        metrics: SocketAddress? = nil, placement: Placement = Placement(),
        drainDelayMilliseconds: UInt64 = 0, drainTimeoutMilliseconds: UInt64 = 600_000,
        takesOver: Bool = false, accessLog: AccessLogTarget = .stdout
    ) {
        self.paths = paths
        self.workers = workers
        self.admin = admin
        self.adminTokenFile = adminTokenFile
        self.metrics = metrics
        self.placement = placement
        self.drainDelayMilliseconds = drainDelayMilliseconds
        self.drainTimeoutMilliseconds = drainTimeoutMilliseconds
        self.takesOver = takesOver
        self.accessLog = accessLog
    }
}

/// Where access log lines go (`--access-log`).
public enum AccessLogTarget: Sendable, Equatable {
    case stdout
    case off
    /// A file, appended to and opened again on SIGHUP.
    case file(String)
}
