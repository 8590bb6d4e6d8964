"""What is measured: of each scenario who takes part, what is asked of whom, by which load, and what must be answered."""
import json
import math
import os
import re
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

import clients
import machine
import parts
from parts import COPY, GATEWAY, MODELS, PEERS, SPLICE

PROXIES = (GATEWAY, "nginx", "haproxy", "envoy", "caddy")
CONNECTIONS = 64
# Over HTTP/2: so many connections with so many streams each.
CONNECTIONS_H2, STREAMS = 16, 10
# Of content that takes long.
CONNECTIONS_BULK = 8
EVENT_STREAMS, SOCKETS, IDLE, SHAKERS = 50, 64, 5000, 8
# A router looks at its servers before it lets anybody through.
READY_SECONDS = 10
PLAIN, TLS = "http", "https"
BY_ROUTE, BY_PATH = "ai-gateway by HTTPRoute", "ai-gateway by path"


class Failure(Exception):
    """Why a contestant is out of a scenario."""


class Nothing(Failure):
    """Not one answer came within the time: on a machine that others use, that may be theirs."""


@dataclass(frozen=True)
class Way:
    """How a contestant takes part: the process, and what is asked of it at which of its ports."""
    name: str
    part: str
    path: str
    port: str = "port"


@dataclass(frozen=True)
class Scenario:
    name: str
    title: str
    # (bench, scenario, way, part, seconds) → requests, microseconds, p50 and p99, errors, and what the proxy spent.
    load: object
    ways: tuple
    unit: str = "request"
    scheme: str = PLAIN
    connections: int = CONNECTIONS
    # (name, what makes it) of the content that is sent; None for a GET.
    content: tuple = None
    # What the answer is; None where the load looks at it itself.
    answer: object = parts.TEXT
    # The version that curl must see.
    version: str = "1.1"
    # Rounds are at least so long.
    seconds_min: float = 0
    # Each round has a process of its own, and their number is at most this.
    rounds_at_most: int = 1000
    is_fresh: bool = False
    workers: int = 1
    # What p50 and p99 tell of, where it is not the time until an answer.
    timed: str = ""

    def taking(self, names):
        """The ways of those that were asked for, and of the gateway and the floors."""
        return [way for way in self.ways if way.name in names or way.name not in PEERS]


def ways(names, path, floor=None, target="ORIGIN"):
    """All ask for the same; a floor is joined to one of the origins."""
    found = [Way(name, name, path) for name in names]
    if floor:
        found.insert(1, Way(floor, f"{floor}:{target}", path))
    return tuple(found)


def port_of(scenario, way, part):
    return part.tls_port if scenario.scheme == TLS else getattr(part, way.port)


def url(scenario, way, part):
    return f"{scenario.scheme}://127.0.0.1:{port_of(scenario, way, part)}{way.path}"


# ---- loads ----------------------------------------------------------------------

def environment(bench):
    """TLS 1.3 with AES-128-GCM for all: what a server would rather have decides nothing."""
    path = bench.contents("openssl.cnf", lambda: "openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\nsystem_default = tls\n"
                                                 "[tls]\nMinProtocol = TLSv1.3\nCiphersuites = TLS_AES_128_GCM_SHA256\n")
    return os.environ | {"OPENSSL_CONF": path}


def sent(bench, scenario):
    return bench.contents(*scenario.content) if scenario.content else None


def failed(words, part, done):
    code, log = part.process.poll(), machine.read(part.log).strip()[-500:]
    ended = "" if code is None else f"; it ended with {code}"
    return Failure(f"{words} against {part.name} failed: {done[0].strip()[-500:]} {done[1].strip()[-500:]}{ended}; its log: {log}")


def on_load_cores(bench, *command):
    return [*parts.BATCH, "taskset", "-c", str(bench.load_core), *command]


def threads(bench):
    return str(bench.load_core).count(",") + 1


def wrk(bench, scenario, way, part, seconds):
    """One run of wrk, which only knows whole seconds: another one is interrupted, and tells its figures then."""
    whole = math.ceil(seconds)
    command = on_load_cores(
        bench, "wrk", f"-t{threads(bench)}", f"-c{scenario.connections}", f"-d{whole}s", "--timeout", "20s", "--latency", "-s",
        os.path.join(parts.HERE, "load.lua"), url(scenario, way, part), "--", sent(bench, scenario) or "-")
    before = machine.spent(part.pids())
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(bench))
    if whole != seconds:
        tasks, begin = f"/proc/{process.pid}/task", time.monotonic()
        while process.poll() is None and len(os.listdir(tasks)) < 2 and time.monotonic() < begin + whole:
            time.sleep(0.002)
        time.sleep(seconds + 0.01)
        process.send_signal(signal.SIGINT)
    done = process.communicate(timeout=seconds + 100)
    nanoseconds = machine.spent(part.pids()) - before
    found = re.search(r"^FIGURES (.*)$", done[0], re.M)
    if not found:
        raise failed("wrk", part, done)
    return json.loads(found.group(1)) | {"nanoseconds": nanoseconds}


