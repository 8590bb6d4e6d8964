"""TLSRoute: the server name chooses; passed through the backend's certificate shows, terminated the listener's."""
import hashlib
import os
import socket
import ssl
import subprocess
import threading
import time

import pytest
from cryptography import x509

from Fixtures import documents as docs
from Fixtures.certificates import Certificate
from Fixtures.gateway import Gateway, Peak
from Fixtures.http1 import Client, fetch, tls_client
from Fixtures.net import free_port, wait_until
from Fixtures.origin import Origin

MIB = 1 << 20


def piped(peer):
    """Sends back what comes, and ends when the other side does."""
    while data := peer.sock.recv(65536):
        peer.send(data)


def passing(name="pass", hostname="*.pass.example", port=0):
    return docs.listener(port, name, "TLS", hostname, tls={"mode": "Passthrough"})


def ending(name="end", hostname="*.end.example", port=0):
    return docs.listener(port, name, "TLS", hostname, certificates=["tls"])


def serve(listeners, routes, backends, certificate, timeouts=None, **options):
    """A gateway on one port. `backends`: {name: Origin or whole document}."""
    port = free_port()
    content = [docs.gateway([{**one, "port": port} for one in listeners], parameters="parameters"),
               docs.parameters(**({"timeouts": timeouts} if timeouts else {})), certificate.secret("tls"), *routes]
    content += [b if isinstance(b, dict) else docs.backend(b, n) for n, b in backends.items()]
    gateway = Gateway(content, start=False, **options)
    gateway.port = port
    return gateway.start()


@pytest.fixture(scope="module")
def ours(authority):
    """The listener's certificate."""
    return Certificate(["*.end.example", "web.example"], issuer=authority)


@pytest.fixture(scope="module")
def theirs(authority):
    """The backend's."""
    return Certificate(["a.pass.example", "b.pass.example", "sealed.example"], issuer=authority)


def serial(client):
    return x509.load_der_x509_certificate(client.sock.getpeercert(binary_form=True)).serial_number


def said(client, count):
    while len(client.buffer) < count and client.fill():
        pass
    data = bytes(client.buffer)
    client.buffer.clear()
    return data


def refused(gateway, sni, timeout=5):
    """How a handshake for a name fails: the connection's end, never a certificate."""
    try:
        with gateway.client(tls=tls_client(), sni=sni, timeout=timeout):
            return ""
    except (ssl.SSLError, ConnectionError, OSError) as error:
        return type(error).__name__


class Sealed:
    """A TLS client whose two directions end one by one, which Python's sockets cannot."""

    def __init__(self, port, sni, context=None):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.input, self.output = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.ssl = (context or tls_client()).wrap_bio(self.input, self.output, server_hostname=sni)
        self.eof = False                   # the FIN came
        self._until(self.ssl.do_handshake)

    def _until(self, step):
        while True:
            try:
                result = step()
                self.flush()
                return result
            except ssl.SSLWantReadError:
                self.flush()
                if not self.pull():
                    raise EOFError("no more") from None

    def pull(self):
        data = self.sock.recv(65536)
        if data:
            self.input.write(data)
        else:
            self.eof = True
        return bool(data)

    def flush(self):
        if data := self.output.read():
            self.sock.sendall(data)

    def send(self, data):
        self.ssl.write(data)
        self.flush()

    def say_close(self):
        """close_notify, and nothing else."""
        try:
            self.ssl.unwrap()
        except ssl.SSLWantReadError:
            pass
        self.flush()

    def read_all(self):
        """What comes until close_notify; raises EOFError when the connection ends without one."""
        out = bytearray()
        while True:
            try:
                data = self._until(lambda: self.ssl.read(65536))
            except ssl.SSLZeroReturnError:
                return bytes(out)
            if not data:
                return bytes(out)
            out += data

    def close(self):
        self.sock.close()


# -- passthrough

def test_passed_through_the_backends_certificate_shows(ours, theirs, authority_file):
    """A handshake with the backend itself, by the name that was asked for, with the ALPN that it chose."""
    context = theirs.server_context()
    context.set_alpn_protocols(["own/1"])
    with Origin(piped, tls=context) as origin, serve(
            [passing()], [docs.stream_route("TLSRoute", hostnames=["a.pass.example"])], {"origin": origin}, ours) as gateway:
        with gateway.client(tls=tls_client(authority_file, alpn=["h2", "own/1"]), sni="a.pass.example") as client:
            assert serial(client) == theirs.serial and client.sock.selected_alpn_protocol() == "own/1"
            data = os.urandom(300_000)
            threading.Thread(target=client.send, args=(data,)).start()
            assert said(client, len(data)) == data
        line = wait_until(gateway.access, 5, what="access record")[0]
        assert line["protocol"] == "TCP" and line["server_name"] == "a.pass.example" and line["tls"] is True
        assert line["route"] == "default/tlsroute" and line["bytes_received"] > 300_000


