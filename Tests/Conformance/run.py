#!/usr/bin/env python3
"""Runs the conformance cases of the Gateway API and of its Inference Extension against the binary: Tests/Conformance/run.py [-v] [-j N] [NAME…]

Each case gets a gateway process of its own: it starts on the base manifests, as a cluster would hold them, and the
case's manifests come as a change to the watched folder. A Gateway has a loopback address of its own; the echo pods of
the base are shared by all cases. `expected.json` says which cases have to pass; the others name what they wait for.
What came of it is written in the suites' own form, too: one ConformanceReport for each suite, named at the end.
"""
import argparse
import concurrent.futures
import difflib
import glob
import itertools
import json
import os
import sys
import tempfile
import threading
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), HERE]

import suite_report as report                                                           # noqa: E402
from cluster import CLASS, CONTROLLER, Certificates, Cluster, bindable, read   # noqa: E402
from judge import SPOKEN, Status, Traffic, check, compare, ready           # noqa: E402
from verdict import Wrong                                               # noqa: E402

from Fixtures import gateway as gateways                                # noqa: E402
from Fixtures.echo import Pods                                          # noqa: E402

# What can be played in part only: their status is judged, and the rest is skipped for this cause.
PARTLY = {"GatewayInfrastructure": "its status holds; labels and annotations of the objects that a cluster's controller makes for a "
                                   "Gateway are not looked at: there is no cluster"}
# Cases about gateways that do not claim a feature: one that claims it passes without a look.
UNCLAIMED = {"TLSRouteListenerTerminateNotSupported": "TLSRouteModeTerminate",
             "TLSRouteListenerMixedTerminationNotSupported": "TLSRouteModeMixed"}
GATEWAY_CLASS = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": CLASS},
                 "spec": {"controllerName": CONTROLLER}}


def folder():
    return os.environ.get("CONFORMANCE_DIR") or os.path.normpath(os.path.join(HERE, "..", "..", "..", "shared", "conformance"))


