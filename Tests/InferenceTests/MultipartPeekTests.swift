// `model` is read out of forms wherever it stands; what servers read differently is refused.
import Testing

@testable import Inference

private let plainType = "multipart/form-data; boundary=XbX"

private func read(_ content: [UInt8], _ type: String = plainType, cuts: [Int] = []) -> Reading {
    do throws(BodyRefusal) {
        var peek = try MultipartPeek(contentType: Array(type.utf8).span)
        for piece in pieces(content, cuts) { try peek.scan(piece.span) }
        try peek.finish()
        return Reading(peek.facts)
    } catch { return Reading(error) }
}

/// Text with `\n` for CRLF.
private func crlf(_ text: String) -> [UInt8] {
    var bytes: [UInt8] = []
    for byte in text.utf8 { bytes += byte == 0x0A ? [0x0D, 0x0A] : [byte] }
    return bytes
}

private func field(_ name: String, _ value: String) -> String {
    "--XbX\nContent-Disposition: form-data; name=\"\(name)\"\n\n\(value)\n"
}

private let file =
    "--XbX\nContent-Disposition: form-data; name=\"file\"; filename=\"a; name=\\\"model.wav\"\n"
    + "Content-Type: audio/wav\n\n--Xb--X-\n--Xb\n\n-XbX\u{0}\n"

@Suite struct MultipartPeekTests {
    static let rows: [(String, String?, Bool?)] = [
        (field("model", "whisper-1") + "--XbX--\n", "whisper-1", nil),
        (field("model", "whisper-1") + "--XbX--", "whisper-1", nil),
        (file + field("model", "whisper-1") + "--XbX--\n", "whisper-1", nil),
        (field("model", "whisper-1") + file + "--XbX--\n", "whisper-1", nil),
        (field("stream", "true") + file + field("model", "m") + "--XbX--\n", "m", true),
        (field("stream", "False") + field("model", "m") + "--XbX--\n", "m", false),
        (field("stream", "perhaps") + field("model", "m") + "--XbX--\n", "m", nil),
        (file + "--XbX--\n", nil, nil),
        ("\n" + field("model", "m") + "--XbX--\n\n", "m", nil),
        ("--XbX\ncontent-disposition:form-data;name=model\n\nm\n--XbX--", "m", nil),
        (
            "--XbX\nContent-Type: text/plain\nContent-Disposition: form-data; name=\"model\"\n\né中\n--XbX--",
            "é中", nil
        ),
        (field("Model", "x") + "--XbX--", nil, nil),
        (field("model", "--Xb-XbXX") + "--XbX--", "--Xb-XbXX", nil),
        (
            field("stream", String(repeating: "x", count: 5_000)) + field("model", "m") + "--XbX--",
            "m", nil
        ),
    ]

