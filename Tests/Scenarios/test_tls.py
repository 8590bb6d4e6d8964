"""TLS on both sides: versions, certificates by name, rotation, tickets, and backends that are verified."""
import base64
import datetime
import signal
import socket
import ssl
import threading
import time

import pytest

from Fixtures import documents as docs
from Fixtures.certificates import Certificate
from Fixtures.gateway import Gateway, cli, serving
from Fixtures.http1 import Client, Ended, Malformed, fetch, request_bytes, tls_client
from Fixtures.net import free_port, wait_until
from Fixtures.origin import Origin


def https(origin, certificates, listeners=None, **more):
    """A gateway with an HTTPS listener; `certificates`: {secret name: Certificate}."""
    port = free_port()
    gateway = serving(origin, listeners=listeners(port) if listeners else [docs.listener(port, "https", "HTTPS", certificates=list(certificates))],
                      extra=[c.secret(n) for n, c in certificates.items()] + list(more.pop("extra", ())), **more)
    gateway.port = port
    return gateway


def served_serial(gateway, sni="test.example", context=None):
    """The serial number of the certificate that a handshake shows."""
    from cryptography import x509
    with Client("127.0.0.1", gateway.port, tls=context or tls_client(), sni=sni) as client:
        return x509.load_der_x509_certificate(client.sock.getpeercert(binary_form=True)).serial_number


@pytest.fixture(scope="module")
def secure(certificate):
    with Origin() as origin, https(origin, {"tls": certificate}) as gateway:
        yield gateway


def test_a_verified_request(secure, authority_file):
    """A client that verifies chain and name gets its answer, and the backend learns that it was https."""
    response = fetch("127.0.0.1", secure.port, "/", tls=tls_client(authority_file), sni="test.example")
    assert response.status == 200 and b'"https"' in response.body.replace(b"'", b'"')


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_versions_that_are_spoken(secure, version):
    """1.2 and 1.3."""
    with secure.client(tls=tls_client(minimum=version, maximum=version), sni="test.example") as client:
        assert client.request("GET", "/").status == 200
        assert client.sock.version() == {ssl.TLSVersion.TLSv1_2: "TLSv1.2", ssl.TLSVersion.TLSv1_3: "TLSv1.3"}[version]


