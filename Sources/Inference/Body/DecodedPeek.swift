import BasicContainers
import HTTP

/// Decodes a copy of encoded content in steps of 64 KiB, for a scanner to read; what is sent on stays
/// as it came.
///
/// Bounded in memory by the step and the coding's window (32 KiB of gzip, 8 MiB of zstd), in work by
/// `decodedMax`, and by 100 bytes decoded for each byte that came, beyond the first MiB.
struct DecodedPeek: ~Copyable {
    /// Bytes that are decoded before they are looked at.
    static let stepBytes = 65_536

    /// Bytes decoded for each byte that came, beyond `freeBytes`.
    static let ratioMax = 100

    /// Bytes that may be decoded whatever came.
    static let freeBytes = 1 << 20

    private var inflater: Inflater?
    private var zstd: ZstdDecoder?
    private let decodedMax: Int
    private var encoded = 0
    private var decoded = 0
    /// What was decoded and not yet looked at.
    private var step: RigidArray<UInt8>

    /// A decoder at the start of content; nil without a coding.
    init?(_ coding: ContentCoding, decodedMax: Int) throws(BodyRefusal) {
        switch coding {
        case .identity: return nil
        case .gzip:
            inflater = Inflater()
            zstd = nil
            if inflater == nil { throw .decodedTooLarge }
        case .zstd:
            inflater = nil
            zstd = ZstdDecoder()
            if zstd == nil { throw .decodedTooLarge }
        }
        self.decodedMax = decodedMax
        step = RigidArray(capacity: Self.stepBytes)
    }

    /// Decodes bytes and gives them to the scanner, a full step at a time: so the same bytes are
    /// judged alike, however they come.
    mutating func scan(
        _ bytes: Span<UInt8>, into grammar: inout BodyGrammar
    ) throws(BodyRefusal) {
        var from = 0
        while from < bytes.count {
            let before = from
            try decode(bytes, from: &from)
            encoded += from - before
            if step.freeCapacity == 0 {
                try pass(into: &grammar)
            } else if from == before {
                // Neither input nor room was used: the library is stuck.
                throw .brokenCoding
            }
        }
    }

    /// Tells that the content ends here.
    mutating func finish(into grammar: inout BodyGrammar) throws(BodyRefusal) {
        while try flush() {
            if step.freeCapacity == 0 { try pass(into: &grammar) }
        }
        try pass(into: &grammar)
        if !isComplete { throw .truncated }
    }

    private var isComplete: Bool {
        switch inflater {
        case .some(let inflater): return inflater.isComplete
        case .none: break
        }
        switch zstd {
        case .some(let zstd): return zstd.isComplete
        case .none: return false
        }
    }

    private mutating func decode(
        _ bytes: Span<UInt8>, from: inout Int
    ) throws(BodyRefusal) {
        var step = RigidArray<UInt8>()
        swap(&step, &self.step)
        defer { swap(&step, &self.step) }
        try step.edit { (output) throws(BodyRefusal) in
            try inflater?.decode(bytes, from: &from, into: &output)
            try zstd?.decode(bytes, from: &from, into: &output)
        }
    }

    private mutating func flush() throws(BodyRefusal) -> Bool {
        var step = RigidArray<UInt8>()
        swap(&step, &self.step)
        defer { swap(&step, &self.step) }
        return try step.edit { (output) throws(BodyRefusal) in
            if let hasMore = try inflater?.flush(into: &output) { return hasMore }
            return try zstd?.flush(into: &output) ?? false
        }
    }

    /// Gives the scanner what was decoded, unless it is too much.
    private mutating func pass(into grammar: inout BodyGrammar) throws(BodyRefusal) {
        decoded += step.count
        if decoded > decodedMax { throw .decodedTooLarge }
        if decoded > Self.freeBytes, decoded / Self.ratioMax > encoded { throw .decodedTooLarge }
        try grammar.scan(step.span)
        step.removeAll()
    }
}
