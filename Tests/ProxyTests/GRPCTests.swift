import Testing

@testable import Proxy

/// What the gateway itself knows of gRPC.
@Suite struct GRPCTests {
    @Test(arguments: [
        ("1H", 3_600_000), ("2M", 120_000), ("3S", 3_000), ("250m", 250), ("1u", 1),
        ("1001u", 2), ("1n", 1), ("2000000n", 2), ("0m", 1), ("99999999H", UInt32.max),
        ("00000010S", 10_000),
    ])
    func `a timeout is read to the millisecond, never as none`(
        row: (text: String, milliseconds: UInt32)
    ) {
        let bytes = Array(row.text.utf8)
        #expect(GRPC.milliseconds(bytes.span) == row.milliseconds)
    }

    @Test(arguments: ["", "S", "1", "1s", "-1S", "+1S", " 1S", "1 S", "123456789S", "1.5S", "0x1S"])
    func `a malformed timeout is none`(text: String) {
        let bytes = Array(text.utf8)
        #expect(GRPC.milliseconds(bytes.span) == nil)
    }
}
