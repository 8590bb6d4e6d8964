"""Documents that make things stricter and cannot be read: what they are about stays closed, and is said with its place."""
import copy

import pytest

from Fixtures import documents as docs
from Fixtures.certificates import Certificate
from Fixtures.gateway import Gateway, cli, serving
from Fixtures.http1 import tls_client
from Fixtures.net import free_port, wait_until
from Fixtures.origin import Origin
from test_backend_tls_policy import policy, sealed_origin, secured, service


def changed(document, **paths):
    """A document with other values at `a__0__b`; None takes a field away."""
    document = copy.deepcopy(document)
    for path, value in paths.items():
        *way, last = [int(step) if step.isdigit() else step for step in path.split("__")]
        node = document
        for step in way:
            node = node[step]
        if value is None:
            del node[last]
        else:
            node[last] = value
    return document


GOOD = policy()
TARGET = GOOD["spec"]["targetRefs"][0]
UNREAD = {
    "a required field is missing": changed(GOOD, spec__validation__hostname=None),
    "a field has another type": changed(GOOD, spec__validation="gpu.lan"),
    "an unknown field": changed(GOOD, spec__validation__insecure=True),
    "an unknown version": changed(GOOD, apiVersion="gateway.networking.k8s.io/v9"),
    "an unknown apiVersion": changed(GOOD, apiVersion="gateway.networking.k8s.oi/v1"),
    "no apiVersion": changed(GOOD, apiVersion=None),
    "another spelling of its kind": changed(GOOD, kind="BackendTlsPolicy"),
    "one target, as of old": changed(GOOD, apiVersion="gateway.networking.k8s.io/v1alpha2", spec__targetRefs=None, spec__targetRef=TARGET),
    "targets misspelled": changed(GOOD, spec__targetRefs=None, spec__targetrefs=[TARGET]),
    "a target without its kind": changed(GOOD, spec__targetRefs__0__kind=None),
    "a target's port is a number": changed(GOOD, spec__targetRefs__0__sectionName=443),
    "two targets, one unreadable": changed(GOOD, spec__targetRefs=[7, TARGET]),
    "a name that is none": changed(GOOD, metadata__name="My_Policy"),
    "no name": changed(GOOD, metadata__name=None),
    "a name that is a number": changed(GOOD, metadata__name=7),
}


@pytest.mark.parametrize("case", UNREAD)
def test_a_policy_that_cannot_be_read_closes_its_targets(authority, case):
    """503 and no connection to a plain server that would answer; the problem has its place; without the policy it opens."""
    with Origin() as origin, secured(origin, authority, UNREAD[case]) as gateway:
        assert gateway.get("/").status == 503 and not origin.connections
        code, out, _ = cli("check", gateway.folder)
        closed = [line for line in out.splitlines() if "nothing is sent to Service default/origin" in line]
        assert code != 0 and len(closed) == 1, out
        path, line, column, _ = closed[0].split(":", 3)
        assert path == gateway.path("main.yaml") and int(line) > 1 and int(column) > 0
        route = gateway.object("HTTPRoute", "route")["status"]["parents"][0]["conditions"]
        assert any("BackendTLSPolicy" in c["message"] and "cannot be read" in c["message"] for c in route)
        rest = [d for d in gateway.content if d["kind"].lower() != "backendtlspolicy"]
        gateway.write("main.yaml", rest)
        wait_until(lambda: gateway.get("/").status == 200, 5, what="the Service without a policy")
        gateway.write("main.yaml", [*rest, UNREAD[case]])
        wait_until(lambda: gateway.get("/").status == 503, 5, what="the policy that cannot be read")


UNTOLD = {
    "no spec": changed(GOOD, spec=None),
    "no targets": changed(GOOD, spec__targetRefs=None),
    "targets of another type": changed(GOOD, spec__targetRefs="origin"),
    "a target without a name": changed(GOOD, spec__targetRefs__0__name=None),
    "a namespace that is none": changed(GOOD, metadata__namespace=["default"]),
}


@pytest.mark.parametrize("case", UNTOLD)
def test_targets_that_cannot_be_told_are_an_error_that_names_the_danger(authority, case):
    with Origin() as origin, secured(origin, authority, UNTOLD[case]) as gateway:
        code, out, _ = cli("check", gateway.folder)
        assert code == 1 and [line for line in out.splitlines() if "in plain text" in line and "main.yaml:" in line], out
        assert gateway.get("/").status == 200


