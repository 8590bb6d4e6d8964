// Content is read by its type and coding; encoded content is decoded within its bounds.
import CZlib
import CZstd
import Testing

@testable import Inference

/// A member of gzip.
private func gzip(_ bytes: [UInt8], level: Int32 = 9) -> [UInt8] {
    var stream = unsafe z_stream()
    let size = unsafe Int32(MemoryLayout<z_stream>.size)
    unsafe deflateInit2_(&stream, level, Z_DEFLATED, 31, 9, Z_DEFAULT_STRATEGY, ZLIB_VERSION, size)
    defer { unsafe deflateEnd(&stream) }
    let most = unsafe Int(deflateBound(&stream, UInt(bytes.count))) + 64
    var input = bytes
    return unsafe [UInt8](unsafeUninitializedCapacity: most) { output, count in
        unsafe input.withUnsafeMutableBufferPointer { source in
            unsafe stream.next_in = source.baseAddress
            unsafe stream.avail_in = UInt32(source.count)
            unsafe stream.next_out = output.baseAddress
            unsafe stream.avail_out = UInt32(most)
            unsafe deflate(&stream, Z_FINISH)
            unsafe count = most - Int(stream.avail_out)
        }
    }
}

/// A frame of Zstandard.
private func zstd(_ bytes: [UInt8], windowBits: Int32 = 0) -> [UInt8] {
    let context = unsafe ZSTD_createCCtx()
    defer { unsafe ZSTD_freeCCtx(context) }
    _ = unsafe ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1)
    if windowBits > 0 {
        _ = unsafe ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, windowBits)
        _ = unsafe ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0)
        // Without the size that is to come the window stands in the frame as it was asked for.
        var output = [UInt8](repeating: 0, count: ZSTD_compressBound(bytes.count))
        var target = unsafe output.withUnsafeMutableBytes {
            unsafe ZSTD_outBuffer(dst: $0.baseAddress, size: $0.count, pos: 0)
        }
        var source = unsafe bytes.withUnsafeBytes {
            unsafe ZSTD_inBuffer(src: $0.baseAddress, size: $0.count, pos: 0)
        }
        _ = unsafe ZSTD_compressStream2(context, &target, &source, ZSTD_e_flush)
        _ = unsafe ZSTD_compressStream2(context, &target, &source, ZSTD_e_end)
        return Array(output[..<(unsafe target.pos)])
    }
    return unsafe [UInt8](unsafeUninitializedCapacity: ZSTD_compressBound(bytes.count)) {
        output, count in
        unsafe bytes.withUnsafeBytes { source in
            unsafe count = ZSTD_compress2(
                context, output.baseAddress, output.count, source.baseAddress, source.count)
        }
    }
}

private func read(
    _ content: [UInt8], type: String = "application/json", coding: String = "", cuts: [Int] = [],
    decodedMax: Int = 64 << 20
) -> Reading {
    do throws(BodyRefusal) {
        var peek = try RequestPeek(
            contentType: Array(type.utf8).span, contentEncoding: Array(coding.utf8).span,
            decodedMax: decodedMax)
        for piece in pieces(content, cuts) { try peek.scan(piece.span) }
        try peek.finish()
        return Reading(peek.facts)
    } catch { return Reading(error) }
}

private let json = Array(
    #"{"messages":[{"role":"user","content":"hello hello hello"}],"model":"llama3","stream":true}"#
        .utf8)

