"""Where results are kept, and how they look as Markdown; as a program it renews the tables of bench/README.md."""
import json
import os
import re
import sys
import time

import machine
import parts

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(HERE, "picking"))

import contestants  # noqa: E402
import figures as picking  # noqa: E402

OUT = os.path.join(HERE, "out")
README = os.path.join(HERE, "README.md")
RENDER = {}


def thresholds():
    with open(os.path.join(HERE, "thresholds.json")) as file:
        return json.load(file)


def save(results, raw):
    """Writes environment.json, raw.json, results.json and table.md of one run; returns their folder."""
    stamp = time.strftime("%Y-%m-%dT%H%M%SZ", time.gmtime())
    folder = os.path.join(OUT, f"{stamp}-{results['kind']}")
    os.makedirs(folder, exist_ok=True)
    for name, content in (("environment", results["environment"]), ("raw", raw), ("results", results)):
        with open(os.path.join(folder, f"{name}.json"), "w") as file:
            json.dump(content, file, indent=1)
            file.write("\n")
    with open(os.path.join(folder, "table.md"), "w") as file:
        file.write(RENDER[results["kind"]](results) + "\n")
    return folder


def kept(kind):
    """All results of a kind, the newest first."""
    names = sorted(name for name in (os.listdir(OUT) if os.path.isdir(OUT) else []) if name.endswith(f"-{kind}"))
    for name in reversed(names):
        path = os.path.join(OUT, name, "results.json")
        if os.path.exists(path):
            with open(path) as file:
                yield json.load(file)


def latest(kind):
    """The newest results of a kind; None when there are none."""
    return next(kept(kind), None)


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def span(figure, form="{:.1f}", scale=1):
    """`median (min–max)`."""
    if not figure:
        return "–"
    median, low, high = (form.format(figure[key] / scale) for key in ("median", "min", "max"))
    return f"{median} ({low}–{high})"


# ---- CPU a request ------------------------------------------------------------

def measured(results):
    facts, out = results["environment"], []
    if facts["busy"]:
        out.append(f"**Not to be judged by: the machine was busy** (others used it in {facts['disturbed_runs']} of {facts['runs']} runs; `--force`).\n")
    head = ["scenario", "proxy", "CPU µs a request", "gateway ÷ proxy", "requests/s", "p50 ms", "p99 ms", "share of its core",
            "resident MiB", "anonymous MiB"]
    rows = []
    for scenario, proxies in results["summary"].items():
        for name, figures in proxies.items():
            ratio = figures.get("gateway_ratio")
            rows.append([
                parts.TITLES[scenario], name, span(figures["cpu_us"]), span(ratio, "{:.2f}") if ratio else "",
                span(figures["per_second"], "{:.0f}"), span(figures["p50_us"], "{:.2f}", 1000),
                span(figures["p99_us"], "{:.2f}", 1000), f"{figures['core']['median']:.0%}",
                f"{figures['resident_mib']['max']:.1f}", f"{figures['anonymous_mib']['max']:.1f}"])
    out.append(table(head, rows))
    out.append(f"\n`{facts['command']}`: medians (and least–most) of {facts['rounds']} interleaved rounds of {facts['seconds']:g} s, "
               f"{facts['connections']} connections. {machine.summary(facts, ('nginx', 'haproxy', 'envoy', 'wrk', 'swift'))}")
    return "\n".join(out)


# ---- instructions and system calls --------------------------------------------

def counted(results):
    facts = results["environment"]
    head = ["a request", *(parts.TITLES[name] for name in results["summary"])]
    rows = []
    for key, title, form in (
            ("instructions", "user instructions", "{:,.0f}"), ("malloc", "`malloc`, `calloc`, `realloc`, …", "{:.2f}"),
            ("alloc_object", "`swift_allocObject`", "{:.2f}"), ("retain", "`swift_retain`", "{:.2f}"),
            ("release", "`swift_release`", "{:.2f}"), ("memcpy", "`memcpy`, `memmove`", "{:.2f}"),
            ("syscalls", "system calls, 64 connections", "{:.2f}"), ("syscalls_alone", "system calls, 1 connection", "{:.2f}")):
        rows.append([title, *(form.format(figures[key]) for figures in results["summary"].values())])
    out = [table(head, rows), ""]
    for name, figures in results["summary"].items():
        for key, title in (("calls", "64 connections"), ("calls_alone", "1 connection")):
            calls = ", ".join(f"`{call}` {count:.2f}" for call, count in figures[key])
            out.append(f"System calls, {parts.TITLES[name]}, {title}: {calls}.\n")
    out.append(f"`{facts['command']}`: {facts['runs'][0]} and {facts['runs'][1]} requests on one connection, subtracted. "
               f"{machine.summary(facts, ('nginx', 'valgrind', 'strace', 'swift'))}")
    return "\n".join(out)


def functions(results):
    """The functions that most instructions are in."""
    out = []
    for name, figures in results["summary"].items():
        rows = [[f"{count:,.0f}", f"{calls:.2f}", f"`{function}`"] for count, calls, function in figures["functions"]]
        out.append(f"{parts.TITLES[name]}\n\n" + table(["instructions a request", "calls", "function"], rows))
    return "\n\n".join(out)


# ---- latency ------------------------------------------------------------------

