"""Every command that README.md and the samples in routes/ show is run, and does what it says.

README.md: each line of a fenced block marked `sh` is a command that has to end with 0 (a trailing backslash joins lines).
`routes/run` and servers (`ai-gateway run`, `model-simulator`) are started and kept until the end; lines that install,
clone, or run all tests are left out (`SKIPPED`). Samples: the header comment of routes/*.yaml holds `try: COMMAND` and
`expect: TEXT` lines; every TEXT occurs in what the command before it prints.
"""
import os
import re
import signal
import socket
import subprocess
import threading
import time

import pytest

from Fixtures.gateway import ROOT, binary
from Fixtures.net import wait_until

pytestmark = [pytest.mark.readme]
SKIPPED = re.compile(r"^(git |cd |sudo |apt|Tests/run|\.ci/run|bench/run|swift build|kubectl |#|docker )")
README, ROUTES = os.path.join(ROOT, "README.md"), os.path.join(ROOT, "routes")


def environment():
    folder = os.path.dirname(os.path.abspath(binary()))
    return {**os.environ, "PATH": folder + os.pathsep + os.environ["PATH"], "CI": "true"}


class Kept:
    """A command that goes on: its lines as they come, and its end by its own process group."""

    def __init__(self, command):
        self.lines = []
        # As from a terminal: a runner in the background ignores SIGINT, and what it starts could not heed it.
        self.process = subprocess.Popen(["bash", "-c", "exec " + command], cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
                                        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        threading.Thread(target=lambda: self.lines.extend(self.process.stdout), daemon=True).start()

    def text(self):
        return "".join(self.lines)

    def stop(self):
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGTERM)
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise


def run(command, seconds=120):
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=seconds)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def served():
    """routes/run, up and serving."""
    if not os.path.exists(os.path.join(ROUTES, "run")):
        pytest.skip("there is no routes/run")
    taken = listening()
    assert not taken & {8080, 8443, 15000}, f"other programs listen on {sorted(taken)}, which routes/run serves on: end them"
    if 11434 in taken:
        code, out = run("curl -s --max-time 5 http://127.0.0.1:11434/api/version")
        assert code == 0 and '"version"' in out, "what listens on 127.0.0.1:11434 is no Ollama, and routes/run would use it: end it"
    kept = Kept("routes/run")
    try:
        def up():
            assert kept.process.poll() is None, f"routes/run ended with {kept.process.returncode}:\n{kept.text()[-3000:]}"
            return len(printed(kept)) >= 3
        wait_until(up, 900, every=0.2, what="three curl lines")
        time.sleep(0.3)
        yield kept
    finally:
        kept.stop()


def printed(kept):
    return [match.group(1) for line in list(kept.lines) if (match := re.match(r"^\s*(?:\$ )?(curl .*)$", line.rstrip()))]


@pytest.mark.seconds(960)
def test_the_three_printed_lines_work(served):
    """Ollama chat streamed over HTTP, OpenAI chat over TLS, a redirect."""
    outputs = []
    for command in printed(served)[:3]:
        code, out = run(command)
        assert code == 0, (command, out)
        outputs.append(out)
        print(f"$ {command}\n{out[:600]}")
    text = "\n".join(outputs)
    assert '"done":true' in text.replace(" ", ""), "no streamed Ollama answer"
    assert "[DONE]" in text or '"choices"' in text, "no OpenAI answer"
    assert re.search(r"\b30[12378]\b", text) or "ocation:" in text, "no redirect"


def samples():
    if not os.path.isdir(ROUTES):
        return []
    return sorted(f for f in os.listdir(ROUTES) if f.endswith((".yaml", ".yml")))


def header(name):
    """(command, [expected texts]) pairs of a sample's header comment."""
    steps, pending = [], ""
    with open(os.path.join(ROUTES, name)) as file:
        for line in file:
            if not line.startswith("#"):
                break
            text = line[1:].strip()
            if pending:
                text = pending + " " + text
                pending = ""
            if match := re.match(r"try:\s*(.*)$", text):
                if match.group(1).endswith("\\"):
                    pending = match.group(1)[:-1].rstrip()
                    continue
                steps.append((match.group(1), []))
            elif match := re.match(r"expect:\s*(.*)$", text):
                assert steps, f"{name}: `expect:` before any command"
                steps[-1][1].append(match.group(1))
    return steps


