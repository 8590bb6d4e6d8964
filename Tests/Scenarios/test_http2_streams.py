"""Streams of one connection do not disturb each other: order, resets, stalls, drains, reloads, bounded buffers."""
import json
import signal
import threading
import time

import pytest

from Fixtures import documents as docs
from Fixtures.gateway import serving
from Fixtures.http2_frames import INITIAL_WINDOW, LARGEST, Code, Over
from Fixtures.limits import short
from Fixtures.net import wait_until
from Fixtures.origin import Origin
from Fixtures.origin import echo as echo1
from Fixtures.origin2 import Origin2, echo

PIECES = 20


def peer_answers(peer, pieces):
    """A stream of pieces over HTTP/1.1."""
    while (request := peer.read_request()) is not None:
        peer.head(200, [("Transfer-Encoding", "chunked")])
        for piece in pieces(request.target):
            peer.chunk(piece)
        peer.end_chunks()


def stream_answers(stream, pieces):
    stream.read_all()
    stream.head(200)
    for piece in pieces(stream.target):
        stream.send(piece)
    stream.finish()


@pytest.fixture(params=["HTTP", "H2C"], ids=["HTTP/1.1 behind", "HTTP/2 behind"])
def behind(request):
    """An origin of either protocol: behind(answers) where answers(target) yields the pieces of an answer."""
    opened = []

    def make(pieces=None, script1=None, script2=None, **more):
        if request.param == "HTTP":
            one = Origin(script1 or (lambda peer: peer_answers(peer, pieces)), **{k: v for k, v in more.items() if k == "receive_buffer"})
        else:
            one = Origin2(script2 or (lambda stream: stream_answers(stream, pieces)), **more)
        one.options = {"backend": {"protocol": request.param}}
        opened.append(one)
        return one
    make.is2 = request.param == "H2C"
    yield make
    for one in opened:
        one.stop()
        assert not one.errors, one.errors


# -- order

def test_a_hundred_streams_at_once_each_get_their_own_pieces(behind):
    """As many as a clear listener allows; every stream's content is its own and in order, and they take turns."""
    go = threading.Event()

    def pieces(target):
        for n in range(PIECES):
            yield f"{target} {n}\n".encode()
            time.sleep(0.01)
            if n == PIECES // 2:
                go.wait(20)
    origin = behind(pieces)
    with serving(origin, **origin.options) as gateway, gateway.http2() as client:
        streams = [client.open("GET", f"/s{k}") for k in range(100)]
        client.until(lambda: all(s.received for s in streams), 30, "the first piece of each, before any ends")
        go.set()
        client.finish(*streams, seconds=30)
        for k, stream in enumerate(streams):
            assert stream.body == "".join(f"/s{k} {n}\n" for n in range(PIECES)).encode()


def test_one_stream_too_many_is_refused(behind):
    """The 101st of a client that did not know the limit: REFUSED_STREAM, nothing upstream, and the others go on."""
    go = threading.Event()

    def pieces(target):
        yield b"first"
        go.wait(20)
        yield b" last"
    origin = behind(pieces)
    with serving(origin, **origin.options) as gateway, gateway.http2() as client:
        client.answers_settings = False
        streams = [client.open("GET", f"/{k}") for k in range(100)]
        client.until(lambda: all(s.received for s in streams), 20)
        late = client.open("GET", "/late")
        client.finish(late)
        assert late.reset == Code.REFUSED_STREAM and not late.status
        go.set()
        client.finish(*streams)
        assert all(s.body == b"first last" and s.ended for s in streams)
        assert client.finish(client.open("GET", "/again")).status == 200, "there is room again"
        targets = [r.target for r in origin.requests]
        assert "/late" not in targets and len(targets) == 101


def test_a_client_that_ignores_the_limit_of_streams_hurts_itself_alone(behind):
    """Beyond what was announced and acknowledged: that stream, or the connection, ends; nothing more goes upstream."""
    origin = behind(lambda target: [time.sleep(1) or b"late"])
    with serving(origin, **origin.options) as gateway, gateway.http2() as client, gateway.http2() as other:
        client.until(lambda: client.has_settings)
        client.ping()
        streams = [client.open("GET", f"/{k}") for k in range(120)]
        try:
            client.finish(*streams[100:], seconds=5)
            assert all(s.reset in (Code.REFUSED_STREAM, Code.PROTOCOL_ERROR) for s in streams[100:])
        except Over:
            assert client.goaways[-1][1] in (Code.PROTOCOL_ERROR, Code.ENHANCE_YOUR_CALM)
        assert other.request("GET", "/x").status == 200
        assert len(origin.requests) <= 101


