"""Large content between plain connections is moved by pipes: what arrives, what is cut, what is kept and what is freed are as with a copy."""
import hashlib
import os
import random
import resource
import signal
import socket
import threading
import time

import pytest

from Fixtures import documents as docs
from Fixtures.gateway import Peak, serving, streaming
from Fixtures.http1 import Ended, request_bytes, tls_client
from Fixtures.net import free_port, wait_until
from Fixtures.origin import Origin

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
THRESHOLD = 64 * KIB                 # content of a known length is moved from so many bytes on
BLOCK = bytes(random.Random(7).randbytes(MIB))


def content(size, seed=1):
    return random.Random(seed * 1_000_003 + size).randbytes(size)


def pipes(gateway):
    """How many pipes the gateway has: two descriptors each."""
    names = []
    for fd in os.listdir(f"/proc/{gateway.pid}/fd"):
        try:
            names.append(os.readlink(f"/proc/{gateway.pid}/fd/{fd}"))
        except OSError:
            pass
    names = [name for name in names if name.startswith("pipe:")]
    return sum(1 for name in set(names) if names.count(name) == 2)


def asked(request, name, default=None):
    """A number in a request's query."""
    for part in request.target.partition("?")[2].split("&"):
        key, _, value = part.partition("=")
        if key == name:
            return int(value)
    return default


def server(peer):
    """Answers `?size=N` with as many bytes, in `?pieces=N` after the head; what it is sent, with its hash and length."""
    while (request := peer.read_head()) is not None:
        digest, length = hashlib.sha256(), 0
        for piece in peer.pieces(request):
            digest.update(piece)
            length += len(piece)
        size = asked(request, "size")
        if size is None:
            peer.respond(200, [("x-length", str(length))], body=digest.hexdigest().encode())
            continue
        body, cut = content(size), asked(request, "head", 0)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + body[:cut])
        if asked(request, "pause"):
            time.sleep(0.02)
        peer.send(body[cut:])


def records(gateway, count=1):
    return wait_until(lambda: len(gateway.access()) >= count and gateway.access(), 5, what="access records")


# -- bytes

@pytest.mark.parametrize("base", [THRESHOLD, 80 * KIB + THRESHOLD, 256 * KIB, MIB])
def test_every_size_around_the_threshold_is_exact(base):
    """A byte less and a byte more, the head alone, with the first bytes of the content, or with nearly all; on one connection, both ways."""
    with Origin(server) as origin, serving(origin, workers=1) as gateway, gateway.client() as client:
        for size in (base - 1, base, base + 1):
            for head in (0, 1, 70 * KIB, size - 1):
                for pause in (0, 1):
                    answer = client.request("GET", f"/?size={size}&head={head}&pause={pause}")
                    assert answer.complete and answer.body == content(size), (size, head, pause)
            body = content(size, 2)
            answer = client.request("POST", "/", body=body)
            assert answer.get("x-length") == str(size) and answer.body == hashlib.sha256(body).hexdigest().encode()
            client.send(request_bytes("POST", "/", [("Content-Length", str(size))]))
            time.sleep(0.02)
            client.send(body)
            assert client.read().body == hashlib.sha256(body).hexdigest().encode()
        assert origin.connections == 1, "the backend's connection is used again behind moved content"


def test_large_content_is_moved_by_pipes_and_they_are_freed():
    """Both ways; a second without need later there are none."""
    with Origin(server) as origin, serving(origin, workers=1) as gateway, gateway.client() as client:
        assert client.request("GET", f"/?size={THRESHOLD // 2}").complete and pipes(gateway) == 0
        assert client.request("GET", f"/?size={4 * MIB}").body == content(4 * MIB)
        assert pipes(gateway) > 0
        wait_until(lambda: pipes(gateway) == 0, 6, what="pipes freed")
        client.request("POST", "/", body=content(4 * MIB))
        assert pipes(gateway) > 0
        wait_until(lambda: pipes(gateway) == 0, 6, what="pipes freed")
        assert gateway.total("ai_gateway_buffer_bytes") == 0


