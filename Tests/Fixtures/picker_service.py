"""`ai-gateway picker` as gateways meet it: the process, and a gateway's side of ext_proc by hand.

    with PickerService(documents) as service, service.call() as call:
        call.headers([(":method", "POST"), (":path", "/v1/chat/completions")])
        call.body(b"{…}", ends=True)
        call.endpoint()
"""
import contextlib
import json
import queue

import grpc

from . import documents as docs
from .gateway import Gateway, binary
from .net import free_port, wait_until
from .picker import DESTINATION, METHOD, OPTIONS, field, fields, first, number, read_struct, struct

DUPLEX, BUFFERED, PARTIAL, STREAMED, NONE = 4, 2, 3, 1, 0
RESPONSE_KINDS = {1: "request_headers", 2: "response_headers", 3: "request_body", 4: "response_body", 5: "request_trailers",
                  6: "response_trailers", 7: "immediate"}
CHAT = [(":method", "POST"), (":path", "/v1/chat/completions"), (":authority", "models.example"), (":scheme", "http"),
        ("content-type", "application/json")]
DROPPED = "x-llm-d-request-dropped-reason"
REWRITES = {"apiVersion": "inference.networking.x-k8s.io/v1alpha2", "kind": "InferenceModelRewrite", "metadata": {"name": "rewrite"},
            "spec": {"poolRef": {"name": "pool"}, "rules": [
                {"matches": [{"model": {"type": "Exact", "value": "alias"}}], "targets": [{"modelRewrite": "served/by:us", "weight": 1}]}]}}


def chat(text, model="m", **more):
    """The content of a chat's request."""
    return json.dumps({"model": model, "messages": [{"role": "user", "content": text}], **more}).encode()


def model_server(port, name="models", **picker):
    """A Backend of one vLLM."""
    return docs.backend([("127.0.0.1", port)], name, modelServer="vllm", picker=picker)


class PickerService(Gateway):
    """One `ai-gateway picker` process; as `Gateway`, but for its command and how it gets ready."""

    def __init__(self, documents, flags=(), port=None, **more):
        self.listen_port = port or free_port()
        super().__init__(documents, flags, access_log=False, **more)

    def command_line(self):
        return [binary(), "picker", self.folder, "--listen", f"127.0.0.1:{self.listen_port}",
                "--admin", f"{self.admin_host}:{self.admin_port}" if self.admin_host else "off", *map(str, self.flags)]

    def is_ready(self):
        return super().is_ready() and self.health() == 1

    def channel(self):
        return grpc.insecure_channel(f"127.0.0.1:{self.listen_port}", OPTIONS)

    def call(self, **more):
        return Conversation(self.channel(), **more)

    def in_flight(self):
        """{endpoint: requests that it has}."""
        return {e["address"]: e["inFlight"] for e in json.loads(self.admin("/endpoints").body)["pools"][0]["endpoints"]}

    def health(self, service="", timeout=5):
        """1 serving, 2 not; raises what gRPC raises."""
        with self.channel() as channel:
            check = channel.unary_unary("/grpc.health.v1.Health/Check")
            try:
                return first(check(field(1, service), timeout=timeout), 1, 0)
            except grpc.RpcError as error:
                if error.code() == grpc.StatusCode.UNAVAILABLE:
                    return 0
                raise


class Said:
    """One ProcessingResponse."""

    def __init__(self, data):
        self.kind, self.set, self.removed, self.body, self.ends, self.metadata = None, [], [], None, False, {}
        self.clears, self.status, self.content, self.replaces = False, None, None, False
        for n, value in fields(data):
            if n == 7:
                self.kind, self.status, self.content = "immediate", first(first(value, 1), 1), first(value, 3)
                self._mutation(first(value, 2))
            elif n in RESPONSE_KINDS:
                self.kind = RESPONSE_KINDS[n]
                if not self.kind.endswith("trailers"):
                    self._common(first(value, 1))
            elif n == 8:
                self.metadata = read_struct(value)

    def _common(self, common):
        self._mutation(first(common, 2))
        self.clears = bool(first(common, 5, 0))
        change = first(common, 3)
        if change:
            streamed = first(change, 3, None)
            if streamed is None:
                self.body, self.replaces = first(change, 1, b""), True
            else:
                self.body, self.ends = first(streamed, 1), bool(first(streamed, 2, 0))

    def _mutation(self, data):
        for n, value in fields(data):
            if n == 1:
                header = first(value, 1)
                self.set.append((first(header, 1).decode(), (first(header, 3) or first(header, 2)).decode()))
            else:
                self.removed.append(value.decode())

    def get(self, name):
        return next((v for n, v in self.set if n == name), None)

    def __repr__(self):
        return f"<{self.kind} {self.set} {self.metadata} body={None if self.body is None else len(self.body)} ends={self.ends} {self.status} {self.content}>"


