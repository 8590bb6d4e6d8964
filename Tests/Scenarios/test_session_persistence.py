"""`sessionPersistence` of a rule: requests stay with the endpoint of the first one, and tokens lead nowhere else."""
import json
import os
import re
import time

import pytest

from Fixtures import documents as docs
from Fixtures.certificates import Certificate
from Fixtures.gateway import cli, sealed, serving
from Fixtures.http1 import tls_client
from Fixtures.net import wait_until
from Fixtures.origin import Origin

COOKIE = re.compile(r"^([^=]+)=([0-9a-f]{32})((?:; [^;]+)*)$")


class Origins:
    """Some echoing origins."""

    def __init__(self, count):
        self.all = [Origin(name=f"o{n}") for n in range(count)]

    def __enter__(self):
        return self.all

    def __exit__(self, *_):
        for origin in self.all:
            origin.stop()


def persisting(origins, session, rules=None, **more):
    rule = {**docs.rule(["origin"]), "sessionPersistence": session}
    return serving(None, rules=rules or [rule], extra=[docs.backend(origins)], workers=1, **more)


def whose(answer):
    assert answer.status == 200, answer
    return answer.get("x-origin")


def cookie(answer, name=None):
    """Name, token and attributes of the cookie that an answer sets."""
    found = [m for m in map(COOKIE.match, answer.all("set-cookie")) if m and (name is None or m[1] == name)]
    assert len(found) == 1, answer
    return found[0][1], found[0][2], found[0][3].split("; ")[1:]


def with_cookie(name, token):
    return [("Cookie", f"first=1; {name}={token}; last=2")]


def test_requests_with_the_cookie_stay():
    """Each new client gets a cookie and an endpoint; with it, and only with it, 20 requests go to the same."""
    with Origins(4) as origins, persisting(origins, {"sessionName": "stay"}) as gateway:
        seen = set()
        for _ in range(30):
            first = gateway.get("/")
            name, token, attributes = cookie(first)
            assert name == "stay" and attributes == ["Path=/", "HttpOnly", "SameSite=Lax"]
            for n in range(5):
                answer = gateway.get(f"/{n}", headers=with_cookie(name, token))
                assert whose(answer) == whose(first) and answer.get("set-cookie") is None
            seen.add(whose(first))
        assert len(seen) == 4


def test_requests_with_the_header_stay():
    """The answer names the token in the header that the rule names, in place of a backend's own."""
    with Origins(4) as origins, persisting(origins, {"type": "Header", "sessionName": "X-Stay"}) as gateway:
        for _ in range(10):
            first = gateway.get("/")
            token = first.get("x-stay")
            assert re.fullmatch("[0-9a-f]{32}", token)
            for _ in range(5):
                assert whose(gateway.get("/", headers=[("x-stay", token)])) == whose(first)


def test_without_a_name_the_rule_gets_one():
    """A cookie of its own, the same as long as the rule is."""
    with Origins(2) as origins, persisting(origins, {}) as gateway:
        name, token, _ = cookie(gateway.get("/"))
        assert re.fullmatch("gateway-session-[0-9a-f]{8}", name)
        assert cookie(gateway.get("/"))[0] == name
    with Origins(2) as origins, persisting(origins, {"type": "Header"}) as gateway:
        assert gateway.get("/").get("x-gateway-session")


def test_a_token_leads_nowhere_else():
    """Made up, changed, of another rule: as without one, and a new one comes."""
    with Origins(3) as origins:
        rules = [{**docs.rule(["origin"], path=p), "sessionPersistence": {"sessionName": "stay"}} for p in ("/a", "/b")]
        with persisting(origins, None, rules) as gateway:
            name, token, _ = cookie(gateway.get("/a"))
            changed = token[:-1] + ("0" if token[-1] != "0" else "1")
            for path, bad in [("/a", changed), ("/a", "0" * 32), ("/a", "127.0.0.1:9"), ("/b", token), ("/a", "x" * 5000)]:
                answers = [gateway.get(path, headers=with_cookie(name, bad)) for _ in range(20)]
                assert all(cookie(a) for a in answers)
                assert len({whose(a) for a in answers}) == 3


def test_weights_do_not_end_a_session():
    """Over weights, also over a weight that has become 0."""
    with Origin(name="old") as old, Origin(name="new") as new:
        def rules(old_weight):
            rule = docs.rule([docs.backend_ref("old", old_weight), docs.backend_ref("new", 1 - old_weight)])
            return [{**rule, "sessionPersistence": {"sessionName": "stay"}}]
        extra = [docs.backend(old, "old"), docs.backend(new, "new")]
        with serving(None, rules=rules(1), extra=extra, workers=1) as gateway:
            name, token, _ = cookie(gateway.get("/"))
            gateway.content[1] = docs.route(rules(0))
            gateway.write("main.yaml", gateway.content)
            for _ in range(100):
                if whose(gateway.get("/")) == "new":
                    break
                time.sleep(0.05)
            for _ in range(10):
                assert whose(gateway.get("/", headers=with_cookie(name, token))) == "old"
                assert whose(gateway.get("/")) == "new"


