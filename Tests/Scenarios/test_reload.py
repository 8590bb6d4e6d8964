"""Changed documents take effect without a failed request or a cut stream; broken ones change nothing."""
import os
import re
import signal
import threading
import time
from collections import Counter

import pytest

from Fixtures import documents as docs
from Fixtures.gateway import Gateway, serving, streaming
from Fixtures.http1 import request_bytes
from Fixtures.net import free_port, wait_until
from Fixtures.origin import Origin, echo
from Fixtures.origin2 import Origin2


def answers(gateway, target, origin):
    return lambda: f'"origin": "{origin}"'.encode() in gateway.get(target).body


def test_a_changed_file_is_in_force_soon(figure):
    """Rules added and removed, without a signal."""
    with Origin(name="origin") as origin, Origin(name="other") as other, serving({"origin": origin, "other": other}) as gateway:
        assert answers(gateway, "/new", "origin")()
        began = time.monotonic()
        changed = [docs.route([docs.rule(["other"], path="/new"), docs.rule(["origin"])]) if d["kind"] == "HTTPRoute" else d
                   for d in gateway.content]
        gateway.write("main.yaml", changed)
        wait_until(answers(gateway, "/new", "other"), 5)
        figure("a changed file in force after", f"{(time.monotonic() - began) * 1000:.0f} ms")
        gateway.write("main.yaml", gateway.content)
        wait_until(answers(gateway, "/new", "origin"), 5)


def test_files_come_and_go():
    """A new file adds its objects, its removal takes them away; other suffixes are not read."""
    with Origin(name="origin") as origin, Origin(name="extra") as extra, serving(origin) as gateway:
        more = [docs.route([docs.rule(["extra"], path="/extra")], name="extra"), docs.backend(extra, "extra")]
        gateway.write("notes.txt", "this: is: not yaml")
        gateway.write("sub/folder/extra.yml", more)
        wait_until(answers(gateway, "/extra", "extra"), 5)
        gateway.remove("sub/folder/extra.yml")
        wait_until(answers(gateway, "/extra", "origin"), 5)
        import json
        gateway.write("extra.json", json.dumps({"apiVersion": "v1", "kind": "List", "items": more}))
        wait_until(answers(gateway, "/extra", "extra"), 5)


def test_200_reloads_during_100_streams_and_steady_requests(figure):
    """No failed request, no cut stream, no lost event; streams that began on an old table end on it."""
    stop = threading.Event()

    def script(peer):
        while (request := peer.read_request()) is not None:
            if not request.target.startswith("/stream"):
                peer.respond(200, [("Content-Type", "application/json")], b"{}")
                continue
            peer.head(200, [("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked")])
            n = 0
            while not stop.is_set():
                peer.chunk(b"data: %d\n\n" % n)
                n += 1
                stop.wait(0.1)
            peer.chunk(b"data: end %d\n\n" % n)
            peer.end_chunks()

    with Origin(script) as origin, serving(origin) as gateway:
        results, failures, counts = [], [], [0, 0]

        def stream(k):
            try:
                with gateway.client(timeout=60) as client:
                    response = client.request("GET", f"/stream/{k}")
                    want = response.body.count(b"data:") - 1
                    results.append(response.complete and response.body == b"".join(
                        b"data: %d\n\n" % n for n in range(want)) + b"data: end %d\n\n" % want)
            except Exception as error:
                failures.append(error)

        def steady(slot, fresh):
            while not stop.is_set():
                try:
                    if fresh:
                        assert gateway.get("/steady").status == 200
                        counts[slot] += 1
                        continue
                    with gateway.client() as client:
                        for _ in range(50):
                            assert client.request("GET", "/steady").status == 200
                            counts[slot] += 1
                except Exception as error:
                    failures.append(error)

        streams = [threading.Thread(target=stream, args=(k,)) for k in range(100)]
        steadies = [threading.Thread(target=steady, args=(s, bool(s))) for s in range(2)]
        [t.start() for t in streams + steadies]
        wait_until(lambda: len(origin.requests) >= 100, 10)
        began = time.monotonic()
        for n in range(200):
            rules = [docs.rule(["origin"], path=f"/rule-{n}-{i}") for i in range(n % 7)] + [docs.rule(["origin"])]
            gateway.write("main.yaml", [docs.route(rules) if d["kind"] == "HTTPRoute" else d for d in gateway.content])
            time.sleep(0.04)
        took = time.monotonic() - began
        final = [docs.route([docs.rule(["origin"]), docs.rule(["origin"], exact="/last")], generation=9999)
                 if d["kind"] == "HTTPRoute" else d for d in gateway.content]
        gateway.write("main.yaml", final)
        wait_until(lambda: gateway.object("HTTPRoute", "route")["status"]["parents"][0]["conditions"][0]["observedGeneration"] == 9999, 5)
        stop.set()
        [t.join(30) for t in streams + steadies]
        assert not failures, failures[:3]
        assert len(results) == 100 and all(results)
        figure("200 reloads during 100 streams", f"{took:.1f} s, {sum(counts)} steady requests, 0 failed, 0 streams cut")


