"""ExternalAuth: who may pass is asked first, over HTTP or gRPC; whoever is not plainly let in reaches no backend."""
import hashlib
import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from Fixtures import documents as docs
from Fixtures.authorizer import Authorizer, allow, deny, option
from Fixtures.certificates import Certificate
from Fixtures.gateway import Peak, cli, serving
from Fixtures.http1 import Ended, request_bytes
from Fixtures.limits import short
from Fixtures.net import free_port, wait_until
from Fixtures.origin import Origin
from Fixtures.origin2 import Origin2

API = "gateway.networking.k8s.io/v1"


def asks(protocol="HTTP", ref=None, body=None, **more):
    """An ExternalAuth filter; `more`: fields of `http` or `grpc`."""
    spec = {"protocol": protocol, "backendRef": ref or docs.backend_ref("auth"), protocol.lower(): more}
    if body is not None:
        spec["forwardBody"] = {"maxSize": body}
    return {"type": "ExternalAuth", "externalAuth": spec}


def guarded(*filters, **more):
    return docs.rule(filters=[*(filters or (asks(),))], **more)


def by_token(peer):
    """Lets `authorization: ok` pass, with a user; denies others with a challenge."""
    while (request := peer.read_request()) is not None:
        if request.get("authorization") == "ok":
            peer.respond(200, [("X-User", "ann"), ("X-Group", "a"), ("X-Group", "b")], b"fine", method=request.method)
        else:
            peer.respond(401, [("WWW-Authenticate", "Basic realm=x"), ("Content-Type", "text/plain"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")],
                         b"who are you?", reason="Unauthorized", method=request.method)


def by_check(check):
    if check.headers.get("authorization") == "ok":
        return allow([("x-user", "ann")])
    return deny(401, [("www-authenticate", "Basic realm=x"), ("content-type", "text/plain")], b"who are you?")


OK = [("authorization", "ok")]


def counts(gateway):
    return tuple(int(gateway.total(f"ai_gateway_authorizations_{n}_total")) for n in ("allowed", "denied", "failed"))


def settled(gateway, seconds=5.0):
    """Nothing waits, and no buffer is in use but for what idle connections have."""
    wait_until(lambda: gateway.total("ai_gateway_active_authorizations") == 0, seconds, what=gateway.metrics_text)
    wait_until(lambda: gateway.total("ai_gateway_active_exchanges") == 0, seconds, what=gateway.metrics_text)
    wait_until(lambda: gateway.total("ai_gateway_held_bytes") == 0, seconds, what=gateway.metrics_text)


class Guard:
    """Who is asked, over either protocol, deciding by the same token."""

    def __init__(self, protocol):
        self.server = Origin(by_token, name="auth") if protocol == "HTTP" else Authorizer(by_check)
        self.protocol = protocol

    def __enter__(self):
        return self.server

    def __exit__(self, *_):
        self.server.stop()
        assert not self.server.errors

    @staticmethod
    def asked(server):
        return len(server.requests if isinstance(server, Origin) else server.checks)


# -- letting in and keeping out

@pytest.mark.parametrize("client", ["h1", "h2"])
@pytest.mark.parametrize("protocol", ["HTTP", "GRPC"])
def test_allowed_and_denied(protocol, client):
    """Who has the token gets the backend's answer, who has not gets the guard's, on one connection; each is asked about once."""
    with Guard(protocol) as auth, Origin() as origin, serving(
            {"origin": origin, "auth": auth}, rules=[guarded(asks(protocol))]) as gateway:
        with gateway.client() if client == "h1" else gateway.http2() as c:
            for n in range(10):
                answer = c.request("GET", f"/a?n={n}", OK)
                assert answer.status == 200 and answer.get("x-origin") == "origin", answer
                assert json.loads(answer.body)["target"] == f"/a?n={n}"
                answer = c.request("POST", "/b", [("authorization", "no")], b"x" * 1000)
                assert (answer.status, answer.body, answer.get("www-authenticate")) == (401, b"who are you?", "Basic realm=x"), answer
                assert answer.get("content-type") == "text/plain" and answer.get("x-gateway-error") == "authorization_denied"
                if protocol == "HTTP":
                    assert answer.all("set-cookie") == ["a=1", "b=2"]
        assert len(origin.requests) == 10 and all(r.get("x-user") == "ann" for r in origin.requests)
        assert Guard.asked(auth) == 20
        assert counts(gateway) == (10, 10, 0)
        assert gateway.total("ai_gateway_requests_total") == 20, "a question is no request"
        settled(gateway)
        wait_until(lambda: len(gateway.access()) == 20, 5)
        assert sum(line.get("reason") == "authorization_denied" for line in gateway.access()) == 10, gateway.access()[-1]
        if protocol == "HTTP":
            assert auth.connections <= 2 and origin.connections <= 2, "connections are kept"


@pytest.mark.parametrize("client", ["h1", "h2"])
def test_what_is_asked_over_http(client):
    """Method, host, path behind the prefix, query, authorization, and the fields that are named; no others, and none of the connection."""
    with Origin(by_token) as auth, Origin() as origin, serving({"origin": origin, "auth": auth}, rules=[
            guarded(asks(path="/check/", allowedHeaders=["X-Told", "cookie", "Connection", "Host"]), path="/a",),
            guarded(asks())], ) as gateway:
        fields = [("authorization", "ok"), ("X-TOLD" if client == "h1" else "x-told", "1"), ("x-other", "2"), ("cookie", "c=1")]
        if client == "h1":
            fields += [("Connection", "x-hop"), ("X-Hop", "1"), ("TE", "trailers")]
            assert gateway.get("/a/./b/../c%41?q=/../x", "PUT", fields, b"content").status == 200
        else:
            with gateway.http2() as c:
                assert c.request("PUT", "/a/./b/../c%41?q=/../x", fields, b"content").status == 200
        asked = auth.last()
        assert (asked.method, asked.target, asked.get("host"), asked.body) == ("PUT", "/check/a/cA?q=/../x", "test.example", b"")
        assert {n.lower(): v for n, v in asked.headers} == {
            "host": "test.example", "authorization": "ok", "x-told": "1", "cookie": "c=1", "content-length": "0"}
        assert origin.last().body == b"content" and origin.last().get("x-other") == "2"
        assert gateway.get("/x?y", "HEAD", OK).status == 200
        assert (auth.last().method, auth.last().target) == ("HEAD", "/x?y")
        gateway.get("/x", "OPTIONS", OK)
        assert auth.last().method == "OPTIONS"


@pytest.mark.parametrize("client", ["h1", "h2"])
def test_what_is_asked_over_grpc(client):
    """The attributes of the call; repeated fields are joined, texts are UTF-8 whatever the client sent."""
    with Authorizer(by_check) as auth, Origin() as origin, serving({"origin": origin, "auth": auth}, rules=[
            guarded(asks("GRPC", allowedHeaders=["x-told", "Authorization"]), path="/few"), guarded(asks("GRPC"))]) as gateway:
        fields = [("authorization", "ok"), ("x-told", "1"), ("x-told", "2"), ("cookie", "a=1"), ("cookie", "b=2"),
                  ("x-request-id", "id-1"), ("x-latin", "caf\xe9")]
        with gateway.client() if client == "h1" else gateway.http2() as c:
            assert c.request("POST", "/p%41?q=1", fields, b"abc").status == 200
            check = auth.last()
            assert (check.method, check.path, check.host, check.scheme, check.id) == ("POST", "/pA?q=1", "test.example", "http", "id-1")
            assert check.protocol == {"h1": "HTTP/1.1", "h2": "HTTP/2"}[client] and check.body == b"" == check.raw_body
            assert check.source[0] == "127.0.0.1" and check.source[1] > 0 and check.destination == ("127.0.0.1", gateway.port)
            assert abs(check.seconds - time.time()) < 5
            h = check.headers
            assert (h["x-told"], h["cookie"], h[":path"], h[":method"], h[":authority"]) == ("1,2", "a=1; b=2", "/pA?q=1", "POST", "test.example")
            assert h["x-latin"].startswith("caf") and "\xe9" not in h["x-latin"] or h["x-latin"] == "caf\xe9"
            assert not {"connection", "transfer-encoding", "te"} & set(h)
            if client == "h1":
                assert check.size == 3
            assert c.request("GET", "/few", fields).status == 200
            assert auth.last().headers == {"authorization": "ok", "x-told": "1,2"}
        assert origin.requests[0].body == b"abc"


def test_websocket():
    """An upgrade is authorized as any GET."""
    def upgrades(peer):
        peer.read_head()
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello")
        peer.wait_end()
    with Origin(by_token) as auth, Origin(upgrades) as origin, serving(
            {"origin": origin, "auth": auth}, rules=[guarded()]) as gateway:
        upgrade = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), ("Sec-WebSocket-Version", "13")]
        with gateway.client() as client:
            client.send(request_bytes("GET", "/", upgrade))
            assert client.read().status == 401 and not origin.requests
        with gateway.client() as client:
            client.send(request_bytes("GET", "/", upgrade + OK))
            assert client.read_head().status == 101
            wait_until(lambda: client.buffer == b"hello" or not client.fill(), 5)
        assert auth.last().method == "GET" and auth.last().get("upgrade") is None


