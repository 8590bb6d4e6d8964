"""UDPRoute: each client's datagrams go to one backend, and the answers come back from the address that was asked."""
import signal
import socket
import struct
import threading
import time

import pytest

from Fixtures import documents as docs
from Fixtures.gateway import Gateway
from Fixtures.net import ipv6_available, wait_until

DROPPED = "ai_gateway_udp_dropped_datagrams_total"


def free_udp_port(host="127.0.0.1"):
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind((host, 0))
        return s.getsockname()[1]


class Responder:
    """A UDP server that answers each datagram by `answer(data)`: one datagram, a list of them, or None."""

    def __init__(self, name="one", answer=None, host="127.0.0.1", port=0):
        self.name, self.host = name.encode(), host
        self.answer = answer or (lambda data: self.name + b":" + data)
        self.received, self.lock, self.stopped = [], threading.Lock(), False
        self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.sock.bind((host, port))
        self.port = self.sock.getsockname()[1]
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.stopped:
            try:
                data, peer = self.sock.recvfrom(65536)
            except OSError:
                return
            if self.stopped:
                return
            with self.lock:
                self.received.append((data, peer))
            answers = self.answer(data)
            for one in answers if isinstance(answers, list) else [answers]:
                if one is not None:
                    self.sock.sendto(one, peer)

    def peers(self):
        with self.lock:
            return {peer for _, peer in self.received}

    def stop(self):
        if self.stopped:
            return
        self.stopped = True
        # A close alone does not wake a reader; an own datagram does.
        with socket.socket(self.sock.family, socket.SOCK_DGRAM) as s:
            s.sendto(b"", (self.host, self.port))
        self.thread.join(5)
        self.sock.close()

    def endpoint(self, **more):
        return {"address": self.host, "port": self.port, **more}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Asker:
    """A client with a port of its own that hears only whom it asked."""

    def __init__(self, port, host="127.0.0.1", source=None, seconds=5):
        self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.settimeout(seconds)
        if source:
            self.sock.bind((source, 0))
        self.sock.connect((host, port))

    def send(self, data=b"x"):
        self.sock.send(data)

    def read(self):
        return self.sock.recv(65536)

    def ask(self, data=b"x"):
        self.send(data)
        return self.read()

    def comes_to_hear(self, answer, seconds=10):
        """Asks until that is the answer. A datagram that crosses a reload may be lost, as datagrams are, so each waits shortly."""
        until, usual = time.monotonic() + seconds, self.sock.gettimeout()
        self.sock.settimeout(0.5)
        while time.monotonic() < until:
            try:
                if self.ask() == answer:
                    break
            except TimeoutError:
                pass
        else:
            raise AssertionError(f"{answer} was never heard")
        # what came late to an earlier question is no answer to the next
        while not self.hears_nothing(0.05):
            pass
        self.sock.settimeout(usual)

    def hears_nothing(self, seconds=0.3):
        self.sock.settimeout(seconds)
        try:
            return self.sock.recv(65536) is None
        except (TimeoutError, socket.timeout):
            return True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()


def listener(port, name="udp"):
    return {"name": name, "port": port, "protocol": "UDP", "allowedRoutes": {"namespaces": {"from": "All"}}}


def route(backends, name="route", created=None):
    metadata = {"name": name, "namespace": "default"}
    if created:
        metadata["creationTimestamp"] = created
    return {"apiVersion": docs.API, "kind": "UDPRoute", "metadata": metadata,
            "spec": {"parentRefs": [{"name": "gateway"}],
                     "rules": [{"backendRefs": [docs.backend_ref(b) if isinstance(b, str) else b for b in backends]}]}}


def content(port, backends, addresses=("127.0.0.1",), refs=None, spec=None):
    """Documents for one UDP listener; `backends`: {name: responder or list of them}."""
    out = [docs.gateway([listener(port)], addresses=addresses, parameters="parameters" if spec else None)]
    if spec:
        out.append(docs.parameters(**spec))
    out.append(route(refs or list(backends)))
    return out + [docs.backend(b, n) for n, b in backends.items()]


def serving(backends, addresses=("127.0.0.1",), refs=None, limits=None, timeouts=None, **options):
    named = backends if isinstance(backends, dict) else {"one": backends}
    port = free_udp_port(addresses[0] if addresses else "127.0.0.1")
    spec = {k: v for k, v in (("limits", limits), ("timeouts", timeouts)) if v}
    gateway = Gateway(content(port, named, addresses, refs, spec), start=False, **options)
    gateway.port = port
    gateway.start()
    return gateway


