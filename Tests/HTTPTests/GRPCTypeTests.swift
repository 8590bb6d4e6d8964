import HTTP
import Testing

/// The content types of gRPC.
@Suite struct GRPCTypeTests {
    @Test(arguments: [
        ("application/grpc", true), ("application/grpc+proto", true),
        ("Application/GRPC; charset=utf-8", true), ("application/grpc-web", false),
        ("application/grpc-web+proto", false), ("application/json", false), ("", false),
        ("application/grp", false), ("application/grpcx", false),
    ])
    func `calls are told by their content type`(row: (type: String, isCall: Bool)) {
        let bytes = Array(row.type.utf8)
        #expect(GRPCType.isCall(bytes.span) == row.isCall)
    }
}
