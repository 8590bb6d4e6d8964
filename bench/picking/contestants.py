"""The fleets and the routers in front of them: how each is configured and started."""
import http.client
import json
import os
import shutil
import subprocess
import sys
import threading
import time

import machine
import parts

HERE = os.path.dirname(os.path.abspath(__file__))
PYTHON = os.path.join(machine.CACHE, "venv", "bin", "python")
PACKAGES = {"vllm-router": "0.1.17", "sglang-router": "0.3.2"}
OWN = "ai-gateway"
BALANCES = {"round robin": "roundrobin", "random": "random(1)", "least request": "leastconn"}
ROUTERS = (OWN, *BALANCES, *PACKAGES)


class Refusal(Exception):
    """Why a router cannot take part."""


def simulator():
    """The simulator that belongs to the gateway's binary."""
    path = os.environ.get("MODEL_SIMULATOR") or os.path.join(os.path.dirname(os.environ["AI_GATEWAY"]), "model-simulator")
    if not os.access(path, os.X_OK):
        raise machine.stop(f"{path} is no program: build it (`swift build -c release`), or name it in MODEL_SIMULATOR")
    return path


def install():
    """Puts the routers of PyPI into a folder of the bench's own; what cannot be had is told with its reason later."""
    stamp = os.path.join(machine.CACHE, "installed.txt")
    wanted = "".join(f"{name}=={version}\n" for name, version in PACKAGES.items())
    if machine.read(stamp) == wanted:
        return
    print(f"installing {', '.join(wanted.split())} into {os.path.dirname(os.path.dirname(PYTHON))} ...", file=sys.stderr, flush=True)
    os.makedirs(machine.CACHE, exist_ok=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", os.path.join(machine.CACHE, "venv")], check=True)
    whole = True
    for line in wanted.split():
        done = subprocess.run([PYTHON, "-m", "pip", "install", "-q", "--disable-pip-version-check", line], stdin=subprocess.DEVNULL)
        whole = whole and done.returncode == 0
    if whole:
        with open(stamp, "w") as file:
            file.write(wanted)


def versions():
    return {"routers": "; ".join(f"{name} {version}" for name, version in PACKAGES.items())}


def ask(port, method, path, content=None, seconds=10):
    """(status, content) of one request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request(method, path, content, {"Content-Type": "application/json"} if content else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def question(model):
    """The smallest request for a model."""
    return json.dumps({"model": model, "messages": [{"role": "user", "content": "ready?"}], "max_tokens": 1}).encode()


# ---- fleets -------------------------------------------------------------------

class Fleet:
    """The nodes of a workload: one process, a port for each."""

    def __init__(self, bench, workload):
        self.ports = [parts.free_port() for _ in range(workload.nodes)]
        command = [simulator(), "--engine", workload.engine, "--any-host", *workload.fleet]
        for port in self.ports:
            command += ["--listen", f"127.0.0.1:{port}"]
        self.part = bench.start("simulator", command, self.ports[-1], None)

    def statistics(self):
        return [json.loads(ask(port, "GET", "/simulator/statistics")[1]) for port in self.ports]

    def warm(self, models):
        """Has every node load these models."""
        threads = [threading.Thread(target=ask, args=(port, "POST", "/v1/chat/completions", question(model), 60))
                   for port in self.ports for model in models]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def reset(self):
        for port in self.ports:
            ask(port, "POST", "/simulator/reset")


# ---- routers ------------------------------------------------------------------

def filled(bench, source, values):
    """A configuration of this folder with its marks replaced."""
    content = machine.read(os.path.join(HERE, source))
    for name, value in values.items():
        content = content.replace(f"@{name}@", str(value))
    path = os.path.join(bench.folder, source)
    with open(path, "w") as file:
        file.write(content)
    return path


def command(bench, name, workload, fleet, port, other_port):
    """The command line of a router."""
    if name == OWN:
        room = f", vram: {workload.vram}" if workload.vram else ""
        path = filled(bench, "ai-gateway.yaml", {
            "PORT": port, "ENGINE": workload.engine,
            "ENDPOINTS": "\n".join(f"  - {{address: 127.0.0.1, port: {node}{room}}}" for node in fleet.ports)})
        return [os.environ["AI_GATEWAY"], "run", path, "--address", "127.0.0.1", "--workers", "1", "--access-log", "off",
                "--log-level", "error", "--admin", f"127.0.0.1:{other_port}"]
    if name in BALANCES:
        if not shutil.which("haproxy"):
            raise Refusal("HAProxy is not installed")
        return ["haproxy", "-db", "-f", filled(bench, "haproxy.cfg", {
            "PORT": port, "BALANCE": BALANCES[name],
            "SERVERS": "\n".join(f"    server node{number} 127.0.0.1:{node}" for number, node in enumerate(fleet.ports))})]
    module = name.replace("-", "_")
    if not os.access(PYTHON, os.X_OK) or subprocess.run([PYTHON, "-c", f"import {module}"], capture_output=True).returncode:
        raise Refusal("could not be installed from PyPI")
    status, _ = ask(fleet.ports[0], "GET", "/health")
    if status != 200:
        # Whatever `--health-check-endpoint` says: both wait for this path before they begin.
        raise Refusal(f"waits until GET /health of its nodes is 200; {workload.engine} answers {status}")
    return [PYTHON, "-m", f"{module}.launch_router", "--host", "127.0.0.1", "--port", str(port), "--policy", "cache_aware",
            "--prometheus-port", str(other_port), "--log-level", "error",
            "--worker-urls", *(f"http://127.0.0.1:{node}" for node in fleet.ports)]


def start(bench, name, workload, fleet):
    """A router that answers; Refusal when it does not come to that."""
    port, other_port = parts.free_port(), parts.free_port()
    line = command(bench, name, workload, fleet, port, other_port)
    try:
        router = bench.start(name.replace(" ", "-"), line, port, None)
    except SystemExit as error:
        raise Refusal("did not start") from error
    router.other_port = other_port
    end, status, content = time.monotonic() + 30, 0, b""
    while time.monotonic() < end:
        try:
            status, content = ask(port, "POST", "/v1/chat/completions", question(workload.models[0]), 20)
        except OSError as error:
            content = str(error).encode()
        if status == 200:
            return router
        time.sleep(0.25)
    router.stop()
    raise Refusal(f"answers {status}: {content.decode(errors='replace').strip()[:150]}")


def told(admin_port):
    """What the gateway says of its choices and of the nodes."""
    pages = {}
    for path in ("/decisions", "/endpoints"):
        status, content = ask(admin_port, "GET", path)
        pages[path] = json.loads(content) if status == 200 else status
    return pages
