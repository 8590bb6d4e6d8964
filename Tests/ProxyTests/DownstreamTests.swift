import Testing

@testable import Proxy

struct DownstreamTests {
    /// What most clients' connections do most of the time is wait, so their number bounds this.
    @Test func `a connection's slot is small`() {
        let header = 8
        #expect(MemoryLayout<Downstream>.size + header <= 256)
        #expect(MemoryLayout<Downstream>.alignment == 8)
    }
}
