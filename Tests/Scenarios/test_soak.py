"""Half an hour of mixed load and faults: nothing fails that should not, and memory and descriptors stay flat.

SOAK_SECONDS (1800) is how long; the first sixth is the warm-up.
"""
import os
import random
import threading
import time

import pytest

from Fixtures import documents as docs
from Fixtures.gateway import serving
from Fixtures.http1 import Ended, Malformed, request_bytes
from Fixtures.net import free_port
from Fixtures.origin import Origin, echo

pytestmark = [pytest.mark.soak]
SECONDS = int(os.environ.get("SOAK_SECONDS", "1800"))


def streaming(peer):
    while (request := peer.read_request()) is not None:
        peer.head(200, [("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked")])
        for n in range(random.randrange(1, 30)):
            peer.chunk(b"data: %d\n\n" % n)
            time.sleep(random.random() * 0.02)
        peer.chunk(b"data: [DONE]\n\n")
        peer.end_chunks()


def faulty(peer):
    while (request := peer.read_request()) is not None:
        what = random.randrange(8)
        if what == 0:
            return peer.reset()
        if what == 1:
            peer.send(b"nonsense\r\n\r\n")
            return
        if what == 2:
            peer.head(200, [("Content-Length", "100000")])
            peer.send(b"x" * 1000)
            return peer.reset()
        if what == 3:
            peer.head(200, [("Transfer-Encoding", "chunked")])
            peer.chunk(b"half")
            return
        peer.respond(200, body=b"fine", method=request.method)


@pytest.mark.seconds(SECONDS + 300)
def test_half_an_hour_of_everything(figure):
    """Requests, streams, hang-ups, broken requests, faulty backends and reloads, all at once."""
    stop, counts, wrong = threading.Event(), {}, []
    with Origin(echo, name="origin") as origin, Origin(streaming) as streams, Origin(faulty) as faults, serving(
            {"origin": origin, "streams": streams, "faults": faults},
            rules=[docs.rule(["origin"]), docs.rule(["streams"], path="/stream"), docs.rule(["faults"], path="/fault"),
                   docs.rule(["dead"], path="/dead")],
            extra=[docs.backend([("127.0.0.1", free_port())], "dead")], access_log=False) as gateway:

        def forget():
            while not stop.wait(1):                       # the fixtures' own memory is not what is measured
                for o in (origin, streams, faults):
                    with o.lock:
                        del o.requests[:-100]
                        o.peers[:] = [p for p in o.peers if not p.closed]

        def keep(name, one):
            def run():
                while not stop.is_set():
                    try:
                        one()
                        counts[name] = counts.get(name, 0) + 1
                    except (Ended, Malformed, OSError, AssertionError) as error:
                        wrong.append((name, repr(error)[:300]))
            return threading.Thread(target=run, daemon=True)

        def plain():
            with gateway.client() as client:
                for n in range(50):
                    assert client.request("POST", f"/{n}", body=os.urandom(random.randrange(5000))).status == 200

        def stream():
            response = gateway.get("/stream")
            assert response.complete and response.body.endswith(b"[DONE]\n\n")

        def hang_up():
            client = gateway.client()
            client.send(request_bytes("GET", "/stream"))
            next(client.pieces(client.read_response()))
            random.choice([client.close, client.reset])()

        def broken():
            with gateway.client() as client:
                client.send(random.choice([b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", b"\x16\x03\x01\x00", os.urandom(200) + b"\r\n\r\n",
                                           request_bytes("POST", "/", [("Content-Length", "50")]) + b"half"]))
                time.sleep(random.random() * 0.1)

        def fault():
            try:
                assert gateway.get("/fault").status in (200, 502)
            except Ended:
                pass
            assert gateway.get("/dead").status == 503

        def reload():
            rules = [docs.rule(["origin"], path=f"/n{random.random()}")] * random.randrange(5)
            gateway.write("more.yaml", [docs.route([docs.rule(["origin"], path=f"/n{i}") for i, _ in enumerate(rules)] or [
                docs.rule(["origin"], path="/none")], name="more")])
            time.sleep(1)

        threads = [keep(n, f) for n, f in (("requests", plain), ("requests", plain), ("streams", stream), ("streams", stream),
                                           ("hang-ups", hang_up), ("broken", broken), ("faults", fault), ("reloads", reload))]
        threads.append(threading.Thread(target=forget, daemon=True))
        [t.start() for t in threads]
        samples, began = [], time.monotonic()
        while time.monotonic() - began < SECONDS:
            time.sleep(SECONDS / 120)
            assert gateway.alive(), gateway.messages()
            samples.append((gateway.rss(), gateway.descriptors()))
        stop.set()
        [t.join(20) for t in threads]
        warm = [s[0] for s in samples[20:40]]
        late = [s[0] for s in samples[-20:]]
        change = sum(late) / sum(warm) - 1
        figure("soak", f"{SECONDS} s, {counts}, resident {min(warm) / 1e6:.1f} MB after the warm-up, {change:+.1%} at the end, "
                       f"at most {max(s[1] for s in samples)} descriptors")
        assert not wrong, wrong[:5]
        assert change < 0.05
