import Kernel
import Peer

extension Simulation {
    /// Goes on with `/bytes/N`, as far as the client takes it.
    mutating func writeBytes(_ exchange: ExchangeID, _ answers: inout Answers) {
        guard case .bytes(var left)? = live[exchange.slot]?.work else { return }
        while left > 0 {
            let count = min(filler.count, Int(min(left, UInt64(filler.count))))
            guard answers.write(exchange, filler.span.extracting(0..<count)) else {
                live[exchange.slot]?.work = .bytes(left)
                return
            }
            left -= UInt64(count)
        }
        live[exchange.slot] = nil
        answers.finish(exchange)
    }

    /// Writes the next chunk of `/chunks/N/SIZE/MS`, and enters the one after it.
    mutating func writeChunk(_ exchange: ExchangeID, _ answers: inout Answers) {
        guard let current = live[exchange.slot], current.exchange == exchange,
            case .chunks(var left, let size, let nanoseconds) = current.work
        else { return }
        while left > 0 {
            guard writeFiller(exchange, size, &answers) else {
                live[exchange.slot]?.work = .chunks(
                    left: left, size: size, nanoseconds: nanoseconds)
                return
            }
            left -= 1
            if left > 0, nanoseconds > 0 {
                live[exchange.slot]?.work = .chunks(
                    left: left, size: size, nanoseconds: nanoseconds)
                agenda.add(exchange, at: now + nanoseconds)
                return
            }
        }
        live[exchange.slot] = nil
        answers.finish(exchange)
    }

    /// Writes one chunk; the filler is repeated for long ones.
    private mutating func writeFiller(
        _ exchange: ExchangeID, _ size: Int, _ answers: inout Answers
    ) -> Bool {
        if size <= filler.count { return answers.write(exchange, filler.span.extracting(0..<size)) }
        text.removeAll()
        Self.repeat(filler, size, to: &text)
        return answers.write(exchange, text.span)
    }

    private static func `repeat`(_ filler: [UInt8], _ size: Int, to text: inout Text) {
        var left = size
        while left > 0 {
            let count = min(left, filler.count)
            text.add(filler.span.extracting(0..<count))
            left -= count
        }
    }
}
