"""Rounds of load on the gateway, its peers and the floors, one after another, and what each request cost."""
import argparse
import os
import re
import resource
import statistics
import sys
import urllib.request

import machine
import parts
import report
import scenarios

ROUNDS_MIN = 5
# How often a run that others disturbed is made before it is kept as it is.
TRIES = 3
# After so many runs in a row that could not be had undisturbed, the machine is not the place to measure.
GIVE_UP = 12
QUICK_ROUNDS, QUICK_SECONDS = 3, 0.4
FIGURES = ("cpu_us", "per_second", "p50_us", "p99_us", "core", "resident_mib", "anonymous_mib", "kib")


def arguments():
    parser = argparse.ArgumentParser(prog="bench/run")
    parser.add_argument("scenario", nargs="*", help=", ".join([*scenarios.SCENARIOS, *scenarios.GROUPS]))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--peers", default=",".join(parts.PEERS))
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--force", action="store_true")
    options = parser.parse_args()
    if options.rounds is not None and options.rounds < ROUNDS_MIN:
        parser.error(f"fewer than {ROUNDS_MIN} rounds show no spread")
    options.rounds = options.rounds or (QUICK_ROUNDS if options.quick else 7)
    options.seconds = options.seconds or (QUICK_SECONDS if options.quick else 2)
    try:
        options.scenarios = scenarios.named(options.scenario)
    except KeyError as error:
        parser.error(f"{error.args[0]} is no scenario; known are {', '.join([*scenarios.SCENARIOS, *scenarios.GROUPS])}")
    options.peers = [name for name in options.peers.split(",") if name]
    for name in set(options.peers) - set(parts.PEERS):
        parser.error(f"{name} is no peer; known are {', '.join(parts.PEERS)}")
    absent = [name for name in options.peers if not machine.program(name)]
    if absent:
        print(f"not installed, so left out: {', '.join(absent)}. To have them:")
        for line in machine.how_to_get(absent):
            print(f"  {line}")
        options.peers = [name for name in options.peers if name not in absent]
    return options


class Fleet:
    """The processes that a measurement has started, each when it is first needed."""

    def __init__(self, bench):
        self.bench, self.parts, self.sent, self.commands, self.disturbed = bench, {}, {}, {}, 0
        bench.contents("files/10mb", scenarios.file_answer)
        bench.origin()

    def part(self, way):
        key = way.part
        if key not in self.parts:
            kind, _, target = key.partition(":")
            if (target == "READER" or not target) and "READER" not in self.parts:
                self.parts["READER"] = self.bench.reader()
            part = self.parts[key] = self.bench.relay(kind, target) if target else self.bench.proxy(key)
            self.sent[key] = 0
            self.commands[key] = " ".join(part.command)
        return self.parts[key]

    def end(self, key):
        part = self.parts.pop(key, None)
        if part:
            if part.metrics:
                check_counted(part, self.sent[key])
            self.bench.end(part)

    def keep_only(self, keys):
        """Ends what nobody will load any more: also what idles has its timers."""
        for key in set(self.parts) - set(keys) - {"READER"}:
            self.end(key)


def check_counted(gateway, sent):
    """The gateway's metrics page has counted what was sent: its features were on."""
    with urllib.request.urlopen(f"http://127.0.0.1:{gateway.metrics}/metrics", timeout=10) as answer:
        page = answer.read().decode()
    counted = sum(float(value) for value in re.findall(r"^ai_gateway_requests_total\{.*\} (\S+)$", page, re.M))
    if counted < sent:
        raise machine.stop(f"the metrics page counts {counted:.0f} requests of {sent}: metrics were not on")


def load(fleet, scenario, way, seconds):
    """One run of load; its figures, and what the proxy spent meanwhile."""
    part, others = fleet.part(way), machine.Others()
    figures = scenario.load(fleet.bench, scenario, way, part, seconds)
    share, who = others.end()
    if figures["errors"]:
        raise scenarios.Failure(f"answered with errors: {figures}")
    if not figures["requests"]:
        raise scenarios.Nothing(f"answered nothing within {seconds:g} s")
    if scenario.answer is not None:
        fleet.sent[way.part] += figures["requests"]
    resident, anonymous = figures.get("memory") or machine.memory(part.pids())
    return {
        "scenario": scenario.name, "proxy": way.name, "requests": figures["requests"],
        "cpu_us": figures["nanoseconds"] / 1000 / figures["requests"],
        "per_second": figures["requests"] / (figures["microseconds"] / 1e6),
        "p50_us": figures["p50"], "p99_us": figures["p99"], "core": figures["nanoseconds"] / 1000 / figures["microseconds"],
        "resident_mib": resident, "anonymous_mib": anonymous, "kib": figures.get("kib"),
        "others_share": round(share, 3), "others": who,
    }


