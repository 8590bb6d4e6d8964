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

import bars  # noqa: E402
import contestants  # noqa: E402
import figures as picking  # noqa: E402
import scenarios  # noqa: E402

OUT = os.path.join(HERE, "out")
PLOTS = os.path.join(HERE, "plots")
README = os.path.join(HERE, "README.md")
RENDER = {}


def thresholds():
    with open(os.path.join(HERE, "thresholds.json")) as file:
        return json.load(file)


def save(results, raw, folder=None):
    """Writes environment.json, raw.json, results.json, table.md and plots of one run; returns their folder, which is a new one
    unless it is given."""
    stamp = time.strftime("%Y-%m-%dT%H%M%SZ", time.gmtime())
    folder = folder or os.path.join(OUT, f"{stamp}-{results['kind']}")
    os.makedirs(folder, exist_ok=True)
    for name, content in (("environment", results["environment"]), ("raw", raw), ("results", results)):
        with open(os.path.join(folder, f"{name}.json"), "w") as file:
            json.dump(content, file, indent=1)
            file.write("\n")
    with open(os.path.join(folder, "table.md"), "w") as file:
        file.write(RENDER[results["kind"]](results) + "\n")
    if results["kind"] == "measure":
        plotted(results, folder)
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

def what(name):
    """A scenario; one of its name alone, where older results have one that is none any more."""
    return scenarios.SCENARIOS.get(name) or scenarios.Scenario(name, parts.TITLES.get(name, name), None, ())


def was_busy(results):
    """Whether others used the machine before it began, or in a run of the scenarios that are shown."""
    facts = results["environment"]
    return facts.get("busy_before", facts["busy"]) or any(
        figures.get("disturbed") for proxies in results["summary"].values() for figures in proxies.values())


def measured(results):
    """A row for each proxy in each scenario."""
    facts, out = results["environment"], []
    if was_busy(results):
        out.append("**Not to be judged by: the machine was busy.**\n")
    head = ["scenario", "proxy", "CPU µs each", "gateway ÷ proxy", "a second", "p50 ms", "p99 ms", "share of its cores", "resident MiB", "anonymous MiB"]
    rows = []
    for name, proxies in results["summary"].items():
        scenario = what(name)
        for proxy, figures in proxies.items():
            ratio, core = figures.get("gateway_ratio"), figures["core"]["median"] / scenario.workers
            anonymous = f"{figures['anonymous_mib']['max']:.1f}"
            if figures.get("kib"):
                anonymous += f" ({figures['kib']['median']:.1f} KiB each)"
            rows.append([
                scenario.title, proxy + (" (disturbed)" if figures.get("disturbed") else ""), span(figures["cpu_us"]), span(ratio, "{:.2f}") if ratio else "",
                span(figures["per_second"], "{:.0f}"), span(figures["p50_us"], "{:.2f}", 1000),
                span(figures["p99_us"], "{:.2f}", 1000), f"{core:.0%}", f"{figures['resident_mib']['max']:.1f}", anonymous])
        for proxy, reason in facts.get("left_out", {}).get(name, {}).items():
            rows.append([scenario.title, proxy, f"left out: {reason}".replace("|", "/").replace("\n", " ")[:200], *[""] * 7])
    out.append(table(head, rows))
    notes = [f"{what(name).title}: for each {what(name).unit}" + (f", p50 and p99 of the {what(name).timed}" if what(name).timed else "")
             for name in results["summary"] if what(name).unit != "request"]
    if notes:
        out.append(f"\n{'; '.join(notes)}.")
    out.append(f"\n`{facts['command']}`: medians (and least–most) of {facts['rounds']} interleaved rounds of {facts['seconds']:g} s. "
               + machine.summary(facts, ('nginx', 'haproxy', 'envoy', 'caddy', 'vllm-router', 'sglang-router', 'wrk', 'h2load', 'swift')))
    return "\n".join(out)


