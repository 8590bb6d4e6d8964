"""The processes of a measurement: the origin, the gateway and its peers, on loopback ports that are free."""
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import machine

HERE = os.path.dirname(os.path.abspath(__file__))
PEERS = ("nginx", "haproxy")
GATEWAY = "ai-gateway"
SCENARIOS = ("get", "chat", "h2")
# Those whose instructions are counted.
COUNTED = ("get", "chat")
PATHS = {"get": "/assets/page?version=3", "chat": "/v1/chat/completions", "h2": "/assets/page?version=3"}
TITLES = {"get": "GET → 200 B", "chat": "POST 2 KB → 1 KB", "h2": "GET → 200 B over HTTP/2 and TLS"}


def padded(text, size, mark="~"):
    """`text` with its mark replaced so that the whole has `size` bytes."""
    words = "the model answers slowly, and the gateway waits with it. "
    room = size - len(text.replace(mark, ""))
    return text.replace(mark, (words * (room // len(words) + 1))[:room])


QUESTION = padded('{"model":"llama3","stream":false,"messages":[{"role":"user","content":"~"}]}', 2048)
ANSWER = padded('{"id":"chatcmpl-1","object":"chat.completion","model":"llama3","choices":[{"index":0,"message":'
                '{"role":"assistant","content":"~"},"finish_reason":"stop"}]}', 1024)
TEXT = padded("~", 200)


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
        self.name, self.port, self.log, self.tls_port = name, port, log, None
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

    def __init__(self, certified=True):
        self.folder = tempfile.mkdtemp(prefix="ai-gateway-bench.")
        os.chmod(self.folder, 0o755)
        self.parts = []
        self.load_core, self.proxy_core = machine.cores()
        self.origin_port = free_port()
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

    def written(self, source, port=0, tls_port=0):
        """A configuration of this folder with its ports and places filled in."""
        text = machine.read(os.path.join(HERE, source))
        for name, value in {"FOLDER": self.folder, "ORIGIN": self.origin_port, "PORT": port, "TLSPORT": tls_port, "ANSWER": ANSWER,
                            "TEXT": TEXT}.items():
            text = text.replace(f"@{name}@", str(value))
        path = os.path.join(self.folder, os.path.basename(source))
        with open(path, "w") as file:
            file.write(text)
        return path

    def start(self, name, command, port, core, ahead=()):
        part = Part(name, command, port, core, os.path.join(self.folder, f"{name}.out"), ahead)
        self.parts.append(part)
        return part.wait_until_up()

    def origin(self):
        path = self.written("origin.conf")
        log = os.path.join(self.folder, "origin.log")
        return self.start("origin", ["nginx", "-e", log, "-p", self.folder, "-c", path], self.origin_port, self.load_core, BATCH)

    def proxy(self, name):
        port, tls_port, metrics = free_port(), free_port(), None
        if name == "nginx":
            command = ["nginx", "-e", os.path.join(self.folder, "nginx.log"), "-p", self.folder,
                       "-c", self.written("peers/nginx.conf", port, tls_port)]
        elif name == "haproxy":
            command = ["haproxy", "-db", "-f", self.written("peers/haproxy.cfg", port, tls_port)]
        else:
            metrics = free_port()
            command = self.gateway_command(port, metrics, tls_port=tls_port)
        part = self.start(name, command, port, self.proxy_core)
        part.metrics, part.tls_port = metrics, tls_port
        return part

    def gateway_command(self, port, metrics=None, binary=None, tls_port=None):
        routes = self.written("peers/ai-gateway.yaml", port, tls_port or free_port())
        listen = ["--metrics", f"127.0.0.1:{metrics}"] if metrics else []
        return [binary or os.environ["AI_GATEWAY"], "run", routes, "--address", "127.0.0.1", "--workers", "1",
                "--admin", "off", "--access-log", "off", "--log-level", "error"] + listen
