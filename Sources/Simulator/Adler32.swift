/// The checksum of `/sink`: Adler-32 (RFC 1950 §8.2), the same however the bytes are cut.
struct Adler32: BitwiseCopyable, Equatable {
    private var low: UInt32 = 1
    private var high: UInt32 = 0

    init() {}

    var value: UInt32 { high << 16 | low }

    mutating func add(_ bytes: Span<UInt8>) {
        var at = 0
        while at < bytes.count {
            // So many bytes at most leave both sums below 2^32.
            let end = min(at + 5_552, bytes.count)
            var low = low
            var high = high
            for index in at..<end {
                low &+= UInt32(bytes[index])
                high &+= low
            }
            self.low = low % 65_521
            self.high = high % 65_521
            at = end
        }
    }
}