def undisturbed(fleet, scenario, way, options):
    """A run that others did not disturb, within some tries; else the last one in which there was an answer."""
    row = None
    for number in range(TRIES):
        if number and scenario.is_fresh:
            fleet.end(way.part)
        try:
            row = load(fleet, scenario, way, max(options.seconds, scenario.seconds_min))
        except scenarios.Nothing:
            if number == TRIES - 1 and not row:
                raise
            continue
        if options.force or not is_disturbed(row):
            break
    return row


def warm(fleet, scenario, way, options):
    """A run that does not count."""
    try:
        load(fleet, scenario, way, max(min(options.seconds / 2, 1), scenario.seconds_min / 2))
    except scenarios.Nothing:
        pass


def is_disturbed(row):
    return row["others_share"] > machine.BUSY_SHARE


def rounds(fleet, scenario, options):
    """Round by round every proxy in turn; who begins changes, so that no order favours one. (rows, {who is out: why})"""
    rows, out, taking = [], {}, scenario.taking(options.peers)

    def attempt(way, run):
        """What `run` gives; a peer that fails is out of this scenario, anybody else ends everything."""
        try:
            return run()
        except (scenarios.Failure, SystemExit) as error:
            if way.name not in parts.PEERS:
                raise machine.stop(f"{scenario.name}, {way.name}: {error}")
            out[way.name] = "did not start" if isinstance(error, SystemExit) else str(error)
            taking.remove(way)
            print(f"{scenario.name}: {way.name} is left out: {out[way.name]}", flush=True)
            rows[:] = [row for row in rows if row["proxy"] != way.name]

    for way in list(taking):
        attempt(way, lambda: scenarios.check(fleet.bench, scenario, way, fleet.part(way)))
    if not scenario.is_fresh:
        for way in list(taking):
            attempt(way, lambda: warm(fleet, scenario, way, options))
    count = min(options.rounds, 1 if options.quick and scenario.is_fresh else scenario.rounds_at_most)
    for number in range(count):
        turn = number % len(taking)
        for way in taking[turn:] + taking[:turn]:
            if scenario.is_fresh:
                fleet.end(way.part)
            row = attempt(way, lambda: undisturbed(fleet, scenario, way, options))
            if row:
                rows.append(row | {"round": number})
                told(scenario, row, number + 1, count)
                fleet.disturbed = fleet.disturbed + 1 if is_disturbed(row) else 0
                if fleet.disturbed == GIVE_UP and not options.force:
                    raise machine.stop(f"Others used the machine in {GIVE_UP} runs in a row, each made {TRIES} times: it is too busy to go on. "
                                       "Scenarios that were whole are in bench/out.")
    return rows, out


def told(scenario, row, number, count):
    mark = f"  others {row['others_share']:.0%} of a core" if is_disturbed(row) else ""
    times = "" if row["p50_us"] is None else f"  p50 {row['p50_us'] / 1000:.2f} ms  p99 {row['p99_us'] / 1000:.2f} ms"
    memory = "" if row["kib"] is None else f"  {row['kib']:.1f} KiB each"
    print(f"{scenario.name:12} round {number}/{count} {row['proxy']:23} {row['cpu_us']:9.2f} µs {row['per_second']:9.0f}/s{times}{memory}{mark}",
          flush=True)


def spread(values):
    if None in values:
        return None
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def summarise(rows):
    """Medians and spread of each proxy; the gateway's ratio to another is the median of the ratios of each round."""
    out, own = {}, {row["round"]: row for row in rows if row["proxy"] == parts.GATEWAY}
    for name in dict.fromkeys([parts.GATEWAY, *(row["proxy"] for row in sorted(rows, key=lambda row: row["round"]))]):
        of = [row for row in rows if row["proxy"] == name]
        figures = out[name] = {key: spread([row[key] for row in of]) for key in FIGURES}
        figures["disturbed"] = sum(map(is_disturbed, of))
        if name != parts.GATEWAY:
            both = [(own[row["round"]], row) for row in of if row["round"] in own]
            figures["gateway_ratio"] = spread([mine["cpu_us"] / row["cpu_us"] for mine, row in both])
            if figures["p50_us"]:
                figures["gateway_later_us"] = spread([mine["p50_us"] - row["p50_us"] for mine, row in both])
                figures["gateway_p99_later_us"] = spread([mine["p99_us"] - row["p99_us"] for mine, row in both])
    return out


