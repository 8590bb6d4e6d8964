"""What many routes cost: starting with them, changing one file of a hundred routes, and the requests meanwhile.

Each route has two rules and five matches, two routes share a host, and a hundred routes a file. A request is
sent every five milliseconds on one connection, each at its time whether the one before was slow or not: latency counts from that time.
"""
import argparse
import glob
import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import threading
import time

import machine
import parts
import report

COUNTS = (10, 1_000, 10_000)
ROUTES_PER_FILE = 100
INTERVAL = 0.005            # seconds between two requests
SETTLE = 0.5

GATEWAY = """apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {{name: ai-gateway}}
spec: {{controllerName: ai-gateway.dev/gateway-controller}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: gateway}}
spec:
  gatewayClassName: ai-gateway
  listeners: [{{name: http, port: {port}, protocol: HTTP}}]
"""
SERVICE = """---
apiVersion: v1
kind: Service
metadata: {{name: s{n}}}
spec: {{ports: [{{port: 80, targetPort: {port}}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: s{n}, labels: {{kubernetes.io/service-name: s{n}}}}}
addressType: IPv4
ports: [{{port: {port}}}]
endpoints: [{{addresses: ["127.0.0.1"], conditions: {{ready: true}}}}]
"""
ROUTE = """---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: r{n}}}
spec:
  parentRefs: [{{name: gateway}}]
  hostnames: ["h{host}.example.com"]
  rules:
  - matches:
    - path: {{type: PathPrefix, value: /a{n}/v1}}
    - path: {{type: PathPrefix, value: /a{n}/v2}}
    - path: {{type: Exact, value: /a{n}/models}}
    filters: [{{type: ResponseHeaderModifier, responseHeaderModifier: {{set: [{{name: x-version, value: "{version}"}}]}}}}]
    backendRefs: [{{name: s{service}, port: 80}}]
  - matches:
    - path: {{type: PathPrefix, value: /b{n}}}
      method: POST
    - path: {{type: PathPrefix, value: /b{n}}}
      headers: [{{name: x-tenant, value: t{n}}}]
    backendRefs: [{{name: s{service}, port: 80}}]
"""


