"""A backend that dies, lies or speaks nonsense never becomes a clean answer, and harms nobody else."""
import os
import signal
import socket
import threading
import time

import pytest

from Fixtures.gateway import serving
from Fixtures.http1 import Ended, Malformed, request_bytes
from Fixtures.net import wait_until
from Fixtures.origin import Origin

HEAD = {"length": "Content-Length: 1000", "chunked": "Transfer-Encoding: chunked", "close": "Connection: close"}


def dying(framing, how):
    def script(peer):
        peer.read_request()
        peer.send(f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{HEAD[framing]}\r\n\r\n".encode())
        peer.chunk(b"data: 1\n\n") if framing == "chunked" else peer.send(b"data: 1\n\n")
        peer.origin.half.wait(5)
        peer.reset() if how == "reset" else peer.close()
    return script


@pytest.mark.parametrize("framing,how", [("length", "reset"), ("length", "fin"), ("chunked", "reset"), ("chunked", "fin"),
                                         ("close", "reset")])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_an_upstream_killed_mid_stream_never_ends_cleanly(framing, how, version):
    """What arrived is passed on, and then the client's response is visibly broken."""
    with Origin(dying(framing, how)) as origin, serving(origin) as gateway, gateway.client() as client:
        origin.half = threading.Event()
        client.send(request_bytes("GET", "/", version=version))
        head = client.read_response()
        got = b""
        for data in client.pieces(head):
            got += data
            origin.half.set()
        assert got == b"data: 1\n\n"
        assert not head.complete, f"a cut answer ended cleanly ({framing}, {how})"
        if version == "1.0" and head.get("content-length") is None:
            assert head.ended == "reset", "without any framing only a reset shows the cut"


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nXYZ\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello!!\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n-1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n10000000000000000\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nbad trailer\r\n\r\n",
], ids=["size-not-hex", "data-too-long", "negative-size", "size-overflow", "bad-trailer"])
def test_broken_chunks_cut_the_answer(answer):
    """The head is passed already; the answer is cut and the upstream connection never used again."""
    def script(peer):
        peer.read_request()
        peer.send(answer)
        peer.wait_end(5)
    with Origin(script) as origin, serving(origin) as gateway:
        try:
            response = gateway.get("/")
            assert response.status == 502 or not response.complete
        except (Ended, Malformed):
            pass
        wait_until(lambda: origin.peers[0].ended_at or origin.peers[0].closed, 5)


BAD_HEADS = {
    "no status line": b"hello\r\n\r\n",
    "HTTP/2 in text": b"HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n",
    "version 2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    "status of four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    "status with letters": b"HTTP/1.1 2xx OK\r\nContent-Length: 0\r\n\r\n",
    "two lengths that differ": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "length with a sign": b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
    "length not a number": b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello",
    "length that overflows": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nhello",
    "unknown coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello",
    "chunked not last": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "space before the colon": b"HTTP/1.1 200 OK\r\nX-A : b\r\nContent-Length: 0\r\n\r\n",
    "no colon": b"HTTP/1.1 200 OK\r\nnonsense\r\nContent-Length: 0\r\n\r\n",
    "NUL in a value": b"HTTP/1.1 200 OK\r\nX-A: b\0c\r\nContent-Length: 0\r\n\r\n",
    "bare CR in a value": b"HTTP/1.1 200 OK\r\nX-A: b\rX-B: c\r\nContent-Length: 0\r\n\r\n",
    "folded line": b"HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    "unasked 101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    "a head of 70 KiB": b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%03d: %s\r\n" % (n, b"v" * 690) for n in range(100)) + b"Content-Length: 0\r\n\r\n",
    "201 fields": b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%03d: v\r\n" % n for n in range(200)) + b"Content-Length: 0\r\n\r\n",
    "65 interim answers": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 65 + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "end before the head": b"",
    "end inside the head": b"HTTP/1.1 200 OK\r\nContent-",
}


