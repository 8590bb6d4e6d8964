"""A scripted HTTP/1.1 server: one function a connection, so that a test can stall, reset, lie or stream.

    def script(peer):
        request = peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\\r\\nContent-Length: 10\\r\\n\\r\\nhalf")
        peer.reset()
    with Origin(script) as origin: ... origin.port, origin.requests, origin.peers

Without a script it echoes: 200 and a JSON body that says what arrived.
"""
import hashlib
import json
import socket
import ssl
import struct
import threading
import time
from dataclasses import dataclass, field

from .http1 import Malformed, parse_fields


@dataclass
class Request:
    method: str
    target: str
    version: str
    headers: list
    raw_head: bytes
    body: bytes = b""
    trailers: list = field(default_factory=list)
    complete: bool = True
    at: float = 0.0
    connection: int = 0

    def get(self, name, default=None):
        values = self.all(name)
        return values[0] if values else default

    def all(self, name):
        return [v for n, v in self.headers if n.lower() == name.lower()]

    def names(self):
        return [n.lower() for n, _ in self.headers]


class Gone(Exception):
    """The gateway closed the connection in the middle of a request."""


class Peer:
    """The origin's side of one connection."""

    def __init__(self, origin, sock, number):
        self.origin, self.sock, self.number, self.buffer = origin, sock, number, bytearray()
        self.opened = time.monotonic()
        self.ended_at = None                  # when the other side's end was seen
        self.closed = False

    def fill(self, limit=65536):
        data = self.sock.recv(limit)
        if not data:
            self.ended_at = self.ended_at or time.monotonic()
            return False
        self.buffer += data
        return True

    def _line(self):
        while (at := self.buffer.find(b"\n")) < 0:
            if not self.fill():
                raise Gone()
        line = bytes(self.buffer[:at + 1])
        del self.buffer[:at + 1]
        if not line.endswith(b"\r\n"):
            raise Malformed(f"the gateway wrote {line!r}")
        return line[:-2]

    def read_head(self):
        """The next request's head, or None when the connection ended before it."""
        while not self.buffer:
            try:
                if not self.fill():
                    return None
            except (ConnectionError, OSError):
                self.ended_at = self.ended_at or time.monotonic()
                return None
        first = self._line()
        lines = []
        while (line := self._line()) != b"":
            lines.append(line)
        method, target, version = first.decode("latin-1").split(" ")
        request = Request(method, target, version, parse_fields(lines), b"\r\n".join([first] + lines),
                          at=time.monotonic(), connection=self.number)
        request.complete = False
        with self.origin.lock:
            own = request.get("user-agent") == "ai-gateway"
            (self.origin.probes if own else self.origin.requests).append(request)
        return request

    def pieces(self, request):
        """Yields the request's content as it arrives."""
        coding = request.get("transfer-encoding")
        lengths = request.all("content-length")
        if coding and lengths:
            raise Malformed("the gateway sent both framings")
        if coding:
            while True:
                size = int(self._line().partition(b";")[0], 16)
                if not size:
                    break
                yield from self._exactly(size)
                if self._line() != b"":
                    raise Malformed("no CRLF after the gateway's chunk")
            lines = []
            while (line := self._line()) != b"":
                lines.append(line)
            request.trailers = parse_fields(lines)
        elif lengths:
            yield from self._exactly(int(lengths[0]))
        request.complete = True

    def _exactly(self, count):
        while count:
            if not self.buffer and not self.fill(min(count, 1 << 18)):
                raise Gone()
            data = bytes(self.buffer[:count])
            del self.buffer[:count]
            count -= len(data)
            yield data

    def read_request(self):
        """A whole request, or None at the end of the connection."""
        request = self.read_head()
        if request is None:
            return None
        request.body = b"".join(self.pieces(request))
        return request

    def send(self, data):
        self.sock.sendall(data)

    def head(self, status=200, headers=(), reason="OK"):
        fields = "".join(f"{n}: {v}\r\n" for n, v in (headers.items() if isinstance(headers, dict) else headers))
        self.send(f"HTTP/1.1 {status} {reason}\r\n{fields}\r\n".encode("latin-1"))

    def respond(self, status=200, headers=(), body=b"", reason="OK", method="GET"):
        fields = list(headers.items() if isinstance(headers, dict) else headers)
        if not any(n.lower() in ("content-length", "transfer-encoding") for n, _ in fields) and status not in (204, 304):
            fields.append(("Content-Length", str(len(body))))
        text = "".join(f"{n}: {v}\r\n" for n, v in fields)
        self.send(f"HTTP/1.1 {status} {reason}\r\n{text}\r\n".encode("latin-1") + (b"" if method == "HEAD" else body))

    def chunk(self, data):
        self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def end_chunks(self, trailers=b""):
        self.send(b"0\r\n" + trailers + b"\r\n")

    def reset(self):
        """Ends with a TCP reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self):
        """Ends with a FIN, whoever else still reads from the socket."""
        self.closed = True
        try:
            self.sock.shutdown(socket.SHUT_RDWR) if not self._lingers() else None
        except OSError:
            pass
        self.sock.close()

    def _lingers(self):
        try:
            return struct.unpack("ii", self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8))[0] == 1
        except OSError:
            return False

    def wait_end(self, seconds=10.0):
        """Waits for the gateway's FIN or reset; returns when it came (monotonic), or None."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.sock.settimeout(left)
            try:
                if not self.fill():
                    break
            except (TimeoutError, socket.timeout):
                return None
            except (ConnectionError, OSError):
                break
        else:
            return None
        self.sock.settimeout(None)
        self.ended_at = self.ended_at or time.monotonic()
        return self.ended_at


