"""A reader of the Prometheus text format that complains as `promtool check metrics` does."""
import re

NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*$")
LINE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? ([^ ]+)(?: (\d+))?$')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)')


def parse(text):
    """{name: {labels as a sorted tuple: value}}; raises ValueError on what is not the format."""
    out = {}
    if text and not text.endswith("\n"):
        raise ValueError("the last line has no end")
    for number, line in enumerate(text.splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        match = LINE.match(line)
        if not match:
            raise ValueError(f"line {number}: {line!r}")
        labels, rest = [], match.group(2) or ""
        while rest:
            label = LABEL.match(rest)
            if not label:
                raise ValueError(f"line {number}: labels {rest!r}")
            labels.append((label.group(1), label.group(2)))
            rest = rest[label.end():]
        value = float(match.group(3).replace("+Inf", "inf"))
        series = out.setdefault(match.group(1), {})
        key = tuple(sorted(labels))
        if key in series:
            raise ValueError(f"line {number}: twice the same series")
        if len({n for n, _ in labels}) != len(labels):
            raise ValueError(f"line {number}: twice the same label")
        series[key] = value
    return out


def lint(text):
    """Problems in the manner of promtool: HELP and TYPE present and in order, names and units, histogram shape."""
    problems, types, helps, seen_groups, last = [], {}, {}, [], None
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name = line.split(" ", 3)[2]
            if name in helps:
                problems.append(f"{name}: HELP twice")
            helps[name] = line.split(" ", 3)[3:] or [""]
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ", 3)
            if name in types:
                problems.append(f"{name}: TYPE twice")
            types[name] = kind
            if kind not in ("counter", "gauge", "histogram", "summary", "untyped"):
                problems.append(f"{name}: type {kind}")
    for name, series in parse(text).items():
        base = name
        for suffix in ("_bucket", "_sum", "_count"):
            if name.endswith(suffix) and types.get(name[:-len(suffix)]) in ("histogram", "summary"):
                base = name[:-len(suffix)]
        kind = types.get(base)
        if kind is None:
            problems.append(f"{name}: no TYPE")
        if base not in helps:
            problems.append(f"{name}: no HELP")
        if not NAME.match(name):
            problems.append(f"{name}: name")
        if kind == "counter" and not name.endswith("_total"):
            problems.append(f"{name}: a counter whose name does not end in _total")
        if kind not in ("counter", "untyped", None) and name.endswith("_total"):
            problems.append(f"{name}: not a counter but _total")
        if re.search(r"_(milliseconds|ms|microseconds|us|nanoseconds|minutes|hours|kilobytes|megabytes)(_|$)", name):
            problems.append(f"{name}: not a base unit")
        if base != last:
            if base in seen_groups:
                problems.append(f"{base}: not in one group")
            seen_groups.append(base)
            last = base
        if kind == "histogram" and name.endswith("_bucket"):
            problems += _histogram(name, series)
    return problems


def _histogram(name, series):
    problems, groups = [], {}
    for labels, value in series.items():
        bound = dict(labels).get("le")
        if bound is None:
            problems.append(f"{name}: bucket without le")
            continue
        groups.setdefault(tuple(l for l in labels if l[0] != "le"), []).append((float(bound.replace("+Inf", "inf")), value))
    for labels, buckets in groups.items():
        buckets.sort()
        if buckets[-1][0] != float("inf"):
            problems.append(f"{name}{labels}: no +Inf bucket")
        if any(a[1] > b[1] for a, b in zip(buckets, buckets[1:])):
            problems.append(f"{name}{labels}: buckets go down")
    return problems


def total(metrics, name, **labels):
    """The sum of the series of `name` whose labels include those given (values as strings)."""
    want = {k: str(v) for k, v in labels.items()}
    return sum(v for key, v in metrics.get(name, {}).items() if want.items() <= dict(key).items())
