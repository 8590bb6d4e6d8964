import Runtime
import Testing

@Suite struct ConnectionReportTests {
    @Test func `a worker that cannot be reached is not waited for, and is missing all the same`() {
        let report = ConnectionReport(workers: 3)
        report.take([], total: 4)
        report.noteUnreached()
        #expect(!report.isComplete)
        report.take([], total: 1)
        #expect(report.isComplete)
        #expect(report.answer.total == 5 && report.answer.missing == 1)
    }
}
