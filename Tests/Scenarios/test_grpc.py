"""gRPC through the gateway, with grpcio on both sides: every kind of call, statuses, deadlines, cancels."""
import threading
import time

import grpc as grpcio
import pytest

from Fixtures import documents as docs
from Fixtures.gateway import sealed, serving
from Fixtures.grpc import SERVICE, Methods, Server, channel, status_of
from Fixtures.http2_frames import Code
from Fixtures.net import free_port, wait_until
from Fixtures.origin import Origin
from Fixtures.origin2 import Origin2

FRAME = b"\0\0\0\0\5hello"                   # one message


def calls(server, rules=None, hostnames=None, backend=None, **more):
    """A gateway whose GRPCRoute leads to the server (and to nothing else, but what `extra` says)."""
    return serving(None, rules=[], extra=[
        docs.grpc_route(rules or [docs.grpc_rule()], hostnames), docs.backend(server, **({"protocol": "H2C"} if backend is None else backend)),
        *more.pop("extra", ())], **more)


@pytest.fixture(scope="module", params=["clear", "TLS"])
def through(request, certificate, authority):
    """A server of calls behind one gateway; `methods()` opens a channel."""
    secure = request.param == "TLS"
    options = sealed(certificate) if secure else {}
    with Server() as server, calls(server, **options) as gateway:
        gateway.server, gateway.root = server, authority.pem if secure else None
        gateway.methods = lambda **more: Methods(channel(gateway.port, root=gateway.root, **more))
        yield gateway


# -- the four kinds

def test_unary(through):
    """A message and its answer; the server sees authority, metadata and the user agent."""
    with through.methods() as m:
        assert m.unary(b"hello", metadata=[("x-own", "1"), ("x-bytes-bin", b"\0\xff")]) == b"hello"
        seen = through.server.last()
        assert seen.get("x-own") == "1" and seen.get("x-bytes-bin") == b"\0\xff" and "grpc-python" in seen.get("user-agent")
        assert m.unary(b"") == b""


def test_client_streaming(through):
    """1,000 messages, one answer."""
    with through.methods() as m:
        assert m.collect(iter([b"x" * n for n in range(1000)])) == str(sum(range(1000))).encode()
        assert through.server.last().received == 1000
        assert m.collect(iter([])) == b"0"


def test_server_streaming(through):
    """1,000 messages, in order; and none."""
    with through.methods() as m:
        assert list(m.count(b"1000")) == [str(n).encode() for n in range(1000)]
        assert list(m.count(b"0")) == []


def test_messages_arrive_one_by_one(through):
    """A stream's message is there before the next is made."""
    with through.methods() as m:
        began = time.monotonic()
        stream = m.count(b"5", metadata=[("x-pause", "0.3")])
        assert next(stream) == b"0"
        assert time.monotonic() - began < 0.25
        assert len(list(stream)) == 4


def test_bidirectional_streaming(through):
    """Each message comes back before the next is sent."""
    with through.methods() as m:
        back, done = threading.Semaphore(1), 0

        def messages():
            for n in range(100):
                assert back.acquire(timeout=5)
                yield str(n).encode()
        for n, message in enumerate(m.chat(messages())):
            assert message == str(n).encode()
            done += 1
            back.release()
        assert done == 100