def judge(results):
    """Lines that say whether the ceilings of thresholds.json hold, whether all that were judged do, and what was not judged."""
    ceilings, lines, good, open_ = report.thresholds(), [], True, []
    for kind, key, scale, words in (("cpu_ratio", "gateway_ratio", 1, "{:.2f} × {}'s CPU, at most {:.3g}"),
                                    ("median_later_ms", "gateway_later_us", 1000, "median {:+.3f} ms beside {}'s, at most {:+.3g}"),
                                    ("p99_later_ms", "gateway_p99_later_us", 1000, "p99 {:+.3f} ms beside {}'s, at most {:+.3g}")):
        for scenario, proxies in results["summary"].items():
            for name, ceiling in ceilings[kind].get(scenario, {}).items():
                figure = proxies.get(name, {}).get(key)
                if not figure:
                    continue
                value = figure["median"] / scale
                told = f"{scenario}: " + words.format(value, name, ceiling)
                if (proxies[name]["disturbed"] or proxies[parts.GATEWAY]["disturbed"]) and not results["environment"]["forced"]:
                    open_.append(f"{told}: not judged, as others used the machine")
                    continue
                good = good and value <= ceiling
                lines.append(f"{told}: {'holds' if value <= ceiling else 'DOES NOT HOLD'}")
    return lines, good, open_


def measure(options, results):
    """Scenario by scenario; what was found so far is written after each, so that nothing is lost. Returns the folder."""
    facts, raw, folder = results["environment"], [], None
    with parts.Bench() as bench:
        fleet = Fleet(bench)
        for index, scenario in enumerate(options.scenarios):
            if scenario.workers > 1:
                with parts.Bench(workers=scenario.workers) as wide:
                    cores = Fleet(wide)
                    rows, out = rounds(cores, scenario, options)
                    facts["commands"] |= {f"{key}, {scenario.workers} cores": line for key, line in cores.commands.items()}
                    cores.keep_only(())
            else:
                rows, out = rounds(fleet, scenario, options)
                facts["commands"] |= fleet.commands
                fleet.keep_only({way.part for later in options.scenarios[index + 1:] if later.workers == 1 for way in later.ways})
            raw += rows
            results["summary"][scenario.name] = summarise(rows)
            facts["disturbed_runs"], facts["runs"] = sum(map(is_disturbed, raw)), len(raw)
            facts["busy"] = facts["busy_before"] or facts["disturbed_runs"] > 0
            if out:
                facts["left_out"][scenario.name] = out
            folder = report.save(results, raw, folder)
    return folder


def main():
    options = arguments()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 1 << 16) if hard != resource.RLIM_INFINITY else 1 << 16, hard))
    is_busy, share, who = machine.busy()
    if is_busy and not options.force:
        raise machine.stop(
            f"The machine is busy: other processes use {share:.0%} of a core ({', '.join(who)}). Nothing was measured.\n"
            "Wait until it is quiet; --force measures all the same, and marks the results.")
    if machine.cores()[0] == machine.cores()[1] and not options.force:
        raise machine.stop("Only one core may be used here: load, origin and proxy would share it. --force measures all the same.")
    machine.build()
    facts = machine.environment(share, who)
    facts |= {"command": " ".join(["bench/run", *sys.argv[1:]]), "seconds": options.seconds, "rounds": options.rounds, "quick": options.quick,
              "forced": options.force, "busy_before": is_busy, "busy": is_busy, "commands": {}, "left_out": {}}
    print(f"{options.rounds} rounds of {options.seconds:g} s each; origin and load on core {facts['core_of_load_and_origin']}, "
          f"each proxy on core {facts['core_of_proxy']}; access logs are off in all", flush=True)
    results = {"kind": "measure", "environment": facts, "summary": {}}
    folder = measure(options, results)
    print("\n" + report.measured(results))
    print(f"\nwritten to {os.path.relpath(folder)}")
    lines, good, open_ = judge(results)
    print("\n".join([f"{line} (on a busy machine)" if facts["busy"] else line for line in lines] + open_))
    if not good and options.check:
        return 1
    if facts["disturbed_runs"] and not options.force:
        raise machine.stop(f"Others used the machine in {facts['disturbed_runs']} of {facts['runs']} runs, {TRIES} times each: what they touched "
                           "is not judged. Run it again on a quiet machine.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
