import Glibc

/// A system call that failed, and why.
///
/// Would-block and end-of-stream are values (`IOResult`), never errors.
public struct SystemError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The call as the manual names it, such as `bind`.
    public let call: StaticString
    /// The `errno` it left.
    public let code: Int32

    public init(_ call: StaticString, _ code: Int32) {
        self.call = call
        self.code = code
    }

    /// `bind: Address already in use (98)`.
    public var description: String { "\(call): \(SystemError.sentence(for: code)) (\(code))" }

    public static func == (left: SystemError, right: SystemError) -> Bool {
        left.code == right.code && left.call.description == right.call.description
    }

    /// What the C library says about an `errno`.
    public static func sentence(for code: Int32) -> String {
        // Sound: as inside.
        unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 128) { buffer in
            guard let start = buffer.baseAddress else { return "" }
            // Sound: the buffer and its size go together; the text returned is either in the buffer
            // or immortal, always terminated, and is copied before the buffer goes.
            return unsafe String(cString: strerror_r(code, start, buffer.count))
        }
    }
}
