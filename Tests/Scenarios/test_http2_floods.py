"""Floods of HTTP/2: the connection that floods is ended; others are answered meanwhile, and memory is bounded."""
import struct
import threading
import time

import pytest

from Fixtures.gateway import Peak, serving
from Fixtures.http2_frames import (ACK, CONTINUATION, DATA, END_STREAM, GOAWAY, HEADERS, INITIAL_WINDOW, LARGEST, PING, PRIORITY,
                                   RST_STREAM, SETTINGS, Code, Over, credit, frame, settings)
from Fixtures.limits import short
from Fixtures.net import wait_until
from Fixtures.origin import Origin
from Fixtures.origin import echo as echo1
from Fixtures.origin2 import Origin2

LATENCY_MAX = 1.0                # of another connection's request; the machine may be busy with other tests
GROWTH_MAX = 16 << 20


def script(peer):
    """/big: 1 MiB; /slow: never answered; else an echo."""
    while (request := peer.read_head()) is not None:
        if request.target == "/slow":
            peer.wait_end(30)
            return
        for _ in peer.pieces(request):
            pass
        peer.respond(200, body=b"x" * (1 << 20) if request.target == "/big" else b"small")


@pytest.fixture
def flooded():
    with Origin(script) as origin, serving(origin, access_log=False, timeouts=short(clientWriteStall=2000, streamIdle=2500, requestHeader=1500)) as gateway:
        gateway.origin = origin
        yield gateway
    assert not origin.errors, origin.errors


class Witness(threading.Thread):
    """Another client, which keeps asking and notes how long it waits."""

    def __init__(self, gateway):
        super().__init__(daemon=True)
        self.gateway, self.done, self.worst, self.count, self.error = gateway, threading.Event(), 0.0, 0, None
        self.start()
        wait_until(lambda: self.count or self.error, 5)

    def run(self):
        try:
            with self.gateway.http2() as client:
                while not self.done.is_set():
                    at = time.monotonic()
                    assert client.request("GET", "/witness").status == 200
                    self.worst, self.count = max(self.worst, time.monotonic() - at), self.count + 1
                    self.done.wait(0.01)
        except BaseException as error:
            self.error = error

    def stop(self):
        self.done.set()
        self.join(15)
        if self.error:
            raise self.error
        assert self.count and self.worst < LATENCY_MAX, f"{self.count} requests, the slowest took {self.worst:.2f} s"


class Result:
    def __init__(self, client, sent):
        self.client, self.sent = client, sent
        self.code = client.goaways[-1][1] if client.goaways else None


def counted(gateway, *counters):
    """How many connections were ended for one of these: what `ai_gateway_http2_…_total` say."""
    return sum(gateway.total(f"ai_gateway_http2_{counter}_total") for counter in counters)


def attack(gateway, make, rounds, counters, figure=None, name=None, values=None, prepare=None, seconds=15, ends=True):
    """Sends make(client, n) for each round until the connection ends; returns how it ended and after how much.

    It ends, unless `ends` is false, and one of `counters`, or the one, counts that once.
    """
    counters = (counters,) if isinstance(counters, str) else counters
    before = counted(gateway, *counters)
    witness, peak = Witness(gateway), Peak(gateway)
    client, sent = gateway.http2(values=values, timeout=20), 0
    try:
        if prepare:
            prepare(client)
        try:
            for n in range(rounds):
                client.send(make(client, n))
                sent = n + 1
                client.poll()
                if client.end:
                    break
        except (Over, OSError):
            pass
        end = "eof" if client.end else client.how_it_ends(seconds)
        result = Result(client, sent)
        result.end = end
    finally:
        client.close()
        witness.stop()
        result_growth = peak.stop()
    result.growth = result_growth
    if figure:
        figure(f"flood of {name}", f"ended after {sent} of {rounds}, code {result.code}, growth {result.growth / 1e6:.1f} MB, "
                                   f"others waited {witness.worst * 1000:.0f} ms at most")
    assert result.growth < GROWTH_MAX
    if ends or result.end != "open":
        wait_until(lambda: counted(gateway, *counters) == before + 1, 5, what=f"the counter of {counters}")
    return result


