"""The CORS filter: preflights are answered by the gateway, answers say what pages of other origins may read, and a backend's own
words about it are replaced."""
import pytest

from Fixtures import documents as docs
from Fixtures.gateway import cli, serving
from Fixtures.origin import Origin

NAMES = ("access-control-allow-origin", "access-control-allow-credentials", "access-control-allow-methods",
         "access-control-allow-headers", "access-control-expose-headers", "access-control-max-age")


def cors(**policy):
    return {"type": "CORS", "cors": policy}


def chatty(peer):
    """A backend that has a policy of its own, and a wide one."""
    while (request := peer.read_request()) is not None:
        vary = [("Vary", "Accept-Encoding, Origin")] if request.target.endswith("varies") else []
        peer.respond(200, [("Access-Control-Allow-Origin", "*"), ("Access-Control-Allow-Origin", "https://own.example"),
                           ("Access-Control-Allow-Credentials", "true"), ("access-control-expose-headers", "x-secret"), *vary],
                     b"{}", method=request.method)


def said(answer):
    return {n: answer.all(n) for n in NAMES if answer.all(n)}


def preflight(gateway, path, origin, method="PUT", fields=None, **more):
    headers = [("Origin", origin), ("Access-Control-Request-Method", method)]
    if fields:
        headers.append(("Access-Control-Request-Headers", fields))
    return gateway.get(path, "OPTIONS", headers, **more)


