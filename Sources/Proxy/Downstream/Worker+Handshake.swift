import BasicContainers
import Kernel
import Routing
import Runtime
import TLS
import Telemetry

/// A client's first bytes on a TLS port: which name it asks for, then the handshake.
extension Worker {
    /// Collects the ClientHello, chooses the listener by its server name, and begins the handshake.
    ///
    /// A signature costs as much as a hundred requests: those of a burst wait for each other in the ready ring, a share of
    /// each tick is theirs, and streams under way go on in between.
    mutating func readHello(_ id: SlotID) {
        if handshakeTime <= 0 {
            enqueue(downstream: id)
            return
        }
        var bytes = RigidArray<UInt8>()
        swap(&bytes, &cipher.input)
        bytes.removeAll()
        let result = downstreams[id].link.socket.read(into: &bytes)
        var goesOn = false
        switch result {
        case .bytes:
            goesOn = buffers.append(bytes.span, to: &downstreams[id].input)
            if !goesOn { close(downstream: id) }
        case .wouldBlock: downstreams[id].link.isReadable = false
        case .end, .failed: close(downstream: id)
        }
        swap(&bytes, &cipher.input)
        if goesOn { judgeHello(id) }
    }

    mutating func judgeHello(_ id: SlotID) {
        var hello = Buffer()
        swap(&hello, &downstreams[id].input)
        switch ClientHello.parse(hello.span) {
        case .incomplete:
            swap(&hello, &downstreams[id].input)
            if downstreams[id].link.isReadable { enqueue(downstream: id) }
        case .notTLS, .malformed:
            shard.add(.tlsFailures, 1)
            close(downstream: id)
        case .hello(let facts):
            switch openListener(id, facts.serverName) {
            case .session:
                let began = clock.nanoseconds()
                advanceHandshake(id, hello.span)
                handshakeTime -= Int64(clock.nanoseconds() &- began)
            case .passes:
                swap(&hello, &downstreams[id].input)
                startStream(id)
            case .isClosed: break
            case .nothing:
                shard.add(.tlsFailures, 1)
                close(downstream: id)
            }
        }
        buffers.reclaim(&hello)
    }

    /// What a ClientHello leads to.
    private enum Opened {
        /// A handshake.
        case session
        /// The hello goes on to a backend as it is.
        case passes
        /// The listener has no backend: the connection was closed.
        case isClosed
        /// No listener has the name.
        case nothing
    }

    /// Finds the listener that the server name belongs to, and begins what it is for.
    private mutating func openListener(_ id: SlotID, _ serverName: Span<UInt8>) -> Opened {
        let row = port(downstreams[id].portID)
        guard row >= 0 else { return .nothing }
        let listener = generations[current].snapshot.table.listener(
            port: row, host: serverName, isTLS: true)
        guard listener >= 0 else { return .nothing }
        let listenerRow = generations[current].snapshot.table.listeners[Int(listener)]
        if listenerRow.service != .http {
            guard beginStream(id, listener: listener, serverName: serverName) else {
                return .isClosed
            }
            if listenerRow.service == .passthrough { return .passes }
        }
        return startSession(id, listenerRow, serverName) ? .session : .nothing
    }

    /// Makes the session with a certificate of the listener.
    private mutating func startSession(
        _ id: SlotID, _ listenerRow: ListenerRow, _ serverName: Span<UInt8>
    ) -> Bool {
        guard listenerRow.tls >= 0 else { return false }
        let configuration = generations[current].snapshot.tls[Int(listenerRow.tls)]
        guard let session = try? TLSSession(server: configuration, serverName: serverName) else {
            return false
        }
        downstreams[id].link.seal(with: session)
        downstreams[id].tlsListenerID = listenerRow.id
        downstreams[id].tlsTerms = listenerRow.terms
        downstreams[id].phase = .handshaking
        return true
    }

    /// More of the client's handshake.
    mutating func continueHandshake(_ id: SlotID) {
        var bytes = RigidArray<UInt8>()
        swap(&bytes, &cipher.input)
        bytes.removeAll()
        let result = downstreams[id].link.socket.read(into: &bytes)
        switch result {
        case .bytes(let count):
            if count < Scratch.readBytes, !downstreams[id].link.peerEnded {
                downstreams[id].link.isReadable = false
            }
            advanceHandshake(id, bytes.span)
        case .wouldBlock: downstreams[id].link.isReadable = false
        case .end, .failed:
            shard.add(.tlsFailures, 1)
            close(downstream: id)
        }
        swap(&bytes, &cipher.input)
    }

    /// Gives bytes to the handshake; what is left after its end is application data.
    private mutating func advanceHandshake(_ id: SlotID, _ bytes: Span<UInt8>) {
        let step = downstreams[id].link.handshake(bytes, &cipher, &buffers)
        switch step.state {
        case .wantsInput:
            if downstreams[id].link.isReadable { enqueue(downstream: id) }
        case .failed:
            shard.add(.tlsFailures, 1)
            close(downstream: id)
        case .finished:
            shard.add(.tlsHandshakes, 1)
            downstreams[id].phase = .reading
            setDeadline(downstream: id, in: timeouts.silentConnectionMilliseconds)
            if downstreams[id].link.speaksHTTP2() {
                beginMultiplexing(downstream: id)
                guard downstreams.contains(id) else { return }
            }
            openEarly(id, bytes.extracting(step.consumed..<bytes.count))
            if downstreams.contains(id), downstreams[id].exchange != .none { startStream(id) }
        }
    }

    /// Opens what came behind the handshake in the same read, then reads requests.
    private mutating func openEarly(_ id: SlotID, _ rest: Span<UInt8>) {
        if rest.count > 0 {
            var plain = Buffer()
            swap(&plain, &early)
            plain.removeAll()
            let result = downstreams[id].link.open(rest, into: &plain, &cipher, &buffers)
            switch result {
            case .bytes: keep(downstream: id, plain.span)
            case .wouldBlock: break
            // A tunnel passes the end on; nobody else is there to be answered.
            case .end(clean: true) where downstreams[id].exchange != .none: break
            case .end, .failed: close(downstream: id)
            }
            swap(&plain, &early)
        }
        if downstreams.contains(id) { enqueue(downstream: id) }
    }
}
