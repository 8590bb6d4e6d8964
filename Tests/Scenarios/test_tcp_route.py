"""TCPRoute: all bytes of a connection go to one backend, whatever they are, and so do its ends."""
import errno
import hashlib
import os
import signal
import socket
import threading
import time

import pytest

from Fixtures import documents as docs
from Fixtures.gateway import Gateway, Peak, streaming
from Fixtures.http1 import Client
from Fixtures.net import free_port, wait_until
from Fixtures.origin import Origin

MIB = 1 << 20


def piped(peer):
    """Sends back what comes, and ends when the other side does."""
    while data := peer.sock.recv(65536):
        peer.send(data)


def all_of(client):
    """Everything until the other side's end."""
    while client.fill():
        pass
    return bytes(client.buffer)


def records(gateway, count=1):
    return wait_until(lambda: len(gateway.access()) >= count and gateway.access(), 5, what="access records")


def talk(gateway, data=b"hello", timeout=10):
    """What comes back for `data` on a connection of its own, and how that ends."""
    try:
        with gateway.client(timeout=timeout) as client:
            client.send(data)
            client.half_close()
            return all_of(client), client.end
    except OSError as error:
        if not isinstance(error, ConnectionError) and error.errno != errno.ENOTCONN:
            raise
        return b"", "reset"          # in the middle of connecting, of sending, or before the half-close


# -- bytes

def test_bytes_pass_as_they_are():
    """Anything both ways, and one record with the bytes of each direction, the backend and the time."""
    data = os.urandom(100_000)
    with Origin(piped) as origin, streaming(origin) as gateway:
        assert talk(gateway, data) == (data, "eof")
        line = records(gateway)[0]
        assert line["protocol"] == "TCP" and line["ended"] == "done" and line["tls"] is False
        assert line["bytes_received"] == line["bytes_sent"] == 100_000
        assert line["route"] == "default/tcproute" and line["endpoint"] == f"127.0.0.1:{origin.port}"
        assert (line["gateway"], line["listener"]) == ("default/gateway", "tcp") and line["duration_ms"] > 0 and line["connect_ms"] > 0
        assert not {"method", "path", "status", "authority", "request_id"} & set(line)
        assert gateway.total("ai_gateway_tunnels_total") == 1 and gateway.total("ai_gateway_tunnel_cuts_total") == 0
        assert gateway.total("ai_gateway_requests_total", method="other", code="none") == 1
        assert gateway.total("ai_gateway_received_bytes_total") == 100_000


def test_the_backend_may_speak_first():
    """A greeting arrives before the client has said anything."""
    def script(peer):
        peer.send(b"220 ready\r\n")
        piped(peer)
    with Origin(script) as origin, streaming(origin) as gateway, gateway.client() as client:
        assert client.line() == b"220 ready"
        client.send(b"QUIT\r\n")
        assert client.line() == b"QUIT"


def test_what_looks_like_http_is_not_touched(origin):
    """A request line that HTTP would refuse reaches the backend byte for byte."""
    with Origin(piped) as echoing, streaming(echoing) as gateway:
        data = b"GET  /../x HTTP/9.9\r\nContent-Length: 1\r\nContent-Length: 2\r\nUpgrade: y\r\n\r\n\x00\xff"
        assert talk(gateway, data) == (data, "eof")


def test_two_hundred_megabytes_in_bounded_memory(figure):
    """200 MB up and back at once; the gateway keeps no more than a few buffers."""
    block, count = os.urandom(MIB), 200
    with Origin(piped) as origin, streaming(origin) as gateway:
        peak, began = Peak(gateway), time.monotonic()
        with gateway.client(timeout=60) as client:
            def send():
                for _ in range(count):
                    client.send(block)
                client.half_close()
            sender = threading.Thread(target=send)
            sender.start()
            digest, size = hashlib.sha256(), 0
            while client.fill():
                digest.update(client.buffer)
                size += len(client.buffer)
                client.buffer.clear()
            sender.join()
        expected = hashlib.sha256()
        for _ in range(count):
            expected.update(block)
        assert size == count * MIB and digest.digest() == expected.digest() and client.end == "eof"
        figure("200 MiB up and back through a TCPRoute",
               f"{time.monotonic() - began:.2f} s, {peak.stop() / 1024:.0f} KiB more memory")
        assert peak.growth < 4 * MIB