# -- the answer's fields

def test_fields_of_the_answer_over_http():
    """With a list: the named ones, and the client's own go whether the answer has them or not. Without: all that may pass."""
    def says(peer):
        while (request := peer.read_request()) is not None:
            peer.respond(200, [("X-User", "ann"), ("X-Group", "a"), ("X-Group", "b"), ("X-Extra", "e"), ("Host", "evil.example"),
                               ("Content-Type", "text/evil"), ("Content-Language", "xx")], b"fine", method=request.method)
    with Origin(says) as auth, Origin() as origin, serving({"origin": origin, "auth": auth}, rules=[
            guarded(asks(allowedResponseHeaders=["x-user", "X-Group", "x-absent", "host", "content-length"]), path="/named"), guarded()]) as gateway:
        forged = [("X-User", "root"), ("x-user", "root2"), ("X-Group", "wheel"), ("X-Absent", "forged"), ("X-Extra", "own"), ("Content-Type", "text/plain")]
        with gateway.client() as client:
            for _ in range(2):
                assert client.request("POST", "/named", forged, b"12345").status == 200
                got = origin.last()
                assert got.all("x-user") == ["ann"] and got.all("x-group") == ["a", "b"] and got.all("x-absent") == []
                assert got.all("x-extra") == ["own"] and got.get("host") == "test.example" and got.body == b"12345"
                assert got.all("content-type") == ["text/plain"]
                assert client.request("POST", "/all", forged, b"12345").status == 200
                got = origin.last()
                assert got.all("x-user") == ["ann"] and got.all("x-group") == ["a", "b"] and got.all("x-absent") == ["forged"]
                assert got.all("x-extra") == ["e"] and got.get("host") == "test.example" and got.body == b"12345"
                assert got.all("content-type") == ["text/plain"] and got.get("content-language") is None