def test_what_is_told_of_it_is_as_ever():
    """Bytes both ways in the access log and in the counters."""
    with Origin(server) as origin, serving(origin) as gateway:
        assert gateway.get(f"/?size={3 * MIB + 17}").complete
        assert gateway.get("/", method="POST", body=content(2 * MIB + 5)).status == 200
        # Two workers' lines come in any order.
        down, up = sorted(records(gateway, 2), key=lambda line: line["method"])
        assert down["bytes_sent"] == 3 * MIB + 17 and down["bytes_received"] == 0 and down["ended"] == "done"
        assert up["bytes_received"] == 2 * MIB + 5 and up["bytes_sent"] == 64 and up["ended"] == "done"
        assert gateway.total("ai_gateway_sent_bytes_total") > 3 * MIB + 17 + 64
        assert gateway.total("ai_gateway_completed_total") == 2


def test_what_stands_behind_an_upload_is_the_next_request():
    """Requests pipelined behind content that is moved are read as requests, none of their bytes as content."""
    with Origin(server) as origin, serving(origin, workers=1) as gateway, gateway.client(timeout=20) as client:
        parts, expected = [], []
        for at, size in enumerate((THRESHOLD + 1, MIB, 300_000, 5 * MIB, THRESHOLD * 2)):
            body = content(size, at)
            parts += [request_bytes("POST", f"/{at}", body=body), request_bytes("GET", f"/{at}?size={200_000 + at}")]
            expected += [hashlib.sha256(body).hexdigest().encode(), content(200_000 + at)]
        sender = threading.Thread(target=client.send, args=(b"".join(parts),))
        sender.start()
        for body in expected:
            assert client.read().body == body
        sender.join()
        assert [r.target.partition("?")[0] for r in origin.requests] == [f"/{n // 2}" for n in range(10)]


def test_an_upload_after_100_continue():
    """The content comes only when it was asked for."""
    with Origin(server) as origin, serving(origin) as gateway, gateway.client() as client:
        body = content(3 * MIB)
        client.send(request_bytes("POST", "/", [("Content-Length", str(len(body))), ("Expect", "100-continue")]))
        assert client.read_head().status == 100
        client.send(body)
        assert client.read().body == hashlib.sha256(body).hexdigest().encode()


def test_an_idempotent_upload_over_a_used_connection():
    """It is kept for another attempt as far as that goes, and moved from there on."""
    with Origin(server) as origin, serving(origin, workers=1) as gateway, gateway.client() as client:
        body = content(12 * MIB)
        for _ in range(3):
            assert client.request("PUT", "/", body=body).body == hashlib.sha256(body).hexdigest().encode()
        assert origin.connections == 1


def test_an_answer_that_ends_with_the_connection():
    """An old client gets all of it and the end; a new one gets it in chunks."""
    def script(peer):
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        peer.send(content(5 * MIB))
    with Origin(script) as origin, serving(origin) as gateway:
        with gateway.client() as client:
            answer = client.request("GET", "/", version="1.0")
            assert answer.body == content(5 * MIB) and client.end == "eof"
        with gateway.client() as client:
            answer = client.request("GET", "/")
            assert answer.complete and answer.body == content(5 * MIB) and answer.get("transfer-encoding") == "chunked"
            assert client.request("GET", "/").body == content(5 * MIB)
        assert pipes(gateway) > 0


def test_an_answer_that_ends_with_the_connection_in_pieces():
    """Much, little and nothing for a while, to a client that is slow: every chunk is whole, and none is late."""
    pieces = [content(size, 3) for size in (MIB, 1, 200_000, 5_000, 64 * KIB, 3 * MIB, 2)]

    def script(peer):
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        for piece in pieces:
            peer.send(piece)
            time.sleep(0.05)
    with Origin(script) as origin, serving(origin, workers=1) as gateway, gateway.client(receive_buffer=1 << 16) as client:
        client.send(request_bytes("GET", "/"))
        head, got = client.read_response(), bytearray()
        for piece in client.pieces(head):
            got += piece
            if len(got) < MIB:
                time.sleep(0.005)
        assert head.complete and got == b"".join(pieces)


@pytest.mark.parametrize("how", ["close", "reset"])
def test_an_answer_without_a_length_that_is_reset_is_cut(how):
    """Only the backend's own end is the end of it."""
    def script(peer):
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        peer.send(BLOCK * 2)
        time.sleep(0.1)
        getattr(peer, how)()
    with Origin(script) as origin, serving(origin, workers=1) as gateway:
        answer = gateway.get("/")
        assert answer.complete == (how == "close") and answer.body == BLOCK * 2