def test_each_event_arrives_before_the_next_is_made(behind, figure):
    """The origin makes event n+1 only when the client has event n."""
    received, made = threading.Semaphore(0), []

    def pieces(target):
        for n in range(20):
            made.append(time.monotonic())
            yield f"data: {n}\n\n".encode()
            assert received.acquire(timeout=5), "the client did not get the event"
    origin = behind(pieces)
    with serving(origin, **origin.options) as gateway, gateway.http2() as client:
        stream = client.open("POST", "/", end=False)
        client.write(stream, b"{}", end=True)
        for n in range(20):
            client.until(lambda: len(stream.content) > n, 5)
            received.release()
        client.finish(stream)
        ages = sorted((at - m) * 1000 for (at, _), m in zip(stream.pieces, made))
        figure(f"age of an event, HTTP/2, {'HTTP/2' if behind.is2 else 'HTTP/1.1'} behind", f"median {ages[10]:.2f} ms, highest {ages[-1]:.2f} ms")


def test_both_directions_at_once(behind):
    """Content goes up and down by turns on one stream."""
    def script1(peer):
        request = peer.read_head()
        peer.head(200, [("Transfer-Encoding", "chunked")])
        for data in peer.pieces(request):
            peer.chunk(data)
        peer.end_chunks()

    def script2(stream):
        stream.head(200)
        for data in stream.pieces():
            stream.send(data)
        stream.finish()
    origin = behind(script1=script1, script2=script2)
    with serving(origin, **origin.options) as gateway, gateway.http2() as client:
        stream = client.open("POST", "/", end=False)
        sent = b""
        for n in range(10):
            word = f"word-{n} ".encode()
            client.write(stream, word)
            sent += word
            client.until(lambda: stream.body == sent, 5)
        client.write(stream, b"", end=True)
        assert client.finish(stream).ended and stream.body == sent


# -- resets

class Ticking:
    """Sends the first event of a stream, then waits for its cancel; `/x` is answered at once."""

    def __init__(self):
        self.cancelled, self.waiting, self.changed = {}, set(), threading.Condition()

    def one(self, peer):
        while (request := peer.read_request()) is not None:
            if request.target == "/x":
                peer.respond(200, body=b"x")
                continue
            if "silent" not in request.target:
                peer.head(200, [("Transfer-Encoding", "chunked")])
                peer.chunk(b"data: 1\n\n")
            self.note(request.target, peer.wait_end)
            return

    def two(self, stream):
        if stream.target == "/x":
            return stream.respond(200, body=b"x")
        if "silent" not in stream.target:
            stream.head(200)
            stream.send(b"data: 1\n\n")
        self.note(stream.target, stream.wait_gone)

    def note(self, target, wait):
        with self.changed:
            self.waiting.add(target)
        at = wait(10)
        with self.changed:
            self.cancelled[target] = at
            self.changed.notify_all()

    def wait(self, *targets, seconds=5):
        with self.changed:
            assert self.changed.wait_for(lambda: all(t in self.cancelled for t in targets), seconds), "no cancel came"
        return [self.cancelled[t] for t in targets]