def assert_calmed(result):
    assert result.end in ("eof", "reset") and result.code == Code.ENHANCE_YOUR_CALM, (result.end, result.client.goaways)


def settled(client):
    """Both sides' settings are said and acknowledged: nothing is sent by itself after this."""
    client.until(lambda: client.has_settings and client.acknowledged)
    client.ping()


# -- streams that end early

def stream_of(client, path="/slow", method="GET", end=True, headers=()):
    stream = client.take(method)
    return stream, client.header_frames(stream.id, client.fields(method, path, headers), end)


def test_rapid_reset(flooded, figure):
    """HEADERS and RST_STREAM over and over: GOAWAY ENHANCE_YOUR_CALM; what was begun upstream is cancelled at once."""
    def make(client, n):
        out = b""
        for _ in range(10):
            stream, data = stream_of(client)
            out += data + frame(RST_STREAM, 0, stream.id, struct.pack(">I", Code.CANCEL))
        return out
    result = attack(flooded, make, 2000, "flood_resets", figure, "resets (tens of streams)")
    assert_calmed(result)
    assert len(flooded.origin.requests) < 600
    wait_until(lambda: flooded.total("ai_gateway_active_exchanges") == 0, 5, what="every exchange has ended")


# Ways to make the server reset a stream (MadeYouReset): each makes one stream and what breaks it.
PROVOKED = {
    "WINDOW_UPDATE 0": lambda s: credit(s, 0),
    "a window past 2^31-1": lambda s: credit(s, (1 << 31) - 1),
    "more content than its length": lambda s: frame(DATA, 0, s, b"too much"),
    "trailers without their end": lambda s: frame(HEADERS, 4, s, b"\x00\x01a\x01b"),
    "a malformed trailer": lambda s: frame(HEADERS, 5, s, b"\x00\x01A\x01b"),
    "PRIORITY on itself": lambda s: frame(PRIORITY, 0, s, struct.pack(">IB", s, 10)),
}


@pytest.mark.parametrize("name", list(PROVOKED))
def test_resets_that_are_provoked_count_the_same(flooded, figure, name):
    """The server resets because of the client: the connection ends all the same."""
    # PRIORITY may be ignored, since RFC 9113 has no dependencies; then it is the streams over the limit that count.
    may_be_ignored = name == "PRIORITY on itself"

    def make(client, n):
        if may_be_ignored and n % 20 == 0:
            client.ping()                               # many at once would be a flood of PRIORITY before that
        stream, data = stream_of(client, method="POST", end=False, headers=[("content-length", "3")])
        return data + PROVOKED[name](stream.id)
    # A WINDOW_UPDATE of nothing ends the connection at once. A malformed message, trailers included, is an error of its
    # stream (RFC 9113 §8.1.1), and its reset counts as one.
    counter = "protocol_errors" if name == "WINDOW_UPDATE 0" else "flood_resets"
    result = attack(flooded, make, 3000, counter, figure, f"provoked resets: {name}", prepare=settled, ends=not may_be_ignored)
    if may_be_ignored and result.end == "open":
        return
    assert result.end in ("eof", "reset") and result.code is not None, (result.end, result.sent)
    assert len(flooded.origin.requests) < 600


def test_malformed_requests_count_as_resets(flooded, figure):
    """Requests that are refused by RST_STREAM are not free either."""
    def make(client, n):
        stream = client.take()
        return client.header_frames(stream.id, client.fields("GET", "/", [("Upper", "1")]))
    result = attack(flooded, make, 3000, "flood_resets", figure, "malformed requests")
    assert result.end in ("eof", "reset") and result.code is not None, (result.end, result.sent)
    assert not [r for r in flooded.origin.requests if r.target == "/"]


def test_streams_over_the_limit_count_as_resets(flooded, figure):
    """A client that knows the limit and opens on: the connection ends, by its first error or by their count."""
    result = attack(flooded, lambda client, n: stream_of(client)[1], 5000, "flood_resets", figure, "streams over the limit", prepare=settled)
    assert result.end in ("eof", "reset") and result.code in (Code.PROTOCOL_ERROR, Code.ENHANCE_YOUR_CALM)
    assert len([r for r in flooded.origin.requests if r.target == "/slow"]) <= 100