def test_small_pieces_of_large_content_are_not_late():
    """Content of a known length that comes in drops arrives in drops."""
    def script(peer):
        while peer.read_request() is not None:
            peer.head(200, [("Content-Length", str(100 + 2 * MIB))])
            for at in range(100):
                peer.send(bytes([at]))
                time.sleep(0.005)
            peer.send(BLOCK * 2)
    with Origin(script) as origin, serving(origin) as gateway, gateway.client() as client:
        for _ in range(2):
            answer = client.request("GET", "/")
            assert answer.body == bytes(range(100)) + BLOCK * 2
            assert len([1 for _, data in answer.pieces if len(data) == 1]) > 60
            times = [at for at, data in answer.pieces[:90]]
            assert max(b - a for a, b in zip(times, times[1:])) < 0.15, "a byte waited for more"



# -- urgent bytes, at which the system's own move stops as if there were no more

def say_urgently(sock, before, after, pause=0.2):
    """Bytes, an urgent byte that is none of them, and bytes; the first are on their way before the urgent one comes."""
    sock.sendall(before)
    time.sleep(pause)
    sock.send(b"!", socket.MSG_OOB)
    sock.sendall(after)


@pytest.mark.parametrize("head", [b"Connection: close", b"Content-Length: %d" % (3 * MIB)], ids=["until close", "length"])
@pytest.mark.parametrize("ends", ["at once", "later"])
def test_an_urgent_byte_of_a_backend_ends_nothing(head, ends):
    """What follows it is neither lost, with the end of the connection behind it, nor late, without."""
    def script(peer):
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\n%s\r\n\r\n" % head)
        say_urgently(peer.sock, content(2 * MIB, 8), content(MIB, 9))
        if ends == "later":
            peer.wait_end(1.5)
    with Origin(script) as origin, serving(origin, workers=1) as gateway:
        for version in ("1.0", "1.1"):
            with gateway.client() as client:
                client.send(request_bytes("GET", "/", version=version))
                response, got, began = client.read_response(), bytearray(), time.monotonic()
                for piece in client.pieces(response):
                    got += piece
                    if len(got) == 3 * MIB:
                        assert time.monotonic() - began < 1.2, "what follows an urgent byte waited for more"
                assert response.complete and got == content(2 * MIB, 8) + content(MIB, 9)


def test_an_urgent_byte_of_a_client_ends_nothing():
    """An upload arrives whole, and is answered."""
    body = content(2 * MIB, 8) + content(MIB, 9)
    with Origin(server) as origin, serving(origin, workers=1) as gateway, gateway.client() as client:
        client.send(request_bytes("POST", "/", [("Content-Length", str(len(body)))]))
        say_urgently(client.sock, body[:2 * MIB], body[2 * MIB:])
        assert client.read().body == hashlib.sha256(body).hexdigest().encode()


@pytest.mark.parametrize("ends", ["at once", "later"])
@pytest.mark.parametrize("who", ["client", "backend"])
def test_an_urgent_byte_in_a_tunnel_ends_nothing(who, ends):
    """All bytes but the urgent one arrive, in either direction, before or with the end behind them."""
    before, after = content(2 * MIB, 8), content(MIB, 9)
    heard, done = bytearray(), threading.Event()

    def script(peer):
        if who == "backend":
            say_urgently(peer.sock, before, after, pause=0)
            if ends == "later":
                peer.wait_end(5)
            return
        while data := peer.sock.recv(65536):
            heard.extend(data)
            if len(heard) == 3 * MIB:
                done.set()
    with Origin(script) as origin, streaming(origin, workers=1) as gateway, gateway.client() as client:
        if who == "client":
            say_urgently(client.sock, before, after, pause=0)
            if ends == "at once":
                client.half_close()
            assert done.wait(5), "not all arrived"
        else:
            while len(heard) < 3 * MIB:
                data = client.sock.recv(65536)
                assert data, "not all arrived"
                heard.extend(data)
        assert heard == before + after


# -- who is slow

