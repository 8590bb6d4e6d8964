"""RequestMirror: copies of requests go to other backends; whatever those do, the request does not notice, and nothing is left behind."""
import hashlib
import json
import math
import os
import signal
import threading
import time

import pytest

from Fixtures import documents as docs
from Fixtures.gateway import cli, serving
from Fixtures.http1 import request_bytes
from Fixtures.limits import short
from Fixtures.net import free_port, wait_until
from Fixtures.origin import Origin
from Fixtures.origin2 import Origin2

BODY = bytes(os.urandom(1 << 10)) * 400              # 400 KiB


def mirror(name="copy", **more):
    return {"type": "RequestMirror", "requestMirror": {"backendRef": docs.backend_ref(name), **more}}


def mirrored(*names, path=None, backends=("origin",), filters=()):
    return docs.rule(backends, path=path, filters=[*filters, *(mirror(n) for n in names or ("copy",))])


def own(origin):
    """What reached an origin, without the gateway's own questions."""
    return list(origin.requests)


def arrived(origin, count=1, seconds=5.0):
    wait_until(lambda: len(origin.requests) >= count, seconds, what=lambda: f"{len(origin.requests)} of {count} copies")
    return own(origin)


def settled(gateway, seconds=5.0):
    """No copy is under way any more, and none is counted as such; memory of buffers is back to where idle connections leave it."""
    wait_until(lambda: gateway.total("ai_gateway_active_mirrors") == 0, seconds, what=gateway.metrics_text)
    wait_until(lambda: gateway.total("ai_gateway_active_exchanges") == 0, seconds, what=gateway.metrics_text)


def counts(gateway):
    return tuple(int(gateway.total(f"ai_gateway_mirrors_{n}total")) for n in ("", "behind_", "failed_", "cut_"))


# -- what is copied

def test_the_copy_is_the_request():
    """Path, query, method and fields as the backend gets them; the client gets the backend's answer."""
    with Origin(name="origin") as origin, Origin(name="copy") as copy, serving(
            {"origin": origin, "copy": copy}, rules=[mirrored()]) as gateway:
        with gateway.client() as client:
            for n in range(20):
                answer = client.request("GET", f"/a%2Fb?q={n}", [("X-Kept", "1"), ("TE", "trailers"), ("Connection", "x-hop"), ("X-Hop", "1")])
                assert answer.status == 200 and answer.get("x-origin") == "origin"
        copies = arrived(copy, 20)
        assert len(copies) == 20
        for one, two in zip(sorted(own(origin), key=lambda r: r.target), sorted(copies, key=lambda r: r.target)):
            assert (one.method, one.target, one.headers) == (two.method, two.target, two.headers)
        settled(gateway)
        assert counts(gateway) == (20, 0, 0, 0)
        wait_until(lambda: len(gateway.access()) >= 20, 5)
        assert gateway.total("ai_gateway_requests_total") == 20 and len(gateway.access()) == 20, "a copy is no request"


def test_filters_and_hosts():
    """The copy is of what the backend gets: with edited fields, rewritten path and host; a mirror that has a name of its own sees that."""
    edit = {"type": "RequestHeaderModifier", "requestHeaderModifier": {
        "set": [{"name": "x-set", "value": "1"}], "add": [{"name": "x-add", "value": "2"}], "remove": ["x-gone"]}}
    rewrite = {"type": "URLRewrite", "urlRewrite": {"hostname": "rewritten.example", "path": {"type": "ReplaceFullPath", "replaceFullPath": "/new"}}}
    with Origin() as origin, Origin() as copy, Origin() as named, Origin() as deep, serving(
            {"origin": origin, "copy": copy}, rules=[
                mirrored("copy", "named", path="/edit", filters=[edit]),
                mirrored("copy", "named", path="/rewrite", filters=[rewrite]),
                docs.rule([docs.backend_ref("named", filters=[mirror("deep")])], path="/deep", filters=[mirror("copy")])],
            extra=[docs.backend(named, "named", hostHeader="own.example"), docs.backend(deep, "deep", hostHeader="Endpoint")]) as gateway:
        gateway.get("/edit", headers=[("X-Gone", "1"), ("X-Add", "1")])
        for one, host in ((copy, "test.example"), (named, "own.example")):
            request = arrived(one)[-1]
            assert request.get("host") == host and request.get("x-set") == "1" and request.get("x-gone") is None
            assert ",".join(request.all("x-add")).replace(" ", "") == "1,2"
        gateway.get("/rewrite?q=1")
        for one in (copy, named):
            request = arrived(one, 2)[-1]
            assert (request.target, request.get("host")) == ("/new?q=1", "rewritten.example")
        gateway.get("/deep")
        assert arrived(deep)[-1].get("host") == f"127.0.0.1:{deep.port}", "the mirror of a backendRef"
        assert arrived(copy, 3)[-1].get("host") == "test.example", "the mirror of the rule, whatever the backend is called"
        assert len(arrived(named, 3)) == 3
        settled(gateway)