def test_an_earlier_version_stays_in_force(authority):
    """A version that cannot be read changes nothing, whatever it names; a version that was refused is none to keep."""
    with sealed_origin(Certificate(["gpu.lan"], issuer=authority)) as origin, Origin() as plain, secured(
            origin, authority, extra=service(plain, "plain"),
            rules=[docs.rule([{"name": "plain", "port": 443}], path="/plain"), docs.rule([{"name": "origin", "port": 443}])]) as gateway:
        assert gateway.get("/").status == 200
        others = [d for d in gateway.content if d["kind"] != "BackendTLSPolicy"]

        def write(*policies):
            gateway.write("main.yaml", [*others, *policies])
        bad = changed(GOOD, spec__validation__hostname=None)
        bad["spec"]["targetRefs"].append({**TARGET, "name": "plain"})
        write(bad)
        wait_until(lambda: "stays in force" in gateway.admin("/status").body.decode() or "stays in force" in gateway.messages(), 5)
        assert gateway.get("/").status == 200 and gateway.get("/plain").status == 200
        assert set(origin.server_names) == {"gpu.lan"}
        write()
        wait_until(lambda: gateway.get("/").status == 502, 5, what="plain text to a TLS server")
        write(changed(GOOD, spec__validation__hostname="*.lan"))
        wait_until(lambda: gateway.get("/").status == 503, 5, what="a policy that is refused")
        write(bad)
        wait_until(lambda: gateway.get("/plain").status == 503, 5, what="a policy that cannot be read")
        count = len(plain.requests)
        assert gateway.get("/").status == 503 and gateway.get("/plain").status == 503 and len(plain.requests) == count


def test_a_second_document_of_the_name_closes_what_only_it_names(authority):
    """Only one of the two is used; the other one's Service is not spoken to in plain text, and the first one's stays served."""
    with sealed_origin(Certificate(["gpu.lan"], issuer=authority)) as origin, Origin() as plain, secured(
            origin, authority, extra=service(plain, "plain"),
            rules=[docs.rule([{"name": "plain", "port": 443}], path="/plain"), docs.rule([{"name": "origin", "port": 443}])]) as gateway:
        assert gateway.get("/").status == 200 and gateway.get("/plain").status == 200
        second = changed(GOOD, spec__targetRefs__0__name="plain")
        second["spec"]["targetRefs"].append(TARGET)
        gateway.write("other.yaml", [second])
        wait_until(lambda: gateway.get("/plain").status == 503, 5)
        assert gateway.get("/").status == 200
        gateway.write("other.yaml", [changed(second, spec__validation__hostname=None)])
        wait_until(lambda: "cannot be read" in cli("check", gateway.folder)[1], 5)
        assert gateway.get("/plain").status == 503 and gateway.get("/").status == 200


# -- other documents

