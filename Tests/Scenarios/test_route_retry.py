"""`retry` of an HTTPRoute's rule: what is sent again, how often, when and where, and what never is."""
import json
import os
import threading
import time

import pytest

from Fixtures import documents as docs
from Fixtures.gateway import cli, serving
from Fixtures.http1 import request_bytes
from Fixtures.net import free_port, wait_until
from Fixtures.origin import Origin, echo
from Fixtures.origin2 import Origin2
from test_upstream_failures import own

H2C = {"protocol": "H2C"}
TELLS = {"answerHeaders": ["x-gateway-endpoint", "x-gateway-attempts"]}


class Failing:
    """A script that fails the first `count` requests of each target and echoes the others."""

    def __init__(self, count, fail):
        self.count, self.fail, self.lock, self.seen = count, fail, threading.Lock(), {}

    def fails(self, target):
        with self.lock:
            self.seen[target] = self.seen.get(target, 0) + 1
            return self.seen[target] <= self.count

    def __call__(self, peer):
        while (request := peer.read_request()) is not None:
            if self.fails(request.target):
                if self.fail(peer, request) is False:
                    return
            else:
                peer.respond(200, body=request.body or b"fine", method=request.method)


def answering(status, body=b"not now", **more):
    return lambda peer, request: peer.respond(status, body=body, method=request.method, **more)


def resetting(peer, request):
    peer.reset()
    return False


def retrying(origins, retry, backends=None, timeouts=None, rule=None, **more):
    names = list(origins) if isinstance(origins, dict) else ["origin"]
    made = docs.rule(backends or names[:1], timeouts=timeouts, retry=retry)
    more.setdefault("parameters", TELLS)
    return serving(origins, rules=[{**made, **(rule or {})}], workers=1, **more)


def lines(gateway, count=1):
    wait_until(lambda: len(gateway.access()) >= count, 5, what="the access log")
    return gateway.access()


# -- statuses

def test_a_backend_that_says_when_to_come_again_is_not_asked_before():
    """`retry-after` of the one endpoint there is; where it asks for too much, the answer that says so is the client's."""
    def script(peer):
        while (request := peer.read_request()) is not None:
            first = sum(r.target == request.target for r in peer.origin.requests) == 1
            peer.respond(503 if first else 200, [("Retry-After", request.target[1:])] if first else [], body=b"fine")
    with Origin(script) as origin, retrying(
            origin, {"codes": [503], "attempts": 2, "backoff": "1ms"}, timeouts={"request": "5s"}) as gateway:
        for asked, least, status in [("1", 1, 200), ("0", 0, 200), ("soon", 0, 200), ("6", 0, 503)]:
            began = time.monotonic()
            answer = gateway.get("/" + asked)
            took = time.monotonic() - began
            assert answer.status == status and least <= took < least + 0.8, (asked, took)
            assert answer.get("retry-after") == (asked if status == 503 else None)
    with Origin(script) as origin, retrying(origin, {"codes": [503], "attempts": 2, "backoff": "1ms"}) as gateway:
        assert gateway.get("/11").status == 503


def test_another_endpoint_is_asked_at_once():
    """What one endpoint says of itself says nothing of the others."""
    def busy(peer):
        while peer.read_request() is not None:
            peer.respond(503, [("Retry-After", "5")])
    with Origin(busy, name="a") as a, Origin(name="b") as b, serving(
            {"a": a}, rules=[docs.rule(["both"], retry={"codes": [503], "attempts": 2, "backoff": "1ms"})],
            extra=[docs.backend([a, b], "both")], workers=1) as gateway:
        began = time.monotonic()
        assert [gateway.get("/").status for _ in range(10)] == [200] * 10
        assert time.monotonic() - began < 3 and a.requests


@pytest.mark.parametrize("status", [400, 429, 500, 502, 503, 504, 599])
def test_an_answer_whose_status_is_named_is_dropped_for_another_attempt(status):
    """Two answers are dropped, the third is the client's: in the metric, the log and the field that tells of attempts."""
    with Origin(Failing(2, answering(status))) as origin, retrying(
            origin, {"codes": [status], "attempts": 3, "backoff": "1ms"}) as gateway:
        answer = gateway.get("/a")
        assert (answer.status, answer.body, answer.get("x-gateway-attempts")) == (200, b"fine", "3")
        assert len(origin.requests) == 3 and origin.connections == 1
        assert gateway.total("ai_gateway_retries_total") == 2
        assert lines(gateway)[0]["retries"] == 2 and lines(gateway)[0]["status"] == 200