def test_an_endpoint_that_is_gone_is_followed_by_another():
    """The session begins anew elsewhere, with a new token, and stays there."""
    with Origins(3) as origins, persisting(origins, {"sessionName": "stay"}) as gateway:
        first = gateway.get("/")
        name, token, _ = cookie(first)
        {o.name: o for o in origins}[whose(first)].stop()
        second = gateway.get("/", headers=with_cookie(name, token))
        assert whose(second) != whose(first)
        name, token, _ = cookie(second)
        for _ in range(10):
            assert whose(gateway.get("/", headers=with_cookie(name, token))) == whose(second)


def test_sessions_end_when_their_time_is_over():
    """`absoluteTimeout` holds from the beginning; `idleTimeout` from the last answer, each of which brings a new token."""
    with Origins(8) as origins, persisting(origins, {"sessionName": "stay", "absoluteTimeout": "2s"}) as gateway:
        name, token, _ = cookie(gateway.get("/"))
        assert gateway.get("/", headers=with_cookie(name, token)).get("set-cookie") is None
        time.sleep(2.2)
        assert cookie(gateway.get("/", headers=with_cookie(name, token)))
    with Origins(8) as origins, persisting(origins, {"sessionName": "stay", "idleTimeout": "2s"}) as gateway:
        first = gateway.get("/")
        name, token, _ = cookie(first)
        for _ in range(3):
            time.sleep(1)
            answer = gateway.get("/", headers=with_cookie(name, token))
            assert whose(answer) == whose(first)
            _, token, _ = cookie(answer)
        time.sleep(2.2)
        others = {whose(gateway.get("/", headers=with_cookie(name, token))) for _ in range(40)}
        assert len(others) > 1


def test_permanent_cookies_say_how_long():
    """`Max-Age` is what is left of `absoluteTimeout`; over TLS the cookie is `Secure`; beside the backend's own."""
    def script(peer):
        while peer.read_request() is not None:
            peer.respond(200, [("Set-Cookie", "own=1"), ("X-Origin", "o")])
    certificate = Certificate(["test.example"])
    session = {"sessionName": "stay", "absoluteTimeout": "1h", "cookieConfig": {"lifetimeType": "Permanent"}}
    options = sealed(certificate)
    with Origin(script) as origin:
        options["extra"] = [*options["extra"], docs.backend(origin)]
        rule = {**docs.rule(["origin"]), "sessionPersistence": session}
        with serving(None, rules=[rule], workers=1, **options) as gateway:
            answer = gateway.get("/", tls=tls_client(), sni="test.example")
            assert cookie(answer)[2] == ["Path=/", "Max-Age=3600", "HttpOnly", "SameSite=Lax", "Secure"]
            assert "own=1" in answer.all("set-cookie")


def test_over_http2_where_cookies_come_in_pieces():
    """Each in a field of its own (RFC 9113 §8.2.3)."""
    with Origins(4) as origins, persisting(origins, {"sessionName": "stay"}) as gateway, gateway.http2() as client:
        for _ in range(10):
            first = client.request("GET", "/")
            name, token, _ = cookie(first)
            for _ in range(4):
                answer = client.request("GET", "/", [("cookie", "a=1"), ("cookie", f"{name}={token}"), ("cookie", "b=2")])
                assert answer.get("x-origin") == first.get("x-origin")


def test_a_pool_of_model_servers_keeps_sessions():
    """What the gateway picks by itself it picks as the token says."""
    body = json.dumps({"model": "m", "prompt": "x"}).encode()
    with Origins(3) as origins:
        rule = {**docs.rule([docs.pool_ref()]), "sessionPersistence": {"sessionName": "stay"}}
        with serving(None, rules=[rule], extra=docs.pool(origins), workers=1) as gateway:
            def ask(headers=()):
                return gateway.get("/v1/completions", "POST", [("Content-Type", "application/json"), *headers], body)
            for _ in range(5):
                first = ask()
                name, token, _ = cookie(first)
                for _ in range(8):
                    assert whose(ask(with_cookie(name, token))) == whose(first)


