"""Bounded memory at any size, many connections, and no descriptors left."""
import hashlib
import os
import resource
import select
import socket
import threading
import time

import pytest

from Fixtures import documents as docs
from Fixtures.gateway import Peak, serving
from Fixtures.http1 import Client, request_bytes, tls_client
from Fixtures.net import free_port, wait_until
from Fixtures.origin import Origin

pytestmark = pytest.mark.alone

GIB = 1 << 30
SLOW_SECONDS = 20                    # 1 MB/s for half of it, then nothing; and then as fast as it goes
BLOCK = bytes(range(256)) * 4096     # 1 MiB
GROWTH_MAX = 8 << 20


def paced(move):
    """Calls move(bytes at most) at 1 MB/s for a while, then stalls, then without a limit until it returns 0."""
    began = time.monotonic()
    moved = 0
    while (now := time.monotonic() - began) < SLOW_SECONDS / 2:
        allowance = int((now + 0.05) * 1e6) - moved
        if allowance > 0:
            moved += move(min(allowance, 65536))
        time.sleep(0.02)
    time.sleep(SLOW_SECONDS / 2)
    while move(1 << 20):
        pass


def send_gib(send):
    digest = hashlib.sha256()
    for _ in range(GIB // len(BLOCK)):
        digest.update(BLOCK)
        send(BLOCK)
    return digest.hexdigest()


class Transfer(threading.Thread):
    """One of the 1 GB transfers, with its own gateway, so that memory is its own."""

    def __init__(self, name, run):
        super().__init__(daemon=True)
        self.title, self.go, self.error, self.growth, self.hashes, self.took = name, run, None, None, (None, None), 0
        self.start()

    def run(self):
        began = time.monotonic()
        try:
            self.growth, self.hashes = self.go()
        except BaseException as error:
            self.error = error
        self.took = time.monotonic() - began


def download(tls_certificate=None):
    sent = {}

    def script(peer):
        while (request := peer.read_request()) is not None:
            if request.target == "/warm":
                peer.respond(200, body=b"x" * (1 << 20))
                continue
            peer.head(200, [("Content-Length", str(GIB))])
            sent["hash"] = send_gib(peer.send)
    port = free_port()
    more = {}
    if tls_certificate:
        more = {"listeners": [docs.listener(port, "https", "HTTPS", certificates=["tls"])], "extra": [tls_certificate.secret("tls")]}
    with Origin(script) as origin, serving(origin, **more) as gateway:
        gateway.port = port if tls_certificate else gateway.port
        tls = dict(tls=tls_client(), sni="test.example") if tls_certificate else {}
        for _ in range(4):
            with gateway.client(**tls) as client:
                assert len(client.request("GET", "/warm").body) == 1 << 20
        digest, left = hashlib.sha256(), [GIB]
        with gateway.client(timeout=60, receive_buffer=1 << 16, **tls) as client:
            client.send(request_bytes("GET", "/"))
            peak = Peak(gateway)
            head = client.read_response()
            assert head.get("content-length") == str(GIB)

            def move(most):
                if not left[0]:
                    return 0
                data = bytes(client.buffer) or client.sock.recv(most)
                client.buffer.clear()
                digest.update(data)
                left[0] -= len(data)
                assert data or not left[0], "the download was cut"
                return len(data)
            paced(move)
            growth = peak.stop()
        return growth, (sent["hash"], digest.hexdigest())


def upload():
    result = {}

    def script(peer):
        while (request := peer.read_head()) is not None:
            if request.target == "/warm":
                body = b"".join(peer.pieces(request))
                peer.respond(200, body=str(len(body)).encode())
                continue
            digest, left = hashlib.sha256(bytes(peer.buffer)), [int(request.get("content-length")) - len(peer.buffer)]
            peer.buffer.clear()

            def move(most):
                data = peer.sock.recv(min(most, left[0])) if left[0] else b""
                digest.update(data)
                left[0] -= len(data)
                return len(data)
            paced(move)
            result["hash"], result["left"] = digest.hexdigest(), left[0]
            peer.respond(200, body=b"done")
    with Origin(script, receive_buffer=1 << 16) as origin, serving(origin) as gateway:
        for _ in range(4):
            assert gateway.get("/warm", method="POST", body=b"x" * (1 << 20)).status == 200
        with gateway.client(timeout=60) as client:
            client.send(request_bytes("POST", "/", [("Content-Length", str(GIB))]))
            peak = Peak(gateway)
            sent = send_gib(client.send)
            assert client.read().body == b"done"
            growth = peak.stop()
        assert result["left"] == 0
        return growth, (sent, result["hash"])


@pytest.fixture(scope="module")
def transfers(certificate):
    """All at once, so that the slow seconds pass together."""
    runs = {"download": Transfer("download", download), "upload": Transfer("upload", upload),
            "download over TLS": Transfer("download over TLS", lambda: download(certificate))}
    for run in runs.values():
        run.join(140)
    return runs


@pytest.mark.seconds(170)
@pytest.mark.parametrize("name", ["download", "upload", "download over TLS"])
def test_one_gigabyte_to_a_slow_peer(transfers, name, figure):
    """1 GB at 1 MB/s, then stalled, for 20 s, then fast: resident growth under 8 MB all the while, equal hashes."""
    run = transfers[name]
    assert not run.is_alive(), "not finished in time"
    if run.error:
        raise run.error
    figure(f"1 GB {name}, slow for {SLOW_SECONDS} s", f"resident growth {run.growth / 1e6:.1f} MB, {run.took:.1f} s in all")
    assert run.hashes[0] == run.hashes[1]
    assert run.growth < GROWTH_MAX


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_200_mb_as_fast_as_it_goes(chunked, figure):
    """Speed is no excuse for memory: 200 MB down with and without chunks, growth under 8 MB."""
    def script(peer):
        while peer.read_request() is not None:
            peer.head(200, [("Transfer-Encoding", "chunked")] if chunked else [("Content-Length", str(200 << 20))])
            for _ in range(200):
                peer.chunk(BLOCK) if chunked else peer.send(BLOCK)
            if chunked:
                peer.end_chunks()
    with Origin(script) as origin, serving(origin) as gateway, gateway.client(timeout=30) as client:
        peak, began = Peak(gateway), time.monotonic()
        client.send(request_bytes("GET", "/"))
        head, count = client.read_response(), 0
        for data in client.pieces(head):
            count += len(data)
        assert head.complete and count == 200 << 20
        growth = peak.stop()
        figure(f"200 MB {'chunked' if chunked else 'by length'}", f"{200 / (time.monotonic() - began):.0f} MB/s, growth {growth / 1e6:.1f} MB")
        assert growth < GROWTH_MAX


def test_10_000_idle_connections(figure):
    """They hold, a request goes through among them, and each costs little; the bytes per connection are printed."""
    wanted, soft = 10_000, resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft[1] != resource.RLIM_INFINITY and soft[1] < wanted + 500:
        pytest.skip(f"RLIMIT_NOFILE allows {soft[1]} descriptors, {wanted + 500} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft[1], soft[1]))
    with Origin() as origin, serving(origin) as gateway:
        request = request_bytes("GET", "/")
        for _ in range(200):
            assert gateway.get("/").status == 200
        before, sockets = gateway.rss(), []
        try:
            for n in range(wanted):
                s = socket.socket()
                s.bind((f"127.0.0.{2 + n % 4}", 0))
                s.settimeout(10)
                s.connect(("127.0.0.1", gateway.port))
                sockets.append(s)
            for at in range(0, wanted, 100):                # each one is used once: idle keep-alive, not fresh
                batch = sockets[at:at + 100]
                for s in batch:
                    s.sendall(request)
                for s in batch:
                    got = b""
                    while not got.endswith(b"}"):
                        data = s.recv(65536)
                        assert data, "a connection was closed"
                        got += data
            time.sleep(0.5)
            each = (gateway.rss() - before) / wanted
            figure(f"{wanted} idle keep-alive connections", f"{each:.0f} bytes each, {gateway.rss() / 1e6:.1f} MB resident in all")
            began = time.monotonic()
            assert gateway.get("/").status == 200
            assert time.monotonic() - began < 2
            idle = gateway.cpu()
            time.sleep(1)
            assert gateway.cpu() - idle < 0.3, "idle connections cost processor time"
            closed, _, _ = select.select(sockets[:900], [], [], 0) if max(s.fileno() for s in sockets[:900]) < 1024 else ([], [], [])
            assert not closed
            assert each < 4096
        finally:
            for s in sockets:
                s.close()
        wait_until(lambda: gateway.descriptors() < 300, 10, what=lambda: f"descriptors given back, {gateway.descriptors()} are open")


def limited(count):
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))


