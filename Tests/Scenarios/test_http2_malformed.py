"""Malformed requests of HTTP/2: the stream ends or is answered 400; nothing reaches a backend, and its siblings go on."""
import json
import time

import pytest

from Fixtures.gateway import serving
from Fixtures.http2_frames import DATA, END_STREAM, Code, Over, Stream, frame
from Fixtures.origin import Origin
from Fixtures.origin2 import Origin2

GET = [(":method", "GET"), (":scheme", "http"), (":authority", "test.example"), (":path", "/bad")]


def without(name):
    return [f for f in GET if f[0] != name]


def with_value(name, value):
    return [(n, value if n == name else v) for n, v in GET]


INJECTIONS = {"CR LF": "\r\nx-injected: 1", "LF": "\nx-injected: 1", "CR": "\rx", "NUL": "\0x"}

# name: a field list
MALFORMED = {
    # names
    "upper-case name": GET + [("X-Upper", "1")],
    "one upper-case letter": GET + [("x-uPper", "1")],
    "empty name": GET + [("", "1")],
    "space in a name": GET + [("x y", "1")],
    "colon in a name": GET + [("x:y", "1")],
    "CR LF in a name": GET + [("x\r\nx-injected: 1\r\ny", "1")],
    "LF in a name": GET + [("x\ny", "1")],
    "NUL in a name": GET + [("x\0y", "1")],
    "a name above 127": GET + [("x\xe9".encode("latin-1"), "1")],
    # pseudo-fields
    "no :method": without(":method"),
    "no :scheme": without(":scheme"),
    "no :path": without(":path"),
    "neither :authority nor host": without(":authority"),
    "empty :method": with_value(":method", ""),
    "empty :path": with_value(":path", ""),
    "empty :scheme": with_value(":scheme", ""),
    "empty :authority": with_value(":authority", ""),
    ":method twice": GET[:1] + GET,
    ":path twice": GET + [(":path", "/bad")],
    ":authority twice": GET + [(":authority", "test.example")],
    ":scheme twice": GET + [(":scheme", "http")],
    ":status in a request": GET + [(":status", "200")],
    "an unknown pseudo-field": GET + [(":other", "1")],
    ":path behind a field": without(":path") + [("x-a", "1"), (":path", "/bad")],
    ":method behind a field": without(":method") + [("x-a", "1"), (":method", "GET")],
    ":protocol without CONNECT": GET + [(":protocol", "websocket")],
    "CONNECT with :path": with_value(":method", "CONNECT"),
    # what they may hold
    "a path without slash": with_value(":path", "bad"),
    "a URL as path": with_value(":path", "http://test.example/bad"),
    "* for GET": with_value(":path", "*"),
    "a space in :path": with_value(":path", "/bad x"),
    "a version in :path": with_value(":path", "/bad HTTP/1.1"),
    "a TAB in :path": with_value(":path", "/bad\tx"),
    "DEL in :path": with_value(":path", "/bad\x7f"),
    "a fragment in :path": with_value(":path", "/bad#x y"),
    "a space in :method": with_value(":method", "GET /other"),
    "a :method that is no token": with_value(":method", "G{T"),
    "a space in :authority": with_value(":authority", "test.example x"),
    "userinfo in :authority": with_value(":authority", "user@test.example"),
    "a path in :authority": with_value(":authority", "test.example/x"),
    "a scheme that is neither": with_value(":scheme", "ftp"),
    # connection-specific fields
    "connection": GET + [("connection", "close")],
    "keep-alive": GET + [("keep-alive", "timeout=5")],
    "proxy-connection": GET + [("proxy-connection", "keep-alive")],
    "transfer-encoding": GET + [("transfer-encoding", "chunked")],
    "upgrade": GET + [("upgrade", "websocket")],
    "te other than trailers": GET + [("te", "gzip")],
    "te of two": GET + [("te", "trailers, deflate")],
    # host
    "host differs from :authority": GET + [("host", "other.example")],
    "two hosts": without(":authority") + [("host", "test.example"), ("host", "other.example")],
    # Content-Length
    "content-length without content": GET + [("content-length", "5")],
    "a content-length that is no number": GET + [("content-length", "x")],
    "a negative content-length": GET + [("content-length", "-1")],
    "two content-lengths": GET + [("content-length", "0"), ("content-length", "5")],
    "a content-length list": GET + [("content-length", "0, 5")],
    "a content-length too large": GET + [("content-length", "99999999999999999999")],
    **{f"{what} in {name}": with_value(name, dict(GET)[name] + text) for name, _ in GET for what, text in INJECTIONS.items()},
    **{f"{what} in a value": GET + [("x-a", "1" + text)] for what, text in INJECTIONS.items()},
    **{f"{what} in a cookie": GET + [("cookie", "a=1"), ("cookie", "b=2" + text)] for what, text in INJECTIONS.items()},
    **{f"{what} in host": without(":authority") + [("host", "test.example" + text)] for what, text in INJECTIONS.items()},
}

