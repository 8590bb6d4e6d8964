"""Pools with an external endpoint picker: what it says is done, what it does not say is not waited for, and what it breaks is
answered or gone around as the pool's failure mode has it."""
import contextlib
import hashlib
import json
import threading
import time

import pytest

from Fixtures import documents as docs
from Fixtures.certificates import Certificate
from Fixtures.gateway import serving
from Fixtures.http1 import request_bytes
from Fixtures.limits import short
from Fixtures.net import free_port, wait_until
from Fixtures.origin import Origin
from Fixtures.picker import Picker

API = "inference.networking.k8s.io/v1"
SMALL, LARGE = b"s" * 1000, bytes(range(256)) * 32_768       # 1 KB, 8 MB


def pool_documents(ports, picker_port, mode="FailClose", app_protocol="kubernetes.io/h2c", pod="127.0.0.1"):
    spec = {"selector": {"matchLabels": {"app": "model"}}, "targetPorts": [{"number": p} for p in ports],
            "endpointPickerRef": {"name": "picker", "port": {"number": 9002}, "failureMode": mode}}
    return [{"apiVersion": API, "kind": "InferencePool", "metadata": {"name": "pool", "namespace": "default"}, "spec": spec},
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "model", "namespace": "default", "labels": {"app": "model"}},
             "spec": {"containers": []}, "status": {"podIP": pod}},
            *docs.service("picker", [("127.0.0.1", picker_port)], port=9002, target=picker_port, app_protocol=app_protocol)]


@contextlib.contextmanager
def pool(origins, picker, mode="FailClose", timeouts=None, **more):
    """A gateway whose only route leads to a pool of these origins."""
    origins = origins if isinstance(origins, (list, tuple)) else [origins]
    port = picker if isinstance(picker, int) else picker.port
    ref = {"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": "pool"}
    keys = {k: more.pop(k) for k in ("app_protocol", "pod") if k in more}
    with serving(None, rules=[docs.rule([ref])], timeouts=short(**timeouts) if timeouts else None,
                 extra=pool_documents([o.port for o in origins], port, mode, **keys), **more) as gateway:
        yield gateway


@pytest.fixture
def two():
    with Origin(name="a") as a, Origin(name="b") as b:
        yield a, b
    assert not a.errors and not b.errors, (a.errors, b.errors)


def echoed(answer, status=200):
    assert answer.status == status, answer
    return json.loads(answer.body)


def sha(data):
    return hashlib.sha256(data).hexdigest()


def headers_of(echo):
    return {n.lower(): v for n, v in echo["headers"]}


# -- the choice

@pytest.mark.parametrize("style", ["lwepp", "llmd", "early"])
@pytest.mark.parametrize("body", [b"", SMALL, LARGE], ids=["empty", "1KB", "8MB"])
def test_the_picker_chooses_and_content_arrives_whole(two, style, body):
    """Over HTTP/1.1, with a length and in chunks: the endpoint that was named, the same bytes, the picker's own fields."""
    a, b = two
    with Picker([b.port], style=style, headers=[("x-added", "1"), ("x-changed", "new")], removed=["x-gone"]) as picker, \
            pool([a, b], picker) as gateway, gateway.client() as client:
        for chunked in (None, [body[at:at + 70_001] for at in range(0, len(body), 70_001)]):
            if chunked == [] or chunked and style == "none":
                continue
            extra = [("X-Changed", "old"), ("X-Gone", "1"), ("x-gateway-destination-endpoint", f"127.0.0.1:{a.port}"),
                     ("x-gateway-destination-endpoint-served", "1"), ("X-Envoy-Kept", "1")]
            if chunked:
                answer = client.request("POST", "/v1/x", extra, chunked=chunked)
            else:
                answer = client.request("POST", "/v1/x", extra, body)
            e = echoed(answer)
            assert (e["origin"], e["length"], e["sha256"]) == ("b", len(body), sha(body))
            got = headers_of(e)
            assert got["x-added"] == "1" and got["x-changed"] == "new" and "x-gone" not in got and got["x-envoy-kept"] == "1"
            assert got["x-gateway-destination-endpoint"] == f"127.0.0.1:{b.port}"
            assert "x-gateway-destination-endpoint-served" not in got and got["host"] == "test.example"
            assert answer.get("x-went-into-resp-headers") == "true"
            call = picker.last()
            assert call.body == body and call.served == f"127.0.0.1:{b.port}"
            assert call.get(":method") == "POST" and call.get(":path") == "/v1/x" and call.get(":authority") == "test.example"
            assert call.get("x-request-id") and call.get("x-gateway-destination-endpoint") is None
            assert call.modes == {"request": 4, "response": 4}
            assert call.answer_body == answer.body
        assert not picker.errors
        wait_until(lambda: all(c.ended.is_set() for c in picker.calls), 5, what="the streams to end")
    assert not a.requests


