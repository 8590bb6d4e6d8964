/// A refusal of bytes that break the protocol: which part, which status, and a fixed sentence.
///
/// One byte in size. The sentence says what is wrong, why it is refused and what to do; it never
/// holds bytes of the peer.
public struct Malformed: Error, Equatable, Hashable, Sendable, BitwiseCopyable {
    /// The part of a message that is at fault; also the word in logs and counters.
    public enum Part: String, Sendable, CaseIterable {
        case requestLine, method, target, version, statusLine
        case fieldName, fieldValue, fields, host, contentLength, transferEncoding, expect
        case chunk, trailer, content, connection
    }

    /// The exact cause.
    public let reason: Reason

    /// Makes a refusal.
    @inlinable public init(_ reason: Reason) { self.reason = reason }

    /// The part of the message at fault.
    public var part: Part { reason.row.part }
    /// Status for the client when a request is at fault; an answer at fault is always 502.
    public var status: Int { reason.row.status }
    /// What is wrong, why it is refused, and what to do.
    public var sentence: StaticString { reason.row.sentence }

    /// Every cause of refusal; the table of `row` is the documentation of each.
    public enum Reason: UInt8, Error, Sendable, CaseIterable, BitwiseCopyable {
        case requestLineTooLong, requestLineBroken, methodInvalid, methodConnect
        case targetByte, targetForm, targetFragment, targetUserinfo, targetScheme, targetAsterisk
        case targetEscape, targetNUL, targetBackslash, targetOverlong, targetSeparator
        case versionInvalid, versionUnsupported
        case statusLineBroken, statusInvalid, statusLineTooLong
        case fieldNameInvalid, fieldNameSpace, fieldFolded, fieldControl, bareCR
        case fieldTooLong, fieldsTooLong, fieldsTooMany
        case hostMissing, hostRepeated, hostInvalid
        case lengthInvalid, lengthRepeated
        case codingUnknown, codingNotLast, codingRepeated, codingWithLength, codingInHTTP10
        case expectUnknown
        case chunkSize, chunkSizeTooLarge, chunkLineEnd, chunkExtension, chunkExtensionTooLong
        case chunkDataEnd
        case trailerInvalid, trailersTooLong
        case contentTruncated, answerUnasked, upgradeUnasked
        case informationalTooMany
    }
}

