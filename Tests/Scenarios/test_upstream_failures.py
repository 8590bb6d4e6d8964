"""Refused, silent, slow and dead backends: the status each failure means, and what may be tried again."""
import os
import signal
import socket
import threading
import time

import pytest

from Fixtures import documents as docs
from Fixtures.gateway import serving
from Fixtures.http1 import request_bytes
from Fixtures.limits import short
from Fixtures.net import free_port, wait_until
from Fixtures.origin import Origin, echo


class Silent:
    """A listening socket whose queue is full: a connection to it is neither accepted nor refused."""

    def __enter__(self):
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(0)
        self.port, self.fillers = self.listener.getsockname()[1], []
        for _ in range(8):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(("127.0.0.1", self.port))
            self.fillers.append(s)
        time.sleep(0.1)
        return self

    def __exit__(self, *_):
        for s in [self.listener, *self.fillers]:
            s.close()

    def endpoint(self):
        return {"address": "127.0.0.1", "port": self.port}


def own(response, status):
    """The answer is the gateway's own: its name, plain text, and a sentence."""
    assert response.status == status, response
    assert response.get("server") == "ai-gateway"
    assert (response.get("content-type") or "").startswith("text/plain")
    assert len(response.body) > 10 and response.complete


def test_a_refused_connection_is_503():
    """Nothing listens at the endpoint."""
    with serving(None, rules=[docs.rule(["origin"])], extra=[docs.backend([("127.0.0.1", free_port())])]) as gateway:
        own(gateway.get("/"), 503)


def test_a_connection_that_is_never_accepted_is_503_after_the_connect_timeout():
    """The connect timeout, not the client's patience, ends the wait."""
    with Silent() as silent, serving(None, rules=[docs.rule(["origin"])], extra=[docs.backend(silent)],
                                     timeouts=short(connect=300)) as gateway:
        began = time.monotonic()
        own(gateway.get("/"), 503)
        assert 0.2 < time.monotonic() - began < 5


def test_another_endpoint_is_tried_when_one_refuses():
    """With one dead and one living endpoint every request is answered (nothing of it was written to the dead one)."""
    with Origin() as origin, serving(None, rules=[docs.rule(["origin"])], extra=[
            docs.backend([{"address": "127.0.0.1", "port": free_port()}, origin.endpoint()])]) as gateway:
        with gateway.client() as client:
            for n in range(20):
                assert client.request("POST", f"/{n}", body=b"x").status == 200


def test_a_first_byte_that_is_late_is_504():
    """The backend accepts and reads, and says nothing."""
    def script(peer):
        peer.read_request()
        peer.wait_end(10)
    with Origin(script) as origin, serving(origin, timeouts=short(firstByte=300)) as gateway:
        began = time.monotonic()
        own(gateway.get("/"), 504)
        assert 0.2 < time.monotonic() - began < 5
        wait_until(lambda: origin.peers[0].ended_at, 5, what="the late upstream cancelled")


@pytest.mark.parametrize("timeouts", [{"request": "300ms"}, {"backendRequest": "300ms"},
                                      {"request": "2s", "backendRequest": "300ms"}])
def test_the_timeouts_of_a_rule_are_504(timeouts):
    """HTTPRoute timeouts.request and timeouts.backendRequest."""
    def script(peer):
        peer.read_request()
        peer.wait_end(10)
    with Origin(script) as origin, serving(origin, rules=[docs.rule(timeouts=timeouts)]) as gateway:
        began = time.monotonic()
        own(gateway.get("/"), 504)
        assert 0.2 < time.monotonic() - began < 5


def test_no_total_timeout_by_default_and_0s_means_none():
    """A stream that lives longer than every short deadline goes on; `0s` switches a deadline off."""
    def script(peer):
        peer.read_request()
        peer.head(200, [("Transfer-Encoding", "chunked")])
        for _ in range(6):
            peer.chunk(b"x")
            time.sleep(0.2)
        peer.end_chunks()
    with Origin(script) as origin, serving(origin, rules=[docs.rule(timeouts={"request": "0s", "backendRequest": "0s"})],
                                           timeouts=short(firstByte=500)) as gateway:
        response = gateway.get("/")
        assert response.complete and response.body == b"xxxxxx"