@pytest.mark.parametrize("reader", ["client", "backend"])
def test_a_reader_that_is_slow_and_then_stalls(reader, figure):
    """The other side is held meanwhile, memory stays, and all arrives once it reads on."""
    total, sent, got = 48 * MIB, [0], hashlib.sha256()
    block = bytes(range(256)) * 256
    go, done = threading.Event(), threading.Event()

    def write(sock):
        while sent[0] < total:
            sock.sendall(block)
            sent[0] += len(block)
        sock.shutdown(socket.SHUT_WR)

    def read(sock):
        for _ in range(20):
            got.update(sock.recv(1000))
            time.sleep(0.01)
        go.wait(20)
        while part := sock.recv(65536):
            got.update(part)
        done.set()

    with Origin(lambda p: (write if reader == "client" else read)(p.sock), receive_buffer=65536) as origin, \
            streaming(origin) as gateway:
        peak = Peak(gateway)
        with gateway.client(timeout=30, receive_buffer=65536) as client:
            mine = threading.Thread(target=read if reader == "client" else write, args=(client.sock,))
            mine.start()
            before = -1
            while sent[0] != before or not sent[0]:
                before = sent[0]
                time.sleep(0.4)
            assert sent[0] < total, "the writer was not held"
            go.set()
            assert done.wait(30)
            mine.join()
        figure(f"memory while a {reader} stalls", f"{peak.stop() / 1024:.0f} KiB more")
        assert got.digest() == hashlib.sha256(block * (total // len(block))).digest()
        assert peak.growth < 4 * MIB


def test_three_hundred_connections_at_once():
    """Each gets its own bytes back, none is left, no descriptor either."""
    with Origin(piped) as origin, streaming(origin) as gateway:
        before = gateway.descriptors()
        results = {}

        def one(k):
            results[k] = talk(gateway, f"connection {k}".encode() * 100, timeout=30)
        threads = [threading.Thread(target=one, args=(k,)) for k in range(300)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        assert all(results[k] == (f"connection {k}".encode() * 100, "eof") for k in range(300))
        wait_until(lambda: gateway.total("ai_gateway_active_tunnels") == 0, 5, what="no tunnels")
        wait_until(lambda: gateway.descriptors() <= before + 2, 5, what="descriptors")


# -- ends

def test_half_close_of_the_client():
    """The backend sees the FIN and can still answer for as long as it likes."""
    def script(peer):
        data = b"".join(iter(lambda: peer.sock.recv(65536), b""))
        time.sleep(0.2)
        peer.send(hashlib.sha256(data).hexdigest().encode())
    with Origin(script) as origin, streaming(origin) as gateway:
        data = os.urandom(MIB)
        assert talk(gateway, data) == (hashlib.sha256(data).hexdigest().encode(), "eof")


def test_a_fin_in_the_first_packet():
    """A client that has sent all and ended before there is a backend is served."""
    with Origin(piped) as origin, streaming(origin) as gateway:
        for _ in range(20):
            with gateway.client() as client:
                client.half_close()
                assert all_of(client) == b"" and client.end == "eof"


def test_half_close_of_the_backend():
    """The client sees the FIN and can still send."""
    got = []

    def script(peer):
        peer.send(b"all I had to say")
        peer.sock.shutdown(socket.SHUT_WR)
        got.append(b"".join(iter(lambda: peer.sock.recv(65536), b"")))
    with Origin(script) as origin, streaming(origin) as gateway, gateway.client() as client:
        assert all_of(client) == b"all I had to say" and client.end == "eof"
        client.send(b"z" * 500_000)
        client.half_close()
        wait_until(lambda: got, 5, what="the client's bytes")
        assert got == [b"z" * 500_000]
        assert records(gateway)[0]["ended"] == "done"


def test_a_reset_of_the_client_becomes_a_reset():
    """And is logged as the client's."""
    seen = []

    def script(peer):
        try:
            while peer.sock.recv(65536):
                pass
            seen.append("eof")
        except ConnectionResetError:
            seen.append("reset")
    with Origin(script) as origin, streaming(origin) as gateway:
        with gateway.client() as client:
            client.send(b"x")
            wait_until(lambda: gateway.total("ai_gateway_tunnels_total") == 1, 5, what="a tunnel")
            client.reset()
        wait_until(lambda: seen, 5, what="an end")
        assert seen == ["reset"] and records(gateway)[0]["ended"] == "client_cancel"


def test_a_reset_of_the_backend_becomes_a_reset():
    """What it had said before arrives first."""
    go = threading.Event()

    def script(peer):
        peer.send(b"half a sentence")
        go.wait(10)
        peer.reset()
    with Origin(script) as origin, streaming(origin) as gateway, gateway.client() as client:
        while len(client.buffer) < 15:
            assert client.fill()
        go.set()
        assert client.how_it_ends() == "reset"
        assert records(gateway)[0]["ended"] == "upstream_reset"
        assert gateway.total("ai_gateway_tunnel_cuts_total") == 1


def test_the_last_words_of_a_backend_that_takes_no_more():
    """A backend that says why and closes without reading: the client gets the reason, whatever it sends meanwhile."""
    def script(peer):
        peer.send(b"too many connections\r\n")
        time.sleep(0.1)              # what the client sends meanwhile is unread, so closing resets
    with Origin(script) as origin, streaming(origin) as gateway, gateway.client() as client:
        client.send(b"login")
        assert client.line() == b"too many connections"
        try:
            client.send(b"x" * 100_000)
        except ConnectionError:
            pass
        assert client.how_it_ends() in ("reset", "eof")


def test_the_idle_limit():
    """Silence in both directions cuts; bytes in either keep it alive."""
    with Origin(piped) as origin, streaming(origin, timeouts={"tunnelIdle": "300ms"}) as gateway, \
            gateway.client() as client:
        began = time.monotonic()
        for _ in range(5):
            time.sleep(0.15)
            client.send(b".")
        assert client.how_it_ends() == "reset" and 0.9 < time.monotonic() - began < 3
        assert records(gateway)[0]["ended"] == "idle_timeout"


# -- choosing

def test_a_dead_endpoint_is_followed_by_the_next():
    """Half of the endpoints refuse: every connection is served all the same."""
    with Origin(piped) as origin:
        both = [{"address": "127.0.0.1", "port": free_port()}, origin.endpoint()]
        with streaming({"origin": both}) as gateway:
            assert [talk(gateway) for _ in range(30)] == [(b"hello", "eof")] * 30
            assert gateway.total("ai_gateway_upstream_failures_total", reason="connect_refused") > 0
            assert gateway.total("ai_gateway_retries_total") > 0


@pytest.mark.parametrize("backends, reason", [
    (["nothing"], "no_backend"), (["empty"], "no_endpoint"), (["dead"], "connect_refused"),
])
def test_without_a_backend_the_connection_is_closed(backends, reason):
    """Closed, counted, and the log says why."""
    with Origin(piped) as origin:
        extra = [docs.backend([("127.0.0.1", free_port())], "dead"), *docs.service("none", [])]
        if backends == ["empty"]:
            backends = [{"kind": "Service", "name": "none", "port": 80}]
        with streaming(origin, backends=backends, extra=extra) as gateway:
            assert talk(gateway) == (b"", "reset")
            line = records(gateway)[0]
            assert (line["ended"], line["reason"]) == ("rejected", reason)
            assert gateway.total("ai_gateway_stream_rejections_total") == 1


def test_weights():
    """3 to 1, and a share whose backend does not exist is closed."""
    with Origin(lambda p: p.send(b"a"), name="a") as a, Origin(lambda p: p.send(b"b"), name="b") as b:
        backends = [docs.backend_ref("a", 3), docs.backend_ref("b", 1), docs.backend_ref("gone", 1)]
        with streaming({"a": a, "b": b}, backends=backends) as gateway:
            got = []
            for _ in range(200):
                got.append(talk(gateway, b"")[0] or b"-")
            assert 90 < got.count(b"a") < 150 and 15 < got.count(b"b") < 70 and 15 < got.count(b"-") < 70


def test_connections_over_the_limit_wait_for_their_turn():
    """One connection to the endpoint and one that waits; the third is closed."""
    with Origin(piped) as origin, streaming(
            origin, limits={"upstreamConnectionsMax": 1, "upstreamPendingMax": 1}, workers=1) as gateway:
        first, second = gateway.client(), gateway.client()
        first.send(b"1")
        assert first.fill()
        second.send(b"2")
        wait_until(lambda: gateway.total("ai_gateway_active_exchanges") == 2, 5, what="a second exchange")
        assert talk(gateway) == (b"", "reset")
        assert not second.buffer and origin.connections == 1
        first.close()
        assert second.fill() and second.buffer == b"2"
        second.close()
        assert [x["reason"] for x in records(gateway, 1) if x["ended"] == "rejected"] == ["overloaded"]


def test_an_idle_connection_of_requests_makes_room(origin):
    """At the limit, a connection that no request uses is closed for a stream, which cannot use it."""
    port, web = free_port(), free_port()
    content = [docs.gateway([docs.listener(port, "tcp", "TCP"), docs.listener(web)], parameters="parameters"),
               docs.parameters(limits={"upstreamConnectionsMax": 1}), docs.route([docs.rule()]),
               docs.stream_route("TCPRoute"), docs.backend(origin)]
    with Gateway(content, workers=1) as gateway:
        for host in ("first", "second"):
            with Client("127.0.0.1", web) as http:
                assert http.request("GET", "/").status == 200
            with Client("127.0.0.1", port, timeout=5) as raw:
                raw.send(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
                assert raw.read().status == 200
            wait_until(lambda: gateway.total("ai_gateway_active_tunnels") == 0, 5, what="no tunnel")


def test_http_and_tcp_do_not_share_pooled_connections(origin):
    """A Service that both kinds of route use: a stream never gets a connection that requests have used."""
    port, web = free_port(), free_port()
    content = [docs.gateway([docs.listener(port, "tcp", "TCP"), docs.listener(web)]), docs.route([docs.rule()]),
               docs.stream_route("TCPRoute"), docs.backend(origin)]
    with Gateway(content, workers=1) as gateway:
        for _ in range(3):
            with Client("127.0.0.1", web) as http:
                assert http.request("GET", "/").status == 200
            with Client("127.0.0.1", port) as raw:
                raw.send(b"GET / HTTP/1.1\r\nHost: raw\r\n\r\n")
                assert raw.read().status == 200
        assert [r.get("host") for r in origin.requests] == ["test.example", "raw"] * 3
        assert origin.connections == 4


def test_the_proxy_protocol_on_both_sides():
    """The client's header is taken off, the backend's comes first, the bytes behind it are whole."""
    got = []

    def script(peer):
        got.append(b"".join(iter(lambda: peer.sock.recv(65536), b"")))
        peer.send(b"done")
    port = free_port()
    with Origin(script) as origin:
        content = [docs.gateway([docs.listener(port, "tcp", "TCP")], parameters="parameters"),
                   docs.parameters(proxyProtocol="Accept"), docs.stream_route("TCPRoute"),
                   docs.backend(origin, proxyProtocol="V1")]
        with Gateway(content) as gateway:
            header = b"PROXY TCP4 192.0.2.7 192.0.2.8 1234 443\r\n"
            for pieces in ([header + b"hello"], [header, b"hello"], [header[:20], header[20:] + b"he", b"llo"]):
                with Client("127.0.0.1", port) as client:
                    for piece in pieces:
                        client.send(piece)
                        time.sleep(0.05)
                    client.half_close()
                    assert all_of(client) == b"done"
            assert got == [header + b"hello"] * 3
            assert {x["client"] for x in records(gateway, 3)} == {"192.0.2.7:1234"}


# -- the process

def test_a_reload_leaves_open_connections_alone():
    """After the route has another backend an open connection stays with its own."""
    with Origin(piped) as old, Origin(lambda p: p.send(b"new")) as new, \
            streaming({"origin": old, "new": new}) as gateway, gateway.client() as client:
        client.send(b"before")
        assert client.fill()
        gateway.write("main.yaml", [d for d in gateway.content if d["kind"] != "TCPRoute"]
                      + [docs.stream_route("TCPRoute", ["new"])])
        wait_until(lambda: talk(gateway, b"")[0] == b"new", 10, what="the new backend")
        client.send(b" after")
        while client.buffer != b"before after":
            assert client.fill()


def test_a_drain_lets_connections_end_and_then_cuts_them():
    """What ends in time is whole, what does not is cut and counted; the exit code is 0."""
    with Origin(piped) as origin, streaming(origin, flags=["--drain-timeout", "1s"]) as gateway:
        ends, stays = gateway.client(), gateway.client()
        for client in (ends, stays):
            client.send(b"x")
            assert client.fill()
        gateway.signal(signal.SIGTERM)
        wait_until(lambda: gateway.admin("/readyz").status == 503, 5, what="readyz 503")
        ends.send(b"y")
        ends.half_close()
        assert all_of(ends) == b"xy" and ends.end == "eof"
        assert stays.how_it_ends() == "reset"
        assert gateway.wait(10) == 0
        assert sorted(x["ended"] for x in gateway.access()) == ["done", "drained"]
