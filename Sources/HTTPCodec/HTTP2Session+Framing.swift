import HTTP
import Kernel

// What was given, to the library, just before frames are written.
extension HTTP2Session {
    /// Tells the library of every stream that has something for it.
    mutating func frameDirty(_ pool: inout BufferPool) {
        while let slot = library.core.streams.takeDirty() {
            frame(slot, &pool)
        }
    }

    private mutating func frame(_ slot: Int, _ pool: inout BufferPool) {
        let flags = library.core.streams[slot].flags
        if flags.contains(.isClosed) || flags.contains(.isCut) || flags.contains(.isOurReset) {
            return
        }
        if flags.contains(.resetDue) {
            return reset(slot, unreadCode)
        }
        if !library.core.streams[slot].head.isNone { return frameHead(slot, &pool) }
        if flags.contains(.trailersDue) {
            return frameTrailers(slot, &pool)
        }
        if flags.contains(.isDeferred) {
            let hasContent = library.core.streams[slot].unsentBytes > 0
            if hasContent || flags.contains(.outputEnded) {
                library.core.streams[slot].flags.remove(.isDeferred)
                library.resume(library.core.streams[slot].number)
            }
        }
    }

    private mutating func frameHead(_ slot: Int, _ pool: inout BufferPool) {
        let isSent = submit(slot)
        library.core.streams[slot].head = HeadShelf.Head()
        if !isSent {
            let number = library.core.streams[slot].number
            reset(slot, HTTP2Code.internalError)
            library.core.cut(slot, HTTP2Code.internalError, &pool)
            if number == 0 && library.core.streams[slot].flags.contains(.isLeft) {
                library.core.streams.remove(slot)
            }
            return
        }
        library.core.streams[slot].flags.insert(.headFramed)
        if library.core.streams[slot].flags.contains(.trailersDue) { frameTrailers(slot, &pool) }
    }

    /// Gives the head to the library; false when it is refused.
    private mutating func submit(_ slot: Int) -> Bool {
        let role = library.core.role
        let flags = library.core.streams[slot].flags
        let contentCount = library.core.streams[slot].unsentBytes
        let hasContent = contentCount > 0 || !flags.contains(.outputEnded)
        let hasTrailers = library.core.streams[slot].trailerCount > 0
        var kind = Library.HeadKind.withContent
        if !hasContent { kind = hasTrailers ? .withTrailers : .final }
        // A request's number is known only once it is submitted, and trailers need one: they
        // follow behind content of no bytes.
        if role == .client && kind == .withTrailers { kind = .withContent }
        let number = role == .client ? -1 : library.core.streams[slot].number
        let result = library.submit(number, library.core.streams[slot].head, kind)
        if result < 0 { return false }
        if role == .client {
            library.core.streams.setNumber(slot, result)
        } else if !flags.contains(.outputEnded) || contentCount > Self.unsharedBytesMax {
            library.shareFairly(number)
        }
        if kind == .withTrailers { library.core.streams[slot].flags.insert(.trailersDue) }
        return true
    }

    /// The rest of an answer that is served to its end before others have their turn.
    private static var unsharedBytesMax: Int { 4 << 10 }

    /// What the fields of a head are, as it leaves.
    func fieldKind(_ head: OutgoingHead, _ flags: Stream.Flags) -> OutgoingFields.Kind {
        let isConnect = flags.contains(.isConnect)
        switch library.core.role {
        case .client:
            let isSecure = library.core.isSecure
            return isConnect ? .connect(isSecure: isSecure) : .request(isSecure: isSecure)
        case .server:
            if isConnect && head.status == 101 { return .answerInstead("200") }
            // A success would open the tunnel that the backend did not open.
            if isConnect && head.status / 100 == 2 { return .answerInstead("502") }
            return .answer
        }
    }

    private mutating func frameTrailers(_ slot: Int, _ pool: inout BufferPool) {
        let stream = library.core.streams[slot].number
        var trailers = library.core.streams[slot].trailers.takeOut()
        let fields = OutgoingFields(trailers: library.core.streams[slot].trailerCount)
        library.core.streams[slot].trailerCount = 0
        library.core.streams[slot].flags.remove(.trailersDue)
        let result = library.submit(
            stream, fields, of: OutgoingHead(), trailers.span, .trailers)
        trailers.removeAll()
        pool.give(trailers)
        if result < 0 { reset(slot, HTTP2Code.internalError) }
    }
}