def echo(peer):
    """Answers every request with what arrived; `?size=N` for a body of N bytes, `?delay=S` to wait first."""
    while (request := peer.read_request()) is not None:
        peer.respond(200, echo_headers(peer), echo_body(peer, request), method=request.method)
        if "close" in (request.get("connection") or ""):
            return


def echo_headers(peer):
    return [("Content-Type", "application/json"), ("X-Origin", peer.origin.name), ("X-Connection", str(peer.number))]


def echo_body(peer, request):
    return json.dumps({
        "origin": peer.origin.name, "method": request.method, "target": request.target, "host": request.get("host"),
        "headers": request.headers, "length": len(request.body), "sha256": hashlib.sha256(request.body).hexdigest(),
        "trailers": request.trailers, "connection": peer.number}).encode()


class Origin:
    """Listens at once; each connection runs `script` in a thread of its own."""

    def __init__(self, script=echo, host="127.0.0.1", port=0, tls=None, name="origin", backlog=1024, receive_buffer=None):
        self.script, self.tls, self.name, self.lock = script, tls, name, threading.Lock()
        self.requests, self.peers, self.errors = [], [], []
        self.probes = []                      # the gateway's own questions, how a model server is
        self.host, self.stopped = host, False
        self.listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if receive_buffer:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.listener.bind((host, port))
        self.listener.listen(backlog)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                peer = Peer(self, sock, len(self.peers) + 1)
                self.peers.append(peer)
            threading.Thread(target=self._run, args=(peer,), daemon=True).start()

    def _run(self, peer):
        try:
            if self.tls:
                peer.sock = self.tls.wrap_socket(peer.sock, server_side=True)
            self.script(peer)
        except (Gone, ConnectionError, BrokenPipeError, ssl.SSLError, TimeoutError):
            peer.ended_at = peer.ended_at or time.monotonic()
        except OSError as error:
            if not (peer.closed or self.stopped):
                self.errors.append(error)
        except Exception as error:                      # a wrong byte from the gateway, or a wrong test
            self.errors.append(error)
        finally:
            if not peer.closed:
                peer.close()

    @property
    def connections(self):
        return len(self.peers)

    def last(self):
        return self.requests[-1]

    def stop(self):
        """Closes the listener and every connection."""
        self.stopped = True
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for peer in list(self.peers):
            if not peer.closed:
                peer.close()

    def endpoint(self, **more):
        return {"address": self.host, "port": self.port, **more}
