"""BackendTLSPolicy: Services are spoken to over TLS as their policy says, to nobody else, and never in the clear; Gateways show
their client certificate to backends that ask for one."""
import contextlib
import datetime
import json
import ssl

import pytest
from cryptography import x509

from Fixtures import documents as docs
from Fixtures.certificates import Certificate
from Fixtures.gateway import Gateway, cli, serving
from Fixtures.grpc import Methods, Server, channel, status_of
from Fixtures.http1 import tls_client
from Fixtures.net import free_port, wait_until
from Fixtures.origin import Origin, echo
from Fixtures.origin2 import Origin2
from Fixtures.picker import Picker

API = "gateway.networking.k8s.io/v1"
ORIGIN = {"name": "origin", "port": 443}
SYSTEM = {"wellKnownCACertificates": "System"}


def policy(name="policy", service="origin", section=None, hostname="gpu.lan", ca=("ca",), sans=None, created=None, **validation):
    """A BackendTLSPolicy of one Service; `ca`: names of ConfigMaps."""
    target = {"group": "", "kind": "Service", "name": service, **({"sectionName": section} if section else {})}
    if not validation:
        validation = {"caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": n} for n in ca]}
    if sans:
        validation["subjectAltNames"] = sans
    metadata = {"name": name, "namespace": "default", **({"creationTimestamp": created} if created else {})}
    return {"apiVersion": API, "kind": "BackendTLSPolicy", "metadata": metadata,
            "spec": {"targetRefs": [target], "validation": {**validation, "hostname": hostname}}}


def service(origin, name="origin", **more):
    return docs.service(name, [("127.0.0.1", origin.port)], port=443, **more)


def sealed_origin(certificate, script=echo, client_ca=None):
    """An origin with TLS that remembers the server names and the clients' certificates."""
    context = certificate.server_context(client_ca)
    context.sni_callback = lambda s, name, c: origin.server_names.append(name)

    def noted(peer):
        der = peer.sock.getpeercert(binary_form=True)
        origin.clients.append(x509.load_der_x509_certificate(der).serial_number if der else None)
        script(peer)
    origin = Origin(noted, tls=context)
    origin.server_names, origin.clients = [], []
    return origin


@contextlib.contextmanager
def secured(origin, authority, *policies, rules=None, extra=(), app_protocol=None, **options):
    """A gateway whose route leads to the Service `origin`."""
    with serving(None, rules=rules if rules is not None else [docs.rule([ORIGIN])], extra=[
            *service(origin, app_protocol=app_protocol), authority.config_map("ca"), *(policies or [policy()]), *extra],
            **options) as gateway:
        yield gateway


def conditions(gateway, name="policy"):
    """`{type: (status, reason)}` at the one Gateway; nothing for a policy that is not told of yet."""
    found = gateway.object("BackendTLSPolicy", name)
    if not found:
        return {}
    ancestors = found["status"]["ancestors"]
    assert [a["ancestorRef"]["name"] for a in ancestors] == ["gateway"], ancestors
    return {c["type"]: (c["status"], c["reason"]) for c in ancestors[0]["conditions"]}


ACCEPTED = {"Accepted": ("True", "Accepted"), "ResolvedRefs": ("True", "ResolvedRefs")}


@pytest.fixture(scope="module")
def lan(authority):
    return Certificate(["gpu.lan", "other.lan", "spiffe://cluster/gpu"], issuer=authority)


# -- what is spoken

@pytest.mark.parametrize("app_protocol", [None, "HTTPS", "http", "kubernetes.io/wss"])
def test_http_1_1_over_tls(authority, lan, app_protocol):
    """SNI and verification by `hostname`; one connection serves all, and the backend sees the client's Host."""
    with sealed_origin(lan) as origin, secured(origin, authority, app_protocol=app_protocol, workers=1) as gateway:
        with gateway.client() as client:
            for _ in range(10):
                e = json.loads(client.request("POST", "/", body=b"x" * 10_000).body)
                assert (e["host"], e["length"]) == ("test.example", 10_000)
        with gateway.http2() as client:
            assert client.request("GET", "/").status == 200
        assert origin.server_names == ["gpu.lan"] and origin.connections == 1 and not origin.errors
        assert conditions(gateway) == ACCEPTED


