"""`ai-gateway picker`: the built-in picker as an endpoint picker of other gateways, over ext_proc."""
import collections
import contextlib
import gzip
import json
import random
import threading
import time
import types

import grpc
import pytest

from Fixtures import documents as docs
from Fixtures import http2_frames as h2
from Fixtures.gateway import Peak, cli, serving
from Fixtures.net import free_port, wait_until
from Fixtures.origin import Origin
from Fixtures.picker import METHOD, field, first
from Fixtures.picker_service import (BUFFERED, CHAT, DROPPED, NONE, PARTIAL, REWRITES, STREAMED, Conversation, PickerService, chat,
                                     model_server, pick)

GET = [(":method", "GET"), (":path", "/v1/models"), (":authority", "models.example"), (":scheme", "http")]


@pytest.fixture
def three():
    with Origin(name="a") as a, Origin(name="b") as b, Origin(name="c") as c:
        yield [a, b, c]


def places(origins):
    return {f"127.0.0.1:{o.port}" for o in origins}


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


def test_a_long_hint_is_taken_whole_or_by_chance(three):
    """More endpoints than a request carries: each of the pool's has its chance, in whatever place of the list it stands."""
    a, b, c = (f"127.0.0.1:{o.port}" for o in three)
    strangers = [f"10.0.{n // 250}.{n % 250}:80" for n in range(500)]
    with PickerService(docs.pool(three)) as service:
        assert {pick(service, body=chat("x" * n), subset=[*strangers, a, *strangers, c, a]) for n in range(30)} == {a, c}
    ports = [free_port() for _ in range(90)]
    with PickerService([docs.backend([("127.0.0.1", p) for p in ports], "models", modelServer="vllm")]) as service:
        named = [f"127.0.0.1:{p}" for p in ports]
        seen = {pick(service, GET, subset=named[10:]) for _ in range(300)}
        assert seen <= set(named[10:]) and len(seen) > 64, len(seen)


def test_a_list_of_endpoints(three):
    """--endpoints 3: the endpoint of the request first, then the others by how well they suit it; counted is the first, or who served."""
    a, b, c = names = [f"127.0.0.1:{o.port}" for o in three]
    with PickerService(docs.pool(three), ["--endpoints", "3"]) as service:
        with service.call() as call:
            call.headers(GET, ends=True)
            told = call.endpoint().split(",")
            assert sorted(told) == sorted(names)
            assert service.in_flight() == {name: int(name == told[0]) for name in names}
            call.headers([(":status", "200")], kind=3, served=told[2])
            assert call.next().kind == "response_headers"
            wait_until(lambda: service.in_flight() == {name: int(name == told[2]) for name in names}, 5)
            # Who was passed over is left alone for a while.
            assert told[0] not in pick(service, GET).split(",")
        wait_until(lambda: sorted(pick(service, GET).split(",")) == sorted(names), 5)
        # Only what is hinted is told, and what holds more of the prompt comes before what holds less.
        assert sorted(pick(service, GET, subset=[b, c]).split(",")) == sorted([b, c])
        assert pick(service, GET, subset=[b]) == b
        system = "x" * 4000
        first = pick(service, body=chat(system), subset=[a])
        second = pick(service, body=chat(system + "y" * 4000), subset=[b])
        assert (first, second) == (a, b)
        assert pick(service, body=chat(system + "y" * 4000 + "z" * 400)).split(",") == [b, a, c]


def test_our_own_gateway_walks_down_the_list(three):
    """A gateway that asks such a picker: an endpoint that is gone costs nothing but the next one's turn."""
    port = free_port()
    with PickerService([docs.backend([("127.0.0.1", port), ("127.0.0.1", three[0].port)], "models", modelServer="vllm")],
                       ["--endpoints", "2"]) as service:
        pool = docs.pool([*three[:1], types.SimpleNamespace(port=port)], picker={"name": "picker", "port": {"number": 9002}})
        extra = [*pool, *docs.service("picker", [("127.0.0.1", service.listen_port)], port=9002, target=service.listen_port,
                                      app_protocol="kubernetes.io/h2c")]
        with serving(None, rules=[docs.rule([docs.pool_ref()])], extra=extra, workers=1) as gateway:
            assert [gateway.get("/v1/chat/completions", method="POST", headers=[("content-type", "application/json")],
                                body=chat(f"{n}")).status for n in range(12)] == [200] * 12


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


