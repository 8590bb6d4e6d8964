/// A node's `/simulator/statistics`: one flat JSON object, the same for all engines.
enum StatisticsPage {
    /// Counts since the node began, or since the statistics last began anew.
    static func add(_ node: borrowing Node, now: UInt64, to text: inout Text) {
        let new = node.metrics
        let old = node.baseline
        text.add("{\"engine\":\"")
        text.add(text: node.options.engine.rawValue)
        text.add("\"")
        add("seconds", seconds(now - min(now, old.resetAt)), to: &text)
        add("requests", new.requests - old.requests, to: &text)
        add("refused", new.refused - old.refused, to: &text)
        add("finished", new.finished - old.finished, to: &text)
        add("aborted", new.aborted - old.aborted, to: &text)
        add("running", UInt64(node.runningCount), to: &text)
        add("waiting", UInt64(node.waitingCount), to: &text)
        add("peakRunning", UInt64(new.peakRunning), to: &text)
        add("peakWaiting", UInt64(new.peakWaiting), to: &text)
        add("promptTokens", new.cacheQueries - old.cacheQueries, to: &text)
        add("cachedTokens", new.cacheHits - old.cacheHits, to: &text)
        add("generatedTokens", new.generatedTokens - old.generatedTokens, to: &text)
        add("modelLoads", new.loads - old.loads, to: &text)
        add("evictions", new.evictions - old.evictions, to: &text)
        add("reloads", new.reloads - old.reloads, to: &text)
        add("adapterLoads", new.adapterLoads - old.adapterLoads, to: &text)
        add("preemptions", new.preemptions - old.preemptions, to: &text)
        add("prefillSeconds", seconds(new.prefillNanoseconds - old.prefillNanoseconds), to: &text)
        add("decodeSeconds", seconds(new.decodeNanoseconds - old.decodeNanoseconds), to: &text)
        add("busySeconds", seconds(new.busyNanoseconds - old.busyNanoseconds), to: &text)
        addCache(node, to: &text)
        add("kvUsage", node.cacheUsage, to: &text)
        add("peakKvUsage", new.peakUsage, to: &text)
        text.add("}")
    }

    /// The cache's size; where slots have one each, that of all slots together.
    private static func addCache(_ node: borrowing Node, to text: inout Text) {
        var blocks = 0
        for index in node.runners.indices {
            blocks +=
                node.options.hasBlocks
                ? node.runners[index].cache.blockCount
                : node.runners[index].contextTokens * node.slotCount(index)
        }
        add("kvBlocks", UInt64(blocks), to: &text)
        add("kvBlockTokens", UInt64(node.options.sharedTokens), to: &text)
    }

    private static func seconds(_ nanoseconds: UInt64) -> Double { Double(nanoseconds) / 1e9 }

    private static func add(_ name: StaticString, _ value: UInt64, to text: inout Text) {
        addName(name, to: &text)
        text.add(decimal: value)
    }

    private static func add(_ name: StaticString, _ value: Double, to text: inout Text) {
        addName(name, to: &text)
        text.add(fixed: value, places: 6)
    }

    private static func addName(_ name: StaticString, to text: inout Text) {
        text.add(",\"")
        text.add(name)
        text.add("\":")
    }
}