def test_http_2_over_tls(authority, lan):
    """`kubernetes.io/h2c` means HTTP/2, which ALPN agrees on."""
    with Origin2(tls=lan.server_context()) as origin, secured(origin, authority, app_protocol="kubernetes.io/h2c", workers=1) as gateway:
        for _ in range(3):
            e = json.loads(gateway.get("/", method="POST", body=b"x" * 50_000).body)
            assert e["scheme"] == "https" and e["length"] == 50_000
        with gateway.http2() as client:
            assert client.request("GET", "/").status == 200
        assert len(origin.connections) == 1 and origin.connections[0].alpn == "h2" and not origin.errors


def test_calls_of_grpc(authority, lan):
    """A GRPCRoute's calls are HTTP/2 over TLS; a server that fails verification is UNAVAILABLE."""
    with Server(lan) as server, serving(None, rules=[], extra=[
            docs.grpc_route([docs.grpc_rule([ORIGIN], method="Unary"), docs.grpc_rule([{"name": "wrong", "port": 443}])]),
            *service(server), *service(server, "wrong"), authority.config_map("ca"), policy(),
            policy("wrong", "wrong", hostname="wrong.lan")]) as gateway, Methods(channel(gateway.port)) as m:
        assert m.unary(b"x") == b"x"
        assert status_of(lambda: list(m.count(b"1", timeout=10)))[0] == "UNAVAILABLE" and len(server.calls) == 1


def test_a_terminated_tls_route_is_sealed_again(authority, lan, certificate):
    """The policy holds for the bytes of a TLSRoute that is terminated; those that are passed through are the client's own."""
    port = free_port()

    def hello(peer):
        peer.send(b"hello\r\n")
        peer.wait_end()

    def listener(name, mode, **more):
        return {**docs.listener(port, name, "TLS", f"{name}.test.example"), "tls": {"mode": mode, **more}}
    with sealed_origin(lan, hello) as origin, Gateway([
            docs.gateway([listener("end", "Terminate", certificateRefs=[{"name": "tls"}]), listener("pass", "Passthrough")]),
            docs.stream_route("TLSRoute", [ORIGIN], ["end.test.example"], name="end"),
            docs.stream_route("TLSRoute", [ORIGIN], ["pass.test.example"], name="pass"),
            *service(origin), authority.config_map("ca"), certificate.secret("tls"), policy()]) as gateway:
        with gateway.client(port, tls=tls_client(), sni="end.test.example") as client:
            assert client.line() == b"hello"
        with gateway.client(port, tls=tls_client(), sni="pass.test.example") as client:
            assert client.line() == b"hello"
        assert origin.server_names == ["gpu.lan", "pass.test.example"]


# -- who is trusted

def of_the_past(authority):
    start = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=5)
    return Certificate(["gpu.lan"], issuer=authority, days=1, start=start)


@pytest.mark.parametrize("case", ["wrong name", "wrong authority", "expired", "plain text", "the system's authorities"])
def test_a_server_that_fails_verification_gets_nothing(authority, case):
    """502; no byte of the request is sent, and nothing in the clear instead."""
    context = {"wrong name": lambda: Certificate(["other.lan"], issuer=authority), "wrong authority": lambda: Certificate(["gpu.lan"]),
               "expired": lambda: of_the_past(authority), "plain text": lambda: None,
               "the system's authorities": lambda: Certificate(["gpu.lan"], issuer=authority)}[case]()
    how = policy(**SYSTEM) if case.startswith("the system") else policy()
    with (sealed_origin(context) if context else Origin()) as origin, secured(origin, authority, how) as gateway:
        response = gateway.get("/", method="POST", body=b"secret")
        assert response.status == 502 and (case == "plain text" or response.get("x-gateway-error") == "upstream_tls"), response
        assert all(r.method != "POST" for r in origin.requests)
        assert conditions(gateway) == ACCEPTED


@pytest.mark.parametrize("sans,is_trusted", [
    ([("Hostname", "other.lan")], True), ([("Hostname", "nobody.lan")], False), ([("URI", "spiffe://cluster/gpu")], True),
    ([("URI", "spiffe://cluster/cpu")], False), ([("Hostname", "nobody.lan"), ("URI", "spiffe://cluster/gpu")], True),
    ([("Hostname", "gpu.lan.example"), ("URI", "spiffe://cluster/gpu/2")], False)])