class Documents:
    """A folder of them; `change` writes the last file anew, as kubectl and editors do: aside, then renamed."""

    def __init__(self, folder, routes, port, origin):
        self.folder, self.routes, self.version = folder, routes, 0
        os.makedirs(folder)
        self.write("gateway.yaml", GATEWAY.format(port=port))
        self.write("services.yaml", "".join(SERVICE.format(n=n, port=origin) for n in range(100)))
        for first in range(0, routes, ROUTES_PER_FILE):
            self.write_routes(first)
        self.last = (routes - 1) // ROUTES_PER_FILE * ROUTES_PER_FILE
        self.host, self.target = f"h{self.last // 2}.example.com", f"/a{self.last}/models"

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path + ".next", "w") as file:
            file.write(text)
        os.rename(path + ".next", path)

    def write_routes(self, first):
        self.write(f"routes-{first:06d}.yaml", "".join(
            ROUTE.format(n=n, host=n // 2, service=n % 100, version=self.version)
            for n in range(first, min(first + ROUTES_PER_FILE, self.routes))))

    def change(self):
        self.version += 1
        self.write_routes(self.last)
        return str(self.version)


class Asker(threading.Thread):
    """Asks at each interval until it is told to stop; latencies from the planned time on, in milliseconds."""

    def __init__(self, port, documents):
        super().__init__(daemon=True)
        self.port, self.documents = port, documents
        self.latencies, self.failures, self.versions, self.over = [], 0, {}, False

    def run(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        due = time.monotonic()
        while not self.over:
            wait = due - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            try:
                connection.request("GET", self.documents.target, headers={"Host": self.documents.host})
                answer = connection.getresponse()
                answer.read()
                self.failures += answer.status != 200
                self.versions.setdefault(answer.getheader("x-version"), time.monotonic())
            except (OSError, http.client.HTTPException):
                self.failures += 1
                connection.close()
            self.latencies.append((time.monotonic() - due) * 1e3)
            due += INTERVAL
        connection.close()

    def stop(self):
        self.over = True
        self.join()
        return self


def page(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/metrics")
    return connection.getresponse().read().decode()


def longest_tick(before, after):
    """The upper bound, in milliseconds, of the longest turn of a worker's loop between two pages."""
    def counts(text):
        return dict((float(bound), int(count)) for bound, count in
                    re.findall(r'^ai_gateway_worker_tick_seconds_bucket\{le="([^"]+)"\} (\d+)$', text, re.M))
    old, new = counts(before), counts(after)
    below, longest = 0, 0.0
    for bound in sorted(new):
        added = new[bound] - old.get(bound, 0)
        if added > below:
            longest = bound * 1e3
        below = added
    return longest


def control_seconds(pid):
    """Processor time of the thread that reads and compiles documents; it is there once the first were read."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        for task in glob.glob(f"/proc/{pid}/task/*"):
            if machine.read(f"{task}/comm").strip() == "control":
                return int(machine.read(f"{task}/schedstat").split()[0]) / 1e9
        time.sleep(0.01)
    raise machine.stop("no thread is named control")


def quantile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def reloads(count, documents, port, pid, is_loaded):
    """Changes a file `count` times; how long each took to be in force, and what it cost the control thread."""
    asker = Asker(port, documents)
    asker.start()
    took, cost = [], []
    for _ in range(count):
        time.sleep(SETTLE if is_loaded else 0)
        began, spent = time.monotonic(), control_seconds(pid)
        version = documents.change()
        while version not in asker.versions:
            time.sleep(0.001)
            if time.monotonic() - began > 60:
                raise machine.stop("a changed file was not taken within a minute")
        took.append((asker.versions[version] - began) * 1e3)
        time.sleep(SETTLE)                                 # the end of the reload, after it is in force
        cost.append((control_seconds(pid) - spent) * 1e3)
    return asker.stop(), took, cost


def measure(bench, routes, count):
    port, metrics = parts.free_port(), parts.free_port()
    documents = Documents(os.path.join(bench.folder, f"documents-{routes}"), routes, port, bench.origin_port)
    command = [os.environ["AI_GATEWAY"], "run", documents.folder, "--address", "127.0.0.1", "--workers", "1", "--admin", "off",
               "--access-log", "off", "--log-level", "error", "--metrics", f"127.0.0.1:{metrics}"]
    began = time.monotonic()
    part = bench.start("ai-gateway", command, port, bench.proxy_core)
    started = (time.monotonic() - began) * 1e3
    pid = next(pid for pid in part.pids() if machine.stat(pid)[0].startswith("ai-gateway"))
    first = machine.spent([pid]) / 1e6
    try:
        quiet = Asker(port, documents)
        quiet.start()
        time.sleep(count * 2 * SETTLE)
        quiet.stop()
        before = page(metrics)
        asker, took, cost = reloads(count, documents, port, pid, True)
        after = page(metrics)
        return {
            "routes": routes, "matches": 5 * routes, "start_ms": started, "start_cpu_ms": first,
            "in_force_ms": [statistics.median(took), min(took), max(took)], "control_ms": [statistics.median(cost), min(cost), max(cost)],
            "longest_tick_ms": longest_tick(before, after), "requests": len(asker.latencies), "failures": asker.failures + quiet.failures,
            "quiet_ms": [quantile(quiet.latencies, 0.5), quantile(quiet.latencies, 0.99)],
            "reload_ms": [quantile(asker.latencies, 0.5), quantile(asker.latencies, 0.99), max(asker.latencies)],
            "resident_mib": machine.memory([pid])[0],
        }
    finally:
        part.stop()
        bench.parts.remove(part)


def main():
    parser = argparse.ArgumentParser(prog="bench/run scale", description=__doc__)
    parser.add_argument("--routes", default=",".join(map(str, COUNTS)), help="numbers of routes (%(default)s)")
    parser.add_argument("--reloads", type=int, default=20, help="changed files for each (%(default)s)")
    parser.add_argument("--check", action="store_true", help="exit 1 when a request failed or a bound does not hold")
    arguments = parser.parse_args()
    machine.build("ai-gateway")
    busy, share, who = machine.busy()
    rows = []
    with parts.Bench(certified=False) as bench:
        bench.origin()
        os.sched_setaffinity(0, {bench.load_core})
        for routes in map(int, arguments.routes.split(",")):
            rows.append(measure(bench, routes, arguments.reloads))
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    facts = machine.environment(share, who) | {"busy": busy, "command": "bench/run scale " + " ".join(sys.argv[1:]), "reloads": arguments.reloads}
    results = {"kind": "scale", "environment": facts, "rows": rows}
    folder = report.save(results, rows)
    print(report.scaled(results))
    print(f"\n{os.path.relpath(folder)}", file=sys.stderr)
    limits = report.thresholds()["scale"]
    bad = [f"{row['routes']} routes: {name} {row[name]} over {limit}" for row in rows for name, limit in limits.items() if row[name] > limit]
    for line in bad:
        print(line, file=sys.stderr)
    return 1 if bad and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