def test_versions_that_are_refused(secure):
    """1.0 and 1.1 do not shake hands."""
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        context = tls_client()
        context.set_ciphers("DEFAULT@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
        with pytest.raises((ssl.SSLError, OSError)):
            Client("127.0.0.1", secure.port, tls=context, sni="test.example").close()


def test_weak_suites_are_refused(secure):
    """No CBC and no plain RSA key exchange in 1.2."""
    context = tls_client(maximum=ssl.TLSVersion.TLSv1_2)
    context.set_ciphers("AES128-SHA:AES256-SHA256:AES128-GCM-SHA256:ECDHE-RSA-AES128-SHA:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, OSError)):
        Client("127.0.0.1", secure.port, tls=context, sni="test.example").close()


@pytest.mark.parametrize("offered", [["http/1.1"], ["h2", "http/1.1"], ["spdy/3"], None])
def test_alpn_never_chooses_what_was_not_offered(secure, offered):
    """Offered http/1.1: chosen. Nothing common: no ALPN answer (or a refusal), and never something else."""
    try:
        with secure.client(tls=tls_client(alpn=offered), sni="test.example") as client:
            chosen = client.sock.selected_alpn_protocol()
            assert chosen in (None, *(offered or []))
            if offered == ["http/1.1"]:
                assert chosen == "http/1.1"
            if chosen in (None, "http/1.1"):
                assert client.request("GET", "/").status == 200
    except ssl.SSLError:
        assert offered == ["spdy/3"]


def test_the_certificate_is_chosen_by_name(authority):
    """Exact name, wildcard listener, no SNI: each listener shows its own certificate; RSA and ECDSA side by side."""
    exact, wild = Certificate(["a.example"], issuer=authority), Certificate(["*.b.example"], issuer=authority)
    other, curve = Certificate(["other.example"], issuer=authority), Certificate(["other.example"], issuer=authority, key="ecdsa")
    with Origin() as origin, https(origin, {"exact": exact, "wild": wild, "other": other, "curve": curve}, lambda port: [
            docs.listener(port, "exact", "HTTPS", "a.example", ["exact"]), docs.listener(port, "wild", "HTTPS", "*.b.example", ["wild"]),
            docs.listener(port, "other", "HTTPS", None, ["other", "curve"])]) as gateway:
        assert served_serial(gateway, "a.example") == exact.serial
        assert served_serial(gateway, "A.EXAMPLE") == exact.serial
        assert served_serial(gateway, "x.b.example") == wild.serial
        assert served_serial(gateway, "unknown.example") in (other.serial, curve.serial)
        assert served_serial(gateway, None) in (other.serial, curve.serial)
        for suites, expected in (("ECDHE-RSA-AES128-GCM-SHA256", other), ("ECDHE-ECDSA-AES128-GCM-SHA256", curve)):
            context = tls_client(maximum=ssl.TLSVersion.TLSv1_2)
            context.set_ciphers(suites)
            assert served_serial(gateway, "q.example", context) == expected.serial


def test_a_request_for_another_listeners_host_is_421(authority):
    """SNI chose one listener, Host names another's: 421; an unknown host on the catch-all: 404 or the catch-all."""
    one, two = Certificate(["one.example"], issuer=authority), Certificate(["two.example"], issuer=authority)
    with Origin() as origin, https(origin, {"one": one, "two": two}, lambda port: [
            docs.listener(port, "one", "HTTPS", "one.example", ["one"]), docs.listener(port, "two", "HTTPS", "two.example", ["two"])]) as gateway:
        with gateway.client(tls=tls_client(), sni="one.example") as client:
            assert client.request("GET", "/", host="one.example").status == 200
            assert client.request("GET", "/", host="two.example").status == 421


def test_rotation_drops_no_handshake(authority, figure):
    """While the Secret changes 10 times under steady handshakes: no failure, and the new one is used at once after."""
    certificates = [Certificate(["test.example"], issuer=authority, key="ecdsa") for _ in range(10)]
    failures, done, count = [], threading.Event(), [0]
    with Origin() as origin, https(origin, {"tls": certificates[0]}) as gateway:
        def steady():
            while not done.is_set():
                try:
                    with gateway.client(tls=tls_client(), sni="test.example") as client:
                        assert client.request("GET", "/").status == 200
                    count[0] += 1
                except Exception as error:
                    failures.append(error)
        old = gateway.client(tls=tls_client(), sni="test.example")
        assert old.request("GET", "/").status == 200
        threads = [threading.Thread(target=steady) for _ in range(3)]
        [t.start() for t in threads]
        try:
            for c in certificates[1:]:
                gateway.write("main.yaml", [c.secret("tls") if d["kind"] == "Secret" else d for d in gateway.content])
                wait_until(lambda: served_serial(gateway) == c.serial, 5)
        finally:
            done.set()
            [t.join() for t in threads]
        assert old.request("GET", "/").status == 200, "a connection from before the rotation goes on"
        old.close()
    assert not failures, failures[:3]
    figure("handshakes during 9 rotations", f"{count[0]}, 0 failed")


def test_a_bad_pair_keeps_the_old_certificate(authority):
    """A key that does not fit is refused; the old pair serves on."""
    good, other = Certificate(["test.example"], issuer=authority, key="ecdsa"), Certificate(["test.example"], issuer=authority, key="ecdsa")
    with Origin() as origin, https(origin, {"tls": good}) as gateway:
        bad = good.secret("tls")
        bad["data"]["tls.crt"] = other.secret("tls")["data"]["tls.crt"]
        before = gateway.messages()
        gateway.write("main.yaml", [bad if d["kind"] == "Secret" else d for d in gateway.content])
        wait_until(lambda: gateway.messages() != before, 5, what="a message about the bad pair")
        assert served_serial(gateway) == good.serial


def test_a_weak_certificate_is_its_own_listeners_fault(authority):
    """The library refuses a key of 1024 bits: that listener says so, and all others are served."""
    weak = Certificate(["weak.example"], issuer=authority, key="weak").secret("weak")
    good = Certificate(["good.example"], issuer=authority)
    listeners = lambda port: [docs.listener(port, "weak", "HTTPS", "weak.example", ["weak"]),
                              docs.listener(port, "good", "HTTPS", "good.example", ["good"])]
    with Origin() as origin, serving(origin, listeners=listeners, extra=[weak, good.secret("good")]) as gateway:
        assert gateway.get("/", tls=tls_client(), sni="good.example", host="good.example").status == 200
        status = {l["name"]: l["conditions"] for l in gateway.object("Gateway", "gateway")["status"]["listeners"]}
        refs = next(c for c in status["weak"] if c["type"] == "ResolvedRefs")
        assert refs["status"] == "False" and "too small" in refs["message"], refs
        assert gateway.total("ai_gateway_config_last_reload_success") == 1


@pytest.mark.parametrize("names,ago,said", [(["other.example"], 0, "no certificate is for test.example, only for other.example"),
                                            (["*.example"], 0, None), (["test.example"], 31, "ended on"), (["test.example"], 0, None)])
def test_check_warns_of_certificates_that_clients_will_refuse(authority, tmp_path, names, ago, said):
    """Of another name, or past its end: served, and said."""
    start = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=ago)
    certificate = Certificate(names, issuer=authority, days=30, start=start)
    (tmp_path / "main.yaml").write_text(docs.dump([
        docs.gateway([docs.listener(8443, "https", "HTTPS", "test.example", ["tls"])]), certificate.secret("tls")]))
    code, out, err = cli("check", tmp_path)
    assert code == 0, (out, err)
    assert ("warning: Gateway default/gateway" in out and said in out) if said else "warning" not in out, out


@pytest.mark.parametrize("form", ["PKCS8", "TraditionalOpenSSL"])
def test_an_encrypted_key_is_called_so(authority, tmp_path, form):
    """In the form of PKCS 8 and in the older one, which looks like any key."""
    from cryptography.hazmat.primitives import serialization as s
    certificate = Certificate(["test.example"], issuer=authority)
    secret = certificate.secret("tls")
    key = certificate.key.private_bytes(s.Encoding.PEM, getattr(s.PrivateFormat, form), s.BestAvailableEncryption(b"x"))
    secret["data"]["tls.key"] = base64.b64encode(key).decode()
    (tmp_path / "main.yaml").write_text(docs.dump([docs.gateway([docs.listener(8443, "https", "HTTPS", certificates=["tls"])]), secret]))
    code, out, _ = cli("check", tmp_path)
    assert code == 1 and "is an encrypted key" in out, out


def test_certificate_files_are_watched(authority, tmp_path):
    """A Secret that names files by annotation; the files change, the next handshake shows the new one."""
    first, second = (Certificate(["test.example"], issuer=authority, key="ecdsa") for _ in range(2))
    first.write(str(tmp_path), "pair")
    secret = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {
        "name": "tls", "namespace": "default", "annotations": {"ai-gateway.dev/certificate-file": str(tmp_path / "pair.crt"),
                                                               "ai-gateway.dev/key-file": str(tmp_path / "pair.key")}}}
    port = free_port()
    with Origin() as origin, serving(origin, listeners=[docs.listener(port, "https", "HTTPS", certificates=["tls"])], extra=[secret]) as gateway:
        gateway.port = port
        assert served_serial(gateway) == first.serial
        second.write(str(tmp_path), "pair")
        wait_until(lambda: served_serial(gateway) == second.serial, 5)


