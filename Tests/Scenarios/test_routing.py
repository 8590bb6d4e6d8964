"""HTTPRoute: which rule a request gets, what its filters do, and how weights share."""
import collections
import json

import pytest

from Fixtures import documents as docs
from Fixtures.gateway import serving
from Fixtures.net import free_port_on
from Fixtures.origin import Origin

NAMES = ["exact", "prefix", "deep", "root", "header", "query", "method", "regex", "two"]


def sent(response):
    assert response.status == 200, response
    return json.loads(response.body)


class Several:
    """Origins by name behind one port each."""

    def __init__(self, *names):
        self.origins = {n: Origin(name=n) for n in names}

    def __enter__(self):
        return self.origins

    def __exit__(self, *_):
        for o in self.origins.values():
            o.stop()


@pytest.fixture(scope="module")
def matching():
    with Several(*NAMES) as origins, serving(origins, rules=[
            docs.rule(["root"], path="/"), docs.rule(["prefix"], path="/one"), docs.rule(["deep"], path="/one/two/"),
            docs.rule(["exact"], exact="/one/two"), docs.rule(["header"], path="/one", headers={"X-Kind": "a", "version": "2"}),
            docs.rule(["query"], path="/one", query={"q": "1"}), docs.rule(["method"], path="/one", method="DELETE"),
            docs.rule(["regex"], regex="/re/[0-9]+")]) as gateway:
        yield gateway


@pytest.mark.parametrize("target,fields,method,expected", [
    ("/", {}, "GET", "root"), ("/on", {}, "GET", "root"), ("/onetwo", {}, "GET", "root"),
    ("/one", {}, "GET", "prefix"), ("/one/", {}, "GET", "prefix"), ("/one?x=/one/two", {}, "GET", "prefix"),
    ("/One", {}, "GET", "root"), ("/one/two", {}, "GET", "exact"), ("/one/two/", {}, "GET", "deep"),
    ("/one/two/three", {}, "GET", "deep"), ("/one/twothree", {}, "GET", "prefix"), ("/one/%74wo", {}, "GET", "exact"),
    ("/one/x", {"x-kind": "a", "Version": "2"}, "GET", "header"), ("/one/x", {"x-kind": "a"}, "GET", "prefix"),
    ("/one/x", {"x-kind": "A", "version": "2"}, "GET", "prefix"),
    ("/one?q=1", {}, "GET", "query"), ("/one?q=2", {}, "GET", "prefix"), ("/one?q=1&q=2", {}, "GET", "query"),
    ("/one?q=2&q=1", {}, "GET", "prefix"), ("/one?Q=1", {}, "GET", "prefix"), ("/one?a&q=1&b", {}, "GET", "query"),
    ("/one", {}, "DELETE", "method"), ("/one?q=1", {"x-kind": "a", "version": "2"}, "DELETE", "method"),
    ("/one?q=1", {"x-kind": "a", "version": "2"}, "GET", "header"),
    ("/re/12", {}, "GET", "regex"), ("/re/12x", {}, "GET", "root"), ("/re/", {}, "GET", "root"), ("/x/re/12", {}, "GET", "root"),
])
def test_precedence(matching, target, fields, method, expected):
    """Exact before the longest prefix by elements, then method, then header and query matches."""
    assert sent(matching.get(target, method, fields))["origin"] == expected


def test_hostnames():
    """Exact before the longer wildcard before the shorter before none; the port and one final dot do not count."""
    with Several("exact", "long", "short", "any") as origins, serving(
            origins, rules=[docs.rule(["any"])], extra=[
                docs.route([docs.rule(["exact"])], ["a.b.example"], name="exact"),
                docs.route([docs.rule(["long"])], ["*.b.example"], name="long"),
                docs.route([docs.rule(["short"])], ["*.example"], name="short")]) as gateway:
        for host, expected in [("a.b.example", "exact"), ("A.B.Example", "exact"), ("a.b.example:8080", "exact"),
                               ("a.b.example.", "exact"), ("c.b.example", "long"), ("x.y.b.example", "long"),
                               ("b.example", "short"), ("q.example", "short"), ("example", "any"), ("other", "any"),
                               ("127.0.0.1", "any"), ("[::1]:80", "any")]:
            assert sent(gateway.get("/", host=host))["origin"] == expected, host


def test_the_hostname_comes_before_the_path():
    """A more specific host's rule wins over a longer path of a wildcard host."""
    with Several("host", "path") as origins, serving(
            origins, rules=[docs.rule(["host"], path="/")], hostnames=["a.example"], extra=[
                docs.route([docs.rule(["path"], path="/very/long")], ["*.example"], name="wild")]) as gateway:
        assert sent(gateway.get("/very/long", host="a.example"))["origin"] == "host"
        assert sent(gateway.get("/very/long", host="b.example"))["origin"] == "path"
        assert gateway.get("/other", host="b.example").status == 404


