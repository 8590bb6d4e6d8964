"""Content that is held as a whole, until it is known where it goes, has a budget of its own: a quarter of the memory, at most 512 MiB
(robustness.md §6). Whoever comes when it is spent gets 503; what is not held goes on."""
import contextlib
import select
import threading

import pytest

from Fixtures import documents as docs
from Fixtures.gateway import serving
from Fixtures.net import wait_until
from Fixtures.origin import Origin

SENT = 36 << 20                 # of 60 MiB; memory grows by quarters
HEAD = b"POST %s HTTP/1.1\r\nHost: test.example\r\nContent-Type: application/json\r\nContent-Length: %d\r\nx-request-id: held-%d\r\n\r\n"
BEGIN = b'{"messages":["'


PICKED, ROUTED = b"/v1/chat/completions", b"/v1/completions"


@pytest.mark.parametrize("path", [PICKED, ROUTED], ids=["picked by it", "routed by it"])
def test_what_is_held_is_bounded_and_told(path):
    rules = [docs.rule(["plain"], path="/plain"), docs.rule(["pool"], path=PICKED.decode()) if path == PICKED else
             docs.rule(["plain"], path=ROUTED.decode(), headers={"X-Gateway-Model-Name": "m"})]
    with Origin(name="a") as a, Origin(name="b") as b, serving(
            {"plain": a}, rules=rules, extra=[docs.backend([a, b], "pool", modelServer="vllm")], workers=1) as gateway, contextlib.ExitStack() as stack:
        clients, refused, over = [], None, threading.Event()

        def others():
            """Requests between the pieces: what a refusal says must not be theirs."""
            with gateway.client(timeout=30) as client:
                while not over.is_set():
                    assert client.request("GET", "/plain", [("x-request-id", "another")]).status == 200
        thread = threading.Thread(target=others)
        thread.start()
        stack.callback(thread.join, 10)
        stack.callback(over.set)
        piece = b"x" * (1 << 20)
        for number in range(16):
            client = stack.enter_context(gateway.client(timeout=30))
            with contextlib.suppress(OSError):
                client.send(HEAD % (path, 60 << 20, number) + BEGIN)
                for _ in range(SENT >> 20):
                    client.send(piece)
            if select.select([client.sock], [], [], 1.5)[0]:
                refused = client.read("POST")
                break
            clients.append(client)
        assert refused is not None, "nobody was refused"
        assert refused.status == 503 and refused.get("retry-after") and refused.get("x-gateway-error") == "overloaded"
        assert refused.get("x-request-id") == f"held-{len(clients)}" and refused.get("connection") == "close"
        held = wait_until(lambda: gateway.total("ai_gateway_held_bytes"), 5, every=0.3)
        assert len(clients) * SENT <= held <= 512 << 20, (len(clients), held)
        assert gateway.total("ai_gateway_buffer_bytes") < 64 << 20
        # What is not held goes on, and so does what needs little.
        assert gateway.get("/plain", method="POST", body=b"x" * 2_000_000).status == 200
        for client in clients:
            client.close()
        wait_until(lambda: gateway.get("/plain").status == 200 and gateway.total("ai_gateway_held_bytes") == 0, 10, every=0.3)
        answer = gateway.get(path.decode(), method="POST", headers=[("Content-Type", "application/json")], body=b'{"model":"m","prompt":"x"}')
        assert answer.status == 200
        assert not [r for o in (a, b) for r in o.requests if r.target == path.decode() and len(r.body or b"") > 100]