# -- another model's name

def answered(call, content, kind="application/json", cut=7, **more):
    """What comes back of an answer whose content is told in pieces."""
    call.answer(content_type=kind, content_length=str(len(content)), **more)
    said = call.next()
    assert said.kind == "response_headers"
    for at in range(0, len(content), cut):
        call.body(content[at:at + cut], kind=5)
    call.body(b"", ends=True, kind=5)
    return said, call.content("response_body")


@pytest.mark.parametrize("size", [10, 200_000])
def test_a_model_is_rewritten_and_its_answer_has_the_clients_name(three, size):
    """In place, with the new length; what is encoded, or names other models, passes."""
    with PickerService([*docs.pool(three), REWRITES]) as service:
        for kind, answer in (("application/json", b'{"id":1,"model":"%s","x":"served/by:us"}'),
                             ("text/event-stream", b'data: {"model":"%s"}\n\n' * 3 + b"data: [DONE]\n\n")):
            with service.call() as call:
                body = chat("x" * size, "alias")
                call.headers([*CHAT, ("accept-encoding", "gzip")])
                for at in range(0, len(body), 50_000):
                    call.body(body[at:at + 50_000], ends=at + 50_000 >= len(body))
                said, wanted = call.next(), body.replace(b'"alias"', b'"served/by:us"')
                assert said.get("content-length") == str(len(wanted)) and "accept-encoding" in said.removed, said
                assert call.content() == wanted
                names = answer.count(b"%s")
                said, content = answered(call, answer % ((b"served/by:us",) * names), kind)
                assert said.removed == ["content-length"]
                assert content == answer % ((b"alias",) * names)
                call.close()
                assert call.rest() == ([], grpc.StatusCode.OK)
        with service.call() as call:
            call.headers()
            call.body(chat("x", "alias"), ends=True)
            assert call.next().kind == "request_headers" and call.content()
            said, content = answered(call, b'{"model":"served/by:us"}', content_encoding="gzip")
            assert not said.removed and content == b'{"model":"served/by:us"}'
        assert pick(service, body=chat("x", "other")) in places(three)
        with service.call() as call:
            call.headers([*CHAT, ("content-encoding", "gzip")])
            call.body(gzip.compress(chat("x", "alias")), ends=True)
            assert call.next().status == 415


def test_a_name_that_waits_leaves_before_the_trailers(three):
    with PickerService([*docs.pool(three), REWRITES]) as service, service.call() as call:
        call.headers()
        call.body(chat("x", "alias"), ends=True)
        assert call.endpoint() and call.content()
        call.answer()
        assert call.next().removed == ["content-length"]
        call.body(b'{"model":"served/by:', kind=5)
        assert call.next().body == b'{"model":'
        call.trailers(kind=7)
        said = call.next()
        assert said.body == b'"served/by:' and not said.ends
        assert call.next().kind == "response_trailers"


@pytest.mark.parametrize("answers", [BUFFERED, NONE])
def test_a_gateway_that_buffers_takes_the_model_too(three, answers):
    with PickerService([*docs.pool(three), REWRITES]) as service, service.call(request_mode=BUFFERED, response_mode=answers) as call:
        body = chat("x" * 100_000, "alias")
        call.headers()
        call.next()
        call.body(body, ends=True)
        said, wanted = call.next(), body.replace(b'"alias"', b'"served/by:us"')
        assert said.kind == "request_body" and said.replaces and said.body == wanted, said
        assert said.get("content-length") == str(len(wanted)) and said.metadata["envoy.lb"]
        call.answer()
        assert call.next().removed == (["content-length"] if answers == BUFFERED else [])
        if answers == BUFFERED:
            call.body(b'{"model":"served/by:us"}' * 4000, ends=True, kind=5)
            said = call.next()
            assert said.replaces and said.body == b'{"model":"alias"}' * 4000


