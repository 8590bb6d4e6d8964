import CLinux
import Glibc

extension SystemError {
    /// Why an address cannot be listened on, as far as a person can do something about it.
    public enum ListenCause: Sendable, Equatable {
        /// Another process has it (EADDRINUSE).
        case inUse
        /// The process may not have it (EACCES, EPERM).
        case denied
        /// It is not one of this machine (EADDRNOTAVAIL).
        case notLocal
        /// The machine has no such family of addresses (EAFNOSUPPORT).
        case noFamily
        case other
    }

    /// The cause that this error stands for.
    public var listenCause: ListenCause {
        switch code {
        case EADDRINUSE: .inUse
        case EACCES, EPERM: .denied
        case EADDRNOTAVAIL: .notLocal
        case EAFNOSUPPORT: .noFamily
        default: .other
        }
    }
}