def test_streams_over_a_limit_that_is_never_acknowledged(flooded, figure):
    """A client that does not say that it knows the limit is forgiven a thousand, and no more."""
    def prepare(client):
        client.answers_settings = False

    def make(client, n):
        return b"".join(stream_of(client)[1] for _ in range(20))
    # A thousand that are read in one go fill the queue of what is to be sent before the first refusal leaves.
    counters = ("flood_resets", "flood_outbound_queue")
    result = attack(flooded, make, 1000, counters, figure, "streams over the limit, unacknowledged (twenties)", prepare=prepare)
    assert_calmed(result)
    assert result.sent >= 60 and len([r for r in flooded.origin.requests if r.target == "/slow"]) <= 100


# -- header blocks

def test_continuations_without_end(flooded, figure):
    """CVE-2024-27316 and its kin: more than 8 CONTINUATIONs end the connection, long before memory does."""
    begun = []

    def make(client, n):
        if not begun:
            begun.append(client.take())
            return frame(HEADERS, END_STREAM, begun[0].id, client.encoder.encode(client.fields()))
        return frame(CONTINUATION, 0, begun[0].id, b"\x00\x01a\x7f\x81\x00" + b"v" * 256)
    result = attack(flooded, make, 10000, "flood_continuations", figure, "CONTINUATION", prepare=settled)
    assert_calmed(result)


def test_empty_continuations(flooded, figure):
    """Without a byte in them."""
    begun = []

    def make(client, n):
        if not begun:
            begun.append(client.take())
            return frame(HEADERS, END_STREAM, begun[0].id, client.encoder.encode(client.fields()))
        return frame(CONTINUATION, 0, begun[0].id, b"") * 5
    assert_calmed(attack(flooded, make, 5000, "flood_continuations", figure, "empty CONTINUATIONs", prepare=settled))


def test_a_header_block_that_never_ends_is_timed(flooded):
    """requestHeader holds for a block in pieces."""
    before = flooded.total("ai_gateway_client_timeouts_total")
    with flooded.http2() as client:
        settled(client)
        client.take()
        client.send(frame(HEADERS, END_STREAM, 1, client.encoder.encode(client.fields())))
        began = time.monotonic()
        assert client.how_it_ends(8) != "open"
        assert 1 < time.monotonic() - began < 5
    wait_until(lambda: flooded.total("ai_gateway_client_timeouts_total") == before + 1, 5, what="the counter of timeouts")


def test_a_header_block_that_drips_is_timed(flooded):
    """One byte now and then does not make the time longer."""
    before = flooded.total("ai_gateway_client_timeouts_total")
    with flooded.http2() as client:
        settled(client)
        data = client.header_frames(client.take().id, client.fields("GET", "/", [("x-a", "y" * 200)]))
        began = time.monotonic()
        try:
            for byte in data:
                client.send(bytes([byte]))
                client.poll()
                if client.end:
                    break
                time.sleep(0.05)
        except (Over, OSError):
            pass
        assert client.end or client.how_it_ends(1) != "open"
        assert time.monotonic() - began < 6
        assert not [r for r in flooded.origin.requests if r.target == "/"]
    wait_until(lambda: flooded.total("ai_gateway_client_timeouts_total") == before + 1, 5, what="the counter of timeouts")


def test_each_header_block_has_its_own_time(flooded):
    """Requests whose heads are whole in a moment, and cut so that a read always ends within one: none is too slow."""
    with flooded.http2() as client:
        settled(client)
        streams, rest = [], b""
        for _ in range(30):                             # twice as long as one head may take
            stream, data = stream_of(client, "/x")
            client.send(rest + data[:12])
            streams, rest = streams + [stream], data[12:]
            client.poll()
            time.sleep(0.1)
        client.send(rest)
        client.finish(*streams)
        assert all(s.status == 200 and s.body == b"small" for s in streams)
    assert flooded.total("ai_gateway_client_timeouts_total") == 0


