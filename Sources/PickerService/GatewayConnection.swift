import HTTPCodec
import Kernel

/// A gateway's connection: HTTP/2 whose streams are calls.
struct GatewayConnection: ~Copyable {
    let socket: Socket
    var session: HTTP2Session
    /// Bytes that the socket did not take.
    var waiting = Buffer()
    /// In the list of those that may have something to send.
    var isListed = false
    /// All is said, and the gateway closes it.
    var isParting = false

    init(_ socket: consuming Socket, _ session: consuming HTTP2Session) {
        self.socket = socket
        self.session = session
    }
}