def test_no_descriptors_left(figure):
    """At EMFILE accepting pauses without spinning, what is open goes on, and it recovers by itself."""
    with Origin() as origin, serving(origin, before=limited(120), workers=1) as gateway:
        held = [gateway.client() for _ in range(20)]
        for client in held:
            assert client.request("GET", "/").status == 200
        flood = []
        for _ in range(300):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(("127.0.0.1", gateway.port))
            flood.append(s)
        time.sleep(0.5)
        before = gateway.cpu()
        time.sleep(1)
        spent = gateway.cpu() - before
        figure("processor time in a second without descriptors", f"{spent * 1000:.0f} ms")
        assert spent < 0.5, "it spins"
        for client in held:
            assert client.request("GET", "/").status == 200, "an open connection was given up"
        for s in flood:
            s.close()
        wait_until(lambda: attempt(gateway) == 200, 10, what="accepting again")
        for client in held:
            client.close()


def attempt(gateway):
    try:
        return gateway.get("/", timeout=2).status
    except Exception:
        return None


def test_the_descriptor_limit_is_raised_at_start():
    """A soft limit of 256 under a higher hard one does not bind the gateway."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]

    def soft_only():
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    with Origin() as origin, serving(origin, before=soft_only) as gateway:
        with open(f"/proc/{gateway.pid}/limits") as file:
            row = next(line for line in file if line.startswith("Max open files"))
        assert row.split()[3] == row.split()[4], row


def test_memory_stays_flat_over_many_requests(figure):
    """2,000 requests on four connections, then twice as many again: no growth after the first."""
    with Origin() as origin, serving(origin) as gateway:
        def load():
            def one():
                with gateway.client() as client:
                    batch = request_bytes("POST", "/x?y=1", [("X-A", "b" * 100)], b"z" * 500) * 10
                    for _ in range(50):
                        client.send(batch)
                        for _ in range(10):
                            assert client.read().status == 200
            threads = [threading.Thread(target=one) for _ in range(4)]
            [t.start() for t in threads]
            [t.join() for t in threads]
        load()
        first = gateway.rss()
        load()
        load()
        growth = gateway.rss() - first
        figure("growth over 4,000 requests after 2,000", f"{growth / 1024:.0f} KiB")
        assert growth < 2 << 20


def test_the_processes_start_small(figure):
    """Resident bytes and threads of an idle gateway."""
    with Origin() as origin, serving(origin) as gateway:
        gateway.get("/")
        threads = len(os.listdir(f"/proc/{gateway.pid}/task"))
        figure("idle gateway", f"{gateway.rss() / 1e6:.1f} MB resident, {threads} threads, {gateway.descriptors()} descriptors")
        before = gateway.cpu()
        time.sleep(1)
        assert gateway.cpu() - before < 0.1, "an idle gateway uses the processor"


def test_a_flood_of_connections_that_say_nothing(figure):
    """2,000 silent connections do not keep a talking one from its answer."""
    with Origin() as origin, serving(origin) as gateway:
        sockets = []
        try:
            for _ in range(2000):
                s = socket.socket()
                s.connect(("127.0.0.1", gateway.port))
                sockets.append(s)
            began = time.monotonic()
            with Client("127.0.0.1", gateway.port) as client:
                for _ in range(50):
                    assert client.request("GET", "/").status == 200
            figure("50 requests beside 2,000 silent connections", f"{(time.monotonic() - began) * 1000:.0f} ms")
        finally:
            for s in sockets:
                s.close()


def test_connections_over_the_limit_are_refused_or_wait():
    """clientConnectionsMax: beyond it a connection gets 503 and a close, or waits; those within go on."""
    with Origin() as origin, serving(origin, limits={"clientConnectionsMax": 50}) as gateway:
        held = []
        for _ in range(45):
            client = gateway.client()
            assert client.request("GET", "/").status == 200
            held.append(client)
        more = [gateway.client(timeout=1) for _ in range(60)]
        outcomes = set()
        for client in more:
            try:
                outcomes.add(client.request("GET", "/").status)
            except Exception as error:
                outcomes.add(type(error).__name__)
        assert outcomes - {200}, "no connection was refused"
        for client in held:
            assert client.request("GET", "/").status == 200
        for client in held + more:
            client.close()
        wait_until(lambda: attempt(gateway) == 200, 10)


