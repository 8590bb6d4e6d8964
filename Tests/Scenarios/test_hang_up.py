"""A client that goes away frees the model server at once; one that closes at the terminal event has not gone away."""
import threading
import time

import pytest

from Fixtures import documents as docs
from Fixtures.gateway import serving
from Fixtures.http1 import request_bytes, tls_client
from Fixtures.net import free_port, wait_until
from Fixtures.origin import Origin

NEXT_EVENT_SECONDS = 1.0


class Ticking:
    """Sends an event, then waits for the next one's time or the cancel, and notes which came first."""

    def __init__(self, framing="chunked"):
        self.framing, self.cancelled, self.went_on, self.done = framing, None, False, threading.Event()

    def __call__(self, peer):
        peer.read_request()
        fields = [("Content-Type", "text/event-stream")]
        fields.append(("Transfer-Encoding", "chunked") if self.framing == "chunked" else ("Content-Length", "1000000"))
        peer.head(200, fields)
        peer.chunk(b"data: 1\n\n") if self.framing == "chunked" else peer.send(b"data: 1\n\n")
        self.cancelled = peer.wait_end(NEXT_EVENT_SECONDS)
        self.went_on = self.cancelled is None
        self.done.set()


def cancels(gateway):
    """The sum of all counters that speak of cancelling."""
    return sum(v for name, series in gateway.metrics().items() for labels, v in series.items()
               if "cancel" in name or any("cancel" in value for _, value in labels))


def record_of(gateway, request_id):
    """The access record of a request, once it is written."""
    return wait_until(lambda: next((r for r in gateway.access() if request_id in r.values()), None), 5, what="access record")


@pytest.mark.parametrize("framing", ["chunked", "length"])
@pytest.mark.parametrize("how", ["close", "reset", "half-close"])
def test_a_hang_up_cancels_the_upstream_before_its_next_event(framing, how, figure):
    """The upstream connection ends before the origin would have made its next event."""
    tick = Ticking(framing)
    with Origin(tick) as origin, serving(origin) as gateway:
        client = gateway.client()
        client.send(request_bytes("GET", "/", [("x-request-id", "left-1")]))
        head = client.read_response()
        next(client.pieces(head))
        at = time.monotonic()
        {"close": client.close, "reset": client.reset, "half-close": client.half_close}[how]()
        assert tick.done.wait(5)
        assert not tick.went_on, "the origin went on to its next event"
        figure(f"cancel after the client's {how}, {framing}", f"{(tick.cancelled - at) * 1000:.2f} ms")
        assert "cancel" in str(record_of(gateway, "left-1")).lower()
        assert cancels(gateway) >= 1
        client.close()


def test_a_hang_up_over_tls_cancels_too(certificate):
    """The same through a TLS listener."""
    tick, port = Ticking(), free_port()
    with Origin(tick) as origin, serving(
            origin, listeners=[docs.listener(port, "https", "HTTPS", certificates=["tls"])],
            extra=[certificate.secret("tls")]) as gateway:
        client = gateway.client(port=port, tls=tls_client(), sni="test.example")
        client.send(request_bytes("GET", "/"))
        next(client.pieces(client.read_response()))
        client.close()
        assert tick.done.wait(5) and not tick.went_on


def test_a_hang_up_before_the_first_byte_cancels():
    """A request that waits for its first token is cancelled as well."""
    seen, result = threading.Event(), {}

    def script(peer):
        peer.read_request()
        seen.set()
        result["end"] = peer.wait_end(3)
        result["done"] = True
    with Origin(script) as origin, serving(origin) as gateway:
        client = gateway.client()
        client.send(request_bytes("POST", "/", body=b"{}"))
        assert seen.wait(5)
        at = time.monotonic()
        client.close()
        wait_until(lambda: "done" in result, 5)
        assert result["end"] is not None and result["end"] - at < 1.0


def test_a_hang_up_inside_an_upload_ends_the_upstream_request():
    """An upload that stops half-way is never completed towards the backend."""
    result = {}

    def script(peer):
        request = peer.read_head()
        try:
            for _ in peer.pieces(request):
                pass
        finally:
            result["complete"] = request.complete
    with Origin(script) as origin, serving(origin) as gateway:
        client = gateway.client()
        client.send(request_bytes("POST", "/", [("Content-Length", "1000")]) + b"x" * 100)
        wait_until(lambda: origin.requests, 5)
        client.close()
        wait_until(lambda: "complete" in result, 5)
        assert result["complete"] is False


@pytest.mark.parametrize("terminal", [
    b"data: [DONE]\n\n",
    b"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    b"{\"model\":\"m\",\"response\":\"\",\"done\":true,\"done_reason\":\"stop\"}\n"], ids=["openai", "anthropic", "ollama"])
def test_closing_at_the_terminal_event_is_not_a_cancel(terminal):
    """Some SDKs close at their last event, before the last chunk: that request counts as done."""
    ended = threading.Event()
    kind = "application/x-ndjson" if terminal.startswith(b"{") else "text/event-stream"

    def script(peer):
        peer.read_request()
        peer.head(200, [("Content-Type", kind), ("Transfer-Encoding", "chunked")])
        peer.chunk(b"data: {}\n\n" if kind != "application/x-ndjson" else b"{\"response\":\"x\",\"done\":false}\n")
        time.sleep(0.05)
        peer.chunk(terminal)
        time.sleep(0.3)                    # longer than the grace of a hang-up
        try:
            peer.end_chunks()
        finally:
            ended.set()
    with Origin(script) as origin, serving(origin) as gateway:
        client = gateway.client()
        client.send(request_bytes("POST", "/", [("x-request-id", "sdk-1")], body=b"{}"))
        got = b""
        for data in client.pieces(client.read_response()):
            got += data
            if terminal in got:
                break
        client.close()
        assert ended.wait(5)
        assert "cancel" not in str(record_of(gateway, "sdk-1")).lower()
        assert cancels(gateway) == 0


def test_many_hang_ups_leave_nothing_behind(figure):
    """300 clients that leave mid-stream: no descriptor and no upstream connection stays."""
    def script(peer):
        peer.read_request()
        peer.head(200, [("Transfer-Encoding", "chunked")])
        peer.chunk(b"data: 1\n\n")
        peer.wait_end(10)
    with Origin(script) as origin, serving(origin) as gateway:
        before = gateway.descriptors()
        clients = []
        for n in range(300):
            client = gateway.client()
            client.send(request_bytes("GET", f"/{n}"))
            clients.append(client)
        for client in clients:
            next(client.pieces(client.read_response()))
        for n, client in enumerate(clients):
            client.reset() if n % 2 else client.close()
        wait_until(lambda: all(p.closed for p in origin.peers), 5, what="every upstream connection ended")
        wait_until(lambda: gateway.descriptors() <= before + 2, 5, what="descriptors given back")
        figure("descriptors before and after 300 hang-ups", f"{before}, {gateway.descriptors()}")
