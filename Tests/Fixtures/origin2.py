"""A scripted HTTP/2 server on the h2 library: one function a stream, so that a test can stall, reset, refuse or stream.

    def script(stream):
        body = stream.read_all()
        stream.head(200, [("content-type", "text/plain")])
        stream.send(b"half")
        stream.reset(Code.INTERNAL_ERROR)
    with Origin2(script) as origin: ... origin.port, origin.requests, origin.connections

One thread a connection moves bytes, so that it works over TLS too; scripts run in threads of their own. What a script
does not read is not credited to the sender, stream by stream; the connection's window is always credited at once.
"""
import hashlib
import json
import selectors
import socket
import ssl
import struct
import threading
import time

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from .http2_frames import GOAWAY, Code, frame


class Gone(Exception):
    """The gateway reset the stream, or the connection ended."""


class Stream:
    """One request and the server's side of its exchange."""

    def __init__(self, connection, number, fields):
        text = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in fields]
        pseudo = dict(f for f in text if f[0].startswith(":"))
        self.connection, self.id, self.fields, self.at = connection, number, text, time.monotonic()
        self.method, self.target = pseudo.get(":method"), pseudo.get(":path")
        self.scheme, self.authority = pseudo.get(":scheme"), pseudo.get(":authority")
        self.protocol = pseudo.get(":protocol")
        self.headers = [f for f in text if not f[0].startswith(":")]
        self.trailers, self.arrived, self.ended = [], [], False
        self.received, self.sent, self.digest = 0, 0, hashlib.sha256()
        self.reset_code, self.reset_at, self.lost = None, None, False
        self.sent_end = False

    @property
    def origin(self):
        return self.connection.origin

    def get(self, name, default=None):
        values = self.all(name)
        return values[0] if values else default

    def all(self, name):
        return [v for n, v in self.headers if n == name]

    # -- the request's content
    def read(self, seconds=30.0):
        """The next content, credited now; empty at its end."""
        with self.connection.changed:
            if not self.connection.changed.wait_for(lambda: self.arrived or self.ended or self.is_gone, seconds):
                raise TimeoutError("no content came")
            if self.arrived:
                data = b"".join(d for d, _ in self.arrived)
                self.connection.credit(self, sum(n for _, n in self.arrived))
                self.arrived.clear()
                self.digest.update(data)
                return data
            if self.ended:
                return b""
        raise Gone()

    def pieces(self):
        while data := self.read():
            yield data

    def read_all(self):
        return b"".join(self.pieces())

    @property
    def is_gone(self):
        return self.reset_code is not None or self.lost

    # -- the answer
    def head(self, status=200, headers=(), end=False):
        fields = [(":status", str(status))] + list(headers.items() if isinstance(headers, dict) else headers)
        self._do(lambda wire: wire.send_headers(self.id, fields, end_stream=end))
        self.sent_end = end

    def informational(self, status, headers=()):
        self._do(lambda wire: wire.send_headers(self.id, [(":status", str(status)), *headers]))

    def send(self, data, end=False, seconds=60.0):
        """Sends content as far as the windows let it; blocks until all of it is given to the connection."""
        data, connection = memoryview(data), self.connection
        while True:
            with connection.changed:
                if not connection.changed.wait_for(lambda: self.is_gone or not data or self._room() > 0, seconds):
                    raise TimeoutError("no window")
                if self.is_gone:
                    raise Gone()
                room = min(self._room(), len(data))
                last = room == len(data)
                self._do(lambda wire: wire.send_data(self.id, bytes(data[:room]), end_stream=end and last))
                data = data[room:]
                self.sent += room
                if last:
                    self.sent_end = end
                    return

    def _room(self):
        wire = self.connection.wire
        if len(self.connection.out) > 1 << 20:         # the socket does not take it
            return 0
        return min(wire.local_flow_control_window(self.id), wire.max_outbound_frame_size)

    def send_trailers(self, fields):
        self._do(lambda wire: wire.send_headers(self.id, fields, end_stream=True))
        self.sent_end = True

    def finish(self):
        self._do(lambda wire: wire.end_stream(self.id))
        self.sent_end = True

    def respond(self, status=200, headers=(), body=b""):
        fields = list(headers.items() if isinstance(headers, dict) else headers)
        if self.method == "HEAD" or status in (204, 304) or not body:
            return self.head(status, fields, end=True)
        self.head(status, fields)
        self.send(body, end=True)

    def reset(self, code=Code.INTERNAL_ERROR):
        self._do(lambda wire: wire.reset_stream(self.id, int(code)))
        self.sent_end = True

    def wait_gone(self, seconds=10.0):
        """Waits for the gateway's reset or the end of the connection; returns when it came, or None."""
        with self.connection.changed:
            self.connection.changed.wait_for(lambda: self.is_gone, seconds)
        return self.reset_at

    def _do(self, action):
        with self.connection.changed:
            if self.is_gone:
                raise Gone()
            try:
                action(self.connection.wire)
            except h2.exceptions.StreamClosedError:
                raise Gone() from None
        self.connection.wake()