# name: (field list, DATA frames); the head may be on its way to the backend when it shows
MALFORMED_CONTENT = {
    "more than Content-Length": ([("content-length", "3")], [b"hello"]),
    "less than Content-Length": ([("content-length", "9")], [b"hello"]),
    "more than Content-Length, later": ([("content-length", "3")], [b"abc", b"d"]),
    "nothing where Content-Length says 9": ([("content-length", "9")], [b""]),
}


@pytest.fixture(scope="module", params=["HTTP", "H2C"], ids=["HTTP/1.1 behind", "HTTP/2 behind"])
def echoing(request):
    with (Origin() if request.param == "HTTP" else Origin2()) as origin, serving(origin, backend={"protocol": request.param}) as gateway:
        gateway.origin = origin
        yield gateway
    assert not origin.errors, origin.errors


def refused(stream):
    """A reset of the stream, or an answer of 4xx."""
    if stream.reset is not None and not stream.status:
        return stream.reset in (Code.PROTOCOL_ERROR, Code.INTERNAL_ERROR, Code.CANCEL)
    return 400 <= stream.status < 500 or stream.status == 501


@pytest.mark.parametrize("name", list(MALFORMED))
def test_a_malformed_request(echoing, name):
    """RST_STREAM or 4xx; the backend sees nothing; streams before, during and after it are answered."""
    with echoing.http2() as client:
        during = client.open("POST", "/during", end=False)
        client.write(during, b"first")
        assert client.request("GET", "/before").status == 200
        count = len(echoing.origin.requests)
        bad = client.finish(client.open_fields(MALFORMED[name]))
        assert refused(bad), bad
        assert client.request("GET", "/after").status == 200
        client.write(during, b" last", end=True)
        assert json.loads(client.finish(during).body)["length"] == 10
        assert not client.goaways
        later = echoing.origin.requests[count:]
        assert [r.target for r in later if r.target != "/during"] == ["/after"], "the malformed request reached the backend"
        assert not any("injected" in str(r.headers) for r in echoing.origin.requests)


@pytest.mark.parametrize("name", list(MALFORMED_CONTENT))
def test_content_that_is_not_its_length(echoing, name):
    """RST_STREAM or 400; the backend never has a complete request, also where more comes later than all that was announced."""
    fields, pieces = MALFORMED_CONTENT[name]
    with echoing.http2() as client:
        assert client.request("GET", "/before").status == 200
        count = len(echoing.origin.requests)
        bad = client.open("POST", "/bad", fields, end=False)
        for n, piece in enumerate(pieces):
            time.sleep(0.2 * n)
            client.send(frame(DATA, END_STREAM if n == len(pieces) - 1 else 0, bad.id, piece))
        client.finish(bad)
        assert refused(bad), bad
        assert client.request("GET", "/after").status == 200 and not client.goaways
        for request in echoing.origin.requests[count:]:
            assert request.target != "/bad" or not getattr(request, "complete", getattr(request, "ended", False))


