"""An HTTP/2 client that writes any frame it is told to, and reads strictly.

Frames are made by hand, so that every rule can be broken; only header compression is a library's. All of it runs in
the caller's thread: `step` reads one frame, `until` reads until something holds.
"""
import enum
import socket
import struct
import time
from dataclasses import dataclass, field

import hpack

from .http1 import Client as Socket
from .http1 import Malformed

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED = 0x1, 0x1, 0x4, 0x8
TABLE_SIZE, ENABLE_PUSH, STREAMS_MAX, INITIAL_WINDOW, FRAME_MAX, LIST_MAX = range(1, 7)
WINDOW = 65535                      # of a stream and of a connection that say nothing else
LARGEST = (1 << 31) - 1


class Code(enum.IntEnum):
    """Error codes of RFC 9113 §7."""
    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


def frame(kind, flags=0, stream=0, payload=b""):
    """The bytes of a frame; nothing is checked."""
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def settings(values):
    return frame(SETTINGS, payload=b"".join(struct.pack(">HI", n, v) for n, v in values.items()))


def credit(stream, count):
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", count))


class Over(Exception):
    """The connection, or the stream, ended before what was waited for."""


@dataclass
class Stream:
    """One request of the client's and what came for it."""
    id: int
    window: int                                 # bytes that may be sent
    method: str = "GET"
    heads: list = field(default_factory=list)   # field lists as they came: 1xx, the answer's, the trailers'
    status: int = 0
    headers: list = field(default_factory=list)
    informational: list = field(default_factory=list)   # (status, fields)
    trailers: list = field(default_factory=list)
    content: list = field(default_factory=list)
    pieces: list = field(default_factory=list)  # (time, length) of each DATA frame
    received: int = 0
    ended: bool = False                         # END_STREAM came
    reset: int = None                           # code of the peer's RST_STREAM
    reset_at: float = 0.0
    head_at: float = 0.0
    uncredited: int = 0
    holds: bool = False                         # nothing that it receives is credited
    sink: object = None                         # takes the content in place of `content`

    @property
    def body(self):
        return b"".join(self.content)

    @property
    def over(self):
        return self.ended or self.reset is not None

    def get(self, name, default=None):
        values = self.all(name)
        return values[0] if values else default

    def all(self, name):
        return [v for n, v in self.headers if n == name]

    def __repr__(self):
        end = "" if self.ended else f" RESET {self.reset}" if self.reset is not None else " OPEN"
        return f"<stream {self.id}: {self.status} {self.headers} {self.body[:200]!r}{end}>"