def test_the_last_answer_is_the_clients():
    """After all attempts the backend's own answer goes on, with its content and fields."""
    with Origin(Failing(9, answering(503, b"still not", headers=[("X-Why", "busy")]))) as origin, retrying(
            origin, {"codes": [503], "attempts": 2, "backoff": "1ms"}) as gateway:
        answer = gateway.get("/a")
        assert (answer.status, answer.body, answer.get("x-why")) == (503, b"still not", "busy")
        assert len(origin.requests) == 3


@pytest.mark.parametrize("retry", [{"codes": [500], "attempts": 3}, {"attempts": 3}, {"codes": [503], "attempts": 0}])
def test_an_answer_that_is_not_named_goes_on(retry):
    """Another status, no status, or no attempts: sent once."""
    with Origin(Failing(9, answering(503))) as origin, retrying(origin, retry) as gateway:
        assert gateway.get("/a").status == 503
        assert len(origin.requests) == 1 and gateway.total("ai_gateway_retries_total") == 0


def test_attempts_that_are_not_said_are_those_of_the_parameters():
    """`limits.retriesMax` is 1 by default."""
    with Origin(Failing(9, answering(500))) as origin, retrying(origin, {"codes": [500]}) as gateway:
        assert gateway.get("/a").status == 500 and len(origin.requests) == 2


