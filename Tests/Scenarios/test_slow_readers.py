"""A client that takes its answer slowly gets all of it, or sees that it did not: no end of ours looks like the answer's own."""
import random
import threading
import time

import pytest

from Fixtures import documents as docs
from Fixtures.gateway import sealed, serving
from Fixtures.http1 import request_bytes, tls_client
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