@pytest.mark.seconds(960)
@pytest.mark.parametrize("name", samples())
def test_a_sample_does_what_its_header_says(served, name):
    """The commands of the header run, and print what they are said to print."""
    steps = header(name)
    if not steps:
        with open(os.path.join(ROUTES, name)) as file:
            assert "HTTPRoute" not in file.read(), f"{name} declares routes, and its header shows no command"
        return
    for command, expected in steps:
        code, out = run(command)
        assert code == 0, (command, out)
        for text in expected:
            assert text in out, f"{name}: `{command}` printed\n{out}\nwithout {text!r}"


def commands():
    """The lines of README.md's `sh` blocks."""
    if not os.path.exists(README):
        return []
    with open(README) as file:
        text = file.read()
    out = []
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.S | re.M):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            line = re.sub(r"\s{2,}# .*$", "", line).strip()
            if line and not line.startswith("#"):
                out.append(line.removeprefix("$ "))
    return out


@pytest.mark.seconds(1200)
def test_the_commands_of_the_readme(served):
    """One after another, as a reader would type them, with routes/run serving beside them."""
    if not os.path.exists(README):
        pytest.skip("there is no README.md")
    listed, kept = commands(), []
    assert listed, "README.md shows no command (no ```sh block)"
    try:
        for command in listed:
            if SKIPPED.match(command) or re.match(r"^(\./)?routes/run\b", command):
                print(f"left out: {command}")
                continue
            if re.search(r"ai-gateway run\b|model-simulator\b", command) and not command.rstrip().endswith("--help"):
                kept.append(Kept(command.rstrip("& ")))
                time.sleep(2)
                assert kept[-1].process.poll() is None, f"`{command}` ended:\n{kept[-1].text()}"
                continue
            code, out = run(command, 300)
            print(f"$ {command}\n{out[:300]}")
            assert code == 0, f"`{command}` ended with {code}:\n{out}"
    finally:
        for one in kept:
            one.stop()


@pytest.mark.seconds(960)
def test_routes_run_ends_all_that_it_started(served):
    """SIGTERM: exit code 0, its children are gone with their ports, and it can be started again. (The last test here.)"""
    kept_by_others = {11434} & listening() if "using the model server" in served.text() else set()
    assert served.stop() == 0
    wait_until(lambda: listening() <= kept_by_others, 10, what=lambda: f"the ports closed again, open: {listening()}")
    again = Kept("routes/run")
    wait_until(lambda: again.process.poll() is not None or len(printed(again)) >= 3, 300, every=0.2)
    assert again.process.poll() is None, again.text()[-3000:]
    assert again.stop() == 0
    wait_until(lambda: listening() <= kept_by_others, 10, what=lambda: f"the ports closed again, open: {listening()}")


@pytest.mark.seconds(960)
@pytest.mark.parametrize("port", [8080, 15000])
def test_routes_run_says_that_a_port_is_taken(port):
    """And ends, rather than to print lines that another program would answer."""
    assert not listening() & {8080, 8443, 15000}
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        kept = Kept("routes/run")
        try:
            wait_until(lambda: kept.process.poll() is not None or printed(kept), 900, every=0.2)
            assert kept.process.poll() == 1 and not printed(kept), kept.text()[-3000:]
            assert str(port) in kept.text() and "stand above" in kept.text() or "messages above" in kept.text(), kept.text()[-3000:]
        finally:
            kept.stop()


@pytest.mark.seconds(960)
def test_the_terminals_end_is_one_signal_to_each_part():
    """Ctrl-C goes to the whole foreground: the gateway still drains, for it is told once."""
    kept = Kept("routes/run")
    try:
        wait_until(lambda: kept.process.poll() is not None or len(printed(kept)) >= 3, 900, every=0.2)
        os.killpg(kept.process.pid, signal.SIGINT)
        assert kept.process.wait(30) == 0
        wait_until(lambda: "draining" in kept.text(), 5)
        assert "a second signal" not in kept.text(), kept.text()[-3000:]
    finally:
        kept.stop()


def listening():
    """Local listening TCP ports."""
    ports = set()
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        if os.path.exists(path):
            with open(path) as file:
                for line in list(file)[1:]:
                    fields = line.split()
                    if fields[3] == "0A":
                        ports.add(int(fields[1].rsplit(":", 1)[1], 16))
    return ports & {8080, 8443, 11434, 15000}
