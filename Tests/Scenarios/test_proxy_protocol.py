"""The PROXY protocol on both sides: who the client is, said before the first byte, and never believed from anybody else."""
import json
import socket
import struct
import subprocess
import threading
import time

import pytest

from Fixtures import documents as docs
from Fixtures.gateway import Gateway, serving
from Fixtures.http1 import Client, request_bytes, tls_client
from Fixtures.net import free_port, ipv6_available, wait_until
from Fixtures.origin import Origin, echo

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
FAILURES = "ai_gateway_proxy_protocol_failures_total"


def text(source="192.0.2.7", destination="198.51.100.1", ports=(4711, 443), family="TCP4"):
    return f"PROXY {family} {source} {destination} {ports[0]} {ports[1]}\r\n".encode()


def binary(source="192.0.2.7", destination="198.51.100.1", ports=(4711, 443), command=0x21, tlvs=b""):
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    body = socket.inet_pton(family, source) + socket.inet_pton(family, destination) + struct.pack("!HH", *ports) + tlvs
    return SIGNATURE + struct.pack("!BBH", command, 0x21 if ":" in source else 0x11, len(body)) + body


def accepting(origin, timeouts=None, trusted=None, **more):
    """A gateway whose listener takes headers."""
    spec = {"proxyProtocol": "Accept"}
    if trusted is not None:
        spec["trustedProxies"] = {"cidrs": trusted}
    return serving(origin, parameters=spec, timeouts=timeouts, **more)


def forwarded_for(response):
    assert response.status == 200, response
    return [v for n, v in json.loads(response.body)["headers"] if n.lower() == "x-forwarded-for"]


@pytest.fixture(scope="module")
def plain():
    with Origin() as origin, accepting(origin, timeouts={"requestHeader": "1s"}) as gateway:
        yield gateway
    assert not origin.errors


# -- from clients

@pytest.mark.parametrize("header, client", [
    (text(), "192.0.2.7"), (binary(), "192.0.2.7"), (binary(tlvs=b"\x04\0\x03abc" + b"\xee\x0f\0" + bytes(3840)), "192.0.2.7"),
    (text("2001:db8::7", "2001:db8::1", family="TCP6"), "2001:db8::7"), (binary("2001:db8::7", "2001:db8::1"), "2001:db8::7"),
    (b"PROXY UNKNOWN\r\n", "127.0.0.1"), (b"PROXY UNKNOWN whatever this is\r\n", "127.0.0.1"),
    (binary(command=0x20), "127.0.0.1"), (SIGNATURE + b"\x20\0\0\0", "127.0.0.1"), (SIGNATURE + b"\x21\0\0\x02xx", "127.0.0.1"),
], ids=["v1", "v2", "v2-tlvs", "v1-ipv6", "v2-ipv6", "v1-unknown", "v1-unknown-text", "v2-local", "v2-local-bare", "v2-unspec"])
def test_the_client_is_whom_the_header_names(plain, header, client):
    """Backend and access log see the named client, on every request of the connection; LOCAL and UNKNOWN name nobody."""
    path = f"/{time.monotonic_ns()}"
    with plain.client() as connection:
        connection.send(header)
        for _ in range(3):
            assert forwarded_for(connection.request("GET", path)) == [client]
    lines = wait_until(lambda: [e for e in plain.access() if e["path"] == path][2:] and
                       [e for e in plain.access() if e["path"] == path])
    assert {e["client"].rpartition(":")[0].strip("[]") for e in lines} == {client}


@pytest.mark.parametrize("header", [text(), binary(tlvs=b"\x01\0\x02h2")], ids=["v1", "v2"])
def test_a_header_may_come_in_any_pieces(plain, header):
    """Byte by byte; and all at once with the request behind it."""
    request = request_bytes("GET", "/")
    for cut in (None, *range(1, len(header), 7)):
        with plain.client() as connection:
            if cut is None:
                for byte in header + request[:20]:
                    connection.send(bytes([byte]))
                connection.send(request[20:])
            else:
                connection.send(header[:cut])
                connection.send(header[cut:] + request)
            assert forwarded_for(connection.read()) == ["192.0.2.7"]
    with plain.client() as connection:
        connection.send(header + request + request)
        assert [forwarded_for(connection.read()) for _ in range(2)] == [["192.0.2.7"]] * 2