class Client:
    """One connection, plain with prior knowledge or over TLS with ALPN. A context manager."""

    def __init__(self, host, port, tls=None, sni="test.example", timeout=10.0, values=None, window=None, receive_buffer=None,
                 authority="test.example", hello=True, source=None):
        self.wire = Socket(host, port, timeout=timeout, tls=tls, sni=sni if tls else None, receive_buffer=receive_buffer, source=source)
        self.alpn = self.wire.sock.selected_alpn_protocol() if tls else None
        self.scheme, self.authority, self.patience = "https" if tls else "http", authority, timeout
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder(max_header_list_size=1 << 20)
        self.streams, self.next_id = {}, 1
        self.window, self.peer = WINDOW, {INITIAL_WINDOW: WINDOW, FRAME_MAX: 16384}
        self.own = {INITIAL_WINDOW: WINDOW, FRAME_MAX: 16384, **(values or {})}
        self.has_settings, self.acknowledged = False, 0
        self.goaways, self.pongs, self.pings, self.end = [], [], 0, ""
        self.credits, self.uncredited, self.credits_connection = {}, 0, True
        self.answers_pings, self.answers_settings = True, True
        self.block = None                       # (stream, flags, bytes) of a header block that goes on
        if hello:
            self.send(PREFACE + settings({ENABLE_PUSH: 0, **(values or {})}))
            if window:
                self.send(credit(0, window - WINDOW))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.wire.close()

    # -- writing
    def send(self, data):
        try:
            self.wire.send(data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Over(f"the connection ended: {error}") from None

    def fields(self, method="GET", path="/", headers=(), authority=None, scheme=None):
        pseudo = [(":method", method), (":scheme", scheme or self.scheme), (":authority", authority or self.authority), (":path", path)]
        return pseudo + list(headers.items() if isinstance(headers, dict) else headers)

    def open(self, method="GET", path="/", headers=(), end=True, **more):
        """Begins a request; content follows with `write`."""
        return self.open_fields(self.fields(method, path, headers, **more), end, method)

    def open_fields(self, fields, end=True, method="GET"):
        stream = self.take(method)
        self.send(self.header_frames(stream.id, fields, end))
        return stream

    def take(self, method="GET"):
        """The next stream's number, without a frame."""
        stream = self.streams[self.next_id] = Stream(self.next_id, self.peer[INITIAL_WINDOW], method)
        self.next_id += 2
        return stream

    def header_frames(self, stream, fields, end=True):
        """HEADERS and as many CONTINUATIONs as it takes."""
        return self.block_frames(stream, self.encoder.encode(fields), end)

    @staticmethod
    def block_frames(stream, block, end=True, size=16384):
        pieces = [block[n:n + size] for n in range(0, len(block), size)] or [b""]
        out = b""
        for n, piece in enumerate(pieces):
            flags = (END_STREAM if end and n == 0 else 0) | (END_HEADERS if n == len(pieces) - 1 else 0)
            out += frame(CONTINUATION if n else HEADERS, flags, stream, piece)
        return out

    def write(self, stream, data, end=False):
        """Sends content, as far as the windows let it; reads meanwhile."""
        data = memoryview(data)
        while True:
            room = min(stream.window, self.window, self.peer[FRAME_MAX], len(data))
            if data and room <= 0:
                if stream.over:
                    raise Over(f"the stream ended before its content was sent: {stream}")
                self.step()
                continue
            last = room == len(data)
            self.send(frame(DATA, END_STREAM if end and last else 0, stream.id, bytes(data[:room])))
            stream.window -= room
            self.window -= room
            data = data[room:]
            if last:
                return
            self.poll()

    def write_trailers(self, stream, fields):
        self.send(self.header_frames(stream.id, fields, True))

    def reset(self, stream, code=Code.CANCEL):
        self.send(frame(RST_STREAM, 0, stream.id, struct.pack(">I", code)))

    def ping(self, seconds=5.0):
        """A round trip: when it is over, the peer has read all that was sent before."""
        count = len(self.pongs)
        self.send(frame(PING, payload=b"%08d" % count))
        self.until(lambda: len(self.pongs) > count, seconds, "the answer to a ping")

    # -- reading
    def poll(self):
        """Takes the frames that are there, without waiting."""
        while not self.end and (self._buffered() or self._readable()):
            self.step()

    def _readable(self):
        self.wire.timeout(0)
        try:
            self._fill()
            return self._buffered()
        except (BlockingIOError, TimeoutError, socket.timeout):
            return False
        except OSError as error:
            if "want" in type(error).__name__.lower() or "did not complete" in str(error):
                return False
            raise
        finally:
            self.wire.timeout(self.patience)

    def _buffered(self):
        buffer = self.wire.buffer
        return len(buffer) >= 9 and len(buffer) >= 9 + int.from_bytes(buffer[:3], "big")

    def _fill(self):
        if not self.wire.fill():
            self.end = self.wire.end
            return False
        return True

    def step(self, seconds=None):
        """Reads one frame and takes it; raises Over at the end of the connection, TimeoutError after `seconds`."""
        buffer = self.wire.buffer
        if not self._buffered():
            self.wire.timeout(seconds if seconds is not None else self.patience)
            while not self._buffered():
                if not self._fill():
                    raise Over(f"the connection ended: {self.end}, {self.goaways}")
        length = int.from_bytes(buffer[:3], "big")
        kind, flags, stream = buffer[3], buffer[4], int.from_bytes(buffer[5:9], "big") & LARGEST
        if length > self.own[FRAME_MAX]:
            raise Malformed(f"a frame of {length} bytes")
        payload = bytes(buffer[9:9 + length])
        del buffer[:9 + length]
        self._take(kind, flags, stream, payload)
        return kind, flags, stream, payload

    def until(self, condition, seconds=None, what=None):
        """Reads until `condition()` holds, and returns what it gave."""
        end = time.monotonic() + (seconds or self.patience)
        while not (value := condition()):
            left = end - time.monotonic()
            if left <= 0:
                raise AssertionError(f"not within {seconds or self.patience} s: {what or 'what was waited for'}")
            try:
                self.step(left)
            except (TimeoutError, socket.timeout):
                continue
        return value

    def _take(self, kind, flags, number, payload):
        if self.block and (kind != CONTINUATION or self.block[0] != number):
            raise Malformed("a frame inside a header block")
        if kind == SETTINGS:
            self._take_settings(flags, payload)
        elif kind == PING:
            if flags & ACK:
                self.pongs.append(payload)
            else:
                self.pings += 1
                if self.answers_pings:
                    self.send(frame(PING, ACK, 0, payload))
        elif kind == GOAWAY:
            last, code = struct.unpack(">II", payload[:8])
            self.goaways.append((last & LARGEST, code))
        elif kind == WINDOW_UPDATE:
            count = int.from_bytes(payload, "big")
            if not count:
                raise Malformed("a WINDOW_UPDATE of 0")
            self.credits[number] = self.credits.get(number, 0) + count
            if number == 0:
                self.window += count
            elif number in self.streams:
                self.streams[number].window += count
        elif kind in (HEADERS, CONTINUATION):
            self._take_block(kind, flags, number, payload)
        elif kind == DATA:
            self._take_data(self._known(number), flags, payload)
        elif kind == RST_STREAM:
            stream = self._known(number)
            stream.reset, stream.reset_at = int.from_bytes(payload, "big"), time.monotonic()
        elif kind == PUSH_PROMISE:
            raise Malformed("a push, which was not allowed")

    def _known(self, number):
        if number not in self.streams:
            raise Malformed(f"a frame of stream {number}, which was never opened")
        return self.streams[number]

    def _take_settings(self, flags, payload):
        if flags & ACK:
            self.acknowledged += 1
            return
        self.has_settings = True
        for at in range(0, len(payload), 6):
            name, value = struct.unpack(">HI", payload[at:at + 6])
            if name == INITIAL_WINDOW:
                for stream in self.streams.values():
                    stream.window += value - self.peer[INITIAL_WINDOW]
            self.peer[name] = value
        if self.answers_settings:
            self.send(frame(SETTINGS, ACK))

    def _take_block(self, kind, flags, number, payload):
        if kind == HEADERS:
            if flags & PADDED:
                payload = payload[1:len(payload) - payload[0]]
            if flags & 0x20:
                payload = payload[5:]
            self.block = (number, flags, payload)
        else:
            self.block = (number, self.block[1] | (flags & END_HEADERS), self.block[2] + payload)
        if not self.block[1] & END_HEADERS:
            return
        _, flags, block = self.block
        self.block = None
        fields = [(n, v) for n, v in self.decoder.decode(block)]
        self._take_fields(self._known(number), flags, fields)

    def _take_fields(self, stream, flags, fields):
        if stream.ended:
            raise Malformed(f"a header block after the end of stream {stream.id}")
        for name, _ in fields:
            if name != name.lower() or name in ("connection", "keep-alive", "transfer-encoding", "upgrade", "proxy-connection"):
                raise Malformed(f"field {name}")
        stream.heads.append(fields)
        pseudo = [n for n, _ in fields if n.startswith(":")]
        rest = [(n, v) for n, v in fields if not n.startswith(":")]
        if stream.status:
            if pseudo or not flags & END_STREAM:
                raise Malformed(f"trailers {fields}")
            stream.trailers = rest
        else:
            if pseudo != [":status"] or fields[0][0] != ":status":
                raise Malformed(f"an answer's head {fields}")
            status = int(fields[0][1])
            if status < 200:
                if flags & END_STREAM or status == 101:
                    raise Malformed(f"an interim answer {fields}")
                stream.informational.append((status, rest))
                return
            stream.status, stream.headers, stream.head_at = status, rest, time.monotonic()
        stream.ended = bool(flags & END_STREAM)

    def _take_data(self, stream, flags, payload):
        count = len(payload)
        if flags & PADDED:
            payload = payload[1:len(payload) - payload[0]]
        if not stream.status or stream.ended:
            raise Malformed(f"DATA before the head or after the end of stream {stream.id}")
        if payload:
            stream.sink(payload) if stream.sink else stream.content.append(payload)
            stream.pieces.append((time.monotonic(), len(payload)))
            stream.received += len(payload)
        stream.ended = bool(flags & END_STREAM)
        self.uncredited += count
        stream.uncredited += count
        if self.uncredited >= 32768 and self.credits_connection:
            self.send(credit(0, self.uncredited))
            self.uncredited = 0
        if stream.uncredited >= 16384 and not stream.holds and not stream.ended:
            self.release(stream)

    def release(self, stream):
        """Credits what the stream has received."""
        if stream.uncredited and not stream.over:
            self.send(credit(stream.id, stream.uncredited))
        stream.uncredited = 0

    # -- whole exchanges
    def finish(self, *streams, seconds=None):
        """Reads until these streams are over; the only one is returned."""
        self.until(lambda: all(s.over for s in streams), seconds, f"the end of {[s.id for s in streams if not s.over]}")
        return streams[0] if len(streams) == 1 else list(streams)

    def head(self, stream, seconds=None):
        """Reads until the answer's head is there."""
        self.until(lambda: stream.status or stream.over, seconds, f"the head of stream {stream.id}")
        return stream

    def request(self, method="GET", path="/", headers=(), body=None, trailers=None, **more):
        """A whole exchange."""
        stream = self.open(method, path, headers, end=body is None and trailers is None, **more)
        if body is not None:
            self.write(stream, body, end=trailers is None)
        if trailers is not None:
            self.write_trailers(stream, trailers)
        return self.finish(stream)

    def how_it_ends(self, seconds=5.0):
        """Reads until the end of the connection: "eof", "reset", "cut", or "open" after `seconds`."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                self.step(left)
            except Over:
                return self.end or "reset"
            except (TimeoutError, socket.timeout):
                break
        return "open"


def exchange(address, port, method="GET", path="/", headers=(), body=None, **more):
    """One request on a connection of its own."""
    with Client(address, port, **more) as client:
        return client.request(method, path, headers, body)