def test_subject_alternative_names(authority, lan, sans, is_trusted):
    """One of them is enough, and the hostname is SNI only then; resumed connections are judged as well."""
    names = [{"type": t, "hostname" if t == "Hostname" else "uri": v} for t, v in sans]
    with sealed_origin(lan) as origin, secured(origin, authority, policy(hostname="front.lan", sans=names), workers=1) as gateway:
        for _ in range(4):
            response = gateway.get("/", headers=[("Connection", "close")])
            assert response.status == (200 if is_trusted else 502), response
        assert set(origin.server_names) == {"front.lan"} and conditions(gateway) == ACCEPTED
        assert is_trusted or not origin.requests


def test_one_good_reference_of_two_is_enough(authority, lan):
    """ResolvedRefs says which is not good; the other one is trusted."""
    with sealed_origin(lan) as origin, secured(origin, authority, policy(ca=["nowhere", "ca"])) as gateway:
        assert gateway.get("/").status == 200
        assert conditions(gateway) == {"Accepted": ("True", "Accepted"), "ResolvedRefs": ("False", "InvalidCACertificateRef")}


# -- what closes a Service

INVALID = {
    "no such ConfigMap": (policy(ca=["nowhere"]), ("NoValidCACertificate", "InvalidCACertificateRef")),
    "no ca.crt": (policy(ca=["empty"]), ("NoValidCACertificate", "InvalidCACertificateRef")),
    "no certificate": (policy(ca=["broken"]), ("NoValidCACertificate", "InvalidCACertificateRef")),
    "another kind": (policy(caCertificateRefs=[{"group": "example.com", "kind": "Thing", "name": "ca"}]),
                     ("NoValidCACertificate", "InvalidKind")),
    "another store": (policy(wellKnownCACertificates="Mozilla"), ("Invalid", "ResolvedRefs")),
    "refused as written": (policy(hostname="*.lan"), None),
}


@pytest.mark.parametrize("case", INVALID)
def test_an_invalid_policy_closes_the_service(authority, case):
    """503 and no connection: a plain server, which would answer, sees nothing."""
    invalid, reasons = INVALID[case]
    empty = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "empty", "namespace": "default"}}
    broken = {**empty, "metadata": {"name": "broken", "namespace": "default"},
              "data": {"ca.crt": "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"}}
    with Origin() as origin, secured(origin, authority, invalid, extra=[empty, broken]) as gateway:
        assert gateway.get("/").status == 503 and not origin.connections
        if reasons:
            status = conditions(gateway)
            assert status["Accepted"] == ("False", reasons[0]) and status["ResolvedRefs"][1] == reasons[1]
        route = gateway.object("HTTPRoute", "route")["status"]["parents"][0]["conditions"]
        assert all(c["status"] == "True" for c in route) and any("BackendTLSPolicy" in c["message"] for c in route)
        gateway.write("main.yaml", [d for d in gateway.content if d["kind"] != "BackendTLSPolicy"])
        wait_until(lambda: gateway.get("/").status == 200, 5, what="the Service without a policy")


def test_https_without_a_policy_is_refused(authority):
    """appProtocol https says that TLS is needed, and nothing says whom to trust."""
    with Origin() as origin, secured(origin, authority, {**policy(), "metadata": {"name": "policy", "namespace": "elsewhere"}},
                                     app_protocol="https") as gateway:
        assert gateway.get("/").status == 500 and not origin.connections
        found = gateway.object("HTTPRoute", "route")["status"]["parents"][0]["conditions"]
        assert [c["reason"] for c in found if c["type"] == "ResolvedRefs"] == ["UnsupportedProtocol"]


# -- which policy holds