def test_conversations_of_a_rewritten_model_stay(three):
    """What is hashed of a prompt is behind the name that has moved: it matches that of who names the model itself."""
    with PickerService([*docs.pool(three), REWRITES]) as service:
        seen = set()
        for turn, model in enumerate(["alias", "alias", "served/by:us", "alias"]):
            with service.call() as call:
                call.headers()
                call.body(chat("what was said before. " * 60 * (turn + 1), model), ends=True)
                seen.add(call.endpoint())
                call.content()
                call.answer(ends=True)
                call.next()
        decisions = json.loads(service.admin("/decisions").body)["pools"][0]["decisions"]
        matched = [d.get("matchedBlocks", 0) for d in reversed(decisions)]
        assert len(seen) == 1 and matched[0] == 0 and matched[1:] == sorted(matched[1:]) and matched[1] > 10, decisions


# -- who answered

def test_a_request_counts_where_it_was_served(three):
    """The gateway went on to another endpoint: that one has the request, and who was told is out of reach after a few."""
    with PickerService(docs.pool(three)) as service, contextlib.ExitStack() as stack:
        told = collections.Counter()
        a, b = (f"127.0.0.1:{o.port}" for o in three[:2])
        for _ in range(5):
            call = stack.enter_context(service.call())
            call.headers(GET, ends=True, subset=[a])
            assert call.endpoint() == a
            call.answer(served=b)
            assert call.next().kind == "response_headers"
        assert service.in_flight()[b] == 5 and service.in_flight()[a] == 0
        for _ in range(20):
            with service.call() as call:
                call.headers(GET, ends=True)
                told[call.endpoint()] += 1
        assert a not in told and told[b], told
        for name in ("nonsense", "10.0.0.1:80"):
            with service.call() as call:
                call.headers(GET, ends=True)
                call.endpoint()
                call.answer(ends=True, served=name)
                assert call.next().kind == "response_headers"


def test_a_long_call_keeps_its_lease(three, monkeypatch):
    """An answer that takes longer than leases last counts until the call ends."""
    monkeypatch.setenv("AI_GATEWAY_LEASE_MILLISECONDS", "4000")
    with PickerService(docs.pool(three)) as service:
        with service.call() as call:
            call.headers(GET, ends=True)
            told = call.endpoint()
            end = time.monotonic() + 7
            while time.monotonic() < end:
                assert service.in_flight()[told] == 1
                time.sleep(0.2)
        wait_until(lambda: not any(service.in_flight().values()), 3)


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


PROCESS = [("content-type", "application/grpc"), ("te", "trailers")]


def raw(service, **more):
    return h2.Client("127.0.0.1", service.listen_port, **more)


def framed(message):
    return b"\0" + len(message).to_bytes(4, "big") + message


def head_message(headers=CHAT, ends=False):
    """A first message that tells of a request, in gRPC's frame."""
    fields = b"".join(field(1, field(1, n) + field(3, v)) for n, v in headers)
    return framed(field(2, field(1, fields) + (b"\x18\x01" if ends else b"")))


def piece_message(body, ends=False):
    return framed(field(4, field(1, body) + (b"\x10\x01" if ends else b"")))


@pytest.mark.parametrize("data,status", [
    (b"\1" + framed(b"")[1:], "8"), (b"\0\xff\xff\xff\xff", "8"), (framed(b"\xff\xff\xff"), "3"), (framed(field(2, b"\xff")), "3"),
    (framed(field(11, b"\x0a\xff")), "3"), (framed(field(2, field(1, b"\xff\xff"))) * 2, "3"), (head_message() + head_message(), "3")])
def test_frames_that_are_no_message(three, data, status):
    with PickerService(docs.pool(three)) as service, raw(service) as client:
        stream = client.open("POST", METHOD, PROCESS, end=False)
        client.write(stream, data)
        client.finish(stream, seconds=5)
        assert dict(stream.trailers).get("grpc-status") == status, stream
        assert pick(service, GET) and service.alive()