def test_plain_text_on_a_tls_port_is_refused_at_once(secure):
    """Not after a timeout."""
    began = time.monotonic()
    with secure.client() as client:
        client.send(request_bytes("GET", "/"))
        try:
            client.read()
        except (Ended, Malformed):
            pass
        assert client.how_it_ends(5) in ("eof", "reset")
    assert time.monotonic() - began < 3


def test_a_handshake_that_never_ends_is_closed(certificate):
    """The handshake timeout."""
    from Fixtures.limits import short
    with Origin() as origin, https(origin, {"tls": certificate}, timeouts=short(handshake=400, silentConnection=600)) as gateway:
        with gateway.client() as client:
            client.send(b"\x16\x03\x01\x00\x50\x01")
            assert client.how_it_ends(5) in ("eof", "reset")


def test_a_burst_of_handshakes_stops_nobody(authority, figure):
    """80 ClientHellos at once, each of which costs a signature of milliseconds: requests of others are answered in between."""
    def hello():
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = tls_client().wrap_bio(incoming, outgoing, server_hostname="test.example")
        with pytest.raises(ssl.SSLWantReadError):
            session.do_handshake()
        return outgoing.read()
    plain = free_port()
    certificate = Certificate(["test.example"], issuer=authority, key="large")
    with Origin() as origin, https(origin, {"tls": certificate}, lambda port: [
            docs.listener(port, "https", "HTTPS", certificates=["tls"]), docs.listener(plain)], workers=1) as gateway:
        answers, over = [], threading.Event()

        def steady():
            with gateway.client(port=plain) as client:
                while not over.is_set():
                    assert client.request("GET", "/").status == 200
                    answers.append(time.monotonic())
        thread = threading.Thread(target=steady)
        thread.start()
        wait_until(lambda: len(answers) > 10, 5)
        sockets = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(80)]
        hellos = [hello() for _ in sockets]
        began = time.monotonic()
        for one, text in zip(sockets, hellos):
            one.sendall(text)
        for one in sockets:
            one.settimeout(20)
            assert one.recv(1)[0] == 22, "a handshake record"
        ended = time.monotonic()
        over.set()
        thread.join(10)
        [one.close() for one in sockets]
        between = len([at for at in answers if began < at < ended])
        figure("requests answered during 80 handshakes at once", f"{between} in {(ended - began) * 1000:.0f} ms")
        assert between >= 15
        wait_until(lambda: gateway.total("ai_gateway_active_exchanges") == 0, 5)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_resume_on_any_worker(certificate, version, figure):
    """Tickets made by one worker are taken by the others."""
    with Origin() as origin, https(origin, {"tls": certificate}, workers=4) as gateway:
        context = tls_client(minimum=version, maximum=version)
        context.options &= ~ssl.OP_NO_TICKET
        session, resumed = None, 0
        for n in range(21):
            sock = socket.create_connection(("127.0.0.1", gateway.port), 10)
            with context.wrap_socket(sock, server_hostname="test.example", session=session) as tls:
                tls.sendall(request_bytes("GET", "/", [("Connection", "close")]))
                while tls.recv(65536):
                    pass
                resumed += tls.session_reused
                session = tls.session if n == 0 or version == ssl.TLSVersion.TLSv1_3 else session
        figure(f"handshakes resumed, {version.name}, 4 workers", f"{resumed} of 20")
        assert resumed == 20


