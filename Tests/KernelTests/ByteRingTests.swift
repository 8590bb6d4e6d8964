// Records cross the ring whole, in order, and those without room are counted.
import BasicContainers
import Glibc
import Kernel
import Testing

struct ByteRingTests {
    @Test(arguments: [0, 1, 3, 4, 5, 59, 60])
    func `a record comes out as it went in`(count: Int) {
        let ring = ByteRing(capacity: 64)
        var output = RigidArray<UInt8>(capacity: 100)
        for _ in 0..<50 {
            output.removeAll()
            #expect(ring.nextCount == nil)
            check(ring.write(pattern(count).span))
            #expect(ring.nextCount == count)
            check(ring.read(into: &output))
            #expect(array(output.span) == pattern(count))
            check(!ring.read(into: &output))
        }
        #expect(ring.dropped == 0)
    }

    @Test func `a record without room is dropped whole and counted`() {
        let ring = ByteRing(capacity: 64)
        #expect(ring.capacity == 64)
        check(!ring.write(pattern(61).span))
        check(ring.write(pattern(30).span))
        check(!ring.write(pattern(25).span))
        check(ring.write(pattern(24).span))
        #expect(ring.dropped == 2)
        var output = RigidArray<UInt8>(capacity: 100)
        check(ring.read(into: &output))
        check(ring.read(into: &output))
        #expect(array(output.span) == pattern(30) + pattern(24))
    }

    @Test func `a record that does not fit into the output stays`() {
        let ring = ByteRing(capacity: 64)
        check(ring.write(pattern(10).span))
        var small = RigidArray<UInt8>(capacity: 9)
        check(!ring.read(into: &small))
        check(small.isEmpty)
        var output = RigidArray<UInt8>(capacity: 10)
        check(ring.read(into: &output))
        #expect(array(output.span) == pattern(10))
    }

    @Test func `records cross from one thread to another`() throws {
        let ring = ByteRing(capacity: 1024)
        let total = 100_000
        let thread = try Thread.start(name: "writer") {
            for number in 0..<total {
                let record = [UInt8](repeating: UInt8(number & 255), count: number % 37)
                while !ring.write(record.span) { _ = sched_yield() }
            }
        }
        var output = RigidArray<UInt8>(capacity: 64)
        var number = 0
        var isRight = true
        while number < total {
            output.removeAll()
            guard ring.read(into: &output) else {
                _ = sched_yield()
                continue
            }
            isRight = isRight && output.count == number % 37
            for index in 0..<output.count where output[index] != UInt8(number & 255) {
                isRight = false
            }
            number += 1
        }
        thread.join()
        #expect(isRight)
        #expect(ring.nextCount == nil)
    }
}