@pytest.mark.parametrize("kind", ["chunked", "close", "large", "head", "empty"])
def test_however_a_dropped_answer_is_framed(kind):
    """Nothing of it gets into the next one."""
    def fail(peer, request):
        if kind == "chunked":
            peer.send(b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nnot now\r\n0\r\n\r\n")
        elif kind == "close":
            peer.head(503, [("Connection", "close")])
            peer.send(b"not now")
            peer.close()
            return False
        elif kind == "large":
            peer.head(503, [("Content-Length", str(1 << 20))])
            try:
                peer.send(b"x" * (1 << 20))
            except OSError:
                return False
        else:
            peer.respond(503, body=b"not now" if kind == "head" else b"", method=request.method)
    method = "HEAD" if kind == "head" else "GET"
    with Origin(Failing(2, fail)) as origin, retrying(origin, {"codes": [503], "attempts": 2, "backoff": "0s"}) as gateway:
        with gateway.client() as client:
            for n in range(3):
                answer = client.request(method, f"/{n}")
                assert (answer.status, answer.body) == (200, b"" if kind == "head" else b"fine")
        assert len(origin.requests) == 9 and not origin.errors
        if kind in ("chunked", "head", "empty"):
            assert origin.connections == 1


# -- connections

def test_a_connection_that_breaks_is_tried_again_even_for_a_post():
    """The rule asks for it: the same bytes, also of a POST on a connection of its own."""
    with Origin(Failing(2, resetting)) as origin, retrying(origin, {"attempts": 2, "backoff": "1ms"}) as gateway:
        answer = gateway.get("/pay", "POST", body=b"content" * 100)
        assert (answer.status, answer.body) == (200, b"content" * 100)
        assert [r.body for r in origin.requests] == [b"content" * 100] * 3


def test_a_connection_that_always_breaks_is_503():
    """`retries_exhausted`, not 502: the suite's own expectation."""
    with Origin(Failing(9, resetting)) as origin, retrying(origin, {"attempts": 2, "backoff": "1ms"}) as gateway:
        answer = gateway.get("/a")
        own(answer, 503)
        assert answer.get("x-gateway-error") == "retries_exhausted" and len(origin.requests) == 3
        assert lines(gateway)[0]["reason"] == "retries_exhausted" and lines(gateway)[0]["retries"] == 2


def test_a_refused_connection_is_tried_again_until_the_backend_is_there():
    """The only endpoint is down at first."""
    port = free_port()
    with retrying(None, {"attempts": 10, "backoff": "50ms"}, ["origin"], extra=[docs.backend([("127.0.0.1", port)])]) as gateway:
        with gateway.client() as client:
            client.send(request_bytes("GET", "/a"))
            time.sleep(0.2)
            with Origin(port=port):
                answer = client.read()
                assert answer.status == 200 and int(answer.get("x-gateway-attempts")) > 1


def test_no_attempt_after_the_first_byte_of_an_answer():
    """A hint that was passed on counts, and an answer that breaks off is cut, whatever the rule says."""
    def hints(peer, request):
        peer.head(103, [("Link", "<x>")])
        peer.reset()
        return False

    def breaks(peer, request):
        peer.head(200, [("Content-Length", "100")])
        peer.send(b"half")
        time.sleep(0.2)
        peer.reset()
        return False
    retry = {"codes": [500], "attempts": 3, "backoff": "1ms"}
    with Origin(Failing(9, hints)) as origin, retrying(origin, retry) as gateway:
        assert gateway.get("/a").status == 502 and len(origin.requests) == 1
    with Origin(Failing(9, breaks)) as origin, retrying(origin, retry) as gateway:
        assert not gateway.get("/a").complete
        assert len(origin.requests) == 1


# -- time

def test_attempts_wait_for_the_backoff_and_longer_each_time():
    """100 ms, 200 ms, and never less."""
    with Origin(Failing(2, answering(503))) as origin, retrying(
            origin, {"codes": [503], "attempts": 2, "backoff": "100ms"}) as gateway:
        assert gateway.get("/a").status == 200
        first, second, third = [r.at for r in origin.requests]
        assert 0.1 <= second - first < 0.3 and 0.2 <= third - second < 0.5


def test_each_attempt_has_its_own_time():
    """`timeouts.backendRequest` ends an attempt, which is tried again; the backend's stale work is cancelled."""
    def fail(peer, request):
        peer.wait_end(5)
        return False
    with Origin(Failing(2, fail)) as origin, retrying(
            origin, {"attempts": 2, "backoff": "10ms"}, timeouts={"backendRequest": "150ms"}) as gateway:
        began = time.monotonic()
        answer = gateway.get("/a")
        assert answer.status == 200 and answer.get("x-gateway-attempts") == "3"
        assert 0.3 <= time.monotonic() - began < 1
        wait_until(lambda: sum(p.ended_at is not None for p in origin.peers) >= 2, 2, what="the cancelled attempts' ends")
        assert gateway.total("ai_gateway_upstream_failures_total", reason="attempt_timeout") == 2


def test_attempts_that_all_take_too_long_are_504():
    """And without `retry` the first one is."""
    def fail(peer, request):
        peer.wait_end(5)
        return False
    for retry, sent in [({"attempts": 1, "backoff": "1ms"}, 2), (None, 1)]:
        with Origin(Failing(9, fail)) as origin, retrying(origin, retry, timeouts={"backendRequest": "100ms"}) as gateway:
            answer = gateway.get("/a")
            assert (answer.status, answer.get("x-gateway-error")) == (504, "backend_request_timeout")
            assert len(origin.requests) == sent


def test_the_request_has_one_time_for_all_attempts_and_what_is_between():
    """504 when `timeouts.request` has passed: in an attempt, and in the wait before one."""
    def fail(peer, request):
        time.sleep(0.1)
        peer.respond(503)
    for backoff in ("10ms", "10s"):
        with Origin(Failing(99, fail)) as origin, retrying(
                origin, {"codes": [503], "attempts": 50, "backoff": backoff}, timeouts={"request": "400ms"}) as gateway:
            began = time.monotonic()
            answer = gateway.get("/a")
            assert (answer.status, answer.get("x-gateway-error")) == (504, "request_timeout")
            assert 0.4 <= time.monotonic() - began < 0.8
            assert len(origin.requests) == 1 if backoff == "10s" else len(origin.requests) > 1


def test_a_client_that_leaves_ends_the_wait():
    """Nothing is sent for a client that is gone."""
    with Origin(Failing(9, answering(503))) as origin, retrying(
            origin, {"codes": [503], "attempts": 5, "backoff": "300ms"}) as gateway:
        with gateway.client() as client:
            client.send(request_bytes("GET", "/a"))
            wait_until(lambda: len(origin.requests) == 1, 5)
            client.reset()
        time.sleep(0.7)
        assert len(origin.requests) == 1 and lines(gateway)[0]["ended"] == "client_cancel"
        assert gateway.total("ai_gateway_active_exchanges") == 0


# -- place

def test_another_endpoint_is_asked_while_there_is_one():
    """Three endpoints of which two fail: each request reaches the third within two retries."""
    bad = [Origin(Failing(1 << 30, fail)) for fail in (answering(503), resetting)]
    with bad[0], bad[1], Origin() as good, retrying(
            None, {"codes": [503], "attempts": 2, "backoff": "0s"}, ["origin"],
            extra=[docs.backend([*bad, good])]) as gateway:
        for n in range(30):
            answer = gateway.get(f"/{n}")
            assert answer.status == 200 and answer.get("x-gateway-endpoint") == f"127.0.0.1:{good.port}"


def test_a_retry_that_had_to_wait_for_a_connection_does_not_go_back():
    """The other endpoint's only connection is busy: the turn that comes is at that endpoint, not at the one that failed."""
    go = threading.Semaphore(0)

    def slow(peer):
        while (request := peer.read_request()) is not None:
            if request.target == "/slow":
                go.acquire(timeout=10)
            peer.respond(200, body=b"fine")

    def bad(peer):
        while peer.read_request() is not None:
            peer.respond(503)
    with Origin(slow) as good, Origin(bad) as other, serving(
            None, rules=[docs.rule(["origin"], retry={"codes": [503], "attempts": 1, "backoff": "0s"})],
            extra=[docs.backend([other, good])],
            limits={"upstreamConnectionsMax": 1}, workers=1) as gateway:
        for n in range(12):
            with gateway.client() as first, gateway.client() as second:
                first.send(request_bytes("GET", "/slow"))
                wait_until(lambda: sum(r.target == "/slow" for r in good.requests) == n + 1, 5)
                # The one that is free is asked first, and refuses.
                second.send(request_bytes("GET", f"/{n}"))
                wait_until(lambda: any(r.target == f"/{n}" for r in other.requests), 5)
                time.sleep(0.05)
                go.release()
                assert first.read().status == 200 and second.read().status == 200
        assert [r.target for r in other.requests if r.target != "/slow"] == [f"/{n}" for n in range(12)]


# -- content

@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [1, 70_000, 3_000_000])
def test_content_is_sent_again_byte_for_byte(size, chunked):
    """Also when it comes in pieces, and in more than one read."""
    body = os.urandom(size)
    with Origin(Failing(2, answering(503))) as origin, retrying(
            origin, {"codes": [503], "attempts": 2, "backoff": "1ms"}) as gateway:
        answer = gateway.get("/a", "POST", body=body, chunked=chunked)
        assert answer.status == 200 and answer.body == body
        assert [r.body == body for r in origin.requests] == [True] * 3