class Suite:
    def __init__(self, root):
        self.root, self.certificates, self.pods = root, Certificates(), Pods()
        self.claimed, self.version = [], "unknown"
        self.manifest_cache, self.bases, self.lock = {}, {}, threading.Lock()
        self.pod_addresses = (f"127.21.{i // 250}.{i % 250 + 1}" for i in itertools.count())

    def base(self, path):
        """The manifests that all cases of a suite begin with, and their pods, which these cases share."""
        with self.lock:
            if path not in self.bases:
                manifests = self.manifests(path)
                template = Cluster(None, self.certificates, self.pods, (f"127.21.255.{i}" for i in range(1, 250)), self.pod_addresses)
                template.add("base.yaml", manifests)
                self.bases[path] = manifests, {(ns, name): o["_pod"] for (kind, ns, name), o in template.objects.items() if kind == "Pod"}
            return self.bases[path]

    def manifests(self, path):
        if path not in self.manifest_cache:
            self.manifest_cache[path] = read(os.path.join(self.root, path))
        return self.manifest_cache[path]

    def play(self, number, case, within, verbose):
        """One case; raises Wrong (or anything else) when it fails."""
        octet = f"127.{20 + 10 + number // 250}.{number % 250}"
        cluster = Cluster(None, self.certificates, self.pods, (f"{octet}.{i}" for i in range(1, 200)),
                          (f"{octet}.{i}" for i in range(200, 250)))
        manifests = [m for path in case.get("manifests") or [case["manifest"]] for m in self.manifests(path)]
        base, shared = self.base(case["base"])
        ports = {}
        for m in base + manifests:
            if m["kind"] in ("Gateway", "ListenerSet"):
                for l in m["spec"].get("listeners", []):
                    ports[l["port"]] = bindable(l["port"])
        flags = ["--address", f"{octet}.199"]
        for port, actual in sorted(ports.items()):
            if port != actual:
                flags += ["--bind-port", f"{port}={actual}"]
        scratch = tempfile.mkdtemp(prefix="ai-gateway-conformance-")
        cluster.folder = os.path.join(scratch, "documents")
        cluster.add("base.yaml", [GATEWAY_CLASS] + self.certificates.documents + base, shared)
        cluster.write()
        gateway = gateways.Gateway({}, flags, start=False, scratch=scratch, workers=1)
        try:
            gateway.start()
            self.steps(case, manifests, cluster, gateway, ports, within)
            if not gateway.alive():
                raise Wrong(f"the gateway ended with {gateway.process.returncode}")
        except Exception:
            if verbose:
                print(f"--- {case['test']}: messages of the gateway\n{gateway.messages(3000)}", flush=True)
            raise
        finally:
            gateway.stop(kill=True)
            cluster.close()

    def steps(self, case, manifests, cluster, gateway, ports, within):
        status = lambda: Status(gateway.status())
        base_namespaces = {m["metadata"]["name"] for m in self.base(case["base"])[0] if m["kind"] == "Namespace"}

        def base_ready():
            look = status()
            ready(base_namespaces, look, cluster)
            compare(look.find("GatewayClass", CLASS)["status"].get("conditions"), [{"type": "Accepted", "status": "True"}], "GatewayClass")
        self.until(base_ready, within, "the base is not ready")
        claimed = [f["name"] for f in status().find("GatewayClass", CLASS)["status"].get("supportedFeatures", [])]
        self.claimed = claimed
        if self.version == "unknown":
            self.version = next((dict(k)["version"] for k in gateway.metrics().get("ai_gateway_build_info", {})), "unknown")
        if UNCLAIMED.get(case["test"]) in claimed:
            return
        cluster.add("case.yaml", manifests)
        for step in case.get("steps", []):                       # what step 1 patches is there before any request
            if step["step"] == 1:
                cluster.change({**step})
        cluster.write(["case.yaml"])
        numbers = sorted({1} | {e.get("step", 1) for k in ("steps", "traffic", "status") for e in case.get(k, [])})
        traffic = Traffic(cluster, ports, within, status)
        for number in numbers:
            generations = {(k[0], f"{k[1]}/{k[2]}" if k[1] else k[2]): o["metadata"].get("generation", 1)
                           for k, o in cluster.objects.items()}
            for step in case.get("steps", []):
                if step["step"] == number and number > 1:
                    time.sleep(float(step.get("after", "0 s").split()[0]))
                    cluster.change(step)
                    time.sleep(float(str(step.get("wait", "0 s")).split()[0]))
            if case.get("namespacesReady"):
                self.until(lambda: ready(case["namespacesReady"], status(), cluster), within)
            for entry in case.get("status", []):
                if entry.get("step", 1) == number:
                    self.until(lambda: check(entry, status(), cluster, generations), within)
                    if entry.get("noAcceptedParents"):
                        time.sleep(1)
                        check(entry, status(), cluster, generations)
            for entry in case.get("traffic", []):
                if entry.get("step", 1) == number:
                    traffic.play(entry)

    def until(self, what, within, prefix=None):
        end = time.monotonic() + within
        while True:
            try:
                return what()
            except (Wrong, OSError, KeyError, StopIteration) as error:
                if time.monotonic() > end:
                    raise Wrong(f"{prefix + ': ' if prefix else ''}{error if isinstance(error, Wrong) else repr(error)}") from None
                time.sleep(0.05)