def h2load(bench, scenario, way, part, seconds):
    """One run of h2load. It only knows whole seconds: another one is a number of requests. Percentiles are those of its log."""
    rates = bench.rates = getattr(bench, "rates", {})
    key = scenario.name, way.name
    length = [f"-D{int(seconds)}"] if seconds == int(seconds) else [f"-n{int(max(640, rates.get(key, 2000) * seconds))}"]
    content, log = sent(bench, scenario), os.path.join(bench.folder, "h2load.log")
    command = on_load_cores(bench, "h2load", f"-t{threads(bench)}", f"-c{CONNECTIONS_H2}", f"-m{STREAMS}", *length, *(["-d", content] if content else []),
                            "-H", "content-type: application/json", f"--log-file={log}", url(scenario, way, part))
    before = machine.spent(part.pids())
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
    nanoseconds = machine.spent(part.pids()) - before
    found = re.search(r"^finished in ([0-9.]+)(us|ms|s), ", done.stdout, re.M)
    counts = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", done.stdout)
    if not found or not counts or "Application protocol: h2\n" not in done.stdout:
        raise failed("h2load", part, (done.stdout, done.stderr))
    good, *bad = (int(number) for number in counts.groups())
    microseconds = float(found.group(1)) * {"us": 1, "ms": 1e3, "s": 1e6}[found.group(2)]
    rates[key] = good / microseconds * 1e6
    times = sorted(int(line.rpartition("\t")[2]) for line in machine.read(log).splitlines())
    os.remove(log)
    return {"requests": good, "errors": sum(bad), "p50": clients.percentile(times, 0.5), "p99": clients.percentile(times, 0.99),
            "microseconds": microseconds, "nanoseconds": nanoseconds}


def client(kind, count):
    """A load of clients.py, whose connections stand before it begins."""
    def load(bench, scenario, way, part, seconds):
        port = port_of(scenario, way, part)
        command = on_load_cores(bench, sys.executable, "-S", os.path.join(parts.HERE, "clients.py"), kind, str(port), way.path, str(seconds), str(count),
                                *(["--tls"] if scenario.scheme == TLS else []), *(["--content", sent(bench, scenario)] if scenario.content else []))
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   env=environment(bench))

        def line(wait):
            if not select.select([process.stdout], [], [], wait)[0]:
                process.kill()
            text = process.stdout.readline()
            if not text:
                raise failed(f"clients.py {kind}", part, process.communicate())
            return text

        line(60)
        held = machine.memory(part.pids())
        before = machine.spent(part.pids())
        process.stdin.write("\n")
        process.stdin.flush()
        figures = json.loads(line(seconds + 60))
        nanoseconds, after = machine.spent(part.pids()) - before, machine.memory(part.pids())
        process.communicate("\n", 30)
        if kind == "idle":
            figures["kib"] = (after[1] - held[1]) * 1024 / count
        return figures | {"nanoseconds": nanoseconds, "memory": after}
    return load


# ---- scenarios --------------------------------------------------------------------

BULK = client("bulk", CONNECTIONS_BULK)
PAGE, CHAT = parts.PATHS["get"], parts.PATHS["chat"]
QUESTION = ("question.json", lambda: parts.QUESTION)
UPLOAD = ("upload", lambda: parts.padded("~", parts.FILE_BYTES))
GETTERS = ways(PROXIES, PAGE, COPY) + tuple(Way(name, name, "/get_model_info") for name in parts.ROUTERS)


def file_answer():
    return parts.padded("~", parts.FILE_BYTES)


def prompts(size, words):
    name = words.lower().replace(" ", "")
    return Scenario(
        f"prompt-{name}", f"POST {words} by its model → 1 KB", BULK,
        (Way(GATEWAY, MODELS, CHAT, "model_port"), Way(BY_PATH, MODELS, "/prompts" + CHAT),
         *ways(("nginx", "haproxy", "envoy", "caddy"), "/prompts" + CHAT)),
        connections=CONNECTIONS_BULK, content=(f"prompt-{name}.json", lambda: parts.prompt(size)), answer=parts.ANSWER)


def on_cores(count):
    return Scenario(f"get-{count}-cores", f"GET → 200 B, {count} cores", wrk, ways(PROXIES, PAGE), workers=count,
                    connections=CONNECTIONS * count)


def more_cores():
    """Numbers of cores beside one: two, and all that there are."""
    allowed = len(os.sched_getaffinity(0))
    return sorted({min(2, allowed), allowed} - {1})