def test_the_server_name_chooses_the_backend(ours, theirs):
    """Two routes on one listener, by exact name and by wildcard."""
    def named(peer):
        peer.send(peer.origin.name.encode())
        piped(peer)
    context = theirs.server_context()
    with Origin(named, tls=context, name="a") as a, Origin(named, tls=context, name="b") as b, serve(
            [passing(hostname=None)], [docs.stream_route("TLSRoute", ["a"], ["a.pass.example"], name="a"),
                                       docs.stream_route("TLSRoute", ["b"], ["*.pass.example"], name="b")],
            {"a": a, "b": b}, ours) as gateway:
        for sni, expected in (("a.pass.example", b"a"), ("A.Pass.Example", b"a"), ("b.pass.example", b"b"),
                              ("x.y.pass.example", b"b")):
            with gateway.client(tls=tls_client(), sni=sni) as client:
                assert said(client, 1) == expected, sni
        for sni in ("pass.example", "other.example", None):
            assert refused(gateway, sni)
        lines = wait_until(lambda: len(gateway.access()) == 7 and gateway.access(), 5, what="access records")
        assert [x["reason"] for x in lines if x["ended"] == "rejected"] == ["no_route"] * 3


def test_a_client_hello_in_single_bytes(ours, theirs):
    """It reaches the backend whole and untouched."""
    with Origin(piped, tls=theirs.server_context()) as origin, serve(
            [passing()], [docs.stream_route("TLSRoute", hostnames=["a.pass.example"])], {"origin": origin}, ours) as gateway:
        client_in, client_out = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = tls_client().wrap_bio(client_in, client_out, server_hostname="a.pass.example")
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        with gateway.client() as client:
            for byte in client_out.read():
                client.send(bytes([byte]))
            while True:
                assert client.fill()
                client_in.write(bytes(client.buffer))
                client.buffer.clear()
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    if data := client_out.read():
                        client.send(data)
            client.send(client_out.read())
            tls.write(b"through")
            client.send(client_out.read())
            while True:
                try:
                    assert tls.read(100) == b"through"
                    break
                except ssl.SSLWantReadError:
                    assert client.fill()
                    client_in.write(bytes(client.buffer))
                    client.buffer.clear()


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\nHost: a.pass.example\r\n\r\n", b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00"])
def test_what_is_no_hello_is_closed(ours, theirs, first):
    """Plain text, and a TLS record that holds something else: no backend sees a byte."""
    with Origin(piped) as origin, serve(
            [passing()], [docs.stream_route("TLSRoute", hostnames=["a.pass.example"])], {"origin": origin}, ours) as gateway:
        with gateway.client() as client:
            client.send(first)
            assert client.how_it_ends() in ("eof", "reset")
        assert origin.connections == 0 and gateway.total("ai_gateway_tls_failures_total") == 1


def test_openssl_s_client(ours, theirs):
    """A client of another library: chain, name and data."""
    with Origin(piped, tls=theirs.server_context()) as origin, serve(
            [passing()], [docs.stream_route("TLSRoute", hostnames=["a.pass.example"])], {"origin": origin}, ours) as gateway:
        done = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{gateway.port}", "-servername", "a.pass.example", "-quiet",
             "-no_ign_eof"], input=b"one line\n", capture_output=True, timeout=20)
        assert b"a.pass.example" in done.stderr


# -- terminate

def test_terminated_the_listeners_certificate_shows(ours, authority_file):
    """The backend sees plain bytes; both ends are passed on."""
    with Origin(piped) as origin, serve(
            [ending()], [docs.stream_route("TLSRoute", hostnames=["x.end.example"])], {"origin": origin}, ours) as gateway:
        with gateway.client(tls=tls_client(authority_file), sni="x.end.example") as client:
            assert serial(client) == ours.serial
            data = os.urandom(300_000)
            threading.Thread(target=client.send, args=(data,)).start()
            assert said(client, len(data)) == data
            client.sock.unwrap()
        line = wait_until(gateway.access, 5, what="access record")[0]
        assert line["ended"] == "done" and line["server_name"] == "x.end.example" and line["tls"] is True
        assert line["bytes_received"] == line["bytes_sent"] == 300_000