RULES = [
    docs.rule(["origin"], path="/list", filters=[cors(
        allowOrigins=["https://www.foo.com", "https://*.bar.com", "http://local:3000", "http://*:8080"], allowCredentials=True,
        allowMethods=["GET", "PUT"], allowHeaders=["x-a", "X-B"], exposeHeaders=["x-c", "x-d"], maxAge=3600)]),
    docs.rule(["origin"], path="/all", filters=[cors(allowOrigins=["*"], allowMethods=["*"], allowHeaders=["*"], exposeHeaders=["*"])]),
    docs.rule(["origin"], path="/secret", filters=[cors(
        allowOrigins=["*"], allowMethods=["*"], allowHeaders=["*"], exposeHeaders=["*"], allowCredentials=True)]),
    docs.rule(["origin"], path="/bare", filters=[cors(allowOrigins=["https://www.foo.com"])]),
    docs.rule([], path="/moved", filters=[cors(allowOrigins=["https://www.foo.com"]),
                                          {"type": "RequestRedirect", "requestRedirect": {"hostname": "there.example"}}]),
    docs.rule(["gone"], path="/gone", filters=[cors(allowOrigins=["https://www.foo.com"])]),
    docs.rule(["refusing"], path="/refusing", filters=[cors(allowOrigins=["https://www.foo.com"])]),
    docs.rule([docs.backend_ref("origin", filters=[cors(allowOrigins=["https://backend.example"])])], path="/backend",
              filters=[cors(allowOrigins=["https://rule.example"])]),
    docs.rule(["origin"], path="/edited", filters=[
        cors(allowOrigins=["https://www.foo.com"]),
        {"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["Origin"]}},
        {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": [{"name": "access-control-max-age", "value": "9"}]}}]),
    docs.rule(["origin"], path="/free"),
]


@pytest.fixture(scope="module")
def gateway():
    with Origin(chatty) as origin, serving(
            origin, rules=RULES, extra=[docs.backend([("127.0.0.1", 9)], name="refusing")]) as one:
        one.origin = origin
        yield one


@pytest.mark.parametrize("origin,allowed", [
    ("https://www.foo.com", True), ("https://www.foo.com:443", True), ("HTTPS://WWW.Foo.com", True), ("http://www.foo.com", False),
    ("https://www.foo.com:444", False), ("https://foo.com", False), ("https://a.bar.com", True), ("https://a.b.bar.com", True),
    ("https://bar.com", False), ("https://evilbar.com", False), ("https://a.bar.com.evil.example", False), ("http://local:3000", True),
    ("http://local", False), ("http://anything:8080", True), ("https://anything:8080", False), ("null", False),
    ("https://", False), ("https://a.bar.com/path", False), ("https://user@a.bar.com", False), ("https://a.bar.com:x", False),
    ("https://" + "a." * 160 + "bar.com", False),
])
def test_origins(gateway, origin, allowed):
    """Scheme, host and port have to agree; a wildcard takes any labels to its left and no fewer than one."""
    before = len(gateway.origin.requests)
    asked = preflight(gateway, "/list", origin, "PUT", "x-a")
    assert len(gateway.origin.requests) == before, "a preflight reached the backend"
    real = gateway.get("/list", headers=[("Origin", origin)])
    assert real.status == 200 and real.body == b"{}"
    assert "origin" in real.joined("vary").lower()
    if not allowed:
        assert asked.status == 403 and asked.get("x-gateway-error") == "origin_refused" and not said(asked) and not said(real)
        return
    assert asked.status == 204 and asked.body == b"" and not asked.all("content-length")
    assert said(asked) == {
        "access-control-allow-origin": [origin], "access-control-allow-credentials": ["true"],
        "access-control-allow-methods": ["GET, PUT"], "access-control-allow-headers": ["x-a, X-B"],
        "access-control-expose-headers": ["x-c, x-d"], "access-control-max-age": ["3600"]}
    assert said(real) == {"access-control-allow-origin": [origin], "access-control-allow-credentials": ["true"],
                          "access-control-expose-headers": ["x-c, x-d"]}


def test_all_origins(gateway):
    """`*` is said as such where no credentials go with it, and never with them; methods and fields asked for are said back."""
    for origin in ("https://a.example:12345", "null", "file://"):
        asked = preflight(gateway, "/all", origin, "QUERY", "x-one, x-two")
        assert asked.status == 204 and said(asked) == {
            "access-control-allow-origin": ["*"], "access-control-allow-methods": ["QUERY"],
            "access-control-allow-headers": ["x-one, x-two"], "access-control-expose-headers": ["*"], "access-control-max-age": ["5"]}
        assert said(gateway.get("/all", headers=[("Origin", origin)])) == {
            "access-control-allow-origin": ["*"], "access-control-expose-headers": ["*"]}
        asked = preflight(gateway, "/secret", origin, "PUT")
        assert asked.status == 204 and said(asked) == {
            "access-control-allow-origin": [origin], "access-control-allow-credentials": ["true"],
            "access-control-allow-methods": ["PUT"], "access-control-max-age": ["5"]}
        assert said(gateway.get("/secret", headers=[("Origin", origin)])) == {
            "access-control-allow-origin": [origin], "access-control-allow-credentials": ["true"]}
    odd = preflight(gateway, "/all", "https://a.example", "PUT", 'x-one; "x"')
    assert odd.status == 204 and not odd.all("access-control-allow-headers")


def test_what_is_no_preflight(gateway):
    """OPTIONS without Access-Control-Request-Method, and anything but OPTIONS, goes to the backend."""
    for method, fields in (("OPTIONS", [("Origin", "https://www.foo.com")]), ("OPTIONS", [("Access-Control-Request-Method", "PUT")]),
                           ("GET", [("Origin", "https://www.foo.com"), ("Access-Control-Request-Method", "PUT")])):
        before = len(gateway.origin.requests)
        answer = gateway.get("/bare", method, fields)
        assert answer.status == 200 and len(gateway.origin.requests) == before + 1
        assert said(answer) == ({"access-control-allow-origin": ["https://www.foo.com"]} if fields[0][0] == "Origin" else {})
    two = gateway.get("/bare", headers=[("Origin", "https://www.foo.com"), ("Origin", "https://www.foo.com")])
    assert two.status == 200 and not said(two)


def test_nothing_is_doubled(gateway):
    """What the backend says of it goes, whoever asks; Vary is not said twice; without the filter nothing is touched."""
    for fields in ([], [("Origin", "https://evil.example")], [("Origin", "https://www.foo.com")]):
        answer = gateway.get("/bare", headers=fields)
        assert "x-secret" not in repr(answer.headers) and "own.example" not in repr(answer.headers)
        assert answer.all("vary") == ["origin"]
        assert gateway.get("/bare/varies", headers=fields).all("vary") == ["Accept-Encoding, Origin"]
    free = gateway.get("/free", headers=[("Origin", "https://www.foo.com")])
    assert free.all("access-control-allow-origin") == ["*", "https://own.example"] and not free.all("vary")


def test_preflight_needs_no_backend(gateway):
    """Whether a backend is there is not what a preflight asks; what a page gets then, it may read."""
    for path, status in (("/gone", 500), ("/refusing", 503)):
        assert preflight(gateway, path, "https://www.foo.com").status == 204
        assert preflight(gateway, path, "https://evil.example").status == 403
        failed = gateway.get(path, headers=[("Origin", "https://www.foo.com")])
        assert failed.status == status and said(failed) == {"access-control-allow-origin": ["https://www.foo.com"]}
        assert not said(gateway.get(path, headers=[("Origin", "https://evil.example")]))
        assert not said(gateway.get(path))


def test_redirects(gateway):
    """A preflight is not redirected, and a redirect may be followed by the page."""
    assert preflight(gateway, "/moved", "https://www.foo.com").status == 204
    moved = gateway.get("/moved", headers=[("Origin", "https://www.foo.com")])
    assert moved.status == 302 and said(moved) == {"access-control-allow-origin": ["https://www.foo.com"]}
    assert moved.get("location") == "http://there.example/moved" or moved.get("location").startswith("http://there.example")


def test_a_backend_has_its_own(gateway):
    """The filter of a backendRef counts in place of its rule's."""
    assert preflight(gateway, "/backend", "https://backend.example").status == 204
    assert preflight(gateway, "/backend", "https://rule.example").status == 403
    assert said(gateway.get("/backend", headers=[("Origin", "https://backend.example")])) == {
        "access-control-allow-origin": ["https://backend.example"]}


def test_other_filters(gateway):
    """The origin counts as the client sent it; a ResponseHeaderModifier has the last word."""
    answer = gateway.get("/edited", headers=[("Origin", "https://www.foo.com")])
    assert said(answer) == {"access-control-allow-origin": ["https://www.foo.com"], "access-control-max-age": ["9"]}
    assert gateway.origin.last().get("origin") is None


def test_http2(gateway):
    """The same over HTTP/2, on one connection."""
    with gateway.http2() as client:
        asked = client.request("OPTIONS", "/list", [("origin", "https://www.foo.com"), ("access-control-request-method", "PUT")])
        assert asked.status == 204 and asked.get("access-control-allow-origin") == "https://www.foo.com"
        assert asked.get("access-control-allow-methods") == "GET, PUT"
        real = client.request("GET", "/list", [("origin", "https://www.foo.com")])
        assert real.status == 200 and real.all("access-control-allow-origin") == ["https://www.foo.com"]


def test_one_connection_and_the_log(gateway):
    """Preflights keep the connection, and each is told of."""
    with gateway.client() as client:
        for _ in range(3):
            client.send(b"OPTIONS /list HTTP/1.1\r\nHost: test.example\r\nOrigin: https://www.foo.com\r\n"
                        b"Access-Control-Request-Method: PUT\r\n\r\n")
            assert client.read("OPTIONS").status == 204
            assert client.request("GET", "/list").status == 200
    assert gateway.total("ai_gateway_requests_total", code="204") >= 3


def test_check_and_explain(tmp_path):
    """`check` says what is no origin, with its place; `explain` says who answers a preflight."""
    good = [docs.gateway([docs.listener(8080)]), docs.backend([("127.0.0.1", 9)]),
            docs.route([docs.rule(filters=[cors(allowOrigins=["https://www.foo.com"])])])]
    (tmp_path / "main.yaml").write_text(docs.dump(good))
    code, out, err = cli("check", tmp_path)
    assert code == 0, (out, err)
    fields = ["-X", "OPTIONS", "-H", "access-control-request-method: PUT"]
    code, out, err = cli("explain", tmp_path, *fields, "-H", "origin: https://www.foo.com", "http://127.0.0.1:8080/")
    assert code == 0 and "204" in out and "preflight" in out, (out, err)
    code, out, err = cli("explain", tmp_path, *fields, "-H", "origin: https://evil.example", "http://127.0.0.1:8080/")
    assert "403" in out and "origin_refused" in out, (out, err)
    code, out, err = cli("explain", tmp_path, "http://127.0.0.1:8080/")
    assert code == 0 and "https://www.foo.com" in out, (out, err)
    for policy, path in (({"allowOrigins": ["www.foo.com"]}, "allowOrigins[0]"), ({"allowOrigins": ["https://a.*.com"]}, "allowOrigins[0]"),
                         ({"allowOrigins": ["*", "https://a.com"]}, "allowOrigins"), ({"allowMethods": ["get"]}, "allowMethods[0]"),
                         ({"allowHeaders": ["a b"]}, "allowHeaders[0]"), ({"maxAge": 0}, "maxAge")):
        bad = good[:2] + [docs.route([docs.rule(filters=[cors(**policy)])])]
        (tmp_path / "main.yaml").write_text(docs.dump(bad))
        code, out, err = cli("check", tmp_path)
        assert code == 1 and f"spec.rules[0].filters[0].cors.{path}" in out + err, (policy, out, err)
