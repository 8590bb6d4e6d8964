"""The conformance runner's clients and echo pods understand each other without a gateway between them: what fails with
one between them is the gateway's."""
import os
import ssl
import sys

import pytest

sys.path.append(os.path.join(os.path.dirname(__file__), "..", "Conformance"))

import talks                                                            # noqa: E402
from verdict import Final, Wrong                                        # noqa: E402

from Fixtures import grpc_echo, http2                                   # noqa: E402
from Fixtures.certificates import Certificate                           # noqa: E402
from Fixtures.echo import Pod, Pods                                     # noqa: E402
from Fixtures.echo_streams import DNSPod, GRPCPod, TCPPod, UDPPod       # noqa: E402
from Fixtures.http1 import Ended                                        # noqa: E402

CERTIFICATE = Certificate(["abc.example.com"])
ADDRESS = "127.19.0.{}"
NAMES = {"namespace": "infra", "name": "echo-1-abcde", "service": "echo"}


class Direct:
    """A `Traffic` whose place is a pod."""

    def __init__(self, address, port):
        self.at = address, port

    def place(self, _entry):
        return self.at

    def tls(self, _entry):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=CERTIFICATE.pem.decode())
        return context


@pytest.fixture(scope="module")
def pods():
    pods = Pods()
    for number, (kind, more) in enumerate([(Pod, {}), (TCPPod, {}), (UDPPod, {}), (DNSPod, {"port": 8053}), (GRPCPod, {})], 1):
        tls = CERTIFICATE.server_context() if kind is TCPPod else None
        pods.add(kind(address=ADDRESS.format(number), tls=tls, certificate=CERTIFICATE, **NAMES, **more))
    yield pods
    pods.remove(list(pods.pods))


def test_a_call_of_grpc_is_echoed_with_its_metadata(pods):
    entry = {"request": {"grpcMethod": f"/{grpc_echo.SERVICE}/EchoTwo", "metadata": {"Version": "one"}},
             "expect": {"grpcCodeNumber": 0, "grpcCode": "OK", "namespace": "infra", "backend": "echo-1",
                        "echo": {"fullyQualifiedMethod": f"/{grpc_echo.SERVICE}/EchoTwo"}}}
    echoed = talks.grpc_call(Direct(ADDRESS.format(5), 3000), entry)
    assert ("version", "one") in echoed["headers"]
    entry["request"]["grpcMethod"] = f"/{grpc_echo.SERVICE}/EchoThree"
    with pytest.raises(Wrong, match="UNIMPLEMENTED"):
        talks.grpc_call(Direct(ADDRESS.format(5), 3000), entry)
    entry["expect"] = {"grpcCode": "UNIMPLEMENTED", "grpcCodeNumber": 12}
    assert talks.grpc_call(Direct(ADDRESS.format(5), 3000), entry) is None


def talk(scheme, **expect):
    return {"scheme": scheme, "sni": "abc.example.com", "request": {"send": ["PING\n", "IS_TLS\n", "TEST\n"]},
            "expect": {"welcome": "Gateway API Test TCP Server\n", "PING": "PONG\n", "backend": "echo-1-", **expect}}


def test_lines_are_answered_over_tcp_and_tls(pods):
    assert talks.lines(Direct(ADDRESS.format(2), 3000), talk("tcp", IS_TLS="false\n"))["pod"] == NAMES["name"]
    sealed = talk("tls", IS_TLS="true\n", TEST={"tls.serverName": "abc.example.com"})
    assert talks.lines(Direct(ADDRESS.format(2), 8443), sealed)["namespace"] == "infra"
    with pytest.raises(Final):
        talks.lines(Direct(ADDRESS.format(2), 3000), talk("tcp", IS_TLS="true\n"))
    with pytest.raises(Final):
        talks.lines(Direct(ADDRESS.format(2), 3000), talk("tcp", neverBackend="echo-1"))


def test_a_handshake_that_succeeds_or_ends_in_an_alert_is_no_rejection(pods):
    with pytest.raises(Wrong):
        talks.handshake(Direct(ADDRESS.format(2), 8443), {"sni": "abc.example.com"})
    with pytest.raises(Wrong):
        talks.handshake(Direct(ADDRESS.format(2), 3000), {"sni": "abc.example.com"})


def test_datagrams_are_answered(pods):
    entry = {"request": {"datagram": "x"}, "expect": {"json": {"service": "echo", "namespace": "infra"}, "backendName": "echo"}}
    assert talks.datagram(Direct(ADDRESS.format(3), 8080), entry)["request"] == "x"
    with pytest.raises(Final):
        talks.datagram(Direct(ADDRESS.format(3), 8080), {**entry, "expect": {"backendName": "other"}})
    talks.dns(Direct(ADDRESS.format(4), 8053), {"request": {"query": {"name": "foo.bar.com.", "type": "A"}}, "expect": {}})


def test_frames_of_websocket_are_echoed(pods):
    exchange = [{"send": {"type": "text", "data": "a"}, "receive": {"type": "text", "data": "a"}},
                {"send": {"type": "binary", "hex": "0102"}, "receive": {"type": "binary", "hex": "0102"}}]
    entry = {"request": {"path": "/ws"}, "expect": {"websocket": {"exchange": exchange}}}
    talks.websocket(Direct(ADDRESS.format(1), 3000), entry)


def test_a_request_of_http2_is_echoed_and_one_of_http1_refused(pods):
    response = http2.request(ADDRESS.format(1), 3001, "POST", "/a?b=c", "example.org",
                             [("X-Echo-Set-Header", "a:b")], b"content")
    assert response.status == 200 and response.get("a") == "b"
    assert b'"proto": "HTTP/2.0"' in response.body and b'"host": "example.org"' in response.body
    with pytest.raises(Ended):
        http2.request(ADDRESS.format(1), 3000, "GET", "/", "example.org")
