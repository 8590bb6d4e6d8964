"""Echo pods: what the conformance suite's `echo-basic` image does in HTTP mode, several in one process.

Each pod has a loopback address of its own: 3000 HTTP/1.1, 3001 HTTP/2 by prior knowledge and nothing else, 8443 HTTPS
when it has a certificate. All pods of a `Pods` run on one event loop in a thread.
"""
import asyncio
import base64
import hashlib
import json
import re
import socket
import ssl
import struct
import threading
import time
from urllib.parse import parse_qs, unquote, urlsplit

from . import http2


def canonical(name):
    """A field name as Go's net/http spells it."""
    return "-".join(p[:1].upper() + p[1:].lower() for p in name.split("-"))


def seconds(text):
    """A Go duration (`1s`, `500ms`, `1m30s`)."""
    unit = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
    return sum(float(n) * unit[u] for n, u in re.findall(r"(\d+(?:\.\d*)?)(ns|us|µs|ms|s|m|h)", text))


class Pod:
    def __init__(self, namespace, name, address, tls=None, service="", ingress="", http_port=3000, certificate=None,
                 more_ports=()):
        self.namespace, self.name, self.address, self.certificate = namespace, name, address, certificate
        self.tls, self.service, self.ingress, self.http_port = tls, service, ingress, http_port
        self.more_ports = more_ports                # of further containers, HTTP/1.1
        self.log, self.attempts, self.servers, self.lock = [], {}, [], None

    def echoed(self, request_id):
        """How many requests with that text in their URI were echoed (the mirror tests read this)."""
        return sum(request_id in uri for uri in list(self.log))

    async def start(self):
        self.lock = asyncio.Lock()
        ports = [(self.http_port, None, self.serve), (3001, None, self.serve_http2)]
        ports += [(port, None, self.serve) for port in self.more_ports]
        await self.listen(ports + ([(8443, self.tls, self.serve)] if self.tls else []))

    async def listen(self, ports):
        """Serves (port, TLS context or None, handler)."""
        if self.tls:
            def remember(ssl_object, name, _context):
                ssl_object.ai_gateway_sni = name
            self.tls.sni_callback = remember
        for port, tls, handler in ports:
            self.servers.append(await asyncio.start_server(
                lambda r, w, p=port, h=handler: self.connection(r, w, p, h), self.address, port, ssl=tls,
                backlog=512, limit=1 << 20))

    async def stop(self):
        for server in self.servers:
            server.close()

    async def connection(self, reader, writer, port, handler):
        try:
            await handler(reader, writer, port)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.LimitOverrunError, ssl.SSLError, ValueError):
            pass
        finally:
            try:
                writer.close()
            except Exception:
                pass

    async def serve_http2(self, reader, writer, port):
        begun = await reader.readuntil(b"\r\n\r\n")
        if not http2.PREFACE.startswith(begun):
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
            return

        async def answer(method, path, authority, lines, _body):
            fields = {}
            for name, value in lines:
                fields.setdefault(canonical(name), []).append(value)
            content, extra = self.echo(method, path, "HTTP/2.0", authority, fields, port)
            back = {"content-type": "application/json", "content-length": str(len(content))}
            return 200, [*back.items(), *((n.lower(), v) for n, v in extra.items())], content
        await http2.serve(reader, writer, answer, begun)

    async def serve(self, reader, writer, port):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            method, uri, version = lines[0].split(" ")
            fields = {}
            for line in lines[1:-2]:
                name, _, value = line.partition(":")
                fields.setdefault(canonical(name), []).append(value.strip())
            lower = {n.lower(): v for n, v in fields.items()}
            if "chunked" in lower.get("transfer-encoding", [""])[0]:
                while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
                    await reader.readexactly(size + 2)
                while await reader.readuntil(b"\r\n") != b"\r\n":
                    pass
            elif "content-length" in lower:
                await reader.readexactly(int(lower["content-length"][0]))
            keep = "close" not in ",".join(lower.get("connection", [])).lower() and version == "HTTP/1.1"
            if not await self.answer(reader, writer, port, method, uri, version, fields, lower) or not keep:
                return

    async def answer(self, reader, writer, port, method, uri, version, fields, lower):
        parts = urlsplit(uri)
        path, query = unquote(parts.path), parse_qs(parts.query, keep_blank_values=True)
        if path == "/health":
            return await self.write(writer, method, 200, b"OK", "text/plain")
        if path == "/ws" and lower.get("upgrade", [""])[0].lower() == "websocket":
            await self.websocket(reader, writer, lower)
            return False
        if path.startswith("/status/"):
            code = path.rsplit("/", 1)[1]
            return await self.write(writer, method, int(code) if code.isdigit() and len(code) == 3 else 400, b"", "text/plain")
        if "delay" in query:
            await asyncio.sleep(seconds(query["delay"][0]))
        if path.startswith("/retry"):
            failed = await self.retry(writer, method, query)
            if failed is not None:
                return failed
        host = fields.pop("Host", [""])[0]
        content, extra = self.echo(method, uri, version, host, fields, port, writer.get_extra_info("ssl_object"))
        return await self.write(writer, method, 200, content, "application/json", extra)

    def echo(self, method, uri, version, host, fields, port, security=None):
        """The content that tells of a request, and the fields that it asks for."""
        self.log.append(uri)
        body = {"path": uri, "host": host, "method": method, "proto": version, "headers": fields, "httpPort": str(port),
                "namespace": self.namespace, "ingress": self.ingress, "service": self.service, "pod": self.name}
        if security:
            body["tls"] = self.security(security)
        extra = []
        for pair in ",".join(fields.get("X-Echo-Set-Header", [])).split(","):
            name, colon, value = pair.strip().partition(":")
            if colon:
                extra.append((canonical(name.strip()), value.strip()))
        joined = {}
        for name, value in extra:
            joined[name] = joined[name] + "," + value if name in joined else value
        return json.dumps(body, indent=1).encode(), joined

    def security(self, ssl_object):
        der = ssl_object.getpeercert(binary_form=True)
        return {"version": ssl_object.version(), "serverName": getattr(ssl_object, "ai_gateway_sni", None) or "",
                "negotiatedProtocol": ssl_object.selected_alpn_protocol() or "", "cipherSuite": ssl_object.cipher()[0],
                "peerCertificates": [ssl.DER_cert_to_PEM_cert(der)] if der else []}

    async def write(self, writer, method, status, body, kind, extra=None):
        fields = {"Content-Type": kind, "X-Content-Type-Options": "nosniff", "Content-Length": str(len(body)), **(extra or {})}
        if status in (204, 304) or status < 200:
            fields.pop("Content-Length")
            body = b""
        head = f"HTTP/1.1 {status} {'OK' if status == 200 else 'Status'}\r\n" + "".join(f"{n}: {v}\r\n" for n, v in fields.items())
        writer.write(head.encode("latin-1") + b"\r\n" + (b"" if method == "HEAD" else body))
        await writer.drain()
        return True

    async def retry(self, writer, method, query):
        """Fails the first `succeedAfter` requests of a uuid; None when this one shall succeed."""
        async with self.lock:
            uuid, after = query.get("uuid", [""])[0], int(query.get("succeedAfter", ["0"])[0])
            self.attempts[uuid] = self.attempts.get(uuid, 0) + 1
            if self.attempts[uuid] > after:
                return None
            if "delayRetry" in query:
                await asyncio.sleep(seconds(query["delayRetry"][0]))
            if "responseCode" in query:
                return await self.write(writer, method, int(query["responseCode"][0]), b"", "text/plain")
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            return False

    async def websocket(self, reader, writer, lower):
        key = lower["sec-websocket-key"][0] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        writer.write(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode())
        while True:
            first, second = await reader.readexactly(2)
            length = second & 127
            if length > 125:
                length = int.from_bytes(await reader.readexactly(2 if length == 126 else 8), "big")
            mask = await reader.readexactly(4) if second & 128 else b"\0" * 4
            data = bytes(b ^ mask[i % 4] for i, b in enumerate(await reader.readexactly(length)))
            writer.write(bytes([first]) + (bytes([length]) if length < 126 else b"\x7e" + length.to_bytes(2, "big")) + data)
            await writer.drain()
            if first & 15 == 8:
                return


class Pods:
    """The event loop of all pods, in a thread."""

    def __init__(self):
        self.loop, self.pods = asyncio.new_event_loop(), []
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def add(self, pod):
        self.call(pod.start())
        self.pods.append(pod)
        return pod

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(20)

    def remove(self, pods):
        async def close():
            for pod in pods:
                await pod.stop()
        self.call(close())
        for pod in pods:
            self.pods.remove(pod)


if __name__ == "__main__":
    import sys
    pods = Pods()
    for number, address in enumerate(sys.argv[1:] or ["127.0.0.1"]):
        pods.add(Pod("default", f"echo-{number}", address))
        print("listening", f"http://{address}:3000", flush=True)
    while True:
        time.sleep(60)
