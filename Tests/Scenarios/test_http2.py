"""HTTP/2 of clients: what they ask is answered as HTTP/1.1's is, whatever the backend speaks."""
import hashlib
import json
import ssl

import pytest

from Fixtures import documents as docs
from Fixtures.certificates import Certificate
from Fixtures.gateway import sealed, serving
from Fixtures.http1 import request_bytes, tls_client
from Fixtures.http2_frames import STREAMS_MAX, Code
from Fixtures.net import free_port, wait_until
from Fixtures.origin import Origin, echo_body, echo_headers
from Fixtures.origin2 import Origin2, echo
from Fixtures.tools import curl, h2load, nghttp


def http1_script(peer):
    """What the path's last word says; else an echo."""
    while (request := peer.read_request()) is not None:
        word = request.target.partition("?")[0].rpartition("/")[2]
        if word in ("204", "304"):
            peer.head(int(word), [("ETag", '"x"')])
        elif word == "hints":
            peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n")
            peer.respond(200, body=b"done")
        elif word == "trailers":
            peer.head(200, [("Transfer-Encoding", "chunked")])
            peer.chunk(b"body")
            peer.end_chunks(b"X-Sum: 4\r\n")
        elif word == "length":
            peer.respond(200, [("Content-Length", "12345")], b"x" * 12345, method=request.method)
        else:
            peer.respond(200, echo_headers(peer), echo_body(peer, request), method=request.method)


def http2_script(stream):
    word = stream.target.partition("?")[0].rpartition("/")[2]
    if word in ("204", "304"):
        stream.head(int(word), [("etag", '"x"')], end=True)
    elif word == "hints":
        stream.informational(103, [("link", "</a.css>; rel=preload")])
        stream.respond(200, body=b"done")
    elif word == "trailers":
        stream.head(200)
        stream.send(b"body")
        stream.send_trailers([("x-sum", "4")])
    elif word.startswith("sized-"):
        stream.head(200, [("content-length", "4"), ("trailer", "x-sum") if word == "sized-announced" else ("content-type", "application/grpc")])
        stream.send(b"body")
        stream.send_trailers([("x-sum", "4")])
    elif word == "length":
        stream.respond(200, [("content-length", "12345")], b"x" * 12345)
    else:
        echo(stream)


@pytest.fixture(scope="module")
def both(certificate):
    """A clear and a TLS listener; /1 is a backend of HTTP/1.1, /2 one of HTTP/2."""
    secure = free_port()
    moved = {"type": "RequestRedirect", "requestRedirect": {"hostname": "moved.example", "statusCode": 302}}
    with Origin(http1_script, name="one") as one, Origin2(http2_script, name="two") as two, serving(
            {"one": one}, rules=[
                docs.rule(["one"], path="/1"), docs.rule(["two"], path="/2"), docs.rule([], path="/moved", filters=[moved]),
                docs.rule(["dead"], path="/dead")],
            listeners=lambda port: [docs.listener(port), docs.listener(secure, "https", "HTTPS", certificates=["tls"])],
            extra=[docs.backend(two, "two", protocol="H2C"), docs.backend([("127.0.0.1", free_port())], "dead"),
                   certificate.secret("tls")]) as gateway:
        gateway.secure_port, gateway.one, gateway.two = secure, one, two
        yield gateway
    assert not one.errors and not two.errors, (one.errors, two.errors)


@pytest.fixture(params=["clear", "TLS"])
def front(request, both):
    """Both listeners, by turns: `curl` and `client` speak HTTP/2 with it."""
    class Front:
        secure = request.param == "TLS"
        port = both.secure_port if secure else both.port
        url = f"{'https' if secure else 'http'}://127.0.0.1:{port}"

        @staticmethod
        def curl(path, *arguments, **more):
            answer = curl(Front.url + path, "--http2" if Front.secure else "--http2-prior-knowledge", *arguments, **more)
            assert answer.code == 0 and answer.version == "2", answer
            return answer

        @staticmethod
        def client(**more):
            return both.http2(Front.port, secure=Front.secure, **more)
    return Front


@pytest.fixture(params=["/1", "/2"], ids=["HTTP/1.1 behind", "HTTP/2 behind"])
def behind(request):
    return request.param