@pytest.mark.seconds(170)
@pytest.mark.alone
def test_one_gigabyte_both_ways_at_once(figure):
    """To and from peers that are slow at first: equal hashes, and no memory to speak of, in the gateway and in pipes."""
    sent, got = {}, {}

    def pace(began, moved):
        if (ahead := moved / 8e6 - (time.monotonic() - began)) > 0 and moved < 24e6:
            time.sleep(min(ahead, 0.1))

    def send(name, send):
        digest = hashlib.sha256()
        for _ in range(GIB // MIB):
            digest.update(BLOCK)
            send(BLOCK)
        sent[name] = digest.hexdigest()

    def receive(name, recv, first=b"", slow=True):
        digest, count, began = hashlib.sha256(first), len(first), time.monotonic()
        while count < GIB:
            data = recv(min(GIB - count, MIB))
            assert data, f"{name} was cut at {count}"
            digest.update(data)
            count += len(data)
            pace(began, count)
        got[name] = digest.hexdigest()

    def script(peer):
        while (request := peer.read_head()) is not None:
            if request.method == "GET":
                peer.head(200, [("Content-Length", str(GIB))])
                send("down", peer.send)
            else:
                first = bytes(peer.buffer)
                peer.buffer.clear()
                receive("up", peer.sock.recv, first)
                peer.respond(200, body=b"done")
    with Origin(script, receive_buffer=1 << 16) as origin, serving(origin, workers=2) as gateway:
        peak = Peak(gateway)

        def download():
            with gateway.client(timeout=60, receive_buffer=1 << 16) as client:
                client.send(request_bytes("GET", "/"))
                client.read_response()
                first = bytes(client.buffer)
                receive("down", client.sock.recv, first)

        def upload():
            with gateway.client(timeout=60) as client:
                client.send(request_bytes("POST", "/", [("Content-Length", str(GIB))]))
                send("up", client.send)
                assert client.read().body == b"done"
        began, threads = time.monotonic(), [threading.Thread(target=download), threading.Thread(target=upload)]
        [t.start() for t in threads]
        most = 0
        while any(t.is_alive() for t in threads):
            most = max(most, pipes(gateway))
            time.sleep(0.05)
        figure("1 GB down and up at once", f"{time.monotonic() - began:.1f} s, {peak.stop() / 1024:.0f} KiB more memory, at most {most} pipes")
        assert sent["down"] == got["down"] and sent["up"] == got["up"]
        assert peak.growth < 8 * MIB and 0 < most <= 4


def test_a_reader_that_stalls_stops_the_writer():
    """No more is taken from the backend than sockets and a pipe hold; then all of it arrives."""
    total, sent = 64 * MIB, [0]

    def script(peer):
        peer.read_request()
        peer.head(200, [("Content-Length", str(total))])
        while sent[0] < total:
            peer.send(BLOCK)
            sent[0] += MIB
    with Origin(script) as origin, serving(origin, workers=1) as gateway, gateway.client(receive_buffer=1 << 16) as client:
        client.send(request_bytes("GET", "/"))
        client.read_response()
        before = -1
        while before != sent[0]:
            before = sent[0]
            time.sleep(0.5)
        assert sent[0] < 24 * MIB and pipes(gateway) == 1
        assert gateway.total("ai_gateway_buffer_bytes") <= MIB
        digest = hashlib.sha256(bytes(client.buffer))
        count = len(client.buffer)
        while count < total:
            data = client.sock.recv(MIB)
            digest.update(data)
            count += len(data)
        expected = hashlib.sha256()
        for _ in range(64):
            expected.update(BLOCK)
        assert digest.hexdigest() == expected.hexdigest()


def test_a_client_that_takes_nothing_is_given_up():
    """Its own stall ends it, and with it the backend's connection; the pipe with what it did not take is gone."""
    def script(peer):
        peer.read_request()
        peer.head(200, [("Content-Length", str(GIB))])
        for _ in range(1024):
            peer.send(BLOCK)
    with Origin(script) as origin, serving(origin, timeouts={"clientWriteStall": "1s"}, workers=1) as gateway:
        with gateway.client(receive_buffer=1 << 16, timeout=10) as client:
            client.send(request_bytes("GET", "/"))
            client.read_response()
            wait_until(lambda: origin.peers[0].ended_at or origin.peers[0].closed, 8, what="the backend let go")
            wait_until(lambda: pipes(gateway) == 0, 6, what="pipes freed")
            assert gateway.total("ai_gateway_client_timeouts_total") == 1


def test_a_backend_that_says_nothing_more_is_cut():
    """Silence in the middle of moved content is what it is elsewhere: the client cannot take it for whole."""
    def script(peer):
        peer.read_request()
        peer.head(200, [("Content-Length", str(8 * MIB))])
        peer.send(BLOCK * 2)
        peer.wait_end(10)
    with Origin(script) as origin, serving(origin, timeouts={"streamIdle": "1s"}) as gateway:
        answer = gateway.get("/")
        assert not answer.complete and len(answer.body) == 2 * MIB
        assert records(gateway)[0]["ended"] == "idle_timeout"


# -- ends and breaks

@pytest.mark.parametrize("after", [0, 1, 200 * KIB, 3 * MIB])
@pytest.mark.parametrize("way", ["down", "up"])
def test_a_client_that_resets(way, after):
    """At every stage: the backend learns of it at once, and nothing of it is in what others get."""
    def script(peer):
        request = peer.read_head()
        if request.target != "/cut":
            peer.respond(200, body=content(2 * MIB, 9))
            return
        if way == "down":
            peer.head(200, [("Content-Length", str(GIB))])
            while True:
                peer.send(BLOCK)
        for _ in peer.pieces(request):
            pass
    with Origin(script) as origin, serving(origin, workers=1) as gateway:
        client = gateway.client(receive_buffer=1 << 16)
        if way == "down":
            client.send(request_bytes("GET", "/cut"))
            client.read_response()
            got = len(client.buffer)
            while got < after:
                got += len(client.sock.recv(65536))
        else:
            client.send(request_bytes("POST", "/cut", [("Content-Length", str(GIB))]) + (BLOCK * 3)[:after])
            wait_until(lambda: origin.requests, 5)
            time.sleep(0.05)
        began = time.monotonic()
        client.reset()
        wait_until(lambda: origin.peers[0].ended_at or origin.peers[0].closed, 5, what="the backend's end")
        assert (origin.peers[0].ended_at or time.monotonic()) - began < 1
        assert gateway.get("/other").body == content(2 * MIB, 9)
        wait_until(lambda: gateway.total("ai_gateway_client_cancels_total") == 1, 5)
        wait_until(lambda: pipes(gateway) == 0, 6, what="pipes freed")


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("after", [0, 1, 100 * KIB, 1 * MIB, 8 * MIB - 1])
def test_a_backend_that_breaks_off_an_answer(after, how):
    """The client is cut and can tell; the next answer is whole."""
    def script(peer):
        while (request := peer.read_request()) is not None:
            if request.target == "/whole":
                peer.respond(200, body=content(2 * MIB, 5))
                continue
            peer.head(200, [("Content-Length", str(8 * MIB))])
            peer.send((BLOCK * 8)[:after])
            if how == "reset":
                time.sleep(0.1)
            getattr(peer, how)()
            return
    with Origin(script) as origin, serving(origin, workers=1) as gateway:
        answer = gateway.get("/cut")
        assert answer.status == 200 and not answer.complete
        assert answer.body == (BLOCK * 8)[:len(answer.body)] and len(answer.body) <= after
        if how == "close":
            assert len(answer.body) == after
        assert gateway.get("/whole").body == content(2 * MIB, 5)
        assert records(gateway, 2)[0]["ended"] == "truncated"


def test_an_answer_longer_than_it_said():
    """The client gets what was said, and the backend's connection is not used again."""
    def script(peer):
        while peer.read_request() is not None:
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % MIB + BLOCK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    with Origin(script) as origin, serving(origin, workers=1) as gateway, gateway.client() as client:
        for _ in range(5):
            answer = client.request("GET", "/")
            assert answer.complete and answer.body == BLOCK
        assert origin.connections == 5


@pytest.mark.parametrize("after", [1, 200 * KIB, 2 * MIB])
def test_a_backend_that_breaks_off_an_upload(after):
    """The client hears of it, in an answer or by the end of its connection."""
    def script(peer):
        request, left = peer.read_head(), after
        for piece in peer.pieces(request):
            left -= len(piece)
            if left <= 0:
                peer.reset()
                return
    with Origin(script) as origin, serving(origin, workers=1) as gateway, gateway.client(timeout=10) as client:
        try:
            client.send(request_bytes("POST", "/", [("Content-Length", str(64 * MIB))]))
            for _ in range(64):
                client.send(BLOCK)
        except ConnectionError:
            pass
        try:
            assert client.read().status == 502
        except (Ended, ConnectionError):
            pass
        assert origin.connections == 1, "content that was moved is not sent a second time"
        wait_until(lambda: pipes(gateway) == 0, 6, what="pipes freed")


def test_an_early_answer_to_an_upload():
    """The answer arrives while content is still being moved; the rest of it is no request."""
    def script(peer):
        request, left = peer.read_head(), 2 * MIB
        for piece in peer.pieces(request):
            left -= len(piece)
            if left <= 0:
                break
        peer.respond(413, body=b"enough")
        peer.wait_end(5)
    with Origin(script) as origin, serving(origin, workers=1) as gateway, gateway.client() as client:
        client.send(request_bytes("POST", "/", [("Content-Length", str(256 * MIB))]))
        client.send(BLOCK * 3)
        answer = client.read()
        assert answer.status == 413 and answer.body == b"enough"
        wait_until(lambda: pipes(gateway) == 0, 6, what="pipes freed")


def test_a_client_that_ends_its_upload_early():
    """Fewer bytes than it said: the backend is not given a whole request."""
    with Origin(server) as origin, serving(origin) as gateway, gateway.client() as client:
        client.send(request_bytes("POST", "/", [("Content-Length", str(4 * MIB))]) + BLOCK * 3)
        wait_until(lambda: origin.requests, 5)
        client.half_close()
        assert client.how_it_ends() in ("eof", "reset")
        wait_until(lambda: origin.peers[0].ended_at, 5, what="the backend's end")
        assert not origin.requests[0].complete


def test_a_drain_lets_what_is_moved_end():
    """The rest of a download arrives whole after SIGTERM."""
    with Origin(server) as origin, serving(origin, workers=1) as gateway, gateway.client(receive_buffer=1 << 16, timeout=20) as client:
        client.send(request_bytes("GET", f"/?size={32 * MIB}"))
        head = client.read_response()
        time.sleep(0.2)
        gateway.signal(signal.SIGTERM)
        time.sleep(0.3)
        digest = hashlib.sha256()
        for data in client.pieces(head):
            digest.update(data)
        assert head.complete and digest.digest() == hashlib.sha256(content(32 * MIB)).digest()
        assert gateway.wait(10) == 0


# -- many, and few descriptors

def limited(count):
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))