@pytest.mark.parametrize("target", ["/stream", "/silent"])
def test_a_reset_reaches_the_backend_at_once(behind, target, figure):
    """RST_STREAM before the first byte and inside the answer: that request is cancelled, its siblings go on."""
    tick = Ticking()
    origin = behind(script1=tick.one, script2=tick.two)
    with serving(origin, **origin.options) as gateway, gateway.http2() as client:
        others = [client.open("GET", f"/other{n}") for n in range(5)]
        stream = client.open("GET", target, [("x-request-id", "left-2")])
        client.until(lambda: all(s.received for s in others), 5)
        wait_until(lambda: target in tick.waiting, 5)
        if target == "/stream":
            client.until(lambda: stream.received, 5)
        at = time.monotonic()
        client.reset(stream)
        [cancelled] = tick.wait(target)
        figure(f"cancel after RST_STREAM, {target}, {'HTTP/2' if behind.is2 else 'HTTP/1.1'} behind", f"{(cancelled - at) * 1000:.2f} ms")
        assert cancelled - at < 1
        assert list(tick.cancelled) == [target] and not any(s.over for s in others)
        assert client.request("GET", "/x").body == b"x" and not client.goaways
        line = wait_until(lambda: next((r for r in gateway.access() if r["request_id"] == "left-2"), None), 5, what="access record")
        assert "cancel" in line["ended"], line
        if behind.is2:
            assert not origin.connections[0].closed, "only the stream ends"


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_lost_connection_cancels_all_its_streams(behind, how, figure):
    """20 streams: every backend hears of it."""
    tick = Ticking()
    origin = behind(script1=tick.one, script2=tick.two)
    with serving(origin, **origin.options) as gateway:
        client = gateway.http2()
        streams = [client.open("GET", f"/{n}") for n in range(20)]
        client.until(lambda: all(s.received for s in streams), 5)
        at = time.monotonic()
        client.close() if how == "close" else client.wire.reset()
        ends = tick.wait(*[f"/{n}" for n in range(20)])
        figure(f"last of 20 cancels after the connection's {how}, {'HTTP/2' if behind.is2 else 'HTTP/1.1'} behind", f"{(max(ends) - at) * 1000:.2f} ms")
        assert max(ends) - at < 1
        wait_until(lambda: gateway.total("ai_gateway_active_exchanges") == 0, 5)


def test_a_reset_inside_an_upload_never_completes_it(behind):
    """The backend sees that the request is broken off."""
    result = {}

    def script1(peer):
        request = peer.read_head()
        try:
            for _ in peer.pieces(request):
                pass
        finally:
            result["complete"] = request.complete

    def script2(stream):
        try:
            stream.read_all()
        finally:
            result["complete"] = stream.ended
    origin = behind(script1=script1, script2=script2)
    with serving(origin, **origin.options) as gateway, gateway.http2() as client:
        stream = client.open("POST", "/", end=False)
        client.write(stream, b"x" * 1000)
        wait_until(lambda: origin.requests, 5)
        client.reset(stream)
        wait_until(lambda: "complete" in result, 5)
        assert result["complete"] is False


def test_a_truncated_answer_is_a_reset(behind):
    """The backend breaks off: RST_STREAM and no END_STREAM; a sibling goes on."""
    go, come = threading.Event(), threading.Event()

    def script1(peer):
        request = peer.read_request()
        peer.head(200, [("Transfer-Encoding", "chunked")])
        peer.chunk(b"half")
        if request.target == "/cut":
            come.wait(5)
            return peer.reset()
        go.wait(5)
        peer.end_chunks()

    def script2(stream):
        stream.head(200)
        stream.send(b"half")
        if stream.target == "/cut":
            come.wait(5)
            return stream.reset()
        go.wait(5)
        stream.finish()
    origin = behind(script1=script1, script2=script2)
    with serving(origin, **origin.options) as gateway, gateway.http2() as client:
        good = client.open("GET", "/good")
        cut = client.open("GET", "/cut")
        client.until(lambda: cut.received, 5)
        come.set()
        client.finish(cut)
        assert not cut.ended and cut.reset not in (None, Code.NO_ERROR)
        go.set()
        assert client.finish(good).ended and good.body == b"half"


def test_cancels_among_many_whole_streams_are_no_flood(behind):
    """A client that gives up every third of 300 streams is as welcome as any."""
    origin = behind(script1=echo1, script2=echo)
    with serving(origin, **origin.options) as gateway, gateway.http2() as client:
        for n in range(100):
            left = client.open("GET", "/left")
            client.reset(left)
            assert client.request("GET", "/a").status == 200 and client.request("GET", "/b").status == 200
        assert not client.goaways


# -- flow control

def test_a_stalled_stream_does_not_block_its_siblings(behind):
    """One answer is not taken at all: 20 MB of others pass on the same connection."""
    def pieces(target):
        for _ in range(64 if target == "/stalled" else 16):
            yield b"x" * 65536
    origin = behind(pieces)
    with serving(origin, **origin.options) as gateway, gateway.http2() as client:
        stalled = client.take()
        stalled.holds = True
        client.send(client.header_frames(stalled.id, client.fields("GET", "/stalled")))
        client.until(lambda: stalled.received == 65535, 5)
        for n in range(20):
            assert len(client.request("GET", f"/{n}").body) == 1 << 20
        assert stalled.received == 65535, "no more than its window"
        stalled.holds = False
        client.release(stalled)
        assert len(client.finish(stalled).body) == 4 << 20


