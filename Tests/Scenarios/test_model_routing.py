"""Content that the pick of an endpoint depends on: it is read whole, judged, and goes on byte for byte."""
import gzip
import hashlib
import json
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from Fixtures import documents as docs
from Fixtures.gateway import Peak, serving
from Fixtures.http1 import request_bytes
from Fixtures.net import wait_until
from Fixtures.origin import Origin
from Fixtures.tools import curl

CHAT = "/v1/chat/completions"
MIB = 1 << 20


def posts(gateway):
    """How many requests the servers saw."""
    return sum(len(o.requests) for o in gateway.origins)


@pytest.fixture(scope="module")
def pool():
    """Two echoing model servers in a pool that the gateway picks from by itself."""
    with Origin() as one, Origin() as two, serving(
            {}, rules=[docs.rule([docs.pool_ref()])], extra=docs.pool([one, two])) as gateway:
        gateway.origins = [one, two]
        yield gateway
    assert not one.errors and not two.errors, (one.errors, two.errors)


@pytest.fixture(params=["--http1.1", "--http2-prior-knowledge"], ids=["HTTP/1.1", "HTTP/2"])
def send(request, pool, tmp_path):
    """Sends content by curl; the answer, and what the servers saw of it."""
    def send(content, *arguments, type="application/json", path=CHAT, chunked=False):
        (tmp_path / "content").write_bytes(content)
        before = posts(pool)
        body = ["-T", f"{tmp_path}/content", "-X", "POST", "-H", "Transfer-Encoding: chunked"] if chunked else [
            "--data-binary", f"@{tmp_path}/content"]
        if chunked and request.param != "--http1.1":
            body = ["-T", "-", "-X", "POST"]
        answer = curl(f"http://127.0.0.1:{pool.port}{path}", request.param, *body, "-H", f"Content-Type: {type}", *arguments,
                      input=content)
        assert answer.code == 0, answer
        answer.seen = posts(pool) - before
        return answer
    return send