@pytest.mark.parametrize("protocol", ["HTTP", "H2C", "TCP"])
def test_a_backend_that_no_route_names_any_more_fails_no_request(protocol):
    """Two backends by turns, 20 times, under load: what the old table decided finds its backend there."""
    def piped(peer):
        while data := peer.sock.recv(65536):
            peer.send(data)

    def request(gateway):
        if protocol != "TCP":
            return gateway.get("/", method="POST", body=b"x").status
        with gateway.client() as client:
            client.send(b"x")
            return 200 if client.fill() and client.buffer == b"x" else client.end
    make = Origin2 if protocol == "H2C" else lambda: Origin(piped) if protocol == "TCP" else Origin()
    with make() as one, make() as two, (
            streaming({"one": one, "two": two}) if protocol == "TCP" else
            serving({"one": one, "two": two}, backend={"protocol": protocol})) as gateway:
        kinds = [d for d in gateway.content if d["kind"] not in ("HTTPRoute", "TCPRoute")]
        seen, stop = Counter(), threading.Event()

        def steady():
            while not stop.is_set():
                try:
                    seen[request(gateway)] += 1
                except OSError as error:
                    seen[type(error).__name__] += 1
        threads = [threading.Thread(target=steady) for _ in range(8)]
        [t.start() for t in threads]
        for n in range(20):
            name = "two" if n % 2 == 0 else "one"
            gateway.write("main.yaml", kinds + [
                docs.stream_route("TCPRoute", [name]) if protocol == "TCP" else docs.route([docs.rule([name])])])
            time.sleep(0.3)
        stop.set()
        [t.join(20) for t in threads]
        assert set(seen) == {200} and seen[200] > 100, seen
        wait_until(lambda: gateway.total("ai_gateway_active_exchanges") == 0, 5)


def test_a_backend_that_no_route_names_any_more_is_let_go(origin):
    """Its idle connections are closed after a while, without another change."""
    with Origin(name="other") as other, serving({"origin": origin, "other": other}) as gateway:
        assert gateway.get("/").status == 200
        assert gateway.total("ai_gateway_upstream_connections") == 1
        gateway.write("main.yaml", [docs.route([docs.rule(["other"])]) if d["kind"] == "HTTPRoute" else d for d in gateway.content])
        wait_until(answers(gateway, "/", "other"), 5)
        wait_until(lambda: gateway.total("ai_gateway_upstream_connections") == 1, 10, what="the old backend's connection is closed")
        assert gateway.get("/").status == 200


