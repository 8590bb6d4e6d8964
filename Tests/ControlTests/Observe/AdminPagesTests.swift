// What the ports show comes from published state, in the forms that readers of it know.
import Kernel
import Logging
import Telemetry
import Testing

@testable import Control

private func pages(_ state: Published = Published()) -> AdminPages {
    AdminPages(published: PublishedState(state), readers: [Shard(worker: 0).reader])
}

private func text(_ reply: AdminReply) -> String { String(decoding: reply.content, as: UTF8.self) }

struct AdminPagesTests {
    @Test(arguments: [
        (UInt64(0), false, false, 503, "starting"), (0, true, true, 503, "draining"),
        (1, true, false, 200, "ready\n"), (1, false, false, 503, "not ready: no listener"),
        (1, false, true, 503, "draining"), (7, true, true, 503, "draining"),
    ])
    func `readiness is false at the start and while draining`(
        generation: UInt64, isReady: Bool, isDraining: Bool, status: Int, words: String
    ) {
        var state = Published()
        state.generation = generation
        state.isReady = isReady
        state.isDraining = isDraining
        let reply = pages(state).reply(.readyz)
        #expect(reply.status == status)
        #expect(text(reply).hasPrefix(words))
        #expect(pages(state).reply(.livez).status == 200)
    }

    @Test func `metrics have the version and the last reload`() {
        var state = Published()
        #expect(!text(pages(state).reply(.metrics)).contains("last_reload"))
        state.isLastReloadGood = false
        let page = text(pages(state).reply(.metrics))
        #expect(page.contains("ai_gateway_build_info{version=\"\(Build.version)\"} 1\n"))
        #expect(page.contains("ai_gateway_config_last_reload_success 0\n"))
        #expect(AdminReply.Form.metrics.contentType.description == PrometheusText.contentType)
    }

    @Test func `the status is what status reads`() throws {
        var state = Published()
        state.problems = [ConfigProblem(.warning, reason: "Odd", message: "it is odd")]
        let reply = pages(state).reply(.status)
        #expect(reply.form == .json)
        let document = try StatusDocument(json: reply.content)
        #expect(document.problems?.map(\.message) == ["it is odd"])
        #expect(StatusRequest.text(document) == "warning: it is odd\n")
    }

    @Test func `the page shows problems as text, whatever is in them`() {
        var state = Published()
        state.problems = [
            ConfigProblem(reason: "Odd", message: "<script>alert(\"&\")</script>")
        ]
        let page = text(pages(state).reply(.page))
        #expect(page.contains("&lt;script&gt;alert(&quot;&amp;&quot;)&lt;/script&gt;"))
        #expect(!page.contains("<script>"))
        for path in ["/livez", "/readyz", "/metrics", "/status", "/config"] {
            #expect(page.contains("href=\"\(path)\""))
        }
        #expect(!page.contains("/drain"))
    }
}

struct LogLevelsTests {
    @Test func `loggers follow the level that is set`() {
        let record = RecordingLog()
        let levels = LogLevels(.info)
        let log = levels.following(record.logger)
        log.debug("one")
        levels.current = .debug
        log.debug("two")
        levels.current = .error
        log.warning("three")
        log.error("four")
        #expect(record.lines == ["debug two", "error four"])
        #expect(levels.current == .error)
    }
}
