"""Rounds of load on the gateway and its peers, one after another, and what each request cost."""
import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import urllib.request

import machine
import parts
import report

CONNECTIONS = 64
# Over HTTP/2: so many connections with so many streams each.
CONNECTIONS_H2, STREAMS = 16, 10
ROUNDS_MIN = 5


def arguments():
    parser = argparse.ArgumentParser(prog="bench/run")
    parser.add_argument("scenario", nargs="*", help=", ".join(parts.SCENARIOS))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--peers", default=",".join(parts.PEERS))
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--force", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.seconds = 1
    if options.rounds < ROUNDS_MIN:
        parser.error(f"fewer than {ROUNDS_MIN} rounds show no spread")
    options.scenarios = options.scenario or list(parts.SCENARIOS)
    options.peers = [name for name in options.peers.split(",") if name]
    for name in set(options.scenarios) - set(parts.SCENARIOS):
        parser.error(f"{name} is no scenario; known are {', '.join(parts.SCENARIOS)}")
    for name in set(options.peers) - set(parts.PEERS):
        parser.error(f"{name} is no peer; known are {', '.join(parts.PEERS)}")
    absent = [name for name in options.peers if not shutil.which(name)]
    if absent:
        print(f"not installed, so left out: {', '.join(absent)}. To have them, as root:\n"
              f"  apt-get update && apt-get install -y {' '.join(absent)}")
        options.peers = [name for name in options.peers if name not in absent]
    return options


def over_http1(bench, part, scenario, seconds):
    """One run of wrk; its figures."""
    done = subprocess.run(
        [*parts.BATCH, "taskset", "-c", str(bench.load_core), "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:g}s", "--latency",
         "-s", os.path.join(parts.HERE, "load.lua"), f"http://127.0.0.1:{part.port}{parts.PATHS[scenario]}",
         "--", scenario, bench.question],
        capture_output=True, text=True, timeout=seconds + 60)
    found = re.search(r"^FIGURES (.*)$", done.stdout, re.M)
    if not found:
        raise machine.stop(f"wrk against {part.name} failed:\n{done.stdout}{done.stderr}")
    return json.loads(found.group(1))


def over_http2(bench, part, scenario, seconds):
    """One run of h2load; its figures, which have no percentiles."""
    done = subprocess.run(
        [*parts.BATCH, "taskset", "-c", str(bench.load_core), "h2load", "-t1", f"-c{CONNECTIONS_H2}", f"-m{STREAMS}", f"-D{max(1, round(seconds))}",
         f"https://127.0.0.1:{part.tls_port}{parts.PATHS[scenario]}"],
        capture_output=True, text=True, timeout=seconds + 60)
    found = re.search(r"^finished in ([0-9.]+)(m?s), ", done.stdout, re.M)
    counts = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", done.stdout)
    if not found or not counts or "Application protocol: h2\n" not in done.stdout:
        raise machine.stop(f"h2load against {part.name} failed:\n{done.stdout}{done.stderr}")
    good, *bad = (int(number) for number in counts.groups())
    return {"requests": good, "errors": sum(bad), "p50": None, "p99": None,
            "microseconds": float(found.group(1)) * (1e3 if found.group(2) == "ms" else 1e6)}


def load(bench, part, scenario, seconds):
    """One run of load; its figures, and what the proxy spent meanwhile."""
    others, pids = machine.Others(), part.pids()
    before = machine.spent(pids)
    figures = (over_http2 if scenario == "h2" else over_http1)(bench, part, scenario, seconds)
    nanoseconds = machine.spent(pids) - before
    share, who = others.end()
    if figures["errors"] or not figures["requests"]:
        raise machine.stop(f"{part.name} answered with errors, so nothing is judged: {figures}")
    resident, anonymous = machine.memory(pids)
    return {
        "scenario": scenario, "proxy": part.name, "requests": figures["requests"],
        "cpu_us": nanoseconds / 1000 / figures["requests"],
        "per_second": figures["requests"] / (figures["microseconds"] / 1e6),
        "p50_us": figures["p50"], "p99_us": figures["p99"], "core": nanoseconds / 1000 / figures["microseconds"],
        "resident_mib": resident, "anonymous_mib": anonymous,
        "others_share": round(share, 3), "others": who,
    }


def check_answers(bench, proxies):
    """Every proxy gives the answers that the origin gives; a wrong one would be compared for nothing."""
    for part in proxies:
        base = f"http://127.0.0.1:{part.port}"
        for scenario, content, wanted in (("get", None, parts.TEXT), ("chat", parts.QUESTION.encode(), parts.ANSWER)):
            with urllib.request.urlopen(urllib.request.Request(base + parts.PATHS[scenario], content), timeout=10) as answer:
                if answer.read().decode() != wanted:
                    raise machine.stop(f"{part.name} does not pass the origin's answer on ({scenario})")


def check_http2(proxies):
    """The same over HTTP/2 and TLS."""
    for part in proxies:
        done = subprocess.run(["curl", "-sk", "--http2", "--max-time", "10", "-w", "%{http_version}",
                               f"https://127.0.0.1:{part.tls_port}{parts.PATHS['h2']}"], capture_output=True, text=True)
        if done.stdout != parts.TEXT + "2":
            raise machine.stop(f"{part.name} does not pass the origin's answer on (h2): {done.stdout!r} {done.stderr}")


