"""Endpoint pickers over ext_proc, as gateways meet them: the conformance suite's, llm-d's, and some that are up to no good.

    with Picker([origin.port], style="llmd") as picker: ... picker.port, picker.calls

Messages are written and read by hand (`ext_proc`'s are few): an unknown field would be read over, as protobuf has it.

Styles:
- `lwepp`: the conformance suite's. The endpoints of the request's field `test-epp-endpoint-selection`, else one after the
  other; says so at the end of the request's content; says of every piece of content that it stays; errors are gRPC's.
- `llmd`: llm-d's. Says nothing before the end of the content, then the head and the content anew, in pieces of 62,000 bytes;
  the model `x` becomes `x-target` in the request and `x` again in the answer; streams come back piece by piece.
- `early`: chooses at the head, then all pieces stay.
- `chunks`: as `llmd`, but returns the content in capitals, piece by piece, and says no length.
- hostile: `no-endpoint`, `foreign`, `silent`, `closes`, `aborts`, `garbage`, `huge`, `late` (by `delay`), `immediate` (with
  `status`), `wrong-length`, `dies-at-answer`, `dies-in-answer`, `evicts` (in the answer), `deaf` (reads nothing).
"""
import json
import threading
import time

import grpc

from .grpc import OPTIONS, Listening
from .grpc_echo import _varint, field

METHOD = "/envoy.service.ext_proc.v3.ExternalProcessor/Process"
PIECE = 62_000
DESTINATION = "x-gateway-destination-endpoint"
REQUEST_KINDS = {2: "request_headers", 3: "response_headers", 4: "request_body", 5: "response_body",
                 6: "request_trailers", 7: "response_trailers"}


# -- the wire

def number(field_number, value):
    return _varint(field_number << 3) + _varint(value)


def fields(data):
    """[(number, int or bytes)] of a message."""
    out, at = [], 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
    while at < len(data):
        tag = varint()
        if tag & 7 == 0:
            out.append((tag >> 3, varint()))
            continue
        size = {1: 8, 5: 4}.get(tag & 7) or varint()
        out.append((tag >> 3, bytes(data[at:at + size])))
        at += size
    return out


def first(data, wanted, default=b""):
    return next((v for n, v in fields(data) if n == wanted), default)


def struct(**entries):
    """A google.protobuf.Struct of texts and Structs (bytes)."""
    return b"".join(field(1, field(1, k) + field(2, field(3, v) if isinstance(v, str) else field(5, v)))
                    for k, v in entries.items())


def read_struct(data):
    """{key: text, dict or list of texts} of a Struct."""
    out = {}
    for n, entry in fields(data):
        if n == 1:
            kind, value = fields(first(entry, 2))[0]
            out[first(entry, 1).decode()] = (
                value.decode() if kind == 3 else [first(v, 3).decode() for n, v in fields(value) if n == 1] if kind == 6 else read_struct(value))
    return out


def mutation(headers=(), removed=(), actions=None):
    """A HeaderMutation; an action of 0 is not sent, as the pickers do."""
    out = b""
    for name, value in headers:
        option = field(1, field(1, name) + field(3, value))
        if (actions or {}).get(name):
            option += number(3, actions[name])
        out += field(1, option)
    return out + b"".join(field(2, name) for name in removed)


class Message:
    """One ProcessingRequest."""

    def __init__(self, data):
        self.kind, self.headers, self.body, self.ends, self.metadata, self.modes = None, [], b"", False, {}, {}
        for n, value in fields(data):
            if n in REQUEST_KINDS:
                self.kind = REQUEST_KINDS[n]
                if self.kind.endswith("headers"):
                    self.headers, self.ends = _header_map(first(value, 1)), bool(first(value, 3, 0))
                elif self.kind.endswith("trailers"):
                    self.headers = _header_map(first(value, 1))
                else:
                    self.body, self.ends = first(value, 1), bool(first(value, 2, 0))
            elif n == 8:
                for m, entry in fields(value):
                    if m == 1:
                        self.metadata[first(entry, 1).decode()] = read_struct(first(entry, 2))
            elif n == 11:
                self.modes = {"request": first(value, 1, 0), "response": first(value, 2, 0)}

    def get(self, name, default=None):
        return next((v for n, v in self.headers if n == name), default)


def _header_map(data):
    out = []
    for n, header in fields(data):
        if n == 1:
            raw = first(header, 3) or first(header, 2)
            out.append((first(header, 1).decode(), raw.decode("latin-1")))
    return out


def headers_reply(headers=(), endpoint=None, kind=1, removed=(), actions=None, metadata=True, clears=True):
    common = field(2, mutation(headers, removed, actions)) + (number(5, 1) if clears else b"")
    out = field(kind, field(1, common))
    if endpoint and metadata:
        out += field(8, struct(**{"envoy.lb": struct(**{DESTINATION: endpoint})}))
    return out


