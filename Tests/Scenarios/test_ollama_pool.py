"""Several Ollama nodes behind one Backend: requests go where their model is, or where it may be loaded without harm."""
import contextlib
import json
import os
import subprocess
import threading

import pytest

from Fixtures import documents as docs
from Fixtures.gateway import binary, serving
from Fixtures.http1 import Client, Ended, fetch
from Fixtures.net import free_port, wait_until

SIMULATOR = os.path.join(os.path.dirname(binary()), "model-simulator")


@contextlib.contextmanager
def nodes(count, *arguments):
    """Ports of simulated Ollama nodes."""
    if not os.path.exists(SIMULATOR):
        pytest.skip("no model-simulator beside the gateway")
    ports = [free_port() for _ in range(count)]
    listen = [a for p in ports for a in ("--listen", f"127.0.0.1:{p}")]
    process = subprocess.Popen([SIMULATOR, "--any-host", *listen, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for port in ports:
            wait_until(lambda: _answers(port), 10, what="a node")
        yield ports
    finally:
        process.terminate()
        process.wait(10)


def _answers(port):
    try:
        return fetch("127.0.0.1", port, "/api/version").status == 200
    except (OSError, Ended):
        return False


def resident(port):
    """Models that a node holds."""
    return [m["name"] for m in json.loads(fetch("127.0.0.1", port, "/api/ps").body)["models"]]


@contextlib.contextmanager
def pool(ports, workers=2, limits=None, **spec):
    """A gateway before the nodes that has asked each of them once."""
    with serving(None, rules=[docs.rule(["ollama"])], workers=workers, limits=limits,
                 extra=[docs.backend([("127.0.0.1", p) for p in ports], "ollama", modelServer="ollama", **spec)]) as gateway:
        def known():
            pools = json.loads(gateway.admin("/endpoints").body)["pools"]
            return pools and all(e["state"] == "ready" for e in pools[0]["endpoints"])
        wait_until(known, 10, what="the nodes' state")
        yield gateway


def decisions(gateway):
    """The picks that /decisions tells of, the newest first."""
    return json.loads(gateway.admin("/decisions").body)["pools"][0]["decisions"]


def chat(gateway, model, prompt="Why?", **more):
    content = json.dumps({"model": model, "messages": [{"role": "user", "content": prompt}], "stream": False, **more}).encode()
    with Client("127.0.0.1", gateway.port, timeout=60) as client:
        return client.request("POST", "/api/chat", [("Content-Type", "application/json")], content)


def at_once(*calls):
    """The answers of calls made at the same time."""
    answers = [None] * len(calls)

    def run(n):
        answers[n] = calls[n]()
    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(calls))]
    [t.start() for t in threads]
    [t.join(90) for t in threads]
    return answers


@pytest.mark.parametrize("workers", [1, 4])
def test_a_burst_for_a_cold_model_loads_one_node(workers):
    """50 requests at once over 4 nodes with room: one of them loads it, and answers all sooner than another could load it."""
    with nodes(4, "--load-time", "4s", "--decode-rate", "4000") as ports, pool(ports, workers) as gateway:
        answers = at_once(*[lambda n=n: chat(gateway, "llama3", f"Question {n}") for n in range(50)])
        assert [a.status for a in answers] == [200] * 50, [a.body for a in answers if a.status != 200][:3]
        assert sum(bool(resident(p)) for p in ports) == 1, "\n".join(map(json.dumps, decisions(gateway)))
        wait_until(lambda: decisions(gateway)[0].get("model") == "llama3:latest", 5, what="the model's name")
        rows = decisions(gateway)
        assert len(rows) == 50 and sum(r["reason"] == "cold" for r in rows) == 1, rows
        assert len({r["endpoint"] for r in rows}) == 1 and any(r["waitedMilliseconds"] > 0 for r in rows)


def test_models_that_do_not_fit_together_are_kept_apart():
    """Two nodes with room for one model each: either model gets a node of its own, and stays there."""
    with nodes(2, "--load-time", "300ms", "--decode-rate", "2000", "--models", "big=8GB,huge=9GB", "--vram", "10GB") as ports, \
            pool(ports) as gateway:
        at_once(*[lambda m=m: chat(gateway, m) for m in ("big", "huge")])
        homes = [resident(p) for p in ports]
        assert sorted(homes) in ([["big:latest"], ["huge:latest"]],), homes
        for _ in range(10):
            assert {a.status for a in at_once(lambda: chat(gateway, "big"), lambda: chat(gateway, "huge"))} == {200}
            assert [resident(p) for p in ports] == homes


def test_a_model_that_no_node_has():
    """404 in Ollama's words."""
    with nodes(2, "--fast") as ports, pool(ports) as gateway:
        answer = chat(gateway, "nobody-has-this")
        assert answer.status == 404 and "error" in json.loads(answer.body)


def test_a_node_that_dies_costs_no_request_that_had_not_begun():
    """One of two nodes goes, while requests run: all are answered by the other."""
    with contextlib.ExitStack() as first, nodes(1, "--load-time", "10ms", "--answer-tokens", "5") as other:
        one = first.enter_context(nodes(1, "--load-time", "10ms", "--answer-tokens", "5"))
        with pool(one + other, limits={"retryBudgetMin": 8}) as gateway:     # 4 may fail at once; 3 always may be tried again
            assert chat(gateway, "llama3").status == 200
            calls = [lambda n=n: [chat(gateway, "llama3", f"{n} {k}").status for k in range(10)] for n in range(4)]
            timer = threading.Timer(0.4, first.close)
            timer.start()
            assert at_once(*calls) == [[200] * 10] * 4
            timer.join()