def sessions(gateway):
    return gateway.total("ai_gateway_udp_sessions")


def records(gateway, count=1):
    return wait_until(lambda: [r for r in gateway.access() if r["protocol"] == "UDP"][count - 1:] and
                      [r for r in gateway.access() if r["protocol"] == "UDP"])


# -- datagrams

def test_datagrams_go_and_answers_come_back():
    """Boundaries are kept, empty datagrams too, and everything is counted."""
    with Responder() as backend, serving(backend) as gateway, Asker(gateway.port) as client:
        sizes = [0, 1, 100, 1_400]
        for size in sizes:
            assert client.ask(b"a" * size) == b"one:" + b"a" * size
        assert [len(d) for d, _ in backend.received] == sizes and len(backend.peers()) == 1
        assert gateway.total("ai_gateway_udp_received_datagrams_total") == 4
        assert gateway.total("ai_gateway_udp_received_bytes_total") == sum(sizes)
        wait_until(lambda: gateway.total("ai_gateway_udp_sent_datagrams_total") == 4)   # an answer is counted when it has gone
        assert gateway.total("ai_gateway_udp_sent_bytes_total") == sum(sizes) + 16
        assert gateway.total("ai_gateway_udp_sessions_begun_total") == 1 and sessions(gateway) == 1
        assert gateway.total(DROPPED) == 0


@pytest.mark.parametrize("size", [9_000, 32_768, 65_507])
def test_large_datagrams_are_whole(size):
    """Up to the largest that IPv4 has."""
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    with Responder(answer=lambda d: d) as backend, serving(backend) as gateway, Asker(gateway.port) as client:
        for _ in range(3):
            assert client.ask(data) == data
        assert gateway.total(DROPPED) == 0


def test_many_answers_to_one_question():
    """More than fit into one batch, in their order."""
    with Responder(answer=lambda d: [b"%d" % n for n in range(100)]) as backend, serving(backend) as gateway, \
            Asker(gateway.port) as client:
        client.send()
        assert [client.read() for _ in range(100)] == [b"%d" % n for n in range(100)]


def test_a_burst_goes_through():
    """300 datagrams at once, some of two clients in turn: each has its own answer."""
    with Responder(answer=lambda d: d) as backend, serving(backend) as gateway, \
            Asker(gateway.port) as a, Asker(gateway.port) as b:
        for n in range(300):
            (a if n % 3 else b).send(b"%d" % n)
        assert {a.read() for _ in range(200)} == {b"%d" % n for n in range(300) if n % 3}
        assert {b.read() for _ in range(100)} == {b"%d" % n for n in range(0, 300, 3)}
        assert len(backend.peers()) == 2


def test_many_clients_have_a_session_each():
    """200 clients over two workers; every answer is for the one who asked."""
    with Responder(answer=lambda d: d) as backend, serving(backend) as gateway:
        clients = [Asker(gateway.port) for _ in range(200)]
        for turn in range(3):
            for n, client in enumerate(clients):
                client.send(b"%d/%d" % (n, turn))
            for n, client in enumerate(clients):
                assert client.read() == b"%d/%d" % (n, turn)
        assert len(backend.peers()) == 200 and sessions(gateway) == 200
        assert gateway.total("ai_gateway_udp_sessions_begun_total") == 200
        for client in clients:
            client.sock.close()


# -- addresses

def test_answers_leave_from_the_address_that_was_asked():
    """On all addresses of the machine: a client at 127.0.0.7 hears 127.0.0.7, and one client may ask several."""
    with Responder(answer=lambda d: d) as backend, serving(backend, addresses=()) as gateway:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as open_:
            open_.settimeout(5)
            open_.bind(("127.0.0.50", 0))
            for host in ("127.0.0.1", "127.0.0.7", "127.9.8.7"):
                with Asker(gateway.port, host) as client:
                    assert client.ask(host.encode()) == host.encode()
                open_.sendto(host.encode(), (host, gateway.port))
                assert open_.recvfrom(100) == (host.encode(), (host, gateway.port))
        assert sessions(gateway) == 6


