import HTTPCodec
import Testing

@Suite struct FloodWordTests {
    @Test func `every flood has a word of its own`() {
        let words = Flood.allCases.map { "\($0.slug)" }
        #expect(Set(words).count == words.count)
        #expect(words.allSatisfy { $0.hasPrefix("h2.flood.") })
    }
}
