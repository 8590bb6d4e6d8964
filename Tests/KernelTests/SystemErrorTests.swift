// A failed call says what failed and why.
import Glibc
import Kernel
import Testing

struct SystemErrorTests {
    @Test func `the sentence names the call, the reason and the number`() {
        #expect(SystemError("bind", EADDRINUSE).description == "bind: Address already in use (98)")
    }

    @Test func `errors are equal when call and code are`() {
        #expect(SystemError("bind", 98) == SystemError("bind", 98))
        #expect(SystemError("bind", 98) != SystemError("bind", 13))
        #expect(SystemError("bind", 98) != SystemError("listen", 98))
    }

    @Test func `an unknown code has a sentence too`() {
        #expect(SystemError("x", 9999).description == "x: Unknown error 9999 (9999)")
    }
}