@pytest.mark.parametrize("client", ["h1", "h2"])
def test_fields_of_the_answer_over_grpc(client):
    """Set, appended, completed and removed in the request; added to the backend's answer."""
    def decide(check):
        return allow([option("x-set", "new"), option("x-add", "new", append=True), option("x-over", "new", append=False),
                      option("x-complete", "new", action=1), option("x-fresh", "new", action=1), option("x-replace", "new", action=3),
                      option("x-nothing", "new", action=3), option("host", "evil.example"), option("content-length", "99"), option("bad name", "x"),
                      option("x-smuggle", "a\r\nx-evil: 1")],
                     removed=["x-gone", "host", "content-length"],
                     answer=[option("x-answer", "1"), option("x-answer", "2"), option("x-origin", "guard", append=False)])
    with Authorizer(decide) as auth, Origin() as origin, serving(
            {"origin": origin, "auth": auth}, rules=[guarded(asks("GRPC"), path="/g"), docs.rule(path="/")]) as gateway:
        fields = [(n, "old") for n in ("x-set", "x-add", "x-over", "x-complete", "x-replace", "x-gone")]
        with gateway.client() if client == "h1" else gateway.http2() as c:
            for _ in range(3):
                answer = c.request("POST", "/g", fields, b"12345")
                assert answer.status == 200 and answer.all("x-answer") == ["1", "2"] and answer.all("x-origin") == ["guard"], answer
                got = origin.last()
                assert {n: got.all(n) for n in ("x-set", "x-add", "x-over", "x-complete", "x-fresh", "x-replace", "x-nothing", "x-gone")} == {
                    "x-set": ["new"], "x-add": ["old", "new"], "x-over": ["new"], "x-complete": ["old"], "x-fresh": ["new"],
                    "x-replace": ["new"], "x-nothing": [], "x-gone": []}
                assert got.get("host") == "test.example" and got.body == b"12345" and "x-evil" not in got.names()
                # The next request of the connection has another rule, and nothing of this one's.
                answer = c.request("GET", "/other")
                assert answer.status == 200 and answer.all("x-answer") == [] and answer.all("x-origin") == ["origin"]


def test_filters_come_after():
    """The guard sees the request as the client sent it; filters edit what it let in, and a redirect needs its leave."""
    edit = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "authorization", "value": "no"}, {"name": "x-user", "value": "filter"}]}}
    rewrite = {"type": "URLRewrite", "urlRewrite": {"hostname": "new.example", "path": {"type": "ReplaceFullPath", "replaceFullPath": "/new"}}}
    redirect = {"type": "RequestRedirect", "requestRedirect": {"hostname": "there.example"}}
    with Origin(by_token) as auth, Origin() as origin, serving({"origin": origin, "auth": auth}, rules=[
            guarded(edit, rewrite, asks(), path="/a"), guarded(redirect, asks(), path="/r", backends=())]) as gateway:
        assert gateway.get("/a?q", headers=OK).status == 200
        assert (auth.last().target, auth.last().get("host")) == ("/a?q", "test.example")
        assert (origin.last().target, origin.last().get("host"), origin.last().get("x-user")) == ("/new?q", "new.example", "filter")
        assert gateway.get("/r").status == 401
        answer = gateway.get("/r", headers=OK)
        assert answer.status == 302 and answer.get("location") == "http://there.example:%d/r" % gateway.port


def test_cors():
    """A preflight has no credentials and is answered; a denial may be read by the page."""
    cors = {"type": "CORS", "cors": {"allowOrigins": ["https://page.example"], "allowMethods": ["PUT"]}}
    with Origin(by_token) as auth, Origin() as origin, serving(
            {"origin": origin, "auth": auth}, rules=[guarded(cors, asks())]) as gateway:
        page = [("Origin", "https://page.example")]
        answer = gateway.get("/", "OPTIONS", page + [("Access-Control-Request-Method", "PUT")])
        assert answer.status == 204 and not auth.requests
        answer = gateway.get("/", headers=page)
        assert answer.status == 401 and answer.get("access-control-allow-origin") == "https://page.example"
        answer = gateway.get("/", headers=page + OK)
        assert answer.status == 200 and answer.get("access-control-allow-origin") == "https://page.example"


# -- denials

@pytest.mark.parametrize("status", [201, 204, 301, 302, 304, 400, 403, 404, 429])
def test_any_other_answer_is_a_denial(status):
    def says(peer):
        while (request := peer.read_request()) is not None:
            peer.send(b"HTTP/1.1 102 Processing\r\n\r\n")
            peer.respond(status, [("Location", "https://login.example/?a=b"), ("X-Why", "no")], b"" if status in (204, 304) else b"because", method=request.method)
    with Origin(says) as auth, Origin() as origin, serving({"origin": origin, "auth": auth}, rules=[guarded()]) as gateway:
        with gateway.client() as client:
            for method in ("GET", "HEAD", "GET"):
                answer = client.request(method, "/")
                assert (answer.status, answer.get("location"), answer.get("x-why")) == (status, "https://login.example/?a=b", "no")
                assert answer.body == (b"" if method == "HEAD" or status in (204, 304) else b"because")
        assert not origin.requests and counts(gateway) == (0, 3, 0)


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_content_of_denials(framing):
    """Up to 64 KiB goes to the client however it was framed; more than that is left out, and the rest of the answer stays."""
    def says(peer):
        request = peer.read_request()
        size = int(request.target.rpartition("=")[2])
        head = [("X-Why", "no"), ("Content-Type", "text/why")]
        body = b"y" * size
        if framing == "length":
            peer.respond(403, head, body)
        elif framing == "chunked":
            peer.head(403, head + [("Transfer-Encoding", "chunked")])
            for at in range(0, size, 10_000):
                peer.chunk(body[at:at + 10_000])
            peer.end_chunks()
        else:
            peer.head(403, head + [("Connection", "close")])
            peer.send(body)
    with Origin(says) as auth, Origin() as origin, serving({"origin": origin, "auth": auth}, rules=[guarded()]) as gateway:
        for size, isKept in ((1, True), (65_536, True), (65_537, False), (1 << 20, False)):
            answer = gateway.get(f"/?size={size}")
            assert answer.status == 403 and answer.get("x-why") == "no"
            assert answer.body == (b"y" * size if isKept else b"")
            assert answer.get("content-type") == ("text/why" if isKept else None)
        assert not origin.requests
        settled(gateway)


@pytest.mark.parametrize("verdict, status, body", [
    (deny(), 403, b""), (deny(429, body=b"slow"), 429, b"slow"), (deny(302, [("location", "/login")]), 302, b""),
    (b"\x0a\x02\x08\x10", 403, b"")], ids=["default", "status", "redirect", "bare"])
