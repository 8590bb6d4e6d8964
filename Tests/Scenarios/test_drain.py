"""SIGTERM: readiness turns false, running streams finish, the exit code is 0; a second signal ends at once."""
import signal
import threading
import time

import pytest

from Fixtures.gateway import sealed, serving
from Fixtures.http1 import Client, Ended, request_bytes, tls_client
from Fixtures.net import wait_until
from Fixtures.origin import Origin


class Held:
    """Streams that go on until the test lets them end."""

    def __init__(self):
        self.go = threading.Event()

    def __call__(self, peer):
        while (request := peer.read_request()) is not None:
            if request.target == "/quick":
                peer.respond(200, body=b"quick")
                continue
            peer.head(200, [("Transfer-Encoding", "chunked")])
            n = 0
            while not self.go.is_set():
                peer.chunk(b"data: %d\n\n" % n)
                n += 1
                self.go.wait(0.05)
            peer.chunk(b"data: [DONE]\n\n")
            peer.end_chunks()


def ready(gateway):
    try:
        return gateway.admin("/readyz", timeout=2).status
    except (OSError, Ended):
        return None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_drain_lets_streams_finish(number, figure):
    """20 running streams end cleanly, idle connections close, new ones are refused, exit code 0."""
    held = Held()
    with Origin(held) as origin, serving(origin) as gateway:
        streams = [gateway.client(timeout=20) for _ in range(20)]
        heads = []
        for client in streams:
            client.send(request_bytes("GET", "/stream"))
        for client in streams:
            heads.append(client.read_response())
        idle = gateway.client()
        assert idle.request("GET", "/quick").status == 200
        began = time.monotonic()
        gateway.signal(number)
        wait_until(lambda: ready(gateway) == 503, 5, what="readyz 503")
        assert idle.how_it_ends(5) == "eof", "an idle connection is closed cleanly"
        idle.close()
        wait_until(lambda: refused(gateway), 5, what="new connections refused")
        assert gateway.admin("/livez").status == 200
        assert gateway.alive()
        held.go.set()
        for client, head in zip(streams, heads):
            body = b"".join(client.pieces(head))
            assert head.complete and body.endswith(b"data: [DONE]\n\n")
            client.close()
        assert gateway.wait(10) == 0
        figure(f"drain after {number.name}", f"{time.monotonic() - began:.2f} s, 20 streams finished")


def refused(gateway):
    try:
        gateway.client(timeout=1).close()
        return False
    except OSError:
        return True


def test_the_last_answer_of_a_draining_connection_says_close():
    """A request that was running when the drain began is answered with Connection: close."""
    go = threading.Event()

    def script(peer):
        peer.read_request()
        go.wait(10)
        peer.respond(200, body=b"late")
    with Origin(script) as origin, serving(origin) as gateway, gateway.client() as client:
        client.send(request_bytes("GET", "/"))
        wait_until(lambda: origin.requests, 5)
        gateway.signal()
        wait_until(lambda: ready(gateway) == 503, 5)
        time.sleep(0.2)     # readiness goes first, the workers are told after it
        go.set()
        response = client.read()
        assert response.body == b"late" and "close" in (response.get("connection") or "").lower()
        assert gateway.wait(10) == 0


def test_an_idle_gateway_ends_at_once(figure):
    """Nothing to wait for."""
    with Origin() as origin, serving(origin) as gateway:
        began = time.monotonic()
        gateway.signal()
        assert gateway.wait(5) == 0
        figure("end of an idle gateway", f"{(time.monotonic() - began) * 1000:.0f} ms")


def test_a_second_signal_ends_now():
    """Even with streams running."""
    held = Held()
    with Origin(held) as origin, serving(origin) as gateway, gateway.client() as client:
        client.send(request_bytes("GET", "/stream"))
        head = client.read_response()
        gateway.signal()
        wait_until(lambda: ready(gateway) == 503, 5)
        gateway.signal()
        gateway.wait(5)
        gateway.expected_end = True
        for _ in client.pieces(head):
            pass
        assert not head.complete, "the stream was cut, and it shows"
        held.go.set()


def test_a_second_signal_ends_now_amid_handshakes(certificate):
    """Whatever the threads are doing in libssl, which must not be put away under them."""
    with Origin() as origin:
        for _ in range(5):
            with serving(origin, flags=["--drain-delay", "10s"], **sealed(certificate)) as gateway:
                shaking = threading.Event()
                threads = [threading.Thread(target=shake, args=(gateway.port, shaking)) for _ in range(4)]
                for thread in threads:
                    thread.start()
                try:
                    gateway.signal()
                    wait_until(lambda: ready(gateway) == 503, 5)
                    gateway.signal()
                    assert gateway.wait(5) == 0
                finally:
                    shaking.set()
                    for thread in threads:
                        thread.join()


def shake(port, enough):
    """TLS handshakes, one after the other, until it is enough."""
    context = tls_client()
    while not enough.is_set():
        try:
            Client("127.0.0.1", port, tls=context, sni="test.example", timeout=2).close()
        except (OSError, Ended):
            time.sleep(0.01)


def test_the_drain_time_is_bounded():
    """--drain-timeout: streams that run longer are cut, visibly; the process ends."""
    held = Held()
    with Origin(held) as origin, serving(origin, flags=["--drain-timeout", "1s"]) as gateway, gateway.client() as client:
        client.send(request_bytes("GET", "/stream"))
        head = client.read_response()
        began = time.monotonic()
        gateway.signal()
        for _ in client.pieces(head):
            pass
        assert not head.complete
        gateway.wait(10)
        gateway.expected_end = True
        assert 0.5 < time.monotonic() - began < 8
        held.go.set()


def test_the_drain_delay_goes_on_accepting():
    """--drain-delay: readiness is false at once, but connections are still served for that long."""
    with Origin() as origin, serving(origin, flags=["--drain-delay", "1s"]) as gateway:
        gateway.signal()
        wait_until(lambda: ready(gateway) == 503, 5)
        assert gateway.get("/").status == 200
        assert gateway.wait(10) == 0


def test_a_drain_under_load_fails_no_request():
    """Requests in flight at SIGTERM are all answered; only connects are refused."""
    failures, counts, stop = [], [0], threading.Event()
    with Origin() as origin, serving(origin, flags=["--drain-delay", "500ms"]) as gateway:
        def steady():
            client = None
            while not stop.is_set():
                try:
                    client = client or gateway.client()
                except OSError:
                    return                                   # refused: the gateway is going
                try:
                    response = client.request("GET", "/")
                    assert response.status == 200 and response.complete
                    counts[0] += 1
                    if "close" in (response.get("connection") or ""):
                        client.close()
                        client = None
                except Ended as ended:
                    if ended.how == "eof" and not ended.data:   # closed while idle, before the request was read
                        client = None
                        continue
                    failures.append(ended)
                except ConnectionError:
                    client = None
                except Exception as error:
                    failures.append(error)
                    return
        threads = [threading.Thread(target=steady) for _ in range(8)]
        [t.start() for t in threads]
        time.sleep(0.5)
        gateway.signal()
        assert gateway.wait(15) == 0
        stop.set()
        [t.join(5) for t in threads]
    assert not failures, failures[:3]
    assert counts[0] > 50