def test_an_hpack_bomb(flooded, figure):
    """One entry of 4 KB in the table, named 16,000 times in a block of 16 KB: 64 MB are never made of it, and each counts as a reset."""
    def make(client, n):
        stream = client.take()
        if n == 0:
            block = b"\x82\x86\x84\x41\x0ctest.example" + b"\x40\x01a" + b"\x7f\xa1\x1e" + b"v" * 4000
        else:
            block = b"\x82\x86\x84\x01\x0ctest.example" + b"\xbe" * 16000
        return client.block_frames(stream.id, block)
    result = attack(flooded, make, 1000, "flood_resets", figure, "HPACK bombs")
    assert_calmed(result)
    for number, stream in result.client.streams.items():
        assert number == 1 or stream.status != 200
    assert not [r for r in flooded.origin.requests if len(r.headers) > 100]


@pytest.mark.parametrize("size,count", [(100, 150), (1000, 90), (20000, 4), (1, 3000)], ids=["150 fields", "90 KB", "80 KB in four", "3,000 fields"])
def test_header_lists_that_are_too_large(flooded, size, count):
    """Over 100 fields or 60 KiB: 431, or the stream's or connection's end; nothing upstream."""
    with flooded.http2() as client:
        stream = client.take()
        try:
            client.send(client.header_frames(stream.id, client.fields("GET", "/large", [(f"x-{n}", "v" * size) for n in range(count)])))
            client.until(lambda: stream.over or client.goaways, 5)
            assert stream.status in (0, 400, 431)
        except Over:
            pass
        assert not [r for r in flooded.origin.requests if r.target == "/large"]
    with flooded.http2() as client:
        assert client.request("GET", "/x").status == 200


# -- cheap frames

CHEAP = {
    "settings": lambda client, n: settings({INITIAL_WINDOW: 65535}) * 10,
    "pings": lambda client, n: frame(PING, payload=b"12345678") * 10,
    "priorities": lambda client, n: b"".join(frame(PRIORITY, 0, 2 * k + 1, b"\0\0\0\0\x10") for k in range(20 * n, 20 * n + 20)),
    "unknown_frames": lambda client, n: frame(0x77, 0, 0, b"x") * 10,
    "window_updates": lambda client, n: credit(0, 1) * 20,
}


@pytest.mark.parametrize("name", list(CHEAP))
def test_cheap_frames_without_end(flooded, figure, name):
    """GOAWAY ENHANCE_YOUR_CALM, and the counter of its kind."""
    assert_calmed(attack(flooded, CHEAP[name], 5000, f"flood_{name}", figure, name))


STRAY = {
    "GOAWAY": (lambda client, n: (b"" if n else stream_of(client)[1]) + frame(GOAWAY, 0, 0, bytes(8)) * 10, "flood_unknown_frames"),
    "answers to no PING": (lambda client, n: frame(PING, ACK, 0, b"12345678") * 10, "flood_pings"),
    "PRIORITY_UPDATE": (lambda client, n: frame(0x10, 0, 0, b"\0\0\0\x01u=1") * 10, "flood_priorities"),
    "HEADERS of a closed stream": (lambda client, n: client.header_frames(1, client.fields()) * 10, "flood_unknown_frames"),
    "RST_STREAM of a closed stream": (lambda client, n: frame(RST_STREAM, 0, 1, b"\0\0\0\x08") * 10, "flood_resets"),
    "WINDOW_UPDATE of a closed stream": (lambda client, n: credit(1, 1) * 10, "flood_window_updates"),
    "DATA of a closed stream": (lambda client, n: frame(DATA, 0, 1, b"x") * 10, "flood_late_data"),
}


@pytest.mark.parametrize("name", list(STRAY))
def test_stray_frames_without_end(flooded, figure, name):
    """Frames of a stream that is over, and those that nobody waits for: they end the connection at once, or by their number."""
    def prepare(client):
        assert client.request("GET", "/x").status == 200
        settled(client)
    make, counter = STRAY[name]
    assert_calmed(attack(flooded, make, 5000, counter, figure, name, prepare=prepare))


