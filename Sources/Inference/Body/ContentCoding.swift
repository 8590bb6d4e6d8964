import HTTP

/// How content is encoded, of what the gateway can look into (RFC 9110 §8.4.1).
public enum ContentCoding: UInt8, Sendable, BitwiseCopyable {
    case identity, gzip, zstd

    /// The coding that a `Content-Encoding` names; nil for any other, and for more than one.
    public init?(_ field: Span<UInt8>) {
        self = .identity
        var at = 0
        while at <= field.count {
            let comma = ByteScan.first(0x2C, field, from: at, to: field.count)
            var (from, to) = (at, comma)
            while from < to, field[from] == 0x20 || field[from] == 0x09 { from += 1 }
            while to > from, field[to - 1] == 0x20 || field[to - 1] == 0x09 { to -= 1 }
            at = comma + 1
            let name = field.extracting(from..<to)
            if name.isEmpty || ByteScan.equalFolding(name, ByteScan.bytes("identity")) { continue }
            if self != .identity { return nil }
            if ByteScan.equalFolding(name, ByteScan.bytes("gzip"))
                || ByteScan.equalFolding(name, ByteScan.bytes("x-gzip"))
            {
                self = .gzip
            } else if ByteScan.equalFolding(name, ByteScan.bytes("zstd")) {
                self = .zstd
            } else {
                return nil
            }
        }
    }
}
