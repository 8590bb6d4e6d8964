"""HTTP/1.1 between client and backend: what passes, what is changed, what is bounded."""
import json
import threading
import time

import pytest

from Fixtures import documents as docs
from Fixtures.gateway import serving
from Fixtures.http1 import request_bytes
from Fixtures.limits import short
from Fixtures.net import wait_until
from Fixtures.origin import Origin


@pytest.fixture(scope="module")
def echoing():
    """One gateway in front of an echoing origin, for the tests that change nothing."""
    with Origin() as origin, serving(origin) as gateway:
        gateway.origin = origin
        yield gateway
    assert not origin.errors, origin.errors


def echoed(response):
    assert response.status == 200, response
    return json.loads(response.body)


def names(echo):
    return [n.lower() for n, _ in echo["headers"]]


def field(echo, name):
    return [v for n, v in echo["headers"] if n.lower() == name]


# -- connections

def test_keep_alive_serves_request_after_request(echoing):
    """100 requests on one connection, of every size of body."""
    with echoing.client() as client:
        for n in range(100):
            body = b"x" * (n * 97)
            e = echoed(client.request("POST", f"/{n}", body=body))
            assert (e["target"], e["length"]) == (f"/{n}", len(body))


def test_pipelined_requests_are_answered_in_order(echoing):
    """50 requests in one write, some with bodies: 50 answers, in order, and nothing more."""
    data = b"".join(request_bytes("POST" if n % 3 else "GET", f"/p{n}", body=b"b" * n if n % 3 else b"") for n in range(50))
    with echoing.client() as client:
        client.send(data)
        for n in range(50):
            assert echoed(client.read())["target"] == f"/p{n}"
        client.timeout(0.3)
        with pytest.raises(TimeoutError):
            client.fill()


def test_pipelined_requests_wait_for_the_answer_before_them():
    """At most one request of a connection is in progress upstream."""
    def script(peer):
        while (request := peer.read_request()) is not None:
            with peer.origin.lock:
                peer.origin.busy += 1
                peer.origin.most = max(peer.origin.most, peer.origin.busy)
            time.sleep(0.05)
            with peer.origin.lock:
                peer.origin.busy -= 1
            peer.respond(200, body=request.target.encode())
    with Origin(script) as origin, serving(origin) as gateway, gateway.client() as client:
        origin.busy = origin.most = 0
        client.send(b"".join(request_bytes("GET", f"/{n}") for n in range(8)))
        assert [client.read().body for _ in range(8)] == [f"/{n}".encode() for n in range(8)]
        assert origin.most == 1


def test_a_request_in_pieces_of_one_byte_is_served(echoing):
    """Any split of the bytes gives the same request."""
    data = request_bytes("POST", "/slow?q=1", [("X-A", "b"), ("Transfer-Encoding", "chunked")]) + b"3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nX-T: 1\r\n\r\n"
    with echoing.client() as client:
        for n in range(len(data)):
            client.send(data[n:n + 1])
        e = echoed(client.read())
        assert (e["target"], e["length"]) == ("/slow?q=1", 7)


def test_connection_close_of_the_client_is_obeyed(echoing):
    """The answer says close, and the connection ends with a FIN."""
    with echoing.client() as client:
        response = client.request("GET", "/", [("Connection", "close")])
        assert response.get("connection", "").lower() == "close"
        assert client.how_it_ends(5) == "eof"


@pytest.mark.parametrize("keep", [False, True])
def test_http_1_0_clients(echoing, keep):
    """No Host is needed; the connection closes unless keep-alive was asked; the answer is never chunked."""
    with echoing.client() as client:
        client.send(request_bytes("GET", "/old", [("Connection", "keep-alive")] if keep else [], host="test.example", version="1.0"))
        response = client.read()
        assert response.status == 200 and response.get("transfer-encoding") is None and response.complete
        if keep:
            assert "keep-alive" in (response.get("connection") or "").lower()
            assert client.request("GET", "/again", [("Connection", "keep-alive")], version="1.0").status == 200
        else:
            assert client.how_it_ends(5) == "eof"