def test_the_older_route_wins_and_then_the_name():
    """Equal matches in two routes: creationTimestamp, then namespace/name."""
    old, new = docs.route([docs.rule(["old"])], name="zebra"), docs.route([docs.rule(["new"])], name="apple")
    old["metadata"]["creationTimestamp"], new["metadata"]["creationTimestamp"] = "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z"
    first, second = docs.route([docs.rule(["first"], path="/t")], name="aaa"), docs.route([docs.rule(["second"], path="/t")], name="bbb")
    with Several("old", "new", "first", "second") as origins, serving(
            origins, rules=[docs.rule(["new"], path="/unused")], extra=[new, old, second, first]) as gateway:
        assert sent(gateway.get("/"))["origin"] == "old"
        assert sent(gateway.get("/t"))["origin"] == "first"


# -- filters

REWRITES = [  # gateway-api: request, prefix, replacement, result
    ("/foo/bar", "/foo", "/xyz", "/xyz/bar"), ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"), ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
    ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"), ("/foo", "/foo", "/xyz", "/xyz"), ("/foo/", "/foo", "/xyz", "/xyz/"),
    ("/foo/bar", "/foo", "", "/bar"), ("/foo", "/foo", "", "/"), ("/foo/", "/foo", "", "/"), ("/foo", "/foo", "/", "/"),
    ("/foo/", "/foo", "/", "/"), ("/foo/bar?q=1&r=/foo", "/foo", "/xyz", "/xyz/bar?q=1&r=/foo"), ("/foo/bar", "/", "/xyz", "/xyz/foo/bar"),
    ("/foo/b%2Fc", "/foo", "/xyz", "/xyz/b%2Fc"),
]


@pytest.mark.parametrize("kind", ["rewrite", "redirect"])
@pytest.mark.parametrize("target,prefix,replacement,expected", REWRITES)
def test_replace_prefix_match(kind, target, prefix, replacement, expected):
    """The table of the API for ReplacePrefixMatch, as a rewrite and as a redirect."""
    path = {"type": "ReplacePrefixMatch", "replacePrefixMatch": replacement}
    if kind == "rewrite":
        rule = docs.rule(["origin"], path=prefix, filters=[{"type": "URLRewrite", "urlRewrite": {"path": path}}])
    else:
        rule = docs.rule([], path=prefix, filters=[{"type": "RequestRedirect", "requestRedirect": {"path": path}}])
    with Origin() as origin, serving(origin, rules=[rule]) as gateway:
        response = gateway.get(target)
        if kind == "rewrite":
            assert sent(response)["target"] == expected
        else:
            assert response.status == 302
            assert response.get("location") == f"http://test.example:{gateway.port}{expected}"


def test_replace_full_path_and_hostname():
    """ReplaceFullPath keeps the query; hostname replaces Host."""
    with Origin() as origin, serving(origin, rules=[docs.rule(path="/a", filters=[{"type": "URLRewrite", "urlRewrite": {
            "hostname": "new.example", "path": {"type": "ReplaceFullPath", "replaceFullPath": "/full"}}}])]) as gateway:
        e = sent(gateway.get("/a/b/c?x=1"))
        assert (e["target"], e["host"]) == ("/full?x=1", "new.example")


def redirect(**spec):
    return [{"type": "RequestRedirect", "requestRedirect": spec}]


@pytest.mark.parametrize("spec,status,location", [
    ({}, 302, "http://test.example:{port}/r/x?q=1"),
    ({"hostname": "new.example"}, 302, "http://new.example:{port}/r/x?q=1"),
    ({"statusCode": 301}, 301, "http://test.example:{port}/r/x?q=1"),
    ({"statusCode": 303}, 303, "http://test.example:{port}/r/x?q=1"),
    ({"statusCode": 307}, 307, "http://test.example:{port}/r/x?q=1"),
    ({"statusCode": 308}, 308, "http://test.example:{port}/r/x?q=1"),
    ({"scheme": "https"}, 302, "https://test.example/r/x?q=1"),
    ({"scheme": "http"}, 302, "http://test.example/r/x?q=1"),
    ({"scheme": "https", "port": 8443}, 302, "https://test.example:8443/r/x?q=1"),
    ({"port": 80}, 302, "http://test.example/r/x?q=1"),
    ({"port": 8083}, 302, "http://test.example:8083/r/x?q=1"),
    ({"path": {"type": "ReplaceFullPath", "replaceFullPath": "/new"}}, 302, "http://test.example:{port}/new?q=1"),
])
def test_redirects(spec, status, location):
    """Scheme, host, port, path and status as given; the query is kept; no backend is asked."""
    with serving(None, rules=[docs.rule([], path="/r", filters=redirect(**spec))]) as gateway:
        response = gateway.get("/r/x?q=1", host=f"test.example:{gateway.port}")
        assert response.status == status and response.complete
        assert response.get("location") == location.format(port=gateway.port)


