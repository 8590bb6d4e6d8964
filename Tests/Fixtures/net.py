"""Small things about sockets and time that every fixture needs."""
import collections
import os
import random
import socket
import time

_random = random.Random()
_given = collections.deque(maxlen=400)


def _candidates():
    """Ports of this process: those that run side by side (`PYTEST_XDIST_WORKER`) draw from ranges of their own."""
    lane = int("".join(c for c in os.environ.get("PYTEST_XDIST_WORKER", "") if c.isdigit()) or os.getpid()) % 8
    return range(20000 + lane, 32000, 8)


def free_port(host="127.0.0.1"):
    """A port that nothing listens on, and that this process was not given lately.

    Below the kernel's own range, so that no outgoing connection takes it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(400):
        port = _random.choice(_candidates())
        if port in _given:
            continue
        with socket.socket(family, socket.SOCK_STREAM) as s:
            try:
                s.bind((host, port))
            except OSError:
                continue
            _given.append(port)
            return port
    raise RuntimeError(f"no free port on {host}")


def free_port_on(*hosts):
    """A port that nothing listens on at any of these addresses of one family."""
    for _ in range(400):
        port = free_port(hosts[0])
        try:
            for host in hosts[1:]:
                with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as s:
                    s.bind((host, port))
        except OSError:
            continue
        return port
    raise RuntimeError(f"no port is free on all of {hosts}")


def wait_until(condition, seconds=10.0, every=0.02, what=None):
    """Calls `condition` until it returns something true, and returns that; fails after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what() if callable(what) else what or condition}")
        time.sleep(every)


def ipv6_available():
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as s:
            s.bind(("::1", 0))
        return True
    except OSError:
        return False
