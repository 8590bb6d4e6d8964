"""Echo pods of the other modes of `echo-basic`: TCP, UDP, gRPC; and one that answers DNS, for CoreDNS."""
import asyncio
import json

from . import grpc_echo
from .echo import Pod

WELCOME = b"Gateway API Test TCP Server\n"


class TCPPod(Pod):
    """3000 plain, 8443 TLS: a welcome, then an answer to each line."""

    async def start(self):
        await self.listen([(3000, None, self.talk)] + ([(8443, self.tls, self.talk)] if self.tls else []))

    async def talk(self, reader, writer, port):
        writer.write(WELCOME)
        security = writer.get_extra_info("ssl_object")
        while line := await reader.readline():
            word = line.strip()
            if word == b"PING":
                writer.write(b"PONG\n")
            elif word == b"IS_TLS":
                writer.write(b"true\n" if security else b"false\n")
            elif word == b"TEST":
                told = {"namespace": self.namespace, "ingress": self.ingress, "service": self.service, "pod": self.name,
                        "tcpport": "3000", "tlsport": "8443", "isTLS": security is not None}
                if security:
                    told["tls"] = self.security(security)
                writer.write(json.dumps(told).encode() + b"\n")
            else:
                writer.write(line)
            await writer.drain()


class UDPPod(Pod):
    """8080: each datagram gets one that tells who answers."""
    port = 8080

    async def start(self):
        pod = self

        class Datagrams(asyncio.DatagramProtocol):
            def connection_made(self, transport):
                self.transport = transport

            def datagram_received(self, data, address):
                if (answer := pod.answer_to(data)) is not None:
                    self.transport.sendto(answer, address)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(Datagrams, local_addr=(self.address, self.port))
        self.servers.append(transport)

    def answer_to(self, data):
        return json.dumps({"request": data.decode("utf-8", "replace"), "namespace": self.namespace, "ingress": self.ingress,
                           "service": self.service, "pod": self.name}).encode()


class DNSPod(UDPPod):
    """Answers every question with no records."""

    def __init__(self, *values, port=53, **named):
        super().__init__(*values, **named)
        self.port = port

    def answer_to(self, data):
        if len(data) < 12:
            return None
        return data[:2] + b"\x84\x00" + data[4:6] + b"\0\0\0\0\0\0" + data[12:].partition(b"\0")[0] + b"\0" + data[-4:]


class GRPCPod(Pod):
    """3000 plaintext, 8443 TLS: the suite's GrpcEcho service by grpcio."""

    async def start(self):
        import grpc                             # after fork and only where it is needed: it starts threads
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        handlers = {n: grpc.unary_unary_rpc_method_handler(self.method(n)) for n in ("Echo", "EchoTwo")}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(grpc_echo.SERVICE, handlers),))
        server.add_insecure_port(f"{self.address}:3000")
        if self.certificate:
            pair = (self.certificate.key_pem, self.certificate.pem)
            server.add_secure_port(f"{self.address}:8443", grpc.ssl_server_credentials([pair]))
        await server.start()
        self.server = server

    def method(self, name):
        async def echo(_request, context):
            metadata = [(k, v) for k, v in context.invocation_metadata() if isinstance(v, str)]
            return grpc_echo.response(f"/{grpc_echo.SERVICE}/{name}", metadata, self.namespace, self.ingress,
                                      self.service, self.name)
        return echo

    async def stop(self):
        await self.server.stop(0)