@pytest.mark.parametrize("name", BAD_HEADS)
def test_a_bad_answer_head_is_502(name):
    """Bad heads become 502 made by the gateway; the upstream connection is closed; the next request is served."""
    bad = BAD_HEADS[name]

    def script(peer):
        request = peer.read_request()
        if request is None:
            return
        if request.target == "/good":
            return peer.respond(200, [("Connection", "close")], b"good")
        peer.send(bad)
        if name.startswith("end"):
            return peer.close()
        peer.wait_end(5)
    with Origin(script) as origin, serving(origin) as gateway, gateway.client() as client:
        response = client.request("GET", "/bad")
        assert response.status == 502, response
        assert response.get("server") == "ai-gateway"
        assert gateway.get("/good").body == b"good"
        wait_until(lambda: origin.peers[0].closed, 6, what="the upstream connection closed")


def test_a_reset_before_the_head_is_502():
    """A connection that dies after the request was written and before any answer byte."""
    def script(peer):
        peer.read_request()
        peer.reset()
    with Origin(script) as origin, serving(origin) as gateway:
        assert gateway.get("/", method="POST", body=b"x").status == 502
        assert len(origin.requests) == 1, "a POST is sent once"


def test_bytes_after_the_end_of_an_answer_are_seen_by_nobody():
    """More bytes than Content-Length says: dropped, and that connection is never used again."""
    def script(peer):
        while (request := peer.read_request()) is not None:
            if request.target == "/lie":
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhacked")
            else:
                peer.respond(200, body=b"honest")
    with Origin(script) as origin, serving(origin, workers=1) as gateway, gateway.client() as client:
        assert client.request("GET", "/lie").body == b"hello"
        for _ in range(5):
            assert client.request("GET", "/next").body == b"honest"
        assert all(r.connection != 1 for r in origin.requests[1:]), "the lying connection was used again"


def test_bytes_on_an_idle_pooled_connection_close_it():
    """An answer nobody asked for cannot become the answer to the next request."""
    def script(peer):
        while (request := peer.read_request()) is not None:
            peer.respond(200, body=b"first" if request.target == "/1" else b"right")
            if request.target == "/1":
                peer.origin.armed.wait(5)
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
                peer.origin.sent.set()
    with Origin(script) as origin, serving(origin, workers=1) as gateway, gateway.client() as client:
        origin.armed, origin.sent = threading.Event(), threading.Event()
        assert client.request("GET", "/1").body == b"first"
        origin.armed.set()
        assert origin.sent.wait(5)
        wait_until(lambda: origin.peers[0].ended_at or origin.peers[0].closed, 5, what="the poisoned connection closed")
        assert client.request("GET", "/2").body == b"right"


@pytest.mark.parametrize("end", [b"\r\n\r\n", b"\r\n\n", b"\n\r\n", b"\n\n"])
@pytest.mark.parametrize("last", [b"X-Last: 1", b"Connection: keep-alive", b"Keep-Alive: timeout=9"])
def test_line_ends_of_an_answer_are_written_as_they_should_be(last, end):
    """A bare LF of the backend, behind a line that is passed on or one that is not, never reaches the client."""
    def script(peer):
        while peer.read_request() is not None:
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n" + last + end + b"hello")
    with Origin(script) as origin, serving(origin, workers=1) as gateway, gateway.client() as client:
        for _ in range(2):
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            wanted = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n" + (last + b"\r\n" if b"Last" in last else b"") + b"\r\nhello"
            assert client.sock.recv(len(wanted), socket.MSG_WAITALL) == wanted


def test_length_and_chunked_together_are_read_as_chunked():
    """Transfer-Encoding wins, Content-Length is dropped, and the upstream connection is closed afterwards."""
    def script(peer):
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
        peer.wait_end(5)
    with Origin(script) as origin, serving(origin) as gateway:
        response = gateway.get("/")
        assert response.body == b"hello" and response.complete and response.get("content-length") is None
        wait_until(lambda: origin.peers[0].closed, 6)
        assert origin.peers[0].ended_at, "the gateway has to close it"


