// The floor under every proxy: a relay that joins each client's connection to one of its own and parses nothing.
//
//     relay copy|splice PORT ORIGIN-PORT
//
// `copy` takes bytes with recv and sends them on with send; `splice` moves them through a pipe inside of the kernel.
// One thread, one epoll, edges; a read that did not fill its room is taken as the last one, as proxies do.
import CLinux
import Glibc

/// One way of a connection: what comes from a descriptor and goes to its peer.
private struct Way {
    /// The descriptor that it goes to; -1 where the connection is gone.
    var peer: Int32 = -1
    /// What the peer had no room for.
    var kept: UnsafeMutableRawPointer?
    var keptFrom = 0
    var keptCount = 0
    /// The pipe that splice needs, and how much is in it.
    var pipeOut: Int32 = -1
    var pipeIn: Int32 = -1
    var piped = 0
    /// No more comes; the peer was told.
    var isEnded = false
}

private enum Outcome {
    case waiting, ended, broken
}

private let room = 1 << 16
private let pipeRoom = 1 << 20
private let edges = EPOLLIN.rawValue | EPOLLOUT.rawValue | EPOLLRDHUP.rawValue | 1 << 31

private struct Relay: ~Copyable {
    let isSplicing: Bool
    let origin: sockaddr_in
    let epoll = epoll_create1(0)
    let listener: Int32
    /// By the descriptor that bytes come from.
    let ways = UnsafeMutablePointer<Way>.allocate(capacity: 1 << 16)
    let buffer = UnsafeMutableRawPointer.allocate(byteCount: room, alignment: 64)