def test_what_is_for_one_backend_is_not_for_the_rules_mirror():
    """Credentials that a backendRef's filter puts into the request stay between the gateway and that backend and its own mirror."""
    secret = {"type": "RequestHeaderModifier", "requestHeaderModifier": {
        "set": [{"name": "Authorization", "value": "Bearer of-the-backend"}], "add": [{"name": "X-Key", "value": "2"}]}}
    rule = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x-rule", "value": "1"}]}}
    with Origin() as origin, Origin() as copy, Origin() as deep, serving(
            {"origin": origin, "copy": copy, "deep": deep}, rules=[
                docs.rule([docs.backend_ref("origin", filters=[secret, mirror("deep")])], filters=[rule, mirror("copy")])]) as gateway:
        for n in range(3):
            assert gateway.get(f"/{n}", method="POST", body=b"content", headers=[("Authorization", "Basic own"), ("X-Key", "1"), ("X-Other", "o")]).status == 200
        for one in (origin, deep):
            request = arrived(one, 3)[-1]
            assert request.get("authorization") == "Bearer of-the-backend" and ",".join(request.all("x-key")).replace(" ", "") == "1,2"
        request = arrived(copy, 3)[-1]
        assert request.get("authorization") is None and not request.all("x-key")
        assert (request.get("x-other"), request.get("x-rule"), request.get("host"), request.body) == ("o", "1", "test.example", b"content")
        settled(gateway)


def test_shares():
    """`percent` and `fraction` are shares by chance, each mirror's its own; 0 gets nothing."""
    with Origin() as origin, Origin() as some, Origin() as few, Origin() as none, serving(
            {"origin": origin, "some": some, "few": few, "none": none}, rules=[docs.rule(filters=[
                mirror("some", percent=30), mirror("few", fraction={"numerator": 1, "denominator": 20}),
                mirror("none", percent=0)])]) as gateway:
        with gateway.client() as client:
            for _ in range(1000):
                assert client.request("GET", "/").status == 200
        settled(gateway)
        for origin, share in ((some, 0.3), (few, 0.05)):
            assert abs(len(own(origin)) - 1000 * share) <= 4 * math.sqrt(1000 * share * (1 - share)), len(own(origin))
        assert not own(none)


# -- content

@pytest.mark.parametrize("client", ["h1", "h2"])
@pytest.mark.parametrize("backend", ["h1", "h2"])
@pytest.mark.parametrize("other", ["h1", "h2"])
def test_content_over_both_versions(client, backend, other):
    """400 KiB of a stated length, in chunks and in frames arrive whole at both, as fast as the mirror takes them; small ones too."""
    kinds = {"h1": (Origin, {}), "h2": (Origin2, {"protocol": "H2C"})}
    copies, taken = [], [0]

    def take(pieces):
        body = b""
        for piece in pieces:
            body += piece
            taken[0] += len(piece)
        copies.append((len(body), hashlib.sha256(body).hexdigest()))

    def script1(peer):
        while (request := peer.read_head()) is not None:
            take(peer.pieces(request))
            peer.respond(200, body=b"x" * 100_000)

    def script2(stream):
        take(stream.pieces())
        stream.respond(200, [("content-length", "100000")], b"x" * 100_000)
    make, spec = kinds[backend]
    make_other, spec_other = kinds[other]
    with make() as origin, make_other(script1 if other == "h1" else script2) as copy, serving(
            None, rules=[mirrored()], extra=[docs.backend(origin, "origin", **spec), docs.backend(copy, "copy", **spec_other)]) as gateway, \
            (gateway.client() if client == "h1" else gateway.http2()) as one:
        for n, body in enumerate([b"", b"small", BODY[:30_000], BODY, BODY]):
            taken[0], sent = 0, 0
            length = [("content-length", str(len(body)))] if n % 2 else []
            if client == "h2":
                stream = one.open("POST", "/", length, end=False)
            else:
                framing = length or [("Transfer-Encoding", "chunked")]
                one.send(b"POST / HTTP/1.1\r\nHost: test.example\r\n" + b"".join(f"{name}: {v}\r\n".encode() for name, v in framing) + b"\r\n")
            for at in range(0, len(body), 20_000):
                piece = body[at:at + 20_000]
                if client == "h2":
                    one.write(stream, piece)
                else:
                    one.send(piece if length else b"%x\r\n%s\r\n" % (len(piece), piece))
                sent += len(piece)
                # No faster than the mirror takes it: at most 40 kB are on their way.
                wait_until(lambda: sent - taken[0] <= 40_000, 10, every=0.001, what=lambda: (sent, taken, counts(gateway)))
            if client == "h2":
                one.write(stream, b"", end=True)
                answer = one.finish(stream)
            else:
                one.send(b"" if length else b"0\r\n\r\n")
                answer = one.read("POST")
            assert answer.status == 200 and json.loads(answer.body)["length"] == len(body)
            wait_until(lambda: len(copies) == n + 1, 5, what=lambda: counts(gateway))
            assert copies[n] == (len(body), hashlib.sha256(body).hexdigest())
        settled(gateway)
        assert counts(gateway) == (5, 0, 0, 0)


