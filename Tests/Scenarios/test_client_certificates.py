"""Clients' certificates on HTTPS listeners (`spec.tls.frontend` of a Gateway): who is let in, tickets, reloads, status."""
import datetime
import socket
import ssl
import subprocess
import time

import pytest

from Fixtures import documents as docs
from Fixtures import http2, http2_frames
from Fixtures.certificates import Certificate
from Fixtures.gateway import cli, serving
from Fixtures.http1 import Client, Ended, Malformed, request_bytes, tls_client
from Fixtures.net import free_port, wait_until
from Fixtures.origin import Origin

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
HOST = "test.example"


class People:
    """A CA with a client of its own, one of another CA, and one whose time is over."""

    def __init__(self, folder):
        self.authority, self.stranger = (Certificate(["ca"], authority=True, common_name=n) for n in ("friends", "strangers"))
        month_ago = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=31)
        self.paths = {"nobody": None}
        for name, issuer, more in (("friend", self.authority, {}), ("stranger", self.stranger, {}),
                                   ("late", self.authority, {"start": month_ago, "days": 30})):
            self.paths[name] = Certificate([f"{name}.example"], issuer=issuer, client=True, key="ecdsa", **more).write(str(folder), name)

    def context(self, name, version=None, **more):
        return tls_client(certificate=self.paths[name], minimum=version, maximum=version, **more)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return People(tmp_path_factory.mktemp("people"))


def refs(*names):
    """References to ConfigMaps: `name` or `namespace/name`."""
    out = []
    for name in names:
        namespace, _, name = name.rpartition("/")
        out.append({"group": "", "kind": "ConfigMap", "name": name, **({"namespace": namespace} if namespace else {})})
    return out


def validation(*names, mode=None):
    return {"validation": {"caCertificateRefs": refs(*names), **({"mode": mode} if mode else {})}}


def documents(gateway, frontend, *more):
    """The documents of `guarded` with another `spec.tls.frontend`, and with these in place of those of their name."""
    out = [d for d in gateway.content if not any((d["kind"], d["metadata"]) == (m["kind"], m["metadata"]) for m in more)] + list(more)
    spec = {k: v for k, v in out[0]["spec"].items() if k != "tls"}
    out[0] = {**out[0], "spec": {**spec, "tls": {"frontend": frontend}} if frontend else spec}
    return out


def guarded(origin, certificate, people, frontend=None, listeners=None, extra=(), **more):
    """A gateway with an HTTPS listener whose clients are checked by the CA in ConfigMap `friends`."""
    port = free_port()
    gateway = serving(
        origin, listeners=listeners(port) if listeners else [docs.listener(port, "https", "HTTPS", certificates=["tls"])],
        extra=[certificate.secret("tls"), people.authority.config_map("friends"), *extra], start=False, **more)
    gateway.port = port
    gateway.content = documents(gateway, frontend or {"default": validation("friends")})
    gateway.write("main.yaml", gateway.content)
    return gateway.start()


def reload(gateway, frontend, *more, within=10):
    """Changes the documents and waits until they are the gateway's, and its workers'."""
    gateway.generation = getattr(gateway, "generation", 1) + 1
    changed = documents(gateway, frontend, *more)
    changed[0] = {**changed[0], "metadata": {**changed[0]["metadata"], "generation": gateway.generation}}
    gateway.write("main.yaml", changed)
    wait_until(lambda: conditions(gateway)["Accepted"][2] == gateway.generation, within, what="the new documents in the status")
    time.sleep(0.1)


def answer(port, context, sni=HOST, host=HOST):
    """The status of one request; None where the connection is refused."""
    try:
        with Client("127.0.0.1", port, tls=context, sni=sni) as client:
            return client.request("GET", "/", [("Connection", "close")], host=host).status
    except (ssl.SSLError, OSError, Ended, Malformed):
        return None


def conditions(gateway, listener=None):
    """{type: (status, reason, observedGeneration)} of the Gateway, or of one of its listeners."""
    status = gateway.object("Gateway", "gateway")["status"]
    if listener:
        status = next(l for l in status["listeners"] if l["name"] == listener)
    return {c["type"]: (c["status"], c["reason"], c["observedGeneration"]) for c in status["conditions"]}


