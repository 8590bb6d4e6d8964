"""What one request makes the gateway do: user instructions and calls (callgrind), system calls (strace).

Two runs that differ only in the number of requests are subtracted, so that starting, connecting and reading documents
do not count. The shorter run is kept alive for as long as the longer one took: what idle threads do by the clock
then cancels too.
"""
import argparse
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass

import machine
import parts
import report

RUNS = (200, 2200)          # requests on one connection, under callgrind
SYSTEM_RUNS = (20, 170)     # requests a connection on many connections, under strace
SYSTEM_RUNS_ALONE = (100, 1100)
TOLERANCE = 0.02
SHOWN = 25

# Names of which the calls are summed; callgrind shows the variant that the machine's libc chose.
FAMILIES = {
    "malloc": r"(malloc|calloc|realloc|posix_memalign|aligned_alloc|memalign)",
    "retain": r"(swift_retain|swift_retain_n|swift_bridgeObjectRetain|swift_bridgeObjectRetain_n)",
    "release": r"(swift_release|swift_release_n|swift_bridgeObjectRelease|swift_bridgeObjectRelease_n)",
    "alloc_object": r"swift_allocObject",
    "memcpy": r"_*(memcpy|memmove)\w*",
}


# ---- what is asked --------------------------------------------------------------

@dataclass(frozen=True)
class Case:
    path: str
    content: str = ""
    # Its rules match on the model that the content names.
    is_by_model: bool = False
    # What h2load is told beside the URL, of those that are over TLS; None: plain HTTP/1.1, by `drive`.
    sealed: tuple = None
    # Connections of the system calls of many.
    connections: int = 64

    def arguments(self, bench, port):
        """The gateway's, where the case is asked at `port`."""
        if self.is_by_model:
            routes = bench.written("peers/ai-gateway-models.yaml", parts.free_port(), POOLPORT=parts.free_port(), MODELPORT=port)
        elif self.sealed:
            routes = bench.written("peers/ai-gateway.yaml", parts.free_port(), port)
        else:
            routes = bench.written("peers/ai-gateway.yaml", port, parts.free_port())
        return bench.gateway(routes, binary=bench.binary)


STREAMS = 10
PAGE, CHAT = parts.PATHS["get"], parts.PATHS["chat"]
CASES = {
    "get": Case(PAGE),
    "chat": Case(CHAT, parts.QUESTION),
    # Of the two models that the documents name, the one whose backend is the origin.
    "chat-model": Case(CHAT, parts.question("mistral"), is_by_model=True),
    "tls": Case(PAGE, sealed=("--h1",)),
    "h2": Case(PAGE, sealed=(f"-m{STREAMS}",), connections=16),
}


# ---- load ---------------------------------------------------------------------

def request(case, port):
    content = case.content.encode()
    method = "POST" if content else "GET"
    head = f"{method} {case.path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: curl/8.0\r\nAccept: */*\r\n"
    if content:
        head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
    return head.encode() + b"\r\n" + content


