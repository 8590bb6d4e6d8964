"""Shared by all scenarios: figures, the gateway's messages on failure, a limit on each test, and the counts."""
import os
import signal
import sys

import pytest

sys.path.insert(0, os.path.normpath(os.path.join(os.path.dirname(__file__), "..")))

from Fixtures import gateway as gateways   # noqa: E402
from Fixtures.certificates import Certificate   # noqa: E402
from Fixtures.origin import Origin   # noqa: E402

FIGURES = []
SECONDS = 150                                # more than any one test needs; a hang ends here


def pytest_configure(config):
    if config.pluginmanager.hasplugin("xdist"):
        config.pluginmanager.register(Lanes())
    config.addinivalue_line("markers", "real: real model servers and SDKs")
    config.addinivalue_line("markers", "readme: commands of README.md and of the samples")
    config.addinivalue_line("markers", "alone: measures memory or holds thousands of connections, so nothing runs beside it but one other of its kind")
    config.addinivalue_line("markers", "seconds(n): a limit other than the usual one")
    config.addinivalue_line("markers", "soak: half an hour of mixed load and faults (Tests/run --long)")


def pytest_sessionstart(session):
    if not os.path.exists(gateways.binary()):
        pytest.exit(f"no binary at {gateways.binary()}: `swift build -c release`, or set AI_GATEWAY", 3)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    def late(*_):
        raise TimeoutError("the test took too long")
    marker = item.get_closest_marker("seconds")
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(marker.args[0] if marker else SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.when == "call" and report.failed:
        for gateway in list(gateways.RUNNING):
            state = "running" if gateway.alive() else f"ended with {gateway.process.returncode}"
            report.sections.append((f"gateway {gateway.pid} ({state})", gateway.messages(3000)))


class Lanes:
    """The figures of a run in several processes (pytest-xdist) come together in the one that prints."""

    def pytest_sessionfinish(self, session):
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["figures"] = [[str(name), str(value)] for name, value in FIGURES]

    def pytest_testnodedown(self, node):
        FIGURES.extend(getattr(node, "workeroutput", {}).get("figures", []))


def pytest_terminal_summary(terminalreporter):
    if FIGURES:
        terminalreporter.section("figures")
        for name, value in FIGURES:
            terminalreporter.write_line(f"{name}: {value}")
    counts = {k: len(terminalreporter.stats.get(k, [])) for k in ("passed", "failed", "error", "skipped")}
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        terminalreporter.write_line(f"SKIPPED {report.nodeid}: {reason}")
    path = os.environ.get("TESTS_COUNTS")
    if path:
        with open(path, "w") as file:
            file.write(f"{counts['passed']} passed, {counts['failed'] + counts['error']} failed, {counts['skipped']} skipped\n")


@pytest.fixture
def figure():
    """Call it with a name and a value: printed at the end of the run."""
    def record(name, value):
        FIGURES.append((name, value))
        print(f"{name}: {value}")
    return record


@pytest.fixture
def origin():
    """An origin that echoes."""
    with Origin() as one:
        yield one
    assert not one.errors, f"the gateway wrote what is not HTTP, or the script broke: {one.errors}"


@pytest.fixture(scope="session")
def authority():
    return Certificate([], authority=True, common_name="test authority")


@pytest.fixture(scope="session")
def authority_file(authority, tmp_path_factory):
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    path.write_bytes(authority.pem)
    return str(path)


@pytest.fixture(scope="session")
def certificate(authority):
    """For test.example and 127.0.0.1, by the test authority."""
    return Certificate(["test.example", "*.test.example", "127.0.0.1"], issuer=authority)
