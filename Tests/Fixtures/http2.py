"""HTTP/2 by the `h2` package, for peers of the gateway: a server's connection and a client's one request."""
import socket

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions

from .http1 import Ended, Response

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


async def serve(reader, writer, answer, begun=b""):
    """Serves one connection. `answer(method, path, authority, fields, body)` gives (status, fields, body); `begun` is
    what was read already."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
    connection.initiate_connection()
    requests, waiting, data = {}, {}, begun
    while True:
        for event in connection.receive_data(data) if data else []:
            if isinstance(event, h2.events.RequestReceived):
                requests[event.stream_id] = (list(event.headers), bytearray())
            elif isinstance(event, h2.events.DataReceived):
                requests[event.stream_id][1].extend(event.data)
                connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamReset):
                requests.pop(event.stream_id, None)
                waiting.pop(event.stream_id, None)
            elif isinstance(event, h2.events.StreamEnded):
                fields, body = requests.pop(event.stream_id)
                named = {n: v for n, v in fields if n.startswith(":")}
                status, back, content = await answer(
                    named[":method"], named.get(":path", ""), named.get(":authority", ""),
                    [(n, v) for n, v in fields if not n.startswith(":")], bytes(body))
                connection.send_headers(event.stream_id, [(":status", str(status))] + back, end_stream=not content)
                if content:
                    waiting[event.stream_id] = content
            elif isinstance(event, h2.events.ConnectionTerminated):
                return
        for stream in list(waiting):
            _send(connection, stream, waiting)
        writer.write(connection.data_to_send())
        await writer.drain()
        data = await reader.read(65536)
        if not data:
            return


def _send(connection, stream, waiting):
    """As much of a stream's content as its window lets through."""
    while content := waiting.get(stream):
        size = min(len(content), connection.local_flow_control_window(stream), connection.max_outbound_frame_size)
        if size <= 0:
            return
        connection.send_data(stream, content[:size], end_stream=size == len(content))
        if size == len(content):
            del waiting[stream]
        else:
            waiting[stream] = content[size:]


def request(address, port, method, path, authority, fields=(), body=b"", tls=None, sni=None, timeout=10.0):
    """One request on a connection of its own: by prior knowledge, or over TLS, where ALPN has to agree on h2."""
    with socket.create_connection((address, port), timeout=timeout) as sock:
        if tls:
            tls.set_alpn_protocols(["h2", "http/1.1"])
            sock = tls.wrap_socket(sock, server_hostname=sni)
            if sock.selected_alpn_protocol() != "h2":
                raise Ended(f"agreed on {sock.selected_alpn_protocol()}, not h2")
        with sock:
            connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="latin-1"))
            connection.initiate_connection()
            stream = connection.get_next_available_stream_id()
            head = [(":method", method), (":scheme", "https" if tls else "http"), (":authority", authority), (":path", path)]
            connection.send_headers(stream, head + [(n.lower(), v) for n, v in fields], end_stream=not body)
            if body:
                connection.send_data(stream, body, end_stream=True)
            return _response(connection, sock, stream)


def _response(connection, sock, stream):
    response, content = None, bytearray()
    while True:
        sock.sendall(connection.data_to_send())
        data = sock.recv(65536)
        if not data:
            raise Ended("eof", bytes(content))
        try:
            events = connection.receive_data(data)
        except h2.exceptions.ProtocolError as error:
            raise Ended(f"broken: {error!r}", data) from None
        for event in events:
            if isinstance(event, h2.events.ResponseReceived):
                fields = list(event.headers)
                status = int(dict(fields)[":status"])
                response = Response(status, "", "2", [(n, v) for n, v in fields if not n.startswith(":")])
            elif isinstance(event, h2.events.TrailersReceived):
                response.trailers = list(event.headers)
            elif isinstance(event, h2.events.DataReceived):
                content.extend(event.data)
                connection.acknowledge_received_data(event.flow_controlled_length, stream)
            elif isinstance(event, h2.events.StreamEnded):
                response.body, response.complete = bytes(content), True
                return response
            elif isinstance(event, h2.events.StreamReset):
                raise Ended(f"stream reset with {event.error_code}", bytes(content))
            elif isinstance(event, h2.events.ConnectionTerminated):
                raise Ended(f"GOAWAY with {event.error_code}", bytes(content))
