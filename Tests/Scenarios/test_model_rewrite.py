"""InferenceModelRewrite: another model is asked for in the content, and the client reads the name that it gave."""
import collections
import gzip
import json

import pytest

from Fixtures import documents as docs
from Fixtures.gateway import serving
from Fixtures.origin import Origin
from Fixtures.tools import curl

CHAT = "/v1/chat/completions"
JSON = [("Content-Type", "application/json")]


def rewrite(rules, name="rewrite", pool="pool"):
    """Rules: (model or None, {target: weight})."""
    return {"apiVersion": "inference.networking.x-k8s.io/v1alpha2", "kind": "InferenceModelRewrite",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"poolRef": {"name": pool}, "rules": [
                {**({"matches": [{"model": {"type": "Exact", "value": model}}]} if model else {}),
                 "targets": [{"modelRewrite": t, "weight": w} for t, w in targets.items()]} for model, targets in rules]}}


def server(peer):
    """Answers as engines do, with the name that it was asked for; `/form` shows what came."""
    while (request := peer.read_request()) is not None:
        if request.method != "POST":
            peer.respond(200, body=b"")
            continue
        if "form" in request.target or "multipart" in (request.get("content-type") or ""):
            peer.respond(200, [("Content-Type", "text/plain")], request.body)
            continue
        content = json.loads(request.body)
        peer.origin.asked.append((content["model"], request))
        name = json.dumps(content["model"]).encode()
        if content.get("stream") == "events":
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            for n in range(3):
                event = b'data: {"id":%d,"model":%s,"text":"model served"}\n\n' % (n, name)
                for at in range(0, len(event), 7):
                    piece = event[at:at + 7]
                    peer.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            peer.send(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
        elif content.get("stream") == "lines":
            lines = b"".join(b'{"model":%s,"n":%d}\n' % (name, n) for n in range(3))
            peer.send(b"HTTP/1.0 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n" + lines)
            return
        else:
            peer.respond(200, JSON, b'{"object":"chat","model":%s,"choices":[{"model":"served"}]}' % name)


@pytest.fixture(scope="module")
def gateway():
    with Origin(server) as one, Origin(server) as two:
        one.asked, two.asked = [], []
        with serving({}, rules=[docs.rule([docs.pool_ref()])], extra=docs.pool([one, two]) + [
                rewrite([("alias", {"served": 1}), ("split", {"a": 3, "b": 1}), ('q"', {"a/b:latest": 1})])]) as gateway:
            gateway.asked = lambda: one.asked + two.asked
            yield gateway
        assert not one.errors and not two.errors, (one.errors, two.errors)


def ask(gateway, content, **more):
    with gateway.client() as client:
        return client.request("POST", CHAT, JSON, content, **more)


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("before, model, after", [
    (b'{"messages":[],"model":', b'"alias"', b',"temperature":0.10}'), (b'{"x": {"model": "alias"}, "model" : ', rb'"\u0061lias"', b" }"),
    (b'{"messages":"' + b"y" * 300_000 + b'","model":', b'"alias"', b"}")])
def test_only_the_value_changes(gateway, before, model, after, chunked):
    """The bytes around it are the client's, and the length is right."""
    content = before + model + after
    pieces = {"chunked": [content[at:at + 5000] for at in range(0, len(content), 5000)]} if chunked else {}
    with gateway.client() as client:
        answer = client.request("POST", CHAT, JSON, **(pieces or {"body": content}))
    assert answer.status == 200, answer
    asked, request = gateway.asked()[-1] if gateway.asked()[-1][1].body.startswith(before) else next(
        a for a in reversed(gateway.asked()) if a[1].body.startswith(before))
    assert asked == "served" and request.body == before + b'"served"' + after
    assert request.complete and not request.get("accept-encoding")
    assert json.loads(answer.body) == {"object": "chat", "model": "alias", "choices": [{"model": "served"}]}


def test_other_names_stay(gateway):
    """No rule is for it."""
    answer = ask(gateway, b'{"model":"other"}')
    assert json.loads(answer.body)["model"] == "other"


def test_names_that_json_escapes(gateway):
    """Quotes in the client's name, slashes in the served one."""
    answer = ask(gateway, rb'{"model":"q\""}')
    assert json.loads(answer.body)["model"] == 'q"'
    assert any(model == "a/b:latest" for model, _ in gateway.asked())


def test_weights(gateway):
    """Three to one."""
    for _ in range(200):
        assert json.loads(ask(gateway, b'{"model":"split"}').body)["model"] == "split"
    hits = collections.Counter(model for model, _ in gateway.asked() if model in "ab")
    assert 110 < hits["a"] < 185 and hits["a"] + hits["b"] == 200, hits


@pytest.mark.parametrize("version", ["--http1.0", "--http1.1", "--http2-prior-knowledge"])
@pytest.mark.parametrize("stream", ["events", "lines"])
def test_streams(gateway, version, stream):
    """Each event and each line has the client's name; nothing else is touched."""
    answer = curl(f"http://127.0.0.1:{gateway.port}{CHAT}", version, "-N", "-H", "Content-Type: application/json", "-d",
                  '{"model":"alias","stream":"%s"}' % stream)
    assert answer.status == 200 and answer.code == 0, answer
    if stream == "events":
        assert answer.body == b"".join(
            b'data: {"id":%d,"model":"alias","text":"model served"}\n\n' % n for n in range(3)) + b"data: [DONE]\n\n"
    else:
        assert answer.body == b"".join(b'{"model":"alias","n":%d}\n' % n for n in range(3))


def test_a_form(gateway):
    """The part of a form."""
    content = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nalias\r\n--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n--b--\r\n'
    with gateway.client() as client:
        answer = client.request("POST", "/v1/audio/transcriptions", [("Content-Type", "multipart/form-data; boundary=b")], content)
    assert answer.body == content.replace(b"alias", b"served")


def test_encoded_content_cannot_be_rewritten(gateway):
    """415 where a rule is for it; others pass."""
    with gateway.client() as client:
        answer = client.request("POST", CHAT, JSON + [("Content-Encoding", "gzip")], gzip.compress(b'{"model":"alias"}'))
        assert answer.status == 415
