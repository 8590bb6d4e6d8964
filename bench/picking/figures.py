"""From times to figures: percentiles, what callers got of what they were entitled to, and who won."""
import math
import statistics

# Of each column: its title, how it is written, and whether more is better.
COLUMNS = {
    "p50": ("p50 ms", "{:.0f}", False), "p90": ("p90 ms", "{:.0f}", False), "p99": ("p99 ms", "{:.0f}", False),
    "tokens": ("tokens/s", "{:.0f}", True), "hits": ("cache hits", "{:.1%}", True), "loads": ("cold loads", "{:.0f}", False),
    "fairness": ("fairness", "{:.3f}", True), "failed": ("failed", "{:.0f}", False),
}
# A figure within so much of another is as good: less cannot be told from chance.
SLACK = {"p50": 0.05, "p90": 0.05, "p99": 0.10, "tokens": 0.02, "hits": 0.01, "loads": 0.0, "fairness": 0.005, "failed": 0.0}


def percentile(ordered, share):
    """The smallest value that is not below `share` of all (nearest rank); of nothing it is not a number."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def entitled(demands, capacity):
    """What each gets when `capacity` is shared out evenly and nobody gets more than it asks for (max-min)."""
    shares, left = {}, capacity
    for number, (name, demand) in enumerate(sorted(demands.items(), key=lambda item: item[1])):
        shares[name] = min(demand, left / (len(demands) - number))
        left -= shares[name]
    return shares


def jain(values):
    """Jain's index: 1 when all are equal, 1/n when one has everything."""
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 1.0


def fairness(asks, results, seconds):
    """Jain's index over what each caller's first tokens within the arrivals' time are of what it was entitled to."""
    demands, served = {}, {}
    for ask, result in zip(asks, results):
        demands[ask.tenant] = demands.get(ask.tenant, 0) + 1
        in_time = result.first is not None and ask.at + result.first <= seconds
        served[ask.tenant] = served.get(ask.tenant, 0) + in_time
    shares = entitled(demands, sum(served.values()))
    return jain([served[name] / share for name, share in shares.items() if share])


def figures(asks, results, seconds, statistics_of_nodes):
    """The columns of one run; a request that failed counts as one whose first token never came."""
    firsts = sorted(math.inf if result.failure else result.first * 1000 for result in results)
    good = [(ask, result) for ask, result in zip(asks, results) if not result.failure]
    last = max((ask.at + result.end for ask, result in good), default=math.inf)
    total = lambda key: sum(node[key] for node in statistics_of_nodes)
    late = sorted(result.late * 1000 for result in results)
    return {
        "p50": percentile(firsts, 0.50), "p90": percentile(firsts, 0.90), "p99": percentile(firsts, 0.99),
        "tokens": sum(ask.tokens for ask, _ in good) / max(last, seconds),
        "hits": total("cachedTokens") / max(1, total("promptTokens")), "loads": total("modelLoads"),
        "fairness": fairness(asks, results, seconds), "failed": len(results) - len(good), "requests": len(results),
        "late_p99": percentile(late, 0.99), "late_max": late[-1],
        "tenants": {name: percentile(sorted(math.inf if result.failure else result.first * 1000
                                            for ask, result in zip(asks, results) if ask.tenant == name), 0.5)
                    for name in sorted({ask.tenant for ask in asks})},
    }


def disturbance(run):
    """How much others on the machine spoiled a run; more than 1: requests left later than 20 ms (p99), or router or nodes waited longer
    than 2 ms each time for a core (mean)."""
    return max(run["late_p99"] / 20, run["waited"] / 2)


def is_disturbed(run):
    return disturbance(run) > 1


def middle(runs, key):
    """Median, least and greatest of one column over the rounds; None when there is nothing."""
    values = [run[key] for run in runs if run.get(key) is not None]
    return {"median": statistics.median(values), "min": min(values), "max": max(values)} if values else None


def beaten(own, other, column):
    """Whether the other's figure is better than ours by more than chance."""
    slack, more_is_better = SLACK[column], COLUMNS[column][2]
    return other > own * (1 + slack) if more_is_better else other < own * (1 - slack)


def judge(summary, about, own):
    """[(workload, column, our figure, who is better, its figure)] for the columns that each workload is about; nobody is None."""
    lines = []
    for workload, routers in summary.items():
        for column in about[workload]:
            mine = routers[own].get(column)
            if not mine:
                lines.append((workload, column, None, "all", None))
                continue
            better = [(figures[column]["median"], name) for name, figures in routers.items()
                      if name != own and figures.get(column) and beaten(mine["median"], figures[column]["median"], column)]
            best = (max if COLUMNS[column][2] else min)(better, default=(None, None))
            lines.append((workload, column, mine["median"], best[1], best[0]))
    return lines