@pytest.mark.parametrize("style", ["lwepp", "llmd"])
@pytest.mark.parametrize("body", [b"", SMALL, LARGE], ids=["empty", "1KB", "8MB"])
def test_over_http_2(two, style, body):
    a, b = two
    with Picker([b.port], style=style) as picker, pool([a, b], picker) as gateway, gateway.http2() as client:
        answer = client.request("POST", "/v1/x", body=body)
        e = echoed(answer)
        assert (e["origin"], e["length"], e["sha256"]) == ("b", len(body), sha(body))
        assert picker.last().body == body


def test_many_requests_share_one_connection_to_the_picker(two):
    a, b = two
    with Picker([a.port, b.port]) as picker, pool([a, b], picker, workers=1) as gateway:
        answers = []

        def one():
            with gateway.client() as client:
                for _ in range(10):
                    answers.append(echoed(client.request("POST", "/v1/x", body=SMALL))["origin"])
        threads = [threading.Thread(target=one) for _ in range(8)]
        [t.start() for t in threads]
        [t.join(30) for t in threads]
        assert len(answers) == 80 and answers.count("a") == 40
        peers = {c.context.peer() for c in picker.calls}
        assert len(peers) <= 2, peers
        assert gateway.total("ai_gateway_picker_choices_total") == 80


def test_content_in_the_pickers_words(two):
    """Capitals both ways, of no known length; the model's name, of another one."""
    a, b = two
    with Picker([b.port], style="chunks") as picker, pool([a, b], picker) as gateway, gateway.client() as client:
        answer = client.request("POST", "/v1/x", body=b"abc" * 100_000)
        assert json.loads(answer.body.lower())["sha256"] == sha(b"ABC" * 100_000) and b'"LENGTH": 300000' in answer.body
    with Picker([b.port], style="llmd") as picker, pool([a, b], picker) as gateway, gateway.client() as client:
        body = b'{"model":"x","n":1}'
        answer = client.request("POST", "/v1/x", [("Content-Type", "application/json")], body)
        e = echoed(answer)
        assert e["sha256"] == sha(b'{"model":"x-target","n":1}') and headers_of(e)["content-length"] == "26"