def test_random_bytes(three):
    """Whatever is sent, in whatever order: every call ends or waits for more, and nothing is left of it."""
    dice = random.Random(7)
    pieces = [head_message(), head_message(GET, ends=True), piece_message(chat("x")), piece_message(b"", ends=True), framed(b""),
              framed(field(3, field(1, field(1, field(1, ":status") + field(3, "9x\xff"))))), framed(field(5, field(1, b"abc"))),
              framed(field(6, b"")), framed(field(7, b"")), framed(b"\x50\x01"), framed(field(8, field(1, field(1, "envoy.lb") + field(2, b"\xff"))))]
    with PickerService(docs.pool(three)) as service:
        for _ in range(4):
            with raw(service) as client:
                for _ in range(100):
                    data = bytearray(b"".join(dice.choices(pieces, k=dice.randint(1, 6))))
                    for _ in range(dice.randint(0, 3)):
                        data[dice.randrange(len(data))] = dice.randrange(256)
                    stream = client.open("POST", METHOD, PROCESS, end=False)
                    client.write(stream, data, end=dice.random() < 0.5)
                client.ping()
        wait_until(lambda: not any(service.in_flight().values()), 5)
        assert pick(service, body=chat("x")) and service.alive()


def test_words_out_of_order(three):
    """No head, content before the head, an answer to nothing: such a call is told nothing of endpoints and holds none."""
    with PickerService(docs.pool(three)) as service:
        with service.call() as call:
            call.body(b"content", ends=True)
            said = call.next()
            assert said.kind == "request_body" and said.body == b"content" and not said.metadata
            call.answer(ends=True)
            assert call.next().kind == "response_headers"
            call.trailers(kind=7)
            assert call.next().kind == "response_trailers"
            call.close()
            assert call.rest() == ([], grpc.StatusCode.OK)
        with service.call() as call:
            call.close()
            assert call.rest() == ([], grpc.StatusCode.OK)
        assert not any(service.in_flight().values())


def test_a_head_that_is_far_too_large(three):
    headers = [*CHAT, *((f"x-{n}", "y" * 100) for n in range(40_000))]
    with PickerService(docs.pool(three)) as service:
        peak = Peak(service)
        with service.call() as call:
            call.headers(headers, ends=True)
            assert call.rest()[1] == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert peak.stop() < 32 << 20, f"{peak.growth >> 20} MiB"
        assert pick(service, [*GET, *((f"x-{n}", "y" * 100) for n in range(1000))])


def test_thousands_of_calls_that_say_nothing(three):
    """They cost a few KiB each, hinder nobody, and all is given back when their connections end."""
    with PickerService(docs.pool(three)) as service, contextlib.ExitStack() as stack:
        before, count = service.rss(), 4000
        client = stack.enter_context(raw(service))
        for n in range(count):
            client.open("POST", METHOD, PROCESS, end=False)
            if n % 500 == 499:
                client.ping()
        grown = service.rss() - before
        assert grown < count * 12 << 10, f"{grown / count:.0f} bytes a call"
        began = time.monotonic()
        assert pick(service, body=chat("x"))
        assert time.monotonic() - began < 1
        client.close()
        assert service.health() == 1
        with raw(service) as client:
            for n in range(count):
                client.open("POST", METHOD, PROCESS, end=False)
            client.ping()
        assert service.rss() - before < grown + (8 << 20)


def test_a_gateway_that_never_reads(three):
    """What it has said is not taken any more once its answers pile up; others are served."""
    upload = [(":method", "POST"), (":path", "/upload"), (":authority", "x"), (":scheme", "http")]
    with PickerService(docs.pool(three)) as service:
        peak, sent = Peak(service), 0
        with raw(service, timeout=1) as client:
            stream = client.open("POST", METHOD, PROCESS, end=False)
            stream.holds, client.credits_connection = True, False
            client.write(stream, head_message(upload))
            with pytest.raises((TimeoutError, AssertionError)):
                while sent < 256 << 20:
                    client.write(stream, piece_message(b"z" * 100_000))
                    sent += 100_000
            assert pick(service, body=chat("x")) and service.alive()
        assert sent < 64 << 20 and peak.stop() < 64 << 20, (sent, peak.growth)
        wait_until(lambda: not any(service.in_flight().values()), 5)


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


def test_the_end_of_a_drain_ends_calls(three):
    """What has not ended by itself is told so, and the process goes."""
    with PickerService(docs.pool(three), ["--drain-timeout", "1s"]) as service, service.call() as call, service.call() as silent:
        call.headers()
        call.body(chat("x"))
        silent.say(b"")
        time.sleep(0.2)
        service.signal()
        for one in (call, silent):
            assert one.rest() == ([], grpc.StatusCode.UNAVAILABLE)
            assert not one.stream.details(), "its connection was cut"
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
