"""Who says whether requests may pass, over gRPC (`envoy.service.auth.v3.Authorization/Check`), with messages written and read by hand.

    with Authorizer(lambda check: allow(headers=[("x-user", "me")])) as authorizer: ... authorizer.port, authorizer.checks

`decide` gets a `Check` and gives the bytes of a CheckResponse, or raises; it may wait.
"""
import threading
import time

import grpc

from .grpc import Listening
from .grpc_echo import field
from .picker import fields, first, number

METHOD = "/envoy.service.auth.v3.Authorization/Check"


class Check:
    """One CheckRequest."""

    def __init__(self, data, context=None):
        self.at, self.ended_at, self.ended, self.context = time.monotonic(), None, threading.Event(), context
        attributes = first(data, 1)
        self.source, self.destination = _peer(first(attributes, 1)), _peer(first(attributes, 2))
        request = first(attributes, 4)
        self.seconds = first(first(request, 1), 1, 0)
        http = first(request, 2)
        self.id, self.method, self.path, self.host = (first(http, n).decode() for n in (1, 2, 4, 5))
        self.scheme, self.protocol = first(http, 6).decode(), first(http, 10).decode()
        size = first(http, 9, 0)
        self.size = size - (1 << 64) if size >> 63 else size
        self.body, self.raw_body = first(http, 11), first(http, 12)
        self.headers = {}
        for n, entry in fields(http):
            if n == 3:
                name = first(entry, 1).decode()
                assert name not in self.headers, f"{name} stands twice in the map"
                self.headers[name] = first(entry, 2).decode()      # texts are UTF-8
        if context is not None:
            context.add_callback(self._end)

    def _end(self):
        self.ended_at = time.monotonic()
        self.ended.set()


def _peer(data):
    socket = first(first(data, 1), 1)
    return first(socket, 2).decode(), first(socket, 3, 0)


def option(name, value, append=None, action=None):
    """A HeaderValueOption; what is None is not sent."""
    out = field(1, field(1, name) + field(2, value))
    if append is not None:
        out += field(2, number(1, 1) if append else b"")
    if action is not None:
        out += number(3, action)
    return out


def allow(headers=(), removed=(), answer=(), code=0):
    """`headers` and `answer`: (name, value) pairs, or bytes of an `option`."""
    ok = b"".join(field(2, h if isinstance(h, bytes) else option(*h)) for h in headers)
    ok += b"".join(field(5, name) for name in removed)
    ok += b"".join(field(6, h if isinstance(h, bytes) else option(*h)) for h in answer)
    return (field(1, number(1, code)) if code else field(1, b"")) + field(3, ok)


def deny(status=None, headers=(), body=b"", code=7):
    denied = field(1, number(1, status)) if status else b""
    denied += b"".join(field(2, option(*h)) for h in headers) + (field(3, body) if body else b"")
    return field(1, number(1, code)) + field(2, denied)


class Authorizer(Listening):
    """Answers each Check as `decide` does."""

    def __init__(self, decide=lambda check: allow(), certificate=None, port=0, workers=256):
        self.decide, self.checks, self.errors, self.lock = decide, [], [], threading.Lock()
        self.listen(_Handlers(self), certificate, port, workers=workers)

    def last(self):
        return self.checks[-1]

    def check(self, data, context):
        try:
            check = Check(data, context)
        except Exception as error:
            self.errors.append(error)
            raise
        with self.lock:
            self.checks.append(check)
        return self.decide(check)


class _Handlers(grpc.GenericRpcHandler):
    def __init__(self, authorizer):
        self.handler = grpc.unary_unary_rpc_method_handler(authorizer.check)

    def service(self, details):
        return self.handler if details.method == METHOD else None