MALFORMED = {
    "no-header": request_bytes("GET", "/"), "tls": b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(40),
    "small-letters": b"proxy TCP4 1.2.3.4 1.2.3.4 1 1\r\n", "family": b"PROXY UDP4 1.2.3.4 1.2.3.4 1 1\r\n",
    "mixed": b"PROXY TCP4 1.2.3.4 ::1 1 1\r\n", "port": text(ports=(65536, 1)), "zero": b"PROXY TCP4 1.2.3.4 1.2.3.4 01 1\r\n",
    "bare-lf": text()[:-2] + b"\n", "two-spaces": text().replace(b"TCP4 ", b"TCP4  "), "name": text("localhost"),
    "too-long": b"PROXY UNKNOWN " + b"x" * 93 + b"\r\n", "version": binary(command=0x11), "command": binary(command=0x22),
    "v2-family": SIGNATURE + b"\x21\x41\0\x0c" + bytes(12), "v2-short": SIGNATURE + b"\x21\x11\0\x0b" + bytes(11),
    "v2-huge": SIGNATURE + b"\x21\x11\xff\xff", "signature": b"\r\n\r\n\0\r\nQUIX" + bytes(20),
}


@pytest.mark.parametrize("bytes_", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_header_ends_the_connection_at_once(plain, bytes_):
    """Nothing is answered, nothing reaches a backend, and it is counted."""
    before = plain.total(FAILURES)
    began = time.monotonic()
    with plain.client() as connection:
        connection.send(bytes_)
        assert connection.how_it_ends() in ("eof", "reset") and not connection.buffer
    assert time.monotonic() - began < 0.8
    assert plain.total(FAILURES) == before + 1


@pytest.mark.parametrize("flags", [(), ("--http2-prior-knowledge",)], ids=["http1", "h2c"])
def test_curl_speaks_it(plain, flags):
    """`curl --haproxy-protocol`, over HTTP/1.1 and HTTP/2: its own address is the client's."""
    out = subprocess.run(["curl", "-sS", "--max-time", "10", "--haproxy-protocol", *flags, f"http://127.0.0.1:{plain.port}/curl"],
                         capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    assert ["X-Forwarded-For", "127.0.0.1"] in [[n.title(), v] for n, v in json.loads(out.stdout)["headers"]]


def test_a_client_of_http2_is_named_to_the_backend():
    """A stream's request goes with the addresses of the connection that it came over."""
    script = Introduced()
    with Origin(script) as origin, serving(origin, backend={"proxyProtocol": "V2"}) as gateway:
        url = f"http://127.0.0.1:{gateway.port}/"
        out = subprocess.run(["curl", "-sS", "--max-time", "10", "--http2-prior-knowledge", "--interface", "127.0.0.33", url],
                             capture_output=True, text=True)
        assert out.returncode == 0, out.stderr
        ((version, client, asked),) = script.headers
        assert (version, client[0], asked) == (2, "127.0.0.33", ("127.0.0.1", gateway.port))


def test_two_headers_are_one_too_many(plain):
    """The second is no request."""
    with plain.client() as connection:
        connection.send(text() + text("192.0.2.8") + request_bytes("GET", "/"))
        assert connection.read().status in (400, 505)


@pytest.mark.parametrize("sent", [b"", b"P", text()[:-1], SIGNATURE, binary()[:-1]], ids=["nothing", "letter", "v1", "signature", "v2"])
def test_a_header_that_does_not_end_has_its_time(plain, sent):
    """`timeouts.requestHeader` bounds it, however it begins."""
    before = plain.total(FAILURES)
    with plain.client() as connection:
        began = time.monotonic()
        if sent:
            connection.send(sent)
        assert connection.how_it_ends(5) in ("eof", "reset")
        assert 0.8 < time.monotonic() - began < 3
    assert plain.total(FAILURES) == before + 1


def test_a_client_that_leaves_within_its_header_is_forgotten(plain):
    """No connection stays behind."""
    for sent in (b"", b"PROXY ", binary()[:20]):
        with plain.client() as connection:
            connection.send(sent)
            wait_until(lambda: plain.total("ai_gateway_downstream_connections") >= 1)
    wait_until(lambda: plain.total("ai_gateway_downstream_connections") == 0)


def test_only_trusted_peers_may_send_one():
    """With `trustedProxies.cidrs` others are closed before they are read; for trusted ones the named client counts."""
    with Origin() as origin, accepting(origin, trusted=["127.0.0.2/32"]) as gateway:
        with Client("127.0.0.1", gateway.port, source="127.0.0.2") as connection:
            connection.send(text())
            assert forwarded_for(connection.request("GET", "/", [("X-Forwarded-For", "203.0.113.9")])) == ["192.0.2.7"]
            assert gateway.total(FAILURES) == 0
        with Client("127.0.0.1", gateway.port, source="127.0.0.3") as connection:
            assert connection.how_it_ends() in ("eof", "reset")
        assert gateway.total(FAILURES) == 1


def test_the_named_client_may_be_a_trusted_proxy():
    """`trustedProxies` is asked about the named client too: its own fields are continued."""
    with Origin() as origin, accepting(origin, trusted=["127.0.0.0/8", "192.0.2.0/24"]) as gateway:
        with gateway.client() as connection:
            connection.send(text())
            chain = ",".join(forwarded_for(connection.request("GET", "/", [("X-Forwarded-For", "203.0.113.9")])))
            assert chain.replace(" ", "") == "203.0.113.9,192.0.2.7"


def test_the_header_comes_before_tls(certificate):
    """In one write with the ClientHello, split from it, byte by byte; without it there is no handshake."""
    port = free_port()
    with Origin() as origin, accepting(origin, listeners=[docs.listener(port, "https", "HTTPS", certificates=["tls"])],
                                       extra=[certificate.secret("tls")]) as gateway:
        gateway.port = port
        for header in (text(), binary()):
            with gateway.client() as connection:
                connection.send(header)
                connection.sock = tls_client().wrap_socket(connection.sock, server_hostname="test.example")
                assert forwarded_for(connection.request("GET", "/")) == ["192.0.2.7"]
            for cut in (3, len(header) - 1, len(header), len(header) + 1, len(header) + 60):
                assert forwarded_for(over_tls(gateway.port, header, cut)) == ["192.0.2.7"]
        before = gateway.total(FAILURES)
        with gateway.client() as connection:
            with pytest.raises(OSError):
                tls_client().wrap_socket(connection.sock, server_hostname="test.example")
        assert gateway.total(FAILURES) == before + 1


def over_tls(port, header, cut):
    """A request whose header and ClientHello leave in two writes, cut anywhere."""
    import ssl
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = tls_client().wrap_bio(incoming, outgoing, server_hostname="test.example")
    with Client("127.0.0.1", port) as connection:
        def step(action):
            first = True
            while True:
                try:
                    return action()
                except ssl.SSLWantReadError:
                    data = outgoing.read()
                    if first and data and hold:
                        data = hold.pop() + data
                        connection.send(data[:cut])
                        time.sleep(0.02)
                        data = data[cut:]
                    connection.send(data)
                    first = False
                    incoming.write(connection.sock.recv(65536))
        hold = [header]
        step(tls.do_handshake)
        tls.write(request_bytes("GET", "/", [("Connection", "close")]))
        connection.send(outgoing.read())
        data = b""
        while b"\r\n\r\n" not in data or not data.endswith(b"}"):
            data += step(lambda: tls.read(65536))
        from Fixtures.http1 import Response
        head, _, body = data.partition(b"\r\n\r\n")
        return Response(int(head.split(b" ")[1]), "", "", [], body=body)


def test_a_reload_begins_and_ends_it():
    """New connections follow the documents; those that stand go on."""
    with Origin() as origin, serving(origin) as gateway:
        with gateway.client() as standing:
            assert forwarded_for(standing.request("GET", "/")) == ["127.0.0.1"]
            accepts = docs.parameters(proxyProtocol="Accept")
            bound = [d | {"spec": {**d["spec"], "infrastructure": {"parametersRef": {
                "group": "ai-gateway.dev", "kind": "GatewayParameters", "name": "parameters"}}}} if d["kind"] == "Gateway" else d
                for d in gateway.content]
            gateway.write("main.yaml", bound + [accepts])

            def takes():
                with gateway.client() as connection:
                    connection.send(text() + request_bytes("GET", "/"))
                    return connection.read().status == 200
            wait_until(takes)
            assert forwarded_for(standing.request("GET", "/")) == ["127.0.0.1"]
        gateway.write("main.yaml", gateway.content)

        def plain_again():
            with gateway.client() as connection:
                connection.send(request_bytes("GET", "/"))
                try:
                    return forwarded_for(connection.read()) == ["127.0.0.1"]
                except Exception:
                    return False
        wait_until(plain_again)


def test_admin_and_metrics_ports_take_none():
    """Their clients are asked for nothing."""
    port = free_port()
    with Origin() as origin, accepting(origin, flags=["--metrics", f"127.0.0.1:{port}"]) as gateway:
        assert gateway.admin("/livez").status == 200
        with Client("127.0.0.1", port) as connection:
            assert connection.request("GET", "/metrics", host=f"127.0.0.1:{port}").status == 200


# -- to backends

class Introduced:
    """An origin's script that reads the header of each connection, then TLS if there is a context, then echoes."""

    def __init__(self, tls=None):
        self.tls, self.by_connection = tls, {}

    @property
    def headers(self):
        """In the order of the connections."""
        return [self.by_connection[n] for n in sorted(self.by_connection)]

    def __call__(self, peer):
        self.by_connection[peer.number] = read_header(peer.sock)
        if self.tls:
            peer.sock = self.tls.wrap_socket(peer.sock, server_side=True)
        echo(peer)


def read_header(sock):
    """(version, source, destination) exactly as sent, with not a byte more read."""
    def exactly(count):
        data = b""
        while len(data) < count:
            more = sock.recv(count - len(data))
            assert more, f"ended after {data!r}"
            data += more
        return data
    start = exactly(12)
    if start == SIGNATURE:
        command, family, count = struct.unpack("!BBH", exactly(4))
        assert command == 0x21, hex(command)
        body = exactly(count)
        kind, size = {0x11: (socket.AF_INET, 4), 0x21: (socket.AF_INET6, 16)}[family]
        assert count == 2 * size + 4
        ports = struct.unpack("!HH", body[2 * size:])
        return 2, (socket.inet_ntop(kind, body[:size]), ports[0]), (socket.inet_ntop(kind, body[size:2 * size]), ports[1])
    line = start
    while not line.endswith(b"\r\n"):
        line += exactly(1)
    word, family, source, destination, *ports = line[:-2].decode().split(" ")
    assert word == "PROXY" and family == ("TCP6" if ":" in source else "TCP4"), line
    return 1, (source, int(ports[0])), (destination, int(ports[1]))


@pytest.mark.parametrize("version", [1, 2])
def test_the_backend_learns_who_asked(version):
    """Client and the address that it asked for stand before the first byte, once a connection."""
    script = Introduced()
    with Origin(script) as origin, serving(origin, backend={"proxyProtocol": f"V{version}"}) as gateway:
        with gateway.client() as connection:
            assert forwarded_for(connection.request("GET", "/")) == ["127.0.0.1"]
            here = connection.sock.getsockname()
        with Client("127.0.0.1", gateway.port, source="127.0.0.9") as connection:
            assert connection.request("POST", "/", body=b"x" * 100_000).status == 200
            there = connection.sock.getsockname()
        asked = ("127.0.0.1", gateway.port)
        assert script.headers == [(version, here, asked), (version, there, asked)]
    assert not origin.errors


@pytest.mark.parametrize("version", [1, 2])
def test_ipv6_clients_are_named_as_such(version):
    """Both addresses are IPv6, over an IPv4 connection to the backend."""
    if not ipv6_available():
        pytest.skip("no IPv6 on loopback")
    script = Introduced()
    with Origin(script) as origin, serving(origin, addresses=("::1",), backend={"proxyProtocol": f"V{version}"}) as gateway:
        with Client("::1", gateway.port) as connection:
            assert connection.request("GET", "/").status == 200
            assert script.headers[0] == (version, connection.sock.getsockname()[:2], ("::1", gateway.port))


def test_connections_with_a_header_are_never_shared():
    """Each request has a connection of its own; the header always names its own client."""
    script = Introduced()
    with Origin(script) as origin, serving(origin, backend={"proxyProtocol": "V1"}) as gateway:
        def client(last):
            with Client("127.0.0.1", gateway.port, source=f"127.0.0.{last}") as connection:
                for _ in range(5):
                    assert connection.request("GET", f"/{last}").status == 200
        threads = [threading.Thread(target=client, args=(n,)) for n in range(10, 18)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        assert origin.connections == len(script.headers) == 40
        assert sorted(h[1][0] for h in script.headers) == sorted(f"127.0.0.{n}" for n in range(10, 18) for _ in range(5))
        for request in origin.requests:
            header = script.by_connection[request.connection]
            assert header[1][0] == "127.0.0." + request.target[1:]
        wait_until(lambda: gateway.total("ai_gateway_upstream_connections") == 0)
    assert not origin.errors


def test_the_header_goes_before_tls_to_a_backend(certificate, authority):
    """Then the handshake, verified as always."""
    script = Introduced(certificate.server_context())
    spec = {"proxyProtocol": "V2", "protocol": "HTTPS",
            "tls": {"hostname": "test.example", "caCertificateRefs": [{"name": "ca"}]}}
    with Origin(script) as origin, serving(origin, backend=spec, extra=[authority.config_map("ca")]) as gateway:
        with gateway.client() as connection:
            assert connection.request("GET", "/").status == 200
            assert script.headers[0] == (2, connection.sock.getsockname(), ("127.0.0.1", gateway.port))
    assert not origin.errors


@pytest.mark.parametrize("cut", [None, 5, len(text()), len(text()) + 3], ids=["whole", "in-header", "behind-header", "in-bytes"])
@pytest.mark.parametrize("version", [1, 2])
def test_a_tcp_route_takes_and_sends_it(version, cut):
    """The header stands before the bytes of a connection without requests too, and what came with it is not lost."""
    def script(peer):
        seen.append(read_header(peer.sock))
        while data := peer.sock.recv(65536):
            peer.sock.sendall(data)
    seen, port = [], free_port()
    tcp = {"name": "tcp", "port": port, "protocol": "TCP"}
    tcp_route = {"apiVersion": docs.API, "kind": "TCPRoute", "metadata": {"name": "tcp", "namespace": "default"},
                 "spec": {"parentRefs": [{"name": "gateway"}], "rules": [{"backendRefs": [docs.backend_ref("origin")]}]}}
    with Origin(script) as origin, Gateway([docs.gateway([tcp], parameters="parameters"), docs.parameters(proxyProtocol="Accept"),
                                            tcp_route, docs.backend(origin, proxyProtocol=f"V{version}")]) as gateway:
        with Client("127.0.0.1", port) as connection:
            data = text() + b"first bytes"
            connection.send(data[:cut])
            if cut:
                time.sleep(0.05)
                connection.send(data[cut:])
            while connection.buffer != b"first bytes":
                assert connection.fill(), connection.end
            connection.send(b", more")
            while connection.buffer != b"first bytes, more":
                assert connection.fill(), connection.end
        assert seen == [(version, ("192.0.2.7", 4711), ("198.51.100.1", 443))]
        with Client("127.0.0.1", port) as connection:
            connection.send(b"no header at all\r\n")
            assert connection.how_it_ends() in ("eof", "reset")


@pytest.mark.parametrize("header", [text(), binary()], ids=["v1", "v2"])
@pytest.mark.parametrize("version", [1, 2])
def test_what_was_said_is_said_on(header, version):
    """A header from in front names client and destination for the backend as well, whatever the versions."""
    script = Introduced()
    with Origin(script) as origin, accepting(origin, backend={"proxyProtocol": f"V{version}"}) as gateway:
        with gateway.client() as connection:
            connection.send(header)
            assert forwarded_for(connection.request("GET", "/")) == ["192.0.2.7"]
        assert script.headers[0] == (version, ("192.0.2.7", 4711), ("198.51.100.1", 443))


def test_a_header_begun_later_finds_no_old_connection():
    """Connections that were pooled before the documents asked for a header are not used for it."""
    script = Introduced()

    def both(peer):
        if peer.sock.recv(5, socket.MSG_PEEK) == b"PROXY":
            script(peer)
        else:
            echo(peer)
    with Origin(both) as origin, serving(origin, workers=1) as gateway:
        with gateway.client() as connection:
            assert connection.request("GET", "/").status == 200
            gateway.write("main.yaml", [d | {"spec": {**d["spec"], "proxyProtocol": "V1"}} if d["kind"] == "Backend" else d
                                        for d in gateway.content])

            def named():
                connection.request("GET", "/")
                return bool(script.headers)
            wait_until(named)
            before = origin.connections
            assert connection.request("GET", "/").status == 200
            assert origin.connections == before + 1
