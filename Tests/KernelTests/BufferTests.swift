// A buffer is a queue of bytes in a fixed room.
import Kernel
import Testing

struct BufferTests {
    @Test func `bytes come out in the order in which they went in`() {
        var buffer = Buffer(capacity: 8)
        check(buffer.isEmpty)
        #expect(buffer.append([1, 2, 3].span) == 3)
        #expect(buffer.append([4, 5].span) == 2)
        buffer.consume(2)
        #expect(array(buffer.span) == [3, 4, 5])
        #expect(buffer.count == 3)
        #expect(buffer.freeCapacity == 5)
    }

    @Test func `a buffer without memory takes nothing and can be given to a pool`() {
        var buffer = Buffer()
        #expect(buffer.capacity == 0)
        #expect(buffer.append([1].span) == 0)
        #expect(buffer.withFree { $0.freeCapacity } == 0)
        #expect(array(buffer.span) == [])
        #expect(MemoryLayout<Buffer>.stride == 24)
        var pool = BufferPool(budget: nil)
        pool.give(buffer)
        #expect(pool.bytesWarm == 0)
    }

    @Test func `only what fits is appended`() {
        var buffer = Buffer(capacity: 4)
        #expect(buffer.append([1, 2, 3].span) == 3)
        #expect(buffer.append([4, 5, 6].span) == 1)
        #expect(buffer.append([7].span) == 0)
        #expect(array(buffer.span) == [1, 2, 3, 4])
    }

    @Test func `ranges of every length arrive whole and touch nothing else`() {
        let bytes = (0..<100).map { UInt8($0 + 1) }
        for count in 0...80 {
            for offset in 0..<9 {
                var buffer = Buffer(capacity: 128)
                buffer.withFree { $0.append(repeating: 0xEE, count: 128) }
                buffer.removeAll()
                let before = bytes[..<offset]
                let range = bytes[offset..<(offset + count)]
                #expect(buffer.append(before.span) == offset)
                #expect(buffer.append(range.span) == count)
                #expect(array(buffer.span) == Array(bytes[..<(offset + count)]))
                buffer.withFree { output in
                    // Sound: the memory was written above.
                    let rest = unsafe output.withUnsafeMutableBufferPointer { memory, used in
                        used = memory.count
                        return unsafe memory.allSatisfy { $0 == 0xEE }
                    }
                    check(rest)
                }
            }
        }
    }

    @Test func `room in front is used again`() {
        var buffer = Buffer(capacity: 4)
        #expect(buffer.append([1, 2, 3, 4].span) == 4)
        buffer.consume(3)
        #expect(buffer.append([5, 6, 7, 8].span) == 3)
        #expect(array(buffer.span) == [4, 5, 6, 7])
    }

    @Test func `the free room can be written directly`() {
        var buffer = Buffer(capacity: 4)
        #expect(buffer.append([1, 2, 3].span) == 3)
        buffer.consume(2)
        let room = buffer.withFree { output in
            let room = output.freeCapacity
            output.append(9)
            output.append(8)
            return room
        }
        #expect(room == 3)
        #expect(array(buffer.span) == [3, 9, 8])
    }

    @Test func `what was written before an error stays`() {
        var buffer = Buffer(capacity: 4)
        #expect(throws: Unexpected.self) {
            try buffer.withFree { output throws(Unexpected) in
                output.append(1)
                throw Unexpected()
            }
        }
        #expect(array(buffer.span) == [1])
    }

    @Test func `an emptied buffer has all its room`() {
        var buffer = Buffer(capacity: 4)
        #expect(buffer.append([1, 2, 3].span) == 3)
        buffer.consume(3)
        check(buffer.isEmpty)
        #expect(buffer.append([1, 2, 3, 4].span) == 4)
        buffer.removeAll()
        #expect(buffer.freeCapacity == 4)
        #expect(buffer.append(pattern(0).span) == 0)
    }

    @Test func `any mix of appending and consuming is a queue`() {
        var random = RandomSource(seed: 3)
        var buffer = Buffer(capacity: 64)
        var model: [UInt8] = []
        for _ in 0..<5000 {
            let bytes = pattern(Int(random.next(below: 40)))
            let fitting = min(bytes.count, 64 - model.count)
            #expect(buffer.append(bytes.span) == fitting)
            model += bytes[..<fitting]
            #expect(array(buffer.span) == model)
            let count = Int(random.next(below: UInt32(model.count + 1)))
            buffer.consume(count)
            model.removeFirst(count)
            #expect(buffer.count == model.count)
        }
    }
}