def test_a_broken_document_keeps_the_last_good_table():
    """The message says file:line:column; the metric says 0; a repair is taken up again."""
    with Origin() as origin, serving(origin) as gateway:
        assert gateway.get("/").status == 200
        good = docs.dump(gateway.content)
        line = good.count("\n") + 2
        gateway.write("main.yaml", good + "---\nkind: [unclosed\n")
        wait_until(lambda: gateway.total("ai_gateway_config_last_reload_success") == 0, 5, what="the metric at 0")
        match = re.search(r"main\.yaml:(\d+):(\d+)", gateway.messages())
        assert match, gateway.messages()
        assert abs(int(match.group(1)) - line) <= 1, f"{match.group(0)}, the mistake is in line {line}"
        for _ in range(20):
            assert gateway.get("/").status == 200
        gateway.write("main.yaml", good)
        wait_until(lambda: gateway.total("ai_gateway_config_last_reload_success") == 1, 5, what="the metric at 1")
        assert gateway.get("/").status == 200


def test_a_semantic_error_is_that_objects_condition_only():
    """An unknown backend in one route does not touch the others, and other files go on changing."""
    with Origin(name="origin") as origin, Origin(name="late") as late, serving(origin) as gateway:
        gateway.write("bad.yaml", [docs.route([docs.rule(["nowhere"], path="/bad")], name="bad")])
        wait_until(lambda: gateway.get("/bad").status == 500, 5)
        assert gateway.get("/").status == 200
        told = wait_until(lambda: gateway.object("HTTPRoute", "bad"), 5)     # told after it is in force
        conditions = {c["type"]: c for c in told["status"]["parents"][0]["conditions"]}
        assert (conditions["ResolvedRefs"]["status"], conditions["ResolvedRefs"]["reason"]) == ("False", "BackendNotFound")
        gateway.write("late.yaml", [docs.route([docs.rule(["late"], path="/late")], name="late"), docs.backend(late, "late")])
        wait_until(answers(gateway, "/late", "late"), 5)


def test_a_broken_file_does_not_hold_up_the_others():
    """One file keeps its last good objects while another changes."""
    with Origin(name="origin") as origin, Origin(name="late") as late, serving(origin) as gateway:
        gateway.write("main.yaml", docs.dump(gateway.content) + "---\n{broken\n")
        gateway.write("late.yaml", [docs.route([docs.rule(["late"], path="/late")], name="late"), docs.backend(late, "late")])
        wait_until(answers(gateway, "/late", "late"), 5)
        assert answers(gateway, "/", "origin")()


def test_an_unknown_field_names_the_nearest():
    """`backendRef` for `backendRefs`: a problem with file:line:column and the right name."""
    with Origin() as origin, serving(origin) as gateway:
        text = docs.dump([docs.route([docs.rule(path="/typo")], name="typo")]).replace("backendRefs:", "backendRef:")
        gateway.write("typo.yaml", text)
        wait_until(lambda: "typo.yaml" in gateway.messages(), 5)
        assert re.search(r"typo\.yaml:\d+:\d+", gateway.messages()) and "backendRefs" in gateway.messages()
        assert gateway.get("/").status == 200


def test_the_symbolic_links_of_a_mounted_config_map(tmp_path):
    """Kubernetes swaps the link ..data; the files' own links never change. Each swap is taken up."""
    with Origin(name="one") as one, Origin(name="two") as two:
        port = free_port()

        def content(origin):
            return docs.dump([docs.gateway([docs.listener(port)]), docs.route([docs.rule()]), docs.backend(origin)])
        mount = tmp_path / "mount"
        mount.mkdir()

        def put(version, origin):
            folder = mount / f"..{version}"
            folder.mkdir()
            (folder / "main.yaml").write_text(content(origin))
            link = mount / "..data_tmp"
            os.symlink(f"..{version}", link)
            os.rename(link, mount / "..data")
        put("v1", one)
        os.symlink("..data/main.yaml", mount / "main.yaml")
        with Gateway({}, folder=str(mount)) as gateway:
            gateway.port = port
            wait_until(answers(gateway, "/", "one"), 5)
            for n in range(4):
                put(f"v{n + 2}", two if n % 2 == 0 else one)
                wait_until(answers(gateway, "/", "two" if n % 2 == 0 else "one"), 5, what=f"swap {n}")