@pytest.fixture(scope="module")
def strict(certificate, people):
    with Origin() as origin, guarded(origin, certificate, people) as gateway:
        yield gateway


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("who,expected", [("friend", 200), ("stranger", None), ("late", None), ("nobody", None)])
def test_only_valid_certificates_are_let_in(strict, people, version, who, expected):
    """Of the CA, within its time; nobody else gets as far as an answer, in TLS 1.2 and 1.3."""
    failures = strict.total("ai_gateway_tls_failures_total")
    assert answer(strict.port, people.context(who, version)) == expected
    if expected is None:
        wait_until(lambda: strict.total("ai_gateway_tls_failures_total") == failures + 1, 5)


@pytest.mark.parametrize("who", ["friend", "stranger", "nobody"])
def test_the_same_over_http2(strict, people, who):
    """ALPN h2 behind the same handshake."""
    def ask():
        return http2.request("127.0.0.1", strict.port, "GET", "/", HOST, tls=people.context(who), sni=HOST).status
    if who == "friend":
        assert ask() == 200
    else:
        with pytest.raises((ssl.SSLError, OSError, Ended)):
            ask()


@pytest.mark.parametrize("who,alert", [("nobody", "certificate required"), ("stranger", "unknown ca")])
def test_a_refused_client_is_told_why(strict, people, who, alert):
    """By an alert of the handshake, not by a reset alone."""
    with pytest.raises(ssl.SSLError, match=f"(?i){alert}"):
        with Client("127.0.0.1", strict.port, tls=people.context(who, ssl.TLSVersion.TLSv1_3), sni=HOST) as client:
            client.sock.recv(1)


def test_the_cas_are_named_to_clients(strict):
    """A client with several certificates chooses by the names in the CertificateRequest."""
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{strict.port}", "-servername", HOST],
                          input="", capture_output=True, text=True, timeout=20)
    names = done.stdout.partition("Acceptable client certificate CA names")[2].partition("\n---")[0]
    assert "CN = friends" in names or "CN=friends" in names, done.stdout[-3000:]


def test_a_great_bundle_does_not_burst_the_handshake(certificate, people):
    """A thousand CAs, whose names would not fit: they count all the same."""
    many = [Certificate(["ca"], authority=True, key="ecdsa", common_name=f"{n:04}".rjust(64, "x")) for n in range(1000)]
    bundle = people.authority.config_map("friends")
    bundle["data"]["ca.crt"] = "".join(c.pem.decode() for c in many) + bundle["data"]["ca.crt"]
    with Origin() as origin, guarded(origin, certificate, people) as gateway:
        # 750 kB of YAML, read by a thread that gives way to everything else on the machine.
        reload(gateway, {"default": validation("friends")}, bundle, within=60)
        assert answer(gateway.port, people.context("friend")) == 200
        assert answer(gateway.port, people.context("stranger")) is None


@pytest.mark.parametrize("per_port,expected", [
    (validation("strangers"), {"friend": None, "stranger": 200, "nobody": None}), ({}, {"friend": 200, "stranger": 200, "nobody": 200})])
def test_a_port_of_its_own(certificate, people, per_port, expected):
    """`perPort` replaces the default, also by nothing; the other port keeps the default."""
    other = free_port()
    with Origin() as origin, guarded(
            origin, certificate, people, {"default": validation("friends"), "perPort": [{"port": other, "tls": per_port}]},
            lambda port: [docs.listener(port, "https", "HTTPS", certificates=["tls"]), docs.listener(other, "other", "HTTPS", certificates=["tls"])],
            [people.stranger.config_map("strangers")]) as gateway:
        for who, status in {"friend": 200, "stranger": None, "nobody": None}.items():
            assert answer(gateway.port, people.context(who)) == status, who
        for who, status in expected.items():
            assert answer(other, people.context(who)) == status, who


