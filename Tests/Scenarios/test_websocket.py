"""WebSocket: an upgrade that the backend agrees to becomes a tunnel, every other answer an ordinary one."""
import base64
import hashlib
import os
import signal
import socket
import threading
import time

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.sync.server import serve

from Fixtures import documents as docs
from Fixtures.gateway import Peak, serving
from Fixtures.http1 import request_bytes, tls_client
from Fixtures.net import free_port, wait_until
from Fixtures.origin import Origin

ASK = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
       ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]
AGREE = (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")


class Server:
    """A WebSocket server of the `websockets` package; `handler` has one connection."""

    def __init__(self, handler, **more):
        self.server = serve(handler, "127.0.0.1", 0, max_size=None, **more)
        self.port = self.server.socket.getsockname()[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def endpoint(self):
        return {"address": "127.0.0.1", "port": self.port}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()


def echo(connection):
    for message in connection:
        connection.send(message)


def opened(gateway, path="/chat", **more):
    return connect(f"ws://127.0.0.1:{gateway.port}{path}", max_size=None, open_timeout=10, close_timeout=5, **more)


@pytest.fixture(scope="module")
def echoing():
    with Server(echo) as server, serving(server) as gateway:
        yield gateway


def ask(gateway, target="/", headers=(), behind=b"", **more):
    """A raw client that has asked for the change."""
    client = gateway.client(**more)
    client.send(request_bytes("GET", target, ASK + list(headers)) + behind)
    return client


def agreeing(then):
    """An origin's script that agrees and goes on with `then(peer)`."""
    def script(peer):
        request = peer.read_head()
        assert request is not None
        peer.send(AGREE)
        then(peer)
    return script


def piped(peer):
    """Sends back what comes, and ends when the other side does."""
    if peer.buffer:
        peer.send(bytes(peer.buffer))
    while data := peer.sock.recv(65536):
        peer.send(data)


# -- what passes

def test_messages_pass_both_ways(echoing):
    """Text, binary, empty ones, fragments, and the ping that the other end answers."""
    with opened(echoing) as ws:
        for message in ("text", "", b"\x00\xff" * 100, "ünïcode 😀"):
            ws.send(message)
            assert ws.recv(10) == message
        ws.send(["in ", "three ", "fragments"])
        assert ws.recv(10) == "in three fragments"
        assert ws.ping().wait(5)


def test_large_messages(echoing):
    """16 MiB as one message, and 2,000 small ones that are all under way at once."""
    large = os.urandom(16 << 20)
    with opened(echoing) as ws:
        ws.send(large)
        assert ws.recv(60) == large
        sender = threading.Thread(target=lambda: [ws.send(str(n)) for n in range(2000)])
        sender.start()
        assert [ws.recv(10) for _ in range(2000)] == [str(n) for n in range(2000)]
        sender.join()


def test_the_client_closes(echoing):
    """The close handshake's code comes back, and the log tells of one exchange with 101 that is done."""
    with opened(echoing, "/told") as ws:
        ws.send("hello")
        ws.recv(10)
        ws.close(4001, "enough")
        assert ws.close_code == 4001
    line = wait_until(lambda: [x for x in echoing.access() if x["path"] == "/told"], 5, what="access record")[0]
    assert (line["status"], line["ended"], line["method"]) == (101, "done", "GET")
    assert line["bytes_received"] >= 11 and line["bytes_sent"] >= 7 and line["duration_ms"] > 0


def test_the_server_closes():
    """The backend's close reaches the client with its code and reason."""
    with Server(lambda ws: (ws.recv(), ws.close(4002, "bye"))) as server, serving(server) as gateway:
        with opened(gateway) as ws:
            ws.send("go")
            with pytest.raises(ConnectionClosed):
                ws.recv(10)
            assert (ws.close_code, ws.close_reason) == (4002, "bye")


def test_subprotocols_and_extensions_are_the_ends_own():
    """Sec-WebSocket-Protocol and compression are agreed between the ends."""
    with Server(echo, subprotocols=["chat"]) as server, serving(server) as gateway:
        with opened(gateway, subprotocols=["other", "chat"], compression="deflate") as ws:
            assert ws.subprotocol == "chat"
            assert "permessage-deflate" in ws.response.headers["Sec-WebSocket-Extensions"]
            ws.send("x" * 10_000)
            assert ws.recv(10) == "x" * 10_000


def test_through_tls(certificate, authority_file):
    """wss at the gateway, ws behind it."""
    port = free_port()
    with Server(echo) as server, serving(
            server, listeners=[docs.listener(port, "https", "HTTPS", certificates=["tls"])],
            extra=[certificate.secret("tls")]) as gateway:
        with connect(f"wss://127.0.0.1:{port}/", ssl=tls_client(authority_file), server_hostname="test.example",
                     max_size=None) as ws:
            ws.send(b"\x01" * (1 << 20))
            assert ws.recv(10) == b"\x01" * (1 << 20)
            ws.close()
            assert ws.close_code == 1000
        wait_until(lambda: gateway.total("ai_gateway_active_tunnels") == 0, 5, what="no tunnels")
        assert gateway.total("ai_gateway_tunnel_cuts_total") == 0


# -- the change itself

def test_the_fields_are_written_anew():
    """The backend sees one upgrade and one connection field, the client likewise; what Connection named is gone."""
    seen = []

    def script(peer):
        seen.append(peer.read_head())
        peer.send(AGREE.replace(b"\r\n\r\n", b"\r\nKeep-Alive: timeout=5\r\nX-Own: yes\r\n\r\n"))
        piped(peer)
    with Origin(script) as origin, serving(origin) as gateway:
        with gateway.client() as client:
            client.send(request_bytes("GET", "/", [
                ("Connection", "keep-alive, UPGRADE, X-Private"), ("Upgrade", "h2c, WebSocket"), ("X-Private", "1"),
                ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), ("Sec-WebSocket-Version", "13")]))
            answer = client.read_response()
        request = seen[0]
        assert request.all("upgrade") == ["websocket"] and request.all("connection") == ["upgrade"]
        assert "x-private" not in request.names() and "keep-alive" not in request.names()
        assert request.get("sec-websocket-key") == "dGhlIHNhbXBsZSBub25jZQ==" and request.get("via")
        assert answer.status == 101 and answer.all("upgrade") == ["websocket"]
        assert answer.all("connection") == ["upgrade"] and not answer.all("keep-alive")
        assert answer.get("x-own") == "yes" and answer.get("sec-websocket-accept")


@pytest.mark.parametrize("headers", [
    [("Connection", "Upgrade"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABkAAQAAP__")],
    [("Connection", "Upgrade"), ("Upgrade", "TLS/1.3")],
    [("Upgrade", "websocket")],
])
def test_other_upgrades_are_ordinary_requests(origin, headers):
    """Another protocol, or one that Connection does not name, is not forwarded, and the request is answered."""
    with serving(origin) as gateway, gateway.client() as client:
        assert client.request("GET", "/", headers).status == 200
        assert not {"upgrade", "http2-settings"} & set(origin.last().names())
        assert client.request("GET", "/next").status == 200


def test_http_1_0_has_no_upgrade(origin):
    """The field means nothing in HTTP/1.0."""
    with serving(origin) as gateway, gateway.client() as client:
        assert client.request("GET", "/", ASK, version="1.0").status == 200
        assert "upgrade" not in origin.last().names()


def test_a_request_with_content_is_an_ordinary_one(origin):
    """Content would stand between the head and the other protocol."""
    with serving(origin) as gateway, gateway.client() as client:
        answer = client.request("GET", "/", ASK, b"content")
        assert answer.status == 200 and b'"length": 7' in answer.body
        assert "upgrade" not in origin.last().names()


@pytest.mark.parametrize("asked, answer", [
    (False, AGREE),
    (True, AGREE.replace(b"Upgrade: websocket", b"Upgrade: h2c")),
    (True, AGREE.replace(b"Upgrade: websocket\r\n", b"")),
    (True, AGREE.replace(b"Connection: Upgrade\r\n", b"")),
])
def test_a_101_that_nobody_asked_for_is_502(asked, answer):
    """Unasked, for another protocol, or for none."""
    with Origin(lambda peer: (peer.read_head(), peer.send(answer + b"secret"))) as origin, serving(origin) as gateway:
        response = gateway.get(headers=ASK if asked else []) if not asked else None
        if asked:
            with ask(gateway) as client:
                response = client.read()
        assert response.status == 502 and response.get("x-gateway-error") == "malformed_answer"
        assert b"secret" not in response.body


def test_early_bytes_are_held_until_the_101():
    """What the client says behind its request reaches the backend after its 101, and not before."""
    early = []

    def script(peer):
        peer.read_head()
        peer.sock.settimeout(0.3)
        try:
            early.append(bytes(peer.buffer) or peer.sock.recv(100))
        except TimeoutError:
            early.append(b"")
        peer.sock.settimeout(None)
        peer.send(AGREE + b"first")
        piped(peer)
    with Origin(script) as origin, serving(origin) as gateway:
        with ask(gateway, behind=b"early") as client:
            client.send(b" and more")
            assert client.read_response().status == 101
            while len(client.buffer) < len(b"firstearly and more"):
                assert client.fill()
            assert bytes(client.buffer) == b"firstearly and more" and early == [b""]


def test_a_refused_upgrade_leaves_the_connection(origin):
    """404 to an upgrade, then the next request on the same connection; also on the backend's."""
    def script(peer):
        while (request := peer.read_request()) is not None:
            peer.respond(403 if request.get("upgrade") else 200, body=b"no" if request.get("upgrade") else b"yes")
    with Origin(script) as origin, serving(origin) as gateway:
        with ask(gateway) as client:
            answer = client.read()
            assert (answer.status, answer.body) == (403, b"no")
            assert client.request("GET", "/next").body == b"yes"
            assert client.request("GET", "/", ASK).status == 403
        assert origin.connections == 1
        with pytest.raises(InvalidStatus):
            opened(gateway)


def test_early_bytes_of_a_refused_upgrade_are_no_request():
    """Held bytes that look like a request are dropped with the connection."""
    def script(peer):
        while (request := peer.read_request()) is not None:
            peer.respond(403 if request.get("upgrade") else 200, body=b"answer")
    with Origin(script) as origin, serving(origin) as gateway:
        with ask(gateway, behind=request_bytes("GET", "/smuggled")) as client:
            answer = client.read()
            assert answer.status == 403 and answer.get("connection") == "close"
            assert client.how_it_ends() == "eof"
        with ask(gateway, "/none", behind=b"") as client:
            assert client.read().status == 403
        assert all(r.target != "/smuggled" for r in origin.requests)


def test_an_answer_of_the_gateways_own_ends_the_connection():
    """No route, no endpoint: what may come behind it is in another protocol."""
    with serving(None, rules=[docs.rule([], path="/none"), docs.rule([docs.backend_ref("dead")], path="/dead")],
                 extra=[docs.backend([("127.0.0.1", free_port())], "dead")]) as gateway:
        for target, status in (("/none", 500), ("/dead", 503), ("/other", 404)):
            with ask(gateway, target, behind=request_bytes("GET", "/smuggled")) as client:
                answer = client.read()
                assert answer.status == status and answer.get("connection") == "close", target
                assert client.how_it_ends() in ("eof", "reset")


def test_a_pooled_connection_that_died_is_no_failure():
    """Before the 101 an upgrade is a GET like any other."""
    state = {"first": True}

    def script(peer):
        while (request := peer.read_head()) is not None:
            if request.get("upgrade"):
                if state["first"] and peer.number == 1:
                    return peer.reset()
                peer.send(AGREE)
                return piped(peer)
            peer.respond(200, body=b"ok")
    with Origin(script) as origin, serving(origin, workers=1) as gateway:
        assert gateway.client().request("GET", "/").status == 200
        with ask(gateway) as client:
            assert client.read_response().status == 101
            client.send(b"x")
            assert client.fill() and client.buffer == b"x"


# -- ends

def test_half_close_of_the_client():
    """A FIN of the client reaches the backend; its answer still comes, then its FIN."""
    def then(peer):
        data = bytearray(peer.buffer)
        while part := peer.sock.recv(65536):
            data += part
        peer.send(b"got %d" % len(data))
    with Origin(agreeing(then)) as origin, serving(origin) as gateway:
        with ask(gateway) as client:
            assert client.read_response().status == 101
            client.send(b"x" * 300_000)
            client.half_close()
            while client.fill():
                pass
            assert client.buffer == b"got 300000" and client.end == "eof"
        assert wait_until(gateway.access, 5, what="access record")[0]["ended"] == "done"


def test_half_close_of_the_backend():
    """A FIN of the backend reaches the client, whose bytes still pass."""
    got = []

    def then(peer):
        peer.send(b"last words")
        peer.sock.shutdown(socket.SHUT_WR)
        while part := peer.sock.recv(65536):
            got.append(part)
    with Origin(agreeing(then)) as origin, serving(origin) as gateway:
        with ask(gateway) as client:
            assert client.read_response().status == 101
            while client.fill():
                pass
            assert client.buffer == b"last words" and client.end == "eof"
            client.send(b"y" * 300_000)
            client.half_close()
            wait_until(lambda: sum(map(len, got)) == 300_000, 5, what="the client's bytes")
        wait_until(lambda: gateway.total("ai_gateway_active_tunnels") == 0, 5, what="no tunnels")


@pytest.mark.parametrize("side", ["client", "backend"])
@pytest.mark.parametrize("half", [False, True])
def test_a_reset_becomes_a_reset(side, half):
    """Of either side, in an open tunnel and in one whose side had ended its sending before."""
    go, ended = threading.Event(), []

    def then(peer):
        if side == "backend":
            if half:
                peer.sock.shutdown(socket.SHUT_WR)
            go.wait(10)
            return peer.reset()
        try:
            while peer.sock.recv(65536):
                pass
            ended.append("eof")
            if half:                      # the FIN has come: now the reset must
                wait_until(lambda: not alive(peer.sock), 5, what="reset")
                ended.append("reset")
        except ConnectionResetError:
            ended.append("reset")
    with Origin(agreeing(then)) as origin, serving(origin) as gateway:
        with ask(gateway) as client:
            assert client.read_response().status == 101
            if side == "client":
                if half:
                    client.half_close()
                    wait_until(lambda: ended == ["eof"], 5, what="the FIN")
                client.reset()
                wait_until(lambda: "reset" in ended, 5, what="the reset")
            else:
                if half:
                    assert not client.fill() and client.end == "eof"
                    client.end = ""
                go.set()
                if half:
                    wait_until(lambda: not alive(client.sock), 5, what="reset")
                else:
                    assert client.how_it_ends() == "reset"
        line = wait_until(gateway.access, 5, what="access record")[0]
        assert line["ended"] == ("client_cancel" if side == "client" else "upstream_reset")
        assert gateway.total("ai_gateway_tunnel_cuts_total") == 1


def alive(sock):
    """Whether a connection that was half-closed by the other side is not reset."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0 and state(sock) not in (7, 0)


def state(sock):
    """The state of TCP: 1 established, 7 closed, 8 the other side has ended."""
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


def test_the_idle_limit_is_for_both_directions_together():
    """A tunnel lives while one side speaks, and is cut when neither does."""
    def then(peer):
        for _ in range(6):
            time.sleep(0.1)
            peer.send(b".")
        peer.wait_end(10)
    with Origin(agreeing(then)) as origin, serving(origin, timeouts={"tunnelIdle": "300ms"}) as gateway:
        with ask(gateway) as client:
            assert client.read_response().status == 101
            began = time.monotonic()
            assert client.how_it_ends() == "reset"
            assert 0.8 < time.monotonic() - began < 2.5
        assert wait_until(gateway.access, 5, what="access record")[0]["ended"] == "idle_timeout"


def test_requests_have_no_say_after_the_101():
    """timeouts.request of the rule ends with the answer's head; a tunnel may last."""
    with Origin(agreeing(piped)) as origin, serving(
            origin, rules=[docs.rule(timeouts={"request": "200ms", "backendRequest": "200ms"})],
            timeouts={"streamIdle": "200ms", "firstByte": "200ms"}) as gateway:
        with ask(gateway) as client:
            assert client.read_response().status == 101
            assert client.how_it_ends(0.8) == "open"
            client.send(b"still here")
            assert client.fill() and client.buffer == b"still here"


def test_a_drain_lets_tunnels_go_on_and_then_cuts_them():
    """After SIGTERM messages pass until the drain's time is up; the cut is counted in the log."""
    with Server(echo) as server, serving(server, flags=["--drain-timeout", "1s"]) as gateway:
        with opened(gateway) as ws:
            ws.send("before")
            assert ws.recv(10) == "before"
            gateway.signal(signal.SIGTERM)
            wait_until(lambda: gateway.admin("/readyz").status == 503, 5, what="readyz 503")
            ws.send("after")
            assert ws.recv(10) == "after"
            with pytest.raises(ConnectionClosed):
                ws.recv(10)
        assert gateway.wait(10) == 0
        assert [x["ended"] for x in gateway.access()] == ["drained"]


# -- memory

def test_a_stalled_client_holds_the_backend(figure):
    """A client that reads nothing: the backend can send little, and the gateway holds little; then all arrives."""
    sent, total = [0], 64 << 20

    def then(peer):
        block = bytes(range(256)) * 256
        while sent[0] < total:
            peer.send(block)
            sent[0] += len(block)
    with Origin(agreeing(then)) as origin, serving(origin) as gateway:
        peak = Peak(gateway)
        with ask(gateway, receive_buffer=65536, timeout=30) as client:
            assert client.read_response().status == 101
            before = -1
            while sent[0] != before:
                before = sent[0]
                time.sleep(0.3)
            assert sent[0] < 32 << 20, "the backend was not held"
            digest, count = hashlib.sha256(client.buffer), len(client.buffer)
            client.buffer.clear()
            while client.fill():
                digest.update(client.buffer)
                count += len(client.buffer)
                client.buffer.clear()
            assert count == total and digest.hexdigest() == hashlib.sha256(bytes(range(256)) * (total // 256)).hexdigest()
        figure("memory of a tunnel with a stalled client", f"{peak.stop() / 1024:.0f} KiB more")
        assert peak.growth < 4 << 20


def test_the_accept_key_is_the_backends_own(echoing):
    """Nothing of the handshake is computed by the gateway."""
    key = base64.b64encode(os.urandom(16)).decode()
    with echoing.client() as client:
        client.send(request_bytes("GET", "/", ASK[:3] + [("Sec-WebSocket-Key", key)]))
        expected = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        assert client.read_response().get("sec-websocket-accept") == base64.b64encode(expected).decode()