def test_ipv6():
    """A listener on ::1 and one on all addresses, to an IPv4 backend and to an IPv6 one."""
    if not ipv6_available():
        pytest.skip("no IPv6 on loopback")
    with Responder(answer=lambda d: d) as v4, Responder(answer=lambda d: d, host="::1") as v6:
        for backend in (v4, v6):
            for addresses in (("::1",), ()):
                with serving(backend, addresses=addresses) as gateway, Asker(gateway.port, "::1") as client:
                    assert client.ask(b"six") == b"six"
                    assert client.ask(b"y" * 60_000) == b"y" * 60_000
                    if not addresses:
                        with Asker(gateway.port, "127.0.0.3") as other:
                            assert other.ask(b"four") == b"four"


def test_a_datagram_too_long_for_the_backends_family_is_dropped():
    """IPv6 carries 65,527 bytes, IPv4 65,507; the session goes on."""
    if not ipv6_available():
        pytest.skip("no IPv6 on loopback")
    with Responder(answer=lambda d: b"%d" % len(d)) as backend, serving(backend, addresses=("::1",)) as gateway, \
            Asker(gateway.port, "::1") as client:
        assert client.ask(b"x" * 65_507) == b"65507"
        client.send(b"x" * 65_527)
        assert client.ask(b"xx") == b"2"
        assert gateway.total(DROPPED) == 1 and sessions(gateway) == 1


def test_nobody_else_is_heard_by_a_session():
    """Datagrams of strangers to a session's own port reach no client."""
    with Responder() as backend, serving(backend) as gateway, Asker(gateway.port) as client:
        client.ask()
        (upstream,) = backend.peers()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(b"stranger", upstream)
        assert client.ask(b"again") == b"one:again"
        assert client.hears_nothing()


def test_a_port_never_talks_to_itself():
    """A forged datagram that claims to come from the port itself begins no endless conversation."""
    forged("127.0.0.1")


def test_a_port_never_talks_to_itself_by_another_address():
    """The same from an address of the machine that is not loopback: the answer would come back to the port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))          # sends nothing: only finds the address of the way there
        except OSError:
            pytest.skip("the machine has loopback alone")
        address = probe.getsockname()[0]
    forged(address)


def forged(source):
    with Responder(answer=lambda d: d) as backend, serving(backend) as gateway:
        try:
            raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        except PermissionError:
            pytest.skip("raw sockets need a right")
        with raw:
            here = socket.inet_aton("127.0.0.1")
            sender = socket.inet_aton(source)
            udp = struct.pack("!HHHH", gateway.port, gateway.port, 12, 0) + b"ping"
            raw.sendto(struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, sender, here) + udp, ("127.0.0.1", 0))
        wait_until(lambda: gateway.total("ai_gateway_udp_received_datagrams_total") >= 1)
        assert gateway.total(DROPPED) == 1 and not backend.received


# -- sessions

def test_a_silent_session_ends():
    """`timeouts.udpIdle` after its last datagram, either way; the client's next one begins another."""
    with Responder() as backend, serving(backend, timeouts={"udpIdle": "500ms"}) as gateway, Asker(gateway.port) as client:
        for _ in range(6):
            client.ask()
            time.sleep(0.2)                      # within the time, and longer than it together
        assert len(backend.peers()) == 1
        last = time.monotonic()
        wait_until(lambda: sessions(gateway) == 0)
        assert 0.2 < time.monotonic() - last < 2
        client.ask()
        assert len(backend.peers()) == 2
        (record,) = records(gateway)
        assert (record["ended"], record["reason"]) == ("done", "idle")
        assert (record["bytes_received"], record["bytes_sent"]) == (6, 6 * 5)
        assert record["client"] == "%s:%d" % client.sock.getsockname() and record["endpoint"] == f"127.0.0.1:{backend.port}"
        assert record["route"] == "default/route" and record["backend"] and record["listener"]
        assert record["ttfb_ms"] > 0 and 1_000 < record["duration_ms"] < 10_000
        assert not {"status", "method", "path"} & set(record)


