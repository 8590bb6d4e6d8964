"""What is asked, when and by whom: schedules that follow from a seed alone, so that every router gets the same."""
import collections
import itertools
import json
import random

# One request: seconds after the beginning, who asks, for which model, with which prompt, and how many tokens are wanted.
Ask = collections.namedtuple("Ask", "at tenant model messages tokens")

# `about` are the columns that the workload was made for; `fleet` says who serves it, by the simulator's flags;
# `warm` are models that every node has in memory from the beginning.
Workload = collections.namedtuple("Workload", "name title engine nodes fleet vram models warm seconds make about")

TOKEN_BYTES = 4                     # as the simulator counts
WORDS = ("answer apple below bridge candle carbon cellar copper desert dinner engine fabric famous father finger forest garden gentle "
         "golden harbor hidden island jungle kettle ladder letter little marble market meadow mirror modern mother narrow number office "
         "orange packet pencil planet pocket purple rabbit random reason ribbon river rocket saddle season second shadow silver simple "
         "single spring stable stream street summer sunset talent temple thread ticket timber travel tunnel valley velvet violet window "
         "winter wonder yellow").split()


def text(rng, tokens):
    """Words that the simulator counts as so many tokens."""
    size = tokens * TOKEN_BYTES
    return " ".join(rng.choices(WORDS, k=size // 6 + 1))[:size]


def zipf(count, exponent):
    """Weights of the first, second, … of so many."""
    return [1 / rank ** exponent for rank in range(1, count + 1)]


def poisson(rng, rate, begin, end):
    """Times of independent arrivals."""
    at = begin
    while True:
        at += rng.expovariate(rate)
        if at >= end:
            return
        yield at


def message(role, content):
    return {"role": role, "content": content}


def body(ask):
    """The request's content, in OpenAI's words."""
    return json.dumps({"model": ask.model, "messages": ask.messages, "max_tokens": ask.tokens, "stream": True}).encode()


def in_order(asks):
    return sorted(asks, key=lambda ask: ask.at)


# ---- the schedules --------------------------------------------------------------

def chat(seed, seconds, rate=60, programs=64, system=2000, turns=5, pause=2.0):
    """Conversations of several turns, each behind the system prompt of one of several programs, the popular ones often."""
    rng = random.Random(f"chat {seed}")
    prompts = [text(rng, system) for _ in range(programs)]
    asks = []
    # Begun before the beginning, so that it is busy from the first second on; what was asked then is not asked again.
    for begin in poisson(rng, rate / turns, -turns * pause, seconds):
        program = rng.choices(range(programs), zipf(programs, 1.0))[0]
        messages, at, tenant = [message("system", prompts[program])], begin, rng.choice("ab")
        for _ in range(turns):
            messages = messages + [message("user", text(rng, rng.randint(40, 200)))]
            tokens = rng.randint(16, 48)
            if 0 <= at < seconds:
                asks.append(Ask(at, tenant, "llama3", messages, tokens))
            messages = messages + [message("assistant", text(rng, tokens))]
            at += 1 + rng.expovariate(1 / (pause - 1))
    return in_order(asks)


def models(seed, seconds, rate=14, names=8):
    """More models than the nodes have room for, the first of them often, the last seldom."""
    rng = random.Random(f"models {seed}")
    return [Ask(at, rng.choice("ab"), rng.choices(MANY, zipf(names, 1.0))[0],
                [message("user", text(rng, rng.randint(50, 400)))], rng.randint(16, 32)) for at in poisson(rng, rate, 0, seconds)]


def bursts(seed, seconds, rate=8, hot=4, size=50, every=7.0):
    """A few models all the time, and every few seconds fifty requests at once for one that nobody has used before."""
    rng = random.Random(f"bursts {seed}")
    asks = [Ask(at, "steady", rng.choice(MANY[:hot]), [message("user", text(rng, rng.randint(50, 400)))], rng.randint(16, 32))
            for at in poisson(rng, rate, 0, seconds)]
    for number, begin in enumerate(itertools.takewhile(lambda at: at < seconds - 1, itertools.count(2, every))):
        cold = MANY[hot + number % (len(MANY) - hot)]
        asks += [Ask(begin + rng.random() * 0.2, "crowd", cold, [message("user", text(rng, rng.randint(50, 400)))], rng.randint(16, 32))
                 for _ in range(size)]
    return in_order(asks)


def long(seed, seconds, rate=60, share=0.06, document=28_000, questions=3):
    """Short questions, and among them such about a document of 28,000 tokens, of which each is asked about a few times."""
    rng = random.Random(f"long {seed}")
    asks = [Ask(at, rng.choice("ab"), "llama3", [message("user", text(rng, rng.randint(40, 300)))], rng.randint(16, 48))
            for at in poisson(rng, rate * (1 - share), 0, seconds)]
    pause = 4.0
    for begin in poisson(rng, rate * share / questions, -questions * pause, seconds):
        paper, at, tenant = text(rng, document), begin, rng.choice("ab")
        for _ in range(questions):
            ask = Ask(at, tenant, "llama3", [message("system", paper), message("user", text(rng, rng.randint(40, 100)))], rng.randint(16, 48))
            if 0 <= at < seconds:
                asks.append(ask)
            at += 2 + rng.expovariate(1 / (pause - 2))
    return in_order(asks)


def tenants(seed, seconds, greedy=36, modest=4):
    """Two callers of one model: one asks for half as much again as there is, the other for a sixth of it."""
    rng = random.Random(f"tenants {seed}")
    return in_order([Ask(at, tenant, MANY[0], [message("user", text(rng, rng.randint(50, 400)))], rng.randint(16, 32))
                     for tenant, rate in (("greedy", greedy), ("modest", modest)) for at in poisson(rng, rate, 0, seconds)])


MANY = [f"model-{letter}" for letter in "abcdefgh"]
LOADED = ["--models", ",".join(f"{name}=4GiB" for name in MANY), "--vram", "13GiB", "--load-time", "3s", "--parallel", "4",
          "--prefill-rate", "3000", "--decode-rate", "50", "--answer-tokens", "64"]
BATCHED = ["--models", "llama3", "--prefill-rate", "16000", "--decode-rate", "50", "--answer-tokens", "64", "--parallel", "32"]

WORKLOADS = {workload.name: workload for workload in (
    Workload("chat", "shared-prefix chat", "vllm", 8, [*BATCHED, "--cache-tokens", "49152"], None, ["llama3"], [], 15, chat,
             ("p50", "p90", "p99", "tokens", "hits")),
    Workload("models", "mixed models", "ollama", 4, LOADED, "13Gi", MANY, [], 15, models, ("p50", "p90", "p99", "tokens", "loads")),
    Workload("bursts", "bursts of cold models", "ollama", 4, LOADED, "13Gi", MANY, [], 15, bursts, ("p50", "p90", "p99", "loads")),
    Workload("long", "long prompts among short ones", "vllm", 8, [*BATCHED, "--cache-tokens", "131072", "--context", "40960"], None, ["llama3"], [],
             15, long, ("p50", "p90", "p99", "tokens", "hits")),
    Workload("tenants", "a greedy and a modest caller", "ollama", 4, LOADED, "13Gi", MANY[:1], MANY[:1], 15, tenants, ("fairness",)),
)}