def body_reply(kind, body=None, ends=False):
    """kind: 3 for the request's, 4 for the answer's; no body: the piece stays."""
    if body is None:
        return field(kind, field(1, b""))
    streamed = field(1, body) + (number(2, 1) if ends else b"")
    return field(kind, field(1, field(3, field(3, streamed))))


def streamed(kind, body, ends=True):
    """The content in pieces, the last of which says so unless trailers do."""
    pieces = [body[at:at + PIECE] for at in range(0, len(body), PIECE)] or [b""]
    for at, piece in enumerate(pieces):
        yield body_reply(kind, piece, ends and at == len(pieces) - 1)


def immediate(status, body=b"", headers=()):
    return field(7, field(1, number(1, status)) + field(2, mutation(headers)) + field(3, body))


# -- the picker

class Call:
    """What the picker saw of one request."""

    def __init__(self, context):
        self.context, self.at, self.ended, self.ended_at = context, time.monotonic(), threading.Event(), None
        self.request, self.answer, self.modes, self.served, self.subset = [], [], {}, None, None
        self.body, self.answer_body, self.pieces, self.trailers, self.finished = bytearray(), bytearray(), 0, [], False
        context.add_callback(self._end)

    def _end(self):
        self.ended_at = time.monotonic()
        self.ended.set()

    def get(self, name, default=None):
        return next((v for n, v in self.request if n == name), default)