def added(results):
    """What long prompts cost directly and through the gateway, and the difference."""
    facts = results["environment"]
    rows = [[way, *(span(figures.get(key), "{:.0f}") for key in ("p50", "p99", "added_p50", "added_p99"))]
            for way, figures in results["summary"].items()]
    busy = f"**Not to be judged by: the machine was busy** in {facts['disturbed_runs']} of {facts['runs']} rounds.\n\n" if facts["busy"] else ""
    return (f"{busy}{table(['200 KB prompt', 'p50 µs', 'p99 µs', 'added at p50', 'added at p99'], rows)}\n\n"
            f"`{facts['command']}`: medians (and least–most) of {facts['rounds']} rounds of {facts['requests']} requests each way, one at a time, in "
            f"turns. {machine.summary(facts, ('swift',))}")


# ---- picking --------------------------------------------------------------------

def picked(results):
    """A row for each router in each workload; the best figures of the columns that the workload is about are bold."""
    facts, out = results["environment"], []
    rows = []
    for name, routers in results["summary"].items():
        about = results["workloads"][name]["about"]
        taken = {router: figures for router, figures in routers.items() if "reason" not in figures}
        for router, figures in routers.items():
            title = results["workloads"][name]["title"]
            if router not in taken:
                rows.append([title, router, f"takes no part: {figures['reason']}", *[""] * (len(picking.COLUMNS) - 1)])
                continue
            mark = " (disturbed)" if picking.is_disturbed({key: figures[key]["max"] for key in ("late_p99", "waited")}) else ""
            cells = []
            for column, (_, form, _) in picking.COLUMNS.items():
                is_best = column in about and not any(
                    picking.beaten(figures[column]["median"], other[column]["median"], column) for other in taken.values())
                cell = told(figures[column], form, facts["rounds"])
                cells.append(f"**{cell}**" if is_best else cell)
            rows.append([title, router + mark, *cells])
    out.append(table(["workload", "router", *(title for title, _, _ in picking.COLUMNS.values())], rows))
    late = max(figures["late_p99"]["max"] for routers in results["summary"].values() for figures in routers.values() if "late_p99" in figures)
    rounds = "one round" if facts["rounds"] == 1 else f"medians (and least–most) of {facts['rounds']} rounds"
    out.append(f"\n`{facts['command']}`: {rounds}; requests left at most {late:.1f} ms late (p99 of the worst run); {facts['disturbed_runs']} of "
               f"{facts['runs']} runs were disturbed by others on the machine. {machine.summary(facts, ('haproxy', 'routers'))}")
    return "\n".join(out)


def picked_latest():
    """Of each workload the newest whole run, since each may be made again alone; None when there is none."""
    newest = {}
    for results in kept("picking"):
        for name, routers in results["summary"].items():
            if not results["environment"]["quick"] and set(routers) == set(contestants.ROUTERS):
                newest.setdefault(name, results)
    tables = []
    for results in [results for number, results in enumerate(newest.values()) if results not in list(newest.values())[:number]]:
        own = {name: routers for name, routers in results["summary"].items() if newest.get(name) is results}
        tables.append(picked(results | {"summary": own}))
    return "\n\n".join(tables) or None


def told(figure, form, rounds):
    """The median, and the spread where there is one; a time that is infinite is one that never came."""
    write = lambda value: "never" if value == float("inf") else form.format(value)
    median, low, high = (write(figure[key]) for key in ("median", "min", "max"))
    return median if rounds == 1 or low == high else f"{median} ({low}–{high})"


# ---- many routes ----------------------------------------------------------------

def scaled(results):
    facts = results["environment"]
    head = ["routes", "matches", "start, ms", "its CPU, ms", "a changed file in force, ms", "control thread's CPU, ms",
            "longest worker tick, ms", "p50, p99 quiet, ms", "p50, p99, max while reloading, ms", "failed requests", "resident MiB"]
    three = lambda values: f"{values[0]:.0f} ({values[1]:.0f}–{values[2]:.0f})"
    rows = [[f"{row['routes']:,}", f"{row['matches']:,}", f"{row['start_ms']:.0f}", f"{row['start_cpu_ms']:.0f}", three(row["in_force_ms"]),
             three(row["control_ms"]), f"≤ {row['longest_tick_ms']:g}", ", ".join(f"{value:.2f}" for value in row["quiet_ms"]),
             ", ".join(f"{value:.2f}" for value in row["reload_ms"]), f"{row['failures']} of {row['requests']:,}", f"{row['resident_mib']:.0f}"]
            for row in results["rows"]]
    busy = "**The machine was busy.**\n\n" if facts["busy"] else ""
    return (f"{busy}{table(head, rows)}\n\n`{facts['command'].strip()}`: medians (and least–most) of {facts['reloads']} changed files of 100 routes each, one "
            f"request every 5 ms meanwhile; gateway with one worker and its control thread on one core. {machine.summary(facts, ('nginx', 'swift'))}")


RENDER.update(measure=measured, instructions=counted, latency=added, picking=picked, scale=scaled)


def main():
    with open(README) as file:
        text = file.read()
    found = False
    for kind, render in RENDER.items():
        shown = picked_latest() if kind == "picking" else render(latest(kind)) if latest(kind) else None
        if not shown:
            print(f"no results of `{kind}` in {os.path.relpath(OUT)}", file=sys.stderr)
            continue
        found = True
        print(shown + "\n")
        text = re.sub(rf"(<!-- {kind}: begin -->\n).*?(<!-- {kind}: end -->)",
                      lambda match: f"{match.group(1)}{shown}\n{match.group(2)}", text, flags=re.S)
    if not found:
        return 1
    with open(README, "w") as file:
        file.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