def test_the_oldest_policy_holds(authority, lan):
    """The later one is told so, and takes over when the older is gone; a policy for the port comes before both."""
    older, later = policy("b", hostname="other.lan", created="2026-01-01T00:00:00Z"), policy("a", created="2026-01-02T00:00:00Z")
    with sealed_origin(lan) as origin, secured(origin, authority, older, later, workers=1) as gateway:
        def name():
            assert gateway.get("/", headers=[("Connection", "close")]).status == 200
            return origin.server_names[-1]
        assert name() == "other.lan"
        assert conditions(gateway, "b") == ACCEPTED and conditions(gateway, "a")["Accepted"] == ("False", "Conflicted")
        gateway.write("main.yaml", [d for d in gateway.content if d != older])
        wait_until(lambda: name() == "gpu.lan", 5)
        wait_until(lambda: conditions(gateway, "a") == ACCEPTED, 5)     # told after it is in force
        gateway.write("main.yaml", gateway.content + [policy("c", section="http", hostname="front.lan", sans=[
            {"type": "URI", "uri": "spiffe://cluster/gpu"}])])
        wait_until(lambda: name() == "front.lan", 5)
        wait_until(lambda: conditions(gateway, "b") == ACCEPTED and conditions(gateway, "c") == ACCEPTED, 5)


def test_ports_have_policies_of_their_own(authority, lan):
    """A policy that names a port does not hold for another; one that names no port of the Service holds nowhere."""
    with sealed_origin(lan) as first, Origin() as second:
        both = docs.service("origin", [("127.0.0.1", first.port)], port=443)
        both[0]["spec"]["ports"].append({"name": "plain", "port": 80, "targetPort": second.port})
        both[1]["ports"].append({"name": "plain", "port": second.port})
        rules = [docs.rule([ORIGIN]), docs.rule([{"name": "origin", "port": 80}], path="/plain")]
        with serving(None, rules=rules, extra=[*both, authority.config_map("ca"), policy(section="http"),
                                               policy("lost", section="htpp")]) as gateway:
            assert gateway.get("/").status == 200 and gateway.get("/plain").status == 200
            assert len(first.requests) == 1 and len(second.requests) == 1
            assert conditions(gateway) == ACCEPTED and conditions(gateway, "lost")["Accepted"] == ("False", "TargetNotFound")


# -- changes

def test_another_authority_holds_from_the_next_request_on(authority, lan):
    """Connections that were trusted by the authority of before are not used again; without one the Service is closed."""
    with sealed_origin(lan) as origin, secured(origin, authority, workers=1) as gateway:
        def write(ca):
            gateway.write("main.yaml", [d for d in gateway.content if d["kind"] != "ConfigMap"] + ca)
        with gateway.client() as client:
            assert client.request("GET", "/").status == 200
            for ca, status, reason in [([Certificate([], authority=True).config_map("ca")], 502, "Accepted"), ([], 503, "NoValidCACertificate"),
                                       ([authority.config_map("ca")], 200, "Accepted")]:
                seen = len(origin.requests)
                write(ca)
                wait_until(lambda: client.request("GET", "/").status == status, 5, what=f"status {status}")
                wait_until(lambda: conditions(gateway)["Accepted"][1] == reason, 5)     # told after it is in force
                assert status == 200 or len({r.connection for r in origin.requests[seen:]}) <= 1
                for _ in range(5):
                    assert client.request("GET", "/").status == status


# -- Gateways' certificates

def test_a_gateway_shows_its_certificate(authority, lan):
    """Two Gateways lead to one Service: each connection shows the certificate of its own Gateway, or none."""
    mine, yours = Certificate(["mine"], issuer=authority, client=True), Certificate(["yours"], issuer=authority, client=True)
    ports = [free_port() for _ in range(3)]

    def gateway_of(name, port, secret):
        document = docs.gateway([docs.listener(port)], name=name)
        if secret:
            document["spec"]["tls"] = {"backend": {"clientCertificateRef": {"name": secret}}}
        return document

    def content(first):
        return [gateway_of("one", ports[0], "mine"), gateway_of("two", ports[1], "yours"), gateway_of("none", ports[2], None),
                docs.route([docs.rule([ORIGIN]), docs.rule(["sealed"], path="/backend")], parents=["one", "two", "none"]),
                docs.backend(origin, "sealed", protocol="HTTPS", tls={"hostname": "gpu.lan", "caCertificateRefs": [{"name": "ca"}]}),
                *service(origin), authority.config_map("ca"), policy(), first.secret("mine"), yours.secret("yours")]
    with sealed_origin(lan, client_ca=authority.pem) as origin, Gateway(content(mine), workers=1) as gateway:
        def shown(port, path="/"):
            e = json.loads(gateway.get(path, port=port).body)
            return origin.clients[e["connection"] - 1]
        for path in ("/", "/backend"):
            for _ in range(2):
                assert [shown(p, path) for p in ports] == [mine.serial, yours.serial, None]
        assert origin.connections == 6
        for name in ("one", "two", "none"):
            found = {c["type"]: c["status"] for c in gateway.object("Gateway", name)["status"]["conditions"]}
            assert found["ResolvedRefs"] == "True"
        renewed = Certificate(["mine"], issuer=authority, client=True)
        gateway.write("main.yaml", content(renewed))
        wait_until(lambda: shown(ports[0]) == renewed.serial, 5, what="the renewed certificate")
        assert shown(ports[1]) == yours.serial