def test_tickets_do_not_cross_listeners(authority):
    """A session of one listener is no session of another."""
    one, two = Certificate(["one.example"], issuer=authority), Certificate(["two.example"], issuer=authority)
    with Origin() as origin, https(origin, {"one": one, "two": two}, lambda port: [
            docs.listener(port, "one", "HTTPS", "one.example", ["one"]), docs.listener(port, "two", "HTTPS", "two.example", ["two"])]) as gateway:
        context = tls_client(maximum=ssl.TLSVersion.TLSv1_2)
        with context.wrap_socket(socket.create_connection(("127.0.0.1", gateway.port), 10), server_hostname="one.example") as tls:
            session = tls.session
        with context.wrap_socket(socket.create_connection(("127.0.0.1", gateway.port), 10), server_hostname="two.example", session=session) as tls:
            assert not tls.session_reused


def test_a_cut_without_close_notify_never_completes_a_message(secure):
    """An upload over TLS that ends with a bare FIN is not taken as complete."""
    client = secure.client(tls=tls_client(), sni="test.example")
    client.send(request_bytes("POST", "/cut", [("Content-Length", "100")]) + b"half")
    time.sleep(0.1)
    raw = socket.socket(fileno=client.sock.detach())
    raw.close()
    time.sleep(0.2)
    assert fetch("127.0.0.1", secure.port, "/", tls=tls_client(), sni="test.example").status == 200


