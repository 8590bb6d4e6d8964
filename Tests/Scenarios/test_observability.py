"""The admin port, the metrics by name, the access log, and what they never show."""
import json
import re
import socket
import threading
import time

import pytest

from Fixtures import documents as docs
from Fixtures import metrics
from Fixtures.gateway import serving
from Fixtures.http1 import fetch, request_bytes
from Fixtures.net import free_port, wait_until
from Fixtures.origin import Origin

NAMES = ["ai_gateway_requests_total", "ai_gateway_request_duration_seconds_count", "ai_gateway_processing_seconds_count",
         "ai_gateway_upstream_connect_seconds_count", "ai_gateway_downstream_connections", "ai_gateway_received_bytes_total",
         "ai_gateway_sent_bytes_total", "ai_gateway_config_last_reload_success", "ai_gateway_build_info"]


@pytest.fixture(scope="module")
def watched(certificate):
    metrics_port = free_port()
    with Origin() as origin, serving(origin, flags=["--metrics", f"127.0.0.1:{metrics_port}"],
                                     extra=[certificate.secret("tls")]) as gateway:
        gateway.metrics_port, gateway.key = metrics_port, certificate
        for n in range(30):
            gateway.get(f"/{n}", method="POST", body=b"x" * 100)
        yield gateway


def test_metric_names_and_labels(watched):
    """Every name of the interface, with its labels; requests counted once each."""
    page = wait_until(lambda: (p := watched.metrics()) and metrics.total(p, "ai_gateway_requests_total", method="POST") >= 30 and p, 5)
    for name in NAMES:
        assert name in page, f"{name} is missing among {sorted(page)}"
    labels = dict(next(iter(page["ai_gateway_requests_total"])))
    assert {"gateway", "listener", "route", "rule", "backend", "method", "code"} <= set(labels), labels
    assert metrics.total(page, "ai_gateway_requests_total", method="POST", code="200") == 30


def test_the_page_passes_the_linter(watched):
    """As `promtool check metrics` would have it: HELP and TYPE, units, histograms whole."""
    problems = metrics.lint(watched.metrics_text())
    assert not problems, problems


def test_durations_are_plausible():
    """The histogram's sum is about what the client measured, and the gateway's own share is a small part of it."""
    def script(peer):
        while peer.read_request() is not None:
            time.sleep(0.1)
            peer.respond(200, body=b"x")
    with Origin(script) as origin, serving(origin) as gateway:
        with gateway.client() as client:
            for _ in range(5):
                client.request("GET", "/")
        page = wait_until(lambda: (p := gateway.metrics()) and metrics.total(p, "ai_gateway_request_duration_seconds_count") >= 5 and p, 5)
        whole = metrics.total(page, "ai_gateway_request_duration_seconds_sum")
        own = metrics.total(page, "ai_gateway_processing_seconds_sum")
        assert 0.5 <= whole < 2 and own < 0.1 * whole, (whole, own)


def test_failures_are_counted_by_backend_and_reason():
    """A refused connection shows in _upstream_failures_total{backend,reason}."""
    with serving(None, rules=[docs.rule(["origin"])], extra=[docs.backend([("127.0.0.1", free_port())])]) as gateway:
        assert gateway.get("/").status == 503
        page = wait_until(lambda: (p := gateway.metrics()) and p.get("ai_gateway_upstream_failures_total") and p, 5)
        labels = dict(next(iter(page["ai_gateway_upstream_failures_total"])))
        assert "reason" in labels and "origin" in labels["backend"], labels
        assert metrics.total(page, "ai_gateway_requests_total", code="503") == 1


def test_rows_that_are_zero_are_not_printed(watched):
    """No series of a counter with labels stands at 0."""
    page = watched.metrics()
    zero = [k for name, series in page.items() if name.endswith("_total") for k, v in series.items() if v == 0 and k]
    assert not zero, zero