def test_the_oldest_session_makes_room():
    """With `limits.udpSessionsMax: 3` the one that was silent longest ends, not the one that began first."""
    with Responder() as backend, serving(backend, limits={"udpSessionsMax": 3}, workers=1) as gateway:
        clients = [Asker(gateway.port) for _ in range(4)]
        for client in clients[:3]:
            client.ask(b"first")
        clients[0].ask(b"second")
        clients[3].ask(b"first")
        (record,) = records(gateway)
        assert record["reason"] == "evicted"
        assert record["client"] == "127.0.0.1:%d" % clients[1].sock.getsockname()[1]
        assert sessions(gateway) == 3
        for client in (clients[0], clients[2], clients[3]):
            client.ask(b"still")
        assert len(backend.peers()) == 4
        clients[1].ask(b"anew")
        assert len(backend.peers()) == 5 and sessions(gateway) == 3
        for client in clients:
            client.sock.close()


def test_a_flood_of_clients_is_bounded():
    """2,000 clients against 50 sessions: bounded sessions, descriptors and memory, and still answered."""
    with Responder(answer=lambda d: d) as backend, serving(backend, limits={"udpSessionsMax": 50}, workers=1,
                                                           access_log=False) as gateway:
        before = gateway.descriptors()
        for n in range(2_000):
            with Asker(gateway.port) as client:
                assert client.ask(b"%d" % n) == b"%d" % n
        assert sessions(gateway) == 50
        assert gateway.descriptors() <= before + 60         # and a connection of the admin port
        assert gateway.total("ai_gateway_udp_sessions_begun_total") >= 1_950


# -- backends

def test_weights_are_per_client():
    """3 to 1 over 400 clients; a client stays where its first datagram went; weight 0 gets none."""
    with Responder("one") as one, Responder("two") as two, Responder("none") as none, \
            serving({"one": one, "two": two, "none": none},
                    refs=[docs.backend_ref("one", 3), docs.backend_ref("two", 1), docs.backend_ref("none", 0)]) as gateway:
        count = 0
        for _ in range(400):
            with Asker(gateway.port) as client:
                first = client.ask()
                assert [client.ask() for _ in range(3)] == [first] * 3
                count += first.startswith(b"one")
        assert 250 < count < 350 and not none.received


def test_endpoints_share_clients_evenly():
    """The less busy of two is taken: 100 clients on two endpoints are near to 50 each."""
    with Responder("one") as one, Responder("two") as two, serving({"both": [one, two]}, workers=1) as gateway:
        clients = [Asker(gateway.port) for _ in range(100)]
        for client in clients:
            client.ask()
        assert 45 <= len(one.peers()) <= 55
        for client in clients:
            client.sock.close()


def test_an_invalid_share_is_dropped():
    """A backend that does not exist takes its share into nothing, and it is counted."""
    with Responder() as backend, serving({"one": backend}, refs=["one", docs.backend_ref("missing")]) as gateway:
        answered = 0
        for _ in range(60):
            with Asker(gateway.port) as client:
                client.send()
                answered += not client.hears_nothing(0.05)
        assert 15 < answered < 45
        assert gateway.total(DROPPED) == 60 - answered


def test_a_dead_backend_and_its_return():
    """The ICMP answer ends the session; once the backend is back, the same client is served again."""
    backend = Responder()
    with serving(backend) as gateway, Asker(gateway.port) as client:
        client.ask()
        backend.stop()
        client.send(b"lost")
        wait_until(lambda: sessions(gateway) == 0)
        assert gateway.total("ai_gateway_upstream_failures_total", reason="connect_refused") >= 1
        assert records(gateway)[0]["reason"] == "connect_refused"
        with Responder("back", port=backend.port):
            assert client.ask(b"again") == b"back:again"
        assert client.hears_nothing()


def test_a_dead_endpoint_is_left_for_another():
    """Of two endpoints one is gone: clients lose a datagram at most, then are answered by the other."""
    dead = Responder("dead")
    with Responder("alive") as alive, serving({"both": [dead, alive]}) as gateway:
        dead.stop()
        for _ in range(40):
            with Asker(gateway.port, seconds=0.5) as client:
                for attempt in range(10):
                    client.send()
                    try:
                        assert client.read().startswith(b"alive")
                        break
                    except (TimeoutError, socket.timeout):
                        continue
                else:
                    raise AssertionError("never answered")


def test_a_session_ends_with_its_endpoint():
    """After a reload that takes the endpoint away the client is served by the one that is there."""
    with Responder("one") as one, Responder("two") as two, serving({"backend": one}) as gateway, \
            Asker(gateway.port) as client:
        assert client.ask() == b"one:x"
        gateway.write("main.yaml", content(gateway.port, {"backend": two}))
        client.comes_to_hear(b"two:x")
        assert records(gateway)[0]["reason"] == "endpoint_gone"


