/// Why content is refused whose choice of a backend depends on it (`robustness.md` §8).
public enum BodyRefusal: UInt8, Error, Sendable, CaseIterable, BitwiseCopyable {
    case notJSON
    case truncated
    case trailingBytes
    case notUTF8
    case byteOrderMark
    case tooDeep
    case tooManyKeys
    case duplicateModel
    case modelSpelling
    case modelNotString
    case modelEmpty
    case modelTooLong
    case modelControl
    case loneSurrogate
    case noBoundary
    case notMultipart
    case unsupportedCoding
    case brokenCoding
    case decodedTooLarge
    case unsupportedType

    /// The answer's status.
    public var status: UInt16 {
        switch self {
        case .unsupportedCoding, .unsupportedType: 415
        case .decodedTooLarge: 413
        default: 400
        }
    }

    /// What is wrong and what to do, for the caller.
    public var sentence: StaticString {
        switch self {
        case .notJSON: "The content is not JSON. Send one JSON object (RFC 8259)."
        case .truncated:
            "The content ends before it is complete. Send all of it, with the right length."
        case .trailingBytes:
            "More bytes follow the JSON value. Send one JSON object and nothing behind it."
        case .notUTF8: "The content is not valid UTF-8. Encode it as UTF-8."
        case .byteOrderMark:
            """
            The content begins with a byte order mark or is UTF-16. Send UTF-8 without a byte \
            order mark.
            """
        case .tooDeep: "The JSON is nested deeper than 64 levels. Nest it less."
        case .tooManyKeys:
            """
            The JSON object has more than 1,000 members, or the form more than 1,000 parts. Send \
            fewer.
            """
        case .duplicateModel: "`model` is given more than once. Give it once."
        case .modelSpelling:
            "`model` is written with capital letters, which servers read differently. Write `model`."
        case .modelNotString: "`model` is not a string. Send the model's name as a string."
        case .modelEmpty: "`model` is empty. Send the model's name."
        case .modelTooLong: "`model` has more than 256 bytes. Send the model's name."
        case .modelControl: "`model` has control characters in it. Send the model's name."
        case .loneSurrogate:
            """
            `model` or the name of a member has half of a surrogate pair in it. Send whole \
            characters.
            """
        case .noBoundary:
            """
            The content type of the form has no usable boundary. Send `multipart/form-data` with a \
            boundary of 1 to 70 characters.
            """
        case .notMultipart:
            "The content is not the form that its type says. Send `multipart/form-data` (RFC 7578)."
        case .unsupportedCoding:
            """
            The content is encoded in a way that the gateway cannot look into. Send it plain, or \
            with gzip or zstd alone.
            """
        case .brokenCoding:
            "The content does not decode as its content-encoding says. Encode it anew."
        case .decodedTooLarge: "The decoded content is too large. Send less, or send it plain."
        case .unsupportedType:
            "The content's type is neither JSON nor a form. Send `application/json`."
        }
    }
}
