"""A client that takes its answer slowly gets all of it, or sees that it did not: no end of ours looks like the answer's own."""
import concurrent.futures
import random
import threading
import time

import pytest

from Fixtures import documents as docs
from Fixtures.gateway import sealed, serving
from Fixtures.http1 import Ended, request_bytes, tls_client
from Fixtures.net import wait_until
from Fixtures.origin import Origin

KIB, MIB = 1 << 10, 1 << 20
MUCH = 24 * MIB                     # more than two sockets and the gateway between them hold
BLOCK = random.Random(3).randbytes(64 * KIB)


def content(size):
    return (BLOCK * (size // len(BLOCK) + 1))[:size]


def without_end(framing):
    """Answers with much content, and goes on until it is cut."""
    def script(peer):
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\n%s\r\n\r\n" % framing)
        sent = 0
        while sent < MUCH:
            peer.chunk(BLOCK) if b"chunked" in framing else peer.send(BLOCK)
            sent += len(BLOCK)
            peer.origin.begun.set()
        peer.wait_end(20)
    return script


def cut_by_half_close(client):
    client.half_close()


def cut_by_stall(_):
    time.sleep(2.5)


CUTS = {
    "the client ends its sending": (cut_by_half_close, {}, None),
    "the client takes nothing": (cut_by_stall, {"clientWriteStall": "1s"}, None),
    "the request's time is over while the client takes nothing": (cut_by_stall, {"clientWriteStall": "1s"}, {"request": "500ms"}),
}


@pytest.mark.parametrize("framing", [b"Connection: close", b"Transfer-Encoding: chunked"], ids=["until close", "chunked"])
@pytest.mark.parametrize("how", CUTS)
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_an_answer_that_ends_with_the_connection_and_is_cut_never_ends_cleanly(how, framing, secure, certificate):
    """Without any framing only a reset shows the cut, whoever or whatever ends the connection; over TLS there is no farewell either."""
    act, timeouts, limit = CUTS[how]
    with Origin(without_end(framing)) as origin:
        origin.begun = threading.Event()
        options = sealed(certificate) if secure else {}
        with serving(origin, [docs.rule(timeouts=limit)], timeouts=timeouts, workers=1, **options) as gateway, \
                gateway.client(receive_buffer=64 * KIB, tls=tls_client() if secure else None) as client:
            if secure:
                client.sock.suppress_ragged_eofs = False      # an end without a farewell is none
            client.send(request_bytes("GET", "/", version="1.0"))
            head = client.read_response()
            assert head.get("content-length") is None and head.get("transfer-encoding") is None
            assert origin.begun.wait(5)
            act(client)
            assert sum(map(len, client.pieces(head))) < MUCH
            assert head.ended in (("cut", "reset") if secure else ("reset",)) and not head.complete


def sized(peer):
    """Answers `/N` with N bytes."""
    while (request := peer.read_head()) is not None:
        peer.respond(200, body=content(int(request.target[1:])))


SIZES = [256 * KIB + at * 64 * KIB for at in range(96)]      # in some of them the tail is stuck in the gateway


def test_the_tail_of_an_answer_waits_for_a_slow_reader():
    """Between requests a connection has time without end of the reader's to take what is left: the next request's time begins behind it."""
    def take(size):
        with gateway.client(receive_buffer=16 * KIB, timeout=20) as client:
            client.send(request_bytes("GET", f"/{size}"))
            time.sleep(2.5)
            first = client.read()
            assert first.complete and first.body == content(size), size
            try:
                return client.request("GET", "/7").body == content(7)
            except (Ended, ConnectionError):
                return False                                  # nothing was stuck: it has been idle for too long
    with Origin(sized) as origin, serving(origin, timeouts={"keepAliveIdle": "1s", "clientWriteStall": "20s"}) as gateway, \
            concurrent.futures.ThreadPoolExecutor(len(SIZES)) as pool:
        assert any(list(pool.map(take, SIZES)))


def test_the_tail_of_an_early_answer_waits_for_a_slow_reader():
    """The rest of the request is dropped for a while only, and what is stuck of the answer is sent all the same."""
    def early(peer):
        request = peer.read_head()
        peer.respond(200, body=content(int(request.target[1:])))
        peer.wait_end(20)

    def take(size):
        with gateway.client(receive_buffer=16 * KIB, timeout=20) as client:
            client.send(request_bytes("POST", f"/{size}", [("Content-Length", str(100 * KIB))]) + b"x" * KIB)
            time.sleep(2.5)
            first = client.read()
            return 0 if first.complete and first.body == content(size) else size
    with Origin(early) as origin, serving(origin, timeouts={"linger": "1s", "clientWriteStall": "20s"}) as gateway, \
            concurrent.futures.ThreadPoolExecutor(len(SIZES)) as pool:
        assert [size for size in pool.map(take, SIZES) if size] == []


def test_a_tail_that_nobody_takes_is_given_up():
    """A reader that takes nothing more has as long as for any write."""
    with Origin(sized) as origin, serving(origin, timeouts={"keepAliveIdle": "20s", "clientWriteStall": "1s"}, workers=1) as gateway:
        clients = [gateway.client(receive_buffer=16 * KIB) for _ in SIZES]
        for client, size in zip(clients, SIZES):
            client.send(request_bytes("GET", f"/{size}"))
        wait_until(lambda: gateway.total("ai_gateway_buffer_bytes") > 0, 5, what="tails that are stuck")
        wait_until(lambda: gateway.total("ai_gateway_buffer_bytes") == 0, 8, what="tails that are given up")
        for client in clients:
            client.close()