def test_sighup_reads_again():
    """SIGHUP re-reads at once and the process goes on."""
    with Origin() as origin, serving(origin) as gateway:
        gateway.signal(signal.SIGHUP)
        time.sleep(0.3)
        assert gateway.alive() and gateway.get("/").status == 200


def test_listeners_come_and_go_while_others_serve():
    """A new listener opens, a removed one closes, a third is never interrupted."""
    with Origin() as origin, serving(origin) as gateway:
        extra, failures, stop = free_port(), [], threading.Event()

        def steady():
            while not stop.is_set():
                try:
                    assert gateway.get("/").status == 200
                except Exception as error:
                    failures.append(error)
        thread = threading.Thread(target=steady)
        thread.start()
        try:
            for _ in range(5):
                listeners = [docs.listener(gateway.port), docs.listener(extra, "extra")]
                gateway.write("main.yaml", [docs.gateway(listeners) if d["kind"] == "Gateway" else d for d in gateway.content])
                wait_until(lambda: connects(gateway, extra), 5)
                assert gateway.get("/", port=extra).status == 200
                gateway.write("main.yaml", gateway.content)
                wait_until(lambda: not connects(gateway, extra), 5)
        finally:
            stop.set()
            thread.join()
        assert not failures, failures[:3]


def connects(gateway, port):
    try:
        gateway.client(port=port, timeout=1).close()
        return True
    except OSError:
        return False


def test_a_connection_kept_alive_over_a_reload_gets_the_new_table():
    """The next request on an old connection is routed by the new documents."""
    with Origin(name="origin") as origin, Origin(name="other") as other, serving({"origin": origin, "other": other}) as gateway:
        with gateway.client() as client:
            assert b'"origin": "origin"' in client.request("GET", "/").body
            gateway.write("main.yaml", [docs.route([docs.rule(["other"])]) if d["kind"] == "HTTPRoute" else d for d in gateway.content])
            wait_until(answers(gateway, "/", "other"), 5)
            assert b'"origin": "other"' in client.request("GET", "/").body


def test_counters_survive_a_reload():
    """A reload does not set a counter back."""
    with Origin() as origin, serving(origin) as gateway:
        for _ in range(10):
            gateway.get("/")
        before = wait_until(lambda: gateway.total("ai_gateway_requests_total") >= 10 and gateway.total("ai_gateway_requests_total"), 5)
        gateway.write("main.yaml", [docs.route([docs.rule(), docs.rule(exact="/x")], generation=7) if d["kind"] == "HTTPRoute" else d
                                    for d in gateway.content])
        wait_until(lambda: gateway.object("HTTPRoute", "route")["status"]["parents"][0]["conditions"][0]["observedGeneration"] == 7, 5)
        assert gateway.total("ai_gateway_requests_total") >= before


def test_the_generation_counts_up_when_the_spec_changes():
    """Without metadata.generation it is 1, and one more with each change of spec."""
    with Origin() as origin, serving(origin) as gateway:
        assert gateway.object("HTTPRoute", "route")["metadata"]["generation"] == 1
        gateway.write("main.yaml", [docs.route([docs.rule(path="/changed")]) if d["kind"] == "HTTPRoute" else d for d in gateway.content])
        wait_until(lambda: gateway.object("HTTPRoute", "route")["metadata"]["generation"] == 2, 5)


def test_endpoints_change_under_load(origin):
    """An endpoint that goes away is not used any more; requests in flight are not lost."""
    with Origin(echo, name="second") as second, serving(origin) as gateway:
        for n in range(20):
            which = second if n % 2 == 0 else origin
            gateway.write("main.yaml", [docs.backend(which) if d["kind"] == "Backend" else d for d in gateway.content])
            wait_until(lambda: f'"origin": "{which.name}"'.encode() in gateway.get("/").body, 5)
        with gateway.client() as client:
            client.send(request_bytes("GET", "/"))
            assert client.read().status == 200
