"""WebSocket towards backends that speak HTTP/2 (extended CONNECT, RFC 8441): beginning, last bytes, and what breaks."""
import base64
import hashlib
import os
import socket
import threading
import time

import pytest
from h2.settings import SettingCodes

from Fixtures.gateway import serving
from Fixtures.http2_frames import DATA, frame
from Fixtures.limits import short
from Fixtures.net import wait_until
from Fixtures.origin2 import Origin2, echo

H2C = {"protocol": "H2C"}
OFFERED = {SettingCodes.ENABLE_CONNECT_PROTOCOL: 1}


class WebSocket:
    """A client over HTTP/1.1 that has asked for the upgrade."""

    def __init__(self, port, seconds=5):
        self.sock = socket.create_connection(("127.0.0.1", port), seconds)
        self.sock.settimeout(seconds)
        self.key = base64.b64encode(os.urandom(16)).decode()
        self.sock.sendall((f"GET /ws HTTP/1.1\r\nHost: test.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                           f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {self.key}\r\n\r\n").encode())
        self.head = b""
        while b"\r\n\r\n" not in self.head:
            more = self.sock.recv(1)
            if not more:
                break
            self.head += more

    @property
    def status(self):
        return int(self.head.split(b" ")[1])

    def accepts(self):
        wanted = base64.b64encode(hashlib.sha1((self.key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
        return b"sec-websocket-accept: " + wanted in self.head

    def rest(self):
        """What comes until the end: (bytes, whether it ended by a reset)."""
        data = b""
        try:
            while more := self.sock.recv(65536):
                data += more
            return data, False
        except ConnectionResetError:
            return data, True

    def close(self):
        self.sock.close()


def tunnels(then):
    """A backend's script: requests are echoed; a tunnel says ten bytes and goes on as `then(stream)` says."""
    def script(stream):
        if not stream.protocol:
            return echo(stream)
        stream.head(200)
        stream.send(b"x" * 10)
        then(stream)
    return script


def test_the_first_request_of_a_connection_may_be_an_upgrade():
    """It waits for the backend's settings, which say that it may be."""
    with Origin2(tunnels(lambda stream: stream.finish()), settings=OFFERED) as origin, serving(origin, backend=H2C, workers=1) as gateway:
        for _ in range(2):
            one = WebSocket(gateway.port)
            assert one.status == 101 and one.accepts()
            assert one.sock.recv(10, socket.MSG_WAITALL) == b"x" * 10
            one.close()


def test_a_backend_that_does_not_offer_it():
    """502 at once."""
    with Origin2() as origin, serving(origin, backend=H2C, workers=1, timeouts=short(firstByte=20_000)) as gateway:
        for _ in range(2):
            began = time.monotonic()
            one = WebSocket(gateway.port)
            assert one.status == 502 and time.monotonic() - began < 5
            one.close()
        assert gateway.get("/").status == 200


def test_the_last_bytes_arrive():
    """What the client says after the backend's end, with its own end right behind."""
    got = []

    def script(stream):
        if not stream.protocol:
            return echo(stream)
        stream.head(200)
        stream.send(b"bye", end=True)
        got.append(stream.read_all())
    with Origin2(script, settings=OFFERED) as origin, serving(origin, backend=H2C, workers=1) as gateway:
        one = WebSocket(gateway.port)
        assert one.status == 101 and one.rest() == (b"bye", False)
        one.sock.sendall(b"last words")
        one.sock.shutdown(socket.SHUT_WR)
        wait_until(lambda: got, 5)
        assert got == [b"last words"]
        one.close()


BREAKS = {
    "a reset of the stream": lambda stream: stream.reset(),
    "the end of the connection": lambda stream: stream.connection.close(),
    "a reset of the connection": lambda stream: stream.connection.close(reset=True),
    "frames that break HTTP/2": lambda stream: stream.connection.raw(frame(DATA, 0, 0, b"xx")),
}


@pytest.mark.parametrize("log", [True, False], ids=["log", "no log"])
@pytest.mark.parametrize("name", list(BREAKS))
def test_a_broken_connection_ends_its_tunnels(name, log):
    """With a reset and nothing else: no answer is written into the tunnel, no handshake is said again."""
    go = threading.Event()

    def then(stream):
        go.wait(5)
        BREAKS[name](stream)
    with Origin2(tunnels(then), settings=OFFERED) as origin, \
            serving(origin, backend=H2C, workers=1, access_log=log, timeouts=short(firstByte=500)) as gateway:
        assert gateway.get("/").status == 200
        one = WebSocket(gateway.port)
        assert one.status == 101 and one.sock.recv(10, socket.MSG_WAITALL) == b"x" * 10
        go.set()
        assert one.rest() == (b"", True)
        one.close()
        wait_until(lambda: gateway.total("ai_gateway_active_tunnels") == 0, 5)
        assert gateway.alive() and gateway.get("/").status == 200
        assert len([r for r in origin.requests if r.protocol]) == 1