def test_several_references_and_other_namespaces(certificate, people):
    """All CAs count together. A reference that may not be followed is told, and the others are used."""
    grant = {"apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "ReferenceGrant", "metadata": {"name": "cas", "namespace": "trust"},
             "spec": {"from": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "default"}],
                      "to": [{"group": "", "kind": "ConfigMap"}]}}
    both = {"default": validation("friends", "trust/strangers")}
    with Origin() as origin, guarded(origin, certificate, people, both,
                                     extra=[people.stranger.config_map("strangers", "trust"), grant]) as gateway:
        assert conditions(gateway, "https")["ResolvedRefs"][:2] == ("True", "ResolvedRefs")
        assert [answer(gateway.port, people.context(w)) for w in ("friend", "stranger", "nobody")] == [200, 200, None]
        reload(gateway, both, {**grant, "spec": {**grant["spec"], "to": [{"group": "", "kind": "Secret"}]}})
        assert conditions(gateway, "https")["ResolvedRefs"][:2] == ("False", "RefNotPermitted")
        assert conditions(gateway, "https")["Accepted"][:2] == ("True", "Accepted")
        assert conditions(gateway)["ResolvedRefs"][:2] == ("False", "ListenersNotResolved")
        assert [answer(gateway.port, people.context(w)) for w in ("friend", "stranger", "nobody")] == [200, None, None]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_insecure_fallback_lets_everybody_in(certificate, people, version):
    """AllowInsecureFallback asks, and takes whatever comes; the Gateway says so, for as long as it is so."""
    loose = {"default": validation("friends", mode="AllowInsecureFallback")}
    with Origin() as origin, guarded(origin, certificate, people, loose) as gateway:
        for who in people.paths:
            assert answer(gateway.port, people.context(who, version)) == 200, who
        assert conditions(gateway)["InsecureFrontendValidationMode"] == ("True", "ConfigurationChanged", 1)
        assert conditions(gateway)["Accepted"][0] == "True"
        reload(gateway, {"default": validation("friends", mode="AllowValidOnly")})
        assert "InsecureFrontendValidationMode" not in conditions(gateway)
        assert [answer(gateway.port, people.context(w, version)) for w in ("friend", "stranger", "nobody")] == [200, None, None]


# MARK: tickets

def visit(port, context, session=None):
    """One request; whether the session was resumed, and the session to resume. None where it is refused."""
    try:
        with context.wrap_socket(socket.create_connection(("127.0.0.1", port), 10), server_hostname=HOST, session=session) as tls:
            tls.sendall(request_bytes("GET", "/", [("Connection", "close")]))
            data = b""
            while piece := tls.recv(65536):
                data += piece
            return (tls.session_reused, tls.session) if data.startswith(b"HTTP/1.1 200") else None
    except (ssl.SSLError, OSError):
        return None


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_that_passed_resumes(strict, people, version):
    """On any worker, without its certificate being sent again."""
    context = people.context("friend", version)
    resumed, session = visit(strict.port, context)
    assert not resumed
    for _ in range(4):
        resumed, session = visit(strict.port, context, session)
        assert resumed


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("before", ["nothing", "fallback", "others"])
def test_no_ticket_leads_past_a_stricter_validation(certificate, people, version, before):
    """Tickets from before a reload: from no validation at all, from the fallback, and from another CA."""
    first = {"nothing": None, "fallback": {"default": validation("friends", mode="AllowInsecureFallback")},
             "others": {"default": validation("strangers")}}[before]
    who = "stranger" if before == "others" else "nobody"
    with Origin() as origin, guarded(origin, certificate, people, extra=[people.stranger.config_map("strangers")]) as gateway:
        reload(gateway, first)
        context = people.context(who, version)
        _, session = visit(gateway.port, context)
        resumed, session = visit(gateway.port, context, session)
        assert resumed, "tickets work at all"
        reload(gateway, {"default": validation("friends")})
        assert visit(gateway.port, context, session) is None
        # The context gains a certificate: then the client is let in, by a full handshake.
        context.load_cert_chain(*people.paths["friend"])
        assert visit(gateway.port, context, session)[0] is False