def test_chunks_with_extensions_and_trailers():
    """Content that is framed anew for the backend is framed anew for the mirror."""
    with Origin() as origin, Origin() as copy, serving({"origin": origin, "copy": copy}, rules=[mirrored()]) as gateway:
        with gateway.client() as client:
            client.send(b"POST / HTTP/1.1\r\nHost: test.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n")
            time.sleep(0.05)
            client.send(b"3;x=y\r\nfgh\r\n0\r\nX-T: 1\r\n\r\n")
            assert json.loads(client.read("POST").body)["length"] == 8
        assert arrived(copy)[0] and wait_until(lambda: own(copy)[0].complete)
        assert own(copy)[0].body == b"abcdefgh"
        settled(gateway)
        assert counts(gateway) == (1, 0, 0, 0)


def test_content_that_comes_slowly():
    """Each piece is on its way to both when it comes, and nothing is held until the end."""
    pieces, lock = [], threading.Lock()

    def script(peer):
        request = peer.read_head()
        for piece in peer.pieces(request):
            with lock:
                pieces.append(piece)
        peer.respond(200)
    with Origin() as origin, Origin(script) as copy, serving({"origin": origin, "copy": copy}, rules=[mirrored()]) as gateway:
        with gateway.client() as client:
            client.send(b"POST / HTTP/1.1\r\nHost: test.example\r\nContent-Length: 30\r\n\r\n")
            for n in range(3):
                client.send(b"0123456789")
                wait_until(lambda: sum(map(len, pieces)) == 10 * (n + 1), 3, what=lambda: pieces)
            assert client.read("POST").status == 200
        settled(gateway)


def test_a_pool_s_requests_are_copied_too():
    """Content that is held for the choice of an endpoint goes to the mirror as it comes."""
    # Less than a mirror may be behind: a busy machine's is slow.
    body = json.dumps({"model": "llama3", "prompt": "x" * 48_000, "stream": False}).encode()
    with Origin() as origin, Origin() as copy, serving(
            {"copy": copy}, rules=[mirrored(backends=["models"])],
            extra=[docs.backend(origin, "models", modelServer="openai")]) as gateway:
        for chunked in (False, [body[:20_000], body[20_000:]]):
            with gateway.client() as client:
                answer = client.request("POST", "/v1/completions", [("Content-Type", "application/json")], body, chunked=chunked)
                assert answer.status == 200 and json.loads(answer.body)["length"] == len(body), answer
        settled(gateway)
        assert [r.body == body for r in arrived(copy, 2)] == [True, True], counts(gateway)


# -- what a mirror does is nobody's concern

