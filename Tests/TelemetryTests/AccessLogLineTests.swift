// Proves the access log line: its exact text, and that it is one line of JSON whatever a client
// sends.

import Foundation
import Kernel
import Testing

@testable import Telemetry

@Suite struct AccessLogLineTests {
    private let names = SeriesNames(
        [
            1: SeriesLabels(gateway: "ai/edge", route: "ai/chat", rule: "0"),
            2: SeriesLabels(
                gateway: "ai/edge", route: "ai/chat", rule: "0", backend: "ai/ollama"),
        ], listeners: [3: SeriesLabels(gateway: "ai/edge", listener: "https")])

    private func text(_ bytes: [UInt8]) -> String? {
        var output: [UInt8] = []
        guard AccessLogLine.write(bytes.span, names: names, into: &output) else {
            #expect(output.isEmpty)
            return nil
        }
        return String(decoding: output, as: UTF8.self)
    }

    @Test func `a full record is one line with all members`() throws {
        let expected =
            #"{"time":"2025-11-22T22:22:10.123456Z","request_id":"id-1","#
            + #""client":"192.0.2.7:51234","gateway":"ai/edge","listener":"https","#
            + #""route":"ai/chat","rule":"0","backend":"ai/ollama","#
            + #""endpoint":"[2001:db8::1]:11434","method":"POST","authority":"ai.example.com","#
            + #""path":"/v1/chat","protocol":"HTTP/1.1","tls":true,"status":200,"ended":"done","#
            + #""reason":"up.timeout","bytes_received":1234,"bytes_sent":5678901,"#
            + #""duration_ms":12345.678,"ttfb_ms":234.567,"processing_ms":0.045,"#
            + #""connect_ms":0.567,"retries":1,"user_agent":"curl/8"}"# + "\n"
        #expect(text(encoded(try sampleRecord(), reason: "up.timeout")) == expected)
    }

    @Test func `members without a value are left out`() {
        var record = AccessRecord()
        record.status = 400
        record.ended = .localReply
        record.version = 2
        let bytes = encoded(
            record, method: "GET", path: [0x2F], authority: "", userAgent: "", requestID: "r")
        #expect(
            text(bytes)
                == #"{"time":"1970-01-01T00:00:00.000000Z","request_id":"r","method":"GET","#
                + #""authority":"","path":"/","protocol":"HTTP/2","tls":false,"status":400,"#
                + #""ended":"local_reply","bytes_received":0,"bytes_sent":0,"duration_ms":0.000,"#
                + #""processing_ms":0.000,"retries":0}"# + "\n")
    }

    @Test(arguments: [
        ("plain", "plain"), ("a\"b", #"a\"b"#), (#"a\b"#, #"a\\b"#),
        ("a\nb", #"a\u000ab"#), ("\r\t\0", #"\u000d\u0009\u0000"#), ("\u{1F}", #"\u001f"#),
        ("\u{7F}", #"\u007f"#), ("é", "é"), ("日本", "日本"), ("😀", "😀"), ("/a?b=<c>", "/a?b=<c>"),
    ])
    func `texts are escaped`(path: String, escaped: String) throws {
        let bytes = encoded(AccessRecord(), path: Array(path.utf8))
        let line = try #require(text(bytes))
        #expect(line.contains(#""path":"\#(escaped)","#))
    }

    @Test(
        arguments: [
            ([0x80], 1), ([0xFF, 0x41], 1), ([0xC3], 1), ([0xC0, 0xAF], 2),
            ([0xED, 0xA0, 0x80], 3),
            ([0xF4, 0x90, 0x80, 0x80], 4), ([0xE2, 0x82], 2), ([0xF8, 0x88], 2),
        ] as [([UInt8], Int)])
    func `bytes that are not UTF-8 become replacement characters`(
        bytes: [UInt8], count: Int
    ) throws {
        let record = encoded(AccessRecord(), path: bytes)
        let line = try #require(text(record))
        let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
        let path = try #require(object?["path"] as? String)
        #expect(path.unicodeScalars.filter { $0 == "\u{FFFD}" }.count == count)
    }

    @Test func `any bytes of a client make one line of JSON`() throws {
        var random = RandomSource(seed: 11)
        for _ in 0..<2_000 {
            let bytes = (0..<Int(random.next() % 40)).map { _ in
                UInt8(truncatingIfNeeded: random.next())
            }
            let record = encoded(AccessRecord(), path: bytes)
            let line = try #require(text(record))
            #expect(line.utf8.filter { $0 == 0x0A }.count == 1)
            #expect(line.utf8.last == 0x0A)
            let object = try JSONSerialization.jsonObject(with: Data(line.utf8))
            #expect((object as? [String: Any])?["path"] is String)
        }
    }

    @Test func `bytes that are no record make no line`() {
        #expect(text([]) == nil)
        #expect(text([1, 2, 3]) == nil)
    }

    @Test(
        arguments: [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000Z"),
            (951_868_800, "2000-03-01T00:00:00.000000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000000Z"),
            (1_735_689_599, "2024-12-31T23:59:59.000000Z"),
            (1_735_689_600, "2025-01-01T00:00:00.000000Z"),
            (4_107_542_399, "2100-02-28T23:59:59.000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000Z"),
        ] as [(UInt64, String)])
    func `times are those of the calendar`(seconds: UInt64, text: String) {
        #expect(RFC3339.text(nanoseconds: seconds * 1_000_000_000) == text)
    }
}
