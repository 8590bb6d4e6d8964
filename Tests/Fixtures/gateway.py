"""Runs the gateway's binary as a user would: a folder of documents, flags, signals, the admin port."""
import http.client
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time

from . import documents as docs
from . import http2_frames, metrics
from .http1 import Client, Ended, fetch, tls_client
from .net import free_port, wait_until

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
RUNNING = []                 # gateways alive now: their messages are shown when a test fails


def binary():
    return os.environ.get("AI_GATEWAY") or os.path.join(ROOT, ".build", "release", "ai-gateway")


def cli(*arguments, input=None, timeout=20):
    """Runs a command of the binary to its end: (exit code, standard output, standard error)."""
    done = subprocess.run([binary(), *map(str, arguments)], input=input, capture_output=True, text=True, timeout=timeout,
                          stdin=None if input is not None else subprocess.DEVNULL)
    return done.returncode, done.stdout, done.stderr


class Gateway:
    """One gateway process on a temporary folder.

    `documents`: a list of documents for `main.yaml`, or {file name: list, text or bytes}. `port` is the first
    listener's port of the documents that `serving()` builds.
    """

    def __init__(self, documents=None, flags=(), folder=None, admin="127.0.0.1", start=True, ready=True, access_log=True,
                 workers=2, environment=None, before=None, scratch=None, prefix=()):
        self.scratch = scratch or tempfile.mkdtemp(prefix="ai-gateway-test-")
        self.folder = folder or os.path.join(self.scratch, "documents")
        os.makedirs(self.folder, exist_ok=True)
        self.stderr_path = os.path.join(self.scratch, "stderr")
        self.access_path = os.path.join(self.scratch, "access.log")
        self.flags, self.admin_host, self.admin_port = list(flags), admin, free_port() if admin else 0
        self.access_log, self.workers, self.environment, self.before = access_log, workers, environment, before
        self.prefix = list(prefix)
        self.process, self.port = None, None
        for name, content in (documents if isinstance(documents, dict) else {"main.yaml": documents or []}).items():
            self.write(name, content)
        if start:
            self.start(ready)

    # -- life
    def start(self, ready=True):
        command = self.command_line()
        command = self.command = self.prefix + command
        with open(self.stderr_path, "ab") as err, open(os.path.join(self.scratch, "stdout"), "ab") as out:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                            cwd=self.scratch, preexec_fn=self.before,
                                            env={**os.environ, **(self.environment or {})})
        RUNNING.append(self)
        if ready:
            try:
                wait_until(self.is_ready, 20, what="readyz")
            except Exception as error:
                self.stop(kill=True, keep=True)
                raise RuntimeError(f"the gateway did not become ready ({error}): {' '.join(command)}\n{self.messages()}") from None
        return self

    def command_line(self):
        command = [binary(), "run", self.folder]
        if self.workers:
            command += ["--workers", str(self.workers)]
        command += ["--admin", f"{self.admin_host}:{self.admin_port}" if self.admin_host else "off"]
        command += ["--access-log", self.access_path if self.access_log else "off"]
        command += [str(f) for f in self.flags]
        return command

    def is_ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f"exit code {self.process.returncode}")
        try:
            return self.admin("/readyz").status == 200
        except (OSError, Ended):
            return False

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        crashed = self.process is not None and self.process.poll() is not None and self.process.returncode not in (0,)
        code = self.process.returncode if crashed else 0
        messages = self.messages() if crashed else ""
        self.stop(kill=True, keep=kind is not None)
        if crashed and kind is None and not getattr(self, "expected_end", False):
            raise AssertionError(f"the gateway ended with {code}:\n{messages}")

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def wait(self, seconds=20):
        return self.process.wait(seconds)

    def stop(self, kill=False, keep=False, seconds=20):
        """Ends the process by its own pid; returns the exit code."""
        if self in RUNNING:
            RUNNING.remove(self)
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)
        if not keep:
            shutil.rmtree(self.scratch, ignore_errors=True)
        return self.process.returncode if self.process else None

    # -- documents
    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, content):
        """Replaces a file at once (rename), as editors and controllers do."""
        if isinstance(content, (list, tuple)):
            content = docs.dump(content)
        data = content if isinstance(content, bytes) else content.encode()
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        temporary = os.path.join(os.path.dirname(path), "." + os.path.basename(path) + ".new")
        with open(temporary, "wb") as file:
            file.write(data)
        os.rename(temporary, path)

    def remove(self, name):
        os.unlink(self.path(name))

    # -- admin port
    def admin(self, path, method="GET", headers=(), body=b"", timeout=10):
        return fetch(self.admin_host, self.admin_port, path, method, headers, body, timeout=timeout,
                     host=f"{self.admin_host}:{self.admin_port}")

    def status(self):
        answer = self.admin("/status")
        assert answer.status == 200, answer
        return json.loads(answer.body)

    def object(self, kind, name, namespace="default"):
        """An object of /status, or None."""
        for o in self.status()["objects"]:
            meta = o["metadata"]
            if o["kind"] == kind and meta["name"] == name and meta.get("namespace") in (namespace, None):
                return o
        return None

    def metrics_text(self):
        answer = self.admin("/metrics")
        assert answer.status == 200, answer
        return answer.body.decode()

    def metrics(self):
        return metrics.parse(self.metrics_text())

    def total(self, name, **labels):
        return metrics.total(self.metrics(), name, **labels)

    # -- traffic
    def client(self, port=None, host="127.0.0.1", **more):
        return Client(host, port or self.port, **more)

    def http2(self, port=None, host="127.0.0.1", secure=False, **more):
        """A connection of HTTP/2: with prior knowledge, or chosen by ALPN over TLS."""
        return http2_frames.Client(host, port or self.port, tls=tls_client(alpn=["h2", "http/1.1"]) if secure else None, **more)

    def get(self, target="/", method="GET", headers=(), body=b"", address="127.0.0.1", port=None, **more):
        """One request on a connection of its own; `host` is the Host field."""
        return fetch(address, port or self.port, target, method, headers, body, **more)

    # -- what it says and costs
    def messages(self, limit=6000):
        try:
            with open(self.stderr_path, errors="replace") as file:
                return file.read()[-limit:]
        except OSError:
            return ""

    def access(self):
        """The access log's lines as objects, but for one that is being written."""
        try:
            with open(self.access_path) as file:
                return [json.loads(line) for line in file if line.endswith("\n")]
        except FileNotFoundError:
            return []

    @property
    def pid(self):
        return self.process.pid

    def alive(self):
        return self.process.poll() is None

    def rss(self):
        """Resident bytes."""
        with open(f"/proc/{self.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def cpu(self):
        """Seconds of processor time used so far."""
        with open(f"/proc/{self.pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))


class Peak:
    """Samples a gateway's resident bytes in the background: `start`, `highest`, `growth`."""

    def __init__(self, gateway, every=0.05):
        self.gateway, self.every, self.start = gateway, every, gateway.rss()
        self.highest, self._stop = self.start, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._stop.wait(self.every):
            try:
                self.highest = max(self.highest, self.gateway.rss())
            except OSError:
                return

    def stop(self):
        self._stop.set()
        self._thread.join()
        return self.growth

    @property
    def growth(self):
        return self.highest - self.start


def streaming(origins, backends=None, limits=None, timeouts=None, extra=(), backend=None, **options):
    """A gateway with one TCP listener whose connections go to `origins` ({name: Origin} or one Origin)."""
    port = free_port()
    named = origins if isinstance(origins, dict) else {"origin": origins}
    content = [docs.gateway([docs.listener(port, "tcp", "TCP")], parameters="parameters"),
               docs.parameters(**{k: v for k, v in (("limits", limits), ("timeouts", timeouts)) if v}),
               docs.stream_route("TCPRoute", backends or list(named)[:1])]
    content += [docs.backend(o, n, **(backend or {})) for n, o in named.items()]
    gateway = Gateway(content + list(extra), start=False, **options)
    gateway.port, gateway.content = port, content
    return gateway.start()


def sealed(certificate, name="tls"):
    """Options of `serving` for an HTTPS listener in place of the HTTP one."""
    return {"listeners": lambda port: [docs.listener(port, "https", "HTTPS", certificates=[name])], "extra": [certificate.secret(name)]}


def serving(origins, rules=None, hostnames=None, limits=None, timeouts=None, parameters=None, listeners=None, extra=(),
            addresses=("127.0.0.1",), backend=None, **options):
    """A gateway with one HTTP listener that serves `origins` ({name: Origin} or one Origin) at `/`; `rules=[]`: no HTTPRoute."""
    port = free_port(addresses[0] if addresses else "127.0.0.1")
    named = origins if isinstance(origins, dict) else ({"origin": origins} if origins is not None else {})
    spec = dict(parameters or {})
    if limits:
        spec["limits"] = limits
    if timeouts:
        spec["timeouts"] = timeouts
    content = [docs.gateway(listeners(port) if callable(listeners) else listeners or [docs.listener(port)],
                            addresses=addresses, parameters="parameters" if spec else None)]
    if spec:
        content.append(docs.parameters(**spec))
    if rules != []:
        content.append(docs.route(rules or [docs.rule(list(named)[:1])], hostnames))
    content += [docs.backend(o, n, **(backend or {})) for n, o in named.items()]
    content += list(extra)
    start = options.pop("start", True)
    gateway = Gateway(content, start=False, **options)
    gateway.port, gateway.content = port, content
    if start:
        gateway.start()
    return gateway