def test_large_bodies_over_tls(secure):
    """20 MB up and its hash back; 16 MB down in whole."""
    import hashlib
    import json
    body = bytes(range(256)) * 80_000
    with secure.client(tls=tls_client(), sni="test.example", timeout=30) as client:
        e = json.loads(client.request("POST", "/", body=body).body)
    assert (e["length"], e["sha256"]) == (len(body), hashlib.sha256(body).hexdigest())


# -- towards the backend

def secure_origin(certificate):
    seen = []
    context = certificate.server_context()
    context.sni_callback = lambda s, name, c: seen.append(name)
    origin = Origin(tls=context, name="secure")
    origin.server_names = seen
    return origin


def backend_tls(authority, **tls):
    return {"protocol": "HTTPS", "tls": {"hostname": "gpu.lan", "caCertificateRefs": [{"name": "lan-ca"}], **tls}}


def test_a_tls_backend_is_verified_and_sees_its_name(authority):
    """SNI and verification by tls.hostname; the connection is kept and used again."""
    with secure_origin(Certificate(["gpu.lan"], issuer=authority)) as origin, serving(
            origin, backend=backend_tls(authority), extra=[authority.config_map("lan-ca")], workers=1) as gateway:
        with gateway.client() as client:
            for _ in range(10):
                assert client.request("POST", "/", body=b"x" * 1000).status == 200
        assert origin.server_names == ["gpu.lan"] and origin.connections == 1


@pytest.mark.parametrize("case", ["wrong name", "wrong authority", "expired", "plain text"])
def test_a_backend_that_fails_verification_gets_nothing(authority, case):
    """Any TLS failure is a 5xx; no byte of the request reaches the backend; never a fall-back to plain text."""
    import datetime
    wrong = {"wrong name": lambda: Certificate(["other.lan"], issuer=authority), "wrong authority": lambda: Certificate(["gpu.lan"]),
             "expired": lambda: Certificate(["gpu.lan"], issuer=authority, days=1,
                                            start=datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=5)),
             "plain text": lambda: None}[case]()
    with (secure_origin(wrong) if wrong else Origin()) as origin, serving(
            origin, backend=backend_tls(authority), extra=[authority.config_map("lan-ca")]) as gateway:
        response = gateway.get("/", method="POST", body=b"secret")
        assert 500 <= response.status <= 504 and response.get("server") == "ai-gateway"
        assert all(r.method != "POST" for r in origin.requests)


@pytest.mark.parametrize("after", ["removed", "another name"])
def test_a_reload_while_a_backend_is_connected_leaks_nothing(after):
    """The cluster that said TLS is gone before the connection stands: nothing goes out in plain text."""
    with socket.socket() as backend:
        backend.bind(("127.0.0.1", 0))
        backend.listen(0)
        address, port = backend.getsockname(), free_port()
        # The queue is full, so that the gateway's connection does not stand before somebody accepts.
        full = [socket.socket() for _ in range(3)]
        for sock in full:
            sock.setblocking(False)
            sock.connect_ex(address)

        def https(name):
            return docs.backend([{"address": address[0], "port": address[1]}], "origin", protocol="HTTPS", tls={"hostname": name})
        common = [docs.gateway([docs.listener(port)], parameters="parameters"), docs.parameters(timeouts={"connect": "20s"})]
        with Gateway(common + [docs.route([docs.rule(["origin"])]), https("one.test")]) as gateway:
            with socket.create_connection(("127.0.0.1", port), 10) as client:
                client.sendall(b"GET /secret HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer secret\r\n\r\n")
                wait_until(lambda: gateway.total("ai_gateway_upstream_connections") == 1, 5)
                changed = [docs.route([docs.rule(["origin"])]), https("two.test")] if after == "another name" else []
                gateway.write("main.yaml", common + changed)
                gateway.signal(signal.SIGHUP)
                time.sleep(0.5)
                backend.settimeout(8)
                seen = b""
                for _ in range(4):
                    try:
                        sock, _ = backend.accept()
                    except OSError:
                        break
                    with sock:
                        sock.settimeout(2)
                        try:
                            seen += sock.recv(4096)
                        except OSError:
                            pass
                assert b"secret" not in seen and b"HTTP" not in seen, seen
        for sock in full:
            sock.close()