def test_a_mirror_that_does_not_read_is_dropped(figure):
    """One that is more than 64 KiB behind loses its copy, is counted, and slows nobody; memory stays bounded."""
    stop = threading.Event()

    def deaf(peer):
        peer.read_head()
        stop.wait(30)
    with Origin() as origin, Origin(deaf, receive_buffer=4096) as copy, serving(
            {"origin": origin, "copy": copy}, rules=[docs.rule(["origin"], path="/free"), mirrored(path="/")]) as gateway:
        big = BODY * 40                                  # 16 MiB: more than any socket takes

        def took(path):
            began = time.monotonic()
            assert gateway.get(path, "POST", body=big, timeout=30).status == 200
            return time.monotonic() - began
        took("/free")
        free, slow = min(took("/free") for _ in range(3)), min(took("/") for _ in range(3))
        figure("16 MiB without and with a mirror that does not read", f"{free * 1000:.0f} ms, {slow * 1000:.0f} ms")
        assert slow < 4 * free + 0.5
        assert counts(gateway) == (3, 3, 0, 0)
        settled(gateway)
        assert gateway.total("ai_gateway_buffer_bytes") < 1 << 20
        stop.set()


@pytest.mark.parametrize("how", ["silent", "reset", "refused", "garbage", "error", "huge", "early", "switch"])
def test_whatever_a_mirror_answers(how):
    """No answer, a reset, no connection, nonsense, an error, an endless answer: the client sees only the backend's; nothing is sent twice."""
    def script(peer):
        while (request := peer.read_head()) is not None:
            if how == "silent":
                peer.read_head()
                return
            if how == "reset":
                return peer.reset()
            if how == "garbage":
                return peer.send(b"no answer at all\r\n\r\n")
            if how == "switch":
                return peer.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n")
            if how == "early":
                peer.respond(413)
                return
            b"".join(peer.pieces(request))
            if how == "error":
                peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
                peer.respond(500, body=b"no")
            elif how == "huge":
                peer.head(200, [("Transfer-Encoding", "chunked")])
                for _ in range(200):
                    peer.chunk(b"x" * 50_000)
                peer.end_chunks()
    with Origin() as origin, Origin(script) as copy, serving(
            {"origin": origin}, rules=[mirrored()], timeouts=short(firstByte=1000),
            extra=[docs.backend([("127.0.0.1", free_port())] if how == "refused" else copy, "copy")]) as gateway:
        with gateway.client() as client:
            for n in range(5):
                answer = client.request("POST", "/", body=b"x" * 1000)
                assert answer.status == 200 and json.loads(answer.body)["length"] == 1000
                settled(gateway)
        begun, behind, failed, cut = counts(gateway)
        assert (begun, behind, cut) == (5, 0, 0)
        assert failed == (0 if how in ("error", "huge", "early") else 5), failed
        if how != "refused":
            assert len(own(copy)) == 5, "a copy is sent once"
        if how in ("error", "huge"):
            assert copy.connections == 1, "the connection is used again"
        wait_until(lambda: gateway.total("ai_gateway_upstream_connections") <= 3, 3)


def test_a_dead_connection_of_the_pool_is_not_tried_again():
    """A copy on a connection that its mirror had given up is lost; the next is sent over a new one."""
    def once(peer):
        peer.read_request()
        peer.respond(200)
        peer.read_head()
        peer.reset()
    with Origin() as origin, Origin(once) as copy, serving({"origin": origin, "copy": copy}, rules=[mirrored()], workers=1) as gateway:
        for n in range(4):
            assert gateway.get(f"/{n}").status == 200
            arrived(copy, n + 1)
            settled(gateway)
        assert [r.target for r in own(copy)] == ["/0", "/1", "/2", "/3"]
        assert counts(gateway)[2] == 2


# -- ends

def pending(peer):
    """Takes the request and answers when the test is over."""
    peer.read_head()
    peer.ended = peer.wait_end(20)


@pytest.mark.parametrize("version", ["h1", "h2"])
def test_a_client_that_goes_takes_its_copies_along(version):
    """With its backend's work its mirrors' is cancelled within a second, before the answer and in the middle of content."""
    with Origin(pending) as origin, Origin(pending) as copy, serving({"origin": origin, "copy": copy}, rules=[mirrored()]) as gateway:
        for whole in (True, False):
            before = len(copy.peers)
            body = b"x" * (100 if whole else 10)
            if version == "h1":
                client = gateway.client()
                client.send(b"POST / HTTP/1.1\r\nHost: test.example\r\nContent-Length: 100\r\n\r\n" + body)
            else:
                client = gateway.http2()
                stream = client.open("POST", "/", [("content-length", "100")], end=False)
                client.write(stream, body, end=whole)
            wait_until(lambda: len(copy.requests) == before + 1, 5)
            assert gateway.total("ai_gateway_active_mirrors") == 1
            gone = time.monotonic()
            if version == "h2":
                client.reset(stream)
            client.close()
            peer = copy.peers[-1]
            wait_until(lambda: peer.ended_at, 3, what="the copy's end")
            assert peer.ended_at - gone < 1
            settled(gateway)
        assert counts(gateway) == (2, 0, 0, 2)