def test_the_gauge_of_connections_follows(watched):
    """Open connections go up and down again."""
    base = watched.total("ai_gateway_downstream_connections")
    clients = [watched.client() for _ in range(25)]
    for client in clients:
        client.request("GET", "/")
    wait_until(lambda: watched.total("ai_gateway_downstream_connections") >= base + 25, 5)
    for client in clients:
        client.close()
    wait_until(lambda: watched.total("ai_gateway_downstream_connections") <= base + 1, 5)


def test_the_metrics_port_has_health_and_metrics_only(watched):
    """/livez, /readyz, /metrics; nothing else, and no token."""
    for path, status in (("/livez", 200), ("/readyz", 200), ("/metrics", 200), ("/config", 404), ("/status", 404), ("/", 404)):
        assert fetch("127.0.0.1", watched.metrics_port, path, host=f"127.0.0.1:{watched.metrics_port}").status == status, path


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/status", "/config"])
def test_admin_paths_answer(watched, path):
    """200 each, and 404 for what is not there."""
    assert watched.admin(path).status == 200
    assert watched.admin("/nothing-here").status == 404


def test_status_is_every_object_with_its_conditions(watched):
    """Gateway with listeners and addresses, HTTPRoute with parents, as the API's status."""
    gateway, route = watched.object("Gateway", "gateway"), watched.object("HTTPRoute", "route")
    have = {(c["type"], c["status"]) for c in gateway["status"]["conditions"]}
    assert {("Accepted", "True"), ("Programmed", "True")} <= have
    assert gateway["status"]["addresses"][0]["value"] == "127.0.0.1"
    assert gateway["status"]["listeners"][0]["attachedRoutes"] == 1
    assert route["status"]["parents"][0]["controllerName"] == "ai-gateway.dev/gateway-controller"
    for condition in gateway["status"]["conditions"] + route["status"]["parents"][0]["conditions"]:
        assert {"type", "status", "reason", "message", "lastTransitionTime", "observedGeneration"} <= set(condition)


def test_config_shows_no_secret(watched):
    """The running documents, with sha256: and eight digits where a secret stands."""
    text = watched.admin("/config").body.decode()
    assert "HTTPRoute" in text and re.search(r"sha256:[0-9a-f]{8}", text)
    key = watched.key.secret("tls")["data"]["tls.key"]
    assert key[:60] not in text and "PRIVATE KEY" not in text


@pytest.mark.parametrize("fields,status", [([("Host", "evil.example")], 403), ([("Origin", "https://evil.example")], 403)])
def test_a_foreign_host_or_origin_is_refused(watched, fields, status):
    """What a page in a browser could send by DNS rebinding."""
    host = dict(fields).get("Host", f"127.0.0.1:{watched.admin_port}")
    response = fetch("127.0.0.1", watched.admin_port, "/config", headers=[f for f in fields if f[0] != "Host"], host=host)
    assert response.status in (status, 400, 401, 421) and b"HTTPRoute" not in response.body


def test_a_post_needs_a_content_type(watched):
    """A form of a browser cannot drain the gateway."""
    assert watched.admin("/drain", method="POST", headers=[("Content-Type", "text/plain")]).status in (400, 403, 415)
    assert watched.alive() and watched.admin("/readyz").status == 200


def test_post_drain_drains():
    """POST /drain with application/json is a SIGTERM by hand."""
    with Origin() as origin, serving(origin) as gateway:
        assert gateway.admin("/drain", method="POST", headers=[("Content-Type", "application/json")], body=b"{}").status in (200, 202, 204)
        assert gateway.wait(10) == 0


