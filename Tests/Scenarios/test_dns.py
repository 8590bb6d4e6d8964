"""Backends by name: resolved off the request's path, again by TTL, and kept when the resolver fails.

The gateway runs with a resolv.conf of its own (a mount namespace), so that no real resolver is asked.
"""
import os
import shutil
import subprocess
import time

import pytest

from Fixtures import documents as docs
from Fixtures.dns import A, AAAA, DNS, SRV
from Fixtures.gateway import serving
from Fixtures.net import free_port_on, ipv6_available, wait_until
from Fixtures.origin import Origin

RESOLVER = f"127.53.{os.getpid() >> 8 & 255}.{os.getpid() % 254 + 1}"     # of this process: runs may overlap


def may_mount():
    return os.geteuid() == 0 and shutil.which("unshare") and subprocess.run(
        ["unshare", "-m", "true"], capture_output=True).returncode == 0


pytestmark = pytest.mark.skipif(not may_mount(), reason="needs root and mount namespaces, for a resolv.conf of its own")


def named(dns, name, port, tmp_path, **backend):
    conf = tmp_path / "resolv.conf"
    conf.write_text(f"nameserver {RESOLVER}\noptions timeout:1 attempts:2\n")
    return serving(None, rules=[docs.rule(["origin"])], extra=[docs.backend([{"address": name, "port": port}], **backend)],
                   prefix=["unshare", "-m", "sh", "-c", f"mount --bind {conf} /etc/resolv.conf && exec \"$@\"", "sh"])


def origin_of(gateway):
    response = gateway.get("/")
    return response.get("x-origin") if response.status == 200 else response.status


def test_a_name_is_resolved_and_followed_by_its_ttl(tmp_path, figure):
    """The record changes: within a TTL or so requests go to the new address; Host is the name."""
    port = free_port_on("127.0.0.2", "127.0.0.3")
    with DNS(RESOLVER) as dns, Origin(host="127.0.0.2", port=port, name="old") as old, Origin(host="127.0.0.3", port=port, name="new") as new:
        dns.set("gpu.test", A, ["127.0.0.2"])
        with named(dns, "gpu.test", old.port, tmp_path) as gateway:
            wait_until(lambda: origin_of(gateway) == "old", 10)
            assert old.last().get("host").startswith("gpu.test"), "Host is the endpoint's name by default for DNS names"
            dns.set("gpu.test", A, ["127.0.0.3"])
            began = time.monotonic()
            wait_until(lambda: origin_of(gateway) == "new", 15)
            figure("a changed A record of TTL 1 s in use after", f"{time.monotonic() - began:.1f} s")
            assert new.requests


def test_the_last_good_answer_is_kept_when_the_resolver_fails(tmp_path):
    """SERVFAIL and silence, longer than the TTL: requests go on."""
    with DNS(RESOLVER) as dns, Origin(host="127.0.0.2", name="kept") as origin:
        dns.set("gpu.test", A, ["127.0.0.2"])
        with named(dns, "gpu.test", origin.port, tmp_path) as gateway:
            wait_until(lambda: origin_of(gateway) == "kept", 10)
            for mode in ("fail", "silent"):
                dns.mode = mode
                end = time.monotonic() + 3
                while time.monotonic() < end:
                    began = time.monotonic()
                    assert origin_of(gateway) == "kept"
                    assert time.monotonic() - began < 1, "a request waited for the resolver"
                    time.sleep(0.1)


def test_an_unknown_name_is_503_and_never_stops_the_start(tmp_path):
    """The gateway starts, says 503, and serves as soon as the name is known."""
    with DNS(RESOLVER) as dns, Origin(host="127.0.0.2", name="late") as origin:
        with named(dns, "late.test", origin.port, tmp_path) as gateway:
            began = time.monotonic()
            assert gateway.get("/").status == 503
            assert time.monotonic() - began < 8
            dns.set("late.test", A, ["127.0.0.2"])
            wait_until(lambda: origin_of(gateway) == "late", 40, what="the name taken up")


def test_several_addresses_share_the_requests(tmp_path):
    """All A records are endpoints."""
    port = free_port_on("127.0.0.2", "127.0.0.3")
    with DNS(RESOLVER) as dns, Origin(host="127.0.0.2", port=port, name="one") as one, Origin(host="127.0.0.3", port=port, name="two"):
        dns.set("gpu.test", A, ["127.0.0.2", "127.0.0.3"])
        with named(dns, "gpu.test", one.port, tmp_path) as gateway:
            wait_until(lambda: {origin_of(gateway) for _ in range(20)} == {"one", "two"}, 10)


def test_srv_records_say_the_port(tmp_path):
    """`_http._tcp.gpu.test`: target and port come from the record, and follow it; the field `port` is not used."""
    with DNS(RESOLVER) as dns, Origin(host="127.0.0.2", name="one") as one, Origin(host="127.0.0.3", name="two") as two:
        dns.set("a.test", A, ["127.0.0.2"])
        dns.set("b.test", A, ["127.0.0.3"])
        dns.set("_http._tcp.gpu.test", SRV, [(1, 1, one.port, "a.test")])
        with named(dns, "_http._tcp.gpu.test", 9, tmp_path) as gateway:
            wait_until(lambda: origin_of(gateway) == "one", 10)
            assert one.last().get("host") == f"127.0.0.2:{one.port}"
            dns.set("_http._tcp.gpu.test", SRV, [(1, 1, two.port, "b.test")])
            wait_until(lambda: origin_of(gateway) == "two", 15)


@pytest.mark.skipif(not ipv6_available(), reason="this machine has no IPv6 loopback")
def test_aaaa_records(tmp_path):
    """A name that has only an IPv6 address."""
    with DNS(RESOLVER) as dns, Origin(host="::1", name="six") as origin:
        dns.set("six.test", AAAA, ["::1"])
        with named(dns, "six.test", origin.port, tmp_path) as gateway:
            wait_until(lambda: origin_of(gateway) == "six", 10)