@pytest.mark.parametrize("offered", [["h2"], ["postgresql", "h2"], None])
def test_no_application_protocol_is_agreed(ours, offered):
    """The bytes may be anything: whatever is offered, the handshake goes on without."""
    with Origin(piped) as origin, serve(
            [ending()], [docs.stream_route("TLSRoute", hostnames=["x.end.example"])], {"origin": origin}, ours) as gateway:
        with gateway.client(tls=tls_client(alpn=offered), sni="x.end.example") as client:
            assert client.sock.selected_alpn_protocol() is None
            client.send(b"x")
            assert said(client, 1) == b"x"


def test_the_backend_may_speak_first(ours):
    """A greeting right behind the handshake."""
    with Origin(lambda p: (p.send(b"220 ready\r\n"), piped(p))) as origin, serve(
            [ending()], [docs.stream_route("TLSRoute", hostnames=["x.end.example"])], {"origin": origin}, ours) as gateway:
        with gateway.client(tls=tls_client(), sni="x.end.example") as client:
            assert client.line() == b"220 ready"


def test_sealed_again_for_a_backend_with_tls(ours, theirs, authority):
    """The backend's certificate is verified; it may speak first there as well."""
    context = theirs.server_context()
    with Origin(lambda p: (p.send(b"hello\r\n"), piped(p)), tls=context) as origin, serve(
            [ending()], [docs.stream_route("TLSRoute", ["sealed"], ["x.end.example"]),
                         docs.stream_route("TLSRoute", ["wrong"], ["y.end.example"], name="wrong")],
            {"sealed": docs.backend(origin, "sealed", protocol="HTTPS",
                                    tls={"hostname": "sealed.example", "caCertificateRefs": [{"kind": "ConfigMap", "name": "ca"}]}),
             "wrong": docs.backend(origin, "wrong", protocol="HTTPS",
                                   tls={"hostname": "other.example", "caCertificateRefs": [{"kind": "ConfigMap", "name": "ca"}]}),
             "ca": authority.config_map("ca")}, ours) as gateway:
        for _ in range(5):                 # resumed sessions among them
            with gateway.client(tls=tls_client(), sni="x.end.example") as client:
                assert client.line() == b"hello"
                client.send(b"data")
                assert said(client, 4) == b"data"
        with gateway.client(tls=tls_client(), sni="y.end.example") as client:
            assert client.how_it_ends() in ("reset", "cut", "eof")      # Python's TLS calls a reset an end
        wait_until(lambda: [x for x in gateway.access() if x.get("reason") == "upstream_tls"], 5, what="the refusal")


def test_half_close_by_close_notify(ours):
    """close_notify without a FIN is a FIN to the backend; its answer still comes, then close_notify."""
    def script(peer):
        data = b"".join(iter(lambda: peer.sock.recv(65536), b""))
        time.sleep(0.2)
        peer.send(b"x" * 500_000 + b"got %d" % len(data))
    with Origin(script) as origin, serve(
            [ending()], [docs.stream_route("TLSRoute", hostnames=["x.end.example"])], {"origin": origin}, ours) as gateway:
        client = Sealed(gateway.port, "x.end.example")
        client.send(b"y" * 100_000)
        client.say_close()
        assert client.read_all() == b"x" * 500_000 + b"got 100000"
        assert not client.pull() and client.eof
        client.close()
        assert wait_until(gateway.access, 5, what="access record")[0]["ended"] == "done"


def test_half_close_of_the_backend_is_close_notify(ours):
    """The client is told in TLS, and what it says after still arrives."""
    got = []

    def script(peer):
        peer.send(b"bye")
        peer.sock.shutdown(socket.SHUT_WR)
        got.append(b"".join(iter(lambda: peer.sock.recv(65536), b"")))
    with Origin(script) as origin, serve(
            [ending()], [docs.stream_route("TLSRoute", hostnames=["x.end.example"])], {"origin": origin}, ours) as gateway:
        client = Sealed(gateway.port, "x.end.example")
        assert client.read_all() == b"bye"
        client.send(b"z" * 200_000)
        client.say_close()
        client.close()
        wait_until(lambda: got, 5, what="the client's bytes")
        assert got == [b"z" * 200_000]