def test_a_stream_that_falls_silent_is_cut_after_its_idle_time():
    """The client sees a broken end, never a clean one."""
    def script(peer):
        peer.read_request()
        peer.head(200, [("Transfer-Encoding", "chunked")])
        peer.chunk(b"x")
        peer.wait_end(20)
    with Origin(script) as origin, serving(origin, timeouts=short(streamIdle=400)) as gateway:
        began = time.monotonic()
        response = gateway.get("/", timeout=10)
        assert response.body == b"x" and not response.complete
        assert 0.3 < time.monotonic() - began < 6


def test_no_route_is_404_and_no_backend_is_500_and_no_endpoint_is_503():
    """The three answers of the API, made by the gateway."""
    with serving(None, rules=[docs.rule(["nowhere"], path="/missing"),
                              docs.rule([{"name": "empty", "port": 80}], path="/empty"),
                              docs.rule([], path="/none")],
                 extra=docs.service("empty", [])) as gateway:
        own(gateway.get("/other"), 404)
        own(gateway.get("/missing"), 500)
        own(gateway.get("/none"), 500)
        own(gateway.get("/empty"), 503)
        own(gateway.get("/missing", method="POST", body=b"x" * 1000), 500)


def test_errors_of_the_backend_pass_unchanged():
    """4xx and 5xx of a backend are the backend's: status, fields and content as they are."""
    def script(peer):
        while (request := peer.read_request()) is not None:
            peer.respond(int(request.target[1:]), [("X-Own", "yes"), ("Server", "backend")], b"body of the backend")
    with Origin(script) as origin, serving(origin) as gateway:
        for code in (400, 401, 404, 418, 429, 500, 502, 503, 504):
            response = gateway.get(f"/{code}")
            assert (response.status, response.get("x-own"), response.get("server")) == (code, "yes", "backend")
            assert response.body == b"body of the backend"


def test_connections_to_a_backend_are_kept_and_used_again(origin, figure):
    """200 requests, one after another, on many client connections: one upstream connection a worker."""
    with serving(origin, workers=1) as gateway:
        for _ in range(4):
            with gateway.client() as client:
                for n in range(50):
                    assert client.request("GET", f"/{n}").status == 200
        assert origin.connections == 1
        figure("upstream connections for 200 requests, one worker", origin.connections)


def test_a_pooled_connection_that_the_backend_closed_is_not_used():
    """Idle connections are watched: after the backend's FIN even a POST goes to a new connection."""
    def script(peer):
        peer.read_request()
        peer.respond(200, body=b"one")                      # then closes without saying so
    with Origin(script) as origin, serving(origin, workers=1) as gateway, gateway.client() as client:
        for n in range(10):
            assert client.request("POST", "/", body=b"x").status == 200
            wait_until(lambda: origin.peers[-1].closed, 5)
            time.sleep(0.02)
        assert origin.connections == 10


def test_a_backend_that_says_close_is_obeyed():
    """Connection: close of an answer ends that connection; the field does not reach the client."""
    def script(peer):
        peer.read_request()
        peer.respond(200, [("Connection", "close")], b"one")
        peer.wait_end(5)
    with Origin(script) as origin, serving(origin, workers=1) as gateway, gateway.client() as client:
        for _ in range(3):
            response = client.request("GET", "/")
            assert response.status == 200 and "close" not in (response.get("connection") or "")
        assert origin.connections == 3


def dead_after_first(peer):
    """Answers the first request of a connection, and resets at the second's head: a pool's race, made certain."""
    if peer.read_request() is None:
        return
    peer.respond(200, body=b"one")
    if peer.number == 1:
        if peer.read_head() is not None:
            peer.reset()
        return
    echo(peer)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_a_safe_request_on_a_dead_pooled_connection_is_sent_again(method):
    """The reused connection died before any answer byte: an idempotent request goes to a fresh one."""
    body = b"content" if method == "PUT" else b""
    with Origin(dead_after_first) as origin, serving(origin, workers=1) as gateway, gateway.client() as client:
        assert client.request("GET", "/first").status == 200
        assert client.request(method, "/second", body=body).status == 200
        assert [r.target for r in origin.requests].count("/second") == 2