def test_the_access_log_is_one_json_line_a_request():
    """Id, status, method, route, backend, bytes and times; refused requests too; control bytes escaped."""
    with Origin() as origin, serving(origin) as gateway:
        gateway.get("/one?x=1", headers=[("X-Request-Id", "log-1")])
        gateway.get("/two", headers=[("X-Request-Id", "log-2")], method="POST", body=b"x" * 1000)
        with gateway.client() as client:
            client.send(b"GET /bad HTTP/1.1\r\nHost: a b\r\n\r\n")
            assert client.read().status == 400
        lines = wait_until(lambda: len(gateway.access()) >= 3 and gateway.access(), 5, what="three lines")
        assert len(lines) == 3
        one = next(l for l in lines if "log-1" in l.values())
        flat = [str(v) for v in one.values()]
        assert 200 in one.values() and "GET" in flat, one
        assert any("route" in v for v in flat) and any("origin" in v for v in flat), one
        two = next(l for l in lines if "log-2" in l.values())
        assert 1000 in two.values() and "POST" in two.values(), two
        bad = next(l for l in lines if 400 in l.values())
        assert any("host" in str(v) for v in bad.values()), f"no detail code: {bad}"


def test_a_streams_line_is_written_at_its_end():
    """Not at its head; with the bytes of the whole stream."""
    import threading
    go = threading.Event()

    def script(peer):
        peer.read_request()
        peer.head(200, [("Transfer-Encoding", "chunked")])
        peer.chunk(b"x" * 100)
        go.wait(5)
        peer.chunk(b"x" * 100)
        peer.end_chunks()
    with Origin(script) as origin, serving(origin) as gateway, gateway.client() as client:
        client.send(request_bytes("GET", "/", [("X-Request-Id", "stream-1")]))
        head = client.read_response()
        time.sleep(0.3)
        assert gateway.access() == []
        go.set()
        b"".join(client.pieces(head))
        line = wait_until(lambda: next(iter(gateway.access()), None), 5)
        assert "stream-1" in line.values()
        assert any(isinstance(v, int) and 200 <= v <= 400 and v != 200 for v in line.values()) or 200 in line.values()


def test_secrets_never_reach_the_log():
    """Authorization, cookies and queries' keys are not in the log or the messages."""
    with Origin() as origin, serving(origin) as gateway:
        gateway.get("/x", headers=[("Authorization", "Bearer top-secret-1"), ("Cookie", "s=top-secret-2"), ("X-Api-Key", "top-secret-3")])
        wait_until(lambda: gateway.access(), 5)
        with open(gateway.access_path) as file:
            assert "top-secret" not in file.read() + gateway.messages()


def test_the_access_log_is_reopened_on_sighup():
    """logrotate: after a rename and SIGHUP, lines go to the new file."""
    import os
    import signal
    with Origin() as origin, serving(origin) as gateway:
        gateway.get("/before")
        wait_until(lambda: gateway.access(), 5)
        os.rename(gateway.access_path, gateway.access_path + ".1")
        gateway.signal(signal.SIGHUP)
        wait_until(lambda: os.path.exists(gateway.access_path), 5)
        gateway.get("/after")
        wait_until(lambda: gateway.access(), 5)
        assert len(gateway.access()) == 1


def test_the_admin_port_answers_under_load():
    """Health and metrics do not wait behind traffic."""
    import threading
    with Origin() as origin, serving(origin, workers=1) as gateway:
        stop = threading.Event()

        def load():
            with gateway.client() as client:
                while not stop.is_set():
                    client.send(request_bytes("GET", "/") * 20)
                    for _ in range(20):
                        client.read()
        threads = [threading.Thread(target=load) for _ in range(4)]
        [t.start() for t in threads]
        worst = 0
        for _ in range(30):
            began = time.monotonic()
            assert gateway.admin("/readyz").status == 200
            worst = max(worst, time.monotonic() - began)
        stop.set()
        [t.join() for t in threads]
        assert worst < 2, worst


def test_own_answers_say_what_and_what_to_do():
    """A 404 is a sentence for people, with the id that leads to the log line; no names or addresses inside."""
    with Origin() as origin, serving(origin, rules=[docs.rule(path="/only")]) as gateway:
        response = gateway.get("/none", headers=[("X-Request-Id", "find-me")])
        assert response.status == 404 and len(response.body) > 20
        assert str(origin.port).encode() not in response.body and b"127.0.0.1" not in response.body
        assert response.get("x-request-id") == "find-me"
        assert any("find-me" in l.values() for l in wait_until(lambda: gateway.access(), 5))


