import Kernel

/// What `ai-gateway top` does: asks a running gateway again and again, and draws what it says.
public struct TopRequest: Sendable {
    /// Ctrl-C, Ctrl-D and the end of the keyboard, beside `q`.
    private static let endKeys: [UInt8] = [UInt8(ascii: "q"), UInt8(ascii: "Q"), 3, 4, 0xFF]

    private let call: AdminCall
    private let intervalMilliseconds: UInt64

    public init(admin: String, tokenFile: String?, intervalMilliseconds: UInt64) {
        call = AdminCall(admin: admin, tokenFile: tokenFile)
        self.intervalMilliseconds = max(100, intervalMilliseconds)
    }

    /// One table for a pipe, with what happened since the gateway's start; nil with a sentence when it is not reached.
    public func once() -> (text: String?, sentence: String?) {
        do throws(AdminCall.Refused) {
            let screen = TopScreen(now: try sample(), before: nil)
            let lines = screen.lines(columns: nil, rows: nil, title: title(nil))
            return (lines.map { $0 + "\n" }.joined(), nil)
        } catch {
            return (nil, error.description)
        }
    }

    /// Draws until a key or a signal ends it; a sentence where the gateway is not there from the start.
    ///
    /// `draw` writes to the terminal. A gateway that goes away later is waited for.
    public func run(_ draw: (String) -> Void) -> String? {
        var last: TopSample
        do throws(AdminCall.Refused) {
            last = try sample()
        } catch {
            return error.description
        }
        guard let signals = try? SignalDescriptor(), let terminal = Terminal.take() else {
            return "standard input and output are no terminal: use --once"
        }
        // The other screen, so that the terminal is as before in the end; no cursor.
        draw("\u{1B}[?1049h\u{1B}[?25l")
        defer { draw("\u{1B}[?25h\u{1B}[?1049l") }
        var before: TopSample?
        var trouble: String?
        var size = Terminal.size
        paint(last, before, trouble, size, draw)
        var next = Clock.monotonicMilliseconds() + intervalMilliseconds
        while true {
            let now = Clock.monotonicMilliseconds()
            if now >= next {
                next = now + intervalMilliseconds
                do throws(AdminCall.Refused) {
                    let new = try sample()
                    (before, last, trouble) = (last, new, nil)
                } catch {
                    trouble = error.description
                }
                paint(last, before, trouble, size, draw)
            }
            if signals.read() != nil { return nil }
            // Short, so that a window of another size is soon drawn anew.
            let key = terminal.readKey(timeoutMilliseconds: Int32(min(200, next - min(now, next))))
            if let key, Self.endKeys.contains(key) { return nil }
            let new = Terminal.size
            if new != size {
                size = new
                paint(last, before, trouble, size, draw)
            }
        }
    }

    private func paint(
        _ now: TopSample, _ before: TopSample?, _ trouble: String?,
        _ size: (columns: Int, rows: Int), _ draw: (String) -> Void
    ) {
        let lines = TopScreen(now: now, before: before)
            .lines(columns: size.columns, rows: size.rows, title: title(trouble))
        // Each line erases what is left of the one before; lines end without scrolling.
        draw("\u{1B}[H" + lines.map { $0 + "\u{1B}[K" }.joined(separator: "\r\n") + "\u{1B}[J")
    }

    private func title(_ trouble: String?) -> String {
        let words = trouble ?? "q ends"
        return "ai-gateway top   \(call.admin)   \(words)"
    }

    private func sample() throws(AdminCall.Refused) -> TopSample {
        let metrics = try call.get("/metrics")
        let endpoints = try call.get("/endpoints")
        return TopSample(
            at: Clock.monotonicMilliseconds(), metrics: metrics, endpoints: endpoints)
    }
}