def test_a_route_that_cannot_be_read_is_not_served(authority):
    """Its requests reach nobody, whether it is its filters that cannot be read or anything else; one that was read stays."""
    good = docs.rule(path="/guarded", filters=[{"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["x-admin"]}}])
    bads = [changed(good, filters__0__requestHeaderModifier="x-admin"), changed(good, filters__0__type=7),
            changed(good, filters=[{"type": "ExternalAuth", "externalAuth": {"protocol": "HTTP"}}])]
    for bad in bads:
        with Origin() as origin, serving(origin, rules=[bad]) as gateway:
            assert gateway.get("/guarded").status in (404, 500) and not origin.connections
            assert cli("check", gateway.folder)[0] != 0
            gateway.write("main.yaml", [docs.route([good]) if d["kind"] == "HTTPRoute" else d for d in gateway.content])
            wait_until(lambda: gateway.get("/guarded").status == 200, 5)
            gateway.write("main.yaml", gateway.content)
            wait_until(lambda: "in force" in gateway.messages() or "in use" in gateway.messages()
                       or gateway.get("/guarded").status == 500, 5)
            assert gateway.get("/guarded", headers=[("x-admin", "me")]).status in (200, 500)
            assert all(r.get("x-admin") is None for r in origin.requests)


FRONTENDS = {
    "validation of another type": {"default": {"validation": "ca"}},
    "no certificates named": {"default": {"validation": {"mode": "AllowValidOnly"}}},
    "validation misspelled": {"default": {"validate": {"caCertificateRefs": []}}},
    "no default": {"perPort": []},
    "a port of another type": {"default": {}, "perPort": [{"port": "https", "tls": {}}]},
}


@pytest.mark.parametrize("case", FRONTENDS)
def test_a_gateway_whose_validation_of_clients_cannot_be_read_is_not_served(certificate, case):
    """Nobody is let in without a certificate: the port stays closed, while another Gateway is served."""
    with Origin() as origin:
        closed, port = free_port(), free_port()
        guarded = docs.gateway([docs.listener(closed, "https", "HTTPS", certificates=["tls"])], name="guarded")
        guarded["spec"]["tls"] = {"frontend": FRONTENDS[case]}
        with Gateway([docs.gateway([docs.listener(port)]), guarded, certificate.secret("tls"), docs.backend(origin),
                      docs.route([docs.rule()], parents=("gateway", "guarded"))]) as gateway:
            gateway.port = port
            assert gateway.get("/").status == 200
            with pytest.raises(OSError):
                gateway.client(closed, tls=tls_client(), sni="test.example").request("GET", "/")
            assert cli("check", gateway.folder)[0] != 0
            fine = changed(guarded, spec__tls=None)
            gateway.write("main.yaml", [docs.gateway([docs.listener(port)]), fine, certificate.secret("tls"), docs.backend(origin),
                                        docs.route([docs.rule()], parents=("gateway", "guarded"))])

            def answers():
                try:
                    with gateway.client(closed, tls=tls_client(), sni="test.example") as client:
                        return client.request("GET", "/").status == 200
                except OSError:
                    return False
            wait_until(answers, 5, what="the Gateway that asks for nothing")


def test_parameters_that_cannot_be_read_leave_their_gateway_closed():
    """Whom to believe about clients' addresses is among them."""
    with Origin() as origin, Gateway(start=False) as gateway:
        port, other = free_port(), free_port()
        bad = docs.parameters(trustedProxies="10.0.0.0/8")
        gateway.write("main.yaml", [docs.gateway([docs.listener(other)], name="other"),
                                    docs.gateway([docs.listener(port)], parameters="parameters"), bad, docs.backend(origin),
                                    docs.route([docs.rule()], parents=("gateway", "other"))])
        gateway.start()
        assert gateway.get("/", port=other).status == 200
        with pytest.raises(OSError):
            gateway.get("/", port=port)


@pytest.mark.parametrize("expression", [{"key": "restricted", "operator": "DoesNotExist"},
                                        {"key": "restricted", "operator": "NotIn", "values": ["yes"]}])
def test_a_namespace_that_cannot_be_read_is_selected_by_nobody(expression):
    """A selector of labels that must not be there does not take one whose labels nobody knows."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "far", "labels": {"restricted": "yes"}}}
    listeners = lambda port: [{**docs.listener(port), "allowedRoutes": {"namespaces": {
        "from": "Selector", "selector": {"matchExpressions": [expression]}}}}]
    with Origin() as origin, serving(
            origin, listeners=listeners, rules=[docs.rule(path="/near")],
            extra=[namespace, docs.backend(origin, namespace="far"), docs.route([docs.rule(path="/far")], name="far", namespace="far", parents=[{"name": "gateway", "namespace": "default"}])],
            ) as gateway:
        assert gateway.get("/near").status == 200 and gateway.get("/far").status == 404
        without = [d for d in gateway.content if d is not namespace]

        def reload(document):
            gateway.write("main.yaml", [*without, document])
        reload(changed(namespace, metadata__labels={}))
        wait_until(lambda: gateway.get("/far").status == 200, 5)
        gateway.write("main.yaml", without[:-2])
        wait_until(lambda: gateway.get("/far").status == 404, 5)
        reload(changed(namespace, metadata__labels=["restricted"]))
        wait_until(lambda: "labels" in cli("check", gateway.folder)[1], 5)
        wait_until(lambda: gateway.object("HTTPRoute", "far", "far") is not None, 5)
        assert gateway.get("/far").status == 404


def test_a_grant_that_cannot_be_read_permits_nothing():
    grant = {"apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "ReferenceGrant", "metadata": {"name": "g", "namespace": "far"},
             "spec": {"from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "default"}],
                      "to": [{"group": "ai-gateway.dev", "kind": "Backend"}]}}
    far = {**docs.backend_ref("origin"), "namespace": "far"}
    with Origin() as origin, serving(None, rules=[docs.rule([far])], extra=[
            docs.backend(origin, namespace="far"), changed(grant, spec__to="Backend")]) as gateway:
        assert gateway.get("/").status == 500 and not origin.connections
        gateway.write("main.yaml", [*gateway.content[:-1], grant])
        wait_until(lambda: gateway.get("/").status == 200, 5)
