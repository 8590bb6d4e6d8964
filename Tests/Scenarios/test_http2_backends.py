"""Backends that speak HTTP/2: few connections, shared; what they refuse goes elsewhere; what they break is not hidden."""
import json
import struct
import threading
import time

import pytest

from Fixtures import documents as docs
from Fixtures.certificates import Certificate
from Fixtures.gateway import serving
from Fixtures.http2_frames import SETTINGS, Code, frame
from Fixtures.limits import short
from Fixtures.net import free_port, wait_until
from Fixtures.origin import Origin
from Fixtures.origin2 import Origin2, echo

H2C = {"protocol": "H2C"}


@pytest.fixture
def origin2():
    with Origin2() as one:
        yield one
    assert not one.errors, one.errors


def echoed(answer):
    assert answer.status == 200, answer
    return json.loads(answer.body)


def together(count, one):
    """Calls one(n) for each n in threads of their own; the results in order."""
    results = [None] * count

    def run(n):
        try:
            results[n] = one(n)
        except BaseException as error:
            results[n] = error
    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    [t.start() for t in threads]
    [t.join(60) for t in threads]
    return results


# -- HTTP/1.1 in front

def test_http_1_1_in_front_of_http_2(origin2):
    """Content both ways, HEAD, chunks and trailers; the backend sees pseudo-fields and no fields of a connection."""
    with serving(origin2, backend=H2C) as gateway, gateway.client() as client:
        e = echoed(client.request("POST", "/up?q=1", [("Connection", "keep-alive, X-Hop"), ("X-Hop", "1"), ("TE", "trailers"), ("X-Kept", "1")], b"x" * 100_000))
        assert (e["method"], e["target"], e["host"], e["scheme"], e["length"]) == ("POST", "/up?q=1", "test.example", "http", 100_000)
        names = [n for n, _ in e["headers"]]
        assert not {"connection", "host", "x-hop", "keep-alive", "transfer-encoding", "upgrade"} & set(names) and "x-kept" in names
        assert names == [n.lower() for n in names]
        e = echoed(client.request("PUT", "/chunks", chunked=[b"abc", b"defg"]))
        assert e["length"] == 7
        client.send(b"POST /t HTTP/1.1\r\nHost: test.example\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n")
        assert json.loads(client.read().body)["trailers"] in ([["x-t", "1"]], [])
        head = client.request("HEAD", "/")
        assert head.status == 200 and int(head.get("content-length")) > 100 and head.body == b""
        assert client.request("GET", "/again").status == 200


@pytest.mark.parametrize("kind", ["length", "no length", "trailers", "empty", "204", "hints"])
def test_answers_of_http_2_in_http_1_1(kind):
    """Each is framed so that the next answer follows on the same connection."""
    def script(stream):
        if kind == "length":
            stream.respond(200, [("content-length", "5")], b"hello")
        elif kind == "no length":
            stream.respond(200, body=b"hello")
        elif kind == "trailers":
            stream.head(200)
            stream.send(b"hello")
            stream.send_trailers([("x-sum", "5")])
        elif kind == "hints":
            stream.informational(103, [("link", "<x>")])
            stream.respond(200, body=b"hello")
        else:
            stream.head(200 if kind == "empty" else 204, end=True)
    with Origin2(script) as origin, serving(origin, backend=H2C) as gateway, gateway.client() as client:
        for _ in range(3):
            response = client.request("GET", "/", [("TE", "trailers")])
            assert response.status == (204 if kind == "204" else 200) and response.complete
            assert response.body == (b"" if kind in ("204", "empty") else b"hello")
            if kind == "trailers":
                assert [(n.lower(), v) for n, v in response.trailers] == [("x-sum", "5")]


def test_a_pipeline_of_http_1_1_stays_in_order(origin2):
    """20 requests in one write."""
    from Fixtures.http1 import request_bytes
    with serving(origin2, backend=H2C) as gateway, gateway.client() as client:
        client.send(b"".join(request_bytes("GET", f"/{n}") for n in range(20)))
        assert [echoed(client.read())["target"] for _ in range(20)] == [f"/{n}" for n in range(20)]


# -- connections

