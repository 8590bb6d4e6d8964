import HTTP
import Kernel
import Runtime
import Telemetry

/// The endpoint of a request to a pool.
extension Worker {
    /// Picks an endpoint and begins the first attempt there.
    mutating func pick(_ id: SlotID) {
        guard let row = chooseEndpoint(cluster: exchanges[id].decision.clusterID, avoiding: .max),
            nameEndpoint(id, row)
        else {
            fail(id, .noEndpoint)
            return
        }
        attempt(id, endpoint: row)
        // What follows is content that nobody waits for, or nothing.
        if exchanges.contains(id), exchanges[id].takesContent {
            enqueue(downstream: exchanges[id].downstream)
        }
    }
}