private func large(_ count: Int) -> [UInt8] {
    var random = Seeded(3)
    var text: [UInt8] = Array(#"{"prompt":""#.utf8)
    while text.count < count { text.append(0x61 + UInt8.random(in: 0..<16, using: &random)) }
    return text + Array(#"","model":"llama3"}"#.utf8)
}

private func bomb(_ count: Int) -> [UInt8] {
    Array(#"{"model":"m","prompt":""#.utf8) + [UInt8](repeating: 0x61, count: count)
        + Array(#""}"#.utf8)
}

@Suite struct RequestPeekTests {
    @Test(arguments: [
        "application/json", "Application/JSON; charset=utf-8", "",
        "application/x-www-form-urlencoded", "text/plain",
        "application/vnd.api+json",
    ])
    func `JSON is read where servers read it`(type: String) {
        #expect(read(json, type: type).model == "llama3")
    }

    @Test(arguments: [
        "application/octet-stream", "audio/wav", "multipart/mixed; boundary=x", "application/jsonx",
        "+json",
    ])
    func `other content is opaque`(type: String) {
        #expect(read(json, type: type).refusal == .unsupportedType)
    }

    @Test func `forms are read`() {
        let form =
            "--x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper\r\n--x--\r\n"
        #expect(read(Array(form.utf8), type: "multipart/form-data; boundary=x").model == "whisper")
        #expect(
            read(gzip(Array(form.utf8)), type: "multipart/form-data; boundary=x", coding: "gzip")
                .model == "whisper")
        #expect(read(json, type: "multipart/form-data").refusal == .noBoundary)
    }

    @Test(arguments: [
        "deflate", "br", "compress", "gzip, gzip", "zstd,gzip", "gzip, br", "x", "gzip;q=1",
    ])
    func `other codings are refused`(coding: String) {
        #expect(read(json, coding: coding).refusal == .unsupportedCoding)
    }

    @Test(arguments: ["", "identity", " identity , ", "Identity, identity"])
    func `no coding is none`(coding: String) {
        #expect(read(json, coding: coding).model == "llama3")
    }

    static let codings: [(String, @Sendable ([UInt8]) -> [UInt8])] = [
        ("gzip", { gzip($0) }), ("GZip", { gzip($0, level: 0) }), ("x-gzip", { gzip($0) }),
        ("zstd", { zstd($0) }),
        ("identity, gzip", { gzip($0) }),
    ]

    @Test(arguments: 0..<codings.count)
    func `encoded content is read, wherever it is cut`(index: Int) {
        let (coding, encode) = Self.codings[index]
        let content = encode(json)
        let whole = read(content, coding: coding)
        #expect(whole == read(json))
        for cut in 0...content.count {
            #expect(read(content, coding: coding, cuts: [cut]) == whole)
        }
        #expect(read(content, coding: coding, cuts: Array(0...content.count)) == whole)
    }

    @Test(arguments: 0..<codings.count)
    func `members and frames follow each other`(index: Int) {
        let (coding, encode) = Self.codings[index]
        let content = encode(Array(json[..<30])) + encode([]) + encode(Array(json[30...]))
        let whole = read(content, coding: coding)
        #expect(whole == read(json))
        for cut in 0...content.count {
            #expect(read(content, coding: coding, cuts: [cut]) == whole)
        }
    }

    @Test(arguments: 0..<codings.count)
    func `encoded content that is cut short or broken is refused`(index: Int) {
        let (coding, encode) = Self.codings[index]
        let content = encode(json)
        for count in 0..<content.count {
            #expect(
                read(Array(content[..<count]), coding: coding).refusal == .truncated, "\(count)")
        }
        #expect(read(content + [0x78], coding: coding).refusal != nil)
        #expect(read(json, coding: coding).refusal == .brokenCoding)
        #expect(read(encode(Array("{]".utf8)), coding: coding).refusal == .notJSON)
        for at in content.indices {
            var broken = content
            broken[at] ^= 0x10
            let reading = read(broken, coding: coding)
            // A changed time or name in the frame changes nothing.
            #expect(reading.refusal != nil || reading.model == "llama3")
            #expect(read(broken, coding: coding, cuts: [at]).refusal == reading.refusal)
        }
    }

    @Test(arguments: [0, 3])
    func `large content comes through in steps`(index: Int) {
        let (coding, encode) = Self.codings[index]
        let content = encode(large(500_000))
        #expect(read(content, coding: coding).model == "llama3")
        let cuts = Array(stride(from: 0, to: content.count, by: 997))
        #expect(read(content, coding: coding, cuts: cuts).model == "llama3")
        #expect(read(content, coding: coding, decodedMax: 400_000).refusal == .decodedTooLarge)
        #expect(
            read(content, coding: coding, cuts: cuts, decodedMax: 400_000).refusal
                == .decodedTooLarge)
    }

    @Test(arguments: [0, 3])
    func `bombs are refused`(index: Int) {
        let (coding, encode) = Self.codings[index]
        #expect(read(encode(bomb(1_000_000)), coding: coding).model == "m")
        let content = encode(bomb(60 << 20))
        #expect(read(content, coding: coding).refusal == .decodedTooLarge)
        #expect(
            read(content, coding: coding, cuts: Array(stride(from: 0, to: content.count, by: 101)))
                .refusal == .decodedTooLarge)
    }

    @Test func `a window over 8 MiB is refused`() {
        let content = large(300_000)
        #expect(read(zstd(content, windowBits: 23), coding: "zstd").model == "llama3")
        #expect(read(zstd(content, windowBits: 25), coding: "zstd").refusal == .brokenCoding)
    }

    @Test func `ranges of encoded content are told to be none`() throws {
        let peek = try RequestPeek(
            contentType: Array("application/json".utf8).span,
            contentEncoding: Array("gzip".utf8).span, decodedMax: 10)
        let (isEncoded, isForm) = (peek.isEncoded, peek.isForm)
        #expect(isEncoded)
        #expect(!isForm)
    }
}
