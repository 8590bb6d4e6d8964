"""A strict HTTP/1.1 client over a plain or TLS socket, for tests that look at bytes and at time.

It reads a response by RFC 9112 and refuses what a client may refuse; it never repairs. `raw`
access (send any bytes, see how the connection ends) is there for the tests of malformed input.
"""
import socket
import ssl
import struct
import time
from dataclasses import dataclass, field

from .tls_socket import TLSSocket


class Malformed(Exception):
    """The peer wrote something that is not HTTP/1.1."""


class Ended(Exception):
    """The connection ended before a response head was complete."""

    def __init__(self, how, data=b""):
        super().__init__(f"connection {how}, {len(data)} bytes read: {data[:200]!r}")
        self.how, self.data = how, data


@dataclass
class Response:
    status: int
    reason: str
    version: str
    headers: list
    raw_head: bytes = b""
    body: bytes = b""
    complete: bool = False              # the body ended as its framing says
    ended: str = ""                     # "", "eof" or "reset": how the connection ended inside the body
    trailers: list = field(default_factory=list)
    informational: list = field(default_factory=list)
    pieces: list = field(default_factory=list)   # (time, bytes) as they were read
    head_at: float = 0.0

    def get(self, name, default=None):
        values = self.all(name)
        return values[0] if values else default

    def all(self, name):
        return [v for n, v in self.headers if n.lower() == name.lower()]

    def joined(self, name):
        return ",".join(self.all(name)) if self.all(name) else None

    def __repr__(self):
        return f"<{self.version} {self.status} {dict(self.headers)} {self.body[:200]!r}{'' if self.complete else ' INCOMPLETE ' + self.ended}>"