@pytest.mark.parametrize("workers", [1, 2])
def test_connections_are_shared(workers, figure):
    """60 requests at once from 60 clients: one connection a worker."""
    go = threading.Event()

    def script(stream):
        go.wait(10)
        echo(stream)
    with Origin2(script) as origin, serving(origin, backend=H2C, workers=workers) as gateway:
        threading.Timer(1, go.set).start()
        results = together(60, lambda n: gateway.get(f"/{n}", timeout=20))
        assert [echoed(r)["target"] for r in results] == [f"/{n}" for n in range(60)]
        figure(f"HTTP/2 connections for 60 requests at once, {workers} workers", len(origin.connections))
        assert len(origin.connections) <= workers
        for n in range(20):
            gateway.get("/later")
        assert len(origin.connections) <= workers and not origin.errors


def test_the_backends_limit_of_streams_is_kept(figure):
    """5 streams at most are announced: 50 requests at once are all answered, and no connection has more than 5."""
    def script(stream):
        time.sleep(0.05)
        echo(stream)
    with Origin2(script, streams_max=5) as origin, serving(origin, backend=H2C, workers=1) as gateway:
        gateway.get("/warm")
        results = together(50, lambda n: gateway.get(f"/{n}", timeout=20))
        assert [echoed(r)["target"] for r in results] == [f"/{n}" for n in range(50)]
        figure("connections for 50 requests at once, 5 streams each", f"{len(origin.connections)}, most streams {max(c.most for c in origin.connections)}")
        assert all(c.most <= 5 for c in origin.connections)
        assert origin.connections[0].refused == 0, "the limit was known on the first connection"


def test_a_backend_that_takes_many_streams_gets_them_on_one_connection(figure):
    """1,000 at once are announced: 400 requests at once need one connection."""
    go = threading.Event()

    def script(stream):
        go.wait(20)
        echo(stream)
    with Origin2(script) as origin, serving(origin, backend=H2C, workers=1, access_log=False) as gateway:
        go.set()
        gateway.get("/warm")
        go.clear()
        threading.Timer(2, go.set).start()
        results = together(400, lambda n: gateway.get(f"/{n}", timeout=30))
        assert [echoed(r)["target"] for r in results] == [f"/{n}" for n in range(400)]
        most = max(c.most for c in origin.connections)
        figure("400 requests at once to a backend of 1,000 streams", f"{len(origin.connections)} connections, most streams {most}")
        assert len(origin.connections) == 1 and most > 300


def test_streams_refused_before_the_limit_was_known_are_tried_again():
    """The first burst may overrun a limit that is not known yet: what is refused is answered all the same."""
    def script(stream):
        time.sleep(0.05)
        echo(stream)
    with Origin2(script, streams_max=2) as origin, serving(origin, backend=H2C, workers=1) as gateway:
        results = together(10, lambda n: gateway.get(f"/{n}", method="POST", body=b"x", timeout=20))
        assert [getattr(r, "status", r) for r in results] == [200] * 10


def test_a_backend_that_takes_no_streams_gets_no_connection_for_each_request():
    """One connection is waited on as long as one that is being made, then it is 503, and it says why."""
    with Origin2(streams_max=0) as origin, serving(origin, backend=H2C, timeouts=short(connect=500), workers=1) as gateway:
        began = time.monotonic()
        results = together(40, lambda n: gateway.get(f"/{n}", timeout=20))
        assert [(r.status, r.get("x-gateway-error"), r.get("retry-after")) for r in results] == [(503, "overloaded", "1")] * 40
        assert 0.4 < time.monotonic() - began < 5
        assert len(origin.connections) <= 4, "a new connection allows as little"
        assert gateway.get("/more", timeout=20).status == 503
        wait_until(lambda: not origin.open_connections(), 5, what="the connection's end")
        assert not origin.requests and not origin.errors


