"""The load: requests sent when their time has come whatever became of the others, and the time of each first token."""
import asyncio
import gc
import re
import time

CONTENT = re.compile(rb'"content":\s?"[^"]')
STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")
LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.I)
END = b"\r\n0\r\n\r\n"


class Result:
    """What became of one request; times are seconds after it was due."""
    __slots__ = ("late", "first", "end", "status", "failure")

    def __init__(self):
        self.late, self.first, self.end, self.status, self.failure = 0.0, None, None, 0, None


class Connection(asyncio.Protocol):
    """One connection, one request at a time; it reads no more of an answer than it must."""

    def __init__(self, load):
        self.load, self.transport, self.result = load, None, None

    def connection_made(self, transport):
        self.transport = transport

    def begin(self, index, due, data, is_again=False):
        self.index, self.due, self.data, self.is_again = index, due, data, is_again
        self.result = self.load.results[index]
        self.head, self.tail, self.length, self.seen, self.is_chunked = b"", b"", None, 0, False
        self.transport.write(data)

    def data_received(self, data):
        result = self.result
        if result is None:
            return self.transport.abort()
        if self.head is not None:
            data = self.head + data
            at = data.find(b"\r\n\r\n")
            if at < 0:
                self.head = data
                return None
            head, data, self.head = data[:at + 2], data[at + 2:], None
            found = STATUS.match(head)
            result.status = int(found.group(1)) if found else 0
            found = LENGTH.search(head)
            self.length = int(found.group(1)) if found else None
            self.is_chunked = b"chunked" in head.lower()
            # The two bytes kept let the end of an empty chunked answer look like any other.
            self.seen = -2
        self.seen += len(data)
        data = self.tail + data
        if result.first is None and CONTENT.search(data):
            result.first = time.monotonic() - self.due
        self.tail = data[-400:]
        if self.is_chunked and data.endswith(END) or self.length is not None and self.seen >= self.length:
            self.finish()
        return None

    def finish(self):
        result, self.result = self.result, None
        result.end = time.monotonic() - self.due
        if result.status != 200:
            result.failure = f"{result.status} " + self.tail.decode(errors="replace").strip()[:200]
        elif b"[DONE]" not in self.tail or result.first is None:
            result.failure = "the answer broke off"
        if not self.transport.is_closing():
            self.load.idle.append(self)
        self.load.done()

    def connection_lost(self, error):
        if self in self.load.idle:
            self.load.idle.remove(self)
        result, self.result = self.result, None
        if result is None:
            return
        if self.head == b"" and not self.is_again:
            # It was closed while the request was on its way.
            self.load.send(self.index, self.due, self.data, is_again=True)
            return
        result.failure = f"the connection was lost: {error}"
        self.load.done()


class Load:
    def __init__(self, port, requests):
        self.port, self.requests = port, requests
        self.results = [Result() for _ in requests]
        self.idle, self.left = [], len(requests)

    def send(self, index, due, data, is_again=False):
        if self.idle and not is_again:
            return self.idle.pop().begin(index, due, data)
        self.loop.create_task(self.connect(index, due, data, is_again))
        return None

    async def connect(self, index, due, data, is_again):
        try:
            _, connection = await self.loop.create_connection(lambda: Connection(self), "127.0.0.1", self.port)
        except OSError as error:
            self.results[index].failure = f"not connected: {error}"
            return self.done()
        return connection.begin(index, due, data, is_again)

    def fire(self, index, due):
        self.results[index].late = time.monotonic() - due
        self.send(index, due, self.requests[index][1])

    def done(self):
        self.left -= 1
        if self.left == 0:
            self.over.set()

    async def run(self, patience):
        """Sends all; waits for the answers, but after the last request no longer than `patience` seconds."""
        self.loop, self.over = asyncio.get_running_loop(), asyncio.Event()
        begin = time.monotonic() + 0.3
        offset = self.loop.time() - time.monotonic()
        for index, (at, _) in enumerate(self.requests):
            self.loop.call_at(begin + at + offset, self.fire, index, begin + at)
        try:
            await asyncio.wait_for(self.over.wait(), self.requests[-1][0] + 0.3 + patience)
        except TimeoutError:
            for result in self.results:
                if result.end is None and result.failure is None:
                    result.failure = f"no end {patience:g} s after the last request"
        self.seconds = time.monotonic() - begin


def request(content, tenant):
    return (b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"x-gateway-inference-fairness-id: " + tenant.encode() + b"\r\n"
            b"Content-Length: " + str(len(content)).encode() + b"\r\n\r\n" + content)


def run(port, requests, patience):
    """Sends [(seconds, bytes)] to a port; (results in their order, seconds from the first arrival to the last answer)."""
    load = Load(port, requests)
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        asyncio.run(load.run(patience))
    finally:
        gc.enable()
        gc.unfreeze()
    return load.results, load.seconds
