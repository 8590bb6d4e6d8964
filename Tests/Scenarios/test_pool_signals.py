"""What the gateway learns of model servers by asking them: /endpoints, metrics, and pools that are followed as they change."""
import json
import os
import subprocess

import pytest

from Fixtures import documents as docs
from Fixtures import metrics
from Fixtures.certificates import Certificate
from Fixtures.gateway import binary, serving
from Fixtures.http1 import Ended, fetch
from Fixtures.net import free_port, wait_until
from Fixtures.origin import Origin
from Fixtures.origin2 import Origin2

SIMULATOR = os.path.join(os.path.dirname(binary()), "model-simulator")
VLLM = (b'# TYPE vllm:num_requests_waiting gauge\nvllm:num_requests_waiting{engine="0",model_name="m"} 3.0\n'
        b'vllm:num_requests_running{engine="0",model_name="m"} 2.0\nvllm:kv_cache_usage_perc{engine="0"} 0.25\n'
        b'vllm:lora_requests_info{max_lora="4",running_lora_adapters="sql",waiting_lora_adapters=""} 1.7e9\n')


def endpoints(gateway, pool="default/origin"):
    """The endpoints of a pool as /endpoints tells them; none before it is known."""
    pools = json.loads(gateway.admin("/endpoints").body)["pools"]
    return next((p["endpoints"] for p in pools if p["name"] == pool), [])


def engine(pages, broken=None):
    """A server of pages by path; others are echoed as 404."""
    def script(peer):
        while (request := peer.read_request()) is not None:
            if broken and broken():
                return peer.reset()
            page = pages.get(request.target)
            peer.respond(404 if page is None else 200, body=page or b"")
    return script


def test_what_a_vllm_tells_of_itself():
    """Its queue, cache and adapters, asked on one connection that is kept; a request is served beside."""
    with Origin(engine({"/metrics": VLLM, "/health": b"", "/x": b"hello"})) as origin, \
            serving(origin, workers=1, backend={"modelServer": "vllm"}) as gateway:
        found = wait_until(lambda: (e := endpoints(gateway)) and "waiting" in e[0] and e[0], 5)
        assert (found["waiting"], found["running"], found["kvUsage"], found["loraRunning"]) == (3, 2, 0.25, ["sql"])
        assert found["state"] == "ready" and found["engine"] == "vllm" and found["ageMilliseconds"] < 3000
        assert gateway.get("/x").body == b"hello"
        wait_until(lambda: [r.target for r in origin.probes].count("/metrics") >= 3, 6)
        asked = [r for r in origin.probes if r.target in ("/metrics", "/health")]
        assert len({r.connection for r in asked}) == 1, "each question has a connection of its own"
        assert {r.get("host") for r in asked} == {f"127.0.0.1:{origin.port}"}


def test_an_engine_that_fails_is_not_ready_and_comes_back():
    """Three failed looks 5 s apart; what it told before is believed for five intervals only."""
    down = []
    with Origin(engine({"/metrics": VLLM, "/health": b""}, lambda: bool(down))) as origin, \
            serving(origin, workers=1, backend={"modelServer": "vllm"}) as gateway:
        wait_until(lambda: (e := endpoints(gateway)) and "waiting" in e[0], 5)
        down.append(1)
        found = wait_until(lambda: (e := endpoints(gateway)[0])["state"] == "notReady" and e, 25)
        assert "waiting" not in found and found["trouble"]
        assert "an endpoint is not well" in gateway.messages(20000)
        down.clear()
        wait_until(lambda: (e := endpoints(gateway)[0])["state"] == "ready" and "waiting" in e, 20)


@pytest.mark.parametrize("page,trouble", [(b"x" * (3 << 20), "large"), (b"\xff{{{\n" * 1000, None)])
def test_a_page_of_nonsense_does_no_harm(page, trouble):
    """Too large a page, and one that is none: nothing is learned, everything goes on."""
    with Origin(engine({"/metrics": page, "/health": b"", "/x": b"hello"})) as origin, \
            serving(origin, workers=1, backend={"modelServer": "vllm"}) as gateway:
        wait_until(lambda: [r.target for r in origin.probes].count("/metrics") >= 2, 8)
        if trouble:
            wait_until(lambda: trouble in (endpoints(gateway)[0].get("trouble") or ""), 5)
        found = endpoints(gateway)[0]
        assert found["state"] == "ready" and "waiting" not in found
        assert gateway.get("/x").body == b"hello" and gateway.alive()


def secured(**tls):
    return {"modelServer": "vllm", "protocol": "HTTPS", "tls": {"hostname": "gpu.lan", "caCertificateRefs": [{"name": "lan-ca"}], **tls}}


