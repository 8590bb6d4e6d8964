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

import machine
import parts
import report

RUNS = (200, 2200)          # requests on one connection, under callgrind
SYSTEM_RUNS = (20, 320)     # requests a connection on 64 connections, under strace
SYSTEM_RUNS_ALONE = (100, 1600)
CONNECTIONS = 64
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


# ---- load ---------------------------------------------------------------------

def request(scenario, port):
    content = parts.QUESTION.encode() if scenario == "chat" else b""
    method = "POST" if content else "GET"
    head = f"{method} {parts.PATHS[scenario]} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: curl/8.0\r\nAccept: */*\r\n"
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


# ---- one run ------------------------------------------------------------------

def watched(bench, tool, scenario, connections, count, lifetime=None):
    """Starts the gateway under a tool, sends the requests, ends it; how long they took, in seconds."""
    port = parts.free_port()
    command = tool + bench.gateway_command(port, binary=bench.binary)
    part = bench.start("watched", command, port, None)
    try:
        began = time.monotonic()
        drive(port, request(scenario, port), connections, count)
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
        elapsed = watched(bench, ["valgrind", "--tool=callgrind", f"--callgrind-out-file={path}"], scenario, 1, count, took)
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


def system_calls(bench, scenario, connections, runs):
    counts, took = {}, None
    for count in reversed(runs):
        path = os.path.join(bench.folder, f"strace.{scenario}.{connections}.{count}")
        elapsed = watched(bench, ["strace", "-f", "-c", "-U", "time-percent,total-time,avg-time,calls,errors,name", "-o", path],
                          scenario, connections, count, took)
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
            value = results["summary"].get(scenario, {}).get(key)
            # A ceiling of 0 admits what a reload or a timer does now and then.
            if value is not None and value > max(ceiling * (1 + TOLERANCE), TOLERANCE):
                lines.append(f"{scenario}: {value:,.2f} {key} a request, the ceiling is {ceiling:,}")
    return lines


def main():
    parser = argparse.ArgumentParser(prog="bench/run instructions")
    parser.add_argument("scenario", nargs="*", help=", ".join(parts.COUNTED))
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    for name in set(options.scenario) - set(parts.COUNTED):
        parser.error(f"{name} is no scenario; known are {', '.join(parts.COUNTED)}")
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
        for scenario in options.scenario or parts.COUNTED:
            print(f"{parts.TITLES[scenario]}: callgrind …", file=sys.stderr, flush=True)
            results[scenario], raw[scenario] = instructions(bench, scenario)
            print(f"{parts.TITLES[scenario]}: strace …", file=sys.stderr, flush=True)
            figures = results[scenario]
            figures["calls"], figures["syscalls"] = system_calls(bench, scenario, CONNECTIONS, SYSTEM_RUNS)
            figures["calls_alone"], figures["syscalls_alone"] = system_calls(bench, scenario, 1, SYSTEM_RUNS_ALONE)
    results = {"kind": "instructions", "environment": facts, "summary": results}
    folder = report.save(results, raw)
    print(report.functions(results) + "\n\n" + report.counted(results))
    print(f"\nwritten to {os.path.relpath(folder)}")
    lines = over(results)
    print("\n".join(lines) if lines else "within bench/thresholds.json")
    return 1 if options.check and lines else 0


if __name__ == "__main__":
    sys.exit(main())