def newest(kind, is_whole):
    """[(results, the names in it that are not in a newer one)], since each scenario may be made again alone."""
    seen, out = set(), []
    for results in kept(kind):
        names = [name for name, entry in results["summary"].items() if name not in seen and is_whole(results, entry)]
        seen.update(names)
        if names:
            out.append(results | {"summary": {name: results["summary"][name] for name in names}})
    return out


def measured_latest():
    """Of each scenario the newest run with all peers that nobody disturbed and that was no quick one, and its plots; None when
    there is none."""
    found = newest("measure", lambda results, proxies: not results["environment"].get("quick") and "--peers" not in results["environment"]["command"]
                   and not was_busy(results | {"summary": {"": proxies}}))
    if found:
        os.makedirs(PLOTS, exist_ok=True)
    for results in found:
        plotted(results, PLOTS)
    return "\n\n".join(map(measured, found)) or None


def plotted(results, folder):
    """Writes an SVG for each scenario."""
    for name, proxies in results["summary"].items():
        with open(os.path.join(folder, f"{name}.svg"), "w") as file:
            file.write(bars.plot(what(name), proxies))


def plots_listed():
    """Links to the plots that are kept beside the README, in the order of the scenarios."""
    links = [f"[{name}](plots/{name}.svg)" for name in scenarios.SCENARIOS if os.path.exists(os.path.join(PLOTS, f"{name}.svg"))]
    return f"Plots: {', '.join(links)}." if links else None


# ---- instructions and system calls --------------------------------------------

def counted(results):
    facts, targets = results["environment"], {name: entry.get("target", {}) for name, entry in thresholds()["a_request"].items()}
    head = ["a request", *(parts.TITLES[name] for name in results["summary"])]
    rows = []
    for key, title, form in (
            ("instructions", "user instructions", "{:,.0f}"), ("malloc", "`malloc`, `calloc`, `realloc`, …", "{:.2f}"),
            ("alloc_object", "`swift_allocObject`", "{:.2f}"), ("retain", "`swift_retain`", "{:.2f}"),
            ("release", "`swift_release`", "{:.2f}"), ("memcpy", "`memcpy`, `memmove`", "{:.2f}"),
            ("syscalls", "system calls, many connections", "{:.2f}"), ("syscalls_alone", "system calls, 1 connection", "{:.2f}")):
        rows.append([title, *(form.format(figures[key]) for figures in results["summary"].values())])
        if any(key in targets.get(name, {}) for name in results["summary"]):
            rows.append([f"{title}, the target", *(form.format(targets[name][key]) if key in targets.get(name, {}) else ""
                                                   for name in results["summary"])])
    out = [table(head, rows), ""]
    for name, figures in results["summary"].items():
        for key, title in (("calls", f"{figures.get('connections', 64)} connections"), ("calls_alone", "1 connection")):
            calls = ", ".join(f"`{call}` {count:.2f}" for call, count in figures[key])
            out.append(f"System calls, {parts.TITLES[name]}, {title}: {calls}.\n")
    out.append(f"`{facts['command']}`: {facts['runs'][0]} and {facts['runs'][1]} requests on one connection, subtracted. "
               f"{machine.summary(facts, ('nginx', 'h2load', 'valgrind', 'strace', 'swift'))}")
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
    """Of each workload the newest whole run; None when there is none."""
    found = newest("picking", lambda results, routers: not results["environment"]["quick"] and set(routers) == set(contestants.ROUTERS))
    return "\n\n".join(map(picked, found)) or None


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


# What the README shows of several runs together.
LATEST = {"measure": measured_latest, "picking": picked_latest, "plots": plots_listed}
RENDER.update(measure=measured, plots=None, instructions=counted, latency=added, picking=picked, scale=scaled)


def main():
    with open(README) as file:
        text = file.read()
    found = False
    for kind, render in RENDER.items():
        shown = LATEST[kind]() if kind in LATEST else render(latest(kind)) if latest(kind) else None
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