@pytest.mark.parametrize("trailers", [[(":path", "/x")], [("X-Upper", "1")], [("x-a", "1\r\nx: 2")], [("connection", "close")], [("x\0", "1")]],
                         ids=["a pseudo-field", "upper case", "CR LF", "connection", "NUL"])
def test_malformed_trailers(echoing, trailers):
    """The request is not completed by them."""
    with echoing.http2() as client:
        bad = client.open("POST", "/bad-trailers", end=False)
        client.write(bad, b"hello")
        client.write_trailers(bad, trailers)
        client.finish(bad)
        assert refused(bad), bad
        assert client.request("GET", "/after").status == 200 and not client.goaways
        for request in echoing.origin.requests:
            assert request.target != "/bad-trailers" or not getattr(request, "complete", getattr(request, "ended", False))


@pytest.mark.parametrize("names", [["content-length"], ["host"], ["authorization"], ["transfer-encoding"]])
def test_trailers_that_mean_something_in_a_head_are_not_passed(echoing, names):
    """Framing, routing and credentials are not taken from trailers."""
    with echoing.http2() as client:
        stream = client.request("POST", "/t", body=b"hello", trailers=[(n, "5") for n in names] + [("x-kept", "1")])
        if stream.status == 200:
            passed = [n.lower() for n, _ in json.loads(stream.body)["trailers"]]
            assert not set(passed) & set(names)
        else:
            assert refused(stream), stream
        assert client.request("GET", "/after").status == 200 and not client.goaways


# -- what ends the connection (RFC 9113: connection errors)

def raw(kind, flags=0, stream=0, payload=b""):
    return lambda client: frame(kind, flags, stream, payload)


CONNECTION_ERRORS = {
    "DATA on stream 0": (raw(0, 0, 0, b"x"), {1}),
    "HEADERS on stream 0": (raw(1, 5, 0, b"\x82"), {1}),
    "HEADERS of an even stream": (raw(1, 5, 2, b"\x82\x84\x86"), {1}),
    "DATA of an idle stream": (raw(0, 1, 99, b"x"), {1, 5}),
    "RST_STREAM of an idle stream": (raw(3, 0, 99, b"\0\0\0\x08"), {1}),
    "RST_STREAM of 3 bytes": (raw(3, 0, 1, b"\0\0\0"), {6}),
    "SETTINGS of 5 bytes": (raw(4, 0, 0, b"\0\3\0\0\0"), {6}),
    "SETTINGS on a stream": (raw(4, 0, 1), {1}),
    "ACK with content": (raw(4, 1, 0, b"\0\3\0\0\0\1"), {6}),
    "ENABLE_PUSH 2": (raw(4, 0, 0, b"\0\2\0\0\0\2"), {1}),
    "a window over 2^31-1": (raw(4, 0, 0, b"\0\4\x80\0\0\0"), {3}),
    "a frame size of 1": (raw(4, 0, 0, b"\0\5\0\0\0\1"), {1}),
    "PING of 7 bytes": (raw(6, 0, 0, b"1234567"), {6}),
    "PING on a stream": (raw(6, 0, 1, b"12345678"), {1}),
    "GOAWAY on a stream": (raw(7, 0, 1, b"\0" * 8), {1}),
    "WINDOW_UPDATE 0": (raw(8, 0, 0, b"\0\0\0\0"), {1}),
    "WINDOW_UPDATE past 2^31-1": (raw(8, 0, 0, b"\x7f\xff\xff\xff"), {3}),
    "CONTINUATION alone": (raw(9, 4, 1, b"\x82"), {1}),
    "PUSH_PROMISE of a client": (raw(5, 4, 1, b"\0\0\0\2\x82"), {1}),
    "a frame of 16,385 bytes": (raw(0x77, 0, 0, b"x" * 16385), {6}),
    "padding longer than the frame": (lambda client: frame(1, 0xd, client.next_id, b"\xff\x82\x84"), {1}),
    "a broken header block": (lambda client: frame(1, 5, client.next_id, b"\xff\xff\xff\xff\xff\xff\xff"), {9}),
    "an index of no entry": (lambda client: frame(1, 5, client.next_id, b"\xfe"), {9}),
    "a frame inside a header block": (lambda client: frame(1, 1, client.next_id, b"\x82") + frame(6, 0, 0, b"12345678"), {1}),
    "another stream's CONTINUATION": (lambda client: frame(1, 1, client.next_id, b"\x82") + frame(9, 4, client.next_id + 2, b"\x84"), {1}),
}