def unknown(name, names):
    """What to say of a name that no case has: those that have it in theirs, else the nearest."""
    near = [n for n in names if name.lower() in n.lower()] or difflib.get_close_matches(name, names, 5, 0.5)
    shown = ", ".join(near[:8]) + (f" and {len(near) - 8} more" if len(near) > 8 else "")
    return f"no case is called {name}" + (f"; did you mean {shown}?" if near else f"; there are {len(names)}, from {min(names)} to {max(names)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="cases by name (all of them when none is given)")
    parser.add_argument("-j", "--jobs", type=int, default=4)
    parser.add_argument("-v", "--verbose", action="store_true", help="show a failed case's gateway messages")
    parser.add_argument("--reports", default=os.path.join(gateways.ROOT, ".build", "conformance"), metavar="FOLDER",
                        help="where the suites' reports are written")
    options = parser.parse_args()
    root = folder()
    if not os.path.isdir(os.path.join(root, "cases")):
        print(f"SKIPPED: no conformance tables at {root}. They are kept outside this repository; CONFORMANCE_DIR names their place.")
        print("0 passed, 0 failed, 1 skipped")
        return 0
    if not os.path.exists(gateways.binary()):
        print(f"no binary at {gateways.binary()}: build it with `swift build -c release`, or set AI_GATEWAY")
        print("0 passed, 1 failed")
        return 1
    cases = {}
    for path in sorted(glob.glob(os.path.join(root, "cases", "*.json"))):
        with open(path) as file:
            case = json.load(file)
        cases[case["test"]] = case
    with open(os.path.join(HERE, "expected.json")) as file:
        table = json.load(file)
    waits = {name: reason for reason, names in table["waiting"].items() for name in names}
    errors = [f"{n}: not in expected.json" for n in cases if n not in waits and n not in table["pass"]]
    errors += [f"{n}: in expected.json, but no such case" for n in [*waits, *table["pass"]] if n not in cases]
    names = list(dict.fromkeys(options.names)) or list(cases)
    if strange := [n for n in names if n not in cases]:
        print("\n".join(unknown(n, list(cases)) for n in strange))
        print(f"0 passed, {len(strange)} failed")
        return 2
    suite, counts = Suite(root), {"passed": 0, "failed": len(errors), "skipped": 0}
    for error in errors:
        print("FAIL", error)

    def play(item):
        number, name = item
        case, reason, began = cases[name], waits.get(name), time.monotonic()
        # What can be judged of a case that is played in part has to hold.
        waits_for = reason if name not in PARTLY else None
        unspoken = {t.get("protocol") for t in case["traffic"]} - SPOKEN
        if reason and unspoken:
            return name, "wait", f"{reason} (not run: this runner does not speak {', '.join(sorted(unspoken))} yet)", 0
        try:
            if unspoken:
                raise Wrong(f"this runner does not speak {unspoken} yet")
            suite.play(number, case, 2.0 if waits_for else 30.0, options.verbose and not waits_for)
            outcome, text = ("now passes", reason) if reason else ("pass", "")
            if name in PARTLY:
                outcome, text = "wait", f"{reason} ({PARTLY[name]})"
        except Wrong as wrong:
            outcome, text = ("wait", f"{reason} ({wrong})") if waits_for else ("FAIL", str(wrong))
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            if options.verbose:
                traceback.print_exc()
            outcome, text = ("wait", f"{reason} ({text[:300]})") if waits_for else ("FAIL", text[:2000])
        return name, outcome, text, time.monotonic() - began

    words = {"pass": "passed", "now passes": "passed", "FAIL": "failed", "wait": "skipped"}
    outcomes = {}
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for name, outcome, text, took in pool.map(play, enumerate(names)):
            counts[words[outcome]] += 1
            outcomes[name] = {"passed": "pass", "failed": "fail", "skipped": "skip"}[words[outcome]]
            print(f"{outcome:<5} {name} ({took:.1f} s){': ' + text if text else ''}", flush=True)
    for name in [n for n, o in outcomes.items() if o == "skip" and cases[n]["suite"] == "gateway-api"]:
        if report.unclaimed(cases[name], suite.claimed):
            outcomes[name] = "unsupported"
        elif suite.claimed:
            counts["failed"] += 1
            print(f"FAIL {name}: waits, and all of its features are claimed: {', '.join(cases[name]['feature'])}")
    for line in report.write(options.reports, root, cases, outcomes, suite.claimed, suite.version):
        print(line)
    core = [n for n in names if cases[n]["core"] and cases[n]["kind"] == "HTTPRoute"]
    print(f"HTTPRoute core cases in this run: {len(core)}, of which {sum(n in table['pass'] for n in core)} are expected to pass")
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
