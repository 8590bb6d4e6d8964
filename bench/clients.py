"""The loads that neither wrk nor h2load can play: long content, requests that come by the clock and wait, ages of events,
WebSocket messages, idle connections, TLS handshakes.

    clients.py bulk|waiting|events|socket|idle|full|resumed PORT PATH SECONDS COUNT [--tls] [--content FILE]

Says `ready` when all connections stand, waits for a line, loads for so long, and prints its figures as a line of JSON;
then it waits for another line before it lets go of its connections.
"""
import argparse
import base64
import gc
import json
import re
import select
import socket
import ssl
import sys
import threading
import time

from messages import ASKED, REPLY, WAIT_FIELD, WAIT_SECONDS

HEAD = "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: curl/8.0\r\nAccept: */*\r\n{more}\r\n"
IDLE_AT_ONCE = 100
SENT = re.compile(rb"@(\d{16})@")


def percentile(ordered, share):
    return ordered[max(0, min(len(ordered) - 1, round(share * len(ordered)) - 1))]


def figures(times, seconds, count=None):
    """`times` in nanoseconds, of each request; None where nothing was timed."""
    ordered = sorted(times)
    return {"requests": len(times) if count is None else count, "errors": 0, "microseconds": seconds * 1e6,
            "p50": percentile(ordered, 0.5) / 1e3 if ordered else None, "p99": percentile(ordered, 0.99) / 1e3 if ordered else None}


def connected(port):
    sock = socket.create_connection(("127.0.0.1", port), 30)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def asked(port, path, status, more=""):
    """A connection on which a request was answered with this status, and what came behind the answer's head."""
    sock = connected(port)
    sock.sendall(HEAD.format(path=path, port=port, more=more).encode())
    return sock, answered(sock, status)


def answered(sock, status):
    """Reads an answer's head; what came behind it."""
    data = b""
    while b"\r\n\r\n" not in data:
        got = sock.recv(65536)
        if not got:
            raise SystemExit(f"no answer: {data!r}")
        data += got
    if not data.startswith(b"HTTP/1.1 %d" % status):
        raise SystemExit(f"answered with {data[:300]!r}")
    return data.partition(b"\r\n\r\n")[2]


def ready():
    gc.collect()
    gc.disable()
    print("ready", flush=True)
    sys.stdin.readline()


# ---- long content -----------------------------------------------------------------

class Exchange:
    """A connection that asks again when its answer is whole."""
    room = bytearray(1 << 20)

    def __init__(self, sock, request, is_tls):
        self.socket, self.request, self.is_tls = sock, memoryview(request), is_tls
        sock.setblocking(False)
        self.restart()

    def restart(self):
        self.sent, self.head, self.missing, self.begin = 0, b"", None, time.monotonic_ns()

    def step(self):
        """Goes on until it would wait; whether the answer is whole."""
        try:
            while self.sent < len(self.request):
                self.sent += self.socket.send(self.request[self.sent:self.sent + len(self.room)])
            while self.missing != 0:
                if self.missing is None:
                    self.read_head()
                    continue
                room = min(self.missing, len(self.room))
                # Content that is in the clear need not even be copied.
                count = self.socket.recv_into(self.room, room) if self.is_tls else self.socket.recv_into(self.room, room, socket.MSG_TRUNC)
                if not count:
                    raise SystemExit("an answer ended early")
                self.missing -= count
            return True
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False

    def read_head(self):
        data = self.socket.recv(4096)
        self.head += data
        head, end, rest = self.head.partition(b"\r\n\r\n")
        if not data or end and not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"answered with {self.head[:300]!r} after {self.sent} of {len(self.request)} bytes sent")
        if end:
            self.missing = int(re.search(rb"(?i)\r\ncontent-length: *(\d+)", head).group(1)) - len(rest)


def posted(port, path, content, more=""):
    with open(content, "rb") as file:
        body = file.read()
    more += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return HEAD.replace("GET", "POST").format(path=path, port=port, more=more).encode() + body


