"""A DNS server for tests: A, AAAA and SRV records whose values and TTL change while it runs."""
import socket
import struct
import threading

A, SRV, AAAA = 1, 33, 28


class DNS:
    """UDP (and no TCP) on 127.x port 53. `records`: {(name, type): [values]}; `mode`: answer, silent, fail."""

    def __init__(self, address, port=53, ttl=1):
        self.address, self.ttl, self.mode, self.records, self.queries = address, ttl, "answer", {}, []
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((address, port))
        self.sock.settimeout(0.1)
        self.stopped = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stopped = True
        self.thread.join()
        self.sock.close()

    def set(self, name, kind, values):
        self.records[(name.lower(), kind)] = values

    def _run(self):
        while not self.stopped:
            try:
                data, peer = self.sock.recvfrom(4096)
            except TimeoutError:
                continue
            answer = self.answer(data)
            if answer:
                try:
                    self.sock.sendto(answer, peer)
                except OSError:
                    return

    def answer(self, data):
        at, labels = 12, []
        while data[at]:
            labels.append(data[at + 1:at + 1 + data[at]].decode())
            at += 1 + data[at]
        name, (kind, _) = ".".join(labels).lower(), struct.unpack("!HH", data[at + 1:at + 5])
        question = data[12:at + 5]
        self.queries.append((name, kind))
        if self.mode == "silent":
            return None
        if self.mode == "fail":
            return data[:2] + struct.pack("!HHHHH", 0x8182, 1, 0, 0, 0) + question
        values = self.records.get((name, kind), [])
        known = any(n == name for n, _ in self.records)
        body = b"".join(b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, self.ttl, len(d)) + d for d in map(lambda v: encode(kind, v), values))
        return data[:2] + struct.pack("!HHHHH", 0x8580 if known else 0x8583, 1, len(values), 0, 0) + question + body


def encode(kind, value):
    if kind == A:
        return socket.inet_pton(socket.AF_INET, value)
    if kind == AAAA:
        return socket.inet_pton(socket.AF_INET6, value)
    priority, weight, port, target = value
    return struct.pack("!HHH", priority, weight, port) + b"".join(
        bytes([len(l)]) + l.encode() for l in target.split(".")) + b"\0"