def passed(answer, content):
    """The content arrived as it was sent, once."""
    assert answer.status == 200 and answer.seen == 1, answer
    echo = json.loads(answer.body)
    assert (echo["length"], echo["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())


def refused(answer, status, words):
    """No server has seen a byte, and the answer says why."""
    assert (answer.status, answer.seen) == (status, 0), answer
    assert answer.get("x-gateway-error") == "unreadable_content"
    error = json.loads(answer.body)["error"]
    assert words in error["message"], error


def chat(model='"llama3"', filler=0):
    messages = json.dumps([{"role": "user", "content": "x" * filler}])
    return f'{{"messages": {messages}, "stream": false, "model": {model}}}'.encode()


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("content", [
    pytest.param(chat(), id="plain"),
    pytest.param(chat(filler=8 * MIB), id="after 8 MB of messages"),
    pytest.param(chat(r'"\u006clama3"'), id="escapes"),
    pytest.param(b'{"m\\u006fdel":"llama3"}', id="an escaped key"),
    pytest.param(b'{"messages":[]}', id="missing"),
    pytest.param(b'{"messages":[{"model":1}],"model":"x"}', id="deeper ones do not count"),
])
def test_content_arrives_as_it_was_sent(send, content, chunked):
    """Whatever its order, size and spelling."""
    passed(send(content, chunked=chunked), content)


@pytest.mark.parametrize("content, words", [
    pytest.param(b'{"model":"a","model":"b"}', "more than once", id="twice"),
    pytest.param(b'{"model":"a","mod\\u0065l":"a"}', "more than once", id="twice, escaped"),
    pytest.param(b'{"model":1}', "not a string", id="a number"),
    pytest.param(b'{"model":null}', "not a string", id="null"),
    pytest.param(b'{"model":""}', "empty", id="empty"),
    pytest.param(b'{"model":"' + b"m" * 257 + b'"}', "256 bytes", id="too long"),
    pytest.param(b'{"model":"a\\u0000"}', "control", id="control"),
    pytest.param(b'{"model":"\\ud800"}', "surrogate", id="lone surrogate"),
    pytest.param(b'{"model":"a"} x', "follow", id="trailing bytes"),
    pytest.param(b'{"model":"a"', "complete", id="truncated"),
    pytest.param(b'\xef\xbb\xbf{"model":"a"}', "byte order mark", id="byte order mark"),
    pytest.param(b'{"model":"\xff"}', "UTF-8", id="not UTF-8"),
    pytest.param(b'{"a":' * 65 + b"1" + b"}" * 65, "64 levels", id="too deep"),
    pytest.param(b"hello", "not JSON", id="no JSON"),
])
def test_what_cannot_be_chosen_by_is_refused(send, content, words):
    """400 in the path's dialect; servers could read another model than the gateway."""
    refused(send(content), 400, words)


def test_the_end_of_large_content_is_judged_before_anything_is_sent(send):
    """A second `model` behind megabytes."""
    refused(send(chat(filler=2 * MIB)[:-1] + b', "model": "other"}'), 400, "more than once")


@pytest.mark.parametrize("model_first", [True, False], ids=["before the file", "behind the file"])
def test_forms(send, model_first):
    """multipart/form-data, with `model` before or behind a file."""
    field = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper\r\n'
    file = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + os.urandom(100_000) + b"\r\n"
    content = (field + file if model_first else file + field) + b"--b--\r\n"
    passed(send(content, type="multipart/form-data; boundary=b", path="/v1/audio/transcriptions"), content)


def test_encoded_content(send):
    """gzip is looked into and goes on as it is; what cannot be looked into is 415."""
    content = gzip.compress(chat(filler=100_000))
    passed(send(content, "-H", "Content-Encoding: gzip"), content)
    refused(send(gzip.compress(b'{"model":"a","model":"b"}'), "-H", "Content-Encoding: gzip"), 400, "more than once")
    refused(send(b"not gzip at all", "-H", "Content-Encoding: gzip"), 400, "decode")
    refused(send(content, "-H", "Content-Encoding: br"), 415, "gzip or zstd")


def test_other_content_is_not_read(send):
    """What is no inference request streams through, whatever it holds."""
    content = b'{"model":"a","model":"b"}'
    passed(send(content, path="/upload"), content)


def test_every_cut(pool):
    """One byte at a time, by length and in chunks of one byte."""
    content = chat(filler=50)
    for chunked in (False, True):
        with pool.client() as client:
            data = request_bytes("POST", CHAT, [("Content-Type", "application/json")], content, chunked=chunked)
            for at in range(len(data)):
                client.sock.send(data[at:at + 1])
            answer = client.read()
            assert json.loads(answer.body)["sha256"] == hashlib.sha256(content).hexdigest()


def test_a_client_that_waits_for_leave(pool):
    """100 at once, since the content is needed; then everything as ever."""
    content = chat()
    with pool.client() as client:
        client.send(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
                    b"Content-Length: %d\r\n\r\n" % (CHAT.encode(), len(content)))
        assert client.read_head().status == 100
        client.send(content)
        assert json.loads(client.read().body)["sha256"] == hashlib.sha256(content).hexdigest()


def test_content_that_stops(pool):
    """Nothing of it reaches a server; the client's end is the end."""
    before = posts(pool)
    with pool.client() as client:
        client.send(request_bytes("POST", CHAT, [("Content-Type", "application/json")], chat(filler=1000))[:-10])
        time.sleep(0.2)
    assert posts(pool) == before


def test_content_over_the_limit():
    """413, by length at once and in chunks when it is reached; memory stays bounded."""
    with Origin() as origin, Origin() as other, serving(
            {}, rules=[docs.rule([docs.pool_ref()])], extra=docs.pool([origin, other]),
            limits={"heldContentBytesMax": 100_000}) as gateway:
        for chunked in (False, True):
            with gateway.client() as client:
                client.send(request_bytes(
                    "POST", CHAT, [("Content-Type", "application/json")], chat(filler=200_000), chunked=chunked))
                assert client.read().status == 413
        gateway.origins = [origin, other]
        assert posts(gateway) == 0


def test_a_slow_server_makes_nobody_keep_content_twice(pool):
    """16 MiB to a server that does not read: the gateway keeps them once."""
    def stall(peer):
        peer.read_head()
        time.sleep(1.5)
        peer.reset()
    with Origin(stall) as origin, Origin(stall) as other, serving(
            {}, rules=[docs.rule([docs.pool_ref()])], extra=docs.pool([origin, other])) as gateway:
        content = chat(filler=16 * MIB)
        peak = Peak(gateway)
        with gateway.client(timeout=20) as client:
            try:
                client.send(request_bytes("POST", CHAT, [("Content-Type", "application/json")], content))
                client.read()
            except (ConnectionError, socket.timeout):
                pass
        # Doubling leaves up to twice the content allocated; a second copy would be more.
        assert peak.stop() < 44 * MIB


# -- routes that match on the model's name

@pytest.fixture(scope="module")
def named():
    """Requests for `llama3` go to one server, all others to another."""
    with Origin(name="llama") as llama, Origin(name="others") as others, serving(
            {"llama": llama, "others": others}, rules=[
                docs.rule(["llama"], headers={"X-Gateway-Model-Name": "llama3"}), docs.rule(["others"])]) as gateway:
        gateway.origins = [llama, others]
        yield gateway
    assert not llama.errors and not others.errors, (llama.errors, others.errors)


@pytest.mark.parametrize("version", ["--http1.1", "--http2-prior-knowledge"], ids=["HTTP/1.1", "HTTP/2"])
@pytest.mark.parametrize("model, origin", [('"llama3"', "llama"), (r'"\u006clama3"', "llama"), ('"mistral"', "others")])
def test_a_route_by_model(named, tmp_path, version, model, origin):
    """The content says which route it is; the field reaches the server; a client's own is not believed."""
    for filler in (0, 3 * MIB):
        content = chat(model, filler)
        (tmp_path / "content").write_bytes(content)
        answer = curl(f"http://127.0.0.1:{named.port}{CHAT}", version, "--data-binary", f"@{tmp_path}/content", "-H",
                      "X-Gateway-Model-Name: " + ("mistral" if origin == "llama" else "llama3"), "-H", "Content-Type: application/json")
        echo = json.loads(answer.body)
        assert (echo["origin"], echo["sha256"]) == (origin, hashlib.sha256(content).hexdigest())
        assert [v for n, v in echo["headers"] if n.lower() == "x-gateway-model-name"] == [json.loads(model)]


def test_a_route_by_model_of_cut_content(named):
    """Byte by byte, in chunks, and two requests in one breath."""
    content = chat(filler=20)
    for chunked in (False, True):
        with named.client() as client:
            data = request_bytes("POST", CHAT, [("Content-Type", "application/json")], content, chunked=chunked)
            for at in range(len(data)):
                client.sock.send(data[at:at + 1])
            assert json.loads(client.read().body)["origin"] == "llama"
            client.send(data + data)
            for _ in range(2):
                echo = json.loads(client.read().body)
                assert (echo["origin"], echo["sha256"]) == ("llama", hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize("piece", [1 << 20, 70_001, 4_099], ids=lambda size: f"pieces of {size}")
def test_a_route_by_model_of_large_content(named, piece):
    """Of a stated length, in pieces that end anywhere, and two requests in one breath."""
    contents = [chat(filler=size) for size in (90_000, 220_000, 3 * MIB)]
    data = b"".join(request_bytes("POST", CHAT, [("Content-Type", "application/json")], content) for content in contents)
    with named.client() as client, ThreadPoolExecutor() as sender:
        sent = sender.submit(lambda: [client.sock.sendall(data[at:at + piece]) for at in range(0, len(data), piece)])
        for content in contents:
            echo = json.loads(client.read().body)
            assert (echo["origin"], echo["sha256"]) == ("llama", hashlib.sha256(content).hexdigest())
        sent.result()


@pytest.mark.parametrize("before", [1_000, 100_000, 300_000], ids=lambda size: f"{size} bytes")
def test_a_route_by_model_of_content_that_breaks(named, before):
    """It is refused as soon as it is no JSON, though its client says that more will come."""
    content = chat(filler=before)[:-40 - len(b'"model": "llama3"}')] + b"\n"
    seen = posts(named)
    with named.client() as client:
        data = request_bytes("POST", CHAT, [("Content-Type", "application/json")], content + b" " * MIB)
        client.send(data[:-MIB])
        answer = client.read()
        assert answer.status == 400 and answer.get("x-gateway-error") == "unreadable_content"
    assert posts(named) == seen


def test_a_route_by_model_that_is_not_told(named):
    """No name: the route without one. What cannot be read: 400. No content, or no inference: as ever."""
    with named.client() as client:
        headers = [("Content-Type", "application/json")]
        assert json.loads(client.request("POST", CHAT, headers, b"{}").body)["origin"] == "others"
        assert json.loads(client.request("GET", CHAT, [("X-Gateway-Model-Name", "llama3")]).body)["origin"] == "others"
        assert json.loads(client.request("POST", "/upload", headers, b"no json").body)["origin"] == "others"
        assert client.request("POST", CHAT, headers, b'{"model":1}').status == 400


def test_a_route_by_model_whose_content_stops(named):
    """408 when it stops coming; the connection's end ends it before."""
    with Origin() as origin, serving(
            {"origin": origin}, rules=[docs.rule(headers={"X-Gateway-Model-Name": "llama3"})],
            timeouts={"requestBodyIdle": "300ms"}) as gateway, gateway.client() as client:
        client.send(request_bytes("POST", CHAT, [("Content-Type", "application/json")], chat(filler=100))[:-5])
        assert client.read().status == 408
        assert not origin.requests


def test_a_table_without_models_in_the_middle_of_content():
    """A request that began to be read for its model goes on without one, and leaves nothing to its connection: no 408 at its end."""
    with Origin() as origin, serving(
            {"origin": origin}, rules=[docs.rule(headers={"X-Gateway-Model-Name": "llama3"})],
            timeouts={"keepAliveIdle": "700ms"}) as gateway, gateway.client() as client:
        data = request_bytes("POST", CHAT, [("Content-Type", "application/json")], chat(filler=100))
        client.send(data[:-5])
        time.sleep(0.2)
        gateway.write("main.yaml", [docs.route([docs.rule()]) if d["kind"] == "HTTPRoute" else d for d in gateway.content])
        wait_until(lambda: gateway.object("HTTPRoute", "route")["metadata"]["generation"] == 2, 5)
        time.sleep(0.2)
        client.send(data[-5:])
        assert client.read().status == 200 and len(origin.requests) == 1
        client.sock.settimeout(5)
        assert client.sock.recv(1000) == b""
