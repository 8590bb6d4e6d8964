"""`bench/run`: the floors pass bytes on, ceilings name what there is, and what is judged is what was measured in peace."""
import os
import random
import socket
import sys
import threading

import pytest

BENCH = os.path.normpath(os.path.join(os.path.dirname(__file__), "..", "..", "bench"))
sys.path.insert(0, BENCH)

import instructions   # noqa: E402
import measure   # noqa: E402
import parts   # noqa: E402
import report   # noqa: E402
import scenarios   # noqa: E402


def test_ceilings_name_scenarios_and_those_who_take_part():
    for kind in ("cpu_ratio", "median_later_ms"):
        for name, ceilings in report.thresholds()[kind].items():
            others = {way.name for way in scenarios.SCENARIOS[name].ways} - {parts.GATEWAY}
            assert set(ceilings) <= others, (name, others)


def test_every_scenario_has_the_gateway_first_and_what_it_sends():
    for scenario in scenarios.ALL:
        names = [way.name for way in scenario.ways]
        assert names[0] == parts.GATEWAY and len(set(names)) == len(names), scenario.name
        assert [way.name for way in scenario.taking([])] == [name for name in names if name not in parts.PEERS]
    assert [scenario.name for scenario in scenarios.named(["h2", "http2", "get"])] == ["h2", "h2-chat", "h2-h2", "get"]
    with pytest.raises(KeyError):
        scenarios.named(["none"])
    assert [len(text) for text in (parts.QUESTION, parts.ANSWER, parts.TEXT, parts.prompt(220_000))] == [2048, 1024, 200, 220_000]


def counted(**figures):
    return {"summary": {"get": {"instructions": 1000, "syscalls": 4, "malloc": 0.0} | figures}}


def test_what_is_counted_has_ceilings_and_a_count_may_be_two_percent_over(monkeypatch):
    ceilings = report.thresholds()["a_request"]
    assert set(ceilings) == set(instructions.CASES) <= set(parts.TITLES)
    assert all(entry["instructions"] * entry["syscalls"] for entry in ceilings.values())
    monkeypatch.setattr(report, "thresholds", lambda: {"a_request": {"get": {"instructions": 1000, "malloc": 0, "target": {"instructions": 10}}}})
    assert instructions.over(counted(instructions=1019, malloc=0.019)) == []
    assert ["1,021.00 instructions" in line for line in instructions.over(counted(instructions=1021))] == [True]
    assert ["0.03 malloc" in line for line in instructions.over(counted(malloc=0.03))] == [True]


def test_the_table_of_counts_has_the_targets():
    figures = dict.fromkeys(("instructions", "malloc", "alloc_object", "retain", "release", "memcpy", "syscalls", "syscalls_alone"), 7.0)
    facts = {"command": "bench/run instructions", "runs": instructions.RUNS, "time": "", "cpu": "", "cores": 2, "virtual": True, "memory_gib": 1,
             "system": "", "kernel": "", "ai-gateway": "", "measured": ""}
    names = ("get", "chat", "h2")
    table = report.counted({"environment": facts, "summary": {name: figures | {"calls": [("recvfrom", 1)], "calls_alone": [], "connections": 16} for name in names}})
    targets = [report.thresholds()["a_request"][name].get("target", {}).get("instructions") for name in names]
    assert targets[0] and targets[1] is None and targets[2]
    assert f"| user instructions, the target | {targets[0]:,} |  | {targets[2]:,} |" in table and "16 connections: `recvfrom` 1.00" in table


def row(proxy, number, cpu, others=0.0):
    return {"proxy": proxy, "round": number, "others_share": others, "cpu_us": cpu, "per_second": 1, "p50_us": 1000 + cpu, "p99_us": 2, "core": 1,
            "resident_mib": 1, "anonymous_mib": 1, "kib": None}


def judged(cpu, others=0.0, forced=False):
    rows = [row(parts.GATEWAY, number, cpu, others) for number in range(3)] + [row(parts.COPY, number, 10) for number in range(3)]
    summary = measure.summarise(rows)
    return summary, measure.judge({"summary": {"sse": summary}, "environment": {"forced": forced}})


def test_what_is_judged():
    summary, (lines, good, left) = judged(11)
    assert summary[parts.COPY]["gateway_ratio"]["median"] == pytest.approx(1.1) and summary[parts.COPY]["gateway_later_us"]["max"] == 1
    assert good and not left and len(lines) == 2 and all("holds" in line for line in lines)
    _, (lines, good, left) = judged(12)
    assert not good and "1.20" in lines[0] and "DOES NOT HOLD" in lines[0]
    _, (lines, good, left) = judged(12, others=0.5)
    assert good and not lines and len(left) == 2
    assert not judged(12, others=0.5, forced=True)[1][1]


@pytest.mark.parametrize("kind", [parts.COPY, parts.SPLICE])
def test_a_floor_passes_on_what_comes_and_the_end_of_it(kind):
    """12 MB there and back, to a client with little room that only looks when all buffers on the way are full."""
    content = random.Random(1).randbytes(12_000_000)
    with parts.Bench(certified=False) as bench, socket.create_server(("127.0.0.1", bench.ports["READER"])) as server:
        bench.proxy_core = None
        relay = bench.relay(kind, "READER")
        server.accept()[0].close()                        # of the look whether it is up

        def echo():
            peer = server.accept()[0]
            with peer:
                peer.settimeout(20)
                while data := peer.recv(70_001):
                    peer.sendall(data)

        thread = threading.Thread(target=echo, daemon=True)
        thread.start()
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 100_000)
            client.connect(("127.0.0.1", relay.port))
            client.settimeout(20)

            def send():
                for at in range(0, len(content), 33_333):
                    client.sendall(content[at:at + 33_333])
                client.shutdown(socket.SHUT_WR)

            sender = threading.Thread(target=send, daemon=True)
            sender.start()
            sender.join(0.5)
            back = bytearray()
            while data := client.recv(70_001):
                back += data
            sender.join(20)
        thread.join(20)
        assert back == content and relay.process.poll() is None
