"""`explain`, `/explain`, `/decisions` and the answers' own words: which endpoint a request gets, and why; what nearly took it."""
import base64
import json
import os
import time

import pytest

from Fixtures import documents as docs
from Fixtures.gateway import cli, serving
from Fixtures.net import wait_until
from Fixtures.origin import Origin
from test_ollama_pool import chat, decisions, nodes, pool


def write(folder, documents):
    path = os.path.join(folder, "main.yaml")
    with open(path, "w") as file:
        file.write(docs.dump(documents))
    return path


def explain(path, *arguments):
    code, out, err = cli("explain", path, "--output", "json", *arguments)
    return code, json.loads(out) if out else None, err


def simple(*rules, **more):
    return [docs.gateway([docs.listener(8080)]), docs.route(list(rules), **more), docs.backend([("127.0.0.1", 9)])]


def test_a_route_with_its_filters_and_shares(tmp_path):
    """Listener, rule, the filters' effect, and weights as percents."""
    rewrite = [{"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}}]
    rule = docs.rule(path="/a", filters=rewrite)
    rule["backendRefs"] = [docs.backend_ref("origin", weight=1), docs.backend_ref("other", weight=3)]
    path = write(tmp_path, simple(rule) + [docs.backend([("10.0.0.9", 80), ("some.lan", 81)], "other")])
    code, report, _ = explain(path, "http://localhost:8080/a/%62?x=1")
    assert code == 0 and report["isRouted"] and report["path"] == "/a/b"
    assert report["listener"] == "default/gateway/http" and report["route"]["name"] == "default/route"
    assert [(b["share"], b["requestLine"]) for b in report["backends"]] == [(25, "GET /b?x=1"), (75, "GET /b?x=1")]
    assert [e["address"] for e in report["backends"][1]["endpoints"]] == ["10.0.0.9:80", "some.lan:81"]
    code, out, _ = cli("explain", path, "http://localhost:8080/a")
    assert code == 0 and "75% to backend default/other" in out and "the matched prefix becomes /" in out


@pytest.mark.parametrize("arguments,needed", [
    (["http://localhost:8080/nothing"], "path begins with /a"),
    (["http://localhost:8080/a"], 'header x-team is "blue" (the request has none)'),
    (["-H", "X-Team: red", "http://localhost:8080/a"], 'header x-team is "blue" (the request has "red")'),
    (["-H", "x-team: blue", "-H", "host: other.lan", "http://localhost:8080/a"], "host is api.lan"),
    (["-H", "x-team: blue", "-X", "PUT", "http://localhost:8080/a"], "method is GET (the request's is PUT)"),
])
def test_what_nearly_took_a_request(tmp_path, arguments, needed):
    """3, and the one condition that did not hold, with what the request had instead."""
    rule = docs.rule(path="/a", headers={"x-team": "blue"}, method="GET")
    code, report, _ = explain(write(tmp_path, simple(rule, hostnames=["api.lan", "localhost"])), *arguments)
    assert code == 3 and not report["isRouted"] and report["answer"]["status"] == 404
    found = report["nearMisses"]
    if "nothing" in arguments[-1]:
        # Two conditions fail: that is not near.
        assert found == []
    else:
        assert len(found) == 1 and any(needed in c for c in found[0]["butFor"]), found


def test_which_of_two_rules_that_match(tmp_path):
    """The other one is told with the reason of the Gateway API's order."""
    code, report, _ = explain(write(tmp_path, simple(docs.rule(path="/"), docs.rule(path="/a"))), "http://localhost:8080/a")
    assert code == 0 and report["route"]["ruleIndex"] == 1
    assert [(m["ruleIndex"], m["comesAfter"]) for m in report["nearMisses"]] == [(0, "its path is shorter")]


def test_what_explain_refuses(tmp_path):
    """2 for usage, 1 for documents that cannot be read, 3 for a port that nobody has and for a head that is malformed."""
    path = write(tmp_path, simple(docs.rule(path="/")))
    assert cli("explain", path)[0] == 2
    assert cli("explain", path, "-H", "nonsense", "http://localhost:8080/")[0] == 2
    assert cli("explain", path, "ftp://localhost/")[0] == 2
    assert cli("explain", str(tmp_path / "absent.yaml"), "http://localhost:8080/")[0] == 1
    code, report, _ = explain(path, "http://localhost:81/")
    assert code == 3 and "no listener has port 81" in report["answer"]["reason"]
    code, report, _ = explain(path, "http://localhost:8080/a%00")
    assert code == 3 and report["answer"]["status"] == 400
    code, report, _ = explain(path, "https://localhost:8080/")
    assert code == 3 and "no TLS" in report["answer"]["reason"]
    assert explain(path, "--bind-port", "8080=9090", "http://localhost:9090/")[0] == 0


def test_a_redirect(tmp_path):
    """Routed: the answer and its Location."""
    redirect = [{"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "statusCode": 301}}]
    rule = {**docs.rule(path="/"), "filters": redirect}
    del rule["backendRefs"]
    code, report, _ = explain(write(tmp_path, simple(rule)), "http://shop.lan:8080/x?y=1")
    assert code == 0 and report["answer"]["status"] == 301
    assert report["answer"]["location"].startswith("https://shop.lan") and report["answer"]["location"].endswith("/x?y=1")


def test_a_pool_by_its_documents_and_by_the_gateway_that_runs(tmp_path):
    """Alone the documents know no model; the gateway knows who holds it, and says why the other one loses."""
    with nodes(2, "--fast") as ports, pool(ports) as gateway:
        assert chat(gateway, "llama3").status == 200
        home = decisions(gateway)[0]["endpoint"]
        data = json.dumps({"model": "llama3", "messages": [{"role": "user", "content": "Why?"}]})
        path = write(tmp_path, [
            docs.gateway([docs.listener(gateway.port)]), docs.route([docs.rule(["ollama"])]),
            docs.backend([("127.0.0.1", p) for p in ports], "ollama", modelServer="ollama")])
        url = f"http://127.0.0.1:{gateway.port}/api/chat"
        code, report, _ = explain(path, "-d", data, url)
        told = report["backends"][0]["pool"]
        assert code == 0 and told["source"] == "documents" and any("documents alone" in n for n in report["notes"])
        assert len(told["endpoints"]) == 2 and told["endpoints"][0]["total"] == told["endpoints"][1]["total"]
        content = tmp_path / "body.json"
        content.write_text(data)
        code, report, _ = explain(path, "-d", f"@{content}", "--admin", f"http://127.0.0.1:{gateway.admin_port}", url)
        told = report["backends"][0]["pool"]
        assert code == 0 and told["source"] == "gateway" and told["model"] == "llama3" and told["outcome"] == "chosen"
        first, second = told["endpoints"]
        assert first["endpoint"] == home and first["isChosen"] and first["scores"]["residency-scorer"] == 1
        assert not second["isChosen"] and second["lostBy"] == "residency-scorer" and second["total"] < first["total"]
        # Nothing was taken by asking.
        assert len(decisions(gateway)) == 1


def test_decisions_have_every_candidate():
    """Each endpoint with its scores, or why it was no candidate."""
    with nodes(2, "--fast") as ports, pool(ports) as gateway:
        assert [chat(gateway, "llama3").status for _ in range(3)] == [200] * 3
        for row in decisions(gateway):
            assert sorted(e["endpoint"] for e in row["endpoints"]) == sorted(f"127.0.0.1:{p}" for p in ports)
            chosen = [e for e in row["endpoints"] if e["isChosen"]]
            assert [e["endpoint"] for e in chosen] == [row["endpoint"]] and chosen[0]["total"] == row["total"]
            assert set(chosen[0]["scores"]) == {"residency-scorer", "estimated-ttft-scorer", "model-requests-scorer", "active-request-scorer"}
        assert decisions(gateway)[0]["endpoints"][1]["lostBy"] == "residency-scorer"
        assert gateway.admin("/explain?pool=default/ollama&model=llama3").status == 200
        assert gateway.admin("/explain?pool=nobody/has-this").status == 404
        assert gateway.admin("/explain?nonsense=1").status == 400


def test_answers_say_why_where_they_are_asked_to():
    """Off by default; endpoint, attempts and decision by `answerHeaders`, whatever the backend says of them."""
    names = ["x-gateway-endpoint", "x-gateway-attempts", "x-gateway-decision"]
    with nodes(2, "--fast") as ports:
        with pool(ports) as gateway:
            answer = chat(gateway, "llama3")
            assert not any(answer.get(n) for n in names)
        parameters = {"answerHeaders": names}
        with serving(None, rules=[docs.rule(["ollama"])], workers=1, parameters=parameters,
                     extra=[docs.backend([("127.0.0.1", p) for p in ports], "ollama", modelServer="ollama")]) as gateway:
            answers = [chat(gateway, "llama3") for _ in range(2)]
            told = answers[1].get("x-gateway-decision")
            endpoint = answers[1].get("x-gateway-endpoint")
            assert endpoint in [f"127.0.0.1:{p}" for p in ports] and answers[1].get("x-gateway-attempts") == "1"
            assert told.startswith(f"chosen={endpoint}; reason=resident; candidates=2; total="), told
            assert "residency-scorer=1*100" in told and "; next=127.0.0.1:" in told and len(told) <= 1024

    def script(peer):
        while peer.read_request() is not None:
            peer.respond(200, [("x-gateway-endpoint", "a lie")], b"hello")
    with Origin(script) as origin, serving(origin, parameters={"answerHeaders": names}) as gateway:
        answer = gateway.get("/")
        assert answer.status == 200 and answer.body == b"hello"
        assert [v for n, v in answer.headers if n.lower() == "x-gateway-endpoint"] == [f"127.0.0.1:{origin.port}"]
        assert answer.get("x-gateway-decision") is None


def test_a_session_token_leads_back():
    """The scorer's token comes with each answer and brings the client to the same endpoint."""
    with nodes(3, "--fast") as ports, pool(ports, picker={"weights": {"session-affinity-scorer": 1}}) as gateway:
        def ask(token=None):
            body = json.dumps({"model": "llama3", "messages": [{"role": "user", "content": "Hi"}], "stream": False}).encode()
            fields = [("Content-Type", "application/json")] + ([("x-session-token", token)] if token else [])
            answer = gateway.get("/api/chat", "POST", fields, body)
            assert answer.status == 200
            return answer.get("x-session-token")
        token = ask()
        assert base64.b64decode(token).decode() in [f"127.0.0.1:{p}" for p in ports]
        assert {ask(token) for _ in range(12)} == {token}
        assert len({ask() for _ in range(40)}) > 1
    with nodes(2, "--fast") as ports, pool(ports) as gateway:
        assert chat(gateway, "llama3").get("x-session-token") is None


def test_a_long_request_keeps_its_lease(monkeypatch):
    """A stream that runs for several times as long as a lease lasts counts to its end, and no longer."""
    monkeypatch.setenv("AI_GATEWAY_LEASE_MILLISECONDS", "1000")
    with nodes(2, "--decode-rate", "10", "--answer-tokens", "80", "--load-time", "10ms") as ports, pool(ports) as gateway:
        def running():
            pools = json.loads(gateway.admin("/endpoints").body)["pools"]
            return sum(e["inFlight"] for e in pools[0]["endpoints"])
        with gateway.client(timeout=60) as client:
            body = json.dumps({"model": "llama3", "messages": [{"role": "user", "content": "Hi"}]}).encode()
            client.send(b"POST /api/chat HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
            wait_until(lambda: running() == 1, 5)
            end = time.monotonic() + 4
            while time.monotonic() < end:
                assert running() == 1
                time.sleep(0.1)
        wait_until(lambda: running() == 0, 5)


def test_the_time_of_a_load_is_learned():
    """`load_duration` of Ollama's answers, whatever the gateway saw itself."""
    def script(peer):
        while (request := peer.read_request()) is not None:
            if request.target == "/api/chat":
                peer.respond(200, [("content-type", "application/json")], json.dumps({
                    "model": "m", "message": {"role": "assistant", "content": 'I say "load_duration":1'}, "done": True,
                    "total_duration": 9_100_000_000, "load_duration": 9_000_000_000, "prompt_eval_count": 2,
                    "prompt_eval_duration": 40_000_000}).replace(" ", "").encode())
            elif request.target == "/api/tags":
                peer.respond(200, body=b'{"models":[{"name":"m:latest","size":1000}]}')
            else:
                peer.respond(200, body=b'{"models":[],"version":"1"}')
    with Origin(script) as one, Origin(script) as two, \
            serving(None, rules=[docs.rule(["ollama"])], workers=1,
                    extra=[docs.backend([("127.0.0.1", o.port) for o in (one, two)], "ollama", modelServer="ollama")]) as gateway:
        wait_until(lambda: all(e.get("disk") for e in json.loads(gateway.admin("/endpoints").body)["pools"][0]["endpoints"]), 8)
        assert chat(gateway, "m").status == 200

        def learned():
            report = json.loads(gateway.admin("/explain?model=m").body)
            return report.get("learned", {}).get("loadMilliseconds", 0) > 500
        wait_until(learned, 3)