class Connection:
    """One connection of the gateway's; its thread moves bytes and starts the scripts."""

    def __init__(self, origin, sock, number):
        self.origin, self.sock, self.number = origin, sock, number
        self.changed = threading.Condition(threading.RLock())
        self.streams, self.out = {}, bytearray()
        self.opened, self.closed, self.ended_at = time.monotonic(), False, None
        self.most = 0                           # streams open at once
        self.last = None                        # streams above are not looked at: GOAWAY was said
        self.alpn = None
        self.reads = threading.Event()          # cleared: bytes are left in the socket
        self.reads.set()
        self._woken, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        self.wire = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
        self.wire.local_settings = h2.settings.Settings(client=False, initial_values=origin.settings)
        self.refused = 0                        # streams beyond those that were announced
        threading.Thread(target=self._run, daemon=True).start()

    def wake(self):
        try:
            self._waker.send(b"x")
        except (BlockingIOError, OSError):
            pass

    def open_streams(self):
        return sum(1 for s in self.streams.values() if not (s.is_gone or s.sent_end and s.ended))

    def credit(self, stream, count):
        """Gives a stream's window back; with the lock held."""
        if count and not stream.ended and not stream.is_gone:
            try:
                self.wire.increment_flow_control_window(count, stream.id)
            except (h2.exceptions.StreamClosedError, h2.exceptions.NoSuchStreamError):
                return
            self.wake()

    def go_away(self, last=None, code=Code.NO_ERROR):
        """Says GOAWAY; streams above `last` (default: the highest seen) are not looked at any more."""
        with self.changed:
            self.last = max(self.streams, default=0) if last is None else last
            self._flush_wire()
            self.out += frame(GOAWAY, 0, 0, struct.pack(">II", self.last, int(code)))
        self.wake()

    def raw(self, data):
        """Any bytes between two frames."""
        with self.changed:
            self._flush_wire()
            self.out += data
        self.wake()

    def close(self, reset=False):
        self.closed = True
        try:
            if reset:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif self.ended_at is None:
                self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        if reset:
            self.sock.close()
        self.wake()

    def _flush_wire(self):
        self.out += self.wire.data_to_send()

    # -- the connection's thread
    def _run(self):
        try:
            if self.origin.tls:
                self.sock.settimeout(10)
                self.sock = self.origin.tls.wrap_socket(self.sock, server_side=True)
                self.alpn = self.sock.selected_alpn_protocol()
            self.sock.setblocking(False)
            with self.changed:
                self.wire.initiate_connection()
                # The library takes one stream too many as the end of the connection; `_begin` refuses it instead.
                self.wire.local_settings = h2.settings.Settings(client=False, initial_values={
                    **self.origin.settings, h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 1 << 30})
                if self.origin.connection_window > 65535:
                    self.wire.increment_flow_control_window(self.origin.connection_window - 65535)
            self._move()
        except (ConnectionError, ssl.SSLError, TimeoutError):
            pass
        except OSError as error:
            if not (self.closed or self.origin.stopped):
                self.origin.errors.append(error)
        except Exception as error:                      # a wrong byte from the gateway, or a wrong test
            self.origin.errors.append(error)
        finally:
            self._lose()

    def _lose(self):
        with self.changed:
            self.ended_at = self.ended_at or time.monotonic()
            for stream in self.streams.values():
                if not stream.is_gone and not (stream.ended and stream.sent_end):
                    stream.lost, stream.reset_at = True, self.ended_at
            self.changed.notify_all()
        self.closed = True
        try:
            self.sock.close()
        except OSError:
            pass

    def _move(self):
        with selectors.DefaultSelector() as selector:
            selector.register(self._woken, selectors.EVENT_READ)
            selector.register(self.sock, selectors.EVENT_READ)
            while True:
                with self.changed:
                    self._flush_wire()
                    wanted = (selectors.EVENT_READ if self.reads.is_set() else 0) | (selectors.EVENT_WRITE if self.out else 0)
                self._watch(selector, wanted)
                ready = {key.fileobj: events for key, events in selector.select(0.5)}
                if self._woken in ready:
                    self._woken.recv(65536)
                events = ready.get(self.sock, 0)
                if events & selectors.EVENT_WRITE and not self._write():
                    return
                if events & selectors.EVENT_READ and not self._read():
                    return

    def _watch(self, selector, wanted):
        known = self.sock in selector.get_map()
        if not wanted:
            if known:
                selector.unregister(self.sock)
        elif known:
            selector.modify(self.sock, wanted)
        else:
            selector.register(self.sock, wanted)

    def _write(self):
        with self.changed:
            data = bytes(self.out[:1 << 18])
        try:
            count = self.sock.send(data)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return True
        with self.changed:
            del self.out[:count]
            self.changed.notify_all()
        return True

    def _read(self):
        while True:
            try:
                data = self.sock.recv(1 << 18)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return True
            if not data:
                return False
            with self.changed:
                for event in self.wire.receive_data(data):
                    self._take(event)
                self._flush_wire()
                self.changed.notify_all()
            if not self.origin.tls:
                return True

    def _take(self, event):
        if isinstance(event, h2.events.RequestReceived):
            return self._begin(event)
        number = getattr(event, "stream_id", None)
        stream = self.streams.get(number)
        if isinstance(event, h2.events.DataReceived):
            if event.flow_controlled_length:
                self.wire.increment_flow_control_window(event.flow_controlled_length)
            if stream:
                stream.received += len(event.data)
                stream.arrived.append((event.data, event.flow_controlled_length))
        elif isinstance(event, h2.events.TrailersReceived) and stream:
            stream.trailers = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in event.headers]
        elif isinstance(event, h2.events.StreamEnded) and stream:
            stream.ended = True
        elif isinstance(event, h2.events.StreamReset) and stream:
            stream.reset_code, stream.reset_at = int(event.error_code), time.monotonic()

    def _begin(self, event):
        if self.last is not None and event.stream_id > self.last:
            return
        if self.open_streams() >= self.origin.streams_max:
            self.refused += 1
            self.wire.reset_stream(event.stream_id, int(Code.REFUSED_STREAM))
            return
        stream = self.streams[event.stream_id] = Stream(self, event.stream_id, event.headers)
        self.most = max(self.most, self.open_streams())
        with self.origin.lock:
            own = stream.get("user-agent") == "ai-gateway"
            (self.origin.probes if own else self.origin.requests).append(stream)
        threading.Thread(target=self.origin.run, args=(stream,), daemon=True).start()


