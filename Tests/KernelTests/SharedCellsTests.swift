// One thread counts, others look, and nobody waits.
import Glibc
import Kernel
import Testing

struct SharedCellsTests {
    @Test func `cells begin at zero, add, and are replaced`() {
        let cells = SharedCells(count: 3)
        #expect(cells.count == 3)
        #expect((0..<3).allSatisfy { cells.load($0) == 0 })
        cells.add(1, 5)
        cells.add(1, 2)
        cells.store(2, 9)
        #expect((0..<3).map { cells.load($0) } == [0, 7, 9])
        cells.add(1, .max)
        #expect(cells.load(1) == 6)
    }

    @Test func `a run adds to the cells it was made for`() {
        let cells = SharedCells(count: 8)
        let run: CellRun<3> = cells.run(from: 5)
        run.add(0, 4)
        run.add(2, 7)
        run.add(2, 1)
        #expect((0..<8).map { cells.load($0) } == [0, 0, 0, 0, 0, 4, 0, 8])
        let one: CellRun<1> = cells.run(from: 0)
        one.add(0, .max)
        one.add(0, 2)
        #expect(cells.load(0) == 1)
    }

    @Test func `a cell outside of a row or of a run ends the process`() async {
        await #expect(processExitsWith: .failure) { SharedCells(count: 2).add(2, 1) }
        await #expect(processExitsWith: .failure) { SharedCells(count: 2).add(-1, 1) }
        await #expect(processExitsWith: .failure) {
            let run: CellRun<3> = SharedCells(count: 4).run(from: 2)
            run.add(0, 1)
        }
        await #expect(processExitsWith: .failure) {
            let run: CellRun<3> = SharedCells(count: 4).run(from: -1)
            run.add(0, 1)
        }
        await #expect(processExitsWith: .failure) {
            let run: CellRun<3> = SharedCells(count: 4).run(from: 1)
            run.add(Int(SharedCells(count: 9).load(0)) + 3, 1)
        }
    }

    @Test func `a reader sees counts grow and no update is lost`() throws {
        let cells = SharedCells(count: 2)
        let thread = try Thread.start(name: "counter") {
            for _ in 0..<300_000 { cells.add(1, 1) }
        }
        var last: UInt64 = 0
        var isGrowing = true
        while last < 300_000 {
            let now = cells.load(1)
            if now < last { isGrowing = false }
            last = now
            _ = sched_yield()
        }
        thread.join()
        #expect(isGrowing)
        #expect(cells.load(1) == 300_000)
    }

    @Test func `what was written before a release is seen after the acquire`() throws {
        let cells = SharedCells(count: 9)
        let thread = try Thread.start(name: "publisher") {
            for round in UInt64(1)...20_000 {
                while cells.load(8) != round - 1 { _ = sched_yield() }
                for index in 0..<7 { cells.store(index, round) }
                cells.storeRelease(7, round)
            }
        }
        var isWhole = true
        for round in UInt64(1)...20_000 {
            while cells.loadAcquire(7) != round { _ = sched_yield() }
            for index in 0..<7 where cells.load(index) != round { isWhole = false }
            cells.store(8, round)
        }
        thread.join()
        #expect(isWhole)
    }

    @Test func `a cell outside the row traps`() async {
        await #expect(processExitsWith: .failure) { SharedCells(count: 2).add(2, 1) }
    }
}