def test_a_post_to_an_ordinary_backend_is_never_sent_twice():
    """The same race with a POST: 502, and the backend saw it once."""
    with Origin(dead_after_first) as origin, serving(origin, workers=1) as gateway, gateway.client() as client:
        assert client.request("GET", "/first").status == 200
        assert client.request("POST", "/second", body=b"pay").status == 502
        assert [r.target for r in origin.requests].count("/second") == 1


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chat"])
def test_a_post_to_a_model_server_moves_on(path):
    """Model servers close idle connections without notice: an inference POST is sent again while nothing was answered."""
    with Origin(dead_after_first) as origin, serving(origin, workers=1, backend={"modelServer": "llama.cpp"}) as gateway:
        with gateway.client() as client:
            assert client.request("GET", "/first").status == 200
            response = client.request("POST", path, [("Content-Type", "application/json")], b'{"model":"m"}')
            assert response.status == 200, response


def test_a_first_connection_that_dies_is_not_retried():
    """Only a reused connection may be stale; a new one that dies is the backend's answer: 502."""
    def script(peer):
        peer.read_head()
        peer.reset()
    with Origin(script) as origin, serving(origin) as gateway:
        assert gateway.get("/").status == 502
        assert len(origin.requests) == 1


def test_a_slow_backend_does_not_hold_up_a_quick_one():
    """50 requests that wait for a silent backend; others are answered at once."""
    def script(peer):
        peer.read_request()
        peer.wait_end(20)
    with Origin(script) as slow, Origin() as quick, serving(
            {"slow": slow, "quick": quick}, rules=[docs.rule(["slow"], path="/slow"), docs.rule(["quick"])]) as gateway:
        clients = [gateway.client() for _ in range(50)]
        for client in clients:
            client.send(request_bytes("GET", "/slow"))
        wait_until(lambda: len(slow.requests) == 50, 5)
        began = time.monotonic()
        for _ in range(100):
            assert gateway.get("/quick").status == 200
        assert time.monotonic() - began < 5
        for client in clients:
            client.close()


def test_many_clients_at_once_share_a_few_upstream_connections(origin):
    """32 clients with 50 requests each: every answer is right, and belongs to its request."""
    errors = []

    def one(k):
        with gateway.client() as client:
            for n in range(50):
                body = f"{k}-{n}".encode()
                response = client.request("POST", f"/{k}/{n}", body=body)
                if response.status != 200 or f'"target": "/{k}/{n}"'.encode() not in response.body:
                    errors.append(response)
    with serving(origin) as gateway:
        threads = [threading.Thread(target=one, args=(k,)) for k in range(32)]
        [t.start() for t in threads]
        [t.join() for t in threads]
    assert not errors and len(origin.requests) == 1600


def test_a_retry_after_a_failed_write_goes_on_with_the_rest():
    """A pooled connection breaks in the middle of a PUT: the next one gets what was sent and what comes after it."""
    state, bodies = {}, []

    def script(peer):
        request = peer.read_head()
        if request.target == "/warm":
            peer.respond(200, body=b"warm")
            request = peer.read_head()
            while len(peer.buffer) < 1000:
                peer.fill()
            os.kill(state["gateway"].process.pid, signal.SIGSTOP)
            state["client"].send(b"b" * 1000)
            peer.reset()
            time.sleep(0.2)
            os.kill(state["gateway"].process.pid, signal.SIGCONT)
            time.sleep(0.3)
            state["client"].send(b"c" * 1000)
            return
        bodies.append(b"".join(peer.pieces(request)))
        peer.respond(200, body=b"whole")
    with Origin(script) as origin, serving(origin, workers=1) as gateway, gateway.client() as client:
        state.update(gateway=gateway, client=client)
        assert gateway.get("/warm").body == b"warm"
        client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000\r\n\r\n" + b"a" * 1000)
        assert client.read("PUT").body == b"whole"
        assert bodies == [b"a" * 1000 + b"b" * 1000 + b"c" * 1000]