def test_many_at_once_with_few_descriptors(figure):
    """More bodies than pipes: who gets none is copied, nobody is refused, every byte is right."""
    with Origin(server) as origin, serving(origin, before=limited(250), workers=1) as gateway:
        wrong, most, go = [], [0], threading.Event()

        def one(n):
            try:
                with gateway.client(timeout=60, receive_buffer=1 << 16) as client:
                    go.wait()
                    for turn in range(2):
                        size = 9 * MIB + n
                        client.send(request_bytes("GET", f"/?size={size}"))
                        head, digest = client.read_response(), hashlib.sha256()
                        if n % 2:
                            time.sleep(1)              # stuck in pipes meanwhile
                        for data in client.pieces(head):
                            digest.update(data)
                        if not head.complete or digest.digest() != hashlib.sha256(content(size)).digest():
                            wrong.append((n, "down"))
                        body = content(2 * MIB, n)
                        if client.request("POST", "/", body=body).body != hashlib.sha256(body).hexdigest().encode():
                            wrong.append((n, "up"))
            except Exception as error:
                wrong.append((n, repr(error)))
        threads = [threading.Thread(target=one, args=(n,)) for n in range(24)]
        [t.start() for t in threads]
        go.set()
        while any(t.is_alive() for t in threads):
            most[0] = max(most[0], pipes(gateway))
            time.sleep(0.02)
        assert not wrong, wrong[:5]
        figure("24 clients at once, 250 descriptors", f"at most {most[0]} pipes")
        assert 0 < most[0] <= 250 // 32
        wait_until(lambda: pipes(gateway) == 0, 6, what="pipes freed")


