"""gRPC without generated code: messages are bytes, and a method is a function of Python.

`Server` has one service with a method of each kind; `channel` opens the client's side. Both are grpcio's, which is what
most callers in Python use.
"""
import threading
import time
from concurrent import futures

import grpc

SERVICE = "test.Echo"
OPTIONS = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]


class Call:
    """What the server saw of one call."""

    def __init__(self, method, context):
        self.method, self.metadata = method, [(k, v) for k, v in context.invocation_metadata()]
        self.remaining, self.at, self.ended_at = context.time_remaining(), time.monotonic(), None
        self.ended = threading.Event()
        self.finished, self.received = False, 0
        context.add_callback(self._end)

    def _end(self):
        self.ended_at = time.monotonic()
        self.ended.set()

    def get(self, name):
        return next((v for k, v in self.metadata if k == name), None)


class Listening:
    """A grpcio server that serves, on a free port if none is given, until it is stopped."""

    def listen(self, handlers, certificate=None, port=0, host="127.0.0.1", workers=64, options=OPTIONS):
        self.host = host
        self.server = grpc.server(futures.ThreadPoolExecutor(workers), options=options)
        self.server.add_generic_rpc_handlers((handlers,))
        if certificate:
            credentials = grpc.ssl_server_credentials([(certificate.key_pem, certificate.pem)])
            self.port = self.server.add_secure_port(f"{host}:{port}", credentials)
        else:
            self.port = self.server.add_insecure_port(f"{host}:{port}")
        self.server.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self, grace=None):
        self.server.stop(grace).wait(10)

    def endpoint(self, **more):
        return {"address": self.host, "port": self.port, **more}


class Server(Listening):
    """Has a method of each kind.

    Unary: answers the message back; the metadata `x-status` and `x-details` make it end so instead, `x-delay` waits first
    (seconds), `x-size` answers that many bytes. Metadata whose names begin with `x-echo-` come back as initial metadata, and as
    trailing metadata with `x-trail-` in place. Collect: the sum of lengths. Count: N messages for the number N, `x-pause` apart.
    Chat: every message back at once. `/test.Plain/Any` does as Unary does.
    """

    def __init__(self, certificate=None, workers=64, streams_max=None, port=0):
        options = OPTIONS + ([("grpc.max_concurrent_streams", streams_max)] if streams_max else [])
        self.calls, self.lock = [], threading.Lock()
        self.listen(_Handlers(self), certificate, port, workers=workers, options=options)

    def last(self):
        return self.calls[-1]

    def begin(self, method, context):
        call = Call(method, context)
        with self.lock:
            self.calls.append(call)
        echoed = [(k, v) for k, v in call.metadata if k.startswith("x-echo-")]
        if echoed:
            context.send_initial_metadata(echoed)
            context.set_trailing_metadata([("x-trail-" + k[7:], v) for k, v in echoed])
        return call

    # -- the methods
    def unary(self, message, context):
        call = self.begin("Unary", context)
        call.received = len(message)
        if delay := call.get("x-delay"):
            call.ended.wait(float(delay))
        if status := call.get("x-status"):
            context.abort(getattr(grpc.StatusCode, status), call.get("x-details") or "")
        call.finished = not call.ended.is_set()
        return b"x" * int(call.get("x-size")) if call.get("x-size") else message

    def collect(self, messages, context):
        call, total = self.begin("Collect", context), 0
        for message in messages:
            call.received += 1
            total += len(message)
        return str(total).encode()

    def count(self, message, context):
        call = self.begin("Count", context)
        pause = float(call.get("x-pause") or 0)
        for n in range(int(message)):
            yield str(n).encode()
            if pause and call.ended.wait(pause):
                return
        if status := call.get("x-status"):
            context.abort(getattr(grpc.StatusCode, status), call.get("x-details") or "")
        call.finished = True

    def chat(self, messages, context):
        call = self.begin("Chat", context)
        for message in messages:
            call.received += 1
            yield message
        call.finished = True


class _Handlers(grpc.GenericRpcHandler):
    def __init__(self, server):
        self.methods = {
            f"/{SERVICE}/Unary": grpc.unary_unary_rpc_method_handler(server.unary),
            "/test.Plain/Any": grpc.unary_unary_rpc_method_handler(server.unary),
            f"/{SERVICE}/Collect": grpc.stream_unary_rpc_method_handler(server.collect),
            f"/{SERVICE}/Count": grpc.unary_stream_rpc_method_handler(server.count),
            f"/{SERVICE}/Chat": grpc.stream_stream_rpc_method_handler(server.chat)}

    def service(self, details):
        return self.methods.get(details.method)


def channel(port, authority="test.example", root=None, options=()):
    """A channel of its own connection; `root` is the PEM of the authority that TLS is verified with."""
    options = OPTIONS + [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0), *options]
    if root:
        options += [("grpc.ssl_target_name_override", authority)]
        return grpc.secure_channel(f"127.0.0.1:{port}", grpc.ssl_channel_credentials(root), options=options)
    return grpc.insecure_channel(f"127.0.0.1:{port}", options=options + [("grpc.default_authority", authority)])


class Methods:
    """The methods of `Server`, on a channel."""

    def __init__(self, channel, service=SERVICE):
        self.channel = channel
        self.unary = channel.unary_unary(f"/{service}/Unary")
        self.collect = channel.stream_unary(f"/{service}/Collect")
        self.count = channel.unary_stream(f"/{service}/Count")
        self.chat = channel.stream_stream(f"/{service}/Chat")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.channel.close()


def status_of(call):
    """Runs it; (code's name, details) of its error, or ("OK", its result)."""
    try:
        return "OK", call()
    except grpc.RpcError as error:
        return error.code().name, error.details()