def test_a_redirect_of_a_post_does_not_read_the_body_as_a_request():
    """The connection stays in order after the body of a redirected POST."""
    with Origin() as origin, serving(origin, rules=[docs.rule([], path="/r", filters=redirect(hostname="x.example")), docs.rule()]) as gateway:
        with gateway.client() as client:
            response = client.request("POST", "/r", body=b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
            assert response.status == 302
            if "close" not in (response.get("connection") or ""):
                assert sent(client.request("GET", "/next"))["target"] == "/next"
        assert all(r.target != "/smuggled" for r in origin.requests)


def modifier(kind, **actions):
    key = kind[0].lower() + kind[1:]
    out = {k: [{"name": n, "value": v} for n, v in rows] for k, rows in actions.items() if k != "remove"}
    if "remove" in actions:
        out["remove"] = actions["remove"]
    return {"type": kind, key: out}


def test_request_header_modifier():
    """set overwrites, add appends, remove deletes; names without regard to case."""
    with Origin() as origin, serving(origin, rules=[docs.rule(filters=[modifier(
            "RequestHeaderModifier", set=[("X-Set", "new"), ("x-fresh", "f")], add=[("X-Add", "more")], remove=["X-Remove"])])]) as gateway:
        e = sent(gateway.get("/", headers=[("x-set", "a"), ("X-SET", "b"), ("x-add", "one"), ("x-remove", "r"), ("X-Remove", "s")]))
    seen = collections.defaultdict(list)
    for n, v in e["headers"]:
        seen[n.lower()].append(v)
    assert seen["x-set"] == ["new"] and seen["x-fresh"] == ["f"]
    assert ",".join(seen["x-add"]).replace(" ", "") == "one,more" and "x-remove" not in seen


def test_response_header_modifier():
    """The same on the answer, for whatever status the backend gives."""
    def script(peer):
        while peer.read_request() is not None:
            peer.respond(404, [("X-Set", "a"), ("X-Add", "one"), ("X-Remove", "r"), ("X-Stay", "s")], b"x")
    with Origin(script) as origin, serving(origin, rules=[docs.rule(filters=[modifier(
            "ResponseHeaderModifier", set=[("X-Set", "new"), ("X-Fresh", "f")], add=[("X-Add", "more")], remove=["x-remove"])])]) as gateway:
        r = gateway.get("/")
    assert (r.status, r.all("x-set"), r.get("x-fresh"), r.get("x-stay")) == (404, ["new"], "f", "s")
    assert r.joined("x-add").replace(" ", "") == "one,more" and r.get("x-remove") is None


def test_header_modifiers_are_many_times_in_force():
    """On a kept-alive connection each request is edited on its own: nothing of one stays in the next."""
    with Origin() as origin, serving(origin, rules=[
            docs.rule(path="/a", filters=[modifier("RequestHeaderModifier", add=[("X-A", "1")])]),
            docs.rule(path="/b", filters=[modifier("RequestHeaderModifier", remove=["X-C"])])]) as gateway:
        with gateway.client() as client:
            for _ in range(20):
                a = sent(client.request("GET", "/a", [("X-C", "c")]))
                b = sent(client.request("GET", "/b", [("X-C", "c")]))
                assert [v for n, v in a["headers"] if n.lower() == "x-a"] == ["1"]
                assert not {"x-a", "x-c"} & {n.lower() for n, _ in b["headers"]}


# -- weights

def test_weights_share_the_traffic(figure):
    """70 : 30 : 0 over 2,000 requests; the backend of weight 0 gets nothing."""
    with Several("a", "b", "c") as origins, serving(origins, rules=[docs.rule(
            [docs.backend_ref("a", 70), docs.backend_ref("b", 30), docs.backend_ref("c", 0)])]) as gateway:
        count = collections.Counter()
        for _ in range(4):
            with gateway.client() as client:
                for _ in range(500):
                    count[sent(client.request("GET", "/"))["origin"]] += 1
    figure("shares of 2,000 requests at weights 70:30:0", dict(count))
    assert 0.65 <= count["a"] / 2000 <= 0.75 and count["c"] == 0


def test_an_invalid_backend_takes_its_share_as_500():
    """Half the weight on a backend that is not there: about half the answers are 500."""
    with Origin() as origin, serving(origin, rules=[docs.rule([docs.backend_ref("origin", 1), docs.backend_ref("nowhere", 1)])]) as gateway:
        count = collections.Counter()
        with gateway.client() as client:
            for _ in range(400):
                count[client.request("GET", "/").status] += 1
    assert set(count) == {200, 500} and 120 <= count[500] <= 280, count


def test_weights_of_zero_alone_are_500():
    """Nothing may get the request."""
    with Origin() as origin, serving(origin, rules=[docs.rule([docs.backend_ref("origin", 0)])]) as gateway:
        assert gateway.get("/").status == 500 and origin.requests == []


def test_a_service_with_endpoint_slices():
    """A Service's port leads to the target port of its slices; several endpoints share."""
    port = free_port_on("127.0.0.2", "127.0.0.3")
    with Origin(host="127.0.0.2", port=port) as one, Origin(host="127.0.0.3", port=port) as two, serving(
            None, rules=[docs.rule([{"name": "app", "port": 80}])],
            extra=docs.service("app", [("127.0.0.2", port), ("127.0.0.3", port)])) as gateway:
        for _ in range(60):
            assert gateway.get("/").status == 200
        assert one.requests and two.requests