def test_a_stalled_upload_does_not_block_its_siblings(behind):
    """The backend reads nothing of one upload: others pass on the same connection, up and down."""
    go = threading.Event()

    def script1(peer):
        while (request := peer.read_head()) is not None:
            if request.target == "/stalled":
                go.wait(20)
            for _ in peer.pieces(request):
                pass
            peer.respond(200, body=b"done")

    def script2(stream):
        if stream.target == "/stalled":
            go.wait(20)
        stream.read_all()
        stream.respond(200, body=b"done")
    origin = behind(script1=script1, script2=script2, receive_buffer=1 << 16, window=1 << 16)
    with serving(origin, **origin.options) as gateway, gateway.http2() as client:
        client.until(lambda: client.has_settings)
        stalled = client.open("POST", "/stalled", end=False)
        client.write(stalled, b"x" * 60000)
        for _ in range(10):
            assert client.request("POST", "/x", body=b"y" * 500_000).body == b"done"
        go.set()
        client.write(stalled, b"x", end=True)
        assert client.finish(stalled).body == b"done"


def test_what_is_taken_of_an_upload_is_bounded_while_its_backend_stalls(behind, figure):
    """A fast client sends until its window is shut: the gateway has taken no more than its buffers hold."""
    go = threading.Event()

    def script1(peer):
        request = peer.read_head()
        go.wait(20)
        count = sum(len(d) for d in peer.pieces(request))
        peer.respond(200, body=str(count).encode())

    def script2(stream):
        go.wait(20)
        stream.respond(200, body=str(len(stream.read_all())).encode())
    origin = behind(script1=script1, script2=script2, receive_buffer=1 << 16, window=65535)
    with serving(origin, **origin.options) as gateway, gateway.http2() as client:
        client.until(lambda: client.has_settings)
        stream, sent = client.open("POST", "/", end=False), 0
        quiet = time.monotonic()
        while time.monotonic() - quiet < 0.7:
            room = min(stream.window, client.window, 16384)
            if room > 0:
                client.write(stream, b"x" * room)
                sent, quiet = sent + room, time.monotonic()
            try:
                client.step(0.05)
            except TimeoutError:
                pass
        figure(f"taken of an upload while its backend stalls, {'HTTP/2' if behind.is2 else 'HTTP/1.1'} behind", f"{sent >> 10} KiB")
        # Towards HTTP/1.1 the sockets of this machine hold some megabytes of their own.
        assert sent < ((512 << 10) if behind.is2 else (8 << 20))
        go.set()
        client.write(stream, b"x" * 100_000, end=True)
        assert int(client.finish(stream).body) == sent + 100_000


def test_what_is_taken_of_an_answer_is_bounded_while_its_client_stalls(behind, figure):
    """A fast backend is held back by a client whose window is shut."""
    sent = [0]

    def pieces(target):
        for _ in range(2000):
            yield b"x" * 16384
            sent[0] += 16384
    origin = behind(pieces)
    with serving(origin, **origin.options) as gateway, gateway.http2() as client:
        stream = client.take()
        stream.holds = True
        client.send(client.header_frames(stream.id, client.fields("GET", "/")))
        client.until(lambda: stream.received == 65535, 5)
        before = -1
        while before != sent[0]:
            before = sent[0]
            time.sleep(0.4)
        figure(f"taken of an answer while its client stalls, {'HTTP/2' if behind.is2 else 'HTTP/1.1'} behind", f"{sent[0] >> 10} KiB")
        # Of what the origin has given away, its own buffers hold a part: 1 MiB, or its socket's.
        assert sent[0] < ((2 << 20) if behind.is2 else (8 << 20))
        stream.holds = False
        client.release(stream)
        assert len(client.finish(stream, seconds=30).body) == 2000 * 16384


def test_windows_of_one_byte(behind):
    """A client that lets one byte pass at a time still gets all of them."""
    origin = behind(lambda target: [b"abcdefghijklmnopqrstuvwxyz" * 4])
    with serving(origin, **origin.options) as gateway, gateway.http2(values={INITIAL_WINDOW: 1}) as client:
        stream = client.take()
        stream.holds = True
        client.send(client.header_frames(stream.id, client.fields("GET", "/")))
        for n in range(104):
            client.until(lambda: stream.received == n + 1, 5)
            client.release(stream)
        client.finish(stream)
        assert stream.body == b"abcdefghijklmnopqrstuvwxyz" * 4


