// Proves that an access record is read as it was written, and that broken bytes are refused.

import BasicContainers
import Kernel
import Testing

@testable import Telemetry

/// A record with every number different, and its bytes.
func sampleRecord() throws -> AccessRecord {
    var record = AccessRecord()
    record.time = 1_763_850_130_123_456_789
    record.duration = 12_345_678_901
    record.timeToFirstByte = 234_567_890
    record.processing = 45_678
    record.connect = 567_891
    record.bytesReceived = 1_234
    record.bytesSent = 5_678_901
    record.series = 1
    record.backendSeries = 2
    record.listener = 3
    record.status = 200
    record.retries = 1
    record.version = 1
    record.isTLS = true
    record.ended = .done
    record.client = SocketAddress(parsing: "192.0.2.7:51234")
    record.endpoint = SocketAddress(parsing: "[2001:db8::1]:11434")
    return record
}

/// Writes a record with these texts.
func encoded(
    _ record: AccessRecord, method: String = "POST", path: [UInt8] = Array("/v1/chat".utf8),
    authority: String = "ai.example.com", userAgent: String = "curl/8", requestID: String = "id-1",
    reason: String = ""
) -> [UInt8] {
    var scratch = RigidArray<UInt8>(capacity: AccessRecordWriter.bytesMax)
    AccessRecordWriter.write(
        record, method: Array(method.utf8).span, path: path.span,
        authority: Array(authority.utf8).span, userAgent: Array(userAgent.utf8).span,
        requestID: Array(requestID.utf8).span, reason: Array(reason.utf8).span, into: &scratch)
    return (0..<scratch.count).map { scratch[$0] }
}

@Suite struct AccessRecordTests {
    private func read(_ bytes: [UInt8]) -> AccessRecordReader? { AccessRecordReader(bytes.span) }

    private func text(_ bytes: [UInt8], _ range: Range<Int>) -> String {
        String(decoding: bytes[range], as: UTF8.self)
    }

    @Test func `a record is read as it was written`() throws {
        let record = try sampleRecord()
        let bytes = encoded(record, reason: "up.timeout")
        let reader = try #require(read(bytes))
        #expect(reader.record == record)
        #expect(text(bytes, reader.texts.method) == "POST")
        #expect(text(bytes, reader.texts.path) == "/v1/chat")
        #expect(text(bytes, reader.texts.authority) == "ai.example.com")
        #expect(text(bytes, reader.texts.userAgent) == "curl/8")
        #expect(text(bytes, reader.texts.requestID) == "id-1")
        #expect(text(bytes, reader.texts.reason) == "up.timeout")
    }

    @Test(arguments: Ended.allCases)
    func `endings, missing addresses and empty texts survive`(ended: Ended) throws {
        var record = AccessRecord()
        record.ended = ended
        let bytes = encoded(
            record, method: "", path: [], authority: "", userAgent: "", requestID: "")
        let reader = try #require(read(bytes))
        #expect(reader.record == record)
        #expect(reader.texts.path.isEmpty)
    }

    @Test func `the largest record fits into the capacity that is promised`() throws {
        var record = AccessRecord()
        record.time = .max
        record.duration = .max
        record.timeToFirstByte = .max
        record.processing = .max
        record.connect = .max
        record.bytesReceived = .max
        record.bytesSent = .max
        record.series = .max
        record.backendSeries = .max
        record.listener = .max
        record.status = .max
        record.retries = .max
        record.version = .max
        record.isTLS = true
        record.ended = .drained
        let address = "2001:db8:1111:2222:3333:4444:5555:6666"
        record.client = SocketAddress(address, port: .max)
        record.endpoint = SocketAddress(address, port: .max)
        let long = String(repeating: "x", count: 5_000)
        let bytes = encoded(
            record, method: long, path: Array(long.utf8), authority: long, userAgent: long,
            requestID: long,
            reason: long)
        #expect(bytes.count <= AccessRecordWriter.bytesMax)
        let reader = try #require(read(bytes))
        #expect(reader.record == record)
        #expect(reader.texts.path.count == AccessRecordWriter.pathMax)
        #expect(reader.texts.method.count == AccessRecordWriter.methodMax)
        #expect(reader.texts.authority.count == AccessRecordWriter.authorityMax)
        #expect(reader.texts.userAgent.count == AccessRecordWriter.userAgentMax)
        #expect(reader.texts.requestID.count == AccessRecordWriter.requestIDMax)
        #expect(reader.texts.reason.count == AccessRecordWriter.reasonMax)
    }

    @Test func `a record cut at any byte is refused`() throws {
        let bytes = encoded(try sampleRecord())
        for count in 0..<bytes.count { #expect(read(Array(bytes[..<count])) == nil) }
        #expect(read(bytes + [0]) == nil)
    }

    @Test func `bytes that are no record never trap`() {
        var random = RandomSource(seed: 7)
        let sample = encoded(AccessRecord(), path: [0x2F])
        for _ in 0..<20_000 {
            var bytes = sample
            for _ in 0...Int(random.next() % 4) {
                let place = Int(random.next() % UInt64(bytes.count))
                bytes[place] = UInt8(truncatingIfNeeded: random.next())
            }
            if let reader = read(bytes) {
                #expect(reader.texts.path.upperBound <= bytes.count)
            }
        }
    }
}