def echo(stream):
    """Answers every request with what arrived; `sha256` and length, not the content itself."""
    stream.read_all()
    body = json.dumps({
        "origin": stream.origin.name, "method": stream.method, "target": stream.target, "host": stream.authority,
        "scheme": stream.scheme, "headers": stream.headers, "length": stream.received, "sha256": stream.digest.hexdigest(),
        "trailers": stream.trailers, "connection": stream.connection.number}).encode()
    stream.respond(200, [("content-type", "application/json"), ("content-length", str(len(body))), ("x-origin", stream.origin.name),
                         ("x-connection", str(stream.connection.number))], body)


class Origin2:
    """Listens at once; each stream runs `script` in a thread of its own."""

    def __init__(self, script=echo, host="127.0.0.1", port=0, tls=None, name="origin", streams_max=1000, window=1 << 20,
                 connection_window=1 << 24, settings=None, receive_buffer=None):
        names = h2.settings.SettingCodes
        self.settings = {names.MAX_CONCURRENT_STREAMS: streams_max, names.INITIAL_WINDOW_SIZE: window, **(settings or {})}
        self.script, self.tls, self.name, self.lock = script, tls, name, threading.Lock()
        self.connection_window, self.host, self.stopped, self.streams_max = connection_window, host, False, streams_max
        self.requests, self.connections, self.errors = [], [], []
        self.probes = []                      # the gateway's own questions, how a model server is
        if tls:
            tls.set_alpn_protocols(["h2"])
        self.listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if receive_buffer:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.listener.bind((host, port))
        self.listener.listen(1024)
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
                self.connections.append(Connection(self, sock, len(self.connections) + 1))

    def run(self, stream):
        try:
            self.script(stream)
        except (Gone, ConnectionError, TimeoutError):
            pass
        except Exception as error:
            if not (self.stopped or stream.is_gone):
                self.errors.append(error)

    def open_connections(self):
        return [c for c in self.connections if not c.closed]

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
        for connection in list(self.connections):
            if not connection.closed:
                connection.close()

    def endpoint(self, **more):
        return {"address": self.host, "port": self.port, **more}
