"""The origin of what nginx cannot play: content read to its end, events by the clock, WebSocket messages sent back.

    origin.py PORT

POST /uploads/… and /prompts/… are answered with 1 KB of JSON once all of the content is here; GET /events with a stream of
events, each of which says when it was sent; GET /socket becomes a WebSocket whose messages come back. A request with the
field X-Wait is answered as many seconds later as that says.
"""
import base64
import errno
import gc
import hashlib
import heapq
import select
import socket
import sys
import threading
import time

import messages
import parts

EVENTS_PER_SECOND = 40          # of each stream
EVENT_BYTES = 240
ROOM = 1 << 20
UUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(parts.ANSWER), parts.ANSWER.encode())
REFUSAL = b"HTTP/1.1 411 Length Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = (b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","model":"llama3","sent":"@%016d@","choices":[{"index":0,"delta":'
         b'{"content":"%s"},"finish_reason":null}]}\n\n')


def event():
    """One event as a chunk, with the time when it left in nanoseconds of the clock that all processes share."""
    filler = b"w" * (EVENT_BYTES - len(EVENT % (0, b"")))
    text = EVENT % (time.monotonic_ns(), filler)
    return b"%x\r\n%s\r\n" % (len(text), text)


class Streams(threading.Thread):
    """Sends an event to each stream in turn, evenly spread over time, so that no two leave at once."""

    def __init__(self):
        super().__init__(daemon=True)
        self.sockets = ()                         # another one for each change, as this thread reads it at any time

    def add(self, sock):
        self.sockets = (*self.sockets, sock)

    def remove(self, sock):
        self.sockets = tuple(other for other in self.sockets if other is not sock)

    def run(self):
        due, turn = time.monotonic(), 0
        while True:
            sockets = self.sockets
            count = len(sockets)
            due = max(due + 1 / EVENTS_PER_SECOND / max(1, count), time.monotonic() - 0.05)
            time.sleep(max(0, due - time.monotonic()))
            if not count:
                continue
            turn = (turn + 1) % count
            try:
                sockets[turn].send(event())
            except OSError:
                pass                              # the other thread sees its end, too


class Connection:
    """What is known of a connection between two reads."""

    def __init__(self, sock):
        self.socket, self.head, self.missing, self.kind, self.wait = sock, b"", 0, "head", 0


class Origin:
    def __init__(self, port):
        self.listener = socket.create_server(("127.0.0.1", port), backlog=4096)
        self.listener.setblocking(False)
        self.epoll = select.epoll()
        self.epoll.register(self.listener, select.EPOLLIN)
        self.connections = {}
        # (when, number, connection) of the answers that wait.
        self.waiting, self.count = [], 0
        self.room = bytearray(ROOM)
        self.streams = Streams()
        self.streams.start()

    def run(self):
        own = self.listener.fileno()
        while True:
            for descriptor, _ in self.epoll.poll(self.answer_due()):
                if descriptor == own:
                    self.accept()
                    continue
                connection = self.connections[descriptor]
                try:
                    is_open = self.read(connection)
                except OSError as error:
                    is_open = error.errno == errno.EAGAIN
                if not is_open:
                    self.drop(descriptor, connection)

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except BlockingIOError:
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections[sock.fileno()] = Connection(sock)
            self.epoll.register(sock, select.EPOLLIN)

    def drop(self, descriptor, connection):
        self.epoll.unregister(descriptor)
        del self.connections[descriptor]
        if connection.kind == "events":
            self.streams.remove(connection.socket)
        connection.socket.close()

    def read(self, connection):
        """Reads once; whether the connection goes on."""
        if connection.kind == "content":
            # Nobody looks at the content, so it is not even copied.
            count = connection.socket.recv_into(self.room, min(connection.missing, ROOM), socket.MSG_TRUNC)
            connection.missing -= count
            if count and not connection.missing:
                self.answer(connection)
            return count > 0
        data = connection.socket.recv(65536)
        if connection.kind == "socket":
            connection.missing += len(data)
            while connection.missing >= len(messages.ASKED):
                connection.missing -= len(messages.ASKED)
                connection.socket.send(messages.REPLY)
        elif connection.kind == "head":
            connection.head += data
            return bool(data) and self.look(connection)
        return bool(data)

    def answer(self, connection):
        connection.kind = "head"
        if connection.wait:
            self.count += 1
            heapq.heappush(self.waiting, (time.monotonic() + connection.wait, self.count, connection))
        else:
            connection.socket.send(ANSWER)

    def answer_due(self):
        """Sends the answers whose time has come; seconds until the next one, None when there is none."""
        while self.waiting:
            left = self.waiting[0][0] - time.monotonic()
            if left > 0:
                return left
            try:
                heapq.heappop(self.waiting)[2].socket.send(ANSWER)
            except OSError:
                pass                              # who asked has gone
        return None

    def look(self, connection):
        """What a head asks for, where it is whole."""
        head, end, rest = connection.head.partition(b"\r\n\r\n")
        if not end:
            return True
        connection.head = b""
        fields = dict((name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:]))
        path = head.split(b" ", 2)[1]
        if path.startswith(b"/events"):
            connection.kind = "events"
            connection.socket.send(STREAM)
            self.streams.add(connection.socket)
        elif path.startswith(b"/socket"):
            connection.kind = "socket"
            key = base64.b64encode(hashlib.sha1(fields[b"sec-websocket-key"] + UUID).digest())
            connection.socket.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                   b"Sec-WebSocket-Accept: %s\r\n\r\n" % key)
        elif b"content-length" not in fields and not head.startswith(b"GET"):
            connection.socket.send(REFUSAL)
            return False
        else:
            connection.wait = float(fields.get(messages.WAIT_FIELD.lower().encode(), 0))
            connection.missing = int(fields.get(b"content-length", 0)) - len(rest)
            connection.kind = "content"
            if connection.missing <= 0:
                self.answer(connection)
        return True


if __name__ == "__main__":
    gc.disable()
    Origin(int(sys.argv[1])).run()
