"""Content travels as it is made: event by event, in both directions, over every framing."""
import statistics
import threading
import time

import pytest

from Fixtures import documents as docs
from Fixtures.gateway import serving
from Fixtures.http1 import request_bytes, tls_client
from Fixtures.net import free_port
from Fixtures.origin import Origin

EVENTS = [f"data: {{\"token\": {i}}}\n\n".encode() for i in range(5)]
LINES = [f"{{\"response\":\"{i}\",\"done\":false}}\n".encode() for i in range(5)]


class Gated:
    """An origin that makes piece n+1 only after the client has said that it has piece n."""

    def __init__(self, pieces, framing, content_type):
        self.pieces, self.framing, self.content_type = pieces, framing, content_type
        self.received, self.made = threading.Semaphore(0), []

    def __call__(self, peer):
        while peer.read_request() is not None:
            fields = [("Content-Type", self.content_type)]
            if self.framing == "length":
                fields.append(("Content-Length", str(sum(map(len, self.pieces)))))
            elif self.framing == "chunked":
                fields.append(("Transfer-Encoding", "chunked"))
            else:
                fields.append(("Connection", "close"))
            peer.head(200, fields)
            for piece in self.pieces:
                self.made.append(time.monotonic())
                peer.chunk(piece) if self.framing == "chunked" else peer.send(piece)
                if not self.received.acquire(timeout=5):
                    return peer.reset()
            if self.framing == "chunked":
                peer.end_chunks()
            elif self.framing == "close":
                return None


def read_gated(client, head, gate):
    """Reads piece by piece and lets the origin go on only after each; returns the arrival times."""
    got, arrivals, want = b"", [], list(gate.pieces)
    for data in client.pieces(head):
        got += data
        while want and got == b"".join(gate.pieces)[:len(got)] and len(got) >= sum(map(len, gate.pieces[:len(arrivals) + 1])):
            arrivals.append(time.monotonic())
            want.pop(0)
            gate.received.release()
    assert got == b"".join(gate.pieces)
    return arrivals


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
@pytest.mark.parametrize("pieces,kind", [(EVENTS, "text/event-stream"), (LINES, "application/x-ndjson")], ids=["sse", "ndjson"])
def test_every_event_arrives_before_the_next_is_made(framing, pieces, kind, figure):
    """The origin makes event n+1 only after the client has event n: a gateway that holds one back never ends."""
    gate = Gated(pieces, framing, kind)
    with Origin(gate) as origin, serving(origin) as gateway, gateway.client() as client:
        client.send(request_bytes("POST", "/stream", body=b"{}"))
        head = client.read_response()
        assert head.status == 200 and head.get("content-type") == kind
        arrivals = read_gated(client, head, gate)
        assert head.complete
        assert all(made < arrived for made, arrived in zip(gate.made, arrivals))
        assert arrivals[0] < gate.made[-1], "the first byte has to arrive before the last is made"
        ages = [(a - m) * 1000 for m, a in zip(gate.made, arrivals)]
        figure(f"age of an event on arrival, {kind} {framing}", f"median {statistics.median(ages):.2f} ms, highest {max(ages):.2f} ms")


def test_events_arrive_one_by_one_over_tls(certificate):
    """The same through a TLS listener."""
    port, gate = free_port(), Gated(EVENTS, "chunked", "text/event-stream")
    with Origin(gate) as origin, serving(
            origin, listeners=[docs.listener(port, "https", "HTTPS", certificates=["tls"])],
            extra=[certificate.secret("tls")]) as gateway:
        with gateway.client(port=port, tls=tls_client(), sni="test.example") as client:
            client.send(request_bytes("GET", "/"))
            arrivals = read_gated(client, client.read_response(), gate)
            assert len(arrivals) == len(EVENTS)


def test_the_head_of_a_response_does_not_wait_for_its_first_byte():
    """A client sees the status while the model still thinks."""
    go = threading.Event()

    def script(peer):
        peer.read_request()
        peer.head(200, [("Transfer-Encoding", "chunked")])
        go.wait(5)
        peer.chunk(b"x")
        peer.end_chunks()
    with Origin(script) as origin, serving(origin) as gateway, gateway.client() as client:
        client.send(request_bytes("GET", "/"))
        head = client.read_response()
        assert head.status == 200 and not client.buffer
        go.set()
        assert b"".join(client.pieces(head)) == b"x"


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_request_is_forwarded_as_it_arrives(chunked):
    """The origin has the first part of an upload before the client sends the second."""
    first = threading.Event()

    def script(peer):
        request = peer.read_head()
        got = b""
        for data in peer.pieces(request):
            got += data
            if len(got) >= 5:
                first.set()
        peer.respond(200, body=got)
    with Origin(script) as origin, serving(origin) as gateway, gateway.client() as client:
        if chunked:
            client.send(request_bytes("POST", "/", [("Transfer-Encoding", "chunked")]) + b"5\r\nfirst\r\n")
        else:
            client.send(request_bytes("POST", "/", [("Content-Length", "11")]) + b"first")
        assert first.wait(5), "the first part did not reach the origin"
        client.send(b"6\r\nsecond\r\n0\r\n\r\n" if chunked else b"second")
        assert client.read().body == b"firstsecond"


def test_both_directions_at_once():
    """The answer may begin and go on while the request is still being sent (each echoes the other)."""
    def script(peer):
        request = peer.read_head()
        peer.head(200, [("Transfer-Encoding", "chunked")])
        for data in peer.pieces(request):
            peer.chunk(data)
        peer.end_chunks()
    with Origin(script) as origin, serving(origin) as gateway, gateway.client() as client:
        client.send(request_bytes("POST", "/", [("Transfer-Encoding", "chunked")]))
        pieces = None
        for n in range(5):
            word = f"word-{n}".encode()
            client.send(b"%x\r\n%s\r\n" % (len(word), word))
            if pieces is None:
                head = client.read_response()
                pieces = client.pieces(head)
            got = b""
            while len(got) < len(word):
                got += next(pieces)
            assert got == word
        client.send(b"0\r\n\r\n")
        assert b"".join(pieces) == b"" and head.complete


def test_many_small_events_are_neither_lost_nor_changed():
    """2,000 events written as fast as they come arrive byte for byte."""
    events = [f"data: {n:05d} {'x' * (n % 97)}\n\n".encode() for n in range(2000)]

    def script(peer):
        peer.read_request()
        peer.head(200, [("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked")])
        for event in events:
            peer.chunk(event)
        peer.end_chunks()
    with Origin(script) as origin, serving(origin) as gateway:
        response = gateway.get("/")
        assert response.complete and response.body == b"".join(events)


def test_a_hundred_streams_at_once_each_get_their_own_events():
    """No stream sees another's bytes."""
    def script(peer):
        request = peer.read_request()
        peer.head(200, [("Transfer-Encoding", "chunked")])
        for n in range(20):
            peer.chunk(f"{request.target} {n}\n".encode())
            time.sleep(0.01)
        peer.end_chunks()
    results = {}
    with Origin(script) as origin, serving(origin) as gateway:
        def one(k):
            results[k] = gateway.get(f"/s{k}", timeout=20)
        threads = [threading.Thread(target=one, args=(k,)) for k in range(100)]
        [t.start() for t in threads]
        [t.join() for t in threads]
    assert len(results) == 100
    for k, response in results.items():
        assert response.complete and response.body == "".join(f"/s{k} {n}\n" for n in range(20)).encode()