def test_http_1_0_clients_get_a_stream_until_the_close():
    """A chunked answer to a 1.0 client comes without chunk headers and ends with the connection."""
    def script(peer):
        peer.read_request()
        peer.head(200, [("Transfer-Encoding", "chunked")])
        peer.chunk(b"one")
        peer.chunk(b"two")
        peer.end_chunks()
    with Origin(script) as origin, serving(origin) as gateway, gateway.client() as client:
        client.send(request_bytes("GET", "/", version="1.0"))
        response = client.read()
        assert response.body == b"onetwo" and response.get("transfer-encoding") is None and response.ended == "eof"


def test_an_http_1_0_backend_is_read_until_its_close():
    """A 1.0 answer without length passes whole and stays distinguishable from a cut."""
    def script(peer):
        peer.read_request()
        peer.send(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n" + b"z" * 100_000)
    with Origin(script) as origin, serving(origin) as gateway, gateway.client() as client:
        response = client.request("GET", "/")
        assert response.body == b"z" * 100_000 and response.complete
        assert client.request("GET", "/").status == 200


def test_empty_lines_before_a_request_are_skipped(echoing):
    """A stray CRLF after a body, as old clients send."""
    with echoing.client() as client:
        client.send(b"\r\n" + request_bytes("GET", "/after"))
        assert echoed(client.read())["target"] == "/after"


# -- responses without content

@pytest.mark.parametrize("status", [204, 304])
def test_204_and_304_have_no_content(status):
    """The next answer follows at once, whatever Content-Length a 304 carries."""
    def script(peer):
        while (request := peer.read_request()) is not None:
            if request.target == "/none":
                peer.head(status, [("ETag", '"x"')] + ([("Content-Length", "500")] if status == 304 else []))
            else:
                peer.respond(200, body=b"next")
    with Origin(script) as origin, serving(origin) as gateway, gateway.client() as client:
        response = client.request("GET", "/none")
        assert response.status == status and response.get("etag") == '"x"' and response.body == b""
        assert client.request("GET", "/").body == b"next"


@pytest.mark.parametrize("fields", [[("Content-Length", "12345")], [("Transfer-Encoding", "chunked")], []])
def test_head_answers_have_no_content_and_keep_their_length(fields):
    """HEAD: the fields that GET would have, no body; then the connection goes on."""
    def script(peer):
        while (request := peer.read_request()) is not None:
            if request.method == "HEAD":
                peer.head(200, fields)
            else:
                peer.respond(200, body=b"next")
    with Origin(script) as origin, serving(origin) as gateway, gateway.client() as client:
        response = client.request("HEAD", "/")
        assert response.status == 200 and response.body == b""
        if fields and fields[0][0] == "Content-Length":
            assert response.get("content-length") == "12345"
        assert client.request("GET", "/").body == b"next"


def test_interim_answers_pass():
    """100 apart, 103 Early Hints reaches the client before the final head, with its fields."""
    def script(peer):
        while peer.read_request() is not None:
            peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n")
            peer.respond(200, body=b"done")
    with Origin(script) as origin, serving(origin) as gateway, gateway.client() as client:
        for _ in range(2):
            response = client.request("GET", "/")
            assert response.status == 200 and response.body == b"done"
            assert [i.status for i in response.informational] in ([103], [])       # pass or drop
        if response.informational:
            assert response.informational[0].get("link") == "</a.css>; rel=preload"


def test_http_1_0_clients_get_no_interim_answers():
    """RFC 9110 §15.2: 1xx is not sent to a 1.0 client."""
    def script(peer):
        peer.read_request()
        peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n")
        peer.respond(200, body=b"done")
    with Origin(script) as origin, serving(origin) as gateway, gateway.client() as client:
        client.send(request_bytes("GET", "/", version="1.0"))
        assert client.read_head().status == 200


# -- Expect

def test_expect_100_continue_is_answered_before_the_body():
    """curl's habit with large bodies: 100 comes, then the body goes, then the answer comes."""
    with Origin() as origin, serving(origin) as gateway, gateway.client() as client:
        client.send(request_bytes("POST", "/up", [("Content-Length", "5"), ("Expect", "100-continue")]))
        assert client.read_head().status == 100
        client.send(b"hello")
        e = echoed(client.read())
        assert e["length"] == 5


def test_a_refusal_instead_of_100_leaves_no_body_to_be_read_as_a_request():
    """No route: the final answer may come at once; what the client then sends is no new request."""
    with Origin() as origin, serving(origin, rules=[docs.rule(path="/only")]) as gateway, gateway.client() as client:
        body = b"GET /only HTTP/1.1\r\nHost: x\r\n\r\n"
        client.send(request_bytes("POST", "/none", [("Content-Length", str(len(body))), ("Expect", "100-continue")]))
        head = client.read_head()
        if head.status == 100:
            client.send(body)
            head = client.read_head()
        assert head.status == 404
        try:
            client.send(body)
        except OSError:
            pass
        client.timeout(1)
        client.how_it_ends(1)
        assert origin.requests == []


# -- fields

def test_connection_fields_are_removed_in_both_directions():
    """Connection, what it names, Keep-Alive, Proxy-Connection, TE, Upgrade, Trailer: one hop only."""
    def script(peer):
        while (request := peer.read_request()) is not None:
            peer.respond(200, [("Connection", "keep-alive, x-private"), ("X-Private", "1"), ("Keep-Alive", "timeout=5"),
                               ("Proxy-Connection", "x"), ("X-Public", "2"), ("Proxy-Authenticate", "Basic")],
                         json.dumps({"headers": request.headers}).encode())
    sent = [("Connection", "keep-alive, X-Secret, te"), ("X-Secret", "1"), ("Keep-Alive", "300"), ("Proxy-Connection", "keep-alive"),
            ("TE", "gzip"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABkAAQAAP__"), ("X-Kept", "yes"), ("Authorization", "Bearer t")]
    with Origin(script) as origin, serving(origin) as gateway, gateway.client() as client:
        response = client.request("GET", "/", sent)
        seen = [n.lower() for n, _ in json.loads(response.body)["headers"]]
        for name in ("x-secret", "keep-alive", "proxy-connection", "te", "upgrade", "http2-settings"):
            assert name not in seen, name
        assert "x-kept" in seen and "authorization" in seen
        for name in ("x-private", "keep-alive", "proxy-connection"):
            assert response.get(name) is None, name
        assert response.get("x-public") == "2"


@pytest.mark.parametrize("name", ["Host", "Content-Length", "Authorization", "X-Forwarded-For", "Transfer-Encoding"])
def test_a_client_cannot_remove_what_the_gateway_vouches_for(echoing, name):
    """`Connection: host` and the like are ignored (or the request is refused)."""
    with echoing.client() as client:
        response = client.request("POST", "/", [("Connection", name), ("Authorization", "Bearer t")], b"abc")
        if response.status == 400:
            return
        e = echoed(response)
        assert e["host"] and e["length"] == 3
        assert field(e, "authorization") == ["Bearer t"] and field(e, "x-forwarded-for")


def test_forwarded_fields_are_the_gateways_own(echoing):
    """What a client claims is overwritten: it trusts nobody by default."""
    with echoing.client() as client:
        e = echoed(client.request("GET", "/", [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-Proto", "https"),
                                               ("X-Forwarded-Host", "evil.example")], host="test.example:81"))
    assert field(e, "x-forwarded-for") == ["127.0.0.1"]
    assert field(e, "x-forwarded-proto") == ["http"]
    assert field(e, "x-forwarded-host") in (["test.example:81"], ["test.example"])


def test_forwarded_fields_of_a_trusted_proxy_are_kept():
    """With trustedProxies the chain is continued."""
    with Origin() as origin, serving(origin, parameters={"trustedProxies": {"cidrs": ["127.0.0.0/8"], "hops": 1}}) as gateway:
        e = echoed(gateway.get("/", headers=[("X-Forwarded-For", "198.51.100.7"), ("X-Forwarded-Proto", "https")]))
        chain = ",".join(field(e, "x-forwarded-for")).replace(" ", "")
        assert chain == "198.51.100.7,127.0.0.1", chain
        assert field(e, "x-forwarded-proto") == ["https"]


TOLD = {
    "the proxy's own entry": ({"hops": 1}, [("X-Forwarded-For", "6.6.6.6, 198.51.100.7")], "198.51.100.7"),
    "two proxies": ({"hops": 2}, [("X-Forwarded-For", "6.6.6.6, 198.51.100.7, 10.0.0.9")], "198.51.100.7"),
    "two lines": ({"hops": 2}, [("X-Forwarded-For", "6.6.6.6,198.51.100.7"), ("X-Forwarded-For", "10.0.0.9")], "198.51.100.7"),
    "empty entries": ({"hops": 1}, [("X-Forwarded-For", "198.51.100.7, ,")], "198.51.100.7"),
    "with a port": ({"hops": 1}, [("X-Forwarded-For", "198.51.100.7:4711")], "198.51.100.7"),
    "IPv6 with a port": ({"hops": 1}, [("X-Forwarded-For", "[2001:db8::7]:4711")], "2001:db8::7"),
    "fewer than said": ({"hops": 2}, [("X-Forwarded-For", "198.51.100.7")], None),
    "no address": ({"hops": 1}, [("X-Forwarded-For", "unknown")], None),
    "no field": ({"hops": 1}, [], None),
    "another field": ({"header": "CF-Connecting-IP"}, [("cf-connecting-ip", "198.51.100.7"), ("X-Forwarded-For", "6.6.6.6")], "198.51.100.7"),
    "another field, twice": ({"header": "cf-connecting-ip"}, [("cf-connecting-ip", "198.51.100.7"), ("CF-Connecting-IP", "6.6.6.6")], None),
    "another field, not there": ({"header": "cf-connecting-ip"}, [("X-Forwarded-For", "6.6.6.6")], None),
}


@pytest.mark.parametrize("name", TOLD)
def test_the_client_that_trusted_proxies_tell_of(name):
    """`hops` and `header`: whom the access log names, of answers of the backend and of the gateway's own."""
    how, fields, told = TOLD[name]
    with Origin() as origin, serving(origin, rules=[docs.rule(path="/there")],
                                     parameters={"trustedProxies": {"cidrs": ["127.0.0.0/8"], **how}}) as gateway:
        e = echoed(gateway.get("/there", headers=fields))
        assert gateway.get("/nowhere", headers=fields).status == 404
        lines = wait_until(lambda: len(gateway.access()) == 2 and gateway.access(), 5)
        for line in lines:
            assert line["client"] == told if told else line["client"].startswith("127.0.0.1:"), line
        assert {line["path"] for line in lines} == {"/there", "/nowhere"}
        chain = ",".join(field(e, "x-forwarded-for")).replace(" ", "").split(",")
        assert chain[-1] == "127.0.0.1"
        if "header" in how:                        # the list is not what the proxy vouches for: it begins anew
            assert chain[:-1] == ([told] if told else [])


def test_a_field_of_trusted_proxies_comes_from_nobody_else():
    """A backend may believe it as the gateway does, so a stranger's is dropped."""
    with Origin() as origin, serving(origin, parameters={"trustedProxies": {"cidrs": ["192.0.2.0/24"], "header": "cf-connecting-ip"}}) as gateway:
        e = echoed(gateway.get("/", headers=[("CF-Connecting-IP", "6.6.6.6"), ("X-Forwarded-For", "6.6.6.6")]))
        assert not field(e, "cf-connecting-ip") and field(e, "x-forwarded-for") == ["127.0.0.1"]
        line = wait_until(lambda: next(iter(gateway.access()), None), 5)
        assert line["client"].startswith("127.0.0.1:")


@pytest.mark.parametrize("given,kept", [("abc-123._X", True), ("a" * 128, True), ("a" * 129, False), ("", False),
                                        ("bad id", False), ("<script>", False), ("é", False)])
def test_x_request_id_is_kept_if_it_is_plain_and_made_otherwise(echoing, given, kept):
    """1 to 128 of [A-Za-z0-9._-] is kept; anything else is replaced by a UUID."""
    with echoing.client() as client:
        e = echoed(client.request("GET", "/", [("X-Request-Id", given)]))
    value = field(e, "x-request-id")
    assert len(value) == 1
    if kept:
        assert value == [given]
    else:
        assert len(value[0]) == 36 and value[0].count("-") == 4


def test_every_request_gets_an_id_of_its_own(echoing):
    """100 requests, 100 ids, UUID version 7."""
    with echoing.client() as client:
        ids = {field(echoed(client.request("GET", "/")), "x-request-id")[0] for _ in range(100)}
    assert len(ids) == 100 and all(i[14] == "7" for i in ids)


def test_host_is_forwarded_unchanged_with_its_port(echoing):
    """The port plays no part in matching and stays."""
    assert echoed(echoing.get("/", host="Very.Specific.COM:1234"))["host"] == "Very.Specific.COM:1234"


def test_fields_pass_with_their_order_case_and_high_bytes(echoing):
    """Repeated fields keep their order, bytes from 0x80 pass, surrounding blanks go."""
    with echoing.client() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: test.example\r\nX-A: one\r\nx-b:  two \t \r\nX-A: three\r\nX-High: \xe9\xff\r\nX-Empty:\r\n\r\n")
        e = echoed(client.read())
    assert field(e, "x-a") == ["one", "three"] and field(e, "x-b") == ["two"] and field(e, "x-empty") == [""]
    assert field(e, "x-high") == ["\xe9\xff"]


def test_absolute_form_replaces_host(echoing):
    """RFC 9112 §3.2.2: the authority of the target wins, and both agree towards the backend."""
    with echoing.client() as client:
        e = echoed(client.request("GET", "http://real.example/x?y=1", host="ignored.example"))
    assert (e["target"], e["host"]) == ("/x?y=1", "real.example")


def test_options_asterisk(echoing):
    """`OPTIONS *` is a request of its own form; it is answered and breaks nothing."""
    with echoing.client() as client:
        response = client.request("OPTIONS", "*")
        assert response.status in (200, 204, 404)
        assert client.request("GET", "/").status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS", "PATCH", "PUT", "PROPFIND"])
def test_a_body_on_any_method_is_kept(echoing, method):
    """A body is forwarded and framed, never dropped silently, and never left to be read as a request."""
    before = len(echoing.origin.requests)
    with echoing.client() as client:
        response = client.request(method, "/with-body", body=b"GET /x HTTP/1.1\r\n\r\n")
        assert response.status == 200
        assert client.request("GET", "/next").status == 200
    requests = echoing.origin.requests[before:]
    assert [r.target for r in requests] == ["/with-body", "/next"] and requests[0].body == b"GET /x HTTP/1.1\r\n\r\n"


def test_chunked_uploads_with_extensions_and_trailers(echoing):
    """Extensions are dropped, the content is exact, framing and routing names never come out of trailers."""
    data = b"5;ext=\"a;b\"\r\nhello\r\n6 ; x\r\n world\r\n0\r\nX-Sum: 1\r\nContent-Length: 3\r\nHost: evil\r\nTransfer-Encoding: x\r\n\r\n"
    before = len(echoing.origin.requests)
    with echoing.client() as client:
        client.send(request_bytes("POST", "/chunks", [("Transfer-Encoding", "chunked"), ("Trailer", "X-Sum")]) + data)
        response = client.read()
        if response.status == 400:                        # blanks before an extension, or such trailers, may be refused
            return
        assert echoed(response)["length"] == 11
    request = echoing.origin.requests[before]
    assert request.body == b"hello world"
    assert not {"content-length", "host", "transfer-encoding"} & {n.lower() for n, _ in request.trailers}


def test_answer_trailers_reach_a_client_that_asks():
    """`TE: trailers` and a chunked answer: the trailer arrives, or is dropped; the end is clean."""
    def script(peer):
        while peer.read_request() is not None:
            peer.head(200, [("Transfer-Encoding", "chunked"), ("Trailer", "X-Sum")])
            peer.chunk(b"abc")
            peer.end_chunks(b"X-Sum: 42\r\n")
    with Origin(script) as origin, serving(origin) as gateway, gateway.client() as client:
        response = client.request("GET", "/", [("TE", "trailers"), ("Connection", "te")])
        assert response.complete and response.body == b"abc" and response.trailers == [("X-Sum", "42")]
        response = client.request("GET", "/")
        assert response.complete and response.trailers in ([], [("X-Sum", "42")])


# -- paths

PATHS = [
    ("/a/b/c", "/a/b/c"), ("/a/./b", "/a/b"), ("/a/../b", "/b"), ("/a/b/..", "/a/"), ("/a/b/.", "/a/b/"), ("/../../a", "/a"),
    ("//a//b", "/a/b"), ("/%61/%62", "/a/b"), ("/%7Euser", "/~user"), ("/a%2Fb", "/a%2Fb"), ("/a%5Cb", "/a%5Cb"),
    ("/a%20b", "/a%20b"), ("/%2e%2e/a", "/a"), ("/a/%2E/b", "/a/b"), ("/a?q=/../x", "/a?q=/../x"), ("/a?x=%41", "/a?x=%41"),
    ("/?", "/?"), ("/a;v=1/b", "/a;v=1/b"), ("/api/models/meta-llama%2FLlama-3", "/api/models/meta-llama%2FLlama-3"),
]


@pytest.mark.parametrize("sent,forwarded", PATHS, ids=[p[0] for p in PATHS])
def test_the_path_is_normalised_once_and_forwarded_as_matched(echoing, sent, forwarded):
    """Unreserved escapes decoded, dot segments resolved, slashes merged; %2F and %5C stay."""
    assert echoed(echoing.get(sent))["target"] == forwarded


def test_a_dot_segment_cannot_escape_its_prefix():
    """/public/../admin is /admin for matching as well."""
    with Origin(name="public") as public, Origin(name="admin") as admin, serving(
            {"public": public, "admin": admin}, rules=[docs.rule(["public"], path="/public"), docs.rule(["admin"], path="/admin")]) as gateway:
        for path in ("/public/../admin", "/public/%2e%2e/admin", "/public/x/../../admin"):
            assert json.loads(gateway.get(path).body)["origin"] == "admin", path
        # Dot segments are resolved before slashes are merged (RFC 3986 section 5.2.4), so ".." takes the empty segment.
        answer = json.loads(gateway.get("/public//../admin").body)
        assert (answer["origin"], answer["target"] if "target" in answer else "/public/admin") == ("public", "/public/admin")


# -- limits

def test_a_request_line_over_8_kib_is_414(echoing):
    """One byte under passes, well over is refused."""
    assert echoing.get("/" + "a" * 8000).status == 200
    assert echoing.get("/" + "a" * 9000).status == 414


def test_one_field_over_16_kib_is_431(echoing):
    """A large token passes, a larger one is refused."""
    assert echoing.get("/", headers=[("Authorization", "x" * 15_000)]).status == 200
    assert echoing.get("/", headers=[("Authorization", "x" * 17_000)]).status == 431


def test_all_fields_over_60_kib_are_431(echoing):
    """Many fields of legal size."""
    assert echoing.get("/", headers=[(f"X-{n}", "v" * 8000) for n in range(7)]).status == 200
    assert echoing.get("/", headers=[(f"X-{n}", "v" * 8000) for n in range(9)]).status == 431


def test_more_than_100_fields_are_431(echoing):
    """Counted, whatever their size."""
    assert echoing.get("/", headers=[(f"X-{n}", "v") for n in range(90)]).status == 200
    assert echoing.get("/", headers=[(f"X-{n}", "v") for n in range(120)]).status == 431


def test_limits_can_be_set():
    """GatewayParameters by the names of the limits."""
    with Origin() as origin, serving(origin, limits={"requestLineBytesMax": 1024, "fieldCountMax": 10}) as gateway:
        assert gateway.get("/" + "a" * 2000).status == 414
        assert gateway.get("/", headers=[(f"X-{n}", "v") for n in range(20)]).status == 431
        assert gateway.get("/").status == 200


def test_a_slow_head_is_408_and_a_silent_connection_is_closed():
    """From the first byte the head has its time, however often a byte comes; a silent connection has its own."""
    with Origin() as origin, serving(origin, timeouts=short(requestHeader=400, silentConnection=600)) as gateway:
        with gateway.client() as slow, gateway.client() as silent:
            slow.send(b"GET / HTTP/1.1\r\n")
            began = time.monotonic()
            try:
                while time.monotonic() - began < 3:
                    slow.send(b"X: y\r\n")
                    time.sleep(0.1)
                    slow.timeout(0.01)
                    try:
                        if slow.fill():
                            break
                    except TimeoutError:
                        pass
            except OSError:
                pass
            slow.timeout(3)
            assert slow.read().status == 408
            assert time.monotonic() - began < 2.5
            assert slow.how_it_ends(5) in ("eof", "reset")
            assert silent.how_it_ends(5) in ("eof", "reset")
        assert origin.requests == []


def test_a_body_that_stops_is_408():
    """A client that stalls inside its upload."""
    with Origin() as origin, serving(origin, timeouts=short(requestBodyIdle=400)) as gateway, gateway.client() as client:
        client.send(request_bytes("POST", "/", [("Content-Length", "100")]) + b"half")
        response = client.read()
        assert response.status == 408
        assert client.how_it_ends(5) in ("eof", "reset")
        assert all(not r.complete for r in origin.requests)


def test_an_idle_keep_alive_connection_is_closed_after_its_time():
    """With a FIN, and not while a request is running."""
    with Origin() as origin, serving(origin, timeouts=short(keepAliveIdle=500)) as gateway, gateway.client() as client:
        assert client.request("GET", "/").status == 200
        began = time.monotonic()
        assert client.how_it_ends(5) == "eof"
        assert 0.3 < time.monotonic() - began < 3


def test_a_client_that_takes_nothing_is_cut_after_the_write_stall_time():
    """A reader that stalls for ever frees the backend."""
    def script(peer):
        peer.read_request()
        peer.head(200, [("Content-Length", str(64 << 20))])
        for _ in range(64):
            peer.send(b"x" * (1 << 20))
    with Origin(script) as origin, serving(origin, timeouts=short(clientWriteStall=600)) as gateway:
        with gateway.client(receive_buffer=4096) as client:
            client.send(request_bytes("GET", "/"))
            client.read_response()
            wait_until(lambda: origin.peers[0].closed, 15, what="the backend freed")


def test_a_closed_connection_still_delivers_its_last_answer(echoing):
    """A refusal is not lost to a reset while the client still writes: the close lingers."""
    for _ in range(20):
        with echoing.client() as client:
            client.send(b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n" + b"x" * 60_000)
            assert client.read().status == 400


def test_a_large_body_passes_both_ways(echoing):
    """20 MB up, exact by hash."""
    import hashlib
    body = bytes(range(256)) * 80_000
    e = echoed(echoing.get("/", method="POST", body=body, timeout=30))
    assert e["length"] == len(body) and e["sha256"] == hashlib.sha256(body).hexdigest()


def test_one_slow_client_does_not_hold_up_others(echoing):
    """Connections that trickle their heads do not slow down a busy one."""
    slow = [echoing.client() for _ in range(100)]
    for client in slow:
        client.send(b"GET / HTTP/1.1\r\nHost: test.example\r\nX-")
    began = time.monotonic()
    with echoing.client() as client:
        for _ in range(200):
            assert client.request("GET", "/").status == 200
    assert time.monotonic() - began < 5
    for client in slow:
        client.send(b"A: b\r\n\r\n")
    for client in slow:
        assert client.read().status == 200
        client.close()


def test_requests_from_many_threads_never_mix(echoing):
    """16 connections, bodies of random size: each gets its own hash back."""
    import hashlib
    import os
    import random
    errors = []

    def one(seed):
        random_ = random.Random(seed)
        with echoing.client() as client:
            for _ in range(40):
                body = os.urandom(random_.randrange(0, 70_000))
                e = json.loads(client.request("PUT", f"/{seed}", body=body, chunked=random_.random() < 0.5).body)
                if (e["length"], e["sha256"]) != (len(body), hashlib.sha256(body).hexdigest()):
                    errors.append(seed)
    threads = [threading.Thread(target=one, args=(s,)) for s in range(16)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not errors