def whole(data):
    """Whether an answer with a Content-Length is complete; other answers are refused."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return False
    head = data[:end].lower()
    length = re.search(rb"\r\ncontent-length: *(\d+)", head)
    if not head.startswith(b"http/1.1 200") or not length or b"connection: close" in head:
        raise machine.stop(f"an answer that cannot be counted:\n{data[:end].decode(errors='replace')}")
    missing = end + 4 + int(length.group(1)) - len(data)
    if missing < 0:
        raise machine.stop("more came than was asked for")
    return missing == 0


def drive(port, message, connections, count):
    """Sends `count` requests on each connection, the next when the answer before it is whole."""
    selector = selectors.DefaultSelector()
    left = {}
    for _ in range(connections):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(sock, selectors.EVENT_READ)
        left[sock] = [count, b""]
    for sock in left:
        sock.sendall(message)
    while left:
        for key, _ in selector.select(60):
            sock = key.fileobj
            state = left[sock]
            data = sock.recv(65536)
            if not data:
                raise machine.stop("the gateway closed a connection")
            state[1] += data
            if not whole(state[1]):
                continue
            state[0], state[1] = state[0] - 1, b""
            if state[0]:
                sock.sendall(message)
            else:
                selector.unregister(sock)
                sock.close()
                del left[sock]
    selector.close()


def drive_sealed(case, port, connections, count):
    """The same over TLS; the number of handshakes does not depend on `count`."""
    command = ["h2load", "-t1", f"-c{connections}", f"-n{connections * count}", *case.sealed, f"https://127.0.0.1:{port}{case.path}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    spoken = "http/1.1" if "--h1" in case.sealed else "h2"
    if f" {connections * count} 2xx" not in done.stdout or f"Application protocol: {spoken}\n" not in done.stdout:
        raise machine.stop(f"h2load failed:\n{done.stdout[-1000:]}{done.stderr[-500:]}")


# ---- one run ------------------------------------------------------------------

def watched(bench, tool, case, connections, count, lifetime=None):
    """Starts the gateway under a tool, sends the requests, ends it; how long they took, in seconds."""
    port = parts.free_port()
    part = bench.start("watched", tool + case.arguments(bench, port), port, None)
    try:
        began = time.monotonic()
        if case.sealed:
            drive_sealed(case, port, connections, count)
        else:
            drive(port, request(case, port), connections, count)
        took = time.monotonic() - began
        if lifetime:
            time.sleep(max(0, lifetime - took))
    finally:
        gateway = part.pids()[-1]
        for _ in range(100):
            if part.process.poll() is not None:
                break
            try:
                os.kill(gateway, signal.SIGTERM)
            except ProcessLookupError:
                pass
            try:
                part.process.wait(3)
            except subprocess.TimeoutExpired:
                continue
        bench.parts.remove(part)
    return took


# ---- callgrind ----------------------------------------------------------------

def profile(path):
    """(instructions by function, calls by function) of a callgrind file."""
    names, own, calls = {}, {}, {}
    function, callee, inclusive = None, None, False
    with open(path, errors="replace") as file:
        for line in file:
            if line[0] in "0123456789+-*":
                if inclusive:
                    inclusive = False
                elif function is not None:
                    own[function] = own.get(function, 0) + int(line.split()[1])
                continue
            match = re.match(r"(c?fn)=\((\d+)\)(?: (.*))?", line)
            if match:
                if match.group(3):
                    # A recursive function is shown as NAME'2.
                    names[match.group(2)] = re.sub(r"'\d+$", "", match.group(3).strip())
                name = names[match.group(2)]
                if match.group(1) == "fn":
                    function = name
                else:
                    callee = name
                continue
            match = re.match(r"calls=(\d+)", line)
            if match:
                calls[callee] = calls.get(callee, 0) + int(match.group(1))
                inclusive = True
    return own, calls


def difference(long, short, count):
    return {key: (value - short.get(key, 0)) / count for key, value in long.items() if value != short.get(key, 0)}


def demangled(names):
    try:
        done = subprocess.run(["swift", "demangle", "--compact", "--simplified"], input="\n".join(names), capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return names
    lines = done.stdout.splitlines()
    return lines if len(lines) == len(names) else names


def instructions(bench, scenario):
    profiles, took = {}, None
    for count in reversed(RUNS):
        path = os.path.join(bench.folder, f"callgrind.{scenario}.{count}")
        elapsed = watched(bench, ["valgrind", "--tool=callgrind", f"--callgrind-out-file={path}"], CASES[scenario], 1, count, took)
        took = took or elapsed
        profiles[count] = profile(path)
    requests = RUNS[1] - RUNS[0]
    own = difference(profiles[RUNS[1]][0], profiles[RUNS[0]][0], requests)
    calls = difference(profiles[RUNS[1]][1], profiles[RUNS[0]][1], requests)
    figures = {"instructions": sum(own.values())}
    for key, pattern in FAMILIES.items():
        # Less than none is what starting did once more in the shorter run.
        figures[key] = max(0.0, sum(value for name, value in calls.items() if re.fullmatch(pattern, name)))
    most = sorted(own, key=own.get, reverse=True)[:SHOWN]
    figures["functions"] = [(own[name], calls.get(name, 0), shown) for name, shown in zip(most, demangled(most))]
    return figures, {"own": own, "calls": calls}


# ---- strace -------------------------------------------------------------------

def summary(path):
    """Calls by name, from the table of `strace -c`."""
    calls = {}
    for line in machine.read(path).splitlines():
        fields = line.split()
        if len(fields) >= 5 and fields[3].isdigit() and fields[-1] != "total":
            calls[fields[-1]] = int(fields[3])
    if not calls:
        raise machine.stop(f"strace counted nothing; may it trace here? {machine.read(path)[:300]}")
    return calls


def system_calls(bench, case, connections, runs):
    counts, took = {}, None
    for count in reversed(runs):
        path = os.path.join(bench.folder, f"strace.{count}")
        elapsed = watched(bench, ["strace", "-f", "-c", "-U", "time-percent,total-time,avg-time,calls,errors,name", "-o", path],
                          case, connections, count, took)
        took = took or elapsed
        counts[count] = summary(path)
    calls = difference(counts[runs[1]], counts[runs[0]], (runs[1] - runs[0]) * connections)
    return sorted(((name, value) for name, value in calls.items() if abs(value) >= 0.005), key=lambda pair: -pair[1]), sum(calls.values())


# ---- the whole ----------------------------------------------------------------

def over(results):
    """Lines for the figures that are over their ceiling by more than the tolerance."""
    lines = []
    for scenario, ceilings in report.thresholds()["a_request"].items():
        for key, ceiling in ceilings.items():
            if key == "target":
                continue
            value = results["summary"].get(scenario, {}).get(key)
            # A ceiling of 0 admits what a reload or a timer does now and then.
            if value is not None and value > max(ceiling * (1 + TOLERANCE), TOLERANCE):
                lines.append(f"{scenario}: {value:,.2f} {key} a request, the ceiling is {ceiling:,}")
    return lines


def main():
    parser = argparse.ArgumentParser(prog="bench/run instructions")
    parser.add_argument("scenario", nargs="*", help=", ".join(CASES))
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    for name in set(options.scenario) - set(CASES):
        parser.error(f"{name} is no scenario; known are {', '.join(CASES)}")
    machine.build()
    facts = machine.environment()
    # All on one core: load and gateway alternate, so how many events one epoll_wait serves does not depend on luck.
    os.sched_setaffinity(0, {machine.cores()[1]})
    facts["command"] = " ".join(["bench/run instructions", *sys.argv[1:]])
    os.environ["SWIFT_DETERMINISTIC_HASHING"] = "1"  # so that starting costs the same in both runs
    facts["runs"] = RUNS
    results, raw = {}, {}
    with parts.Bench() as bench:
        bench.load_core = None
        # callgrind 3.19 cannot read Swift's debug information; names of functions are enough.
        bench.binary = os.path.join(bench.folder, "ai-gateway")
        subprocess.run(["strip", "-g", "-o", bench.binary, os.environ["AI_GATEWAY"]], check=True)
        bench.origin()
        for scenario in options.scenario or CASES:
            print(f"{parts.TITLES[scenario]}: callgrind …", file=sys.stderr, flush=True)
            results[scenario], raw[scenario] = instructions(bench, scenario)
            print(f"{parts.TITLES[scenario]}: strace …", file=sys.stderr, flush=True)
            figures = results[scenario]
            figures["calls"], figures["syscalls"] = system_calls(bench, CASES[scenario], CASES[scenario].connections, SYSTEM_RUNS)
            figures["calls_alone"], figures["syscalls_alone"] = system_calls(bench, CASES[scenario], 1, SYSTEM_RUNS_ALONE)
            figures["connections"] = CASES[scenario].connections
    results = {"kind": "instructions", "environment": facts, "summary": results}
    folder = report.save(results, raw)
    print(report.functions(results) + "\n\n" + report.counted(results))
    print(f"\nwritten to {os.path.relpath(folder)}")
    lines = over(results)
    print("\n".join(lines) if lines else "within bench/thresholds.json")
    return 1 if options.check and lines else 0


if __name__ == "__main__":
    sys.exit(main())