@pytest.mark.parametrize("version", VERSIONS)
def test_a_ticket_ends_with_the_certificate(strict, people, tmp_path, version):
    """However often it was renewed: once the certificate that was shown is past its end, there is a full handshake, which fails."""
    brief = Certificate(["brief.example"], issuer=people.authority, client=True, key="ecdsa", days=4 / 86400)
    context = tls_client(certificate=brief.write(str(tmp_path), "brief"), minimum=version, maximum=version)
    end, session, resumed = time.monotonic() + 4.5, None, []
    while time.monotonic() < end - 1.5:
        was, session = visit(strict.port, context, session)
        resumed.append(was)
        time.sleep(0.3)
    assert resumed[0] is False and all(resumed[1:]) and len(resumed) > 3
    time.sleep(max(0, end + 1 - time.monotonic()))
    assert visit(strict.port, context, session) is None


# MARK: reloads

def test_the_cas_change_without_a_restart(certificate, people):
    """The next handshake is judged by the ConfigMap's new content."""
    other = people.authority.config_map("friends")
    other["data"] = people.stranger.config_map("x")["data"]
    with Origin() as origin, guarded(origin, certificate, people) as gateway:
        assert [answer(gateway.port, people.context(w)) for w in ("friend", "stranger")] == [200, None]
        reload(gateway, {"default": validation("friends")}, other)
        assert [answer(gateway.port, people.context(w)) for w in ("friend", "stranger")] == [None, 200]


def test_open_connections_outlive_a_looser_validation_only(certificate, people):
    """A CA more: connections go on. A CA less: the next request is 421 and the last, over HTTP/2 too."""
    with Origin() as origin, guarded(origin, certificate, people, extra=[people.stranger.config_map("strangers")]) as gateway:
        with gateway.client(tls=people.context("friend"), sni=HOST) as one, \
                http2_frames.Client("127.0.0.1", gateway.port, tls=people.context("friend", alpn=["h2"]), sni=HOST) as two:
            assert one.request("GET", "/").status == 200
            assert two.request("GET", "/").status == 200
            reload(gateway, {"default": validation("friends", "strangers")})
            assert one.request("GET", "/").status == 200
            assert two.request("GET", "/").status == 200
            reload(gateway, {"default": validation("strangers")})
            refused = one.request("GET", "/")
            assert (refused.status, refused.get("x-gateway-error"), refused.get("connection")) == (421, "outdated_connection", "close")
            assert one.how_it_ends() == "eof"
            assert two.how_it_ends(5) == "eof"
        assert gateway.total("ai_gateway_tls_failures_total") == 0


def test_a_listener_that_begins_to_ask(certificate, people):
    """Whoever came while nobody was asked is not served on."""
    with Origin() as origin, guarded(origin, certificate, people) as gateway:
        reload(gateway, None)
        with gateway.client(tls=people.context("nobody"), sni=HOST) as client:
            assert client.request("GET", "/").status == 200
            reload(gateway, {"default": validation("friends")})
            assert client.request("GET", "/").status == 421
            assert client.how_it_ends() == "eof"
        assert answer(gateway.port, people.context("nobody")) is None


# MARK: what does not work, and what is said of it

@pytest.mark.parametrize("ref,reason", [
    ({"kind": "ConfigMap", "name": "freinds"}, "InvalidCACertificateRef"), ({"kind": "ConfigMap", "name": "empty"}, "InvalidCACertificateRef"),
    ({"kind": "ConfigMap", "name": "damaged"}, "InvalidCACertificateRef"), ({"kind": "Service", "name": "friends"}, "InvalidCACertificateKind"),
    ({"kind": "ConfigMap", "name": "friends", "namespace": "elsewhere"}, "RefNotPermitted")])