def test_without_a_descriptor_for_a_pipe_it_is_copied():
    """All descriptors are taken by connections: what is under way goes on."""
    with Origin(server) as origin, serving(origin, before=limited(100), workers=1) as gateway, gateway.client(timeout=20) as client:
        assert client.request("GET", "/?size=10").complete
        flood = []
        for _ in range(150):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(("127.0.0.1", gateway.port))
            flood.append(s)
        time.sleep(0.3)
        for _ in range(5):
            assert client.request("GET", f"/?size={4 * MIB}").body == content(4 * MIB)
            body = content(3 * MIB, 3)
            assert client.request("POST", "/", body=body).body == hashlib.sha256(body).hexdigest().encode()
        for s in flood:
            s.close()


# -- where content is looked at, or is not plain

def test_not_where_an_end_is_sealed(certificate):
    """TLS on the client's side: the same bytes, and no pipe."""
    port = free_port()
    listeners = [docs.listener(port, "https", "HTTPS", certificates=["tls"])]
    with Origin(server) as origin, serving(origin, listeners=listeners, extra=[certificate.secret("tls")], workers=1) as gateway:
        with gateway.client(port=port, tls=tls_client(), sni="test.example") as client:
            for _ in range(2):
                assert client.request("GET", f"/?size={4 * MIB}").body == content(4 * MIB)
                body = content(4 * MIB, 4)
                assert client.request("POST", "/", body=body).body == hashlib.sha256(body).hexdigest().encode()
        assert pipes(gateway) == 0