def test_a_copy_that_is_whole_goes_on_alone():
    """The client has its answer and is gone; the mirror takes its time, and its connection is used again."""
    go = threading.Event()

    def late(peer):
        while peer.read_request() is not None:
            go.wait(10)
            peer.respond(200, body=b"late")
    # Each worker has connections of its own.
    with Origin() as origin, Origin(late) as copy, serving({"origin": origin, "copy": copy}, rules=[mirrored()], workers=1) as gateway:
        with gateway.client() as client:
            assert client.request("POST", "/", body=b"x" * 1000).status == 200
            assert client.request("GET", "/").status == 200
        arrived(copy, 2)
        assert gateway.total("ai_gateway_active_mirrors") == 2
        go.set()
        settled(gateway)
        assert counts(gateway) == (2, 0, 0, 0)
        with gateway.client() as client:
            assert client.request("GET", "/").status == 200
        arrived(copy, 3)
        assert copy.connections == 2
        settled(gateway)


def test_an_early_answer_cuts_the_copy():
    """What the backend did not want to read to its end, the mirror does not get either."""
    def early(peer):
        peer.read_head()
        peer.respond(413, [("Connection", "close")], b"no")
        peer.wait_end(5)
    with Origin(early) as origin, Origin(pending) as copy, serving({"origin": origin, "copy": copy}, rules=[mirrored()]) as gateway:
        with gateway.client() as client:
            client.send(b"POST / HTTP/1.1\r\nHost: test.example\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100)
            assert client.read("POST").status == 413
        settled(gateway)
        assert counts(gateway) == (1, 0, 0, 1)


def test_a_drain_does_not_wait_for_mirrors():
    """When the last client is served, copies whose mirrors are silent are cut, and the exit code is 0."""
    with Origin() as origin, Origin(pending) as copy, serving({"origin": origin, "copy": copy}, rules=[mirrored()]) as gateway:
        for _ in range(3):
            assert gateway.get("/").status == 200
        arrived(copy, 3)
        began = time.monotonic()
        gateway.signal(signal.SIGTERM)
        assert gateway.wait(10) == 0 and time.monotonic() - began < 5
        for peer in copy.peers:
            wait_until(lambda: peer.ended_at, 3)


def test_a_reload_leaves_copies_alone():
    """Copies under way when the mirror is taken out of the documents end as they would have; new requests have none."""
    go = threading.Event()

    def late(peer):
        while peer.read_request() is not None:
            go.wait(10)
            peer.respond(200)
    with Origin() as origin, Origin(late) as copy, serving({"origin": origin, "copy": copy}, rules=[mirrored()]) as gateway:
        with gateway.client() as slow:
            slow.send(b"POST / HTTP/1.1\r\nHost: test.example\r\nContent-Length: 10\r\n\r\n01234")
            assert gateway.get("/").status == 200
            arrived(copy, 2)
            content = [d for d in gateway.content if d["kind"] != "HTTPRoute" and d["metadata"]["name"] != "copy"]
            gateway.write("main.yaml", content + [docs.route([docs.rule()])])
            wait_until(lambda: gateway.object("Backend", "copy") is None, 5)
            time.sleep(0.2)
            for _ in range(5):
                assert gateway.get("/").status == 200
            slow.send(b"56789")
            assert slow.read("POST").status == 200
        wait_until(lambda: all(r.complete for r in own(copy)), 5)
        go.set()
        settled(gateway)
        assert counts(gateway) == (2, 0, 0, 0) and {len(r.body) for r in own(copy)} == {0, 10}


def test_slots_are_bounded_and_come_back(figure):
    """More silent mirrors than a worker keeps: the others are not begun, every client is served, and all memory comes back."""
    with Origin() as origin, Origin(pending, backlog=4096) as copy, serving(
            {"origin": origin, "copy": copy}, rules=[mirrored()], workers=1, timeouts=short(firstByte=4000)) as gateway:
        with gateway.client() as client:
            for _ in range(1100):
                assert client.request("POST", "/", body=b"x" * 2000).status == 200
        begun, behind, failed, cut = counts(gateway)
        assert begun == 1100 and gateway.total("ai_gateway_active_mirrors") <= 1024
        figure("copies under way, at most", gateway.total("ai_gateway_active_mirrors"))
        settled(gateway, 15)
        wait_until(lambda: gateway.total("ai_gateway_buffer_bytes") < 1 << 20, 5)


# -- documents

def test_references(tmp_path):
    """A mirror that does not resolve is dropped with the API's reason, and the request goes on; a grant lets one in."""
    def web(namespace="default"):
        return {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "web", "namespace": namespace, "port": 80}}}
    with Origin() as origin, Origin() as copy, serving(origin, rules=[docs.rule(filters=[web()])]) as gateway:
        def resolved():
            return next(c for c in gateway.object("HTTPRoute", "route")["status"]["parents"][0]["conditions"] if c["type"] == "ResolvedRefs")

        def write(filters, extra=()):
            gateway.write("main.yaml", [d for d in gateway.content if d["kind"] != "HTTPRoute"] + [docs.route([docs.rule(filters=filters)]), *extra])
        condition = resolved()
        assert (condition["status"], condition["reason"]) == ("False", "BackendNotFound")
        assert "filters[0].requestMirror.backendRef" in condition["message"]
        assert gateway.get("/").status == 200
        service = docs.service("web", [("127.0.0.1", copy.port)], namespace="other")
        write([web("other")], service)
        wait_until(lambda: resolved()["reason"] == "RefNotPermitted", 5, what=resolved)
        assert gateway.get("/").status == 200
        write([{"type": "RequestMirror", "requestMirror": {"backendRef": {"kind": "Thing", "name": "x", "port": 1}}}])
        wait_until(lambda: resolved()["reason"] == "InvalidKind", 5, what=resolved)
        grant = {"apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "ReferenceGrant", "metadata": {"name": "g", "namespace": "other"},
                 "spec": {"from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "default"}],
                          "to": [{"group": "", "kind": "Service"}]}}
        write([web("other")], [*service, grant])
        wait_until(lambda: resolved()["status"] == "True", 5, what=resolved)
        assert not own(copy)

        def copied():
            assert gateway.get("/").status == 200
            return own(copy)
        wait_until(copied, 5)
        settled(gateway)


