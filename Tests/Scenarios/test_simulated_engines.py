"""What the gateway's scraper makes of each engine that model-simulator plays: queue, batch, cache, adapters, models of a router."""
import contextlib
import json
import os
import subprocess
import threading

import pytest

from Fixtures import documents as docs
from Fixtures import metrics
from Fixtures.gateway import binary, serving
from Fixtures.http1 import Ended, fetch
from Fixtures.net import free_port, wait_until

SIMULATOR = os.path.join(os.path.dirname(binary()), "model-simulator")
pytestmark = pytest.mark.skipif(not os.path.exists(SIMULATOR), reason=f"no model-simulator beside {binary()}")
JSON = [("Content-Type", "application/json")]


def page(port, path):
    return fetch("127.0.0.1", port, path, timeout=5)


def up(port):
    try:
        return page(port, "/health").status == 200
    except (OSError, Ended):
        return False


@contextlib.contextmanager
def engine(kind, *arguments):
    """The port of one simulated node."""
    port = free_port()
    process = subprocess.Popen([SIMULATOR, "--engine", kind, "--listen", f"127.0.0.1:{port}", *arguments],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: up(port), 10, what=kind)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def gateway(kind, port):
    return serving(None, rules=[docs.rule(["node"])], workers=1, extra=[docs.backend([("127.0.0.1", port)], "node", modelServer=kind)])


def seen(gateway):
    """What the gateway knows of the node; empty before it has asked."""
    pools = json.loads(gateway.admin("/endpoints").body)["pools"]
    return next((p["endpoints"][0] for p in pools if p["name"] == "default/node" and p["endpoints"]), {})


def faults(port):
    """What is wrong with a node's page, but for its names: engines have a colon and units of their own."""
    found = metrics.lint(page(port, "/metrics").body.decode())
    return [p for p in found if not p.endswith(": name") and not p.startswith("llamacpp:n_tokens_max")]


def complete(port, model, prompt, tokens=400):
    body = {"model": model, "prompt": prompt, "max_tokens": tokens, "min_tokens": tokens}
    return fetch("127.0.0.1", port, "/v1/completions", "POST", JSON, json.dumps(body).encode(), timeout=60)


@contextlib.contextmanager
def asked(port, *requests):
    """Requests that go on while the block runs."""
    threads = [threading.Thread(target=complete, args=(port, *r), daemon=True) for r in requests]
    [t.start() for t in threads]
    yield
    [t.join(60) for t in threads]


# 12 of the cache's 64 blocks are the first prompt's; the second waits for the one place.
BUSY = ("--max-num-seqs", "1", "--kv-blocks", "64", "--block-size", "16", "--context", "1024", "--decode-rate", "100", "--prefill-rate", "1e6")


@pytest.mark.parametrize("kind,arguments,first", [("vllm", (*BUSY, "--lora", "sql"), "sql"), ("sglang", BUSY, "llama3")])
def test_a_batch_engine(kind, arguments, first):
    """One request runs and one waits: the gateway tells so, the cache's part, the adapter; and afterwards none of it."""
    with engine(kind, *arguments) as port, gateway(kind, port) as g:
        found = wait_until(lambda: (e := seen(g)).get("waiting") == 0 and e, 8)
        assert (found["running"], found["kvUsage"]) == (0, 0) and found["state"] == "ready"
        with asked(port, (first, "a" * 768), ("llama3", "b" * 768)):
            found = wait_until(lambda: (e := seen(g)).get("waiting") == 1 and e["running"] == 1 and e, 5)
            assert 12 / 64 <= found["kvUsage"] <= 40 / 64
            if kind == "vllm":
                assert found["loraRunning"] in (["sql"], [])
        wait_until(lambda: (e := seen(g))["running"] == 0 and e["waiting"] == 0 and e["kvUsage"] == 0, 8)
        counts = json.loads(page(port, "/simulator/statistics").body)
        assert (counts["requests"], counts["peakWaiting"], counts["promptTokens"]) == (2, 1, 384)
        assert not faults(port)


def test_llama_cpp():
    """Requests in slots and deferred ones."""
    with engine("llama.cpp", "--max-num-seqs", "1", "--decode-rate", "100") as port, gateway("llama.cpp", port) as g:
        wait_until(lambda: seen(g).get("waiting") == 0, 8)
        with asked(port, ("llama3", "a" * 64, 300), ("llama3", "b" * 64, 300)):
            wait_until(lambda: (e := seen(g)).get("waiting") == 1 and e["running"] == 1, 5)
        wait_until(lambda: (e := seen(g))["running"] == 0 and e["waiting"] == 0, 8)
        assert not faults(port)


def test_a_llama_cpp_router():
    """A model is unloaded, then loading, then loaded, as the router tells."""
    with engine("llama.cpp", "--router", "--load-time", "4s") as port, gateway("llama.cpp", port) as g:
        def state(name):
            return next((m.get("state") for m in seen(g).get("resident", []) if m["name"] == name), None)
        wait_until(lambda: seen(g).get("state") == "ready" and "resident" in seen(g), 8)
        assert state("mistral") != "loaded"
        with asked(port, ("mistral", "a", 5)):
            wait_until(lambda: state("mistral") == "loading", 5)
            wait_until(lambda: state("mistral") == "loaded", 10)
        assert state("llama3") != "loaded"