    init(isSplicing: Bool, port: UInt16, origin: UInt16) {
        self.isSplicing = isSplicing
        self.origin = loopback(origin)
        listener = stream(SOCK_NONBLOCK)
        ways.initialize(repeating: Way(), count: 1 << 16)
        var one: Int32 = 1
        setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, 4)
        var address = loopback(port)
        let isBound = withAddress(&address) { bind(listener, $0, $1) }
        guard isBound == 0, listen(listener, 4096) == 0 else { fail("cannot listen at \(port)") }
        watch(listener, EPOLLIN.rawValue)
    }

    func watch(_ descriptor: Int32, _ events: UInt32) {
        var event = epoll_event(events: events, data: epoll_data_t(fd: descriptor))
        guard epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) == 0 else { fail("epoll_ctl") }
    }

    func run() -> Never {
        let events = UnsafeMutablePointer<epoll_event>.allocate(capacity: 256)
        while true {
            let count = epoll_wait(epoll, events, 256, -1)
            for index in 0..<Int(max(count, 0)) {
                let descriptor = events[index].data.fd
                if descriptor == listener {
                    accept()
                } else {
                    turn(descriptor, events[index].events)
                }
            }
        }
    }

    /// Takes every client that waits, each with a connection to the origin.
    func accept() {
        while true {
            let client = accept4(listener, __SOCKADDR_ARG(__sockaddr__: nil), nil, nonBlocking)
            guard client >= 0 else { return }
            let server = stream(SOCK_NONBLOCK)
            var address = origin
            let done = withAddress(&address) { connect(server, $0, $1) }
            guard done == 0 || errno == EINPROGRESS else {
                close(client)
                close(server)
                continue
            }
            join(client, server)
            join(server, client)
            watch(client, edges)
            watch(server, edges)
        }
    }

    func join(_ descriptor: Int32, _ peer: Int32) {
        var one: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &one, 4)
        var way = Way(peer: peer)
        if isSplicing {
            var ends: [Int32] = [-1, -1]
            guard pipe2(&ends, O_NONBLOCK) == 0 else { fail("pipe2") }
            _ = fcntl(ends[1], F_SETPIPE_SZ, Int32(pipeRoom))
            (way.pipeOut, way.pipeIn) = (ends[0], ends[1])
        }
        ways[Int(descriptor)] = way
    }

    /// What an event of a descriptor allows: bytes from it, and bytes to it that had no room.
    func turn(_ descriptor: Int32, _ events: UInt32) {
        let peer = ways[Int(descriptor)].peer
        guard peer >= 0 else { return }
        if events & EPOLLERR.rawValue != 0 { return part(descriptor, peer) }
        let isLast = events & (EPOLLRDHUP.rawValue | EPOLLHUP.rawValue) != 0
        if events & (EPOLLIN.rawValue | EPOLLRDHUP.rawValue | EPOLLHUP.rawValue) != 0,
            move(from: descriptor, isLast) == .broken
        {
            return part(descriptor, peer)
        }
        let back = ways[Int(peer)]
        if events & EPOLLOUT.rawValue != 0, back.keptCount > 0 || back.piped > 0,
            move(from: peer, true) == .broken
        {
            return part(descriptor, peer)
        }
        if ways[Int(descriptor)].isEnded, ways[Int(peer)].isEnded { part(descriptor, peer) }
    }

    func move(from descriptor: Int32, _ isLast: Bool) -> Outcome {
        let way = ways + Int(descriptor)
        guard !way.pointee.isEnded else { return .ended }
        let outcome = isSplicing ? splice(descriptor, way) : copy(descriptor, way, isLast)
        if outcome == .ended {
            way.pointee.isEnded = true
            shutdown(way.pointee.peer, Int32(SHUT_WR))
        }
        return outcome
    }

    /// `isLast`: more than what fills the room may be behind a short read, as there will be no edge for it.
    func copy(_ descriptor: Int32, _ way: UnsafeMutablePointer<Way>, _ isLast: Bool) -> Outcome {
        while true {
            if way.pointee.keptCount > 0, let kept = way.pointee.kept {
                let from = kept + way.pointee.keptFrom
                let sent = send(way.pointee.peer, from, way.pointee.keptCount, noSignal)
                guard sent > 0 else { return wouldWait() }
                way.pointee.keptFrom += sent
                way.pointee.keptCount -= sent
                guard way.pointee.keptCount == 0 else { return .waiting }
            }
            let count = recv(descriptor, buffer, room, 0)
            guard count > 0 else { return count == 0 ? .ended : wouldWait() }
            let sent = max(send(way.pointee.peer, buffer, count, noSignal), 0)
            if sent < count {
                guard sent > 0 || wouldWait() == .waiting else { return .broken }
                keep(way, buffer + sent, count - sent)
                return .waiting
            }
            guard count == room || isLast else { return .waiting }
        }
    }

    func keep(_ way: UnsafeMutablePointer<Way>, _ bytes: UnsafeMutableRawPointer, _ count: Int) {
        let kept = way.pointee.kept ?? .allocate(byteCount: room, alignment: 64)
        kept.copyMemory(from: bytes, byteCount: count)
        way.pointee.kept = kept
        way.pointee.keptFrom = 0
        way.pointee.keptCount = count
    }

    func splice(_ descriptor: Int32, _ way: UnsafeMutablePointer<Way>) -> Outcome {
        let flags = UInt32(SPLICE_F_MOVE | SPLICE_F_NONBLOCK)
        while true {
            if way.pointee.piped > 0 {
                let sent = Glibc.splice(
                    way.pointee.pipeOut, nil, way.pointee.peer, nil, way.pointee.piped, flags)
                guard sent > 0 else { return wouldWait() }
                way.pointee.piped -= sent
                guard way.pointee.piped == 0 else { continue }
            }
            let count = Glibc.splice(descriptor, nil, way.pointee.pipeIn, nil, pipeRoom, flags)
            guard count > 0 else { return count == 0 ? .ended : wouldWait() }
            way.pointee.piped = count
        }
    }

    /// Closes both ends.
    func part(_ one: Int32, _ other: Int32) {
        for descriptor in [one, other] {
            let way = ways[Int(descriptor)]
            way.kept?.deallocate()
            if way.pipeIn >= 0 {
                close(way.pipeIn)
                close(way.pipeOut)
            }
            ways[Int(descriptor)] = Way()
            close(descriptor)
        }
    }
}

private let noSignal = Int32(MSG_NOSIGNAL)
private let nonBlocking = Int32(SOCK_NONBLOCK.rawValue)

/// Whether the call before it failed for want of bytes or room only.
private func wouldWait() -> Outcome {
    errno == EAGAIN || errno == EINTR ? .waiting : .broken
}

private func stream(_ flags: __socket_type) -> Int32 {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | flags.rawValue), 0)
    guard descriptor >= 0 else { fail("no socket") }
    return descriptor
}

private func loopback(_ port: UInt16) -> sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    return address
}

private func withAddress(
    _ address: inout sockaddr_in, _ call: (__CONST_SOCKADDR_ARG, socklen_t) -> Int32
) -> Int32 {
    withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            call(__CONST_SOCKADDR_ARG(__sockaddr__: $0), socklen_t(MemoryLayout<sockaddr_in>.size))
        }
    }
}

private func fail(_ words: String) -> Never {
    let line = "relay: \(words): \(String(cString: strerror(errno)))\n"
    _ = write(2, line, line.utf8.count)
    exit(1)
}

@main
private struct Program {
    static func main() {
        let words = CommandLine.arguments
        guard words.count == 4, let port = UInt16(words[2]), let origin = UInt16(words[3]),
            ["copy", "splice"].contains(words[1])
        else {
            fail("copy|splice PORT ORIGIN-PORT")
        }
        signal(SIGPIPE, SIG_IGN)  // splice has no way to ask for EPIPE alone
        Relay(isSplicing: words[1] == "splice", port: port, origin: origin).run()
    }
}