def test_a_backend_that_takes_streams_later_gets_them_on_the_connection_that_stands():
    """Who waits goes on when the backend's settings allow it, and the connection stays."""
    with Origin2(streams_max=0) as origin, serving(origin, backend=H2C, timeouts=short(connect=3000), workers=1) as gateway:
        def allow():
            wait_until(lambda: origin.connections, 5)
            time.sleep(0.3)
            origin.streams_max = 100
            origin.connections[0].raw(frame(SETTINGS, 0, 0, struct.pack(">HI", 3, 100)))
        threading.Thread(target=allow, daemon=True).start()
        results = together(20, lambda n: gateway.get(f"/{n}", timeout=20))
        # But for the one that came before anything was known, and was refused.
        assert sorted(getattr(r, "status", 0) for r in results) in ([200] * 20, [200] * 19 + [503])
        time.sleep(3.2)
        assert gateway.get("/later").status == 200 and len(origin.connections) == 1 and not origin.errors


def test_a_backend_that_takes_no_streams_and_ends_its_connections_is_not_asked_without_end():
    """Each connection that ends so is an attempt of those that wait for it."""
    with Origin2(streams_max=0) as origin, serving(origin, backend=H2C, timeouts=short(connect=3000), workers=1) as gateway:
        done = threading.Event()

        def end():
            while not done.wait(0.05):
                [c.close() for c in origin.open_connections()]
        threading.Thread(target=end, daemon=True).start()
        results = together(10, lambda n: gateway.get(f"/{n}", timeout=20))
        done.set()
        assert all(getattr(r, "status", r) in (502, 503) for r in results), results
        assert len(origin.connections) < 40


def test_a_backend_that_never_says_its_settings_fails_all_that_wait_for_them():
    """All at once, and not one after the other with a connection for each."""
    def silent(peer):
        while peer.fill():
            pass
    with Origin(silent) as origin, serving(origin, backend=H2C, timeouts=short(connect=500), workers=1) as gateway:
        began = time.monotonic()
        results = together(10, lambda n: gateway.get(f"/{n}", timeout=20))
        assert {r.status for r in results} <= {502, 503} and time.monotonic() - began < 3
        assert origin.connections <= 3


def test_an_idle_connection_is_closed(origin2):
    """upstreamIdle: GOAWAY and the end, when no stream is open."""
    with serving(origin2, backend=H2C, workers=1, timeouts=short(upstreamIdle=400)) as gateway:
        assert gateway.get("/").status == 200
        wait_until(lambda: not origin2.open_connections(), 5, what="the idle connection is closed")
        assert gateway.get("/").status == 200 and len(origin2.connections) == 2


def test_a_long_stream_keeps_its_connection():
    """A connection with an open stream is not idle."""
    def script(stream):
        stream.head(200)
        for n in range(15):
            stream.send(b"%02d" % n)
            time.sleep(0.1)
        stream.finish()
    with Origin2(script) as origin, serving(origin, backend=H2C, timeouts=short(upstreamIdle=300)) as gateway:
        response = gateway.get("/")
        assert response.complete and response.body == b"".join(b"%02d" % n for n in range(15))


# -- GOAWAY, refusals, resets

def test_goaway_moves_new_streams_and_lets_old_ones_end():
    """A running stream ends on the old connection; the next requests go over a new one."""
    go = threading.Event()

    def script(stream):
        if stream.target == "/long":
            stream.head(200)
            stream.send(b"first")
            go.wait(10)
            stream.send(b" last", end=True)
        else:
            echo(stream)
    with Origin2(script) as origin, serving(origin, backend=H2C, workers=1) as gateway, gateway.http2() as client:
        long = client.open("GET", "/long")
        client.until(lambda: long.received, 5)
        origin.connections[0].go_away()
        wait_until(lambda: echoed(gateway.get("/x"))["connection"] == 2, 5, what="a new connection")
        go.set()
        client.finish(long)
        assert long.body == b"first last" and long.ended
        wait_until(lambda: origin.connections[0].closed, 5, what="the old connection is closed")
        assert len(origin.connections) == 2


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("how", ["GOAWAY", "REFUSED_STREAM"])
def test_what_a_backend_refuses_is_tried_again(method, how):
    """A stream above GOAWAY's last one, or refused: nothing was done for it (RFC 9113 §8.7), so that even a POST is sent again."""
    refused = []

    def script(stream):
        if stream.target == "/refuse" and not refused:
            refused.append(stream)
            if how == "GOAWAY":
                stream.connection.go_away(last=stream.id - 2)
            else:
                stream.reset(Code.REFUSED_STREAM)
            return
        echo(stream)
    with Origin2(script) as origin, serving(origin, backend=H2C, workers=1) as gateway:
        gateway.get("/warm")
        response = gateway.get("/refuse", method=method, body=b"content" if method == "POST" else b"")
        e = echoed(response)
        assert (e["method"], e["length"]) == (method, 7 if method == "POST" else 0) and refused