def test_explain_tells_and_check_refuses(tmp_path):
    """What the rule does in words; a Service with an affinity of its own; names that are none."""
    def write(session, *extra, rule=None):
        path = os.path.join(tmp_path, "main.yaml")
        with open(path, "w") as file:
            rule = {**(rule or docs.rule()), "sessionPersistence": session}
            file.write(docs.dump([docs.gateway([docs.listener(8080)]), docs.route([rule]),
                                  docs.backend([("127.0.0.1", 9)]), *extra]))
        return path
    code, out, _ = cli("explain", write({"sessionName": "stay", "absoluteTimeout": "1h", "idleTimeout": "10m"}), "http://localhost:8080/a")
    assert code == 0 and "stay with one endpoint by the cookie stay, for 1h, 10m of silence at most" in out
    for session, word in [({"type": "Query"}, "sessionPersistence.type"), ({"sessionName": "a b"}, "sessionPersistence.sessionName"),
                          ({"type": "Header", "sessionName": "content-length"}, "sessionPersistence.sessionName"),
                          ({"sessionName": "a" * 129}, "sessionPersistence.sessionName"),
                          ({"cookieConfig": {"lifetimeType": "Permanent"}}, "absoluteTimeout"),
                          ({"cookieConfig": {"lifetimeType": "Long"}}, "cookieConfig.lifetimeType")]:
        code, out, err = cli("check", write(session))
        assert code != 0 and word in out + err, session
    service = docs.service("web", [("10.0.0.1", 80)])
    for document in service if isinstance(service, list) else [service]:
        if document["kind"] == "Service":
            document["spec"]["sessionAffinity"] = "ClientIP"
    rule = {"backendRefs": [{"name": "web", "port": 80}]}
    code, out, err = cli("check", write({}, *(service if isinstance(service, list) else [service]), rule=rule))
    assert code != 0 and "has a sessionAffinity of its own" in out + err


# -- keys

def keys(name="seal", **entries):
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "default"}, "stringData": entries}


def with_secrets(gateway, *secrets):
    gateway.write("secrets.yaml", list(secrets))


A, B, C = ("%d-sixteen-bytes-and-more" % n for n in range(3))


def shared(origins, *secrets, session=None, start=True):
    """A gateway whose parameters name the Secret `seal`."""
    gateway = persisting(origins, session or {"sessionName": "stay"}, parameters={"sealingKeyRef": {"name": "seal"}}, start=False)
    gateway.write("secrets.yaml", list(secrets))
    return gateway.start() if start else gateway


def follows(gateway, first, again=10):
    """Whether requests with the cookie of `first` all go where it went, and what the last answer says of cookies."""
    name, token, _ = cookie(first)
    answers = [gateway.get("/", headers=with_cookie(name, token)) for _ in range(again)]
    return {whose(a) for a in answers} == {whose(first)}, answers[-1].all("set-cookie")


def test_sessions_go_on_at_another_replica_and_after_a_restart():
    """Two processes with the same Secret take each other's tokens, and so does the first one after its end."""
    with Origins(6) as origins, shared(origins, keys(current=A)) as one, shared(origins, keys(current=A)) as other:
        for _ in range(5):
            first = one.get("/")
            assert follows(other, first) == (True, [])
        one.stop(keep=True)
        one.start()
        assert follows(one, first) == (True, [])


def test_without_the_key_sessions_begin_anew():
    """Another key, or none: a new token, and no trace of where the old one led."""
    with Origins(6) as origins, shared(origins, keys(current=A)) as one, shared(origins, keys(current=B)) as other, shared(origins) as none:
        first = one.get("/")
        for gateway in (other, none):
            held, told = follows(gateway, first)
            assert told and (not held or len(origins) == 1)
        code, out, _ = cli("check", none.folder)
        assert "spec.sealingKeyRef: Secret default/seal does not exist" in out and code == 1, out
        assert none.messages().count("spec.sealingKeyRef") == 1


def test_a_key_is_changed_without_losing_sessions():
    """The first entry by name signs and all are taken; a token of another one is answered with a new one, which lasts."""
    with Origins(6) as origins, shared(origins, keys(current=A)) as gateway:
        first = gateway.get("/")
        with_secrets(gateway, keys(current=A, next=B))
        time.sleep(1)
        assert follows(gateway, first) == (True, [])
        with_secrets(gateway, keys(current=B, previous=A))
        name, token, _ = cookie(first)
        wait_until(lambda: gateway.get("/", headers=with_cookie(name, token)).all("set-cookie"), 5)
        held, told = follows(gateway, first)
        assert held and len(told) == 1
        renewed = gateway.get("/", headers=with_cookie(name, token))
        assert cookie(renewed)[1] != token
        with_secrets(gateway, keys(current=B))
        time.sleep(1)
        assert follows(gateway, renewed) == (True, [])
        assert follows(gateway, first)[1]


@pytest.mark.parametrize("secret,said", [
    (keys(), "has no entry"), (keys(current="short"), "has 5 bytes"), (keys(**{f"k{n}": A for n in range(9)}), "has 9 entries")])
def test_keys_that_cannot_be_used(secret, said):
    """The key is random then, and check says why."""
    with Origins(3) as origins, shared(origins, secret) as gateway:
        first = gateway.get("/")
        assert follows(gateway, first) == (True, [])
        out = cli("check", gateway.folder)[1]
        assert said in out and "signed with a random key" in out and "main.yaml:" in out
        found = gateway.object("GatewayParameters", "parameters")["status"]["conditions"]
        assert ("PartiallyInvalid", "True", "InvalidSealingKeyRef") in [(c["type"], c["status"], c["reason"]) for c in found]