TOKEN = set(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


def parse_fields(lines):
    fields = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name or not set(name) <= TOKEN:
            raise Malformed(f"field line {line!r}")
        if any(c < 32 and c != 9 or c == 127 for c in value):
            raise Malformed(f"control byte in field {line!r}")
        fields.append((name.decode("latin-1"), value.strip(b" \t").decode("latin-1")))
    return fields


def request_bytes(method, target, headers=(), body=b"", host="test.example", chunked=False, version="1.1"):
    """The bytes of a request. `host=None` leaves Host out; `chunked` may be a list of chunks."""
    lines = [f"{method} {target} HTTP/{version}"]
    if host is not None:
        lines.append(f"Host: {host}")
    lines += [f"{n}: {v}" for n, v in (headers.items() if isinstance(headers, dict) else headers)]
    names = {line.partition(":")[0].lower() for line in lines[1:]}
    if chunked:
        lines.append("Transfer-Encoding: chunked")
        chunks = chunked if isinstance(chunked, (list, tuple)) else [body]
        body = b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in chunks if c) + b"0\r\n\r\n"
    elif body and "content-length" not in names and "transfer-encoding" not in names:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def tls_client(ca=None, alpn=None, certificate=None, minimum=None, maximum=None):
    """A client's TLS context. `ca`: path of a PEM file, or None to verify nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sslsocket_class = TLSSocket
    context.check_hostname = ca is not None
    context.verify_mode = ssl.CERT_REQUIRED if ca else ssl.CERT_NONE
    if ca:
        context.load_verify_locations(ca)
    if certificate:
        context.load_cert_chain(*certificate)
    if alpn:
        context.set_alpn_protocols(alpn)
    if minimum:
        context.minimum_version = minimum
    if maximum:
        context.maximum_version = maximum
    return context


class Client:
    """One connection. A context manager; every read has the timeout given."""

    def __init__(self, host, port, timeout=10.0, tls=None, sni=None, receive_buffer=None, source=None):
        self.host, self.port, self.buffer, self.end = host, port, bytearray(), ""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            if receive_buffer:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            self.sock.settimeout(timeout)
            if source:
                self.sock.bind((source, 0))
            self.sock.connect((host, port))
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls:
                self.sock = tls.wrap_socket(self.sock, server_hostname=sni)
        except BaseException:
            self.sock.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def reset(self):
        """Ends the connection with a TCP reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def timeout(self, seconds):
        self.sock.settimeout(seconds)

    def send(self, data):
        self.sock.sendall(data)

    # -- reading
    def fill(self):
        """Reads once into the buffer; false at the end, whose kind is then in `self.end`."""
        if self.end:
            return False
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            self.end = "reset"
            return False
        except ssl.SSLEOFError:
            self.end = "cut"                    # FIN without close_notify
            return False
        except ssl.SSLError as error:
            if "EOF" in str(error).upper():
                self.end = "cut"
                return False
            raise
        if not data:
            self.end = "eof"
            return False
        self.buffer += data
        return True

    def line(self, limit=1 << 20):
        while (at := self.buffer.find(b"\n")) < 0:
            if len(self.buffer) > limit:
                raise Malformed("a line without end")
            if not self.fill():
                raise Ended(self.end, bytes(self.buffer))
        line = bytes(self.buffer[:at + 1])
        del self.buffer[:at + 1]
        if not line.endswith(b"\r\n"):
            raise Malformed(f"bare LF after {line!r}")
        if b"\r" in line[:-2]:
            raise Malformed(f"bare CR in {line!r}")
        return line[:-2]

    def read_head(self):
        """One head, informational or final, without its body."""
        first = self.line()
        parts = first.split(b" ", 2)
        if len(parts) < 2 or parts[0] not in (b"HTTP/1.1", b"HTTP/1.0") or len(parts[1]) != 3 or not parts[1].isdigit():
            raise Malformed(f"status line {first!r}")
        lines = []
        while (line := self.line()) != b"":
            lines.append(line)
        return Response(int(parts[1]), (parts[2] if len(parts) > 2 else b"").decode("latin-1"), parts[0].decode()[5:],
                        parse_fields(lines), b"\r\n".join([first] + lines), head_at=time.monotonic())

    def read_response(self, method="GET"):
        """The final head, with the informational ones before it in `informational`; no body yet."""
        before = []
        while True:
            head = self.read_head()
            if head.status >= 200 or head.status == 101:
                head.informational = before
                return head
            before.append(head)

    def pieces(self, head, method="GET"):
        """Yields the content as it arrives and sets `complete`, `ended`, `trailers` of `head`."""
        codings, lengths = head.joined("transfer-encoding"), head.all("content-length")
        if method == "HEAD" or head.status in (204, 304) or head.status < 200:
            head.complete = True
            return
        if codings is not None and lengths:
            raise Malformed("both Transfer-Encoding and Content-Length")
        if codings is not None:
            if codings.strip().lower() != "chunked":
                raise Malformed(f"transfer coding {codings!r}")
            yield from self._chunks(head)
        elif lengths:
            if len(set(lengths)) > 1 or not lengths[0].isdigit():
                raise Malformed(f"content-length {lengths}")
            yield from self._exactly(int(lengths[0]), head, last=True)
        else:
            while True:
                if self.buffer:
                    data = bytes(self.buffer)
                    self.buffer.clear()
                    yield data
                elif not self.fill():
                    head.ended = self.end
                    head.complete = self.end == "eof"
                    return

    def _exactly(self, count, head, last=False):
        while count:
            if not self.buffer and not self.fill():
                head.ended = self.end
                return
            data = bytes(self.buffer[:count])
            del self.buffer[:count]
            count -= len(data)
            yield data
        if last:
            head.complete = True

    def _chunks(self, head):
        try:
            while True:
                size = self.line().partition(b";")[0].strip()
                if not size or any(c not in b"0123456789abcdefABCDEF" for c in size):
                    raise Malformed(f"chunk size {size!r}")
                count = int(size, 16)
                if count == 0:
                    break
                yield from self._exactly(count, head)
                if head.ended:
                    return
                if self.line() != b"":
                    raise Malformed("no CRLF after a chunk")
            lines = []
            while (line := self.line()) != b"":
                lines.append(line)
            head.trailers = parse_fields(lines)
            head.complete = True
        except Ended:
            head.ended = self.end

    def read(self, method="GET"):
        """A whole response; `complete` says whether its body ended as it should."""
        head = self.read_response(method)
        if head.status == 101:
            return head
        for data in self.pieces(head, method):
            head.pieces.append((time.monotonic(), data))
        head.body = b"".join(d for _, d in head.pieces)
        return head

    def request(self, method="GET", target="/", headers=(), body=b"", **more):
        self.send(request_bytes(method, target, headers, body, **more))
        return self.read(method)

    def how_it_ends(self, seconds=5.0):
        """Reads and drops until the end: "eof", "reset", "cut", or "open" after `seconds`."""
        self.sock.settimeout(seconds)
        try:
            while self.fill():
                self.buffer.clear()
        except (TimeoutError, socket.timeout):
            return "open"
        return self.end


def fetch(address, port, target="/", method="GET", headers=(), body=b"", tls=None, sni=None, timeout=10.0, **more):
    """One request on a connection of its own (`host` is the Host field)."""
    with Client(address, port, timeout=timeout, tls=tls, sni=sni) as client:
        fields = list(headers.items() if isinstance(headers, dict) else headers)
        return client.request(method, target, fields + [("Connection", "close")], body, **more)