@pytest.mark.parametrize("reset", [False, True])
def test_a_connection_that_ends_before_its_preface_did_nothing(reset):
    """A server that stops as it takes a connection: it said no SETTINGS, so that even a POST goes to the other endpoint."""
    def script(peer):
        peer.fill()
        peer.reset() if reset else peer.close()
    with Origin(script) as stopping, Origin2() as other, \
            serving([stopping, other], backend=H2C, workers=1) as gateway:
        for _ in range(50):                 # chance says who is asked
            assert echoed(gateway.get("/x", method="POST", body=b"content"))["length"] == 7
            if stopping.connections:
                break
        assert stopping.connections, "it was never asked"


def test_a_reset_post_is_not_sent_twice():
    """Any other reset may come after work was done: 502, and the backend has seen it once."""
    def script(stream):
        stream.read_all()
        stream.reset(Code.INTERNAL_ERROR)
    with Origin2(script) as origin, serving(origin, backend=H2C) as gateway:
        assert gateway.get("/x", method="POST", body=b"content").status == 502
        assert len(origin.requests) == 1
        assert not origin.connections[0].closed, "a stream's end is not the connection's"


@pytest.mark.parametrize("front", ["HTTP/1.1", "HTTP/2"])
@pytest.mark.parametrize("how", ["reset", "cut"])
def test_a_broken_off_answer_is_not_completed(front, how):
    """RST_STREAM or the end of the connection inside content: the client sees that it is cut."""
    def script(stream):
        stream.head(200)
        stream.send(b"half")
        time.sleep(0.1)
        stream.reset(Code.INTERNAL_ERROR) if how == "reset" else stream.connection.close(reset=True)
    with Origin2(script) as origin, serving(origin, backend=H2C) as gateway:
        if front == "HTTP/2":
            with gateway.http2() as client:
                stream = client.request("GET", "/")
                assert stream.status == 200 and not stream.ended and stream.reset not in (None, Code.NO_ERROR)
                assert client.request("HEAD", "/none").over, "the connection goes on"
        else:
            response = gateway.get("/")
            assert response.status == 200 and not response.complete


@pytest.mark.parametrize("fields", [
    [("content-length", "10")], [("content-length", "2")]], ids=["too little", "too much"])
def test_content_that_is_not_its_length(fields):
    """Content-Length says other than DATA: never a complete answer."""
    def script(stream):
        connection = stream.connection
        stream.head(200, fields)
        from Fixtures.http2_frames import DATA, END_STREAM, frame
        connection.raw(frame(DATA, END_STREAM, stream.id, b"hello"))
    with Origin2(script) as origin, serving(origin, backend=H2C) as gateway:
        response = gateway.get("/")
        assert response.status == 502 or not response.complete
        assert response.body != b"hello" or fields == [("content-length", "10")]


def test_a_connection_that_dies_takes_only_its_streams(figure):
    """10 streams on it fail visibly; the next request has a new connection."""
    def script(stream):
        if stream.target == "/x":
            return echo(stream)
        stream.head(200)
        stream.send(b"data: 1\n\n")
        stream.wait_gone(10)
    with Origin2(script) as origin, serving(origin, backend=H2C, workers=1) as gateway, gateway.http2() as client:
        streams = [client.open("GET", f"/{n}") for n in range(10)]
        client.until(lambda: all(s.received for s in streams), 5)
        at = time.monotonic()
        origin.connections[0].close(reset=True)
        client.finish(*streams, seconds=5)
        assert all(s.reset is not None for s in streams)
        figure("end of 10 streams after their backend's connection died", f"{(time.monotonic() - at) * 1000:.1f} ms")
        assert echoed(client.request("GET", "/x"))["connection"] == 2


def test_a_backend_that_is_no_http_2_is_502(origin):
    """H2C towards a server of HTTP/1.1 alone."""
    def script(peer):
        peer.fill()
        peer.respond(400, body=b"what?")
    with Origin(script) as wrong, serving(wrong, backend=H2C) as gateway:
        assert gateway.get("/", timeout=15).status in (502, 503, 504)


