import BasicContainers
import Kernel

@testable import Inference

let second: UInt64 = 1_000_000_000
let millisecond: UInt64 = 1_000_000

extension PoolState {
    /// A pool of `count` endpoints with the ids from 0 on, all of them unobserved.
    static func make(
        _ engine: EngineKind, _ count: Int, seed: UInt64 = 1, vram: UInt64 = 0,
        _ change: (inout PoolConfiguration) -> Void = { _ in }
    ) -> PoolState {
        var configuration = PoolConfiguration(engine: engine)
        change(&configuration)
        var pool = PoolState(configuration, seed: seed)
        pool.setEndpoints(
            (0..<count).map {
                PoolEndpoint(id: UInt32($0), session: UInt64($0) + 100, vramBytes: vram)
            }, now: 0)
        return pool
    }

    /// An observation of an engine that tells its load.
    mutating func load(
        _ id: UInt32, waiting: Int32 = 0, running: Int32 = 0, kv: Float = 0, at now: UInt64
    ) {
        var new = EndpointObservation(observedAt: now)
        new.known = [.load, .kvUsage]
        new.waiting = waiting
        new.running = running
        new.kvUsage = kv
        observe(id, new, now: now)
    }

    /// What an Ollama tells: models in memory, and on disk.
    mutating func models(
        _ id: UInt32, resident: [ResidentModel] = [], disk: [UInt64]? = nil, at now: UInt64
    ) {
        var new = EndpointObservation(observedAt: now)
        new.known = [.resident]
        for model in resident { new.append(model) }
        if let disk {
            new.known.insert(.disk)
            for model in disk { new.disk.append(model) }
        }
        observe(id, new, now: now)
    }

    /// A pick without a prompt, that must find an endpoint.
    mutating func take(_ request: PickRequest, at now: UInt64, _ blocks: [UInt64] = []) -> Lease? {
        if case .chosen(let lease) = pick(request, prefix: blocks.span, now: now) { return lease }
        return nil
    }

    mutating func wait(_ request: PickRequest, at now: UInt64) -> Ticket? {
        let noBlocks: [UInt64] = []
        if case .waiting(let ticket) = pick(request, prefix: noBlocks.span, now: now) {
            return ticket
        }
        return nil
    }

    mutating func refusal(_ request: PickRequest, at now: UInt64) -> RejectionReason? {
        let noBlocks: [UInt64] = []
        if case .rejected(let no) = pick(request, prefix: noBlocks.span, now: now) {
            return no.reason
        }
        return nil
    }

    /// Whether every count is back where it began.
    var isAtRest: Bool {
        var good =
            leases.count == 0 && queue.count == 0 && queue.waiters.count == 0
            && queue.lines.count == 0 && queue.bands.count == 0 && leaseTimes.isEmpty
        for slot in 0..<slotCount {
            good = good && rows[slot].inFlight == 0 && rows[slot].unstarted == 0
            good = good && rows[slot].bytesInFlight == 0 && rows[slot].loadingCount == 0
            good = good && rows[slot].freshBytes == 0
            good = good && rows[slot].reservedBytes == 0 && !rows[slot].breaker.isProbing
            for model in 0..<models.count {
                let place = models.places[models.at(model, slot)]
                good = good && place.inFlight == 0 && place.loading == 0
                good = good && !place.breaker.isProbing
            }
        }
        for model in 0..<models.count { good = good && models.rows[model].inFlight == 0 }
        return good
    }
}

func request(_ model: UInt64, priority: Int32 = 0, flow: UInt64 = 0, exchange: UInt64 = 0)
    -> PickRequest
{
    var new = PickRequest(model: model, asker: Asker(worker: 0, exchange: exchange))
    new.priority = priority
    new.flow = flow
    return new
}