def echoed(answer):
    assert answer.status == 200, answer
    return json.loads(answer.body)


def field(e, name):
    return [v for n, v in e["headers"] if n.lower() == name]


# -- curl, nghttp, h2load

def test_curl_gets_its_answer(front, behind):
    """GET: method, target and authority arrive; the backend learns of the scheme and of the client."""
    e = echoed(front.curl(behind + "/a?q=1", "-H", "X-Own: 1"))
    assert (e["method"], e["target"], e["host"]) == ("GET", behind + "/a?q=1", f"127.0.0.1:{front.port}")
    assert field(e, "x-own") == ["1"] and field(e, "x-forwarded-proto") == ["https" if front.secure else "http"]
    assert field(e, "via") == ["2 ai-gateway"] and field(e, "x-forwarded-for") == ["127.0.0.1"] and len(field(e, "x-request-id")) == 1
    assert not [n for n, _ in e["headers"] if n.startswith(":")]


def test_curl_sends_content(front, behind, tmp_path):
    """By length, and without one from a pipe: the same bytes arrive."""
    data = bytes(range(256)) * 4000
    (tmp_path / "data").write_bytes(data)
    for arguments in (["--data-binary", f"@{tmp_path}/data"], ["-T", "-", "-X", "POST"]):
        e = echoed(front.curl(behind + "/up", *arguments, input=data))
        assert (e["method"], e["length"], e["sha256"]) == ("POST", len(data), hashlib.sha256(data).hexdigest())


def test_curl_head_has_no_content_and_keeps_its_length(front, behind):
    """HEAD of an answer with Content-Length."""
    answer = front.curl(behind + "/length", "-I")
    assert answer.status == 200 and answer.get("content-length") == "12345" and answer.body == b""
    assert len(front.curl(behind + "/length").body) == 12345


@pytest.mark.parametrize("status", [204, 304])
def test_curl_gets_answers_without_content(front, behind, status):
    """204 and 304 with their fields."""
    answer = front.curl(f"{behind}/{status}")
    assert answer.status == status and answer.get("etag") == '"x"' and answer.body == b""


def test_the_gateways_own_answers(front):
    """A redirect, 404 without a route, 502 or 503 without a backend; each complete, with its content."""
    answer = front.curl("/moved/x")
    assert answer.status == 302 and "//moved.example" in answer.get("location") and answer.get("location").endswith("/moved/x")
    answer = front.curl("/none")
    assert answer.status == 404 and answer.get("server") == "ai-gateway" and len(answer.body) == int(answer.get("content-length"))
    assert front.curl("/dead").status in (502, 503)
    assert front.curl("/none", "-d", "some content").status == 404
    head = front.curl("/none", "-I")
    assert head.status == 404 and head.body == b""


def test_nghttp_finds_nothing_wrong(front, behind):
    """Four requests at once; no error of the protocol, and each stream ends by itself."""
    out = nghttp(*[f"{front.url}{behind}/{n}" for n in range(4)])
    assert out.count(":status: 200") == 4 and "RST_STREAM" not in out and "rror" not in out.replace("NO_ERROR", "").replace("error_code", "")


def test_nghttp_with_content_padding_and_trailers(front, behind, tmp_path):
    """Padded frames and a trailer of the client's."""
    (tmp_path / "data").write_bytes(b"y" * 50000)
    out = nghttp("-d", str(tmp_path / "data"), "--trailer", "x-t: 1", "-b", "100", f"{front.url}{behind}/padded")
    assert ":status: 200" in out and '"length": 50000' in out


@pytest.mark.parametrize("streams", [1, 50])
def test_h2load_gets_all_its_answers(front, behind, streams, figure):
    """2,000 requests over 8 connections: every one is 200."""
    result = h2load("-n", "2000", "-c", "8", "-m", str(streams), f"{front.url}{behind}/204")
    figure(f"h2load, {'TLS' if front.secure else 'clear'}, {streams} streams, backend {behind}", f"{result.get('rate', 0):.0f} requests/s (Python's origin)")
    assert result["succeeded"] == 2000 and result["2xx"] == 2000 and result["failed"] == 0, result
    assert result["protocol"] == ("h2" if front.secure else "h2c")


# -- choosing the protocol

