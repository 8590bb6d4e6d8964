"""What the gateway adds to the time of an answer to a long prompt: the same request directly and through it, in turns."""
import argparse
import gc
import json
import multiprocessing
import os
import random
import socket
import statistics
import sys
import threading
import time

import machine
import parts
import report

sys.path.append(os.path.join(parts.HERE, "picking"))

import workloads  # noqa: E402

PROMPT_BYTES = 200 << 10
ANSWER = parts.ANSWER.encode()
# Of each way: what is asked, and whether the gateway is asked.
WAYS = {"direct": ("/v1/chat/completions", False), "passed on": ("/passed", True), "read and picked": ("/v1/chat/completions", True)}


def arguments():
    parser = argparse.ArgumentParser(prog="bench/run latency")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=500, help="of each way and round")
    parser.add_argument("--force", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.requests = 5, 200
    if options.rounds < 5 or options.requests < 100:
        parser.error("fewer than 5 rounds of 100 requests show no p99 and no spread")
    return options


# ---- the origin -------------------------------------------------------------------

def serve(listener):
    """Answers each request once all of its content is here, as a model server does."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(ANSWER), ANSWER)

    def run(connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        room, count = bytearray(1 << 20), 0
        while True:
            end = room.find(b"\r\n\r\n", 0, count)
            if end < 0:
                got = connection.recv_into(memoryview(room)[count:])
                if got == 0:
                    return connection.close()
                count += got
                continue
            head = bytes(room[:end]).lower()
            at = head.find(b"\r\ncontent-length:")
            length = int(head[at + 17:].split(b"\r\n")[0]) if at >= 0 else 0
            while count < end + 4 + length:
                got = connection.recv_into(memoryview(room)[count:])
                if got == 0:
                    return connection.close()
                count += got
            connection.sendall(answer)
            count = 0

    while True:
        threading.Thread(target=run, args=(listener.accept()[0],), daemon=True).start()


def origin(core, listeners):
    os.sched_setaffinity(0, {core})
    for listener in listeners[1:]:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
    serve(listeners[0])


# ---- the load ---------------------------------------------------------------------

class Client:
    """One connection that asks, waits for the answer, and asks again."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.room = bytearray(1 << 16)

    def ask(self, request):
        """Microseconds until the answer was whole."""
        begin = time.perf_counter_ns()
        self.socket.sendall(request)
        count, wanted = 0, None
        while wanted is None or count < wanted:
            got = self.socket.recv_into(memoryview(self.room)[count:])
            if got == 0:
                raise machine.stop("the connection ended")
            count += got
            if wanted is None and (end := self.room.find(b"\r\n\r\n", 0, count)) >= 0:
                if not self.room.startswith(b"HTTP/1.1 200"):
                    raise machine.stop(f"not answered: {bytes(self.room[:count])!r}")
                wanted = end + 4 + len(ANSWER)
        return (time.perf_counter_ns() - begin) / 1000


def requests(path, count):
    """Prompts that differ from their beginning on, so that nothing is found again."""
    rng = random.Random(path)
    for number in range(count):
        content = json.dumps({"model": "llama3", "stream": False, "messages": [
            {"role": "user", "content": f"{number} " + workloads.text(rng, 175)} for _ in range(PROMPT_BYTES // 740)]})
        content = (content[:-3] + " " * max(0, PROMPT_BYTES - len(content)) + content[-3:]).encode()
        yield b"POST %s HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (path.encode(), len(content), content)


def rounds(ports, options):
    """[{way: sorted microseconds}] of each round; the ways take turns request by request, and who begins changes."""
    out = []
    clients = {way: Client(ports["gateway" if through else "origin"]) for way, (_, through) in WAYS.items()}
    prepared = {way: list(requests(path, 50)) for way, (path, _) in WAYS.items()}
    for way in WAYS:
        for request in prepared[way]:
            clients[way].ask(request)
    names = list(WAYS)
    gc.collect()
    gc.disable()
    for number in range(options.rounds):
        others, taken = machine.Others(), {way: [] for way in WAYS}
        for index in range(options.requests):
            turn = index % len(names)
            for way in names[turn:] + names[:turn]:
                taken[way].append(clients[way].ask(prepared[way][index % 50]))
        share, who = others.end()
        out.append({"times": {way: sorted(times) for way, times in taken.items()}, "others_share": round(share, 3), "others": who})
        print(f"round {number + 1}/{options.rounds}  " + "  ".join(
            f"{way} p50 {percentile(times, .5):.0f} µs p99 {percentile(times, .99):.0f} µs" for way, times in out[-1]["times"].items())
            + (f"  others {share:.0%} of a core" if share > machine.BUSY_SHARE else ""), flush=True)
    return out


def percentile(ordered, share):
    return ordered[max(0, min(len(ordered) - 1, round(share * len(ordered)) - 1))]


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def summarise(out):
    """Of each way p50 and p99, and what they are more than those of the direct way in the same round."""
    summary = {}
    for way in WAYS:
        of = {key: [percentile(r["times"][way], share) for r in out] for key, share in (("p50", .5), ("p99", .99))}
        direct = {key: [percentile(r["times"]["direct"], share) for r in out] for key, share in (("p50", .5), ("p99", .99))}
        summary[way] = {key: spread(values) for key, values in of.items()}
        if way != "direct":
            summary[way] |= {f"added_{key}": spread([a - b for a, b in zip(of[key], direct[key])]) for key in of}
    return summary


def main():
    options = arguments()
    is_busy, share, who = machine.busy()
    if is_busy and not options.force:
        raise machine.stop(f"The machine is busy: other processes use {share:.0%} of a core ({', '.join(who)}). Nothing was measured; "
                           "--force measures all the same, and marks the results.")
    machine.build()
    facts = machine.environment(share, who)
    facts |= {"command": " ".join(["bench/run latency", *sys.argv[1:]]), "rounds": options.rounds, "requests": options.requests}
    listeners = [socket.create_server(("127.0.0.1", 0), backlog=64) for _ in range(2)]
    first, second = (listener.getsockname()[1] for listener in listeners)
    with parts.Bench(certified=False) as bench:
        process = multiprocessing.get_context("fork").Process(target=origin, args=(bench.load_core, listeners), daemon=True)
        process.start()
        try:
            port, path = parts.free_port(), os.path.join(bench.folder, "latency.yaml")
            content = machine.read(os.path.join(parts.HERE, "latency.yaml"))
            for name, value in {"PORT": port, "FIRST": first, "SECOND": second}.items():
                content = content.replace(f"@{name}@", str(value))
            with open(path, "w") as file:
                file.write(content)
            bench.start(parts.GATEWAY, [os.environ["AI_GATEWAY"], "run", path, "--address", "127.0.0.1", "--workers", "1", "--admin", "off",
                                        "--access-log", "off", "--log-level", "error"], port, bench.proxy_core)
            os.sched_setaffinity(0, {bench.load_core})
            out = rounds({"origin": first, "gateway": port}, options)
        finally:
            process.terminate()
    disturbed = sum(r["others_share"] > machine.BUSY_SHARE for r in out)
    facts |= {"disturbed_runs": disturbed, "runs": len(out), "busy": is_busy or disturbed > 0}
    results = {"kind": "latency", "environment": facts, "summary": summarise(out)}
    folder = report.save(results, out)
    print(f"\n{report.added(results)}\n\nwritten to {os.path.relpath(folder)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