@pytest.mark.parametrize("size", [1, 1000, 16384])
def test_content_after_the_gateways_reset(flooded, figure, size):
    """What the stream's window had allowed may still come, in frames of any size; more of it is a flood."""
    def prepare(client):
        settled(client)
        stream, data = stream_of(client, method="POST", end=False, headers=[("content-length", "3")])
        client.send(data + frame(DATA, 0, stream.id, b"too much"))
        client.until(lambda: stream.reset is not None, 5, "the reset")
        allowed = 65536 - 8
        for _ in range(allowed // size):
            client.send(frame(DATA, 0, stream.id, b"x" * size))
        client.ping()
        assert not client.goaways
        number.append(stream.id)
    number = []
    result = attack(flooded, lambda client, n: frame(DATA, 0, number[0], b"x" * size), 5000, "flood_late_data",
                    figure, f"content of a reset stream, {size} bytes a frame", prepare=prepare)
    assert_calmed(result)


@pytest.mark.parametrize("name", ["settings", "pings"])
def test_answers_that_are_not_read(flooded, figure, name):
    """The same without reading what comes back."""
    before, ended = flooded.rss(), counted(flooded, f"flood_{name}")
    with flooded.http2(receive_buffer=4096) as client:
        sent = 0
        try:
            client.wire.timeout(5)
            for sent in range(200_000 // 10):
                client.send(CHEAP[name](client, 0))
        except (Over, OSError):
            pass
        assert sent < 19_999, "it was never ended"
        figure(f"flood of {name} unread", f"ended after {sent * 10}, growth {(flooded.rss() - before) / 1e6:.1f} MB")
    assert flooded.rss() - before < GROWTH_MAX
    wait_until(lambda: counted(flooded, f"flood_{name}") == ended + 1, 5, what="the counter")


def pings_with_content(client, stream):
    """Each byte of content earns a ping, so that their number alone is no flood."""
    return (frame(DATA, 0, stream.id, b"x") + frame(PING, payload=b"12345678")) * 10


def malformed_requests(client, _):
    return b"".join(client.header_frames(client.take().id, client.fields("GET", "/", [("Upper", "1")])) for _ in range(10))


@pytest.mark.parametrize("name,make", [("library", pings_with_content), ("outbound_queue", malformed_requests)],
                         ids=["answers to pings", "resets"])
def test_what_waits_for_a_client_that_does_not_read_is_bounded(flooded, figure, name, make):
    """The socket is full of an answer: a thousand frames that each ask for one back, and the connection ends."""
    ended, witness, peak = counted(flooded, f"flood_{name}"), Witness(flooded), Peak(flooded)
    with flooded.http2(values={INITIAL_WINDOW: LARGEST}, window=LARGEST, receive_buffer=4096) as client:
        settled(client)
        upload = client.open("POST", "/slow", end=False)
        for _ in range(8):
            client.open("GET", "/big")
        wait_until(lambda: len([r for r in flooded.origin.requests if r.target == "/big"]) == 8, 10, what="the answers are under way")
        time.sleep(0.5)
        assert counted(flooded, f"flood_{name}") == ended
        sent = 0
        try:
            for sent in range(300):
                client.send(make(client, upload))
        except (Over, OSError):
            pass
        wait_until(lambda: counted(flooded, f"flood_{name}") == ended + 1, 10, what="the counter")
        figure(f"flood of {name}", f"ended after at most {sent * 10 + 10}, growth {peak.stop() / 1e6:.1f} MB, "
                                   f"others waited {witness.worst * 1000:.0f} ms at most")
    witness.stop()
    assert peak.growth < GROWTH_MAX


def test_empty_data_without_end(flooded, figure):
    """DATA of no byte and no END_STREAM."""
    streams = []

    def prepare(client):
        stream, data = stream_of(client, method="POST", end=False)
        client.send(data)
        streams.append(stream.id)
    assert_calmed(attack(flooded, lambda client, n: frame(DATA, 0, streams[0], b"") * 10, 5000, "flood_empty_data", figure, "empty DATA", prepare=prepare))


def test_padding_instead_of_content(flooded, figure):
    """DATA of padding alone is empty DATA too."""
    streams = []

    def prepare(client):
        streams.append(client.open("POST", "/slow", end=False))
        client.until(lambda: client.has_settings)

    def make(client, n):
        stream = streams[0]
        while min(stream.window, client.window) < 256:
            client.step(2)
        stream.window -= 256
        client.window -= 256
        return frame(DATA, 8, stream.id, b"\xff" + b"\0" * 255)
    assert_calmed(attack(flooded, make, 20_000, "flood_empty_data", figure, "DATA of padding", prepare=prepare))


# -- windows

def test_windows_that_stay_shut(flooded, figure):
    """100 answers of 1 MiB that nobody takes: what is held of each is bounded, and they are ended after the stall time."""
    before = flooded.total("ai_gateway_client_timeouts_total")
    witness, peak = Witness(flooded), Peak(flooded)
    with flooded.http2(values={INITIAL_WINDOW: 0}) as client:
        streams = [client.open("GET", "/big") for _ in range(99)]
        client.until(lambda: all(s.status for s in streams), 20)
        time.sleep(0.5)
        figure("99 answers of 1 MiB with shut windows", f"growth {peak.growth / 1e6:.1f} MB")
        assert peak.growth < 99 * (160 << 10) + (8 << 20)
        client.until(lambda: all(s.over for s in streams) or client.goaways, 15, "their end")
        assert not any(s.ended for s in streams)
    witness.stop()
    peak.stop()
    wait_until(lambda: flooded.total("ai_gateway_active_exchanges") == 0, 5)
    assert flooded.total("ai_gateway_client_timeouts_total") > before


def test_a_connection_whose_socket_is_not_read(flooded, figure):
    """Windows wide open, but nothing is read: the gateway stops taking from the backends and closes in time."""
    before = flooded.total("ai_gateway_client_timeouts_total")
    witness, peak = Witness(flooded), Peak(flooded)
    with flooded.http2(values={INITIAL_WINDOW: (1 << 31) - 1}, window=(1 << 31) - 1, receive_buffer=4096) as client:
        for _ in range(90):
            client.open("GET", "/big")
        wait_until(lambda: len([r for r in flooded.origin.requests if r.target == "/big"]) > 50, 10, what="the requests are under way")
        wait_until(lambda: flooded.total("ai_gateway_active_exchanges") == 0, 15, every=0.2, what="the stalled connection is closed")
        figure("90 answers of 1 MiB to a client that does not read", f"growth {peak.growth / 1e6:.1f} MB")
        assert peak.stop() < 32 << 20
    witness.stop()
    assert flooded.total("ai_gateway_client_timeouts_total") > before


def test_a_bad_peer_among_backends_is_ended(figure):
    """A backend that floods with SETTINGS loses its connection; the next request has a new one."""
    def flooding(stream):
        if len(stream.origin.connections) == 1:
            stream.connection.raw(frame(SETTINGS) * 2000)
            stream.wait_gone(5)
        else:
            stream.respond(200, body=b"fine")
    with Origin2(flooding) as origin, serving(origin, backend={"protocol": "H2C"}, workers=1) as gateway:
        before = counted(gateway, "flood_settings")
        first = gateway.get("/", method="POST", body=b"x")
        assert first.status in (502, 503)
        assert gateway.get("/").body == b"fine" and len(origin.connections) == 2
        wait_until(lambda: counted(gateway, "flood_settings") == before + 1, 5, what="the counter")


def field(name, value):
    """A literal field that no table remembers, without the `hpack` package."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


OK = b"\x88"                     # :status 200
# What a backend sends of its stream's number, first and then again and again, and the counter of it.
OF_BACKENDS = {
    "settings": (b"", lambda s: frame(SETTINGS), "settings"),
    "pings": (b"", lambda s: frame(PING, payload=b"12345678"), "pings"),
    "priorities": (b"", lambda s: frame(PRIORITY, 0, s, b"\0\0\0\0\x10"), "priorities"),
    "window updates": (b"", lambda s: credit(0, 1), "window_updates"),
    "window updates of a stream": (b"", lambda s: credit(s, 1), "window_updates"),
    "unknown frames": (b"", lambda s: frame(0x77, 0, 0, b"x"), "unknown_frames"),
    "GOAWAY": (b"", lambda s: frame(GOAWAY, 0, 0, struct.pack(">II", s, 0)), "unknown_frames"),
    "CONTINUATION": (lambda s: frame(HEADERS, 0, s, OK), lambda s: frame(CONTINUATION, 0, s, field(b"a", b"b" * 100)), "continuations"),
    "empty CONTINUATION": (lambda s: frame(HEADERS, 0, s, OK), lambda s: frame(CONTINUATION, 0, s), "continuations"),
    "empty DATA": (lambda s: frame(HEADERS, 4, s, OK), lambda s: frame(DATA, 0, s), "empty_data"),
    "padding": (lambda s: frame(HEADERS, 4, s, OK), lambda s: frame(DATA, 8, s, b"\3\0\0\0"), "empty_data"),
    "DATA of a closed stream": (lambda s: frame(HEADERS, 5, s, OK), lambda s: frame(DATA, 0, s, b"x"), "late_data"),
    "HEADERS of a closed stream": (lambda s: frame(HEADERS, 5, s, OK), lambda s: frame(HEADERS, 5, s, OK), "unknown_frames"),
    "RST_STREAM of a closed stream": (b"", lambda s: frame(RST_STREAM, 0, s, b"\0\0\0\2"), "unknown_frames"),
    "interim answers": (b"", lambda s: frame(HEADERS, 4, s, b"\x08\x03103"), "unknown_frames"),
    "HPACK bombs": (lambda s: frame(HEADERS, 4, s, OK + b"\x40\x01a\x7f\xa1\x1e" + b"v" * 4000),
                    lambda s: frame(HEADERS, 5, s, b"\xbe" * 16000), "unknown_frames"),
}


@pytest.mark.parametrize("name", list(OF_BACKENDS))
def test_floods_of_a_backend(figure, name):
    """Its connection ends and is counted; a request on another connection is answered meanwhile, and one after it as well."""
    first, again, counter = OF_BACKENDS[name]
    sent = []

    def flooding(stream):
        if stream.target != "/evil":
            stream.respond(200, body=b"fine")
            return
        connection = stream.connection
        connection.raw(first(stream.id) if first else b"")
        piece = again(stream.id) * 20
        while not (connection.closed or stream.lost) and len(sent) < 1000:
            connection.raw(piece)
            sent.append(20)
            time.sleep(0.001)
        wait_until(lambda: connection.closed, 10, what="its connection is closed")
    with Origin2(flooding) as origin, serving(origin, backend={"protocol": "H2C"}, access_log=False,
                                              limits={"retriesMax": 0}, workers=1) as gateway:
        peak = Peak(gateway)
        answer = gateway.get("/evil", method="POST", body=b"x", timeout=20)
        assert answer.status in (200, 502), answer
        wait_until(lambda: counted(gateway, f"flood_{counter}") >= 1, 10, what="the counter")
        assert gateway.get("/after").body == b"fine"
        wait_until(lambda: gateway.total("ai_gateway_active_exchanges") == 0, 5, what="every exchange has ended")
        figure(f"a backend's flood of {name}", f"ended after at most {sum(sent)}, growth {peak.stop() / 1e6:.1f} MB")
        assert peak.growth < GROWTH_MAX and not origin.errors, origin.errors


def test_the_gateways_own_use_is_no_flood():
    """20,000 small pieces down and 5,000 up on one connection, credited piece by piece."""
    def pieces(peer):
        request = peer.read_head()
        for _ in peer.pieces(request):
            pass
        peer.head(200, [("Transfer-Encoding", "chunked")])
        for _ in range(20):
            peer.send(b"1\r\nx\r\n" * 1000)
        peer.end_chunks()
        echo1(peer)
    with Origin(pieces) as origin, serving(origin) as gateway, gateway.http2() as client:
        stream = client.open("POST", "/", end=False)
        for _ in range(5000):
            client.write(stream, b"y")
        client.write(stream, b"", end=True)
        client.until(lambda: stream.status, 10)
        stream.holds = True
        while not stream.over:
            client.step()
            if stream.uncredited and not stream.over:
                client.release(stream)
        assert stream.received == 20_000 and stream.ended and not client.goaways
        assert client.request("GET", "/x").status == 200


