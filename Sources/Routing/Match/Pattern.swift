import CPCRE2
import Synchronization

// The one wrapper of PCRE2, and so the one file of this module that says `unsafe`.

/// Why a regular expression is refused.
public struct PatternError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The pattern.
    public let pattern: String
    /// Where in the pattern, in bytes.
    public let offset: Int
    /// What is wrong, in the library's words.
    public let message: String

    public var description: String { "\(message) at \(offset) of \"\(pattern)\"" }
}

/// A compiled regular expression that is matched against a whole value, never a part of it.
///
/// Perl's dialect on bytes. Every match is bounded in steps, depth and heap, so that no pattern can
/// stall a worker; a match that meets a bound is no match. Compiled once, shared by all workers.
@safe
public final class Pattern: Sendable {
    /// What a match found out.
    public enum Outcome: Equatable, Sendable {
        case match
        case noMatch
        /// A bound was met; counts as no match.
        case limit
    }

    /// Bytes of the longest pattern.
    public static var patternBytesMax: Int { 4_096 }
    /// Steps of one match.
    public static var stepsMax: UInt32 { 10_000 }
    /// Nested steps back of one match.
    public static var depthMax: UInt32 { 1_000 }
    /// KiB of heap of one match.
    public static var heapKibibytesMax: UInt32 { 1_024 }

    /// The pattern as written.
    public let text: String
    // Sound: compiled code is never written to after `init`; the library allows any number of
    // threads to match with it at once (pcre2api, "Multithreading").
    private nonisolated(unsafe) let code: OpaquePointer

    /// Compiles a pattern.
    public init(_ text: String) throws(PatternError) {
        self.text = text
        var bytes = Array(text.utf8)
        if bytes.count > Self.patternBytesMax {
            throw PatternError(
                pattern: text, offset: Self.patternBytesMax,
                message: "pattern longer than \(Self.patternBytesMax) bytes")
        }
        let count = bytes.count
        // The library wants an address even of no bytes.
        bytes.append(0)
        var errorCode: Int32 = 0
        var errorOffset = 0
        let options =
            PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_UTF
            | PCRE2_NEVER_UCP | PCRE2_NEVER_BACKSLASH_C
        // Sound: the pointer is used during the call only, with the count of bytes behind it.
        let compiled = unsafe bytes.withUnsafeBufferPointer { buffer in
            unsafe pcre2_compile_8(
                buffer.baseAddress, count, options, &errorCode, &errorOffset, nil)
        }
        guard let compiled = unsafe compiled else {
            throw PatternError(
                pattern: text, offset: errorOffset, message: Self.message(errorCode))
        }
        unsafe code = compiled
        // Failure leaves the interpreter, which finds the same matches.
        // Sound: the code is not shared yet.
        _ = unsafe pcre2_jit_compile_8(compiled, PCRE2_JIT_COMPLETE)
    }

    deinit {
        // Sound: nobody else holds the code once the last reference is gone.
        unsafe pcre2_code_free_8(code)
    }

    /// Refuses what `init` refuses, and keeps nothing.
    public static func check(_ text: String) throws(PatternError) {
        _ = try Pattern(text)
    }

    /// Matches a whole value.
    public func match(_ value: Span<UInt8>, _ memory: borrowing PatternMemory) -> Outcome {
        memory.match(code: self, value)
    }

    /// Runs the match with memory that no other thread uses during the call.
    fileprivate func run(
        _ value: Span<UInt8>, data: OpaquePointer, context: OpaquePointer
    ) -> Outcome {
        // Sound: the value stays where it is during the call; the library reads `count` bytes of
        // it. An empty buffer may have no address, which the library takes only with a count of 0.
        let result = unsafe value.withUnsafeBufferPointer { buffer in
            unsafe pcre2_match_8(code, buffer.baseAddress, buffer.count, 0, 0, data, context)
        }
        if result >= 0 { return .match }
        return result == PCRE2_ERROR_NOMATCH ? .noMatch : .limit
    }

    private static func message(_ code: Int32) -> String {
        var buffer = [UInt8](repeating: 0, count: 256)
        // Sound: the library writes at most `count` bytes and ends them with a zero.
        let count = unsafe buffer.withUnsafeMutableBufferPointer { bytes in
            unsafe pcre2_get_error_message_8(code, bytes.baseAddress, bytes.count)
        }
        return String(decoding: buffer.prefix(max(0, Int(count))), as: UTF8.self)
    }
}

/// What matches need beside the pattern: one per table, used by one thread at a time.
///
/// A second thread that comes at the same moment makes its own for the call.
@safe
public struct PatternMemory: ~Copyable, Sendable {
    // Sound: only used between a won and a released `isTaken`, and freed by the only owner.
    private nonisolated(unsafe) let data: OpaquePointer
    // Sound: written in `init` only; matching reads it.
    private nonisolated(unsafe) let context: OpaquePointer
    private let isTaken = Atomic<Bool>(false)
    private let limits = Atomic<UInt64>(0)

    /// Takes the memory and sets the bounds.
    public init() {
        // Sound: both calls answer an own object or nil when there is no memory.
        guard let data = unsafe pcre2_match_data_create_8(1, nil),
            let context = unsafe pcre2_match_context_create_8(nil)
        else { preconditionFailure("no memory for the matching of regular expressions") }
        // Sound: the context was just made and is not shared yet.
        unsafe pcre2_set_match_limit_8(context, Pattern.stepsMax)
        unsafe pcre2_set_depth_limit_8(context, Pattern.depthMax)
        unsafe pcre2_set_heap_limit_8(context, Pattern.heapKibibytesMax)
        unsafe self.data = data
        unsafe self.context = context
    }

    deinit {
        // Sound: this value is the only owner of both.
        unsafe pcre2_match_data_free_8(data)
        unsafe pcre2_match_context_free_8(context)
    }

    /// How many matches met a bound.
    public var limitCount: UInt64 { limits.load(ordering: .relaxed) }

    fileprivate borrowing func match(code: Pattern, _ value: Span<UInt8>) -> Pattern.Outcome {
        if isTaken.compareExchange(expected: false, desired: true, ordering: .acquiring).exchanged {
            let outcome = unsafe code.run(value, data: data, context: context)
            isTaken.store(false, ordering: .releasing)
            if outcome == .limit { limits.wrappingAdd(1, ordering: .relaxed) }
            return outcome
        }
        let own = PatternMemory()
        let outcome = own.match(code: code, value)
        if outcome == .limit { limits.wrappingAdd(1, ordering: .relaxed) }
        return outcome
    }
}