@pytest.mark.parametrize("offered,chosen", [(["h2"], "h2"), (["h2", "http/1.1"], "h2"), (["http/1.1", "h2"], "h2"), (["http/1.1"], "http/1.1"),
                                            (["spdy/3", "http/1.1"], "http/1.1"), (["spdy/3", "h2"], "h2"), (None, None)])
def test_alpn_never_chooses_what_was_not_offered(both, offered, chosen):
    """h2 before http/1.1; without ALPN it is HTTP/1.1."""
    with both.client(port=both.secure_port, tls=tls_client(alpn=offered), sni="test.example") as client:
        assert client.sock.selected_alpn_protocol() == chosen
        if chosen != "h2":
            assert client.request("GET", "/1/x").status == 200


def test_alpn_with_nothing_in_common(both):
    """A refusal, or no protocol chosen: never another one."""
    try:
        with both.client(port=both.secure_port, tls=tls_client(alpn=["spdy/3"]), sni="test.example") as client:
            assert client.sock.selected_alpn_protocol() is None
    except (ssl.SSLError, ConnectionError):
        pass


def test_the_preface_is_not_taken_after_http_1_1_was_chosen(both):
    """ALPN said http/1.1: the preface is a malformed request, and nothing reaches a backend."""
    count = len(both.one.requests) + len(both.two.requests)
    with both.client(port=both.secure_port, tls=tls_client(alpn=["http/1.1"]), sni="test.example") as client:
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
        assert client.read_response().status in (400, 505) and client.how_it_ends(5) != "open"
    assert len(both.one.requests) + len(both.two.requests) == count


def test_an_upgrade_to_h2c_is_not_offered(both):
    """The request is answered as HTTP/1.1, and its Upgrade does not reach the backend."""
    answer = curl(f"http://127.0.0.1:{both.port}/1/x", "--http2")
    e = echoed(answer)
    assert answer.version == "1.1" and not field(e, "upgrade") and not field(e, "http2-settings")


def test_the_preface_in_pieces_of_one_byte(both):
    """Prior knowledge is seen however the bytes are cut; HTTP/1.1 on the same port goes on."""
    with both.http2(hello=False) as client:
        for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0":
            client.send(bytes([byte]))
        assert client.request("GET", "/1/x").status == 200
    with both.client() as client:
        assert client.request("GET", "/1/x").status == 200


def test_requests_in_pieces_of_one_byte(both, behind):
    """Any cut of the frames gives the same request."""
    with both.http2() as client:
        stream = client.take("POST")
        data = client.header_frames(stream.id, client.fields("POST", behind + "/cut", [("x-a", "b")]), False)
        for byte in data + b"\0\0\5\0\1" + stream.id.to_bytes(4, "big") + b"hello":
            client.send(bytes([byte]))
        assert echoed(client.finish(stream))["length"] == 5


# -- what passes

def test_trailers_pass_both_ways(front, behind):
    """The client's to the backend, the backend's to the client."""
    with front.client() as client:
        e = echoed(client.request("POST", behind + "/x", [("te", "trailers")], b"hello", trailers=[("x-check", "5")]))
        assert [tuple(t) for t in e["trailers"]] == [("x-check", "5")] and e["length"] == 5
        stream = client.request("GET", behind + "/trailers", [("te", "trailers")])
        assert stream.body == b"body" and stream.trailers == [("x-sum", "4")] and stream.ended


@pytest.mark.parametrize("reason", ["announced", "gRPC"])
def test_trailers_behind_a_stated_length_pass(front, behind, reason):
    """HTTP/2 has a place for both: where trailers are to be expected, they pass, and the length goes instead."""
    expected = [("trailer", "x-check, x-sum")] if reason == "announced" else [("content-type", "application/grpc")]
    with front.client() as client:
        e = echoed(client.request("POST", behind + "/x", [("te", "trailers"), ("content-length", "5"), *expected], b"hello",
                                  trailers=[("x-check", "5")]))
        assert [tuple(t) for t in e["trailers"]] == [("x-check", "5")] and e["length"] == 5
        if behind == "/2":
            stream = client.request("GET", f"{behind}/sized-{reason}", [("te", "trailers")])
            assert stream.body == b"body" and stream.trailers == [("x-sum", "4")] and stream.ended
        short = client.open("POST", behind + "/x", [("content-length", "5"), *expected], end=False)
        client.write(short, b"four", end=True)
        client.finish(short)
        assert short.reset is not None or short.status == 400, "the length still holds"


