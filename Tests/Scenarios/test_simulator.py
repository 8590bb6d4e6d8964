"""model-simulator: the Ollama and OpenAI APIs, streaming and not, with waiting that is real."""
import json
import os
import subprocess
import time

import pytest

from Fixtures.gateway import binary
from Fixtures.http1 import Client, Ended, fetch, request_bytes
from Fixtures.net import free_port, wait_until

PATH = os.path.join(os.path.dirname(binary()), "model-simulator")
pytestmark = pytest.mark.skipif(not os.path.exists(PATH), reason=f"no model-simulator beside {binary()}")


@pytest.fixture(scope="module")
def simulator():
    port = free_port()
    process = subprocess.Popen([PATH, "--listen", f"127.0.0.1:{port}"], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def up():
        try:
            return fetch("127.0.0.1", port, "/api/version", timeout=2, host="127.0.0.1").status == 200
        except (OSError, Ended):
            return False
    try:
        wait_until(up, 10)
        yield port
    finally:
        process.terminate()
        assert process.wait(10) == 0


def ask(port, path, body=None, method=None):
    data = json.dumps(body).encode() if body is not None else b""
    return fetch("127.0.0.1", port, path, method or ("POST" if body is not None else "GET"), [("Content-Type", "application/json")], data, timeout=30, host="localhost")


def test_its_models_are_listed(simulator):
    """/api/tags, /v1/models and /api/show know llama3, mistral and nomic-embed-text."""
    names = {m["name"].split(":")[0] for m in json.loads(ask(simulator, "/api/tags").body)["models"]}
    assert {"llama3", "mistral", "nomic-embed-text"} <= names
    assert {"llama3", "mistral"} <= {m["id"].split(":")[0] for m in json.loads(ask(simulator, "/v1/models").body)["data"]}
    assert "details" in json.loads(ask(simulator, "/api/show", {"model": "llama3"}).body)


@pytest.mark.parametrize("path,body", [("/api/generate", {"prompt": "hello"}), ("/api/chat", {"messages": [{"role": "user", "content": "hello"}]})])
def test_ollama_streams_lines(simulator, path, body):
    """NDJSON by default, one token a line, the last with done and counts; the lines come over time."""
    with Client("127.0.0.1", simulator, timeout=30) as client:
        client.send(request_bytes("POST", path, [("Content-Type", "application/json")], json.dumps({"model": "llama3", **body}).encode(), host="localhost"))
        head, times, data = client.read_response(), [], b""
        assert head.status == 200 and "ndjson" in head.get("content-type")
        for piece in client.pieces(head):
            times.append(time.monotonic())
            data += piece
    lines = [json.loads(l) for l in data.splitlines()]
    assert len(lines) > 3 and lines[-1]["done"] is True and lines[-1]["eval_count"] > 0 and not any(l["done"] for l in lines[:-1])
    assert times[-1] - times[0] > 0.005, "the decode time is really waited"


def test_ollama_without_streaming(simulator):
    """stream false: one object, and the text says that it is simulated."""
    answer = json.loads(ask(simulator, "/api/generate", {"model": "llama3", "prompt": "hello", "stream": False}).body)
    assert answer["done"] is True and "simulat" in answer["response"].lower()


def test_openai_chat(simulator):
    """Not streamed: choices and usage. Streamed: data lines, [DONE] last."""
    body = {"model": "llama3", "messages": [{"role": "user", "content": "hello"}]}
    answer = json.loads(ask(simulator, "/v1/chat/completions", body).body)
    assert answer["choices"][0]["message"]["content"] and answer["usage"]["completion_tokens"] > 0
    stream = ask(simulator, "/v1/chat/completions", {**body, "stream": True})
    assert "text/event-stream" in stream.get("content-type")
    events = [e[6:] for e in stream.body.decode().split("\n\n") if e]
    assert events[-1] == "[DONE]" and all(json.loads(e)["object"] == "chat.completion.chunk" for e in events[:-1])


def test_openai_completions_and_embeddings(simulator):
    """/v1/completions and /v1/embeddings."""
    assert json.loads(ask(simulator, "/v1/completions", {"model": "llama3", "prompt": "hello"}).body)["choices"][0]["text"]
    rows = json.loads(ask(simulator, "/v1/embeddings", {"model": "nomic-embed-text", "input": ["a", "b"]}).body)["data"]
    assert len(rows) == 2 and len(rows[0]["embedding"]) > 8


def test_models_load_and_unload(simulator):
    """/api/ps shows a model after its first request, and not after keep_alive 0."""
    ask(simulator, "/api/generate", {"model": "mistral", "prompt": "x", "stream": False})
    assert "mistral" in ask(simulator, "/api/ps").body.decode()
    ask(simulator, "/api/generate", {"model": "mistral", "prompt": "", "keep_alive": 0})
    wait_until(lambda: "mistral" not in ask(simulator, "/api/ps").body.decode(), 5)


def test_an_unknown_model_is_404(simulator):
    """In the dialect of the path."""
    answer = ask(simulator, "/api/generate", {"model": "no-such-model", "prompt": "x"})
    assert answer.status == 404 and isinstance(json.loads(answer.body)["error"], str)
    answer = ask(simulator, "/v1/chat/completions", {"model": "no-such-model", "messages": []})
    assert answer.status == 404 and "message" in json.loads(answer.body)["error"]


def test_a_foreign_host_is_403(simulator):
    """As Ollama on loopback: a gateway has to send a local Host."""
    assert fetch("127.0.0.1", simulator, "/api/version", host="ai.homelab.example").status == 403
    assert fetch("127.0.0.1", simulator, "/api/version", host="127.0.0.1:11434").status == 200