def test_a_session_ends_with_its_route():
    """A route that leads elsewhere holds from the next datagram on, though the old backend is still used by another."""
    with Responder("one") as one, Responder("two") as two, serving({"one": one, "two": two}, refs=["one"]) as gateway, \
            Asker(gateway.port) as client:
        assert client.ask() == b"one:x"
        other = free_udp_port()
        both = [docs.gateway([listener(gateway.port), listener(other, "other")]), docs.backend(one, "one"), docs.backend(two, "two")]
        for name, target, section in (("route", "two", "udp"), ("second", "one", "other")):
            one_route = route([target], name)
            one_route["spec"]["parentRefs"] = [{"name": "gateway", "sectionName": section}]
            both.append(one_route)
        gateway.write("main.yaml", both)
        client.comes_to_hear(b"two:x")
        with Asker(other) as second:
            assert second.ask() == b"one:x"
        gateway.write("main.yaml", [d for d in both if d["metadata"]["name"] != "route"])
        wait_until(lambda: sessions(gateway) == 1)
        client.send()
        assert client.hears_nothing()


def test_the_oldest_route_has_the_port():
    """Of two routes on one listener only the older one gets datagrams."""
    with Responder("old") as old, Responder("new") as new:
        port = free_udp_port()
        documents = [docs.gateway([listener(port)]), docs.backend(old, "old"), docs.backend(new, "new"),
                     route(["new"], "a-new", "2024-02-01T00:00:00Z"), route(["old"], "b-old", "2024-01-01T00:00:00Z")]
        with Gateway(documents) as gateway:
            for _ in range(20):
                with Asker(port) as client:
                    assert client.ask() == b"old:x"
            assert not new.received and gateway.alive()


def test_a_port_that_is_closed_and_opened_again():
    """Sessions end with the listener; the same port may come back."""
    with Responder() as backend, serving(backend) as gateway, Asker(gateway.port, seconds=0.3) as client:
        client.ask()
        documents = content(gateway.port, {"one": backend})
        moved = content(free_udp_port(), {"one": backend})
        gateway.write("main.yaml", moved)
        wait_until(lambda: sessions(gateway) == 0)
        assert records(gateway)[0]["reason"] in ("port_closed", "route_gone")
        gateway.write("main.yaml", documents)

        def served():
            try:
                return client.ask(b"back") == b"one:back"
            except OSError:
                return False
        wait_until(served)


def test_tcp_and_udp_on_one_port():
    """The same number for an HTTP and a UDP listener."""
    from Fixtures.origin import Origin
    with Responder() as backend, Origin() as origin:
        port = free_udp_port()
        documents = [docs.gateway([docs.listener(port), listener(port)]), route(["udp"], "udp"), docs.backend(backend, "udp"),
                     docs.route([docs.rule(["origin"])]), docs.backend(origin)]
        for d in documents[1:4:2]:
            d["spec"]["parentRefs"] = [{"name": "gateway", "sectionName": "udp" if d["kind"] == "UDPRoute" else "http"}]
        with Gateway(documents) as gateway, Asker(port) as client:
            assert client.ask() == b"one:x"
            assert gateway.get("/", port=port).status == 200


def test_a_stranger_on_the_port_is_noticed():
    """A UDP port in use is a condition, and the gateway goes on."""
    with Responder() as backend, Responder() as stranger, \
            Gateway(content(stranger.port, {"one": backend}), ready=False) as gateway:
        wait_until(lambda: "in use" in gateway.messages())
        assert gateway.alive()


def test_a_drain_waits_for_answers_and_not_for_silence():
    """A question under way is answered; then the process ends though `udpIdle` is not over."""
    go = threading.Event()

    def slow(data):
        if data == b"slow":
            go.wait(5)
        return data
    with Responder(answer=slow) as backend, serving(backend) as gateway, Asker(gateway.port) as client:
        client.ask(b"quick")
        client.send(b"slow")
        wait_until(lambda: len(backend.received) == 2)
        gateway.signal(signal.SIGTERM)
        wait_until(lambda: gateway.admin("/readyz").status != 200)
        go.set()
        assert client.read() == b"slow"
        began = time.monotonic()
        assert gateway.wait(20) == 0
        assert time.monotonic() - began < 15