class Conversation:
    """A gateway's side of one `Process` call."""

    def __init__(self, channel, request_mode=DUPLEX, response_mode=DUPLEX, config=True, early=False):
        self.channel, self.queue, self.config = channel, queue.Queue(), b""
        if config:
            self.config = field(11, number(1, request_mode) + number(2, response_mode) + (number(3, 1) if early else b""))
        self.stream = channel.stream_stream(METHOD)(iter(self.queue.get, None), timeout=60)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.cancel()
        self.channel.close()

    # -- saying
    def say(self, data):
        self.queue.put(data + self.config)
        self.config = b""

    def headers(self, headers=CHAT, ends=False, subset=None, kind=2, served=None):
        data = field(1, b"".join(field(1, field(1, n) + field(3, v)) for n, v in headers)) + (number(3, 1) if ends else b"")
        out = field(kind, data)
        if subset is not None:
            values = b"".join(field(1, field(3, place)) for place in subset)
            inner = field(1, field(1, DESTINATION + "-subset") + field(2, field(6, values)))
            out += field(8, field(1, field(1, "envoy.lb.subset_hint") + field(2, inner)))
        if served:
            inner = field(1, field(1, DESTINATION + "-served") + field(2, field(3, served)))
            out += field(8, field(1, field(1, "envoy.lb") + field(2, inner)))
        self.say(out)

    def body(self, body, ends=False, kind=4):
        self.say(field(kind, field(1, body) + (number(2, 1) if ends else b"")))

    def trailers(self, kind=6):
        self.say(field(kind, field(1, field(1, field(1, "x-trailer") + field(3, "1")))))

    def answer(self, status=200, ends=False, served=None, **more):
        fields = {":status": str(status), "content-type": "application/json", **more}
        self.headers([(n.replace("_", "-"), v) for n, v in fields.items()], ends, kind=3, served=served)

    def close(self):
        self.queue.put(None)

    # -- hearing
    def next(self):
        return Said(next(self.stream))

    def endpoint(self):
        """The endpoint of the next message, which must tell it in both places."""
        said = self.next()
        place = said.get(DESTINATION)
        assert place and said.metadata == {"envoy.lb": {DESTINATION: place}} and said.clears, said
        return place

    def content(self, kind="request_body"):
        """What comes back of a body, to its end."""
        out = b""
        while True:
            said = self.next()
            assert said.kind == kind and said.body is not None and len(said.body) <= 62_000, said
            out += said.body
            if said.ends:
                return out

    def rest(self):
        """What is said to the end of the call, and its status."""
        out = []
        with contextlib.suppress(grpc.RpcError):
            for data in self.stream:
                out.append(Said(data))
        return out, self.stream.code()


def pick(service, headers=CHAT, body=b"", subset=None, finish=True, **more):
    """Asks for one request in full duplex; the endpoint that was told. The request ends with 200."""
    with service.call(**more) as call:
        call.headers(headers, ends=not body, subset=subset)
        if body:
            call.body(body, ends=True)
        place = call.endpoint()
        if body:
            assert call.content() == body
        if finish:
            call.answer()
            assert call.next().kind == "response_headers"
            call.body(b"{}", ends=True, kind=5)
            assert call.content("response_body") == b"{}"
            call.close()
            assert call.rest() == ([], grpc.StatusCode.OK)
        return place