def test_a_window_that_is_changed_on_the_way(behind):
    """SETTINGS_INITIAL_WINDOW_SIZE 0 at first, then more: what waits goes on (RFC 9113 §6.9.2)."""
    from Fixtures.http2_frames import settings
    origin = behind(lambda target: [b"x" * 50_000])
    with serving(origin, **origin.options) as gateway, gateway.http2(values={INITIAL_WINDOW: 0}) as client:
        stream = client.head(client.open("GET", "/"))
        assert stream.received == 0
        client.send(settings({INITIAL_WINDOW: 65535}))
        assert len(client.finish(stream).body) == 50_000


def test_a_stream_whose_client_takes_nothing_is_ended():
    """clientWriteStall: the stream is reset, the connection and its other streams go on."""
    def script(stream):
        stream.respond(200, body=b"x" * (1 << 20 if stream.target == "/stalled" else 10))
    with Origin2(script) as origin, serving(
            origin, backend={"protocol": "H2C"}, timeouts=short(clientWriteStall=500, streamIdle=800)) as gateway, gateway.http2() as client:
        stalled = client.take()
        stalled.holds = True
        client.send(client.header_frames(stalled.id, client.fields("GET", "/stalled")))
        client.until(lambda: stalled.received == 65535, 5)
        client.until(lambda: stalled.over, 8, "the end of the stalled stream")
        assert stalled.reset is not None and not stalled.ended
        assert len(client.request("GET", "/x").body) == 10 and not client.goaways


def test_an_upload_that_stops_is_ended(behind):
    """requestBodyIdle: 408 or a reset on that stream; the connection goes on."""
    origin = behind(script1=echo1, script2=echo)
    with serving(origin, timeouts=short(requestBodyIdle=400), **origin.options) as gateway, gateway.http2() as client:
        stream = client.open("POST", "/", [("content-length", "100")], end=False)
        client.write(stream, b"some")
        client.finish(stream, seconds=8)
        assert stream.status == 408 or not stream.ended
        assert client.request("GET", "/x").status == 200 and not client.goaways


# -- the connection's life

def test_an_idle_connection_is_closed_with_goaway(behind):
    """keepAliveIdle: GOAWAY with NO_ERROR, then the end."""
    origin = behind(script1=echo1, script2=echo)
    with serving(origin, timeouts=short(keepAliveIdle=400), **origin.options) as gateway, gateway.http2() as client:
        assert client.request("GET", "/").status == 200
        assert client.how_it_ends(5) == "eof" and client.goaways[-1] == (1, Code.NO_ERROR)


def test_a_silent_client_is_asked_and_given_up(behind):
    """With a stream open and no byte for a while: PING; who answers stays, who does not is closed."""
    origin = behind(lambda target: [time.sleep(4) or b"late"])
    with serving(origin, limits={"tcpKeepAliveProbes": 1}, timeouts={"tcpKeepAliveIdle": "1s", "tcpKeepAliveInterval": "1s"},
                 **origin.options) as gateway:
        with gateway.http2() as client:
            assert client.request("GET", "/").body == b"late" and client.pings >= 1
        with gateway.http2() as client:
            client.answers_pings = False
            client.open("GET", "/")
            began = time.monotonic()
            assert client.how_it_ends(8) != "open" and time.monotonic() - began < 3.8


class Held:
    """Streams that go on until the test lets them end."""

    def __init__(self):
        self.go = threading.Event()

    def __call__(self, target):
        if target == "/quick":
            yield b"quick"
            return
        while not self.go.is_set():
            yield b"data\n"
            self.go.wait(0.05)
        yield b"end\n"