ALL = (
    Scenario("get", parts.TITLES["get"], wrk, GETTERS),
    Scenario("get-1", "GET → 200 B, one connection", wrk, ways(PROXIES, PAGE, COPY), connections=1),
    Scenario("chat", parts.TITLES["chat"], wrk, ways((*PROXIES, *parts.ROUTERS), CHAT, COPY), content=QUESTION, answer=parts.ANSWER),
    Scenario("pool", "POST 2 KB → 1 KB by InferencePool", wrk,
             (Way(GATEWAY, MODELS, CHAT, "pool_port"), Way(BY_ROUTE, MODELS, CHAT), *ways(parts.ROUTERS, CHAT)),
             content=QUESTION, answer=parts.ANSWER),
    Scenario("down", "10 MB down", BULK, ways(PROXIES, "/files/10mb", SPLICE), unit="10 MB", connections=CONNECTIONS_BULK, answer=file_answer),
    Scenario("up", "10 MB up", BULK, ways(PROXIES, "/uploads/10mb", SPLICE, "READER"), unit="10 MB", connections=CONNECTIONS_BULK, content=UPLOAD,
             answer=parts.ANSWER),
    Scenario("sse", f"Events, {EVENT_STREAMS} streams of 40 a second", client("events", EVENT_STREAMS), ways(PROXIES, "/events", COPY, "READER"),
             unit="event", connections=EVENT_STREAMS, answer=None, timed="age of an event"),
    Scenario("tls", parts.TITLES["tls"], wrk, ways(PROXIES, PAGE), scheme=TLS, seconds_min=1),
    Scenario("tls-bulk", "10 MB down over TLS", BULK, ways(PROXIES, "/files/10mb"), unit="10 MB", scheme=TLS, connections=CONNECTIONS_BULK,
             answer=file_answer),
    Scenario("handshake", "Full TLS handshakes, each with a GET", client("full", SHAKERS), ways(PROXIES, PAGE), unit="connection", scheme=TLS,
             connections=SHAKERS, timed="handshake"),
    Scenario("resumed", "Resumed TLS handshakes, each with a GET", client("resumed", SHAKERS), ways(PROXIES, PAGE), unit="connection", scheme=TLS,
             connections=SHAKERS, timed="handshake"),
    Scenario("h2", parts.TITLES["h2"], h2load, ways(PROXIES, PAGE), scheme=TLS, version="2", connections=CONNECTIONS_H2),
    Scenario("h2-chat", "POST 2 KB → 1 KB over HTTP/2 and TLS", h2load, ways(PROXIES, CHAT), scheme=TLS, version="2", content=QUESTION,
             answer=parts.ANSWER, connections=CONNECTIONS_H2),
    Scenario("h2-h2", "GET → 200 B, HTTP/2 on both sides", h2load, ways((GATEWAY, "haproxy", "envoy", "caddy"), "/h2c/page"), scheme=TLS, version="2",
             connections=CONNECTIONS_H2),
    Scenario("websocket", "WebSocket, 100 B and back", client("socket", SOCKETS), ways(PROXIES, "/socket", COPY, "READER"), unit="message and back",
             connections=SOCKETS, answer=None),
    prompts(220_000, "220 KB"),
    prompts(1_000_000, "1 MB"),
    *(on_cores(count) for count in more_cores()),
    Scenario("idle", f"{IDLE:,} idle connections", client("idle", IDLE), ways(PROXIES, PAGE), unit="connection with one GET", connections=IDLE,
             is_fresh=True, rounds_at_most=3),
)
SCENARIOS = {scenario.name: scenario for scenario in ALL}
# Names for several at once.
GROUPS = {
    "all": tuple(SCENARIOS),
    "bulk": ("down", "up"),
    "sealed": ("tls", "tls-bulk", "handshake", "resumed"),
    "http2": ("h2", "h2-chat", "h2-h2"),
    "prompts": ("prompt-220kb", "prompt-1mb"),
    "cores": ("get", *(f"get-{count}-cores" for count in more_cores())),
}


def named(words):
    """The scenarios of these names and groups, each once; KeyError for a name that is none."""
    found = {}
    for word in words or ("all",):
        for name in GROUPS.get(word) or (word,):
            found[name] = SCENARIOS[name]
    return list(found.values())


# ---- answers ------------------------------------------------------------------------

def check(bench, scenario, way, part):
    """A proxy that does not pass the origin's answer on would be compared for nothing."""
    if scenario.answer is None:
        return
    wanted = scenario.answer() if callable(scenario.answer) else scenario.answer
    content = sent(bench, scenario)
    got = os.path.join(bench.folder, "got")
    arguments = ["-H", "Content-Type: application/json", "-H", "Expect:", "--data-binary", f"@{content}"] if content else []
    end = time.monotonic() + READY_SECONDS
    while True:
        done = subprocess.run(["curl", "-sk", "--http2" if scenario.version == "2" else "--http1.1", "--max-time", "30", "-o", got, "-w",
                               "%{http_code} %{http_version}", *arguments, url(scenario, way, part)], capture_output=True, text=True)
        if done.stdout == f"200 {scenario.version}" and machine.read(got) == wanted:
            return
        if time.monotonic() < end:
            time.sleep(0.2)
            continue
        raise Failure(f"{way.name} does not pass the origin's answer on ({scenario.name}): {done.stdout} {machine.read(got)[:300]!r}")