def test_an_answer_before_the_request_ended_is_passed_on():
    """413 to a large upload: the client reads it, and the upstream connection is not used again."""
    def script(peer):
        request = peer.read_head()
        if request.target == "/next":
            return peer.respond(200, body=b"fresh")
        peer.respond(413, [("Connection", "close")], b"too large")
        peer.wait_end(5)
    with Origin(script) as origin, serving(origin, workers=1) as gateway:
        with gateway.client() as client:
            client.send(request_bytes("POST", "/up", [("Content-Length", str(50 << 20))]))
            client.send(b"x" * 100_000)
            response = client.read()
            assert response.status == 413 and response.body == b"too large"
            assert client.how_it_ends(5) in ("eof", "reset"), "the rest of the upload is not a request"
        assert gateway.get("/next").body == b"fresh"
        assert origin.requests[-1].connection == 2


def test_an_early_answer_does_not_turn_the_body_into_a_request():
    """The unread body of an answered request is never parsed as the next request."""
    def script(peer):
        peer.read_head()
        peer.respond(400, [("Connection", "close")], b"no")
        peer.wait_end(5)
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    with Origin(script) as origin, serving(origin) as gateway, gateway.client() as client:
        client.send(request_bytes("POST", "/", [("Content-Length", str(len(smuggled)))]))
        assert client.read().status == 400
        try:
            client.send(smuggled)
        except OSError:
            pass
        client.how_it_ends(3)
        assert [r.target for r in origin.requests] == ["/"]


def test_three_hundred_interim_answers_where_a_thousand_are_allowed():
    """No count of the peer's runs over: the last answer comes."""
    def script(peer):
        peer.read_request()
        peer.send(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" * 300)
        peer.respond(200, body=b"ok")
    with Origin(script) as origin, serving(origin, limits={"interimAnswersMax": 1000}) as gateway, gateway.client() as client:
        client.send(request_bytes("GET", "/"))
        received = b""
        while b"\r\n\r\nok" not in received:
            received += client.sock.recv(65536)
        assert received.count(b"103 Early Hints") == 300


@pytest.mark.parametrize("lines", [10, 77, 82, 130])
def test_content_until_the_end_behind_a_large_head(lines):
    """Content that is framed anew behind a head that fills most of the buffer: not a byte is lost."""
    body = b"".join(b"%07d\n" % i for i in range(1 << 14))

    def script(peer):
        peer.read_request()
        fields = b"".join(b"x-%d: %s\r\n" % (i, b"v" * 1000) for i in range(lines))
        peer.send(b"HTTP/1.1 200 OK\r\n" + fields + b"connection: close\r\n\r\n" + body)
        peer.sock.close()
    with Origin(script) as origin, serving(origin, limits={"responseHeadBytesMax": "512Ki", "responseFieldCountMax": 1000}) as gateway:
        response = gateway.get("/")
        assert response.status == 200 and response.body == body


def test_a_trailer_cut_in_two_after_an_early_answer():
    """What is dropped of a request is judged whole: none of it becomes the next request."""
    heads = []

    def either(peer):
        request = peer.read_head()
        heads.append((request.method, request.target))
        if request.target == "/early":
            peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nearly")
            time.sleep(0.3)
        else:
            peer.respond(200, body=b"next")
    with Origin(either) as origin, serving(origin) as gateway, gateway.client() as client:
        client.send(b"POST /early HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        assert client.read("POST").body == b"early"
        client.send(b"0\r\nX-Tra")
        time.sleep(0.2)
        client.send(b"iler: a\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.read().body == b"next"
        assert heads == [("POST", "/early"), ("GET", "/next")]


def test_bytes_behind_an_answer_that_fills_the_read_exactly():
    """They stand in the socket when the answer is complete: nobody gets them as an answer."""
    state = {}

    def script(peer):
        request = peer.read_head()
        while request is not None:
            if request.target == "/full":
                head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
                size = 81920 - len(head % 81900)
                os.kill(state["gateway"].process.pid, signal.SIGSTOP)
                peer.send(head % size + b"z" * size + b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned")
                time.sleep(0.1)
                os.kill(state["gateway"].process.pid, signal.SIGCONT)
            else:
                peer.respond(200, body=b"good")
            request = peer.read_head()
    with Origin(script) as origin, serving(origin, workers=1) as gateway:
        state["gateway"] = gateway
        assert gateway.get("/warm").body == b"good"
        assert len(gateway.get("/full").body) > 81000
        for _ in range(3):
            assert gateway.get("/next").body == b"good"
