"""Malformed and ambiguous requests over a raw socket: the status, the close, and that the backend saw nothing.

Each row is what a client might send to make two servers disagree (robustness: one rule of the parsers, §2).
"""
import time

import pytest

from Fixtures.gateway import serving
from Fixtures.http1 import Ended
from Fixtures.net import wait_until
from Fixtures.origin import Origin

H = b"Host: test.example\r\n"
TAIL = b"GET /smuggled HTTP/1.1\r\nHost: test.example\r\n\r\n"


def get(fields=b"", target=b"/", method=b"GET", version=b"HTTP/1.1", host=H):
    return method + b" " + target + b" " + version + b"\r\n" + host + fields + b"\r\n"


def post(fields, body=b"", method=b"POST"):
    return get(fields, method=method) + body


CHUNKED = b"Transfer-Encoding: chunked\r\n"

# name: (bytes, allowed statuses). None among the statuses: closing without an answer is allowed too.
REFUSED = {
    # framing: both, repeated, disguised
    "length and chunked": (post(b"Content-Length: 5\r\n" + CHUNKED, b"0\r\n\r\n" + TAIL), {400}),
    "chunked and length": (post(CHUNKED + b"Content-Length: 5\r\n", b"0\r\n\r\n" + TAIL), {400}),
    "two lengths that differ": (post(b"Content-Length: 5\r\nContent-Length: 6\r\n", b"hello" + TAIL), {400}),
    "two lengths in one field": (post(b"Content-Length: 5, 6\r\n", b"hello" + TAIL), {400}),
    "length with plus": (post(b"Content-Length: +5\r\n", b"hello" + TAIL), {400}),
    "length negative": (post(b"Content-Length: -1\r\n", TAIL), {400}),
    "length in hex": (post(b"Content-Length: 0x5\r\n", b"hello" + TAIL), {400}),
    "length with letters": (post(b"Content-Length: 5a\r\n", b"hello" + TAIL), {400}),
    "length with a blank inside": (post(b"Content-Length: 5 5\r\n", b"hello" + TAIL), {400}),
    "length empty": (post(b"Content-Length: \r\n", TAIL), {400}),
    "length over 63 bits": (post(b"Content-Length: 9223372036854775808\r\n", b"x" + TAIL), {400, 413}),
    "length over 64 bits": (post(b"Content-Length: 18446744073709551617\r\n", b"x" + TAIL), {400, 413}),
    "length with a vertical tab": (post(b"Content-Length: \x0b5\r\n", b"hello" + TAIL), {400}),
    "length decimal point": (post(b"Content-Length: 5.0\r\n", b"hello" + TAIL), {400}),
    "length trailing comma": (post(b"Content-Length: 5,\r\n", b"hello" + TAIL), {400}),
    "coding gzip": (post(b"Transfer-Encoding: gzip\r\n", TAIL), {400, 501}),
    "coding gzip, chunked": (post(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n" + TAIL), {400, 501}),
    "coding chunked, gzip": (post(b"Transfer-Encoding: chunked, gzip\r\n", b"0\r\n\r\n" + TAIL), {400, 501}),
    "coding chunked twice": (post(CHUNKED + CHUNKED, b"0\r\n\r\n" + TAIL), {400}),
    "coding chunked, chunked": (post(b"Transfer-Encoding: chunked, chunked\r\n", b"0\r\n\r\n" + TAIL), {400}),
    "coding identity": (post(b"Transfer-Encoding: identity\r\nContent-Length: 5\r\n", b"hello" + TAIL), {400, 501}),
    "coding xchunked": (post(b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n" + TAIL), {400, 501}),
    "coding with a parameter": (post(b"Transfer-Encoding: chunked;q=1\r\n", b"0\r\n\r\n" + TAIL), {400, 501}),
    "coding with a vertical tab": (post(b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n" + TAIL), {400, 501}),
    "coding in quotes": (post(b"Transfer-Encoding: \"chunked\"\r\n", b"0\r\n\r\n" + TAIL), {400, 501}),
    "coding empty": (post(b"Transfer-Encoding:\r\n", TAIL), {400, 501}),
    "coding with space before the colon": (post(b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n" + TAIL), {400}),
    "coding with tab before the colon": (post(b"Transfer-Encoding\t: chunked\r\n", b"0\r\n\r\n" + TAIL), {400}),
    "coding folded": (post(b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n" + TAIL), {400}),
    "coding behind a bare LF": (post(b"X: y\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n", b"0\r\n\r\n" + TAIL), {400}),
    "coding behind a bare CR": (post(b"X: y\rTransfer-Encoding: chunked\r\n", b"0\r\n\r\n" + TAIL), {400}),
    "chunked in HTTP/1.0": (get(CHUNKED, method=b"POST", version=b"HTTP/1.0") + b"0\r\n\r\n" + TAIL, {400}),
    # chunk framing
    "chunk size empty": (post(CHUNKED, b"\r\n" + TAIL), {400}),
    "chunk size not hex": (post(CHUNKED, b"xyz\r\nabc\r\n0\r\n\r\n"), {400}),
    "chunk size with 0x": (post(CHUNKED, b"0x3\r\nabc\r\n0\r\n\r\n"), {400}),
    "chunk size negative": (post(CHUNKED, b"-3\r\nabc\r\n0\r\n\r\n"), {400}),
    "chunk size with plus": (post(CHUNKED, b"+3\r\nabc\r\n0\r\n\r\n"), {400}),
    "chunk size overflows": (post(CHUNKED, b"10000000000000003\r\nabc\r\n0\r\n\r\n"), {400, 413}),
    "chunk size of 20 zeros": (post(CHUNKED, b"00000000000000000003\r\nabc\r\n0\r\n\r\n"), {400}),
    "chunk size after a blank": (post(CHUNKED, b" 3\r\nabc\r\n0\r\n\r\n"), {400}),
    "chunk line with bare LF": (post(CHUNKED, b"3\nabc\r\n0\r\n\r\n"), {400}),
    "chunk extension with bare LF": (post(CHUNKED, b"3;x\nabc\r\n0\r\n\r\n"), {400}),
    "chunk extension with bare CR": (post(CHUNKED, b"3;x\ry\r\nabc\r\n0\r\n\r\n"), {400}),
    "chunk extension of 64 KiB": (post(CHUNKED, b"3;" + b"x" * 65536 + b"\r\nabc\r\n0\r\n\r\n"), {400, 431}),
    "chunk data without CRLF": (post(CHUNKED, b"3\r\nabcXX0\r\n\r\n"), {400}),
    "chunk data ended by bare LF": (post(CHUNKED, b"3\r\nabc\n0\r\n\r\n"), {400}),
    "chunk data too long": (post(CHUNKED, b"3\r\nabcdef\r\n0\r\n\r\n"), {400}),
    "trailer without colon": (post(CHUNKED, b"0\r\nnonsense\r\n\r\n"), {400}),
    "trailer with NUL": (post(CHUNKED, b"0\r\nX: a\0b\r\n\r\n"), {400}),
    # request line
    "no version": (b"GET /\r\n" + H + b"\r\n", {400, 505, None}),
    "HTTP/0.9": (get(version=b"HTTP/0.9"), {400, 505}),
    "HTTP/2.0": (get(version=b"HTTP/2.0"), {400, 505}),
    "version in lower case": (get(version=b"http/1.1"), {400, 505}),
    "version with two digits": (get(version=b"HTTP/1.10"), {400, 505}),
    "version with a blank": (get(version=b"HTTP/1.1 "), {400, 505}),
    "two blanks before the target": (b"GET  / HTTP/1.1\r\n" + H + b"\r\n", {400}),
    "two blanks before the version": (b"GET /  HTTP/1.1\r\n" + H + b"\r\n", {400}),
    "tab in the request line": (b"GET\t/\tHTTP/1.1\r\n" + H + b"\r\n", {400}),
    "blank before the method": (b" GET / HTTP/1.1\r\n" + H + b"\r\n", {400}),
    "method with a colon": (get(method=b"GE:T"), {400, 405, 501}),
    "method with NUL": (get(method=b"GE\0T"), {400}),
    "empty method": (b" / HTTP/1.1\r\n" + H + b"\r\n", {400}),
    "CONNECT": (get(target=b"test.example:443", method=b"CONNECT"), {400, 405, 501}),
    "target with a blank": (get(target=b"/a b"), {400}),
    "target with NUL": (get(target=b"/a\0b"), {400}),
    "target with a control": (get(target=b"/a\x01b"), {400}),
    "target with bare CR": (get(target=b"/a\rb"), {400}),
    "target without a slash": (get(target=b"abc"), {400}),
    "target with a backslash": (get(target=b"/a\\b"), {400}),
    "target with %00": (get(target=b"/a%00b"), {400}),
    "target with a broken escape": (get(target=b"/a%zz"), {400}),
    "target with a cut escape": (get(target=b"/a%4"), {400}),
    "target with an overlong escape": (get(target=b"/a%c0%af"), {400}),
    "target with userinfo": (get(target=b"http://user@test.example/"), {400}),
    "target of another scheme": (get(target=b"ftp://test.example/"), {400, 421}),
    "target * with GET": (get(target=b"*"), {400}),
    "target absolute without host": (get(target=b"http:///x"), {400}),
    # Host
    "no Host": (get(host=b""), {400}),
    "two Hosts": (get(host=H + b"Host: evil.example\r\n"), {400}),
    "two Hosts, equal": (get(host=H + H), {400}),
    "Host empty": (get(host=b"Host:\r\n"), {400}),
    "Host with a blank": (get(host=b"Host: a b\r\n"), {400}),
    "Host with a slash": (get(host=b"Host: a/b\r\n"), {400}),
    "Host with userinfo": (get(host=b"Host: user@test.example\r\n"), {400}),
    "Host with a bad port": (get(host=b"Host: test.example:8x\r\n"), {400}),
    "Host with port 99999": (get(host=b"Host: test.example:99999\r\n"), {400}),
    "Host with a comma": (get(host=b"Host: a.example,b.example\r\n"), {400}),
    "Host with a query": (get(host=b"Host: test.example?x\r\n"), {400}),
    "Host folded": (get(host=b"Host:\r\n test.example\r\n"), {400}),
    "Host with space before the colon": (get(host=b"Host : test.example\r\n"), {400}),
    # fields
    "field without colon": (get(b"nonsense\r\n"), {400}),
    "field without name": (get(b": value\r\n"), {400}),
    "field name with a blank": (get(b"X A: b\r\n"), {400}),
    "field name with a paren": (get(b"X(A): b\r\n"), {400}),
    "field name with high bytes": (get(b"X-\xe9: b\r\n"), {400}),
    "field name with NUL": (get(b"X-\0: b\r\n"), {400}),
    "field value with NUL": (get(b"X-A: b\0c\r\n"), {400}),
    "field value with a control": (get(b"X-A: b\x08c\r\n"), {400}),
    "field value with DEL": (get(b"X-A: b\x7fc\r\n"), {400}),
    "field value with bare CR": (get(b"X-A: b\rc\r\n"), {400}),
    "field folded": (get(b"X-A: b\r\n c\r\n"), {400}),
    "first field folded": (b"GET / HTTP/1.1\r\n X: y\r\n" + H + b"\r\n", {400}),
    "bare CR as line end": (b"GET / HTTP/1.1\rHost: test.example\r\r", {400, None}),
    "CR CR LF": (b"GET / HTTP/1.1\r\r\n" + H + b"\r\n", {400}),
    "Expect unknown": (post(b"Expect: 200-maybe\r\nContent-Length: 5\r\n"), {417, 400}),
    "HTTP/2 preface, then none": (b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", {None}),
    "TLS on a plain port": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100, {400, None}),
    "a binary line": (bytes(range(1, 32)) + b"\r\n\r\n", {400, None}),
}


@pytest.fixture(scope="module")
def setup():
    with Origin() as origin, serving(origin) as gateway:
        yield gateway, origin
    assert not origin.errors, origin.errors


def idle(origin):
    """No request of the origin is unfinished on an open connection."""
    return all(r.complete or origin.peers[r.connection - 1].closed for r in origin.requests)


@pytest.mark.parametrize("name", REFUSED)
def test_refused(setup, name):
    """The declared status (or a close where allowed), the connection ends, and nothing reached the backend.

    A request whose *head* is sound may already be on its way when its chunks turn out broken: then the backend saw at
    most an unfinished request, and never the bytes after it as another one.
    """
    gateway, origin = setup
    before = len(origin.requests)
    data, statuses = REFUSED[name]
    with gateway.client() as client:
        try:
            client.send(data)
        except OSError:
            pass
        try:
            response = client.read()
            assert response.status in statuses, response
            assert response.complete and response.get("server") == "ai-gateway"
            assert "close" in (response.get("connection") or "").lower()
        except Ended as ended:
            assert None in statuses, f"no answer: {ended}"
        try:
            client.send(b"GET /after HTTP/1.1\r\nHost: test.example\r\n\r\n")
        except OSError:
            pass
        end = client.how_it_ends(5)
        assert end in ("eof", "reset"), "the connection stays open after an error"
    framing = name.startswith(("chunk ", "trailer "))
    if framing:                                   # the head may be on its way still: its connection is cut soon
        time.sleep(0.02)
        wait_until(lambda: idle(origin), 5)
    seen = origin.requests[before:]
    assert all(r.target == "/" and not r.complete for r in seen) if framing else seen == [], f"the backend saw {seen}"
    assert gateway.alive()


# Where a repair is allowed, what the backend sees is canonical and unambiguous.
REPAIRED = {
    "lengths that repeat alike": (post(b"Content-Length: 5\r\nContent-Length: 5\r\n", b"hello"), {200, 400}, 5),
    "coding in capitals": (post(b"Transfer-Encoding: CHUNKED\r\n", b"5\r\nhello\r\n0\r\n\r\n"), {200, 400, 501}, 5),
    "bare LF after a field": (b"GET / HTTP/1.1\nHost: test.example\n\n", {200, 400}, 0),
    "HTTP/1.2": (get(version=b"HTTP/1.2"), {200, 400, 505}, 0),
    "name with underscore": (get(b"X_Forwarded_For: 6.6.6.6\r\nContent_Length: 5\r\n"), {200, 400}, 0),
    "fragment": (get(target=b"/a#b"), {200, 400}, 0),
    "chunk extension": (post(CHUNKED, b"5;a=b\r\nhello\r\n0\r\n\r\n"), {200}, 5),
    "upper-case hex": (post(CHUNKED, b"A\r\n0123456789\r\n0\r\n\r\n"), {200}, 10),
    "length with leading zeros": (post(b"Content-Length: 005\r\n", b"hello"), {200, 400}, 5),
    "h2c upgrade": (get(b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"), {200, 400}, 0),
}


@pytest.mark.parametrize("name", REPAIRED)
def test_repaired_or_refused(setup, name):
    """Either 400, or the backend saw exactly one request, written canonically, and the next one is served apart."""
    gateway, origin = setup
    before = len(origin.requests)
    data, statuses, length = REPAIRED[name]
    with gateway.client() as client:
        client.send(data)
        response = client.read()
        assert response.status in statuses, response
        seen = origin.requests[before:]
        if response.status != 200:
            assert seen == []
            return
        assert len(seen) == 1 and len(seen[0].body) == length
        assert b"_" not in b"".join(line.partition(b":")[0] for line in seen[0].raw_head.split(b"\r\n")[1:])
        assert "upgrade" not in seen[0].names() and "#" not in seen[0].target
        assert len(seen[0].all("content-length")) + len(seen[0].all("transfer-encoding")) <= 1
        assert client.request("GET", "/next").status == 200
    assert origin.requests[-1].target == "/next"


def test_the_table_is_large_enough():
    """At least 60 rows."""
    assert len(REFUSED) + len(REPAIRED) >= 60