def test_content_that_is_larger_than_what_is_kept_is_sent_once():
    """`limits.replayBytesMax`."""
    with Origin(Failing(9, answering(503))) as origin, retrying(
            origin, {"codes": [503], "attempts": 2, "backoff": "1ms"}, limits={"replayBytesMax": "64Ki"}) as gateway:
        assert gateway.get("/a", "POST", body=b"x" * 200_000).status == 503
        assert len(origin.requests) == 1
        assert gateway.get("/b", "POST", body=b"x" * 20_000).status == 503
        assert len(origin.requests) == 4


def test_an_answer_before_the_content_has_come():
    """The first attempt is refused while the client still sends: the next one gets what came and what comes."""
    bodies = []

    def script(peer):
        request = peer.read_head()
        if not bodies:
            bodies.append(bytes(next(peer.pieces(request))))
            peer.respond(503, [("Connection", "close")])
            return
        bodies.append(b"".join(peer.pieces(request)))
        peer.respond(200, body=b"whole")
    with Origin(script) as origin, retrying(origin, {"codes": [503], "attempts": 1, "backoff": "200ms"}) as gateway:
        with gateway.client() as client:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000\r\n\r\n" + b"a" * 1000)
            wait_until(lambda: len(bodies) == 1, 5)
            time.sleep(0.05)
            client.send(b"b" * 1000)
            time.sleep(0.3)
            client.send(b"c" * 1000)
            assert client.read("POST").body == b"whole"
        assert bodies[1] == b"a" * 1000 + b"b" * 1000 + b"c" * 1000


# -- budget

def test_over_the_budget_the_last_answer_stands():
    """None may be under way: the first answer goes on, and it is counted why."""
    limits = {"retryBudgetPercent": 0, "retryBudgetMin": 0}
    with Origin(Failing(9, answering(503))) as origin, retrying(
            origin, {"codes": [503], "attempts": 2, "backoff": "1ms"}, limits=limits) as gateway:
        assert gateway.get("/a").status == 503 and len(origin.requests) == 1
        assert gateway.total("ai_gateway_retries_over_budget_total") == 1
        assert gateway.total("ai_gateway_retries_total") == 0