def test_denials_over_grpc(verdict, status, body):
    with Authorizer(lambda check: verdict) as auth, Origin() as origin, serving(
            {"origin": origin, "auth": auth}, rules=[guarded(asks("GRPC"))]) as gateway:
        answer = gateway.get("/")
        assert (answer.status, answer.body) == (status, body) and counts(gateway) == (0, 1, 0)
        assert answer.get("location") == ("/login" if status == 302 else None)
        assert not origin.requests


# -- nobody answers, or not as one should

def closes(peer):
    peer.read_request()


def closes_at_once(peer):
    pass


def resets(peer):
    peer.read_request()
    peer.reset()


def garbage(peer):
    peer.read_request()
    peer.send(b"\x00\x01garbage\r\n\r\n" * 100)
    peer.wait_end()


def half(peer):
    peer.read_request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")


def half_head(peer):
    peer.read_request()
    peer.send(b"HTTP/1.1 200 OK\r\nX-Us")


def half_denial(peer):
    peer.read_request()
    peer.send(b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")


def switches(peer):
    peer.read_request()
    peer.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n")


def broken(peer):
    while (request := peer.read_request()) is not None:
        peer.respond(500, [("X-Secret", "1")], b"internal trouble", method=request.method)


def two_lengths(peer):
    peer.read_request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab")


@pytest.mark.parametrize("script", [closes, closes_at_once, resets, garbage, half, half_head, half_denial, switches, broken, two_lengths],
                         ids=lambda s: s.__name__)
@pytest.mark.parametrize("client", ["h1", "h2"])
def test_bad_answers_let_nobody_in(script, client):
    with Origin(script) as auth, Origin() as origin, serving(
            {"origin": origin, "auth": auth}, rules=[guarded(asks(), path="/g"), docs.rule()]) as gateway:
        with gateway.client() if client == "h1" else gateway.http2() as c:
            for _ in range(3):
                answer = c.request("GET", "/g", OK)
                assert (answer.status, answer.get("x-gateway-error")) == (503, "authorization_failed"), answer
                assert b"not authorized" in answer.body and answer.get("x-secret") is None
                assert c.request("GET", "/").status == 200, "the connection is fit for others"
        assert len(origin.requests) == 3 and counts(gateway) == (0, 0, 3)
        settled(gateway)


@pytest.mark.parametrize("verdict", [b"\xff\xff\xff", allow() + b"\x12\x00", deny(99), deny(700), allow([b"\xff"]), b"\x0a\x05\x08"],
                         ids=["garbage", "both", "status 99", "status 700", "option", "cut"])
def test_bad_messages_let_nobody_in(verdict):
    with Authorizer(lambda check: verdict) as auth, Origin() as origin, serving(
            {"origin": origin, "auth": auth}, rules=[guarded(asks("GRPC"))]) as gateway:
        answer = gateway.get("/")
        assert (answer.status, answer.get("x-gateway-error")) == (503, "authorization_failed"), answer
        assert not origin.requests and counts(gateway) == (0, 0, 1)


def trailers_only(stream):
    stream.read_all()
    stream.head(200, [("content-type", "application/grpc"), ("grpc-status", "7")], end=True)


def message_and_error(stream):
    """A message that allows, from a call that failed."""
    stream.read_all()
    stream.head(200, [("content-type", "application/grpc")])
    stream.send(b"\x00" + len(allow()).to_bytes(4, "big") + allow())
    stream.send_trailers([("grpc-status", "13")])


def no_trailers(stream):
    stream.read_all()
    stream.head(200, [("content-type", "application/grpc")])
    stream.send(b"\x00" + len(allow()).to_bytes(4, "big") + allow(), end=True)


def two_messages(stream):
    stream.read_all()
    stream.head(200, [("content-type", "application/grpc")])
    stream.send((b"\x00" + len(allow()).to_bytes(4, "big") + allow()) * 2)
    stream.send_trailers([("grpc-status", "0")])


def not_grpc(stream):
    stream.read_all()
    stream.respond(404, [], b"nothing here")


def resets_stream(stream):
    stream.read_all()
    stream.reset()


@pytest.mark.parametrize("script", [trailers_only, message_and_error, no_trailers, two_messages, not_grpc, resets_stream], ids=lambda s: s.__name__)
def test_bad_calls_let_nobody_in(script):
    with Origin2(script) as auth, Origin() as origin, serving(
            {"origin": origin, "auth": auth}, rules=[guarded(asks("GRPC"))]) as gateway:
        for _ in range(2):
            answer = gateway.get("/")
            assert (answer.status, answer.get("x-gateway-error")) == (503, "authorization_failed"), answer
        assert not origin.requests
        settled(gateway)


def test_nobody_there():
    """A port that nobody listens on, and a guard that dies: 503 and the reason; once it is back requests pass again."""
    port = free_port()
    with Origin() as origin, serving({"origin": origin}, rules=[guarded()], extra=[docs.backend([("127.0.0.1", port)], "auth")]) as gateway:
        with gateway.client() as client:
            answer = client.request("GET", "/", OK)
            assert (answer.status, answer.get("x-gateway-error"), answer.get("retry-after")) == (503, "authorization_failed", "1")
            for _ in range(2):
                with Origin(by_token, port=port):
                    wait_until(lambda: client.request("GET", "/", OK).status == 200, 10)
                assert client.request("GET", "/", OK).status == 503
        settled(gateway)


def test_a_connection_that_died_is_no_failure():
    """One that served before and ends as it is used again is replaced by another."""
    def one_each(peer):
        request = peer.read_request()
        peer.respond(200, method=request.method)
        peer.read_request()
    with Origin(one_each) as auth, Origin() as origin, serving({"origin": origin, "auth": auth}, rules=[guarded()], workers=1) as gateway:
        with gateway.client() as client:
            for _ in range(6):
                assert client.request("POST", "/", OK, b"x").status == 200
        assert counts(gateway) == (6, 0, 0)


@pytest.mark.parametrize("client", ["h1", "h2"])
@pytest.mark.parametrize("protocol", ["HTTP", "GRPC"])
def test_silence_ends(protocol, client):
    """`timeouts.authorization`, and before it the rule's own `timeouts.request`."""
    go = threading.Event()

    def silent(peer):
        peer.read_request()
        peer.wait_end()

    def waits(check):
        go.wait(20)
        return allow()
    auth = Origin(silent) if protocol == "HTTP" else Authorizer(waits)
    try:
        with Origin() as origin, serving({"origin": origin, "auth": auth}, timeouts=short(authorization=400), rules=[
                guarded(asks(protocol), path="/rule", timeouts={"request": "150ms"}), guarded(asks(protocol))]) as gateway:
            with gateway.client() if client == "h1" else gateway.http2() as c:
                began = time.monotonic()
                answer = c.request("GET", "/", OK)
                assert (answer.status, answer.get("x-gateway-error")) == (503, "authorization_failed")
                assert 0.35 < time.monotonic() - began < 2
                began = time.monotonic()
                answer = c.request("GET", "/rule", OK)
                assert (answer.status, answer.get("x-gateway-error")) == (504, "request_timeout")
                assert 0.1 < time.monotonic() - began < 0.39
            assert not origin.requests
            settled(gateway)
    finally:
        go.set()
        auth.stop()


def test_the_time_of_the_question_counts():
    """`timeouts.request` is of the whole, the question included."""
    def slow(peer):
        while peer.read_request() is not None:
            time.sleep(0.3)
            peer.respond(200)

    def slower(peer):
        while peer.read_request() is not None:
            time.sleep(0.4)
            peer.respond(200)
    with Origin(slow) as auth, Origin(slower) as origin, serving(
            {"origin": origin, "auth": auth}, rules=[guarded(timeouts={"request": "500ms"})]) as gateway:
        began = time.monotonic()
        assert gateway.get("/").status == 504
        assert 0.45 < time.monotonic() - began < 0.65 and len(origin.requests) == 1


# -- clients that leave, and those in a hurry

@pytest.mark.parametrize("client", ["h1", "reset", "h2"])
def test_a_client_that_leaves_cancels_the_question(client):
    seen = threading.Event()
    gone = []

    def silent(peer):
        peer.read_request()
        seen.set()
        gone.append(peer.wait_end(5))
    with Origin(silent) as auth, Origin() as origin, serving({"origin": origin, "auth": auth}, rules=[guarded()]) as gateway:
        if client == "h2":
            with gateway.http2() as c:
                stream = c.open("GET", "/")
                assert seen.wait(5)
                assert "authorizing" in gateway.admin("/connections").body.decode()
                left = time.monotonic()
                c.reset(stream)
                wait_until(lambda: gone, 5)
        else:
            c = gateway.client()
            c.send(request_bytes("GET", "/"))
            assert seen.wait(5)
            left = time.monotonic()
            c.reset() if client == "reset" else c.close()
            wait_until(lambda: gone, 5)
        assert gone[0] is not None and gone[0] - left < 0.5
        settled(gateway)
        assert not origin.requests and counts(gateway) == (0, 0, 0)
        assert gateway.total("ai_gateway_client_cancels_total") == 1


def test_a_call_is_cancelled():
    with Authorizer(lambda check: check.ended.wait(10) and allow()) as auth, Origin() as origin, serving(
            {"origin": origin, "auth": auth}, rules=[guarded(asks("GRPC"))]) as gateway:
        client = gateway.client()
        client.send(request_bytes("GET", "/"))
        wait_until(lambda: auth.checks, 5)
        left = time.monotonic()
        client.close()
        wait_until(lambda: auth.last().ended_at, 5)
        assert auth.last().ended_at - left < 0.5
        settled(gateway)
        assert not origin.requests


def test_pipelined_requests():
    """Answered in their order, each by its own verdict, also where the client ends its sending behind them."""
    with Origin(by_token) as auth, Origin() as origin, serving(
            {"origin": origin, "auth": auth}, rules=[guarded(asks(), path="/g"), docs.rule()]) as gateway:
        wanted = ["/g?0", "/g?1", "/2", "/g?3", "/g?4", "/5"]
        data = b"".join(request_bytes("POST", t, OK if n % 2 else [], b"content %d" % n) for n, t in enumerate(wanted))
        with gateway.client() as client:
            client.send(data)
            got = [client.read("POST") for _ in wanted]
            assert [a.status for a in got] == [401, 200, 200, 200, 401, 200]
            assert [json.loads(a.body)["target"] for a in got if a.status == 200] == ["/g?1", "/2", "/g?3", "/5"]
        with gateway.client() as client:
            client.send(request_bytes("GET", "/g?1", OK) + request_bytes("GET", "/g?2", OK))
            client.half_close()
            assert json.loads(client.read().body)["target"] == "/g?1"
        assert [r.body for r in origin.requests][:4] == [b"content 1", b"content 2", b"content 3", b"content 5"]


def test_a_whole_verdict_is_for_one_request():
    """An allowed request is followed by one that is not: nothing of the first one's leave is left."""
    with Origin(by_token) as auth, Origin() as origin, serving({"origin": origin, "auth": auth}, rules=[guarded()]) as gateway:
        with gateway.client() as client:
            for n in range(50):
                assert client.request("GET", "/", OK if n % 2 else []).status == (200 if n % 2 else 401)
        assert len(auth.requests) == 50


def test_many_at_once():
    """200 in parallel over both versions, each with its own verdict and its own user."""
    def by_user(peer):
        while (request := peer.read_request()) is not None:
            time.sleep(0.02)
            user = request.get("authorization")
            peer.respond(200 if int(user) % 3 else 403, [("X-User", user)], user.encode())
    with Origin(by_user) as auth, Origin() as origin, serving({"origin": origin, "auth": auth}, rules=[guarded()]) as gateway:
        def one(n):
            with gateway.client() if n % 2 else gateway.http2() as c:
                out = []
                for at in range(5):
                    answer = c.request("POST", "/", [("authorization", str(n))], b"%d" % n * 100)
                    out.append((answer.status, dict(json.loads(answer.body)["headers"]).get("x-user", dict(json.loads(answer.body)["headers"]).get("X-User"))
                                if answer.status == 200 else answer.body.decode()))
                return out
        with ThreadPoolExecutor(50) as pool:
            for n, got in enumerate(pool.map(one, range(200))):
                assert got == [(200 if n % 3 else 403, str(n))] * 5, (n, got)
        settled(gateway)
        assert sum(counts(gateway)) == 1000 and counts(gateway)[2] == 0


# -- content

def test_content_is_not_read_before():
    """Without forwardBody nothing of 50 MB is read before the leave; then it arrives whole, in bounded memory."""
    go = threading.Event()

    def waits(peer):
        while (request := peer.read_request()) is not None:
            go.wait(20)
            peer.respond(200, method=request.method)
    size = 50 << 20
    body = os.urandom(1 << 20) * 50
    with Origin(waits) as auth, Origin() as origin, serving({"origin": origin, "auth": auth}, rules=[guarded()]) as gateway:
        with gateway.client(timeout=60) as client:
            peak = Peak(gateway)
            client.send(request_bytes("POST", "/", [("Content-Length", str(size))]))
            wait_until(lambda: auth.requests, 5)
            sent = [0]

            def send():
                for at in range(0, size, 1 << 18):
                    client.send(body[at:at + (1 << 18)])
                    sent[0] += 1 << 18
            thread = threading.Thread(target=send)
            thread.start()
            time.sleep(0.7)
            assert sent[0] < 12 << 20, "the gateway reads no content while it waits"
            assert not origin.requests
            go.set()
            thread.join(60)
            answer = client.read("POST")
            assert json.loads(answer.body)["length"] == size
            assert json.loads(answer.body)["sha256"] == hashlib.sha256(body).hexdigest()
            assert peak.stop() < 24 << 20


@pytest.mark.parametrize("protocol", ["HTTP", "GRPC"])
@pytest.mark.parametrize("client", ["h1", "chunked", "h2"])
def test_content_is_forwarded(protocol, client):
    """Up to the limit it is told and goes on byte for byte; a byte more is 413, and nobody is asked."""
    auth = Origin(by_token) if protocol == "HTTP" else Authorizer(by_check)
    with auth, Origin() as origin, serving({"origin": origin, "auth": auth}, rules=[guarded(asks(protocol, body=10_000))]) as gateway:
        def told():
            return auth.last().body if protocol == "HTTP" else auth.last().body or auth.last().raw_body

        def send(body):
            if client == "h2":
                with gateway.http2() as c:
                    return c.request("POST", "/", [("authorization", "ok")], body)
            with gateway.client() as c:
                chunks = [body[at:at + 777] for at in range(0, len(body), 777)]
                c.send(request_bytes("POST", "/", OK, body, chunked=chunks if client == "chunked" else False))
                return c.read("POST")
        for body in (b"", b"x", b"text of 1,000 bytes " * 50, os.urandom(9_999), b"y" * 10_000):
            before = Guard.asked(auth)
            answer = send(body)
            assert answer.status == 200, (len(body), answer)
            assert Guard.asked(auth) == before + 1 and told() == body
            if protocol == "HTTP":
                assert auth.last().get("content-length") == str(len(body))
            assert origin.last().body == body
            if client == "chunked" and body:
                assert origin.last().get("transfer-encoding") == "chunked"
        before = Guard.asked(auth), len(origin.requests)
        answer = send(b"z" * 10_001)
        assert (answer.status, answer.get("x-gateway-error")) == (413, "content_too_large")
        assert before == (Guard.asked(auth), len(origin.requests))
        settled(gateway)


def test_content_that_comes_in_pieces():
    """Trickled content is waited for; one that stops is 408; a client that leaves in the middle leaves nothing behind."""
    with Origin(by_token) as auth, Origin() as origin, serving({"origin": origin, "auth": auth}, timeouts=short(requestBodyIdle=600), rules=[
            guarded(asks(body=60_000))]) as gateway:
        body = os.urandom(50_000)
        with gateway.client() as client:
            for _ in range(2):
                data = request_bytes("POST", "/", OK, body)
                for at in range(0, len(data), 9_000):
                    client.send(data[at:at + 9_000])
                    time.sleep(0.02)
                assert client.read("POST").status == 200
                assert auth.last().body == body == origin.last().body
        asked = len(auth.requests)
        with gateway.client() as client:
            client.send(request_bytes("POST", "/", OK, body)[:20_000])
            assert client.read("POST").status == 408
        with gateway.client() as client:
            client.send(request_bytes("POST", "/", OK, body)[:20_000])
            time.sleep(0.2)
        settled(gateway)
        assert len(auth.requests) == asked


@pytest.mark.parametrize("forwards", [False, True])
def test_expect_100(forwards):
    """Who waits for 100 gets it when the content is wanted: at once where it is told, else after the leave, and never where it is denied."""
    with Origin(by_token) as auth, Origin() as origin, serving(
            {"origin": origin, "auth": auth}, rules=[guarded(asks(body=1000) if forwards else asks())]) as gateway:
        waits = [("Expect", "100-continue"), ("Content-Length", "5")]
        with gateway.client() as client:
            client.send(request_bytes("POST", "/", OK + waits))
            assert client.read_head().status == 100
            assert len(auth.requests) == (0 if forwards else 1)
            client.send(b"12345")
            assert client.read("POST").status == 200
            assert origin.last().body == b"12345" and origin.last().get("expect") is None and auth.last().get("expect") is None
        with gateway.client() as client:
            client.send(request_bytes("POST", "/", waits))
            head = client.read_head()
            if forwards:
                assert head.status == 100
                client.send(b"12345")
                head = client.read("POST")
            assert head.status == 401
        assert len(origin.requests) == 1


# -- with what else there is

def test_retries_ask_once():
    fails = []

    def first_fails(peer):
        while (request := peer.read_request()) is not None:
            fails.append(1)
            peer.respond(503 if len(fails) == 1 else 200, method=request.method)
    with Origin(by_token) as auth, Origin(first_fails) as origin, serving({"origin": origin, "auth": auth}, rules=[
            guarded(retry={"codes": [503], "attempts": 2, "backoff": "1ms"})]) as gateway:
        assert gateway.get("/", "POST", OK, b"again").status == 200
        assert len(fails) == 2 and len(auth.requests) == 1 and [r.body for r in origin.requests] == [b"again"] * 2
        assert all(r.get("x-user") == "ann" for r in origin.requests)


def test_mirrors_get_what_was_let_in():
    copy_filter = {"type": "RequestMirror", "requestMirror": {"backendRef": docs.backend_ref("copy")}}
    with Origin(by_token) as auth, Origin() as origin, Origin() as copy, serving(
            {"origin": origin, "auth": auth, "copy": copy}, rules=[guarded(copy_filter, asks())]) as gateway:
        assert gateway.get("/", "POST", body=b"no").status == 401
        assert gateway.get("/", "POST", OK, b"yes").status == 200
        wait_until(lambda: len(copy.requests) == 1, 5)
        assert (copy.last().body, copy.last().get("x-user")) == (b"yes", "ann") and len(origin.requests) == 1


def test_over_tls_by_policy(authority):
    """The guard's Service has a BackendTLSPolicy: it is asked over TLS, and one with another name is not trusted."""
    names = []
    lan = Certificate(names=["guard.lan"], issuer=authority)
    context = lan.server_context(None)
    context.sni_callback = lambda s, name, c: names.append(name)

    def policy(hostname):
        return {"apiVersion": API, "kind": "BackendTLSPolicy", "metadata": {"name": "policy", "namespace": "default"},
                "spec": {"targetRefs": [{"group": "", "kind": "Service", "name": "auth"}],
                         "validation": {"caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "ca"}], "hostname": hostname}}}
    with Origin(by_token, tls=context) as auth, Origin() as origin, serving(
            origin, rules=[guarded(asks(ref={"name": "auth", "port": 443}))],
            extra=[*docs.service("auth", [("127.0.0.1", auth.port)], port=443), authority.config_map("ca"), policy("guard.lan")]) as gateway:
        with gateway.client() as client:
            assert client.request("GET", "/", OK).status == 200
            assert client.request("GET", "/").status == 401
        assert set(names) == {"guard.lan"}
        gateway.write("main.yaml", gateway.content[:-1] + [policy("other.lan")])
        wait_until(lambda: gateway.get("/", headers=OK).status == 503, 10)
        assert gateway.get("/", headers=OK).get("x-gateway-error") == "authorization_failed"


def test_new_documents_meanwhile():
    """A question that is under way holds where the rule still asks it; where it asks another, that is asked; where it asks none, the
    request goes on by the new documents."""
    go, begun = threading.Event(), threading.Semaphore(0)

    def waits(peer):
        while (request := peer.read_request()) is not None:
            begun.release()
            go.wait(10)
            peer.respond(200 if request.get("authorization") == "ok" else 403, [("X-User", "first")], method=request.method)
    with Origin(waits) as auth, Origin(by_token) as other, Origin() as origin, serving(
            {"origin": origin, "auth": auth, "other": other}, rules=[guarded()]) as gateway:
        def changed(rules):
            content = [docs.route(rules) if d["kind"] == "HTTPRoute" else d for d in gateway.content]
            before = gateway.object("HTTPRoute", "route")["metadata"]["generation"]
            gateway.write("main.yaml", content)
            wait_until(lambda: gateway.object("HTTPRoute", "route")["metadata"]["generation"] > before, 10)
            time.sleep(0.2)                              # it was told before the workers took it

        def during(rules, headers):
            go.clear()
            with gateway.client() as client:
                client.send(request_bytes("GET", "/", headers))
                assert begun.acquire(timeout=5)
                changed(rules)
                go.set()
                return client.read()
        extra = {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": [{"name": "x-new", "value": "1"}]}}
        answer = during([guarded(asks(), extra)], OK)
        assert answer.status == 200 and answer.get("x-new") == "1" and origin.last().get("x-user") == "first"
        assert len(auth.requests) == 1
        answer = during([guarded(asks(ref=docs.backend_ref("other")))], OK)
        assert answer.status == 200 and origin.last().get("x-user") == "ann" and len(other.requests) == 1
        gateway.write("main.yaml", gateway.content)
        wait_until(lambda: gateway.get("/").status == 403, 10)
        begun = threading.Semaphore(0)
        before = len(origin.requests)
        answer = during([docs.rule()], [])
        assert answer.status == 200 and len(origin.requests) == before + 1, "nobody is asked any more"
        settled(gateway)


def test_a_leave_that_nobody_needed_is_no_other_requests():
    """Documents take the filter away while it is asked, and bring it back: what was answered then lets no later request in."""
    go, begun = threading.Event(), threading.Event()

    def waits(peer):
        while (request := peer.read_request()) is not None:
            begun.set()
            go.wait(10)
            peer.respond(200 if request.get("authorization") == "ok" else 403, method=request.method)
    with Origin(waits) as auth, Origin() as origin, serving({"origin": origin, "auth": auth}, rules=[guarded()], workers=1) as gateway:
        def changed(rules):
            before = gateway.object("HTTPRoute", "route")["metadata"]["generation"]
            gateway.write("main.yaml", [docs.route(rules) if d["kind"] == "HTTPRoute" else d for d in gateway.content])
            wait_until(lambda: gateway.object("HTTPRoute", "route")["metadata"]["generation"] > before, 10)
            time.sleep(0.2)
        with gateway.client() as client:
            client.send(request_bytes("GET", "/let-in", OK))
            assert begun.wait(5)
            changed([docs.rule()])
            go.set()
            assert client.read().status == 200 and len(auth.requests) == 1
            changed([guarded()])
            assert client.request("GET", "/not-let-in").status == 403
            assert client.request("GET", "/let-in", OK).status == 200
        assert [r.target for r in origin.requests] == ["/let-in", "/let-in"] and len(auth.requests) == 3
        settled(gateway)


def test_drain_waits_for_leave():
    go = threading.Event()

    def waits(peer):
        while (request := peer.read_request()) is not None:
            go.wait(10)
            peer.respond(200, method=request.method)
    with Origin(waits) as auth, Origin() as origin, serving(
            {"origin": origin, "auth": auth}, rules=[guarded()], flags=["--drain-timeout", "5s"]) as gateway:
        with gateway.client() as client:
            client.send(request_bytes("GET", "/", OK))
            wait_until(lambda: auth.requests, 5)
            gateway.signal()
            time.sleep(0.5)
            go.set()
            assert client.read().status == 200
        assert gateway.wait(10) == 0


# -- documents

def test_references():
    """A reference that leads nowhere: ResolvedRefs says why, and requests of the rule are 500; one without endpoints: 503. Others go on."""
    rules = [guarded(asks(ref={"name": "gone", "port": 80}), path="/gone"), guarded(asks(ref={"name": "auth", "namespace": "other", "port": 80}), path="/foreign"),
             guarded(asks(ref={"name": "empty", "port": 80}), path="/empty"), docs.rule()]
    grant = {"apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "ReferenceGrant", "metadata": {"name": "grant", "namespace": "other"},
             "spec": {"from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "default"}], "to": [{"group": "", "kind": "Service"}]}}
    with Origin(by_token) as auth, Origin() as origin, serving(origin, rules=rules, extra=[
            *docs.service("auth", [("127.0.0.1", auth.port)], namespace="other"), *docs.service("empty", [])]) as gateway:
        def condition(kind):
            parent = gateway.object("HTTPRoute", "route")["status"]["parents"][0]
            return next(c for c in parent["conditions"] if c["type"] == kind)
        assert gateway.get("/", headers=OK).status == 200
        for path, status in (("/gone", 500), ("/foreign", 500), ("/empty", 503)):
            assert gateway.get(path, headers=OK).status == status, path
        assert condition("Accepted")["status"] == "True" and condition("ResolvedRefs")["status"] == "False"
        assert condition("ResolvedRefs")["reason"] == "BackendNotFound"
        assert "spec.rules[0].filters[0].externalAuth.backendRef" in condition("ResolvedRefs")["message"]
        assert "spec.rules[1].filters[0].externalAuth.backendRef" in condition("ResolvedRefs")["message"]
        gateway.write("grant.yaml", [grant])
        wait_until(lambda: gateway.get("/foreign", headers=OK).status == 200, 10)
        assert gateway.get("/foreign").status == 401
        gateway.remove("grant.yaml")
        wait_until(lambda: gateway.get("/foreign", headers=OK).status == 500, 10)
        assert len(origin.requests) >= 2 and all(r.target in ("/", "/foreign") for r in origin.requests)


@pytest.mark.parametrize("filters, message", [
    ([asks(), asks()], "a second ExternalAuth"),
    ([{"type": "ExternalAuth", "externalAuth": {"protocol": "HTTP", "backendRef": {"name": "a", "port": 80}}}], "externalAuth.http: is required with protocol HTTP"),
    ([{"type": "ExternalAuth", "externalAuth": {"protocol": "GRPC", "grpc": {}, "http": {}, "backendRef": {"name": "a", "port": 80}}}],
     "externalAuth.http: is not allowed with protocol GRPC"),
    ([asks(body=-1)], "externalAuth.forwardBody.maxSize: -1 is not within"),
    ([asks(path="/a b")], "externalAuth.http.path"),
    ([asks(allowedHeaders=["a b"])], "externalAuth.http.allowedHeaders[0]"),
    ([{"type": "ExternalAuth", "externalAuth": {"protocol": "SOAP", "backendRef": {"name": "a", "port": 80}}}], "\"SOAP\" is not a protocol of authorization"),
], ids=["twice", "no http", "both", "size", "path", "header", "protocol"])
def test_check_refuses(filters, message, tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text(docs.dump([docs.gateway([docs.listener(8080)]), docs.backend([("127.0.0.1", 1)]), docs.backend([("127.0.0.1", 1)], "auth"),
                               docs.route([docs.rule(filters=filters)])]))
    code, out, err = cli("check", file)
    assert code != 0 and message in out + err, out + err


def test_not_at_a_backend(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text(docs.dump([docs.gateway([docs.listener(8080)]), docs.backend([("127.0.0.1", 1)]), docs.backend([("127.0.0.1", 1)], "auth"),
                               docs.route([docs.rule([docs.backend_ref("origin", filters=[asks()])])])]))
    code, out, err = cli("check", file)
    assert code != 0 and "spec.rules[0].backendRefs[0].filters[0].type: ExternalAuth stands at a rule" in out + err, out + err


def test_explain_and_features(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text(docs.dump([docs.gateway([docs.listener(8080)]), docs.backend([("127.0.0.1", 1)]), docs.backend([("127.0.0.1", 1)], "auth"),
                               docs.route([guarded(asks(path="/check", body=100), path="/h"), guarded(asks("GRPC"))])]))
    code, out, err = cli("explain", file, "http://127.0.0.1:8080/h")
    assert code == 0 and "first asks default/auth at /check whether the request may pass, with up to 100 bytes of content" in out, out + err
    code, out, err = cli("explain", file, "http://127.0.0.1:8080/g")
    assert code == 0 and "first asks default/auth over ext_authz whether the request may pass" in out, out + err