def test_a_server_that_insists_on_a_certificate(authority, lan):
    """Without the Gateway's certificate there is no answer but 502; a Secret that is gone shows in the Gateway's status."""
    mine = Certificate(["mine"], issuer=authority, client=True)
    with sealed_origin(lan, client_ca=authority.pem) as origin, secured(origin, authority, extra=[mine.secret("mine")], workers=1) as gateway:
        origin.tls.verify_mode = ssl.CERT_REQUIRED
        assert gateway.get("/").status == 502
        certified = [dict(d) for d in gateway.content]
        certified[0] = {**certified[0], "spec": {**certified[0]["spec"], "tls": {"backend": {"clientCertificateRef": {"name": "mine"}}}}}
        gateway.write("main.yaml", certified)
        wait_until(lambda: gateway.get("/").status == 200, 5, what="an answer")
        gateway.write("main.yaml", [d for d in certified if d["kind"] != "Secret"])
        wait_until(lambda: gateway.get("/").status == 502, 5, what="the Secret's absence")

        def found():
            return {c["type"]: (c["status"], c["reason"]) for c in gateway.object("Gateway", "gateway")["status"]["conditions"]}
        wait_until(lambda: found()["ResolvedRefs"] == ("False", "InvalidClientCertificateRef"), 5, what=found)
        assert found()["Accepted"][0] == "True"


# -- pickers, and what commands say

@pytest.mark.parametrize("hostname,status", [("picker.lan", 200), ("other.lan", 503)])
def test_a_pickers_certificate_is_verified(authority, hostname, status):
    """A policy of the picker's Service has its certificate checked; without one none is."""
    with Origin() as origin, Picker([origin.port], certificate=Certificate(["picker.lan"], issuer=authority)) as picker, serving(
            None, rules=[docs.rule([docs.pool_ref()])], extra=[
                *docs.pool([origin], picker={"name": "picker", "port": {"number": 9002}}),
                *docs.service("picker", [("127.0.0.1", picker.port)], port=9002, app_protocol="kubernetes.io/h2c"),
                authority.config_map("ca"), policy(service="picker", hostname=hostname)]) as gateway:
        assert gateway.get("/", method="POST", body=b"x").status == status
        assert len(picker.calls) == (1 if status == 200 else 0) and conditions(gateway) == ACCEPTED


def test_check_and_explain_name_the_policy(tmp_path, authority):
    """`explain` says how TLS is spoken, and why nothing is sent; `check` says what is wrong, with its place."""
    def write(*policies):
        path = tmp_path / "all.yaml"
        path.write_text(docs.dump([
            docs.gateway([docs.listener(8080)]), docs.route([docs.rule([ORIGIN])]), authority.config_map("ca"),
            *docs.service("origin", [("10.0.0.1", 443)], port=443), *policies]))
        return str(path)
    sans = [{"type": "Hostname", "hostname": "a.lan"}, {"type": "URI", "uri": "spiffe://b"}]
    code, out, _ = cli("explain", write(policy(sans=sans)), "http://127.0.0.1:8080/")
    assert code == 0 and "Service default/origin:443, https" in out
    assert "server name gpu.lan, a certificate for a.lan or spiffe://b by CAs of the documents; BackendTLSPolicy default/policy" in out
    assert cli("check", write(policy(sans=sans)))[0] == 0
    code, out, _ = cli("explain", write(policy(ca=["nowhere"])), "http://127.0.0.1:8080/")
    assert "503: no_endpoint: BackendTLSPolicy default/policy cannot be used" in out
    code, out, err = cli("check", write(policy(ca=["nowhere"])))
    assert code == 1 and "spec.validation.caCertificateRefs[0]: ConfigMap default/nowhere does not exist" in out + err