def check_counted(gateway, rows):
    """The gateway's metrics page has counted what was sent: its features were on."""
    with urllib.request.urlopen(f"http://127.0.0.1:{gateway.metrics}/metrics", timeout=10) as answer:
        page = answer.read().decode()
    counted = sum(float(value) for value in re.findall(r"^ai_gateway_requests_total\{.*\} (\S+)$", page, re.M))
    sent = sum(row["requests"] for row in rows if row["proxy"] == parts.GATEWAY)
    if counted < sent:
        raise machine.stop(f"the metrics page counts {counted:.0f} requests of {sent}: metrics were not on")


def rounds(bench, proxies, options):
    """Round by round every proxy in turn; who begins changes, so that no order favours one."""
    rows = []
    for scenario in options.scenarios:
        for part in proxies:
            load(bench, part, scenario, min(1, options.seconds))
        for number in range(options.rounds):
            turn = number % len(proxies)
            for part in proxies[turn:] + proxies[:turn]:
                row = load(bench, part, scenario, options.seconds)
                row["round"] = number
                rows.append(row)
                mark = f"  others {row['others_share']:.0%} of a core" if row["others_share"] > machine.BUSY_SHARE else ""
                print(f"{scenario:5} round {number + 1}/{options.rounds} {part.name:10} {row['cpu_us']:7.2f} µs"
                      f" {row['per_second']:9.0f}/s  {latency(row)}{mark}",
                      flush=True)
    return rows


def latency(row):
    if row["p50_us"] is None:
        return ""
    return f"p50 {row['p50_us'] / 1000:.2f} ms  p99 {row['p99_us'] / 1000:.2f} ms"


def spread(values):
    if None in values:
        return None
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def summarise(rows, options):
    """Medians and spread of each proxy; the gateway's ratio to a peer is the median of the ratios of each round."""
    out = {}
    for scenario in options.scenarios:
        mine = [row for row in rows if row["scenario"] == scenario]
        out[scenario] = {}
        own = {row["round"]: row["cpu_us"] for row in mine if row["proxy"] == parts.GATEWAY}
        for name in [parts.GATEWAY, *options.peers]:
            of = [row for row in mine if row["proxy"] == name]
            figures = {key: spread([row[key] for row in of])
                       for key in ("cpu_us", "per_second", "p50_us", "p99_us", "core", "resident_mib", "anonymous_mib")}
            if name != parts.GATEWAY:
                figures["gateway_ratio"] = spread([own[row["round"]] / row["cpu_us"] for row in of])
            out[scenario][name] = figures
    return out


def judge(results):
    """Lines that say whether the ceilings of thresholds.json hold, and whether all do."""
    ceilings, lines, good = report.thresholds()["cpu_ratio"], [], True
    for scenario, proxies in results["summary"].items():
        for name, figures in proxies.items():
            ceiling = ceilings.get(scenario, {}).get(name)
            if ceiling is None or "gateway_ratio" not in figures:
                continue
            ratio = figures["gateway_ratio"]["median"]
            holds = ratio <= ceiling
            good = good and holds
            lines.append(f"{scenario}: {ratio:.2f} × {name}'s CPU a request, at most {ceiling:.2f}: {'holds' if holds else 'DOES NOT HOLD'}")
    return lines, good


def main():
    options = arguments()
    is_busy, share, who = machine.busy()
    if is_busy and not options.force:
        raise machine.stop(
            f"The machine is busy: other processes use {share:.0%} of a core ({', '.join(who)}). Nothing was measured.\n"
            "Wait until it is quiet; --force measures all the same, and marks the results.")
    if machine.cores()[0] == machine.cores()[1] and not options.force:
        raise machine.stop("Only one core may be used here: load, origin and proxy would share it. --force measures all the same.")
    machine.build()
    facts = machine.environment(share, who)
    facts["command"] = " ".join(["bench/run", *sys.argv[1:]])
    facts["connections"], facts["seconds"], facts["rounds"] = CONNECTIONS, options.seconds, options.rounds
    print(f"{facts['connections']} connections, {options.rounds} rounds of {options.seconds:g} s each; origin and wrk on core"
          f" {facts['core_of_load_and_origin']}, each proxy on core {facts['core_of_proxy']}; access logs are off in all")
    with parts.Bench() as bench:
        bench.origin()
        proxies = [bench.proxy(name) for name in [parts.GATEWAY, *options.peers]]
        check_answers(bench, proxies)
        if "h2" in options.scenarios:
            check_http2(proxies)
        rows = rounds(bench, proxies, options)
        check_counted(proxies[0], rows)
    disturbed = sum(row["others_share"] > machine.BUSY_SHARE for row in rows)
    facts["disturbed_runs"], facts["runs"] = disturbed, len(rows)
    facts["busy"] = is_busy or disturbed > 0
    results = {"kind": "measure", "environment": facts, "summary": summarise(rows, options)}
    folder = report.save(results, rows)
    print("\n" + report.measured(results))
    print(f"\nwritten to {os.path.relpath(folder)}")
    if disturbed and not options.force:
        raise machine.stop(f"Others used the machine in {disturbed} of {len(rows)} runs: nothing is judged. Run it again on a quiet machine.")
    lines, good = judge(results)
    print("\n".join(f"{line} (on a busy machine)" if facts["busy"] else line for line in lines))
    return 1 if options.check and not good else 0


if __name__ == "__main__":
    sys.exit(main())