def test_a_drain_says_goaway_twice_and_lets_streams_finish(behind, figure):
    """GOAWAY with the highest number, then with the last stream's; a stream that was on its way between them is served;
    all end, the connection closes, the exit code is 0."""
    held = Held()
    origin = behind(held)
    with serving(origin, **origin.options) as gateway, gateway.http2() as client:
        streams = [client.open("GET", f"/{n}") for n in range(10)]
        client.until(lambda: all(s.received for s in streams), 5)
        idle = gateway.http2()
        assert idle.request("GET", "/quick").status == 200
        began = time.monotonic()
        gateway.signal(signal.SIGTERM)
        client.until(lambda: client.goaways, 5, "the first GOAWAY")
        assert client.goaways[0] == (LARGEST, Code.NO_ERROR)
        last = client.open("GET", "/quick")
        assert client.finish(last).status == 200, "a stream on its way at the first GOAWAY is served"
        client.until(lambda: len(client.goaways) > 1, 5, "the second GOAWAY")
        assert client.goaways[1] == (last.id, Code.NO_ERROR)
        assert idle.how_it_ends(5) == "eof" and idle.goaways[-1][1] == Code.NO_ERROR
        idle.close()
        assert gateway.alive() and not any(s.over for s in streams)
        held.go.set()
        client.finish(*streams)
        assert all(s.ended and s.body.endswith(b"end\n") for s in streams)
        assert client.how_it_ends(5) == "eof"
        assert gateway.wait(10) == 0
        figure("drain of HTTP/2", f"{time.monotonic() - began:.2f} s, 10 streams finished")


def test_a_drain_under_load_fails_no_stream(behind):
    """Streams opened until GOAWAY is seen are all answered."""
    origin = behind(script1=echo1, script2=echo)
    with serving(origin, flags=["--drain-delay", "300ms"], **origin.options) as gateway:
        failures, count = [], [0]

        def steady():
            with gateway.http2() as client:
                try:
                    while not client.goaways:
                        streams = [client.open("GET", "/") for _ in range(5)]
                        client.finish(*streams)
                        if any(s.status != 200 for s in streams if not client.goaways or s.id <= client.goaways[-1][0]):
                            failures.append(streams)
                        count[0] += 5
                except (Over, AssertionError) as error:
                    failures.append(error)
        threads = [threading.Thread(target=steady) for _ in range(4)]
        [t.start() for t in threads]
        time.sleep(0.5)
        gateway.signal()
        [t.join(15) for t in threads]
        assert gateway.wait(15) == 0
        assert not failures, failures[:2]
        assert count[0] > 50


def test_a_reload_keeps_streams_and_connections(behind):
    """A running stream ends on the old documents; the next on the same connection is answered by the new ones."""
    held = Held()
    origin = behind(held)
    with serving(origin, **origin.options) as gateway, gateway.http2() as client:
        long = client.open("GET", "/long")
        client.until(lambda: long.received, 5)
        stamp = {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": [{"name": "x-new", "value": "1"}]}}
        content = [docs.route([docs.rule(filters=[stamp])]) if d["kind"] == "HTTPRoute" else d for d in gateway.content]
        gateway.write("main.yaml", content)
        wait_until(lambda: client.request("GET", "/quick").get("x-new") == "1", 10, what="the new documents are in use")
        assert not long.over and not client.goaways
        held.go.set()
        client.finish(long)
        assert long.ended and long.body.endswith(b"end\n") and long.get("x-new") is None


def test_many_streams_leave_nothing_behind(behind, figure):
    """3,000 streams, a third of them cancelled: memory, descriptors and gauges as before."""
    origin = behind(script1=echo1, script2=echo)
    with serving(origin, **origin.options, access_log=False) as gateway:
        def round(count):
            with gateway.http2() as client:
                for n in range(count // 30):
                    streams = [client.open("POST" if k % 2 else "GET", "/", end=not k % 2) for k in range(30)]
                    for k, stream in enumerate(streams):
                        if k % 2:
                            client.write(stream, b"x" * 1000, end=True)
                    for stream in streams[::3]:
                        client.reset(stream)
                    client.finish(*[s for k, s in enumerate(streams) if k % 3])
                assert not client.goaways
        def descriptors():
            """Less those of pooled connections, of which there may be as many as there were requests at once."""
            return gateway.descriptors() - gateway.total("ai_gateway_upstream_connections")
        round(600)
        before, open_before = gateway.rss(), descriptors()
        round(3000)
        wait_until(lambda: gateway.total("ai_gateway_active_exchanges") == 0, 5)
        figure("growth after 3,000 streams of one connection", f"{(gateway.rss() - before) / 1e6:.1f} MB")
        assert gateway.rss() - before < 4 << 20
        wait_until(lambda: descriptors() <= open_before + 2, 5)
        assert json.loads(gateway.get("/").body)