def test_over_tls(authority):
    """Asked as requests are sent: with the Backend's name and authority, on one connection that is kept."""
    names, context = [], Certificate(["gpu.lan"], issuer=authority).server_context()
    context.sni_callback = lambda s, name, c: names.append(name)
    with Origin(engine({"/metrics": VLLM, "/health": b"", "/x": b"hello"}), tls=context) as origin, \
            serving(origin, workers=1, backend=secured(), extra=[authority.config_map("lan-ca")]) as gateway:
        found = wait_until(lambda: (e := endpoints(gateway)) and "waiting" in e[0] and e[0], 5)
        assert (found["waiting"], found["running"], found["state"]) == (3, 2, "ready")
        assert gateway.get("/x").body == b"hello"
        wait_until(lambda: [r.target for r in origin.probes].count("/metrics") >= 3, 6)
        assert len({r.connection for r in origin.probes}) == 1 and names == ["gpu.lan", "gpu.lan"] and not origin.errors


@pytest.mark.parametrize("case", ["wrong name", "wrong authority", "plain text"])
def test_who_fails_verification_is_not_well(authority, case):
    """Nothing is asked of it and nothing is learned; three failed looks make it not ready, and the page says why."""
    certificate = {"wrong name": lambda: Certificate(["other.lan"], issuer=authority), "wrong authority": lambda: Certificate(["gpu.lan"]),
                   "plain text": lambda: None}[case]()
    context = certificate.server_context() if certificate else None
    with Origin(engine({"/metrics": VLLM, "/health": b""}), tls=context) as origin, \
            serving(origin, workers=1, backend=secured(), extra=[authority.config_map("lan-ca")]) as gateway:
        found = wait_until(lambda: (e := endpoints(gateway)) and e[0]["state"] == "notReady" and e[0], 25)
        assert "waiting" not in found and ("TLS" in found["trouble"] or case == "plain text") and not origin.probes


@pytest.mark.parametrize("sealed", [False, True])
def test_over_http_2(authority, sealed):
    """In streams of one connection that is kept: by prior knowledge, and where TLS chose it."""
    def script(stream):
        page = {"/metrics": VLLM * 400, "/health": b"", "/x": b"hello"}.get(stream.target)      # two windows of a stream
        stream.read_all()
        stream.respond(404 if page is None else 200, body=page or b"")

    backend = secured() if sealed else {"modelServer": "vllm"}
    context = Certificate(["gpu.lan"], issuer=authority).server_context() if sealed else None
    with Origin2(script, tls=context) as origin, serving(
            origin, workers=1, backend={**backend, "protocol": "HTTP2" if sealed else "H2C"}, extra=[authority.config_map("lan-ca")]) as gateway:
        found = wait_until(lambda: (e := endpoints(gateway)) and "waiting" in e[0] and e[0], 5)
        # The same lines again and again count as often.
        assert found["waiting"] >= 3 and found["state"] == "ready"
        assert gateway.get("/x").body == b"hello"
        # One that took too long takes its connection with it, as it may on a busy machine; those after it share the next.
        asked = lambda: [r.connection.number for r in origin.probes if r.target == "/metrics"]
        wait_until(lambda: len(asked()) >= 4 and len(set(asked()[-4:])) == 1, 8, what="four in a row over one connection")
        assert not origin.errors
        assert {r.scheme for r in origin.probes} == {"https" if sealed else "http"}


def test_a_pool_of_h2c_is_asked_in_http_2():
    """InferencePool.spec.appProtocol says how its servers are spoken to."""
    def script(stream):
        page = {"/metrics": VLLM, "/health": b""}.get(stream.target)
        stream.read_all()
        stream.respond(404 if page is None else 200, body=page or b"")

    with Origin2(script) as origin:
        with serving(None, rules=[docs.rule([docs.pool_ref()])], extra=docs.pool([origin], app_protocol="kubernetes.io/h2c"), workers=1) as gateway:
            wait_until(lambda: (e := endpoints(gateway, "default/pool")) and e[0].get("waiting") == 3, 6)
            assert not origin.errors


def test_llama_cpp_without_metrics_is_ready():
    """501 for /metrics and a list of models without states: a lone server that is well."""
    def script(peer):
        while (request := peer.read_request()) is not None:
            if request.target == "/metrics":
                peer.respond(501, body=b"{}")
            else:
                peer.respond(200, body=b'{"data":[{"id":"tiny"}]}' if "models" in request.target else b'{"status":"ok"}')
    with Origin(script) as origin, serving(origin, workers=1, backend={"modelServer": "llama.cpp"}) as gateway:
        found = wait_until(lambda: (e := endpoints(gateway)) and e[0].get("disk") and e[0], 6)
        assert found["disk"] == ["tiny"] and found["state"] == "ready"
        assert sum(r.target == "/metrics" for r in origin.probes) == 1


