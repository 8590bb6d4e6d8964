"""What `explain` says of a request is what the gateway does with it, for a thousand requests to routes that were made at random."""
import concurrent.futures
import json
import os
import random

import pytest

from Fixtures import documents as docs
from Fixtures.gateway import Gateway, cli
from Fixtures.http1 import Client
from Fixtures.net import free_port, wait_until
from Fixtures.origin import Origin

REQUESTS_PER_SET = 250
HOSTS = ["a.test", "x.a.test", "y.x.a.test", "c.test", "other.lan"]
PATHS = ["/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "/A", "/x", "/x/1", "/a/%62", "/a/../x", "/a//b", "/x?q=1", "/a?q=2&q=1", "/a/b?Q=1"]


class Maker:
    """Routes that overlap: few words, so that most requests meet several matches and miss some by one condition."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def some(self, chance):
        return self.random.random() < chance

    def match(self):
        pick = self.random.choice
        kind = pick(["PathPrefix", "PathPrefix", "Exact", "RegularExpression"])
        match = {"path": {"type": kind, "value": pick(["/a/[bc]", "/x.*", "/.*b"]) if kind == "RegularExpression" else pick(["/", "/a", "/a/b", "/x", "/a/b/c"])}}
        if self.some(0.3):
            match["method"] = pick(["GET", "POST"])
        if self.some(0.3):
            match["headers"] = [{"name": "X-Team", "value": pick(["red", "blue"])}]
        if self.some(0.2):
            match["queryParams"] = [{"name": "q", "value": pick(["1", "2"])}]
        return match

    def filters(self, matches):
        pick, out = self.random.choice, []
        if self.some(0.3):
            out.append({"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x-seen", "value": pick("123")}]}})
        single = len(matches) == 1 and matches[0]["path"]["type"] == "PathPrefix"
        paths = [{"type": "ReplaceFullPath", "replaceFullPath": pick(["/", "/full"])}]
        if single:
            paths.append({"type": "ReplacePrefixMatch", "replacePrefixMatch": pick(["/", "/z", "/z/"])})
        if self.some(0.4):
            rewrite = {"path": pick(paths)} if self.some(0.8) else {}
            if not rewrite or self.some(0.3):
                rewrite["hostname"] = "up.test"
            out.append({"type": "URLRewrite", "urlRewrite": rewrite})
        elif self.some(0.2):
            redirect = {"statusCode": pick([301, 302, 303, 307, 308])}
            for key, value in (("scheme", "https"), ("hostname", "to.test"), ("port", 8443), ("path", pick(paths))):
                if self.some(0.4):
                    redirect[key] = value
            return [{"type": "RequestRedirect", "requestRedirect": redirect}]
        return out

    def rule(self):
        matches = [self.match() for _ in range(self.random.choice([1, 1, 2]))]
        rule = docs.rule(None, matches=matches, filters=self.filters(matches))
        if not any(f["type"] == "RequestRedirect" for f in rule.get("filters", [])):
            names = self.random.sample(["one", "two", "three", "missing"], self.random.choice([0, 1, 1, 2, 3]))
            if names:
                rule["backendRefs"] = [docs.backend_ref(name, weight=self.random.choice([0, 1, 3])) for name in names]
        return rule

    def routes(self):
        hosts = [None, ["a.test"], ["*.a.test"], ["x.a.test", "c.test"], ["*.x.a.test"]]
        return [docs.route([self.rule() for _ in range(self.random.choice([1, 2, 3]))], self.random.choice(hosts), name=f"r{n}") for n in range(12)]

    def request(self):
        pick = self.random.choice
        headers = [("X-Team", pick(["red", "blue", "green"]))] if self.some(0.6) else []
        return pick(["GET", "GET", "POST", "DELETE"]), pick(HOSTS), pick(PATHS), headers


def explained(path, port, request):
    """What may happen, by `explain`: a set of (status, location) and of (origin, request line, Host); and the route."""
    method, host, target, headers = request
    arguments = [part for name, value in headers for part in ("-H", f"{name}: {value}")]
    code, out, err = cli("explain", path, "--output", "json", "-X", method, *arguments, f"http://{host}:{port}{target}")
    assert code in (0, 3), err
    report = json.loads(out)
    assert report["isRouted"] == (code == 0)
    may = {(report["answer"]["status"], report["answer"].get("location"))} if "answer" in report else set()
    for backend in report["backends"]:
        if backend["share"] > 0:
            answer = backend.get("answer")
            may.add((answer["status"], None) if answer else (backend["name"], backend["requestLine"], backend["host"]))
    return may, report.get("route", {}).get("name")


def done(client, port, request):
    """What happens, in the same form."""
    method, host, target, headers = request
    response = client.request(method, target, headers, host=f"{host}:{port}")
    if response.get("x-origin") is None:
        return response.status, response.get("location")
    seen = json.loads(response.body)
    return f"default/{seen['origin']}", f"{seen['method']} {seen['target']}", seen["host"]


@pytest.mark.parametrize("seed", range(4))
def test_explain_says_what_happens(seed, figure):
    """Status and Location, or backend, request line and Host, among those that explain gives a share; and the route of the access log."""
    maker, port = Maker(seed), free_port()
    with Origin(name="one") as one, Origin(name="two") as two, Origin(name="three") as three:
        documents = [docs.gateway([docs.listener(port), docs.listener(port, "wild", hostname="*.a.test"), docs.listener(port, "c", hostname="c.test")])]
        documents += maker.routes() + [docs.backend(origin, origin.name) for origin in (one, two, three)]
        requests = [maker.request() for _ in range(REQUESTS_PER_SET)]
        with Gateway(documents, workers=1) as gateway, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            expected = list(pool.map(lambda request: explained(gateway.path("main.yaml"), port, request), requests))
            with Client("127.0.0.1", port) as client:
                happened = [done(client, port, request) for request in requests]
            lines = wait_until(lambda: len(gateway.access()) >= len(requests) and gateway.access(), 5)
            for request, (may, route), did, line in zip(requests, expected, happened, lines):
                assert did in may, (request, may, did)
                assert line.get("route") == route, (request, route, line)
    kinds = {"routed": sum(len(did) == 3 for did in happened), "answered": sum(len(did) == 2 for did in happened)}
    assert min(kinds.values()) > 10
    figure(f"requests explained, set {seed}", kinds)