@pytest.mark.parametrize("size", [0, 1, 16379, 65536, 1 << 20, 20 << 20])
def test_large_messages(through, size):
    """Up to 20 MB in one message, both ways."""
    with through.methods() as m:
        message = bytes(n & 255 for n in range(256)) * (size // 256) + b"y" * (size % 256)
        assert m.unary(message, timeout=60) == message
        assert len(m.unary(b"", metadata=[("x-size", str(size))], timeout=60)) == size


def test_a_thousand_calls_on_one_channel(through, figure):
    """One after the other, and 64 at a time; the server has one connection a worker at most."""
    with through.methods() as m:
        began = time.monotonic()
        for n in range(1000):
            assert m.unary(b"%d" % n) == b"%d" % n
        one = time.monotonic() - began
        began = time.monotonic()
        futures = []
        for n in range(1000):
            futures.append(m.unary.future(b"%d" % n))
            if len(futures) >= 64:
                futures.pop(0).result(20)
        assert all(f.result(20) for f in futures)
        figure(f"1,000 calls on one channel, {'TLS' if through.root else 'clear'}", f"{1000 / one:.0f}/s one by one, {1000 / (time.monotonic() - began):.0f}/s 64 at once")


# -- metadata and statuses

def test_metadata_both_ways(through):
    """Initial and trailing metadata of the server, with values that are bytes."""
    with through.methods() as m:
        result, call = m.unary.with_call(b"x", metadata=[("x-echo-a", "1"), ("x-echo-b-bin", b"\0\1\2"), ("x-echo-a", "2")])
        initial, trailing = [tuple(i) for i in call.initial_metadata()], [tuple(t) for t in call.trailing_metadata()]
        assert [i for i in initial if i[0].startswith("x-echo")] == [("x-echo-a", "1"), ("x-echo-b-bin", b"\0\1\2"), ("x-echo-a", "2")]
        assert [t for t in trailing if t[0].startswith("x-trail")] == [("x-trail-a", "1"), ("x-trail-b-bin", b"\0\1\2"), ("x-trail-a", "2")]


@pytest.mark.parametrize("name", [c.name for c in grpcio.StatusCode if c.name != "OK"])
def test_statuses_pass(through, name):
    """A server's status without a message (trailers only) arrives as it is, its details too."""
    details = "it is so: 100 % näher\n"
    with through.methods() as m:
        assert status_of(lambda: m.unary(b"x", metadata=[("x-status", name), ("x-details-bin", b""), ("x-details", "it is so")])) == (name, "it is so")
        assert status_of(lambda: m.unary(details.encode())) == ("OK", details.encode())


def test_a_status_behind_messages(through):
    """Messages, then an error: both arrive."""
    with through.methods() as m:
        stream, got = m.count(b"3", metadata=[("x-status", "DATA_LOSS"), ("x-details", "later")]), []
        with pytest.raises(grpcio.RpcError) as error:
            for message in stream:
                got.append(message)
        assert got == [b"0", b"1", b"2"] and error.value.code().name == "DATA_LOSS" and error.value.details() == "later"


def test_an_unknown_method_is_the_servers_to_tell(through):
    """UNIMPLEMENTED by the server; it has been asked."""
    with through.methods() as m:
        name, details = status_of(lambda: m.channel.unary_unary(f"/{SERVICE}/None")(b"x"))
        assert name == "UNIMPLEMENTED" and "not found" in details.lower()


# -- deadlines and cancels

def test_a_deadline_reaches_the_server(through):
    """grpc-timeout is passed on, and when it has passed both sides know."""
    with through.methods() as m:
        began = time.monotonic()
        assert status_of(lambda: m.unary(b"x", metadata=[("x-delay", "5")], timeout=0.5))[0] == "DEADLINE_EXCEEDED"
        assert time.monotonic() - began < 1.5
        seen = through.server.last()
        assert 0.2 < seen.remaining <= 0.55
        assert seen.ended.wait(2) and not seen.finished


def test_the_gateway_ends_a_call_at_its_deadline():
    """A client that says grpc-timeout and does not end by itself: DEADLINE_EXCEEDED, and the backend's stream is cancelled."""
    cancelled = []

    def script(stream):
        cancelled.append(stream.wait_gone(5))
    with Origin2(script) as origin, calls(origin) as gateway, gateway.http2() as client:
        began = time.monotonic()
        stream = client.request("POST", "/a.B/C", [("content-type", "application/grpc"), ("te", "trailers"), ("grpc-timeout", "400m")], FRAME)
        assert 0.3 < time.monotonic() - began < 2
        assert stream.status == 200 and dict(stream.headers + stream.trailers)["grpc-status"] == "4"
        wait_until(lambda: cancelled and cancelled[0], 3, what="the cancel")


@pytest.mark.parametrize("kind", ["unary", "count"])
def test_a_cancel_reaches_the_server(through, kind, figure):
    """Before the first message of the answer and between two."""
    with through.methods() as m:
        count = len(through.server.calls)
        if kind == "unary":
            call = m.unary.future(b"x", metadata=[("x-delay", "10")])
        else:
            call = m.count(b"1000", metadata=[("x-pause", "5")])
            assert next(call) == b"0"
        wait_until(lambda: len(through.server.calls) > count, 5)
        seen, at = through.server.last(), time.monotonic()
        call.cancel()
        assert seen.ended.wait(2) and not seen.finished
        figure(f"cancel of a call ({kind}, {'TLS' if through.root else 'clear'}) at the server", f"{(seen.ended_at - at) * 1000:.1f} ms")


def test_a_closed_channel_cancels_its_calls(through):
    """20 streams of one channel end at the server when the channel is closed."""
    m, count = through.methods(), len(through.server.calls)
    streams = [m.count(b"1000", metadata=[("x-pause", "5")]) for _ in range(20)]
    assert all(next(s) == b"0" for s in streams)
    m.channel.close()
    begun = through.server.calls[count:]
    assert len(begun) == 20 and all(c.ended.wait(3) for c in begun)


# -- routes and failures

def test_routes_by_service_method_and_metadata():
    """The most characters of service and method win; metadata as headers; filters change it."""
    with Server() as one, Server() as two, calls(one, rules=[
            docs.grpc_rule(service=SERVICE), docs.grpc_rule(["two"], service=SERVICE, method="Collect"),
            docs.grpc_rule(["two"], service=SERVICE, headers={"x-to": "two"}, filters=[
                {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x-stamp", "value": "1"}]}},
                {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": [{"name": "x-back", "value": "2"}]}}])],
            extra=[docs.backend(two, "two", protocol="H2C")]) as gateway, Methods(channel(gateway.port)) as m:
        assert m.unary(b"a") == b"a" and len(one.calls) == 1
        assert m.collect(iter([b"abc"])) == b"3" and two.last().method == "Collect"
        _, call = m.unary.with_call(b"c", metadata=[("x-to", "two")])
        assert two.last().method == "Unary" and two.last().get("x-stamp") == "1"
        assert ("x-back", "2") in [tuple(i) for i in call.initial_metadata()]
        assert status_of(lambda: m.channel.unary_unary("/test.Plain/Any")(b"x"))[0] == "UNIMPLEMENTED"
        assert len(one.calls) == 1 and len(two.calls) == 2


def test_hostnames_of_a_route():
    """Another authority is no call of this route: UNIMPLEMENTED, and the server is not asked."""
    with Server() as server, calls(server, hostnames=["calls.example"]) as gateway:
        with Methods(channel(gateway.port, "calls.example")) as m:
            assert m.unary(b"x") == b"x"
        with Methods(channel(gateway.port, "other.example")) as m:
            assert status_of(lambda: m.unary(b"x"))[0] == "UNIMPLEMENTED"
        assert len(server.calls) == 1


def test_a_backend_that_is_down_is_unavailable():
    """Nothing listens: UNAVAILABLE with a sentence, at once."""
    with calls({"address": "127.0.0.1", "port": free_port()}) as gateway, Methods(channel(gateway.port)) as m:
        name, details = status_of(lambda: m.unary(b"x", timeout=10))
        assert name == "UNAVAILABLE" and len(details) > 10


def test_a_backend_that_does_not_exist_is_unavailable():
    """A reference that leads nowhere."""
    with Server() as server, calls(server, rules=[docs.grpc_rule(["missing"])]) as gateway, \
            Methods(channel(gateway.port)) as m:
        assert status_of(lambda: m.unary(b"x", timeout=10))[0] == "UNAVAILABLE"


def test_a_server_that_dies_is_unavailable_and_comes_back():
    """Calls in flight end with UNAVAILABLE; on the same port a new server is found without a restart."""
    first = Server()
    port = first.port
    with calls({"address": "127.0.0.1", "port": port}) as gateway, Methods(channel(gateway.port)) as m:
        stream = m.count(b"1000", metadata=[("x-pause", "0.05")])
        assert next(stream) == b"0"
        first.stop(0)
        with pytest.raises(grpcio.RpcError) as error:
            list(stream)
        assert error.value.code().name in ("UNAVAILABLE", "CANCELLED", "INTERNAL", "UNKNOWN")
        assert status_of(lambda: m.unary(b"x", timeout=10))[0] == "UNAVAILABLE"
        second = Server(port=port)
        try:
            wait_until(lambda: status_of(lambda: m.unary(b"x", timeout=5)) == ("OK", b"x"), 10, what="the new server")
        finally:
            second.stop()


def test_a_graceful_stop_of_a_server_fails_no_call():
    """GOAWAY of one of two servers under load: every call is answered."""
    one, two = Server(), Server()
    try:
        with calls([one, two]) as gateway, Methods(channel(gateway.port)) as m:
            wrong, stop = [], threading.Event()

            def steady():
                while not stop.is_set():
                    result = status_of(lambda: m.unary(b"x", timeout=10))
                    # grpcio's server itself answers so to a call that comes between its stop and its GOAWAY.
                    if result not in (("OK", b"x"), ("CANCELLED", "CANCELLED"), ("UNAVAILABLE", "Cancelling all calls")):
                        wrong.append(result)
            threads = [threading.Thread(target=steady) for _ in range(4)]
            [t.start() for t in threads]
            time.sleep(0.5)
            one.stop(5)
            count = len(two.calls)
            time.sleep(1)
            stop.set()
            [t.join(10) for t in threads]
            assert not wrong, wrong[:3]
            assert len(two.calls) > count
    finally:
        two.stop()


def test_a_reset_of_the_servers_is_not_hidden():
    """RST_STREAM inside an answer: the client's call fails."""
    def script(stream):
        stream.head(200, [("content-type", "application/grpc")])
        stream.send(FRAME)
        stream.reset(Code.INTERNAL_ERROR)
    with Origin2(script) as origin, calls(origin) as gateway, Methods(channel(gateway.port)) as m:
        assert status_of(lambda: list(m.count(b"1", timeout=10)))[0] in ("INTERNAL", "UNKNOWN", "UNAVAILABLE")


# -- TLS towards the server, and the wire

def test_a_server_behind_tls(certificate, authority):
    """Backend protocol HTTP2: grpcio insists on ALPN."""
    backend = {"protocol": "HTTP2", "tls": {"hostname": "test.example", "caCertificateRefs": [{"name": "lan-ca"}]}}
    with Server(certificate) as server, calls(server, backend=backend, extra=[authority.config_map("lan-ca")]) as gateway:
        with Methods(channel(gateway.port)) as m:
            assert m.unary(b"x") == b"x" and list(m.count(b"10")) == [str(n).encode() for n in range(10)]


def test_what_is_on_the_wire():
    """te: trailers and grpc-timeout reach the server; an error of trailers only stays one frame with END_STREAM."""
    def script(stream):
        stream.read_all()
        stream.head(200, [("content-type", "application/grpc"), ("grpc-status", "5"), ("grpc-message", "nix")], end=True)
    with Origin2(script) as origin, calls(origin) as gateway, gateway.http2() as client:
        stream = client.request("POST", "/a.B/C", [("content-type", "application/grpc"), ("te", "trailers"), ("grpc-timeout", "5S")], FRAME)
        assert stream.ended and len(stream.heads) == 1 and not stream.pieces and stream.get("grpc-status") == "5"
        seen = origin.last()
        assert seen.get("te") == "trailers" and seen.get("grpc-timeout") == "5S" and seen.get("content-type") == "application/grpc"
        assert seen.get("content-length") is None and seen.received == len(FRAME)


def test_the_gateways_own_errors_are_calls_errors():
    """No route for a call: status 200, grpc-status 12 in a head that ends the stream; a browser's request gets 404."""
    with Server() as server, calls(server, rules=[docs.grpc_rule(service=SERVICE)]) as gateway, gateway.http2() as client:
        stream = client.request("POST", "/no.Such/Call", [("content-type", "application/grpc+proto"), ("te", "trailers")], FRAME)
        assert stream.status == 200 and stream.get("grpc-status") == "12" and stream.ended and not stream.pieces
        assert stream.get("content-type", "").startswith("application/grpc")
        assert client.request("GET", "/no.Such/Call").status == 404


def test_metadata_beyond_the_limits_is_a_calls_error():
    """A field over 16 KiB is refused before the head is understood, and still in gRPC's words."""
    with Server() as server, calls(server) as gateway, Methods(channel(gateway.port)) as m:
        name, details = status_of(lambda: m.unary(b"x", metadata=[("x-large", "y" * 17_000)], timeout=10))
        assert name == "RESOURCE_EXHAUSTED" and "431" not in details, (name, details)
        assert m.unary(b"x", timeout=10) == b"x" and len(server.calls) == 1


def test_grpc_web_passes_untouched():
    """HTTP/1.1, content of frames and trailers in the content: the gateway adds and takes nothing."""
    body = FRAME + b"\x80\0\0\0\x10grpc-status: 0\r\n"

    def script(peer):
        while (request := peer.read_request()) is not None:
            assert request.body == FRAME
            peer.respond(200, [("Content-Type", "application/grpc-web+proto"), ("X-Seen", request.get("x-grpc-web"))], body)
    with Origin(script) as origin, serving(origin) as gateway, gateway.client() as client:
        response = client.request("POST", "/a.B/C", [("Content-Type", "application/grpc-web+proto"), ("X-Grpc-Web", "1")], FRAME)
        assert response.status == 200 and response.body == body and response.get("x-seen") == "1"
        assert response.get("content-type") == "application/grpc-web+proto"
        assert not origin.errors