def test_an_end_that_is_not_said_is_a_cut(ours):
    """A FIN without close_notify may be an attacker's: the backend sees a reset, not an end."""
    seen = []

    def script(peer):
        try:
            while peer.sock.recv(65536):
                pass
            seen.append("eof")
        except ConnectionResetError:
            seen.append("reset")
    with Origin(script) as origin, serve(
            [ending()], [docs.stream_route("TLSRoute", hostnames=["x.end.example"])], {"origin": origin}, ours) as gateway:
        client = Sealed(gateway.port, "x.end.example")
        client.send(b"pay 100")
        wait_until(lambda: gateway.total("ai_gateway_tunnels_total") == 1, 5, what="a tunnel")
        client.sock.shutdown(socket.SHUT_WR)
        wait_until(lambda: seen, 5, what="an end")
        assert seen == ["reset"]
        client.close()


def test_names_without_a_listener_or_a_route(ours):
    """Closed; the handshake is not answered with another name's certificate."""
    with Origin(piped) as origin, serve(
            [ending()], [docs.stream_route("TLSRoute", hostnames=["x.end.example"]),
                         docs.stream_route("TLSRoute", ["gone"], ["y.end.example"], name="gone")],
            {"origin": origin}, ours) as gateway:
        for sni in ("z.end.example", "other.example", None, "y.end.example"):
            assert refused(gateway, sni), sni
        assert origin.connections == 0
        lines = wait_until(lambda: len(gateway.access()) == 2 and gateway.access(), 5, what="access records")
        assert {x["ended"] for x in lines} == {"rejected"}
        assert {x["server_name"]: x["reason"] for x in lines} == {"z.end.example": "no_route", "y.end.example": "no_backend"}


def test_two_hundred_megabytes_through_tls(ours, theirs, authority, figure):
    """Down through both kinds at once on one port, in bounded memory."""
    block, count = os.urandom(MIB), 200

    def script(peer):
        for _ in range(count):
            peer.send(block)
        if peer.origin.tls:
            peer.sock.unwrap()
    expected = hashlib.sha256()
    for _ in range(count):
        expected.update(block)
    with Origin(script) as plain, Origin(script, tls=theirs.server_context()) as sealed, serve(
            [ending(), passing()], [docs.stream_route("TLSRoute", ["plain"], ["x.end.example"], name="x"),
                                    docs.stream_route("TLSRoute", ["sealed"], ["a.pass.example"], name="a")],
            {"plain": plain, "sealed": sealed}, ours) as gateway:
        with gateway.client(tls=tls_client(), sni="x.end.example") as warm:
            warm.fill()
        peak, results = Peak(gateway), {}

        def one(sni):
            digest = hashlib.sha256()
            with gateway.client(tls=tls_client(), sni=sni, timeout=60) as client:
                while client.fill():
                    digest.update(client.buffer)
                    client.buffer.clear()
                results[sni] = digest.digest(), client.end
        began = time.monotonic()
        threads = [threading.Thread(target=one, args=(s,)) for s in ("x.end.example", "a.pass.example")]
        [t.start() for t in threads]
        [t.join() for t in threads]
        assert results == {s: (expected.digest(), "eof") for s in results} and len(results) == 2
        figure("200 MiB each through TLSRoutes, terminated and passed through",
               f"{time.monotonic() - began:.2f} s, {peak.stop() / 1024:.0f} KiB more memory")
        assert peak.growth < 4 * MIB


# -- together

def test_all_kinds_on_one_port(ours, theirs, origin, authority_file):
    """HTTPS, terminated and passed through, told apart by the server name alone."""
    with Origin(piped) as plain, Origin(piped, tls=theirs.server_context()) as sealed, serve(
            [docs.listener(0, "https", "HTTPS", "web.example", certificates=["tls"]), ending(), passing()],
            [docs.route([docs.rule(["web"])], parents=[{"name": "gateway", "sectionName": "https"}]),
             docs.stream_route("TLSRoute", ["plain"], ["x.end.example"], name="x"),
             docs.stream_route("TLSRoute", ["sealed"], ["a.pass.example"], name="a")],
            {"web": origin, "plain": plain, "sealed": sealed}, ours) as gateway:
        for _ in range(3):
            answer = fetch("127.0.0.1", gateway.port, "/", host="web.example", tls=tls_client(authority_file), sni="web.example")
            assert answer.status == 200
            for sni, number in (("x.end.example", ours.serial), ("a.pass.example", theirs.serial)):
                with gateway.client(tls=tls_client(authority_file), sni=sni) as client:
                    assert serial(client) == number
                    client.send(b"ping")
                    assert said(client, 4) == b"ping"
        assert refused(gateway, "nobody.example")