def test_calls_are_copied():
    """A GRPCRoute has mirrors too: the call's frames and its end arrive at both."""
    with Origin2(name="origin") as origin, Origin2(name="copy") as copy, serving(
            None, rules=[], extra=[docs.grpc_route([docs.grpc_rule(["origin"], filters=[mirror()])]),
                                   docs.backend(origin, "origin", protocol="H2C"), docs.backend(copy, "copy", protocol="H2C")]) as gateway:
        with gateway.http2() as client:
            answer = client.request("POST", "/a.B/C", [("content-type", "application/grpc"), ("te", "trailers")], b"\0\0\0\0\x03abc")
            assert answer.status == 200 and answer.get("x-origin") == "origin"
        wait_until(lambda: copy.requests and copy.requests[0].ended, 5)
        assert copy.requests[0].received == 8 and copy.requests[0].get("content-type") == "application/grpc"
        settled(gateway)


def test_upgrades_and_redirects_have_no_copies(tmp_path):
    """What is no request with an answer is not copied; a rule that redirects and mirrors is refused."""
    with Origin() as origin, Origin() as copy, serving({"origin": origin, "copy": copy}, rules=[mirrored()]) as gateway:
        with gateway.client() as client:
            client.send(request_bytes("GET", "/", [("Connection", "upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
                                                   ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]))
            assert client.read().status == 200
        assert counts(gateway)[0] == 0 and not own(copy)
    redirect = {"type": "RequestRedirect", "requestRedirect": {"hostname": "x.example"}}
    (tmp_path / "main.yaml").write_text(docs.dump([
        docs.gateway([docs.listener(8080)]), docs.backend([("127.0.0.1", 9)], "copy"), docs.route([docs.rule([], filters=[redirect, mirror()])])]))
    code, out, err = cli("check", tmp_path)
    assert code == 1 and "IncompatibleFilters" in out + err, (out, err)


def test_explain_names_the_mirrors(tmp_path):
    (tmp_path / "main.yaml").write_text(docs.dump([
        docs.gateway([docs.listener(8080)]), docs.backend([("127.0.0.1", 9)]), docs.backend([("127.0.0.1", 10)], "copy"),
        docs.route([docs.rule(filters=[mirror(percent=20)])])]))
    code, out, err = cli("explain", tmp_path, "http://127.0.0.1:8080/")
    assert code == 0 and "copies of 20.0 % go to default/copy" in out, (out, err)