def test_a_silent_backend_is_asked_and_given_up():
    """No byte for a while with a stream open: PING; no answer: the connection is closed, and the request fails."""
    def script(stream):
        stream.connection.reads.clear()
        stream.wait_gone(15)
    with Origin2(script) as origin, serving(origin, backend=H2C, limits={"tcpKeepAliveProbes": 1},
                                            timeouts={"tcpKeepAliveIdle": "1s", "tcpKeepAliveInterval": "1s"}) as gateway:
        began = time.monotonic()
        assert gateway.get("/", timeout=15, method="POST", body=b"x").status in (502, 504)
        assert 1 < time.monotonic() - began < 8


def test_a_slow_backend_that_answers_pings_is_not_given_up():
    """The same silence of a stream, but the connection is alive."""
    def script(stream):
        time.sleep(4)
        echo(stream)
    with Origin2(script) as origin, serving(origin, backend=H2C, limits={"tcpKeepAliveProbes": 1},
                                            timeouts={"tcpKeepAliveIdle": "1s", "tcpKeepAliveInterval": "1s"}) as gateway:
        assert gateway.get("/", timeout=15).status == 200


# -- TLS

def secure_backend(authority):
    return {"protocol": "HTTP2", "tls": {"hostname": "gpu.lan", "caCertificateRefs": [{"name": "lan-ca"}]}}


def test_protocol_http2_is_chosen_by_alpn(authority):
    """A server that offers h2 gets it, and the scheme is https."""
    certificate = Certificate(["gpu.lan"], issuer=authority)
    with Origin2(tls=certificate.server_context()) as origin, serving(
            origin, backend=secure_backend(authority), extra=[authority.config_map("lan-ca")], workers=1) as gateway:
        for n in range(5):
            e = echoed(gateway.get(f"/{n}", method="POST", body=b"x" * 50_000))
            assert e["scheme"] == "https" and e["length"] == 50_000
        assert len(origin.connections) == 1 and origin.connections[0].alpn == "h2" and not origin.errors


def test_protocol_http2_falls_back_by_alpn(authority):
    """A server of HTTP/1.1 alone is spoken to in HTTP/1.1; connections are kept as they are then."""
    context = Certificate(["gpu.lan"], issuer=authority).server_context()
    context.set_alpn_protocols(["http/1.1"])
    with Origin(tls=context) as origin, serving(
            origin, backend=secure_backend(authority), extra=[authority.config_map("lan-ca")], workers=1) as gateway:
        for n in range(5):
            assert gateway.get(f"/{n}", method="POST", body=b"x").status == 200
        results = together(10, lambda n: gateway.get(f"/{n}", timeout=20))
        assert [getattr(r, "status", r) for r in results] == [200] * 10 and not origin.errors


def test_many_requests_at_once_begin_a_connection_by_alpn(authority):
    """40 requests while the first handshake is still under way: all answered."""
    certificate = Certificate(["gpu.lan"], issuer=authority)
    with Origin2(tls=certificate.server_context()) as origin, serving(
            origin, backend=secure_backend(authority), extra=[authority.config_map("lan-ca")], workers=1) as gateway, gateway.http2() as client:
        streams = [client.open("GET", f"/{n}") for n in range(40)]
        client.finish(*streams)
        assert [echoed(s)["target"] for s in streams] == [f"/{n}" for n in range(40)]
        assert not origin.errors


def test_two_backends_behind_one_connection_of_a_client(origin):
    """Streams of one connection go to HTTP/1.1 and HTTP/2, side by side."""
    with Origin2(name="two") as two, serving(
            {"origin": origin}, rules=[docs.rule(["origin"]), docs.rule(["two"], path="/2")],
            extra=[docs.backend(two, "two", **H2C), docs.backend([("127.0.0.1", free_port())], "dead")]) as gateway, gateway.http2() as client:
        streams = [client.open("GET", f"/2/{n}" if n % 2 else f"/1/{n}") for n in range(60)]
        client.finish(*streams)
        assert [echoed(s)["origin"] for s in streams] == ["two" if n % 2 else "origin" for n in range(60)]
