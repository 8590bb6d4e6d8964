"""Real parts: llama.cpp's server and the Ollama API behind /v1 and /ollama, spoken to by curl and the SDKs."""
import json
import shutil
import subprocess
import threading
import time

import pytest

from Fixtures import documents as docs
from Fixtures.gateway import serving
from Fixtures.models import servers
from Fixtures.net import free_port, wait_until

pytestmark = [pytest.mark.real]
STRIP = [{"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}}]
STORY = "Once upon a time there lived an old gateway that carried every small request"


@pytest.fixture(scope="module")
def real(certificate):
    """llama.cpp at /v1, a slow one at /slow, the Ollama stand-in at /ollama; HTTP and HTTPS listeners."""
    secure = free_port()
    try:
        parts = [servers.llama(free_port(), "tiny"), servers.llama(free_port(), "slow"), servers.ollama(free_port())]
        servers.environment("clients")
    except servers.Unavailable as why:
        pytest.skip(f"REAL PARTS SKIPPED: {why}")
    tiny, slow, ollama = parts
    port = free_port()
    try:
        with serving(None, listeners=[docs.listener(port), docs.listener(secure, "https", "HTTPS", certificates=["tls"])], rules=[
                docs.rule(["ollama"], path="/ollama", filters=STRIP), docs.rule(["slow"], path="/slow", filters=STRIP),
                docs.rule(["tiny"], path="/v1")], extra=[
                certificate.secret("tls"), docs.backend(tiny, "tiny", modelServer="llama.cpp"),
                docs.backend(slow, "slow", modelServer="llama.cpp"), docs.backend(ollama, "ollama", modelServer="ollama")]) as gateway:
            gateway.port, gateway.secure, gateway.tiny, gateway.slow, gateway.ollama = port, secure, tiny, slow, ollama
            yield gateway
    finally:
        for part in parts:
            part.__exit__()


def curl(*arguments):
    assert shutil.which("curl"), "curl is missing"
    done = subprocess.run(["curl", "-sS", "--max-time", "60", *arguments], capture_output=True, text=True, timeout=90, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done
    return done.stdout


def timed_lines(*arguments):
    """Lines of a streaming curl with their arrival times."""
    process = subprocess.Popen(["curl", "-sSN", "--max-time", "60", *arguments], stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    rows = [(time.monotonic(), line) for line in process.stdout if line.strip()]
    assert process.wait(10) == 0
    return rows


def test_curl_openai_chat(real):
    """POST /v1/chat/completions, whole."""
    answer = json.loads(curl(f"http://127.0.0.1:{real.port}/v1/chat/completions", "-H", "content-type: application/json", "-d",
                             '{"model":"tiny","temperature":0,"messages":[{"role":"user","content":"hello"}]}'))
    assert answer["choices"][0]["message"]["content"].startswith(STORY)


def test_curl_openai_stream_arrives_over_time(real, figure):
    """The first event arrives long before the last is made: asserted by timestamps on a model of about 20 ms a token."""
    rows = timed_lines(f"http://127.0.0.1:{real.port}/slow/v1/chat/completions", "-H", "content-type: application/json", "-d",
                       '{"model":"slow","temperature":0,"stream":true,"ignore_eos":true,"max_tokens":100,"messages":[{"role":"user","content":"hello"}]}')
    events = [(t, l[6:]) for t, l in rows if l.startswith("data: ")]
    assert events[-1][1].strip() == "[DONE]"
    text = "".join((json.loads(e)["choices"] or [{}])[0].get("delta", {}).get("content") or "" for _, e in events[:-1])
    assert text.startswith("Once upon a time there lived")
    gaps = [b[0] - a[0] for a, b in zip(events, events[1:])]
    figure("openai stream through the gateway", f"{len(events)} events over {events[-1][0] - events[0][0]:.2f} s, widest gap {max(gaps) * 1000:.0f} ms")
    assert events[-1][0] - events[0][0] > 0.1
    assert len({round(t, 3) for t, _ in events}) > len(events) // 3, "the events came in a lump"


def test_curl_openai_over_tls(real, authority_file):
    """The HTTPS listener, verified by curl."""
    answer = json.loads(curl("--cacert", authority_file, "--resolve", f"test.example:{real.secure}:127.0.0.1",
                             f"https://test.example:{real.secure}/v1/chat/completions", "-H", "content-type: application/json", "-d",
                             '{"model":"tiny","temperature":0,"max_tokens":4,"messages":[{"role":"user","content":"hello"}]}'))
    assert answer["choices"][0]["message"]["content"] == "Once upon a time"


def test_curl_ollama(real):
    """/ollama/api/tags and /ollama/api/chat, streamed as NDJSON."""
    base = f"http://127.0.0.1:{real.port}/ollama"
    assert "tiny:latest" in [m["name"] for m in json.loads(curl(base + "/api/tags"))["models"]]
    rows = timed_lines(base + "/api/chat", "-d", '{"model":"tiny","options":{"temperature":0},"messages":[{"role":"user","content":"hello"}]}')
    lines = [json.loads(l) for _, l in rows]
    assert "".join(l["message"]["content"] for l in lines).startswith(STORY) and lines[-1]["done"] is True


def test_openai_sdk_on_llama_cpp(real):
    """The SDK's checks: models, chat, stream, cancel, parallel, JSON schema, completions, responses, errors."""
    code, out = servers.smoke("openai", f"http://127.0.0.1:{real.port}/v1")
    print(out)
    assert code == 0, out


def test_openai_sdk_over_tls(real, authority_file):
    """The same through the HTTPS listener, with verification."""
    code, out = servers.smoke("openai", f"https://127.0.0.1:{real.secure}/v1", ca=authority_file)
    assert code == 0, out


def test_openai_sdk_on_the_ollama_api(real):
    """Ollama's own /v1 below /ollama."""
    code, out = servers.smoke("openai", f"http://127.0.0.1:{real.port}/ollama/v1", "tiny:latest")
    assert code == 0, out


def test_ollama_sdk(real):
    """tags, show, chat, generate (streamed and not), embed, ps, unload, preload, errors."""
    code, out = servers.smoke("ollama", f"http://127.0.0.1:{real.port}/ollama")
    print(out)
    assert code == 0, out


def test_the_sdks_leave_no_cancel_behind(real):
    """openai closes at [DONE]: among the streams that ended so, none is logged as cancelled but the one that was."""
    code = ("import openai,sys\nc=openai.OpenAI(base_url=sys.argv[1],api_key='x',max_retries=0)\n"
            "for n in range(10):\n  s=c.chat.completions.create(model='tiny',messages=[{'role':'user','content':'hello'}],temperature=0,"
            "max_tokens=8,stream=True,extra_headers={'x-request-id':f'sdk-{n}'})\n  list(s)\n")
    subprocess.run([servers.environment("clients"), "-c", code, f"http://127.0.0.1:{real.port}/v1"], check=True, timeout=60, stdin=subprocess.DEVNULL)
    rows = wait_until(lambda: (r := [l for l in real.access() if any(str(v).startswith("sdk-") for v in l.values())]) and len(r) == 10 and r, 5)
    assert not [r for r in rows if "cancel" in str(r).lower()]


def test_a_client_that_leaves_frees_the_slot(real, figure):
    """curl is ended in mid-stream: llama.cpp stops generating (requests_processing goes to 0)."""
    process = subprocess.Popen(["curl", "-sSN", f"http://127.0.0.1:{real.port}/slow/v1/chat/completions", "-H", "content-type: application/json", "-d",
                                '{"model":"slow","stream":true,"ignore_eos":true,"max_tokens":2000,"messages":[{"role":"user","content":"hello"}]}'],
                               stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    process.stdout.readline()

    def busy():
        page = curl(f"{real.slow.url}/metrics")
        return float(next(l for l in page.splitlines() if l.startswith("llamacpp:requests_processing")).split()[1])
    assert busy() >= 1
    began = time.monotonic()
    process.kill()
    process.wait()
    wait_until(lambda: busy() == 0, 5, what="the slot freed")
    figure("llama.cpp slot free after the client was killed", f"{(time.monotonic() - began) * 1000:.0f} ms (polled)")


def test_hundreds_of_streams_on_connections_that_the_server_closes(real):
    """llama.cpp closes after every stream without a word: 100 streams in a row, none fails."""
    for _ in range(100):
        response = real.get("/v1/chat/completions", method="POST", headers=[("Content-Type", "application/json")], timeout=20,
                            body=b'{"model":"tiny","stream":true,"temperature":0,"max_tokens":3,"messages":[{"role":"user","content":"hello"}]}')
        assert response.status == 200 and response.complete and response.body.rstrip().endswith(b"data: [DONE]"), response


def test_ollama_gets_a_local_host(real):
    """Ollama on loopback answers 403 to a foreign Host: the gateway sends the endpoint's."""
    assert real.get("/ollama/api/version", host="ai.homelab.example").status == 200


# -- three llama.cpp servers behind one Backend

@pytest.fixture(scope="module")
def three():
    """Three servers of the tiny model, picked by the gateway."""
    try:
        parts = [servers.llama(free_port(), "tiny") for _ in range(3)]
    except servers.Unavailable as why:
        pytest.skip(f"REAL PARTS SKIPPED: {why}")
    try:
        with serving(None, rules=[docs.rule(["llama"])], extra=[docs.backend(parts, "llama", modelServer="llama.cpp")]) as gateway:
            def ready():
                pools = json.loads(gateway.admin("/endpoints").body)["pools"]
                return pools and all(e["state"] == "ready" for e in pools[0]["endpoints"])
            gateway.ready = ready
            wait_until(ready, 10, what="three servers that are ready")
            time.sleep(1)                      # each was asked what it has
            gateway.parts = parts
            yield gateway
    finally:
        for part in parts:
            part.__exit__()


def say(gateway, messages):
    """One turn of a conversation: (status, answer)."""
    content = json.dumps({"model": "tiny", "messages": messages, "max_tokens": 8, "temperature": 0}).encode()
    with gateway.client(timeout=30) as client:
        answer = client.request("POST", "/v1/chat/completions", [("Content-Type", "application/json")], content)
    return answer.status, json.loads(answer.body)


def turns_of(gateway, name, turns, results):
    """A conversation of so many turns; adds (tokens of the prompt before, cached tokens) for each turn but the first."""
    messages, before = [{"role": "system", "content": f"You are gateway {name}. " * 10}, {"role": "user", "content": "Begin."}], 0
    for turn in range(turns):
        status, answer = say(gateway, messages)
        assert status == 200, answer
        usage = answer["usage"]
        if turn:
            results.append((before, usage["prompt_tokens_details"]["cached_tokens"]))
        before = usage["prompt_tokens"]
        messages += [answer["choices"][0]["message"], {"role": "user", "content": f"Go on, {name}, with part {turn}."}]
        yield


def talk(gateway, name, turns, results):
    for _ in turns_of(gateway, name, turns, results):
        pass


def found(results):
    """How many turns found the one before in the server's cache."""
    return sum(cached >= 0.9 * before for before, cached in results)


def test_conversations_stay_where_their_prefix_is(three, figure):
    """Six in turns, as people talk: each turn finds the one before in the server's cache, as the server tells."""
    results = []
    for _ in zip(*[turns_of(three, f"number {n} of six", 5, results) for n in range(6)]):
        pass
    figure("turns of six conversations on three llama.cpp servers that found their prefix", f"{found(results)} of {len(results)}")
    assert found(results) == 24, results
    assert len({line["endpoint"] for line in three.access()[-30:]}) > 1, "all went to one server"


def test_conversations_at_once(three, figure):
    """Six without a pause: a turn may go elsewhere when that is sooner, which with so small a model it may be."""
    results = []
    threads = [threading.Thread(target=talk, args=(three, f"{n} at once", 5, results)) for n in range(6)]
    [t.start() for t in threads]
    [t.join(60) for t in threads]
    figure("the same, all at once", f"{found(results)} of {len(results)}")
    assert len(results) == 24 and found(results) >= 12, results


def test_a_killed_server_costs_no_request_and_a_returned_one_is_used(three):
    """Kill, then requests; start again at the same port, then it answers some."""
    victim = three.parts[0]
    victim.process.kill()
    victim.process.wait(10)
    results = []
    for n in range(6):
        talk(three, f"survivor {n}", 2, results)
    three.parts[0] = servers.llama(victim.port, "tiny")

    def is_used():
        talk(three, f"returned {time.monotonic()}", 1, results)
        return any(line["endpoint"] == f"127.0.0.1:{victim.port}" for line in three.access()[-2:])
    wait_until(is_used, 30, what="a request at the server that came back")