    @Test(arguments: rows)
    func `model and stream are read wherever they stand`(
        row: (form: String, model: String?, stream: Bool?)
    ) {
        let content = crlf(row.form)
        let whole = read(content)
        #expect(whole.refusal == nil)
        #expect(whole.model == row.model)
        #expect(whole.stream == row.stream)
        #expect(whole.modelRange.map { String(decoding: content[$0], as: UTF8.self) } == row.model)
        for cut in 0...content.count { #expect(read(content, cuts: [cut]) == whole) }
        #expect(read(content, cuts: Array(0...content.count)) == whole)
    }

    static let refused: [(String, BodyRefusal)] = [
        ("", .truncated), ("--XbX", .truncated), ("--XbX\n", .truncated),
        (field("model", "m"), .truncated),
        (field("model", "m") + "--XbX", .truncated), (field("model", "m") + "--XbX-", .truncated),
        (field("model", "a") + field("model", "a") + "--XbX--", .duplicateModel),
        (field("model", "a") + file + field("model", "b") + "--XbX--", .duplicateModel),
        (field("model", "") + "--XbX--", .modelEmpty),
        (field("model", String(repeating: "a", count: 257)) + "--XbX--", .modelTooLong),
        (field("model", String(repeating: "a", count: 5_000)) + "--XbX--", .modelTooLong),
        (field("model", "a\u{0}") + "--XbX--", .modelControl),
        (field("model", "a\nb") + "--XbX--", .modelControl),
        (field("model", "a\u{85}") + "--XbX--", .modelControl),
        (
            "--XbX\nContent-Disposition: form-data; name=\"model\"; filename=\"x\"\n\nm\n--XbX--",
            .modelNotString
        ),
        (
            "--XbX\nContent-Disposition: form-data; name=\"model\"\nContent-Transfer-Encoding: base64\n\nbQ==\n--XbX--",
            .modelNotString
        ),
        ("--XbX\nContent-Disposition: form-data; name=\"mod\\el\"\n\nm\n--XbX--", .modelSpelling),
        ("preamble\n" + field("model", "m") + "--XbX--", .notMultipart), ("--XbX--", .notMultipart),
        ("--XbY\n", .notMultipart), ("--XbX \n", .notMultipart), ("--XbX-\n", .notMultipart),
        (field("model", "m") + "--XbXX--", .notMultipart),
        (field("model", "m--XbX--") + "--XbX--", .notMultipart),
        ("--XbX\nContent-Disposition: form-data; name=\"model\"\n\n--XbX--", .notMultipart),
        ("--XbX\n\nm\n--XbX--", .notMultipart), ("--XbX\nX: y\n\nm\n--XbX--", .notMultipart),
        ("--XbX\nContent-Disposition: form-data\n\nm\n--XbX--", .notMultipart),
        ("--XbX\nContent-Disposition: attachment; name=\"model\"\n\nm\n--XbX--", .notMultipart),
        ("--XbX\nContent-Disposition: form-data; name*=utf-8''model\n\nm\n--XbX--", .notMultipart),
        (
            "--XbX\nContent-Disposition: form-data; name=\"a\"; name=\"model\"\n\nm\n--XbX--",
            .notMultipart
        ),
        ("--XbX\nContent-Disposition: form-data; name=\"model\n\nm\n--XbX--", .notMultipart),
        (
            "--XbX\nContent-Disposition: form-data; name=\"a\"\nContent-Disposition: form-data; name=\"model\"\n\nm\n--XbX--",
            .notMultipart
        ),
        ("--XbX\nContent-Disposition : form-data; name=\"model\"\n\nm\n--XbX--", .notMultipart),
        ("--XbX\nContent-Disposition: form-data;\n name=\"model\"\n\nm\n--XbX--", .notMultipart),
        ("--XbX\nX: " + String(repeating: "a", count: 1_100) + "\n", .notMultipart),
        ("--XbX\n" + String(repeating: "X: a\n", count: 17), .notMultipart),
        (field("model", "m") + "--XbX--\nepilogue", .trailingBytes),
        (field("model", "m") + "--XbX--\n--XbX\n", .trailingBytes),
        (String(repeating: field("a", ""), count: 1_001) + "--XbX--", .tooManyKeys),
    ]

    @Test(arguments: refused)
    func `what is refused, wherever it is cut`(row: (form: String, refusal: BodyRefusal)) {
        let content = crlf(row.form)
        #expect(read(content).refusal == row.refusal)
        if content.count > 10_000 { return }
        for cut in 0...content.count { #expect(read(content, cuts: [cut]).refusal == row.refusal) }
        #expect(read(content, cuts: Array(0...content.count)).refusal == row.refusal)
    }

    @Test func `line ends are CRLF`() {
        let form = field("model", "m") + "--XbX--"
        #expect(read(Array(form.utf8)).refusal == .notMultipart)
        #expect(
            read(
                Array("--XbX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx\n--XbX--".utf8)
            ).refusal == .notMultipart)
        #expect(read([0xFF]).refusal == .notMultipart)
    }

    @Test func `a name that is no UTF-8 is refused`() {
        let before = crlf("--XbX\nContent-Disposition: form-data; name=\"model\"\n\n")
        #expect(read(before + [0xC3] + crlf("\n--XbX--")).refusal == .notUTF8)
        #expect(read(before + [0x80] + crlf("\n--XbX--")).refusal == .notUTF8)
    }

    static let types: [(String, Bool)] = [
        ("multipart/form-data; boundary=XbX", true), ("Multipart/Form-Data;boundary=XbX", true),
        ("multipart/form-data; charset=utf-8; Boundary=\"XbX\"", true),
        ("multipart/form-data ; boundary=XbX ;", true),
        ("multipart/form-data", false), ("multipart/form-data; boundary=", false),
        ("multipart/form-data; boundary=\"\"", false),
        ("multipart/form-data; boundary=XbX; boundary=XbY", false),
        ("multipart/mixed; boundary=XbX", false),
        ("multipart/form-data; boundary=\"XbX", false),
        ("multipart/form-data; boundary=Xb\"X", false),
        ("multipart/form-data; boundary=\"Xb\\X\"", false),
        ("multipart/form-data; boundary=\"XbX \"", false),
        ("multipart/form-data; boundary=XbX; x", false),
        ("multipart/form-data; boundary=X\u{1}X", false), ("", false),
    ]

    @Test(arguments: types)
    func `a boundary is what the type says, quoted or not`(row: (type: String, isRead: Bool)) {
        let reading = read(crlf(field("model", "m") + "--XbX--"), row.type)
        #expect(reading.model == (row.isRead ? "m" : nil))
        #expect(reading.refusal == (row.isRead ? nil : .noBoundary))
    }

    @Test func `a boundary has at most 70 characters`() {
        for count in [1, 69, 70, 71] {
            let boundary = String(repeating: "-", count: count - 1) + "x"
            let form =
                "--\(boundary)\nContent-Disposition: form-data; name=\"model\"\n\n-----m---\n--\(boundary)--"
            let reading = read(crlf(form), "multipart/form-data; boundary=\(boundary)")
            #expect(reading.model == (count < 71 ? "-----m---" : nil))
        }
    }

    @Test func `a large file is passed over whatever is in it`() {
        var random = Seeded(7)
        var file = crlf("--XbX\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\n\n")
        for _ in 0..<200_000 {
            file.append(
                [0x2D, 0x0D, 0x0A, 0x58, 0x62, 0x00, 0xFF, 0x20][
                    Int.random(in: 0..<8, using: &random)])
        }
        // What the random bytes may hold by chance would be refused: nothing of it is a delimiter here.
        let content = file + crlf("\n" + field("model", "m") + "--XbX--")
        let whole = read(content)
        #expect(whole.model == "m" || whole.refusal == .notMultipart)
        for seed in 0..<20 {
            var random = Seeded(UInt64(seed))
            let cuts = (0..<50).map { _ in Int.random(in: 0...content.count, using: &random) }
                .sorted()
            #expect(read(content, cuts: cuts) == whole)
        }
    }
}
