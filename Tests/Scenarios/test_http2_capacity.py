"""HTTP/2 at size: a thousand streams on one connection, a gigabyte each way past slow peers."""
import hashlib
import threading
import time

import pytest

from Fixtures.gateway import Peak, sealed, serving
from Fixtures.http2_frames import INITIAL_WINDOW, STREAMS_MAX
from Fixtures.net import wait_until
from Fixtures.origin import Origin
from Fixtures.origin2 import Origin2

pytestmark = pytest.mark.alone

STREAMS, SECONDS = 1000, 30
GIB = 1 << 30
PATIENCE = 300                       # seconds: a stall lasts until it is a transfer's turn to be fast
# A backend that stalls within a request is silent for as long, which its time for the first byte counts.
PATIENT = {name: f"{PATIENCE}s" for name in ("requestBodyIdle", "clientWriteStall", "firstByte", "streamIdle")}
BLOCK = bytes(range(256)) * 4096     # 1 MiB
SLOW_SECONDS = 20                    # 1 MB/s for half of it, then nothing; and then as fast as it goes
GROWTH_MAX = 8 << 20                 # while a peer is slow or stalls, and when both are fast
BETWEEN_SECONDS = 8                  # from one transfer's beginning to the next one's


class Ticker(threading.Thread):
    """Sends each of many streams an event a second, from one thread."""

    def __init__(self, total):
        super().__init__(daemon=True)
        self.total, self.members, self.lock, self.done = total, [], threading.Lock(), threading.Event()
        self.start()

    def join_in(self, send, end):
        ended = threading.Event()
        with self.lock:
            self.members.append([0, send, end, ended])
        ended.wait(SECONDS + 60)

    def run(self):
        while not self.done.is_set():
            began = time.monotonic()
            with self.lock:
                members = list(self.members)
            for member in members:
                n, send, end, ended = member
                if ended.is_set():
                    continue
                try:
                    if n < self.total:
                        send(b"data: %d\n\n" % n)
                        member[0] += 1
                    else:
                        end()
                        ended.set()
                except Exception:                   # the reader of the stream shows what was lost
                    ended.set()
            self.done.wait(max(0.0, 1 - (time.monotonic() - began)))


@pytest.mark.seconds(150)
@pytest.mark.parametrize("protocol", ["HTTP", "H2C"], ids=["HTTP/1.1 behind", "HTTP/2 behind"])
def test_1000_streams_of_events_on_one_connection(certificate, protocol, figure):
    """Over TLS, an event a second each for 30 s: none is lost or out of order, and a stream costs little."""
    ticker = Ticker(SECONDS)

    def script1(peer):
        peer.read_request()
        peer.head(200, [("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked")])
        ticker.join_in(peer.chunk, peer.end_chunks)

    def script2(stream):
        stream.head(200, [("content-type", "text/event-stream")])
        ticker.join_in(stream.send, stream.finish)
    origin = Origin(script1) if protocol == "HTTP" else Origin2(script2)
    with origin, serving(origin, backend={"protocol": protocol}, access_log=False, **sealed(certificate)) as gateway:
        with gateway.http2(secure=True, timeout=60, window=1 << 24) as client:
            client.until(lambda: client.has_settings)
            assert client.peer[STREAMS_MAX] == STREAMS
            before = gateway.rss()
            streams = [client.open("GET", f"/{n}") for n in range(STREAMS)]
            client.until(lambda: all(s.received for s in streams) or any(s.over for s in streams), 60, "the first event of each")
            held = gateway.rss() - before
            client.finish(*streams, seconds=SECONDS + 30)
            expected = b"".join(b"data: %d\n\n" % n for n in range(SECONDS))
            wrong = [s for s in streams if s.body != expected or not s.ended or s.status != 200]
            assert not wrong, f"{len(wrong)} streams, such as {wrong[0]}"
        assert not origin.errors, origin.errors
        connections = len(origin.connections) if protocol == "H2C" else origin.connections
        figure(f"1,000 streams of events for {SECONDS} s, {'HTTP/2' if protocol == 'H2C' else 'HTTP/1.1'} behind",
               f"{held / STREAMS / 1024:.1f} KiB a stream, {connections} connections behind, {gateway.cpu():.2f} s of processor")
        assert held < STREAMS * (40 << 10)
        wait_until(lambda: gateway.total("ai_gateway_active_exchanges") == 0, 10)
    ticker.done.set()