def test_without_any_ca_the_listener_stays_closed(certificate, people, ref, reason):
    """Never open to all: no port, its conditions say why, and the HTTP listener beside it serves."""
    plain = free_port()
    empty = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "empty", "namespace": "default"}, "data": {"ca.pem": "x"}}
    damaged = people.authority.config_map("damaged")
    lines = damaged["data"]["ca.crt"].splitlines()
    damaged["data"]["ca.crt"] = "\n".join(lines[:4] + lines[6:])
    with Origin() as origin, guarded(
            origin, certificate, people, {"default": {"validation": {"caCertificateRefs": [{"group": "", **ref}]}}},
            lambda port: [docs.listener(port, "https", "HTTPS", certificates=["tls"]), docs.listener(plain)],
            [empty, damaged, people.authority.config_map("friends", "elsewhere")]) as gateway:
        assert answer(gateway.port, people.context("friend")) is None
        assert gateway.get("/", port=plain).status == 200
        seen = conditions(gateway, "https")
        assert {k: seen[k] for k in ("Accepted", "ResolvedRefs", "Programmed")} == {
            "Accepted": ("False", "NoValidCACertificate", 1), "ResolvedRefs": ("False", reason, 1), "Programmed": ("False", "Invalid", 1)}
        assert conditions(gateway, "http")["Programmed"][:2] == ("True", "Programmed")
        assert conditions(gateway)["Accepted"] == ("True", "ListenersNotValid", 1)
        reload(gateway, {"default": validation("friends")})
        wait_until(lambda: answer(gateway.port, people.context("friend")) == 200, 5)


def test_tls_listeners_are_not_concerned(certificate, people):
    """The API means HTTPS listeners: one of protocol TLS lets everybody in, and `check` says so."""
    tls = free_port()
    route = docs.stream_route("TLSRoute", hostnames=[HOST], name="bytes", parents=[{"name": "gateway", "sectionName": "tls"}])
    with Origin() as origin, guarded(
            origin, certificate, people, None,
            lambda port: [docs.listener(port, "https", "HTTPS", certificates=["tls"]), docs.listener(tls, "tls", "TLS", certificates=["tls"])],
            [route]) as gateway:
        assert answer(tls, people.context("nobody")) == 200
        assert answer(gateway.port, people.context("nobody")) is None
        code, out, _ = cli("check", gateway.folder)
        assert code == 0 and "checked on HTTPS listeners only" in out, out


def check(tmp_path, certificate, people, frontend, *more):
    gateway = docs.gateway([docs.listener(8443, "https", "HTTPS", certificates=["tls"])])
    gateway["spec"]["tls"] = {"frontend": frontend}
    (tmp_path / "main.yaml").write_text(docs.dump([gateway, certificate.secret("tls"), people.authority.config_map("friends"), *more]))
    return cli("check", tmp_path)


@pytest.mark.parametrize("frontend,code,said", [
    ({"default": validation("friends")}, 0, None),
    ({"default": validation("friends"), "perPort": [{"port": 8444, "tls": {}}]}, 0, "no HTTPS listener has port 8444"),
    ({"default": validation("friends", mode="AllowInsecureFallback")}, 0, "lets clients in without a certificate"),
    ({"default": validation("friends", mode="AllowValid")}, 1, 'did you mean "AllowValidOnly"?'),
    ({"default": validation("freinds")}, 1, 'ConfigMap default/freinds does not exist; did you mean "friends"?'),
    ({"default": validation("friends"), "perPort": [{"port": 8443, "tls": {}}, {"port": 8443, "tls": {}}]}, 1, "perPort[1].port")])
def test_check_says_what_is_wrong(certificate, people, tmp_path, frontend, code, said):
    """With the field's path; what is only doubtful is a warning."""
    done, out, err = check(tmp_path, certificate, people, frontend)
    assert done == code, (out, err)
    assert said in out if said else "warning" not in out, out


def test_check_warns_of_cas_past_their_end(certificate, people, tmp_path):
    """Nobody would be let in by them."""
    start = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=31)
    old = Certificate(["ca"], authority=True, start=start, days=30).config_map("old")
    code, out, _ = check(tmp_path, certificate, people, {"default": validation("old")}, old)
    assert code == 0 and "CA certificates of ConfigMap default/old ended on" in out, out


@pytest.mark.parametrize("mode,said", [(None, "must show a certificate of a CA in ConfigMap default/friends"),
                                       ("AllowInsecureFallback", "and let in whatever it shows")])
def test_explain_says_what_clients_have_to_show(certificate, people, tmp_path, mode, said):
    """Beside the route."""
    with Origin() as origin, guarded(origin, certificate, people, {"default": validation("friends", mode=mode)}) as gateway:
        code, out, err = cli("explain", gateway.folder, f"https://127.0.0.1:{gateway.port}/")
        assert code == 0 and said in out, (out, err)