extension Malformed.Reason {
    /// Part, status and sentence of each cause.
    var row: (part: Malformed.Part, status: Int, sentence: StaticString) {
        switch self {
        case .requestLineTooLong:
            (
                .requestLine, 414,
                "The request line is longer than accepted here; shorten the path or the query."
            )
        case .requestLineBroken:
            (
                .requestLine, 400,
                "The request line is not `METHOD target HTTP/1.1` with single spaces; send that."
            )
        case .methodInvalid:
            (.method, 400, "The method holds a byte that no method has; send a token such as GET.")
        case .methodConnect:
            (
                .method, 501,
                "CONNECT is not offered, since this is no open proxy; use another method."
            )
        case .targetByte:
            (
                .target, 400,
                "The request target holds a control or a byte above 0x7F; percent-encode it."
            )
        case .targetForm:
            (
                .target, 400,
                "The request target is neither a path nor an absolute URI; begin it with a slash."
            )
        case .targetFragment:
            (
                .target, 400,
                "The request target has a fragment, which is never sent; remove # and the rest."
            )
        case .targetUserinfo:
            (
                .target, 400,
                "The request target has user information before the host; send it in Authorization."
            )
        case .targetScheme:
            (
                .target, 400,
                "The scheme of the request target is not http or https; send one of these."
            )
        case .targetAsterisk:
            (.target, 400, "The target * is only for OPTIONS; begin the target with a slash.")
        case .targetEscape:
            (
                .target, 400,
                "A percent sign is not followed by two hexadecimal digits; write it as %25."
            )
        case .targetNUL:
            (
                .target, 400,
                "The path holds an encoded NUL, which ends names in servers; remove %00."
            )
        case .targetBackslash:
            (
                .target, 400,
                "The path holds a backslash, which some servers read as a slash; write it as %5C."
            )
        case .targetOverlong:
            (
                .target, 400,
                "The path holds an overlong UTF-8 form, which hides a byte; use the short form."
            )
        case .targetSeparator:
            (
                .target, 400,
                "Decoding %2F or %5C would change what dot segments remove; send the final path."
            )
        case .versionInvalid:
            (.version, 400, "The protocol version is not written as HTTP/1.1; send HTTP/1.1.")
        case .versionUnsupported:
            (.version, 505, "This version of HTTP is not spoken here; send HTTP/1.1.")
        case .statusLineBroken:
            (.statusLine, 502, "The status line is not `HTTP/1.1 200 reason`; repair the backend.")
        case .statusInvalid:
            (.statusLine, 502, "The status is not a number from 100 to 599; repair the backend.")
        case .statusLineTooLong:
            (.statusLine, 502, "The status line is too long; shorten the reason at the backend.")
        case .fieldNameInvalid:
            (
                .fieldName, 400,
                "A field line has no name of token characters before a colon; send `name: value`."
            )
        case .fieldNameSpace:
            (
                .fieldName, 400,
                "There is a space before a colon, which servers read differently; remove it."
            )
        case .fieldFolded:
            (
                .fieldValue, 400,
                "A field line is folded, which servers read differently; send it as one line."
            )
        case .fieldControl:
            (
                .fieldValue, 400,
                "A field value holds a control byte, which servers read differently; remove it."
            )
        case .bareCR:
            (
                .fieldValue, 400,
                "A carriage return is not followed by a line feed; end each line with both."
            )
        case .fieldTooLong:
            (.fields, 431, "One field is longer than this gateway accepts; send a shorter one.")
        case .fieldsTooLong:
            (.fields, 431, "All fields together are longer than this gateway accepts; send less.")
        case .fieldsTooMany:
            (.fields, 431, "There are more fields than this gateway accepts; send fewer.")
        case .hostMissing:
            (.host, 400, "There is no Host field, so no backend can be chosen; send exactly one.")
        case .hostRepeated:
            (.host, 400, "There are several Host fields, so the backend is in doubt; send one.")
        case .hostInvalid:
            (
                .host, 400,
                "The host is not a valid name or address with an optional port; repair it."
            )
        case .lengthInvalid:
            (
                .contentLength, 400,
                "Content-Length is not one decimal number below 2^63; send the length in digits."
            )
        case .lengthRepeated:
            (
                .contentLength, 400,
                "Content-Length is given several times with different values; send exactly one."
            )
        case .codingUnknown:
            (
                .transferEncoding, 501,
                "Transfer-Encoding holds a coding other than chunked; send chunked alone."
            )
        case .codingNotLast:
            (
                .transferEncoding, 400,
                "Transfer-Encoding does not end with chunked, so the end is unknown; send chunked."
            )
        case .codingRepeated:
            (
                .transferEncoding, 400,
                "Transfer-Encoding names chunked more than once; send it exactly once."
            )
        case .codingWithLength:
            (
                .transferEncoding, 400,
                "Transfer-Encoding and Content-Length are both given; send only one."
            )
        case .codingInHTTP10:
            (
                .transferEncoding, 400,
                "Transfer-Encoding is not part of HTTP/1.0; send Content-Length or use HTTP/1.1."
            )
        case .expectUnknown:
            (.expect, 417, "Only the expectation 100-continue is known; remove any other.")
        case .chunkSize:
            (.chunk, 400, "A chunk does not begin with a hexadecimal size; repair the sender.")
        case .chunkSizeTooLarge:
            (.chunk, 400, "A chunk size has too many digits; send smaller chunks.")
        case .chunkLineEnd:
            (.chunk, 400, "A chunk line does not end with CR and LF; repair the sender.")
        case .chunkExtension:
            (.chunk, 400, "A chunk extension holds a control byte; remove the extension.")
        case .chunkExtensionTooLong:
            (.chunk, 400, "Chunk extensions are longer than accepted; remove them.")
        case .chunkDataEnd:
            (
                .chunk, 400,
                "Chunk data is not followed by CR and LF, so its size is wrong; repair it."
            )
        case .trailerInvalid:
            (.trailer, 400, "A trailer line is not a valid field line; repair the sender.")
        case .trailersTooLong:
            (.trailer, 431, "The trailer section is longer than accepted; send less.")
        case .contentTruncated:
            (.content, 400, "The connection ended before the content did; send all of it.")
        case .answerUnasked:
            (.connection, 502, "Bytes came after the end of the answer; repair the backend.")
        case .upgradeUnasked:
            (.connection, 502, "The backend switched protocols without being asked; repair it.")
        case .informationalTooMany:
            (.connection, 502, "The backend sent too many informational answers; repair it.")
        }
    }
}

extension Malformed: CustomStringConvertible {
    /// Part and sentence, for logs and test output.
    public var description: String { "\(part.rawValue): \(sentence)" }
}
