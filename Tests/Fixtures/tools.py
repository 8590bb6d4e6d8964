"""Clients written by others, as commands: curl, nghttp and h2load."""
import re
import shutil
import subprocess
from dataclasses import dataclass

import pytest


@dataclass
class Answer:
    """What curl received."""
    code: int                       # curl's exit code
    status: int
    version: str                    # "2", "1.1"
    headers: list
    body: bytes
    errors: str

    def get(self, name, default=None):
        return next((v for n, v in self.headers if n.lower() == name.lower()), default)


def need(command):
    if not shutil.which(command):
        pytest.skip(f"no {command} (Debian: nghttp2-client)")
    return command


def curl(url, *arguments, input=None, timeout=30, resolve=None):
    """One request; `resolve` is a host name that stands for 127.0.0.1."""
    command = ["curl", "-sS", "-k", "-i", "--max-time", str(timeout), "-w", "%{stderr}\n=%{http_version} %{http_code}", *arguments]
    if resolve:
        command += ["--connect-to", f"{resolve}::127.0.0.1:"]
    done = subprocess.run([*command, url], input=input, capture_output=True, timeout=timeout + 5)
    errors, _, figures = done.stderr.decode("latin-1").rpartition("\n=")
    version, status = figures.split()
    rest = done.stdout
    headers = []
    while rest.startswith(b"HTTP/"):                    # interim heads, then the answer's
        head, _, rest = rest.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = [tuple(p.strip() for p in line.split(":", 1)) for line in lines[1:]]
        if int(lines[0].split()[1]) >= 200:
            break
    return Answer(done.returncode, int(status), version, headers, rest, errors)


def nghttp(*arguments, timeout=30):
    """Its output with -v: one line a frame."""
    done = subprocess.run([need("nghttp"), "-v", "--no-verify-peer", *arguments], capture_output=True, text=True, timeout=timeout,
                          errors="replace")
    return re.sub(r"\x1b\[[0-9;]*m", "", done.stdout) + done.stderr


def h2load(*arguments, timeout=100):
    """{"total", "done", "succeeded", "failed", "errored", "timeout", "2xx", …, "rate"}."""
    done = subprocess.run([need("h2load"), *arguments], capture_output=True, text=True, timeout=timeout)
    out = {}
    for line in done.stdout.splitlines():
        if line.startswith(("requests:", "status codes:")):
            out.update({word: int(n) for n, word in re.findall(r"(\d+) (\w+)", line)})
        elif line.startswith("finished in"):
            out["rate"] = float(re.search(r"([\d.]+) req/s", line)[1])
        elif line.startswith("Application protocol"):
            out["protocol"] = line.split(": ")[1]
    return out