# -- a gigabyte

class Pace:
    """What a slow peer may take: 1 MB/s, then nothing, for 20 s, then all it can; one transfer at a time is fast."""
    turns, lock = [], threading.Lock()      # those that may be fast: the first is

    def __init__(self):
        self.began, self.waits = None, False

    def begin(self):
        self.began = time.monotonic()

    def allowance(self):
        """Bytes that may have been taken until now; None: no limit any more."""
        passed = time.monotonic() - self.began
        if passed > SLOW_SECONDS and not self.waits:
            with self.lock:
                self.turns.append(self)
                self.waits = True
        return None if self.waits and self.turns[0] is self else int(min(passed + 0.05, SLOW_SECONDS / 2) * 1e6)

    def end(self):
        with self.lock:
            if self.waits:
                self.turns.remove(self)


class Peaks(Peak):
    """Also the highest of the slow time."""

    @property
    def slow(self):
        return self.highest_while_slow - self.start

    def _run(self):
        self.highest_while_slow, end = self.start, time.monotonic() + SLOW_SECONDS - 0.5
        while not self._stop.wait(self.every):
            self.highest = max(self.highest, self.gateway.rss())
            if time.monotonic() < end:
                self.highest_while_slow = self.highest


def gibibyte(send):
    digest = hashlib.sha256()
    for _ in range(GIB // len(BLOCK)):
        digest.update(BLOCK)
        send(BLOCK)
    return digest.hexdigest()


def warm(gateway, secure):
    for _ in range(4):
        with gateway.http2(secure=secure) as client:
            assert client.request("POST", "/warm", body=b"x" * (1 << 20)).status == 200


def download(pace, protocol, certificate=None, by_window=True):
    """A client that gives its window back slowly, or reads its socket slowly."""
    sent = {}

    def script1(peer):
        while (request := peer.read_request()) is not None:
            peer.head(200, [("Content-Length", str(1 << 20 if request.target == "/warm" else GIB))])
            if request.target == "/warm":
                peer.send(BLOCK)
            else:
                sent["hash"] = gibibyte(peer.send)

    def script2(stream):
        stream.read_all()
        stream.head(200)
        if stream.target == "/warm":
            stream.send(BLOCK)
        else:
            sent["hash"] = gibibyte(stream.send)
        stream.finish()
    origin = Origin(script1) if protocol == "HTTP" else Origin2(script2)
    more = sealed(certificate) if certificate else {}
    wide = (1 << 20) if by_window else (1 << 30)
    with origin, serving(origin, backend={"protocol": protocol}, timeouts=PATIENT, **more) as gateway:
        warm(gateway, bool(certificate))
        with gateway.http2(secure=bool(certificate), timeout=PATIENCE, values={INITIAL_WINDOW: wide}, window=1 << 30,
                           receive_buffer=None if by_window else 1 << 16) as client:
            digest = hashlib.sha256()
            stream = client.take()
            stream.sink, stream.holds = digest.update, True
            peak = Peaks(gateway)
            pace.begin()
            client.send(client.header_frames(stream.id, client.fields("GET", "/")))
            while not stream.over:
                allowed = pace.allowance()
                if by_window:
                    if stream.uncredited >= 65536 and (allowed is None or stream.received - (1 << 20) < allowed):
                        client.release(stream)
                    try:
                        client.step(0.1 if allowed is not None else PATIENCE)
                    except TimeoutError:
                        pass
                elif allowed is None or stream.received < allowed:
                    client.step(30)
                    if stream.uncredited > 1 << 20:
                        client.release(stream)
                else:
                    time.sleep(0.02)
            growth = peak.slow, peak.stop()
            assert stream.ended and stream.received == GIB, stream.reset
        assert not origin.errors, origin.errors
        return growth, (sent["hash"], digest.hexdigest())


def upload(pace, protocol, certificate=None):
    """A backend that reads slowly, from its socket or by its window."""
    result = {}

    def script1(peer):
        while (request := peer.read_head()) is not None:
            digest, count = hashlib.sha256(), 0
            pace.begin()
            for data in peer.pieces(request):
                digest.update(data)
                count += len(data)
                while request.target != "/warm" and (allowed := pace.allowance()) is not None and count > allowed:
                    time.sleep(0.02)
            result["hash"] = digest.hexdigest()
            peer.respond(200, body=b"done")

    def script2(stream):
        count = 0
        pace.begin()
        while data := stream.read():
            count += len(data)
            while stream.target != "/warm" and (allowed := pace.allowance()) is not None and count > allowed:
                time.sleep(0.02)
        result["hash"] = stream.digest.hexdigest()
        stream.respond(200, body=b"done")
    origin = Origin(script1, receive_buffer=1 << 16) if protocol == "HTTP" else Origin2(script2, window=1 << 18)
    more = sealed(certificate) if certificate else {}
    with origin, serving(origin, backend={"protocol": protocol}, timeouts=PATIENT, **more) as gateway:
        warm(gateway, bool(certificate))
        with gateway.http2(secure=bool(certificate), timeout=PATIENCE) as client:
            client.until(lambda: client.has_settings)
            peak = Peaks(gateway)
            stream = client.open("POST", "/", end=False)
            digest = hashlib.sha256()
            for _ in range(GIB // len(BLOCK)):
                digest.update(BLOCK)
                client.write(stream, BLOCK)
            client.write(stream, b"", end=True)
            assert client.finish(stream, seconds=PATIENCE).body == b"done"
            growth = peak.slow, peak.stop()
        assert not origin.errors, origin.errors
        return growth, (digest.hexdigest(), result["hash"])


TRANSFERS = {
    "download by window, HTTP/1.1 behind": lambda pace, certificate: download(pace, "HTTP"),
    "download by socket, HTTP/2 behind": lambda pace, certificate: download(pace, "H2C", by_window=False),
    "download over TLS, HTTP/2 behind": lambda pace, certificate: download(pace, "H2C", certificate),
    "upload, HTTP/1.1 behind": lambda pace, certificate: upload(pace, "HTTP"),
    "upload over TLS, HTTP/2 behind": lambda pace, certificate: upload(pace, "H2C", certificate),
}


class Transfer(threading.Thread):
    def __init__(self, name, certificate):
        super().__init__(daemon=True)
        self.key, self.certificate, self.result = name, certificate, None
        self.start()

    def run(self):
        began, pace = time.monotonic(), Pace()
        try:
            self.result = TRANSFERS[self.key](pace, self.certificate)
        except BaseException as error:                  # raised by the test of this transfer
            self.result = error
        finally:
            pace.end()
            self.seconds = time.monotonic() - began


@pytest.fixture(scope="module")
def transfers(certificate):
    """All of them at once while they are slow, each alone when it is fast."""
    begun = {}
    for name in TRANSFERS:
        begun[name] = Transfer(name, certificate)
        time.sleep(BETWEEN_SECONDS)
    for transfer in begun.values():
        transfer.join()
    return begun


@pytest.mark.seconds(600)
@pytest.mark.parametrize("name", TRANSFERS)
def test_one_gigabyte_past_a_slow_peer(transfers, name, figure):
    """1 GB at 1 MB/s, then stalled, for 20 s, then fast: resident growth under 8 MB all the time, equal hashes."""
    transfer = transfers[name]
    if isinstance(transfer.result, BaseException):
        raise transfer.result
    (slow, growth), hashes = transfer.result
    figure(f"1 GB over HTTP/2, {name}, slow for {SLOW_SECONDS} s",
           f"resident growth {slow / 1e6:.1f} MB, {growth / 1e6:.1f} MB when fast, {transfer.seconds:.1f} s in all")
    assert hashes[0] == hashes[1]
    assert growth < GROWTH_MAX
