"""`bench/run picking`: what it asks follows from the seed alone, its figures are right, and one small run comes to its end."""
import hashlib
import json
import math
import os
import shutil
import sys

import pytest

from Fixtures import gateway as gateways

BENCH = os.path.normpath(os.path.join(os.path.dirname(__file__), "..", "..", "bench"))
sys.path[:0] = [BENCH, os.path.join(BENCH, "picking")]

import contestants   # noqa: E402
import figures   # noqa: E402
import load   # noqa: E402
import plots   # noqa: E402
import report   # noqa: E402
import workloads   # noqa: E402


def digest(asks):
    return hashlib.sha256(json.dumps(asks).encode()).hexdigest()


@pytest.mark.parametrize("name", workloads.WORKLOADS)
def test_the_same_seed_asks_the_same(name):
    workload = workloads.WORKLOADS[name]
    asks = workload.make(1, 4)
    assert digest(asks) == digest(workload.make(1, 4)) != digest(workload.make(2, 4))
    assert [ask.at for ask in asks] == sorted(ask.at for ask in asks) and 0 <= asks[0].at and asks[-1].at < 4
    assert {ask.model for ask in asks} <= set(workloads.MANY) | {"llama3"} and len({ask.tenant for ask in asks}) == 2
    assert set(workload.about) <= set(figures.COLUMNS)
    told = json.loads(workloads.body(asks[0]))
    assert told["stream"] is True and told["max_tokens"] == asks[0].tokens


def test_what_the_workloads_are_about():
    chat = workloads.chat(1, 10)
    systems = [ask.messages[0]["content"] for ask in chat]
    assert len(set(systems)) < len(systems) / 5 and {len(text) for text in systems} == {2000 * workloads.TOKEN_BYTES}
    turns = {len(ask.messages) // 2 for ask in chat}
    assert turns == {1, 2, 3, 4, 5}
    burst = [ask for ask in workloads.bursts(1, 5) if ask.tenant == "crowd"]
    assert len(burst) == 50 and len({ask.model for ask in burst}) == 1 and burst[-1].at - burst[0].at < 0.2
    sizes = [sum(len(m["content"]) for m in ask.messages) // workloads.TOKEN_BYTES for ask in workloads.long(1, 20)]
    assert max(sizes) > 28_000 and sorted(sizes)[len(sizes) // 2] < 310


def test_percentiles_shares_and_fairness():
    assert [figures.percentile(list(range(1, 101)), share) for share in (0.5, 0.9, 0.99, 1)] == [50, 90, 99, 100]
    assert figures.percentile([7], 0.5) == 7 and math.isnan(figures.percentile([], 0.5))
    assert figures.entitled({"a": 10, "b": 90}, 50) == {"a": 10, "b": 40}
    assert figures.entitled({"a": 80, "b": 90}, 50) == {"a": 25, "b": 25}
    assert figures.jain([3, 3]) == 1 and figures.jain([1, 0]) == 0.5


def runs(firsts):
    """Requests of `a` and of `b` by turns, a second apart, with these times to the first token; None failed."""
    asks = [workloads.Ask(number, "ab"[number % 2], "m", [], 10) for number in range(len(firsts))]
    results = []
    for first in firsts:
        result = load.Result()
        result.first, result.end = first, None if first is None else first + 1
        result.failure = "no" if first is None else None
        results.append(result)
    return asks, results


def test_the_figures_of_a_run():
    asks, results = runs([0.1, 0.2, 0.3, None])
    nodes = [{"promptTokens": 100, "cachedTokens": 60, "modelLoads": 2}, {"promptTokens": 100, "cachedTokens": 0, "modelLoads": 1}]
    run = figures.figures(asks, results, 4, nodes)
    assert (run["p50"], run["p99"], run["failed"], run["requests"]) == (200, math.inf, 1, 4)
    assert (run["hits"], run["loads"], run["tokens"]) == (0.3, 3, 30 / 4)
    assert run["fairness"] == pytest.approx(figures.jain([2 / 1.5, 1 / 1.5]))
    assert run["tenants"] == {"a": 100, "b": 200}


def test_who_is_better():
    spread = lambda value: {"median": value, "min": value, "max": value}
    summary = {"chat": {"ai-gateway": {"p50": spread(100), "hits": spread(0.5)}, "other": {"p50": spread(96), "hits": spread(0.6)},
                        "absent": {"reason": "it does not speak this"}}}
    lines = figures.judge(summary, {"chat": ("p50", "hits", "loads")}, "ai-gateway")
    assert lines == [("chat", "p50", 100, None, None), ("chat", "hits", 0.5, "other", 0.6), ("chat", "loads", None, "all", None)]


def test_a_plot_shows_every_router():
    picture = plots.distribution("title", {"one": [1.0, 10.0, math.inf], "two": [5.0] * 1000})
    assert picture.count("<polyline") == 2 and ">one<" in picture and ">two<" in picture and len(picture) < 20_000


@pytest.mark.skipif(not shutil.which("haproxy"), reason="HAProxy is not installed")
def test_a_small_run(monkeypatch):
    """The gateway and HAProxy in front of two nodes for two seconds: all is answered, and the nodes counted it."""
    import compare
    monkeypatch.setenv("AI_GATEWAY", gateways.binary())
    workload = workloads.WORKLOADS["chat"]._replace(nodes=2)
    asks = workloads.chat(1, 2, rate=20)
    summary = {}
    for name in ("ai-gateway", "round robin"):
        run, times = compare.once(workload, name, asks, 2, patience=20)
        assert run["failed"] == 0 and len(times) == len(asks) and min(times) > 0
        assert sum(node["requests"] for node in run["nodes"]) == len(asks)
        summary[name] = [run | {"workload": "chat", "router": name}]
    shown = report.picked({"environment": {key: "" for key in report.machine.environment()} | {
        "rounds": 1, "command": "", "disturbed_runs": 0, "runs": 2, "routers": ""},
        "summary": compare.summarise([run for of in summary.values() for run in of]), "workloads": {"chat": {"title": "chat", "about": ["p50"]}}})
    assert "| chat | ai-gateway" in shown and "| chat | round robin" in shown


def test_a_router_that_refuses_says_why(monkeypatch):
    monkeypatch.setenv("AI_GATEWAY", gateways.binary())
    monkeypatch.setattr(contestants, "PYTHON", "/nonexistent")
    with pytest.raises(contestants.Refusal, match="PyPI"):
        contestants.command(None, "vllm-router", workloads.WORKLOADS["chat"], None, 1, 2)