def bulk(port, path, seconds, count, is_tls, content):
    """Requests and answers that take long. What was begun is brought to its end, so that all that was spent is counted."""
    request = posted(port, path, content) if content else HEAD.format(path=path, port=port, more="").encode()
    poll, exchanges, times = select.epoll(), {}, []
    for _ in range(count):
        sock = connected(port)
        sock = trusting().wrap_socket(sock, server_hostname="localhost") if is_tls else sock
        exchanges[sock.fileno()] = Exchange(sock, request, is_tls)
    ready()
    begin = time.monotonic()
    end, running = begin + seconds, set(exchanges.values())
    for descriptor, exchange in exchanges.items():
        exchange.restart()
        poll.register(descriptor, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)
    while running:
        for descriptor, _ in poll.poll():
            exchange = exchanges[descriptor]
            while exchange in running and exchange.step():
                times.append(time.monotonic_ns() - exchange.begin)
                exchange.restart()
                if time.monotonic() >= end:
                    running.discard(exchange)
    return figures(times, time.monotonic() - begin)


# ---- requests by the clock --------------------------------------------------------

def waiting(port, path, seconds, count, content):
    """A request whenever one is due, whatever became of those before, each answered after a while, so that `count` of them
    are in flight: what came on top of that while, from when the request was due."""
    request = posted(port, path, content, f"{WAIT_FIELD}: {WAIT_SECONDS}\r\n")
    poll, every = select.epoll(), WAIT_SECONDS / count
    # Each is used again as soon as its answer has come; late ones need more.
    idle = [Exchange(connected(port), request, False) for _ in range(count + count // 2)]
    busy, times = {exchange.socket.fileno(): exchange for exchange in idle}, []
    for descriptor in busy:
        poll.register(descriptor, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)
    poll.poll(0, len(busy))
    busy.clear()
    ready()
    begin, sent, total = time.monotonic_ns(), 0, int(seconds / every)
    while len(times) < total:
        due = begin + int(sent * every * 1e9)
        left = (due - time.monotonic_ns()) / 1e9 if sent < total else 1
        if left <= 0:
            if not idle:
                raise SystemExit(f"{len(busy)} requests are in flight: the answers are far too late")
            exchange = idle.pop()
            exchange.restart()
            exchange.begin, sent = due, sent + 1
            busy[exchange.socket.fileno()] = exchange
            exchange.step()
            continue
        for descriptor, _ in poll.poll(left):
            exchange = busy.get(descriptor)
            if exchange and exchange.step():
                times.append(time.monotonic_ns() - exchange.begin - int(WAIT_SECONDS * 1e9))
                idle.append(busy.pop(descriptor))
    return figures(times, (time.monotonic_ns() - begin) / 1e9)


# ---- events ---------------------------------------------------------------------

def events(port, path, seconds, count):
    """The time from when the origin sent an event until it was read here, of each that came."""
    streams = [asked(port, path, 200) for _ in range(count)]
    poll, tails, ages = select.epoll(), {}, []
    for sock, _ in streams:
        sock.setblocking(False)
        poll.register(sock, select.EPOLLIN)
        tails[sock.fileno()] = [sock, b""]
    ready()
    for sock, _ in streams:                       # what came in the meantime is none of this
        try:
            sock.recv(1 << 20)
        except BlockingIOError:
            pass
    begin = time.monotonic()
    end = begin + seconds
    while time.monotonic() < end:
        for descriptor, _ in poll.poll(0.1):
            entry = tails[descriptor]
            data = entry[0].recv(65536)
            now = time.monotonic_ns()
            if not data:
                raise SystemExit("a stream ended")
            data = entry[1] + data
            last = 0
            for found in SENT.finditer(data):
                ages.append(now - int(found.group(1)))
                last = found.end()
            entry[1] = data[max(last, len(data) - 18):]
    return figures(ages, time.monotonic() - begin)


# ---- WebSocket --------------------------------------------------------------------

def messages(port, path, seconds, count):
    """Each connection sends a message, and the next when it came back."""
    key = base64.b64encode(b"0123456789abcdef").decode()
    upgrade = f"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
    poll, peers, times = select.epoll(), {}, []
    whole = len(REPLY)
    for _ in range(count):
        sock, _ = asked(port, path, 101, upgrade)
        poll.register(sock, select.EPOLLIN)
        peers[sock.fileno()] = [sock, 0, 0]
    ready()
    begin = time.monotonic()
    end = begin + seconds
    for entry in peers.values():
        entry[1] = time.monotonic_ns()
        entry[0].send(ASKED)
    clock = time.monotonic_ns
    while time.monotonic() < end:
        for descriptor, _ in poll.poll(0.1):
            entry = peers[descriptor]
            data = entry[0].recv(4096)
            if not data:
                raise SystemExit("a WebSocket ended")
            entry[2] += len(data)
            if entry[2] < whole:
                continue
            if entry[2] > whole or data[-1:] != b"m":
                raise SystemExit("not the message that was sent")
            now = clock()
            times.append(now - entry[1])
            entry[1], entry[2] = now, 0
            entry[0].send(ASKED)
    return figures(times, time.monotonic() - begin)


# ---- idle connections ---------------------------------------------------------------

def idle(port, path, seconds, count):
    """Connections that asked once and now keep silent."""
    ready()
    begin, kept = time.monotonic(), []
    request = HEAD.format(path=path, port=port, more="").encode()
    for first in range(0, count, IDLE_AT_ONCE):
        some = [connected(port) for _ in range(min(IDLE_AT_ONCE, count - first))]
        for sock in some:
            sock.sendall(request)
        for sock in some:
            answered(sock, 200)
        kept += some
    taken = time.monotonic() - begin
    time.sleep(seconds)
    out = figures([], taken, count)
    print(json.dumps(out), flush=True)
    sys.stdin.readline()
    for sock in kept:
        sock.close()


# ---- TLS handshakes -----------------------------------------------------------------

def trusting():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def shake(context, port, path, session):
    """A connection with one request on it; its session, and nanoseconds until the handshake was done."""
    raw = connected(port)
    begin = time.monotonic_ns()
    with context.wrap_socket(raw, session=session, server_hostname="localhost") as sock:
        taken = time.monotonic_ns() - begin
        if sock.session_reused != (session is not None):
            raise SystemExit(f"the handshake was {'not ' if session else ''}resumed")
        sock.sendall(HEAD.format(path=path, port=port, more="").encode())
        data = sock.recv(65536)
        if not data.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"answered with {data[:300]!r}")
        return sock.session, taken


def handshakes(port, path, seconds, count, is_resumed):
    """Several threads that connect, ask once and close; OpenSSL works outside of the interpreter's lock."""
    context = trusting()
    times, failures, ends = [], [], [0.0]

    def run():
        try:
            # A ticket is used once, as TLS 1.3 wants it; each answer brings the next one.
            session = shake(context, port, path, None)[0] if is_resumed else None
            barrier.wait()
            barrier.wait()
            while time.monotonic() < ends[0]:
                last, taken = shake(context, port, path, session)
                times.append(taken)
                session = last if is_resumed else None
        except (OSError, SystemExit) as error:
            failures.append(str(error))
            barrier.abort()
        except threading.BrokenBarrierError:
            pass

    barrier = threading.Barrier(count + 1)
    threads = [threading.Thread(target=run, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        barrier.wait()
        ready()
        begin = time.monotonic()
        ends[0] = begin + seconds
        barrier.wait()
    except threading.BrokenBarrierError:
        pass
    for thread in threads:
        thread.join()
    if failures:
        raise SystemExit(failures[0])
    return figures(times, time.monotonic() - begin)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name, type in (("kind", str), ("port", int), ("path", str), ("seconds", float), ("count", int)):
        parser.add_argument(name, type=type)
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--content")
    options = parser.parse_args()
    kind, port, path, seconds, count = options.kind, options.port, options.path, options.seconds, options.count
    if kind == "idle":
        return idle(port, path, seconds, count)
    if kind == "bulk":
        out = bulk(port, path, seconds, count, options.tls, options.content)
    elif kind == "waiting":
        out = waiting(port, path, seconds, count, options.content)
    elif kind in ("full", "resumed"):
        out = handshakes(port, path, seconds, count, kind == "resumed")
    else:
        out = {"events": events, "socket": messages}[kind](port, path, seconds, count)
    print(json.dumps(out), flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main()
