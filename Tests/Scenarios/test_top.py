"""`top`: a table of routes, endpoints and models; live in a terminal, which is as before when it ends; one look for a pipe."""
import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time

import pytest

from Fixtures.gateway import binary, cli, serving
from Fixtures.net import free_port, wait_until
from Fixtures.origin import Origin


def hello(peer):
    while peer.read_request() is not None:
        peer.respond(200, body=b"hello")


def test_one_look_for_a_pipe():
    """The sums of a route; 1 and a sentence where nobody answers."""
    with Origin(hello) as origin, serving(origin, workers=1) as gateway:
        for _ in range(3):
            assert gateway.get("/").status == 200
        wait_until(lambda: gateway.total("ai_gateway_completed_total") == 3, 5)     # counted after its answer is sent
        code, out, err = cli("top", "--once", "--admin", f"http://127.0.0.1:{gateway.admin_port}")
        assert code == 0, err
        row = next(line for line in out.splitlines() if line.startswith("default/route"))
        assert row.split()[2:4] == ["default/origin", "3"] and "\x1b" not in out
        code, out, err = cli("top", "--admin", f"http://127.0.0.1:{gateway.admin_port}")
        assert code == 1 and "--once" in err
    code, out, err = cli("top", "--once", "--admin", f"http://127.0.0.1:{free_port()}")
    assert code == 1 and not out and "No admin port answers" in err


class Screen:
    """`top` in a terminal of its own."""

    def __init__(self, gateway, columns=100, rows=30):
        self.parent, child = pty.openpty()
        self.resize(columns, rows)
        self.before = termios.tcgetattr(child)
        self.child = child
        self.process = subprocess.Popen(
            [binary(), "top", "--interval", "200ms", "--admin", f"http://127.0.0.1:{gateway.admin_port}"],
            stdin=child, stdout=child, stderr=subprocess.DEVNULL, start_new_session=True)
        self.output = b""

    def resize(self, columns, rows):
        fcntl.ioctl(self.parent, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, seconds=0.3):
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([self.parent], [], [], left)[0]:
                self.output += os.read(self.parent, 65536)
        return self.output

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.parent)
        os.close(self.child)


@pytest.mark.parametrize("end", [b"q", b"\x03", "SIGTERM"])
def test_a_live_terminal(end):
    """Draws and draws again, in the window's size; a key or a signal ends it with 0, and the terminal is as it was."""
    with Origin(hello) as origin, serving(origin, workers=1) as gateway:
        gateway.get("/")
        screen = Screen(gateway)
        try:
            wait_until(lambda: screen.read(0.1).count(b"\x1b[H") >= 3, 20, what="three pictures")
            assert b"\x1b[?1049h" in screen.output and b"default/route" in screen.output
            screen.output = b""
            screen.resize(40, 4)
            wait_until(lambda: b"more lines" in screen.read(0.1), 10, what="a smaller picture")
            picture = screen.output.rsplit(b"\x1b[H", 1)[1]
            assert all(len(line.strip(b"\r").replace(b"\x1b[K", b"").replace(b"\x1b[J", b"").decode()) <= 40 for line in picture.split(b"\r\n"))
            if end == "SIGTERM":
                screen.process.terminate()
            else:
                os.write(screen.parent, end)
            assert screen.process.wait(10) == 0
            assert screen.read(0.2).endswith(b"\x1b[?25h\x1b[?1049l")
            assert termios.tcgetattr(screen.child) == screen.before
        finally:
            screen.close()