def test_one_that_is_under_way_has_its_place_in_the_budget():
    """With room for one, one request has all its retries."""
    limits = {"retryBudgetPercent": 0, "retryBudgetMin": 1}
    with Origin(Failing(3, answering(503))) as origin, retrying(
            origin, {"codes": [503], "attempts": 3, "backoff": "1ms"}, limits=limits) as gateway:
        for n in range(3):
            assert gateway.get(f"/{n}").status == 200


# -- HTTP/2

@pytest.mark.parametrize("fail", ["status", "reset"])
def test_over_http2_on_both_sides(fail):
    """Streams are tried again as connections are, and no connection is lost over it."""
    seen, lock = {}, threading.Lock()

    def script(stream):
        with lock:
            seen[stream.target] = seen.get(stream.target, 0) + 1
            fails = seen[stream.target] <= 2
        body = stream.read_all()
        if not fails:
            stream.respond(200, body=body or b"fine")
        elif fail == "status":
            stream.respond(503, body=b"not now")
        else:
            stream.reset()
    with Origin2(script) as origin, retrying(
            origin, {"codes": [503], "attempts": 2, "backoff": "1ms"}, backend=H2C) as gateway:
        with gateway.http2() as client:
            for n in range(3):
                answer = client.request("POST", f"/{n}", body=b"content" * 1000)
                assert (answer.status, bytes(answer.body), answer.get("x-gateway-attempts")) == (200, b"content" * 1000, "3")
                answer = client.request("GET", f"/get{n}")
                assert (answer.status, bytes(answer.body)) == (200, b"fine")
        assert len(origin.connections) == 1 and not origin.errors


def test_http2_clients_before_a_backend_of_http1():
    """And a client that resets its stream in the wait ends it."""
    with Origin(Failing(1, answering(503))) as origin, retrying(
            origin, {"codes": [503], "attempts": 1, "backoff": "200ms"}) as gateway, gateway.http2() as client:
        streams = [client.open("GET", f"/{n}") for n in range(3)]
        wait_until(lambda: len(origin.requests) == 3, 5)
        client.reset(streams[0])
        client.finish(*streams[1:])
        assert [s.status for s in streams[1:]] == [200, 200]
        time.sleep(0.3)
        assert sorted(r.target for r in origin.requests) == ["/0", "/1", "/1", "/2", "/2"]


# -- pools

def test_a_pool_of_one_server_is_asked_again_where_the_rule_says_so():
    """By status, which pools do not move on for by themselves, and by a broken connection."""
    body = json.dumps({"model": "m", "prompt": "x"}).encode()
    for fail in (answering(500), resetting):
        with Origin(Failing(2, fail)) as origin, serving(
                None, rules=[docs.rule([docs.pool_ref()], retry={"codes": [500], "attempts": 2, "backoff": "10ms"})],
                extra=docs.pool([origin]), parameters=TELLS, workers=1) as gateway:
            answer = gateway.get("/v1/completions", "POST", [("Content-Type", "application/json")], body)
            assert (answer.status, answer.body, answer.get("x-gateway-attempts")) == (200, body, "3")


# -- words

def test_explain_tells_and_check_refuses(tmp_path):
    """`explain` says when a rule has a request sent again; `check` where attempts are out of bounds."""
    def write(retry):
        path = os.path.join(tmp_path, "main.yaml")
        with open(path, "w") as file:
            file.write(docs.dump([docs.gateway([docs.listener(8080)]), docs.route([docs.rule(retry=retry)]),
                                  docs.backend([("127.0.0.1", 9)])]))
        return path
    path = write({"codes": [503, 500], "attempts": 3, "backoff": "100ms"})
    code, out, _ = cli("explain", path, "http://localhost:8080/a")
    assert code == 0
    assert "up to 3 times more, after no connection or a broken one, a timeout or status 500 or 503; 100ms or more between attempts" in out
    code, out, err = cli("check", write({"attempts": 1000}))
    assert code != 0 and "spec.rules[0].retry.attempts: 1000 retries cannot be had; use 0 to 100" in out + err
    code, out, err = cli("check", write({"codes": [200]}))
    assert code != 0 and "spec.rules[0].retry.codes[0]" in out + err
