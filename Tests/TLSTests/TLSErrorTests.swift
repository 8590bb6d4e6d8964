// That every failure has a sentence, and that making one leaves no trace in the library.
import COpenSSL
import Testing

@testable import TLS

@Suite struct `A TLS error` {
    @Test(arguments: TLSError.Reason.allCases) func `has a sentence of its own`(
        reason: TLSError.Reason
    ) {
        let text = TLSError(reason).description
        #expect(text.count > 10)
        let others = TLSError.Reason.allCases.filter { $0 != reason }
        #expect(!others.map { TLSError($0).description }.contains(text))
        #expect(TLSError(reason).libraryText == nil)
    }

    @Test func `empties the library's queue`() throws {
        // The library loads its words with the first context.
        _ = try clientConfiguration()
        for _ in 0..<3 {
            ERR_new()
            ERR_set_error_of_tests()
        }
        #expect(ERR_peek_error() != 0)
        let error = TLSError(.library, takingCause: ())
        #expect(ERR_peek_error() == 0)
        #expect(error.libraryText != nil)
    }

    @Test func `is small and has no parts to count`() {
        #expect(MemoryLayout<TLSError>.size <= 24)
        #expect(MemoryLayout<TLSSession>.size <= 32)
    }
}
