"""Routers in front of the same simulated model servers, with the same requests at the same times: who keeps whom waiting."""
import argparse
import json
import math
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import contestants  # noqa: E402
import figures  # noqa: E402
import load  # noqa: E402
import machine  # noqa: E402
import parts  # noqa: E402
import plots  # noqa: E402
import report  # noqa: E402
import workloads  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
QUICK_SECONDS = 6
# So often a disturbed run is made again.
AGAIN = 1


def arguments():
    parser = argparse.ArgumentParser(prog="bench/run picking")
    parser.add_argument("workload", nargs="*", help=", ".join(workloads.WORKLOADS))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--routers", default=",".join(contestants.ROUTERS))
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    options.workloads = options.workload or list(workloads.WORKLOADS)
    options.routers = [name for name in options.routers.split(",") if name]
    for name in set(options.workloads) - set(workloads.WORKLOADS):
        parser.error(f"{name} is no workload; known are {', '.join(workloads.WORKLOADS)}")
    for name in set(options.routers) - set(contestants.ROUTERS):
        parser.error(f"{name} is no router; known are {', '.join(contestants.ROUTERS)}")
    return options


class Watch:
    """What router and nodes spent, and how long they were kept from a core each time, from its making to `end`."""

    def __init__(self, router, fleet):
        self.pids = {"router": router.pids(), "nodes": fleet.part.pids()}
        self.others = machine.Others()
        self.before = self.look()

    def look(self):
        return {name: (machine.spent(pids), *machine.waited(pids)) for name, pids in self.pids.items()}

    def end(self):
        seconds, after = time.monotonic() - self.others.at, self.look()
        spent, waited = {}, 0.0
        for name, old in self.before.items():
            used, kept, times = (new - before for new, before in zip(after[name], old))
            spent[name], waited = round(used / 1e9 / seconds, 4), max(waited, kept / 1e6 / max(1, times))
        busy, who = self.others.end()
        return {"core": spent["router"], "nodes_core": spent["nodes"], "waited": round(waited, 3), "others_share": round(busy, 3), "others": who}


def once(workload, name, asks, seconds, patience):
    """One router in front of a fresh fleet; (its figures, its times). Refusal when it does not take part."""
    requests = [(ask.at, load.request(workloads.body(ask), ask.tenant)) for ask in asks]
    with parts.Bench(certified=False) as bench:
        fleet = contestants.Fleet(bench, workload)
        fleet.warm(workload.warm)
        router = contestants.start(bench, name, workload, fleet)
        # Who asks the nodes how they are has done so by then.
        time.sleep(2.5)
        fleet.reset()
        watch = Watch(router, fleet)
        results, _ = load.run(router.port, requests, patience)
        seen = watch.end()
        nodes = fleet.statistics()
        run = figures.figures(asks, results, seconds, nodes) | seen
        run["nodes"] = nodes
        run["failures"] = sorted({result.failure for result in results if result.failure})[:5]
        if name == contestants.OWN:
            run["decisions"] = contestants.told(router.other_port)
        times = [None if result.failure else round(result.first * 1000, 2) for result in results]
        return run, times


def shown(run):
    parts_of = [f"{figures.COLUMNS[key][0]} {written(key, run[key])}" for key in figures.COLUMNS]
    mark = "  DISTURBED" if figures.is_disturbed(run) else ""
    return "  ".join(parts_of) + f"  (sent {run['late_p99']:.1f} ms late at p99, waited {run['waited']:.2f} ms for a core){mark}"


def written(key, value):
    if value is None:
        return "–"
    return "never" if value == math.inf else figures.COLUMNS[key][1].format(value)


def measured(workload, name, number, options):
    """A run of one router, made again while it was disturbed; the least disturbed counts."""
    seconds = QUICK_SECONDS if options.quick else workload.seconds
    asks = workload.make(options.seed + number, seconds)
    best = None
    for _ in range(1 if options.quick else 1 + AGAIN):
        run, times = once(workload, name, asks, seconds, patience=seconds / 2)
        print(f"{workload.name:8} {name:14} {shown(run)}", flush=True)
        for failure in run["failures"][:2]:
            print(f"         failed: {failure}", flush=True)
        if best is None or figures.disturbance(run) < figures.disturbance(best[0]):
            best = run, times
        if not figures.is_disturbed(run):
            break
    return best


def summarise(rows):
    """{workload: {router: {column: median, least and greatest, or a reason}}}."""
    out = {}
    for row in rows:
        out.setdefault(row["workload"], {}).setdefault(row["router"], []).append(row)
    for routers in out.values():
        for name, runs in routers.items():
            good = [run for run in runs if "reason" not in run]
            routers[name] = {"reason": runs[0]["reason"]} if not good else {
                key: figures.middle(good, key) for key in (*figures.COLUMNS, "late_p99", "waited", "core")}
    return out


def main():
    options = arguments()
    machine.build("ai-gateway", "model-simulator")
    contestants.simulator()
    contestants.install()
    facts = machine.environment() | contestants.versions()
    facts["command"] = " ".join(["bench/run", "picking", *sys.argv[1:]])
    facts["rounds"], facts["quick"], facts["seed"] = options.rounds, options.quick, options.seed
    rows, times = [], {}
    for number in range(options.rounds):
        for workload in (workloads.WORKLOADS[name] for name in options.workloads):
            turn = number % len(options.routers)
            for name in options.routers[turn:] + options.routers[:turn]:
                row = {"workload": workload.name, "router": name, "round": number}
                try:
                    run, first = measured(workload, name, number, options)
                    times.setdefault(workload.name, {}).setdefault(name, []).extend(first)
                    row |= run
                except contestants.Refusal as refusal:
                    print(f"{workload.name:8} {name:14} takes no part: {refusal}", flush=True)
                    row["reason"] = str(refusal)
                rows.append(row)
    facts["disturbed_runs"] = sum("reason" not in row and figures.is_disturbed(row) for row in rows)
    facts["runs"] = len(rows)
    about = {name: workload.about for name, workload in workloads.WORKLOADS.items()}
    results = {"kind": "picking", "environment": facts, "summary": summarise(rows),
               "workloads": {name: {"title": workloads.WORKLOADS[name].title, "about": about[name]} for name in options.workloads}}
    folder = report.save(results, rows)
    draw(folder, times, options)
    print("\n" + report.picked(results))
    print(f"\nwritten to {os.path.relpath(folder)}")
    good = contestants.OWN in options.routers
    for workload, column, mine, other, figure in figures.judge(results["summary"], about, contestants.OWN) if good else []:
        title = figures.COLUMNS[column][0]
        if other is None:
            print(f"{workload}: {title} {written(column, mine)}: nobody is better")
        else:
            good = False
            print(f"{workload}: {title} {written(column, mine)}, but {other} has {written(column, figure)}: DOES NOT HOLD")
    return 1 if options.check and not good else 0


def draw(folder, times, options):
    """Plots beside the results; those of a whole run are kept in this folder as well."""
    for name, series in times.items():
        series = {router: [math.inf if value is None else value for value in series[router]] for router in contestants.ROUTERS if router in series}
        picture = plots.distribution(workloads.WORKLOADS[name].title, series)
        whole = not options.quick and set(options.routers) == set(contestants.ROUTERS)
        for place in (folder, HERE) if whole else (folder,):
            with open(os.path.join(place, f"{name}.svg"), "w") as file:
                file.write(picture)
    with open(os.path.join(folder, "times.json"), "w") as file:
        json.dump(times, file)


if __name__ == "__main__":
    sys.exit(main())
