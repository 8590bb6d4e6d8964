import Testing

@testable import Proxy

/// Where Host stands in a head that was written for a backend.
@Suite struct HeadLinesTests {
    private func value(_ head: String, from start: Int = 0) -> String {
        let bytes = Array(head.utf8)
        let range = HeadLines.value("host:", in: bytes.span, from: start)
        return String(decoding: bytes[range], as: UTF8.self)
    }

    @Test(arguments: [
        ("GET / HTTP/1.1\r\nhost: a.example:80\r\naccept: */*\r\n\r\n", "a.example:80"),
        ("GET / HTTP/1.1\r\naccept: */*\r\nHost:b\r\n\r\n", "b"),
        ("GET / HTTP/1.1\r\nx-host: no\r\nhost: yes\r\n\r\n", "yes"),
        ("GET / HTTP/1.1\r\naccept: */*\r\n\r\nhost: content", ""),
        ("GET / HTTP/1.1\r\n\r\n", ""),
    ])
    func `the value is found in any line of the head and nowhere else`(
        row: (head: String, value: String)
    ) {
        #expect(value(row.head) == row.value)
        #expect(value("log strings" + row.head, from: 11) == row.value)
    }
}