def test_expect_continue_and_trailers(two):
    a, b = two
    with Picker([b.port], style="llmd") as picker, pool([a, b], picker) as gateway, gateway.client() as client:
        client.send(b"POST /v1/x HTTP/1.1\r\nHost: test.example\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert client.read_head().status == 100
        client.send(b"hello")
        assert echoed(client.read())["length"] == 5
        client.send(b"POST /v1/x HTTP/1.1\r\nHost: test.example\r\nTransfer-Encoding: chunked\r\n\r\n3;x=1\r\nabc\r\n0\r\nX-T: 1\r\n\r\n")
        e = echoed(client.read())
        assert e["length"] == 3
        assert picker.last().trailers == [("request_trailers", [("x-t", "1")])]


def test_the_list_is_walked_down(two):
    """Dead endpoints first; only the pool's own; and no other when all of the list are dead."""
    a, b = two
    dead = free_port()
    with Picker() as picker, pool([a, b], picker) as gateway, gateway.client() as client:
        pools = gateway.content
        asked = lambda *ports: [("test-epp-endpoint-selection", ",".join(f"127.0.0.1:{p}" for p in ports))]
        e = echoed(client.request("POST", "/v1/x", asked(dead, b.port), SMALL))        # dead is not the pool's
        assert e["origin"] == "b"
    with Origin(name="gone") as gone:
        port = gone.port
    with Picker() as picker, contextlib.ExitStack() as stack:
        class Gone:
            pass
        Gone.port = port
        gateway = stack.enter_context(pool([a, b, Gone], picker))
        client = stack.enter_context(gateway.client())
        e = echoed(client.request("POST", "/v1/x", asked(port, b.port), LARGE))
        assert e["origin"] == "b" and e["sha256"] == sha(LARGE)
        assert picker.last().served == f"127.0.0.1:{b.port}"
        answer = client.request("POST", "/v1/x", asked(port), SMALL)
        assert answer.status == 503 and answer.get("x-gateway-error") == "connect_refused"


def test_only_what_is_in_reach_is_hinted(two):
    """An endpoint that three attempts in a row did not reach is left out for three seconds; without such a one nothing is hinted, nor where
    none would be left. What a client says of it is not passed on."""
    a, b = two
    lie = [("x-gateway-destination-endpoint-subset", f"127.0.0.1:{a.port}")]
    dead = free_port()

    class Gone:
        port = dead
    with Picker() as picker, pool([a, b, Gone], picker, workers=1) as gateway, gateway.client() as client:
        asked = lambda *ports: [("test-epp-endpoint-selection", ",".join(f"127.0.0.1:{p}" for p in ports)), *lie]
        for _ in range(3):
            assert echoed(client.request("POST", "/v1/x", asked(dead, b.port), SMALL))["origin"] == "b"
            assert picker.last().subset is None and picker.last().get("x-gateway-destination-endpoint-subset") is None
        assert echoed(client.request("POST", "/v1/x", asked(a.port), SMALL))["origin"] == "a"
        assert sorted(picker.last().subset) == sorted(f"127.0.0.1:{o.port}" for o in two)
        # It is a hint: who names the endpoint all the same is followed.
        assert client.request("POST", "/v1/x", asked(dead), SMALL).status == 503
        time.sleep(3.1)
        assert echoed(client.request("POST", "/v1/x", asked(a.port), SMALL))["origin"] == "a"
        assert picker.last().subset is None
    with Picker() as picker, pool([Gone], picker, workers=1) as gateway, gateway.client() as client:
        for _ in range(5):
            assert client.request("POST", "/v1/x", [("test-epp-endpoint-selection", f"127.0.0.1:{dead}")], SMALL).status == 503
        assert picker.last().subset is None


def test_the_header_alone_is_enough(two):
    a, b = two
    with Picker([b.port], metadata=False) as picker, pool([a, b], picker) as gateway, gateway.client() as client:
        assert echoed(client.request("POST", "/v1/x", body=SMALL))["origin"] == "b"


# -- failures before the choice

FAILURES = ["no-endpoint", "foreign", "silent", "closes", "aborts", "garbage", "huge", "down"]


@pytest.mark.parametrize("style", FAILURES)
@pytest.mark.parametrize("mode, body", [("FailClose", SMALL), ("FailOpen", SMALL), ("FailOpen", LARGE)],
                         ids=["FailClose", "FailOpen-1KB", "FailOpen-8MB"])
def test_a_picker_that_does_not_choose(two, style, mode, body):
    """503 in the path's own words, or an endpoint of the gateway's choice with the original bytes."""
    a, b = two
    with contextlib.ExitStack() as stack:
        port = free_port() if style == "down" else stack.enter_context(Picker([b.port], style=style)).port
        gateway = stack.enter_context(pool([a, b], port, mode, timeouts={"picker": 400}))
        client = stack.enter_context(gateway.client())
        for chunked in (None, [body[at:at + 65_000] for at in range(0, len(body), 65_000)]):
            answer = client.request("POST", "/v1/x", **({"chunked": chunked} if chunked else {"body": body}))
            if mode == "FailOpen":
                e = echoed(answer)
                assert (e["length"], e["sha256"]) == (len(body), sha(body))
            else:
                assert answer.status == 503 and answer.get("x-gateway-error") == "picker_failed", answer
                assert json.loads(answer.body)["error"]["type"] == "server_error"
                client.close()
                client = stack.enter_context(gateway.client())
        name = {"no-endpoint": "no_endpoint", "foreign": "no_endpoint", "silent": "timeouts", "closes": "broken",
                "aborts": "broken", "garbage": "malformed", "huge": "malformed", "down": "unreachable"}[style]
        assert gateway.total(f"ai_gateway_picker_{name}_total") >= 1
        assert gateway.alive()
    assert bool(a.requests + b.requests) == (mode == "FailOpen")


def test_a_late_picker_is_waited_for(two):
    a, b = two
    with Picker([b.port], style="late", delay=0.7) as picker, pool([a, b], picker, timeouts={"picker": 3000}) as gateway, \
            gateway.client() as client:
        began = time.monotonic()
        assert echoed(client.request("POST", "/v1/x", body=SMALL))["origin"] == "b"
        assert time.monotonic() - began > 0.6


@pytest.mark.parametrize("mode", ["FailClose", "FailOpen"])
def test_the_pickers_own_answer(two, mode):
    """An ImmediateResponse is a decision in both modes: its status, fields and content."""
    a, b = two
    for status in (400, 429, 503):
        with Picker(style="immediate", status=status) as picker, pool([a, b], picker, mode) as gateway, gateway.client() as client:
            answer = client.request("POST", "/v1/x", body=SMALL)
            assert (answer.status, answer.body) == (status, b'{"error":"no capacity"}'), answer
            assert answer.get("x-why") == "full" and answer.get("content-type") == "application/json"
            assert client.request("GET", "/v1/x").status == status
            with gateway.http2() as two_:
                assert two_.request("POST", "/v1/x", body=SMALL).status == status
    assert not a.requests + b.requests


def test_a_length_that_is_a_lie(two):
    a, b = two
    with Picker([b.port], style="wrong-length") as picker, pool([a, b], picker) as gateway, gateway.client() as client:
        answer = client.request("POST", "/v1/x", body=SMALL)
        assert answer.status == 503 and answer.get("x-gateway-error") == "picker_failed"
    assert not any(r.complete for r in b.requests)


def test_the_client_hangs_up(two):
    """The picker's stream is cancelled at once, whether content is owed or an answer."""
    a, b = two
    with Picker([b.port], style="silent") as picker, pool([a, b], picker) as gateway:
        for data in (request_bytes("POST", "/v1/x", body=SMALL), request_bytes("POST", "/v1/x", body=SMALL)[:-10]):
            seen = len(picker.calls)
            client = gateway.client()
            client.send(data)
            wait_until(lambda: len(picker.calls) > seen and picker.last().body, 5, what="the call")
            client.close()
            at = time.monotonic()
            assert picker.last().ended.wait(2), "the stream goes on"
            assert picker.last().ended_at - at < 1
        assert not b.requests
        wait_until(lambda: gateway.total("ai_gateway_active_exchanges") == 0, 5, what="the exchanges to end")


def test_a_picker_that_reads_nothing_holds_little(two):
    """Back-pressure: the client is not read any further than the picker's windows go."""
    a, b = two
    with Picker([b.port], style="deaf") as picker, pool([a, b], picker, timeouts={"picker": 60_000}) as gateway:
        client = gateway.client()
        client.send(b"POST /v1/x HTTP/1.1\r\nHost: test.example\r\nContent-Length: 1000000000\r\n\r\n")
        client.sock.settimeout(1.5)
        sent = 0
        with contextlib.suppress(TimeoutError, OSError):
            while sent < 200 << 20:
                sent += client.sock.send(b"x" * 65_536)
        assert sent < 100 << 20, sent
        client.close()
        picker.go.set()


def test_the_picker_is_started_anew(two):
    """Requests of a FailOpen pool do not notice; those of a FailClose pool do only while it is away."""
    a, b = two
    for mode in ("FailOpen", "FailClose"):
        picker = Picker([b.port])
        port = picker.port
        with pool([a, b], port, mode, workers=1) as gateway, gateway.client() as client:
            assert echoed(client.request("POST", "/v1/x", body=SMALL))["origin"] == "b"
            picker.stop()
            if mode == "FailOpen":
                for _ in range(5):
                    assert echoed(client.request("POST", "/v1/x", body=SMALL))["length"] == 1000
            with Picker([b.port], port=port) as again:
                with gateway.client() as other:
                    wait_until(lambda: other.request("POST", "/v1/x", body=SMALL).status == 200 and again.calls, 15, what="the picker")
                    n = len(again.calls)
                    for _ in range(5):
                        assert echoed(other.request("POST", "/v1/x", body=SMALL))["origin"] == "b"
                    assert len(again.calls) == n + 5


# -- answers

def stream(peer):
    """Five events, the last of which ends the content; `?slow` waits between them."""
    while (request := peer.read_request()) is not None:
        peer.head(200, [("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked")])
        for n in range(5):
            peer.chunk(b"data: %d\n\n" % n)
            time.sleep(0.15 if "slow" in request.target else 0)
        peer.end_chunks()


@pytest.mark.parametrize("style", ["lwepp", "llmd"])
def test_streams_pass_as_they_come(style):
    with Origin(stream) as origin, Picker([origin.port], style=style) as picker, pool([origin], picker) as gateway, gateway.client() as client:
        client.send(request_bytes("POST", "/v1/x?slow", body=SMALL))
        head = client.read_head()
        times, body = [], b""
        for piece in client.pieces(head, "POST"):
            times.append(time.monotonic())
            body += piece
        assert body == b"".join(b"data: %d\n\n" % n for n in range(5))
        assert times[-1] - times[0] > 0.4, "the pieces came together"
        assert picker.last().answer_body == body


@pytest.mark.parametrize("style", ["lwepp", "llmd"])
@pytest.mark.parametrize("count", [0, 1000, 8 << 20])
def test_answers_of_all_sizes(style, count):
    """With a length, in chunks, until the end of the connection; HEAD; over HTTP/2 too."""
    body = bytes(range(256)) * (count // 256) + b"x" * (count % 256)

    def answer(peer):
        while (request := peer.read_request()) is not None:
            if "chunks" in request.target:
                peer.head(200, [("Transfer-Encoding", "chunked")])
                for at in range(0, len(body), 100_000):
                    peer.chunk(body[at:at + 100_000])
                peer.end_chunks(b"X-T: 1\r\n")
            elif "close" in request.target:
                peer.head(200, [("Connection", "close")])
                peer.send(body)
                return
            else:
                peer.respond(200, [], body, method=request.method)

    with Origin(answer) as origin, Picker([origin.port], style=style) as picker, pool([origin], picker) as gateway:
        with gateway.client() as client, gateway.http2() as two:
            for target in ("/v1/length", "/v1/chunks", "/v1/close"):
                got = client.request("POST", target, body=SMALL)
                assert got.status == 200 and sha(got.body) == sha(body), (target, len(got.body))
                got = two.request("POST", target, body=SMALL)
                assert got.status == 200 and sha(bytes(got.body)) == sha(body), (target, len(got.body))
            assert client.request("HEAD", "/v1/length").status == 200
            assert client.request("POST", "/v1/length", body=SMALL).status == 200
    assert not origin.errors and not picker.errors


def test_a_picker_that_dies_before_the_answer(two):
    """Nothing of its own has gone to the client: the answer goes on as it was."""
    a, b = two
    with Picker([b.port], style="dies-at-answer") as picker, pool([a, b], picker) as gateway, gateway.client() as client:
        for body in (SMALL, LARGE):
            e = echoed(client.request("POST", "/v1/x", body=body))
            assert e["sha256"] == sha(body)


@pytest.mark.parametrize("style", ["dies-in-answer", "evicts"])
def test_a_picker_that_dies_within_the_answer(style):
    """What it returned stands in the place of the backend's: the client must not take it for whole."""
    with Origin(stream) as origin, Picker([origin.port], style=style) as picker, pool([origin], picker) as gateway, gateway.client() as client:
        client.send(request_bytes("POST", "/v1/x?slow", body=SMALL))
        head = client.read_head()
        assert b"".join(client.pieces(head, "POST")).startswith(b"data: 0")
        assert not head.complete


def test_a_slow_client_of_a_large_answer():
    """Back-pressure from the client through the picker to the backend, and all of it in the end."""
    def answer(peer):
        while peer.read_request() is not None:
            peer.respond(200, [], LARGE * 4)

    with Origin(answer) as origin, Picker([origin.port], style="lwepp") as picker, pool([origin], picker) as gateway:
        with gateway.client(receive_buffer=4096) as client:
            client.send(request_bytes("POST", "/v1/x", body=SMALL))
            time.sleep(1)
            assert sha(client.read("POST").body) == sha(LARGE * 4)


@pytest.mark.parametrize("style", ["lwepp", "llmd"])
def test_answers_that_the_picker_does_not_see(two, style):
    """`picker.responseBody: Skip`: it gets the head and says what becomes of it; content goes to the client as it came."""
    a, b = two
    with Picker([b.port], style=style) as picker, \
            pool([a, b], picker, parameters={"picker": {"responseBody": "Skip"}}) as gateway, gateway.client() as client:
        for body in (b"", SMALL, LARGE):
            answer = client.request("POST", "/v1/x", body=body)
            assert echoed(answer)["sha256"] == sha(body) and answer.get("content-length") == str(len(answer.body))
            assert answer.get("x-went-into-resp-headers") == "true"
            call = picker.last()
            assert call.modes == {"request": 4, "response": 0} and not call.answer_body
            assert call.ended.wait(5)


# -- TLS and several pickers

def test_tls_without_verification(two):
    a, b = two
    with Picker([b.port], certificate=Certificate(["picker.example"])) as picker, \
            pool([a, b], picker, app_protocol="https") as gateway, gateway.client() as client:
        e = echoed(client.request("POST", "/v1/x", body=LARGE))
        assert e["origin"] == "b" and e["sha256"] == sha(LARGE)


def test_ipv6_endpoints():
    with Origin(host="::1", name="six") as origin, Picker([f"[::1]:{origin.port}"]) as picker, \
            pool([origin], picker, pod="::1") as gateway, gateway.client() as client:
        assert echoed(client.request("POST", "/v1/x", body=SMALL))["origin"] == "six"
        assert picker.last().served == f"[::1]:{origin.port}"


def test_several_pickers_share_the_requests(two):
    """A picker's Service with two addresses; when one is gone the other serves all."""
    a, b = two
    with Picker([b.port]) as one, Picker([b.port], port=one.port, host="127.0.0.2") as other:
        extra = pool_documents([a.port, b.port], one.port)
        extra[-1]["endpoints"].append({"addresses": ["127.0.0.2"], "conditions": {"ready": True}})
        ref = {"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": "pool"}
        with serving(None, rules=[docs.rule([ref])], extra=extra, workers=1) as gateway, gateway.client() as client:
            for _ in range(40):
                assert echoed(client.request("POST", "/v1/x", body=SMALL))["origin"] == "b"
            assert one.calls and other.calls and len(one.calls) + len(other.calls) == 40
            other.stop()
            for _ in range(20):
                assert client.request("POST", "/v1/x", body=SMALL).status == 200


@pytest.mark.parametrize("mode", ["FailClose", "FailOpen"])
def test_more_content_than_is_held(mode):
    """A picker that wants all of a content of 80 MB: 413, or on without it, whole."""
    digest = []

    def answer(peer):
        request = peer.read_head()
        hashed, count = hashlib.sha256(), 0
        for piece in peer.pieces(request):
            hashed.update(piece)
            count += len(piece)
        if request.method == "POST":
            digest.append((count, hashed.hexdigest()))
        peer.respond(200)

    with Origin(answer) as origin, Picker([origin.port], style="silent", limit=1 << 30) as picker, \
            pool([origin], picker, mode, timeouts={"picker": 20_000}) as gateway, gateway.client(timeout=60) as client:
        client.send(b"POST /v1/x HTTP/1.1\r\nHost: test.example\r\nContent-Length: %d\r\n\r\n" % (80 << 20))
        hashed, piece = hashlib.sha256(), bytes(range(256)) * 4096
        with contextlib.suppress(OSError):
            for _ in range(80):
                hashed.update(piece)
                client.send(piece)
        with contextlib.suppress(OSError):
            status = client.read("POST").status
            assert status == (413 if mode == "FailClose" else 200)
        assert digest == ([] if mode == "FailClose" else [(80 << 20, hashed.hexdigest())])
        assert gateway.total("ai_gateway_picker_overflows_total") == 1