def test_chunked_content_is_copied():
    """Its framing has to be read."""
    def script(peer):
        while peer.read_request() is not None:
            peer.head(200, [("Transfer-Encoding", "chunked")])
            for _ in range(4):
                peer.chunk(BLOCK)
            peer.end_chunks()
    with Origin(script) as origin, serving(origin, workers=1) as gateway:
        assert gateway.get("/").body == BLOCK * 4
        assert pipes(gateway) == 0


# -- tunnels

def piped(peer):
    while data := peer.sock.recv(65536):
        peer.send(data)


def test_a_tunnel_moves_much_and_copies_little():
    """Bulk takes a pipe, messages before and after it do not wait."""
    with Origin(piped) as origin, streaming(origin, workers=1) as gateway, gateway.client(timeout=30) as client:
        for n in range(20):
            client.send(b"message %d\r\n" % n)
            assert client.line() == b"message %d" % n
        assert pipes(gateway) == 0
        data = content(48 * MIB)
        sender = threading.Thread(target=client.send, args=(data,))
        sender.start()
        digest, count, most = hashlib.sha256(), 0, 0
        while count < len(data):
            piece = client.sock.recv(MIB)
            assert piece
            digest.update(piece)
            count += len(piece)
            most = most or pipes(gateway)
        sender.join()
        assert digest.digest() == hashlib.sha256(data).digest() and most > 0
        longest = 0
        for n in range(50):
            began = time.monotonic()
            client.send(b"message %d\r\n" % n)
            assert client.line() == b"message %d" % n
            longest = max(longest, time.monotonic() - began)
        assert longest < 0.15, "a message waited for more"
        client.half_close()
        assert client.how_it_ends() == "eof"
        line = records(gateway)[0]
        assert line["bytes_received"] == line["bytes_sent"] and line["bytes_sent"] > 48 * MIB and line["ended"] == "done"


@pytest.mark.parametrize("who", ["client", "backend"])
def test_a_tunnel_that_is_cut_while_much_is_stuck(who):
    """The other side is cut as well, and the pipe with what nobody took is gone."""
    def script(peer):
        while True:
            peer.send(BLOCK)
            if who == "backend" and peer.origin.requests:
                peer.reset()
                return
    with Origin(script) as origin, streaming(origin, workers=1) as gateway:
        client = gateway.client(receive_buffer=1 << 16, timeout=10)
        client.send(b"go")
        wait_until(lambda: pipes(gateway) > 0, 5, what="a pipe")
        if who == "client":
            client.reset()
            wait_until(lambda: origin.peers[0].ended_at or origin.peers[0].closed, 5, what="the backend's end")
        else:
            origin.requests.append(None)
            time.sleep(0.2)
            assert client.how_it_ends(10) == "reset"
        wait_until(lambda: pipes(gateway) == 0, 6, what="pipes freed")
        assert records(gateway)[0]["ended"] in ("client_cancel", "upstream_reset")