def test_interim_answers_pass(front, behind):
    """103 Early Hints comes before the final head, with its fields."""
    with front.client() as client:
        stream = client.request("GET", behind + "/hints")
        assert stream.informational == [(103, [("link", "</a.css>; rel=preload")])] and stream.body == b"done"


def test_expect_100_continue(front, behind):
    """100 comes before the content is sent."""
    with front.client() as client:
        stream = client.open("POST", behind + "/x", [("content-length", "5"), ("expect", "100-continue")], end=False)
        client.until(lambda: stream.informational, 5, "100")
        assert stream.informational[0][0] == 100 and not stream.status
        client.write(stream, b"hello", end=True)
        assert echoed(client.finish(stream))["length"] == 5


@pytest.mark.parametrize("length", [True, False], ids=["length", "no length"])
def test_content_of_every_size(front, behind, length):
    """From nothing to more than a window, by Content-Length and without."""
    with front.client() as client:
        for size in (0, 1, 16384, 65535, 65536, 300_000):
            data = bytes(n & 255 for n in range(size))
            e = echoed(client.request("POST", behind + "/x", [("content-length", str(size))] if length else [], data))
            assert (e["length"], e["sha256"]) == (size, hashlib.sha256(data).hexdigest())


def test_crumbs_of_a_cookie_are_joined(front, behind):
    """RFC 9113 §8.2.3: one field towards HTTP/1.1; no crumb is lost towards HTTP/2."""
    with front.client() as client:
        e = echoed(client.request("GET", behind + "/x", [("cookie", "a=1"), ("x-between", "1"), ("cookie", "b=2"), ("cookie", "c=3; d=4")]))
        cookies = field(e, "cookie")
        assert "; ".join(cookies) == "a=1; b=2; c=3; d=4" and (behind == "/2" or len(cookies) == 1)


def test_host_in_place_of_authority(front, behind):
    """A request without :authority is asked by its Host; one with both, which are equal, has one Host."""
    with front.client() as client:
        scheme = "https" if front.secure else "http"
        stream = client.open_fields([(":method", "GET"), (":scheme", scheme), (":path", behind + "/x"), ("host", "test.example")])
        assert echoed(client.finish(stream))["host"] == "test.example"
        e = echoed(client.request("GET", behind + "/x", [("host", "test.example")]))
        assert e["host"] == "test.example" and len(field(e, "host")) == (1 if behind == "/1" else 0)


def test_fields_keep_their_order_and_bytes(front, behind):
    """Repeated names, empty values, bytes above 127."""
    given = [("x-a", "1"), ("x-b", ""), ("x-a", "2"), ("x-c", "caf\xe9".encode("latin-1")), ("x-d", "  inner  space".strip())]
    with front.client() as client:
        e = echoed(client.request("GET", behind + "/x", given))
        assert [(n, v) for n, v in e["headers"] if n in ("x-a", "x-b", "x-c", "x-d")] == [
            ("x-a", "1"), ("x-b", ""), ("x-a", "2"), ("x-c", "caf\xe9"), ("x-d", "inner  space")]


def test_large_heads_pass(front, behind):
    """45 KB in 90 fields: HEADERS and CONTINUATIONs."""
    with front.client() as client:
        e = echoed(client.request("GET", behind + "/x", [(f"x-{n}", f"{n:03d}" + "v" * 497) for n in range(90)]))
        assert len([n for n, v in e["headers"] if n.startswith("x-") and len(v) == 500]) == 90


def test_methods_and_options_star(front, behind):
    """Methods pass as they are."""
    with front.client() as client:
        for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"):
            assert echoed(client.request(method, behind + "/x"))["method"] == method


def test_a_plain_connect_is_refused(front):
    """No tunnel without a route for it; the connection goes on."""
    with front.client() as client:
        stream = client.finish(client.open_fields([(":method", "CONNECT"), (":authority", "test.example:443")]))
        assert stream.reset is not None or stream.status in (400, 405, 501)
        assert client.request("GET", "/1/x").status == 200


