"""The processes of a measurement: the origins, the gateway, its peers and the floors, on loopback ports that are free."""
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import machine

HERE = os.path.dirname(os.path.abspath(__file__))
GATEWAY = "ai-gateway"
# The gateway with pools and models, of peers/ai-gateway-models.yaml.
MODELS = "ai-gateway of models"
# Those that only choose between model servers.
ROUTERS = ("vllm-router", "sglang-router")
PEERS = ("nginx", "haproxy", "envoy", "caddy", *ROUTERS)
COPY, SPLICE = "copy relay", "splice relay"
PATHS = {"get": "/assets/page?version=3", "chat": "/v1/chat/completions"}
TITLES = {"get": "GET → 200 B", "chat": "POST 2 KB → 1 KB", "chat-model": "POST 2 KB by its model", "tls": "GET → 200 B over TLS",
          "h2": "GET → 200 B over HTTP/2 and TLS"}


def padded(text, size, mark="~"):
    """`text` with its mark replaced so that the whole has `size` bytes."""
    words = "the model answers slowly, and the gateway waits with it. "
    room = size - len(text.replace(mark, ""))
    return text.replace(mark, (words * (room // len(words) + 1))[:room])


def question(model):
    return padded('{"model":"%s","stream":false,"messages":[{"role":"user","content":"~"}]}' % model, 2048)


QUESTION = question("llama3")
ANSWER = padded('{"id":"chatcmpl-1","object":"chat.completion","model":"llama3","choices":[{"index":0,"message":'
                '{"role":"assistant","content":"~"},"finish_reason":"stop"}]}', 1024)
TEXT = padded("~", 200)
FILE_BYTES = 10_000_000


def prompt(size):
    """A chat of so many bytes; `model` stands behind the messages, where a reader must go to the end for it."""
    text = padded("~", 700)
    turns = ",".join('{"role":"user","content":"%s"}' % text for _ in range(size // 740))
    return padded('{"stream":false,"messages":[%s,{"role":"user","content":"~"}],"model":"llama3"}' % turns, size)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# Before the commands of load and origin, which share a core: neither takes it from the other for each byte that comes, so
# that they, and not the proxy, have the reserve. The proxies are run as the system runs everything.
BATCH = ("chrt", "--batch", "0")


class Part:
    """One process (and its children), pinned to a core, that listens on a port."""

    def __init__(self, name, command, port, core, log, ahead=()):
        self.name, self.port, self.log, self.command = name, port, log, command
        self.tls_port = self.pool_port = self.model_port = self.metrics = None
        pin = [*ahead, "taskset", "-c", str(core)] if core is not None else []
        with open(log, "ab") as file:
            self.process = subprocess.Popen(pin + command, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                                            start_new_session=True)

    def wait_until_up(self, seconds=30):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                time.sleep(0.05)
        self.stop()
        raise machine.stop(f"{self.name} did not start:\n{machine.read(self.log)[-2000:]}")

    def pids(self):
        return machine.tree(self.process.pid)

    def stop(self, seconds=10):
        """Ends it; nginx and the gateway take SIGTERM twice as «at once»."""
        for _ in range(2):
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
                try:
                    self.process.wait(seconds / 2)
                except subprocess.TimeoutExpired:
                    continue
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Bench:
    """A folder and the processes that write to it; `with` ends them all."""

    def __init__(self, certified=True, workers=1):
        self.folder = tempfile.mkdtemp(prefix="ai-gateway-bench.")
        os.chmod(self.folder, 0o755)
        self.parts = []
        # How many threads or processes each proxy has, each for a core of its own.
        self.workers = workers
        self.load_core, self.proxy_core = machine.cores() if workers == 1 else machine.split(workers)
        self.ports = {name: free_port() for name in ("ORIGIN", "SECOND", "ORIGINH2", "READER")}
        self.origin_port = self.ports["ORIGIN"]
        self.question = os.path.join(self.folder, "question.json")
        with open(self.question, "w") as file:
            file.write(QUESTION)
        if certified:
            self.certify()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for part in reversed(self.parts):
            part.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def certify(self):
        """One certificate for all proxies, of the kind that most have: ECDSA P-256."""
        place = lambda name: os.path.join(self.folder, name)
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                        "-keyout", place("tls.key"), "-out", place("tls.crt")], check=True, capture_output=True)
        with open(place("tls.pem"), "w") as file:
            file.write(machine.read(place("tls.crt")) + machine.read(place("tls.key")))

    def contents(self, name, make):
        """The path of a file with content that a load sends or the origin has; made when it is first asked for."""
        path = os.path.join(self.folder, name)
        if not os.path.exists(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as file:
                file.write(make())
        return path

    def written(self, source, port=0, tls_port=0, **more):
        """A configuration of this folder with its ports and places filled in."""
        text = machine.read(os.path.join(HERE, source))
        origins = str(self.load_core).count(",") + 1
        for name, value in {"FOLDER": self.folder, "PORT": port, "TLSPORT": tls_port, "ANSWER": ANSWER, "TEXT": TEXT,
                            "WORKERS": origins if source == "origin.conf" else self.workers,
                            **self.ports, **more}.items():
            text = text.replace(f"@{name}@", str(value))
        path = os.path.join(self.folder, os.path.basename(source))
        with open(path, "w") as file:
            file.write(text)
        return path

    def start(self, name, command, port, core, ahead=()):
        part = Part(name, command, port, core, os.path.join(self.folder, f"{name.replace(' ', '-')}.out"), ahead)
        self.parts.append(part)
        return part.wait_until_up()

    def origin(self):
        path = self.written("origin.conf")
        log = os.path.join(self.folder, "origin.log")
        return self.start("origin", ["nginx", "-e", log, "-p", self.folder, "-c", path], self.origin_port, self.load_core, BATCH)

    def reader(self):
        """The origin of uploads, prompts, events and WebSocket messages."""
        command = [sys.executable, os.path.join(HERE, "origin.py"), str(self.ports["READER"])]
        return self.start("reader", command, self.ports["READER"], self.load_core, BATCH)

    def end(self, part):
        part.stop()
        self.parts.remove(part)

    def proxy(self, name):
        """A peer, or the gateway, as its configuration in peers/ says."""
        port, tls_port = free_port(), free_port()
        metrics = pool_port = model_port = None
        if name == "nginx":
            command = ["nginx", "-e", os.path.join(self.folder, "nginx.log"), "-p", self.folder,
                       "-c", self.written("peers/nginx.conf", port, tls_port)]
        elif name == "haproxy":
            command = ["haproxy", "-db", "-f", self.written("peers/haproxy.cfg", port, tls_port)]
        elif name == "envoy":
            command = [machine.program("envoy"), "--concurrency", str(self.workers), "--disable-hot-restart", "--log-level", "critical",
                       "-c", self.written("peers/envoy.yaml", port, tls_port)]
        elif name == "caddy":
            command = ["env", f"GOMAXPROCS={self.workers}", f"XDG_DATA_HOME={self.folder}/caddy", machine.program("caddy"), "run",
                       "--adapter", "caddyfile", "--config", self.written("peers/Caddyfile", port, tls_port)]
        elif name in ROUTERS:
            workers = [f"http://127.0.0.1:{self.ports[key]}" for key in ("ORIGIN", "SECOND")]
            command = [machine.program(name), "-m", f"{name.replace('-', '_')}.launch_router", "--host", "127.0.0.1", "--port", str(port),
                       "--prometheus-port", str(free_port()), "--policy", "cache_aware", "--log-level", "error", "--worker-urls", *workers]
        elif name == MODELS:
            metrics, pool_port, model_port = free_port(), free_port(), free_port()
            routes = self.written("peers/ai-gateway-models.yaml", port, POOLPORT=pool_port, MODELPORT=model_port)
            command = self.gateway(routes, metrics)
        else:
            metrics = free_port()
            command = self.gateway_command(port, metrics, tls_port=tls_port)
        part = self.start(name, command, port, self.proxy_core)
        part.metrics, part.tls_port, part.pool_port, part.model_port = metrics, tls_port, pool_port, model_port
        return part

    def relay(self, kind, target):
        """A floor between the load and one of the origins; `target` names its port."""
        port = free_port()
        return self.start(kind, [relay_program(), kind.split()[0], str(port), str(self.ports[target])], port, self.proxy_core)

    def gateway_command(self, port, metrics=None, tls_port=None):
        return self.gateway(self.written("peers/ai-gateway.yaml", port, tls_port or free_port()), metrics)

    def gateway(self, routes, metrics=None, binary=None):
        listen = ["--metrics", f"127.0.0.1:{metrics}"] if metrics else []
        return [binary or os.environ["AI_GATEWAY"], "run", routes, "--address", "127.0.0.1", "--workers", str(self.workers),
                "--admin", "off", "--access-log", "off", "--log-level", "error"] + listen


def relay_program():
    """The floors' program, compiled when its source is new."""
    with open(os.path.join(HERE, "relay", "relay.swift"), "rb") as file:
        path = os.path.join(machine.CACHE, "relay-" + hashlib.sha256(file.read()).hexdigest()[:12])
    if not os.access(path, os.X_OK):
        machine.need_swift()
        os.makedirs(machine.CACHE, exist_ok=True)
        done = subprocess.run([os.path.join(HERE, "relay", "build"), path + ".new"], capture_output=True, text=True)
        if done.returncode:
            raise machine.stop(f"the relay cannot be compiled:\n{done.stdout}{done.stderr}")
        os.rename(path + ".new", path)
    return path
