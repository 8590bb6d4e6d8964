"""Which sockets are bound, and which Gateway a request on a shared one belongs to."""
import json

import pytest

from Fixtures import documents as docs
from Fixtures.gateway import Gateway, serving
from Fixtures.http1 import fetch
from Fixtures.net import free_port, ipv6_available, wait_until
from Fixtures.origin import Origin


def origin_of(response):
    assert response.status == 200, response
    return json.loads(response.body)["origin"]


@pytest.mark.skipif(not ipv6_available(), reason="this machine has no IPv6 loopback")
def test_ipv6_on_both_sides():
    """A listener on ::1, a backend on ::1, Host in brackets, and the client's address in x-forwarded-for."""
    with Origin(host="::1") as origin, serving(origin, addresses=("::1",)) as gateway:
        e = json.loads(fetch("::1", gateway.port, "/", host=f"[::1]:{gateway.port}").body)
        assert ["::1"] == [v for n, v in e["headers"] if n.lower() == "x-forwarded-for"]
        assert e["host"] == f"[::1]:{gateway.port}"


@pytest.mark.skipif(not ipv6_available(), reason="this machine has no IPv6 loopback")
def test_without_an_address_all_are_bound():
    """Neither spec.addresses nor --address: IPv4 and IPv6 alike."""
    with Origin() as origin, serving(origin, addresses=()) as gateway:
        for address in ("127.0.0.1", "127.0.0.9", "::1"):
            assert fetch(address, gateway.port).status == 200, address
        e = json.loads(fetch("127.0.0.1", gateway.port).body)
        assert ["127.0.0.1"] == [v for n, v in e["headers"] if n.lower() == "x-forwarded-for"]


def test_address_flags_bind_gateways_without_their_own():
    """--address is repeatable; spec.addresses wins over it."""
    with Origin() as origin, serving(origin, addresses=(), flags=["--address", "127.0.0.5", "--address", "127.0.0.6"]) as gateway:
        for address in ("127.0.0.5", "127.0.0.6"):
            assert fetch(address, gateway.port).status == 200
        with pytest.raises(OSError):
            fetch("127.0.0.1", gateway.port, timeout=2)
        assert {a["value"] for a in gateway.object("Gateway", "gateway")["status"]["addresses"]} == {"127.0.0.5", "127.0.0.6"}


def test_bind_port_moves_the_socket_and_not_the_listener():
    """Redirects name the listener's own port."""
    actual = free_port()
    with serving(None, listeners=[docs.listener(8080)], rules=[docs.rule([], filters=[{
            "type": "RequestRedirect", "requestRedirect": {"hostname": "x.example"}}])], flags=["--bind-port", f"8080={actual}"]) as gateway:
        assert fetch("127.0.0.1", actual, "/a").get("location") == "http://x.example:8080/a"


def test_gateways_share_a_socket_by_hostname():
    """Two Gateways on one address and port: the most specific hostname wins; routes stay with their own Gateway."""
    port = free_port()
    with Origin(name="one") as one, Origin(name="two") as two, Gateway([
            docs.gateway([docs.listener(port, hostname="one.example")], name="first"),
            docs.gateway([docs.listener(port, hostname="*.example")], name="second"),
            docs.route([docs.rule(["one"])], name="r1", parents=("first",)), docs.route([docs.rule(["two"])], name="r2", parents=("second",)),
            docs.backend(one, "one"), docs.backend(two, "two")]) as gateway:
        gateway.port = port
        assert origin_of(gateway.get("/", host="one.example")) == "one"
        assert origin_of(gateway.get("/", host="other.example")) == "two"
        assert gateway.get("/", host="elsewhere").status == 404


def test_the_same_hostname_twice_belongs_to_the_older_gateway():
    """The younger listener is PortUnavailable."""
    port = free_port()
    old, new = docs.gateway([docs.listener(port)], name="zebra"), docs.gateway([docs.listener(port)], name="apple")
    old["metadata"]["creationTimestamp"], new["metadata"]["creationTimestamp"] = "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z"
    with Origin(name="old") as a, Origin(name="new") as b, Gateway([
            new, old, docs.route([docs.rule(["old"])], name="r1", parents=("zebra",)), docs.route([docs.rule(["new"])], name="r2", parents=("apple",)),
            docs.backend(a, "old"), docs.backend(b, "new")]) as gateway:
        gateway.port = port
        assert origin_of(gateway.get("/")) == "old"
        conditions = {c["type"]: c for c in gateway.object("Gateway", "apple")["status"]["listeners"][0]["conditions"]}
        assert conditions["Accepted"]["reason"] == "PortUnavailable"


def test_an_address_that_is_not_local_is_said():
    """AddressNotUsable; another Gateway goes on."""
    with Origin() as origin, serving(origin, extra=[docs.gateway([docs.listener(free_port())], ("203.0.113.9",), "far")]) as gateway:
        assert gateway.get("/").status == 200
        conditions = {c["type"]: c for c in gateway.object("Gateway", "far")["status"]["conditions"]}
        assert (conditions["Programmed"]["status"], conditions["Programmed"]["reason"]) == ("False", "AddressNotUsable")


def test_listeners_are_isolated():
    """A request belongs to the most specific listener, even when only a less specific one has a matching route."""
    port = free_port()
    with Origin(name="any") as any_, Origin(name="exact") as exact, Gateway([
            docs.gateway([docs.listener(port, "any"), docs.listener(port, "exact", hostname="a.example")]),
            docs.route([docs.rule(["any"], path="/")], name="r1", parents=({"name": "gateway", "sectionName": "any"},)),
            docs.route([docs.rule(["exact"], path="/only")], name="r2", parents=({"name": "gateway", "sectionName": "exact"},)),
            docs.backend(any_, "any"), docs.backend(exact, "exact")]) as gateway:
        gateway.port = port
        assert origin_of(gateway.get("/only", host="a.example")) == "exact"
        assert gateway.get("/other", host="a.example").status == 404
        assert origin_of(gateway.get("/other", host="b.example")) == "any"


def test_many_listeners():
    """64 listeners on ports of their own all serve."""
    ports = set()
    while len(ports) < 64:
        ports.add(free_port())
    with Origin() as origin, Gateway([docs.gateway([docs.listener(p, f"l{p}") for p in sorted(ports)]), docs.route([docs.rule()]),
                                      docs.backend(origin)]) as gateway:
        for port in ports:
            assert gateway.get("/", port=port).status == 200
        wait_until(lambda: len(gateway.object("Gateway", "gateway")["status"]["listeners"]) == 64, 5)