class Picker(Listening):
    """A picker on a free port if none is given; `endpoints`: ports of this machine, or texts `ip:port`."""

    def __init__(self, endpoints=(), style="lwepp", certificate=None, port=0, delay=0.0, status=503, host="127.0.0.1",
                 headers=(), removed=(), actions=None, limit=10 << 20, metadata=True, workers=64):
        self.endpoints = [e if isinstance(e, str) else f"127.0.0.1:{e}" for e in endpoints]
        self.style, self.delay, self.status, self.limit, self.metadata = style, delay, status, limit, metadata
        self.headers, self.removed, self.actions = list(headers), list(removed), actions
        self.calls, self.errors, self.lock, self.turn, self.go = [], [], threading.Lock(), 0, threading.Event()
        self.listen(_Handlers(self), certificate, port, host, workers)

    def stop(self, grace=None):
        self.go.set()
        super().stop(grace)

    def last(self):
        return self.calls[-1]

    def choice(self, call):
        asked = call.get("test-epp-endpoint-selection")
        if asked:
            return asked
        with self.lock:
            self.turn += 1
            return self.endpoints[self.turn % len(self.endpoints)] if self.endpoints else "127.0.0.1:1"

    # -- one call
    def process(self, messages, context):
        call = Call(context)
        with self.lock:
            self.calls.append(call)
        try:
            if self.style == "deaf":
                self.go.wait(60)
            for data in messages:
                message = Message(data)
                self._note(call, message)
                for reply in self._replies(call, message):
                    if reply is None:
                        return
                    yield reply
            call.finished = True
        except grpc.RpcError:
            pass
        except Exception as error:
            if context.is_active():
                self.errors.append(error)
            raise

    def _note(self, call, message):
        if message.kind == "request_headers":
            call.request, call.modes = message.headers, message.modes
            call.subset = message.metadata.get("envoy.lb.subset_hint", {}).get(DESTINATION + "-subset")
        elif message.kind == "response_headers":
            call.answer = message.headers
            call.served = message.metadata.get("envoy.lb", {}).get(DESTINATION + "-served")
        elif message.kind == "request_body":
            call.body += message.body
            call.pieces += 1
        elif message.kind == "response_body":
            call.answer_body += message.body
        else:
            call.trailers.append((message.kind, message.headers))

    def _replies(self, call, message):
        handler = getattr(self, "_" + self.style.replace("-", "_"), None)
        if handler is None:
            handler = self._hostile
        return handler(call, message)

    def _chosen(self, call, headers=()):
        endpoint = self.choice(call)
        echoed = ("x-echo-set-header", "x-conformance-test-served-endpoint:" + endpoint)
        return headers_reply([(DESTINATION, endpoint), echoed, *headers, *self.headers], endpoint, removed=self.removed,
                             actions=self.actions, metadata=self.metadata)

    def _answer_reply(self, call, headers=()):
        return headers_reply([("x-went-into-resp-headers", "true"), *headers], kind=2, clears=False)

    def _lwepp(self, call, message):
        if message.kind == "request_headers" and message.ends:
            yield self._chosen(call)
        elif message.kind == "request_body":
            if len(call.body) > self.limit:
                call.context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "request is too large")
            if message.ends:
                yield self._chosen(call)
            yield body_reply(3)
        elif message.kind == "response_headers":
            yield self._answer_reply(call, [("x-conformance-test-served-endpoint", call.served or "fail: missing")])
        elif message.kind == "response_body":
            yield body_reply(4)

    def _early(self, call, message):
        if message.kind == "request_headers":
            yield self._chosen(call)
        else:
            yield from self._lwepp_rest(message, call)

    def _lwepp_rest(self, message, call):
        if message.kind == "request_body":
            yield body_reply(3)
        elif message.kind == "response_headers":
            yield self._answer_reply(call)
        elif message.kind == "response_body":
            yield body_reply(4)

    def _llmd(self, call, message):
        if message.kind == "request_headers" and message.ends:
            yield self._chosen(call)
        elif message.kind in ("request_body", "request_trailers"):
            if message.ends or message.kind == "request_trailers":
                yield from self._rewritten(call)
        elif message.kind == "response_headers":
            removed = [] if message.ends else ["content-length"]
            yield headers_reply([("x-went-into-resp-headers", "true")], kind=2, removed=removed, clears=False)
        elif message.kind == "response_body":
            if "event-stream" in (dict(call.answer).get("content-type") or ""):
                yield body_reply(4, message.body, message.ends)
            elif message.ends:
                yield from streamed(4, call.answer_body.replace(b'"x-target"', b'"x"'))
        elif message.kind == "response_trailers":
            if "event-stream" not in (dict(call.answer).get("content-type") or ""):
                yield from streamed(4, call.answer_body.replace(b'"x-target"', b'"x"'), ends=False)
            yield field(6, b"")

    def _rewritten(self, call):
        body = call.body
        if "json" in (call.get("content-type") or ""):
            try:
                model = json.loads(body)["model"]
            except (ValueError, KeyError, TypeError):
                yield immediate(400, b"no model in the request")
                yield None
            if model == "x":
                body = body.replace(b'"x"', b'"x-target"')
        others = [(n, v) for n, v in call.request if not n.startswith(":") and n not in ("content-length", "host", *self.removed)]
        yield self._chosen(call, [("content-length", str(len(body))), *others])
        yield from streamed(3, body, ends=not call.trailers)
        if call.trailers:
            yield field(5, b"")

    def _chunks(self, call, message):
        if message.kind == "request_headers":
            yield self._chosen(call)
        elif message.kind == "request_body":
            yield body_reply(3, message.body.upper(), message.ends)
        elif message.kind == "response_headers":
            yield self._answer_reply(call)
        elif message.kind == "response_body":
            yield body_reply(4, message.body.upper(), message.ends)

    def _hostile(self, call, message):
        style, chooses = self.style, message.kind == "request_headers" and message.ends or message.kind == "request_body" and message.ends
        if style in ("dies-at-answer", "dies-in-answer", "evicts") and message.kind.startswith("response"):
            if style == "dies-at-answer":
                call.context.abort(grpc.StatusCode.INTERNAL, "died")
            elif message.kind == "response_headers":
                yield self._answer_reply(call)
            elif style == "evicts":
                yield body_reply(4, message.body)
                yield immediate(429, b"request evicted by flow control")
            else:
                yield body_reply(4, message.body)
                call.context.abort(grpc.StatusCode.INTERNAL, "died")
        elif style in ("dies-at-answer", "dies-in-answer", "evicts"):
            yield from self._lwepp(call, message)
        elif style == "late":
            if chooses:
                time.sleep(self.delay)
            yield from self._lwepp(call, message)
        elif style == "closes":
            yield None
        elif style == "aborts":
            call.context.abort(grpc.StatusCode.UNAVAILABLE, "not the leader")
        elif not chooses or style in ("silent", "deaf"):
            return
        elif style == "no-endpoint":
            yield headers_reply([("x-a", "1")])
        elif style == "foreign":
            yield headers_reply([(DESTINATION, "127.0.0.1:9")], "127.0.0.1:9,10.1.2.3:80,nonsense,[::1]:x")
        elif style == "garbage":
            yield b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"
        elif style == "huge":
            yield headers_reply([(f"x-huge-{n}", "v" * 60_000) for n in range(80)], self.choice(call))
        elif style == "immediate":
            yield immediate(self.status, b'{"error":"no capacity"}', [("content-type", "application/json"), ("x-why", "full")])
        elif style == "wrong-length":
            yield headers_reply([(DESTINATION, self.choice(call)), ("content-length", "5")], self.choice(call))
            yield body_reply(3, b"x" * 100, True)
        else:
            raise ValueError(style)


class _Handlers(grpc.GenericRpcHandler):
    def __init__(self, picker):
        self.handler = grpc.stream_stream_rpc_method_handler(picker.process)

    def service(self, details):
        return self.handler if details.method == METHOD else None