@pytest.mark.parametrize("name", list(CONNECTION_ERRORS))
def test_what_breaks_the_connection(echoing, name):
    """GOAWAY with the error's code, then the end; another connection does not notice."""
    make, codes = CONNECTION_ERRORS[name]
    with echoing.http2() as other, echoing.http2() as client:
        assert client.request("GET", "/before").status == 200 and other.request("GET", "/x").status == 200
        client.take()
        client.take()                                   # answers of streams that are begun by hand
        client.send(make(client))
        assert client.how_it_ends(5) in ("eof", "reset")
        assert client.goaways and client.goaways[-1][1] in codes, client.goaways
        assert other.request("GET", "/x").status == 200


def test_a_stream_number_that_goes_back(echoing):
    """A number below the highest was never opened and never will be: the connection ends, or the frame means nothing."""
    with echoing.http2() as client:
        for number in (51, 101):
            client.streams[number] = Stream(number, 65535)
        client.send(client.header_frames(101, client.fields("GET", "/forth")) + client.header_frames(51, client.fields("GET", "/back")))
        try:
            client.finish(client.streams[101])
            client.ping()
        except Over:
            assert client.goaways[-1][1] in (Code.PROTOCOL_ERROR, Code.STREAM_CLOSED)
        assert not client.streams[51].status and "/back" not in [r.target for r in echoing.origin.requests]


@pytest.mark.parametrize("data", [b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(6, 0, 0, b"12345678"),
                                  b"PRI * HTTP/3.0\r\n\r\nSM\r\n\r\n"], ids=["no SM", "no SETTINGS", "HTTP/3.0"])
def test_a_broken_preface(echoing, data):
    """The connection ends, and nothing is taken for a request."""
    count = len(echoing.origin.requests)
    with echoing.client() as client:
        client.send(data)
        assert client.how_it_ends(5) in ("eof", "reset")
    assert len(echoing.origin.requests) == count


def test_frames_that_may_be_ignored_are(echoing):
    """Unknown frames, flags and settings, PRIORITY, padding, a window update for a stream that has ended."""
    with echoing.http2() as client:
        assert client.request("GET", "/a").status == 200
        client.send(frame(0x77, 0xff, 0, b"x" * 100) + frame(0x77, 0, 5, b"y") + frame(4, 0, 0, b"\xff\x01\0\0\0\1")
                    + frame(2, 0, 9, b"\0\0\0\0\x10") + frame(8, 0, 1, b"\0\0\0\1") + frame(3, 0, 1, b"\0\0\0\x08"))
        stream = client.take("POST")
        block = client.encoder.encode(client.fields("POST", "/padded"))
        client.send(frame(1, 0x2c, stream.id, b"\x05" + b"\0\0\0\0\x10" + block + b"\0" * 5))
        client.send(frame(0, 0x9, stream.id, b"\x0ahello" + b"\0" * 10))
        assert json.loads(client.finish(stream).body)["length"] == 5
        client.ping()
        assert not client.goaways


def test_an_end_in_the_middle_of_a_frame(echoing):
    """FIN inside a header block: nothing is taken for a request, nothing stays."""
    count = len(echoing.origin.requests)
    for cut in (3, 9, 12, 20):
        with echoing.http2() as client:
            client.send(client.header_frames(1, client.fields("GET", "/cut"))[:cut])
            client.wire.half_close()
            try:
                assert client.how_it_ends(5) in ("eof", "reset")
            except Over:
                pass
    assert len(echoing.origin.requests) == count
