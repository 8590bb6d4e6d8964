"""Clients of what is not HTTP/1.1: gRPC calls, lines over TCP and TLS, datagrams, WebSocket messages.

Each plays one entry once against the gateway of a `Traffic` and returns what the backend told of itself; it raises
Wrong, Final or an OSError.
"""
import json
import random
import socket
import ssl
import struct

from Fixtures import grpc_echo
from Fixtures.http1 import Ended
from verdict import Wrong, must, need

SECONDS = 10


# -- gRPC

def grpc_call(traffic, entry, fields=()):
    """One call on a connection of its own."""
    import grpc
    address, port = traffic.place(entry)
    request, expect = entry["request"], entry["expect"]
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0), ("grpc.enable_retries", 0)]
    if "authority" in request:
        options.append(("grpc.default_authority", request["authority"]))
    metadata = [(n.lower(), v) for n, v in list(request.get("metadata", {}).items()) + list(fields)]
    with grpc.insecure_channel(f"{address}:{port}", options=options) as channel:
        call = channel.unary_unary(request["grpcMethod"])
        try:
            answer, code, details = call(b"", metadata=metadata, timeout=SECONDS), grpc.StatusCode.OK, ""
        except grpc.RpcError as error:
            answer, code, details = None, error.code(), error.details()
    if "grpcCodeNot" in expect:
        must(code.name != "OK", "the call succeeds")
        need(code.name not in expect["grpcCodeNot"], f"gRPC status {code.name}")
        return None
    need(expect.get("grpcCodeNumber", 0) == code.value[0], f"gRPC status {code.name} ({details}), not {expect['grpcCode']}")
    if answer is None:
        return None
    echoed = grpc_echo.read(answer)
    want = (expect.get("echo") or {}).get("fullyQualifiedMethod")
    need(want in (None, echoed["method"]), f"the backend saw {echoed['method']}, not {want}")
    need(expect.get("namespace") in (None, echoed["namespace"]), f"namespace {echoed['namespace']}")
    need(echoed["pod"].startswith(expect.get("backend", "")), f"pod {echoed['pod']}, not {expect.get('backend')}")
    return echoed


# -- TCP and TLS

def lines(traffic, entry, _fields=()):
    """One conversation: the welcome, then each line answered before the next."""
    expect = entry["expect"]
    with socket.create_connection(traffic.place(entry), timeout=SECONDS) as sock:
        if entry["scheme"] == "tls":
            context = traffic.tls(entry)
            context.check_hostname = context.verify_mode == ssl.CERT_REQUIRED
            sock = context.wrap_socket(sock, server_hostname=entry.get("sni"))
        with sock, sock.makefile("rb") as stream:
            welcome = _line(stream)
            must(expect.get("welcome", welcome) == welcome, f"welcome {welcome!r}")
            told = {}
            for line in entry["request"]["send"]:
                sock.sendall(line.encode())
                answer, word = _line(stream), line.strip()
                if word == "TEST":
                    told = json.loads(answer)
                elif word in expect:
                    must(answer == expect[word], f"{word} is answered {answer!r}")
    if told:
        _told(told, expect)
    return told


def _line(stream):
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise Ended("eof", line)
    return line.decode()


def _told(told, expect):
    pod = told["pod"]
    must("neverBackend" not in expect or not pod.startswith(expect["neverBackend"]), f"pod {pod} answered")
    must(pod.startswith(expect.get("backend", "")), f"pod {pod}, not {expect.get('backend')}")
    must(expect.get("namespace") in (None, told["namespace"]), f"namespace {told['namespace']}")
    for path, value in (expect.get("TEST") or {}).items():
        have = told
        for step in path.split("."):
            have = (have or {}).get(step)
        must(have == value, f"{path} is {have!r}, not {value!r}")


def handshake(traffic, entry, _fields=()):
    """A handshake that has to end with the connection, without an alert."""
    with socket.create_connection(traffic.place(entry), timeout=SECONDS) as sock:
        try:
            with traffic.tls(entry).wrap_socket(sock, server_hostname=entry.get("sni")):
                raise Wrong("the handshake succeeds where the connection has to end")
        except (ssl.SSLEOFError, ConnectionResetError):
            return None
        except ssl.SSLError as error:
            raise Wrong(f"the handshake ends with {error}, not with the connection") from None


# -- UDP

def datagram(traffic, entry, _fields=()):
    """One datagram from a port of its own, and its answer."""
    expect = entry["expect"]
    answer = _exchange(traffic, entry, entry["request"]["datagram"].encode())
    if expect.get("anyReply"):
        return None
    told = json.loads(answer)
    for name, value in expect.get("json", {}).items():
        need(told.get(name) == value, f"{name} is {told.get(name)!r}, not {value!r}")
    backend = told["pod"].rsplit("-", 2)[0]
    must(expect.get("backendName") in (None, backend), f"{backend} answered, not {expect.get('backendName')}")
    return told


def dns(traffic, entry, _fields=()):
    """Any answer to a question."""
    query = entry["request"]["query"]
    name = b"".join(bytes([len(label)]) + label.encode() for label in query["name"].rstrip(".").split("."))
    number = random.randrange(1 << 16)
    kind = {"A": 1, "AAAA": 28, "TXT": 16}[query["type"]]
    question = struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0) + name + b"\0" + struct.pack(">HH", kind, 1)
    answer = _exchange(traffic, entry, question)
    need(len(answer) >= 12 and answer[:2] == question[:2] and answer[2] & 0x80, f"no answer of DNS: {answer!r}")


def _exchange(traffic, entry, data):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(2)
        sock.connect(traffic.place(entry))
        sock.send(data)
        return sock.recv(65536)


# -- WebSocket

def websocket(traffic, entry, _fields=()):
    """The handshake and the frames of an entry."""
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect
    address, port = traffic.place(entry)
    host = entry["request"].get("host") or (address if port == 80 else f"{address}:{port}")
    sock = socket.create_connection((address, port), timeout=SECONDS)
    try:
        with connect(f"ws://{host}{entry['request']['path']}", sock=sock, origin=f"ws://{host}/", proxy=None,
                     open_timeout=SECONDS, close_timeout=SECONDS) as connection:
            for step in entry["expect"]["websocket"]["exchange"]:
                connection.send(_frame(step["send"]))
                have, want = connection.recv(timeout=SECONDS), _frame(step["receive"])
                need(have == want, f"received {have!r}, not {want!r}")
    except (WebSocketException, TimeoutError) as error:
        raise Wrong(f"{type(error).__name__}: {error}") from None


def _frame(frame):
    return bytes.fromhex(frame["hex"]) if "hex" in frame else frame["data"]


# What an entry's `protocol` takes; calls and messages are judged as requests are, by several successes in a row.
STREAMS = {"tcp-echo": lines, "tls-handshake": handshake, "udp-echo": datagram, "dns": dns}
CALLS = {"grpc": grpc_call, "websocket": websocket}