def test_one_connection_serves_request_after_request(front, behind):
    """1,000 requests, one after the other; header compression's table is in use on both sides."""
    with front.client() as client:
        for n in range(1000):
            stream = client.request("GET", f"{behind}/204", [("x-number", str(n)), ("x-same", "same")])
            assert stream.status == 204
        assert not client.goaways


def test_streams_at_once_are_announced(both):
    """SETTINGS: 100 streams for everybody, 1,000 over TLS."""
    for secure, count in ((False, 100), (True, 1000)):
        with both.http2(both.secure_port if secure else both.port, secure=secure) as client:
            client.until(lambda: client.has_settings)
            assert client.peer[STREAMS_MAX] == count


def test_the_access_log_and_the_counter_say_http_2(both):
    """One line a stream; a request id of the client's is kept."""
    before = both.total("ai_gateway_http2_streams_total")
    with both.http2() as client:
        assert client.request("POST", "/1/logged", [("x-request-id", "two-1"), ("content-length", "1000")], b"x" * 1000).status == 200
    line = wait_until(lambda: next((r for r in both.access() if r["request_id"] == "two-1"), None), 5, what="an access record")
    assert (line["protocol"], line["status"], line["method"], line["bytes_received"]) == ("HTTP/2", 200, "POST", 1000)
    wait_until(lambda: both.total("ai_gateway_http2_streams_total") == before + 1, 5)


def test_bytes_of_content_without_a_length_are_counted_without_framing(both):
    """`bytes_received` is what the client sent, whatever the chunks are that a backend gets."""
    with both.http2() as client:
        stream = client.open("POST", "/1/pieces", [("x-request-id", "two-2")], end=False)
        for n in range(1000):
            client.write(stream, b"x" * (n % 3), end=n == 999)
        assert client.finish(stream).status == 200
    line = wait_until(lambda: next((r for r in both.access() if r["request_id"] == "two-2"), None), 5, what="an access record")
    assert line["bytes_received"] == sum(n % 3 for n in range(1000))


def test_a_request_for_another_listeners_host_is_421(authority):
    """SNI chose one listener, :authority names another's: 421 on that stream only."""
    one, two = Certificate(["one.example"], issuer=authority), Certificate(["two.example"], issuer=authority)
    with Origin() as origin, serving(origin, listeners=lambda port: [
            docs.listener(port, "one", "HTTPS", "one.example", ["one"]), docs.listener(port, "two", "HTTPS", "two.example", ["two"])],
            extra=[one.secret("one"), two.secret("two")]) as gateway:
        with gateway.http2(secure=True, sni="one.example") as client:
            assert client.request("GET", "/", authority="one.example").status == 200
            assert client.request("GET", "/", authority="two.example").status == 421
            assert client.request("GET", "/", authority="one.example").status == 200
        assert {r.get("host") for r in origin.requests} == {"one.example"}


@pytest.mark.parametrize("protocol", ["HTTP", "H2C"])
def test_an_early_answer_ends_the_upload(protocol):
    """The answer comes whole while the request is still being sent; the rest is not wanted, and siblings go on."""
    def early1(peer):
        peer.read_head()
        peer.respond(403, body=b"no")
        peer.wait_end(5)

    def early2(stream):
        stream.respond(403, body=b"no")
        stream.wait_gone(5)
    with (Origin(early1) if protocol == "HTTP" else Origin2(early2)) as origin, serving(
            origin, backend={"protocol": protocol}) as gateway, gateway.http2() as client:
        first = client.open("POST", "/", end=False)
        client.write(first, b"some")
        client.finish(first)
        assert first.status == 403 and first.body == b"no" and first.ended and first.reset in (None, Code.NO_ERROR)
        for _ in range(3):
            assert client.request("GET", "/none").status == 403
        assert not client.goaways


def test_http_1_1_over_tls_is_as_before(certificate):
    """An HTTPS listener serves both at once."""
    with Origin() as origin, serving(origin, **sealed(certificate)) as gateway:
        with gateway.client(tls=tls_client(), sni="test.example") as client, gateway.http2(secure=True) as other:
            for _ in range(5):
                client.send(request_bytes("GET", "/a"))
                assert other.request("GET", "/b").status == 200 and client.read().status == 200