def test_status_as_json_is_what_the_command_shows():
    """`ai-gateway status --admin URL` prints the objects and their conditions."""
    from Fixtures.gateway import cli
    with Origin() as origin, serving(origin) as gateway:
        code, out, err = cli("status", "--admin", f"http://127.0.0.1:{gateway.admin_port}")
        assert code == 0 and "route" in out and "Accepted" in out, (code, out, err)
        assert json.dumps(gateway.status())
    code, _, err = cli("status", "--admin", f"http://127.0.0.1:{free_port()}")
    assert code == 1 and err


def test_the_log_and_the_metrics_name_a_listener_alike():
    """So that a row of one leads to lines of the other; also where no rule matched."""
    with Origin() as origin, serving(origin, rules=[docs.rule(path="/there")]) as gateway:
        assert gateway.get("/there").status == 200 and gateway.get("/nowhere").status == 404
        lines = wait_until(lambda: len(gateway.access()) == 2 and gateway.access(), 5)
        page = wait_until(lambda: (p := gateway.metrics()) and metrics.total(p, "ai_gateway_requests_total", code="200") and p, 5)
        labels = next(dict(l) for l in page["ai_gateway_requests_total"] if dict(l)["code"] == "200")
        for line in lines:
            assert (line["gateway"], line["listener"]) == (labels["gateway"], labels["listener"]) == ("default/gateway", "http")


def test_matches_that_meet_a_bound_are_counted():
    """A regular expression that takes too many steps is no match, and shows."""
    with Origin() as origin, serving(origin, rules=[docs.rule(regex="/(a|aa)+d"), docs.rule(path="/b")], workers=1) as gateway:
        assert gateway.get("/" + "a" * 60 + "xd").status == 404
        assert wait_until(lambda: gateway.get("/b").status == 200 and gateway.total("ai_gateway_regex_limit_total"), 5, every=0.3) == 1


def test_connections_are_told():
    """Of each client what it waits for: of a request its backend and endpoint, of an idle connection how many it had, of HTTP/2 each stream."""
    go = threading.Event()

    def script(peer):
        while (request := peer.read_request()) is not None:
            if request.target.startswith("/slow"):
                go.wait(20)
            peer.respond(200, body=b"x" * 100)
    with Origin(script) as origin, serving(origin, workers=2) as gateway, gateway.client() as idle, gateway.client() as busy, \
            gateway.http2() as multiplexed:
        def told():
            page = json.loads(gateway.admin("/connections").body)
            assert page["total"] == len(page["connections"]) and "missing" not in page
            return {(c["client"], c["protocol"], (c.get("request") or {}).get("method")): c for c in page["connections"]}

        def name(client):
            address, port = getattr(client, "wire", client).sock.getsockname()[:2]
            return f"{address}:{port}"

        for _ in range(2):
            assert idle.request("GET", "/").status == 200
        busy.send(b"POST /slow?secret=1 HTTP/1.1\r\nHost: test.example\r\nContent-Length: 3\r\n\r\nabc")
        stream = multiplexed.open("GET", "/slow")
        found = wait_until(lambda: (t := told()) and len([c for c in t.values() if c["stage"] == "awaitingAnswer"]) == 2 and t, 5, what=told)
        waits = found[(name(idle), "HTTP/1.1", None)]
        assert waits["stage"] == "reading" and waits["requests"] == 2 and not waits["tls"]
        request = found[(name(busy), "HTTP/1.1", "POST")]["request"]
        assert request["endpoint"] == f"127.0.0.1:{origin.port}" and request["backend"]
        assert request["receivedBytes"] == 3 and request["attempts"] == 1 and request["ageMilliseconds"] < 20_000
        assert found[(name(multiplexed), "HTTP/2", None)] and found[(name(multiplexed), "stream", "GET")]["request"]["listener"]
        assert b"secret" not in gateway.admin("/connections").body and b"/slow" not in gateway.admin("/connections").body
        go.set()
        busy.read("POST")
        multiplexed.finish(stream)
        wait_until(lambda: all(c["stage"] == "reading" for c in told().values()), 5)