@pytest.mark.skipif(not os.path.exists(SIMULATOR), reason=f"no model-simulator beside {binary()}")
def test_models_in_an_ollamas_memory():
    """A model that was asked for is resident, with its memory and its end; unloaded, it goes, from the page and the metrics."""
    port = free_port()
    process = subprocess.Popen([SIMULATOR, "--listen", f"127.0.0.1:{port}"], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def load(keep_alive):
        body = json.dumps({"model": "llama3", "keep_alive": keep_alive}).encode()
        return fetch("127.0.0.1", port, "/api/generate", "POST", [("Content-Type", "application/json")], body, timeout=60, host="localhost")

    def up():
        try:
            return fetch("127.0.0.1", port, "/api/version", timeout=2, host="127.0.0.1").status == 200
        except (OSError, Ended):
            return False
    try:
        wait_until(up, 10)
        with serving(None, rules=[docs.rule(["ollama"])], workers=1,
                     extra=[docs.backend([("127.0.0.1", port)], "ollama", modelServer="ollama")]) as gateway:
            found = wait_until(lambda: (e := endpoints(gateway, "default/ollama")) and "resident" in e[0] and "disk" in e[0] and e[0], 8)
            assert found["resident"] == [] and any(n.startswith("llama3") for n in found["disk"]) and found["version"]
            assert "ai_gateway_model_resident" not in gateway.metrics()
            assert load("5m").status == 200
            found = wait_until(lambda: (e := endpoints(gateway, "default/ollama"))[0]["resident"] and e[0], 6)
            model = found["resident"][0]
            assert model["name"].startswith("llama3") and model["vramBytes"] > 0 and model["until"].endswith("Z")
            place = {"endpoint": f"127.0.0.1:{port}", "model": model["name"]}
            page = gateway.metrics()
            assert metrics.total(page, "ai_gateway_model_resident", **place) == 1
            assert metrics.total(page, "ai_gateway_model_vram_bytes", **place) == model["vramBytes"]
            assert 200 < metrics.total(page, "ai_gateway_model_expires_seconds", **place) <= 300
            assert not metrics.lint(gateway.metrics_text())
            load(0)
            wait_until(lambda: endpoints(gateway, "default/ollama")[0]["resident"] == [], 8)
            wait_until(lambda: "ai_gateway_model_resident" not in gateway.metrics(), 2)
    finally:
        process.terminate()
        process.wait(10)


def pod(name, ip, **labels):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "status": {"phase": "Running", "podIP": ip}}


def test_a_pools_pods_are_followed():
    """Pods that come and go, and their engine by label: the pool's endpoints change with them, live."""
    pool = {"apiVersion": "inference.networking.k8s.io/v1", "kind": "InferencePool", "metadata": {"name": "pool"}}
    ref = {"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": "pool", "port": 1}
    with Origin(engine({"/metrics": VLLM, "/health": b"", "/x": b"hello"})) as origin:
        spec = {"selector": {"matchLabels": {"app": "m"}}, "targetPorts": [{"number": origin.port}]}
        with serving(None, rules=[{"backendRefs": [ref]}], workers=1, extra=[{**pool, "spec": spec}]) as gateway:
            assert gateway.get("/x").status == 503
            gateway.write("pods.yaml", [pod("a", "127.0.0.1", app="m"), pod("b", "127.0.0.2", app="other")])
            wait_until(lambda: gateway.get("/x").status == 200, 5)
            wait_until(lambda: [e["address"] for e in endpoints(gateway, "default/pool")] == [f"127.0.0.1:{origin.port}"], 5)
            assert endpoints(gateway, "default/pool")[0]["engine"] == "vllm"
            gateway.write("pods.yaml", [pod("a", "127.0.0.1", app="m", **{"llm-d.ai/engine-type": "sglang"}), pod("b", "127.0.0.2", app="m")])
            wait_until(lambda: len(endpoints(gateway, "default/pool")) == 2, 5)
            assert [e["engine"] for e in endpoints(gateway, "default/pool")] == ["sglang", "vllm"]
            status = gateway.object("InferencePool", "pool")["status"]["parents"]
            assert [c["status"] for c in status[0]["conditions"] if c["type"] == "Accepted"] == ["True"]
            gateway.write("pods.yaml", [])
            wait_until(lambda: gateway.get("/x").status == 503, 5)
            wait_until(lambda: endpoints(gateway, "default/pool") == [], 5)
