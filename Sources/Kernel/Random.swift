import CLinux
import Glibc

/// Random bytes of the system, fit for secrets.
public enum Random {
    /// Fills the whole free capacity; waits only before the system has gathered its first entropy.
    public static func fill(_ output: inout OutputSpan<UInt8>) {
        // Sound: as inside.
        unsafe output.withUnsafeMutableBufferPointer { buffer, count in
            while count < buffer.count {
                let free = buffer.extracting(count...)
                // Sound: memory with its size.
                let result = SystemCall.run { unsafe getrandom(free.baseAddress, free.count, 0) }
                precondition(result > 0, "The system gives random bytes.")
                count += result
            }
        }
    }

    /// One random number of the system.
    public static func next64() -> UInt64 {
        var value: UInt64 = 0
        // Sound: as inside.
        unsafe withUnsafeMutableBytes(of: &value) { bytes in
            // Sound: the value's own eight bytes; up to 256 bytes come at once or not at all.
            let result = SystemCall.run { unsafe getrandom(bytes.baseAddress, bytes.count, 0) }
            precondition(result == bytes.count, "The system gives random bytes.")
        }
        return value
    }
}

/// A fast generator for choices and identifiers, never for secrets: xoshiro256**.
///
/// One per worker; the same seed gives the same numbers.
public struct RandomSource: RandomNumberGenerator, Sendable {
    @usableFromInline var state: (UInt64, UInt64, UInt64, UInt64)

    /// A generator with a seed of the system's.
    public init() { self.init(seed: Random.next64()) }

    /// A generator whose numbers follow from the seed.
    public init(seed: UInt64) {
        // SplitMix64 spreads the seed, so that no state is all zero.
        var word = seed
        func spread() -> UInt64 {
            word &+= 0x9e37_79b9_7f4a_7c15
            var mixed = word
            mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
            mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
            return mixed ^ (mixed >> 31)
        }
        state = (spread(), spread(), spread(), spread())
    }

    @inlinable
    @inline(__always)
    public mutating func next() -> UInt64 {
        let scaled = state.1 &* 5
        let result = (scaled << 7 | scaled >> 57) &* 9
        let shifted = state.1 << 17
        state.2 ^= state.0
        state.3 ^= state.1
        state.1 ^= state.2
        state.0 ^= state.3
        state.2 ^= shifted
        state.3 = state.3 << 45 | state.3 >> 19
        return result
    }

    /// A number from 0 up to, not including, `bound`; for bounds far below 2^32 without noticeable
    /// bias and without a division.
    @inlinable
    public mutating func next(below bound: UInt32) -> UInt32 {
        precondition(bound > 0, "There is a number below the bound.")
        return UInt32(truncatingIfNeeded: ((next() >> 32) &* UInt64(bound)) >> 32)
    }

    /// Fills the whole free capacity.
    @inlinable
    public mutating func fill(_ output: inout OutputSpan<UInt8>) {
        while output.freeCapacity > 0 {
            var word = next()
            for _ in 0..<min(8, output.freeCapacity) {
                output.append(UInt8(truncatingIfNeeded: word))
                word >>= 8
            }
        }
    }
}