def test_what_buffers_hold_is_told():
    """Heads that are not complete take memory, and the gauge says so until they are gone."""
    part = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"x-%d: %s\r\n" % (i, b"v" * 7000) for i in range(6))
    with Origin() as origin, serving(origin) as gateway:
        held = []
        for _ in range(50):
            client = gateway.client()
            client.send(part)
            held.append(client)
        wait_until(lambda: gateway.get("/").status == 200 and gateway.total("ai_gateway_buffer_bytes") > 50 * len(part), 5)
        for client in held:
            client.close()
        wait_until(lambda: gateway.total("ai_gateway_buffer_bytes") == 0, 5)


def test_memory_and_descriptors_of_the_process_are_told(watched):
    """As the system tells them."""
    assert abs(watched.total("process_resident_memory_bytes") - watched.rss()) < 8 << 20
    assert abs(watched.total("process_open_fds") - watched.descriptors()) <= 8


def test_the_log_level_holds_for_all_messages():
    """Set on the admin port, it silences what the main thread says as well."""
    with Origin() as origin, serving(origin) as gateway:
        answer = gateway.admin("/log-level?level=error", method="POST", headers=[("Content-Type", "application/json")])
        assert answer.status == 200
        before = len(gateway.messages())
        gateway.signal()
        assert gateway.wait(10) == 0
        assert gateway.messages()[before:].count("\n") == 0, gateway.messages()


@pytest.mark.parametrize("begun", [b"", b"GET /li", b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n"])
def test_health_answers_beside_connections_that_say_nothing(watched, begun):
    """Who opens connections to the metrics port and says nothing, or slowly, keeps no probe from its answer."""
    held = []
    try:
        for _ in range(600):
            s = socket.create_connection(("127.0.0.1", watched.metrics_port))
            s.sendall(begun)
            held.append(s)
        for port in (watched.metrics_port, watched.admin_port):
            began = time.monotonic()
            assert fetch("127.0.0.1", port, "/livez", host="127.0.0.1").status == 200
            assert time.monotonic() - began < 2
    finally:
        for s in held:
            s.close()


def test_an_access_log_that_cannot_be_opened_keeps_the_gateway_from_starting(tmp_path):
    """Lines lost in silence are found out when they are needed."""
    from Fixtures.gateway import cli
    path = tmp_path / "none" / "access.log"
    (tmp_path / "gateway.yaml").write_text(docs.dump([docs.gateway([docs.listener(free_port())])]))
    code, _, err = cli("run", tmp_path, "--admin", "off", "--access-log", path)
    assert code == 1 and f"--access-log {path} cannot be opened" in err and "stdout" in err, err


def test_the_old_access_log_goes_on_where_no_new_one_can_be_opened():
    """And that is an error among the messages."""
    import os
    import signal
    with Origin() as origin, serving(origin) as gateway:
        gateway.get("/one")
        wait_until(lambda: gateway.access(), 5)
        kept = gateway.access_path + ".1"
        os.rename(gateway.access_path, kept)
        os.mkdir(gateway.access_path)
        gateway.signal(signal.SIGHUP)
        wait_until(lambda: "the access log cannot be opened again" in gateway.messages(), 5)
        gateway.get("/two")
        wait_until(lambda: open(kept).read().count("\n") == 2, 5)


def test_an_access_log_may_be_truncated_in_place():
    """logrotate's copytruncate: what comes next begins at the file's beginning."""
    with Origin() as origin, serving(origin) as gateway:
        for n in range(5):
            gateway.get(f"/{n}")
        wait_until(lambda: len(gateway.access()) == 5, 5)
        with open(gateway.access_path, "r+b") as file:
            file.truncate(0)
        gateway.get("/after")
        assert wait_until(lambda: gateway.access(), 5)[0]["path"] == "/after"
