"""Ten thousand routes: the right one of 50,000 matches is found, and changing some of them fails no request."""
import json
import threading

from Fixtures import documents as docs
from Fixtures.gateway import serving
from Fixtures.net import wait_until
from Fixtures.origin import Origin

ROUTES, PER_FILE, RELOADS = 10_000, 100, 5


def written(first, version):
    """A file of a hundred routes with five matches each; two share a host."""
    def path(kind, value, **more):
        return {"path": {"type": kind, "value": value}, **more}

    def route(n):
        told = {"type": "ResponseHeaderModifier", "responseHeaderModifier": {
            "set": [{"name": "x-route", "value": f"r{n}"}, {"name": "x-version", "value": str(version)}]}}
        rules = [docs.rule(matches=[path("PathPrefix", f"/a{n}/v1"), path("PathPrefix", f"/a{n}/v2"), path("Exact", f"/a{n}/models")],
                           filters=[told]),
                 docs.rule(matches=[path("PathPrefix", f"/b{n}", method="POST"),
                                    path("PathPrefix", f"/b{n}", headers=[{"name": "x-tenant", "value": f"t{n}"}])], filters=[told])]
        return docs.route(rules, name=f"r{n}", hostnames=[f"h{n // 2}.example.com"])
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": [route(n) for n in range(first, first + PER_FILE)]})


def asked(client, n, target, method="GET", headers=()):
    """(status, name of the route that answered, its version)."""
    response = client.request(method, target, headers, b"{}" if method == "POST" else b"", host=f"h{n // 2}.example.com")
    return response.status, response.get("x-route"), response.get("x-version")


def test_10_000_routes_and_changes_among_them(figure):
    """Each kind of match finds its own rule before and after; requests during the changes all succeed, by a table that is old or new."""
    with Origin() as origin, serving(origin, rules=[], start=False) as gateway:
        for first in range(0, ROUTES, PER_FILE):
            gateway.write(f"routes-{first:05d}.json", written(first, 0))
        gateway.start()
        with gateway.client() as client:
            for n in (0, 1, 4_999, 5_000, 9_998, 9_999):
                assert asked(client, n, f"/a{n}/v1/chat") == (200, f"r{n}", "0")
                assert asked(client, n, f"/a{n}/models") == (200, f"r{n}", "0")
                assert asked(client, n, f"/a{n}/models/x")[0] == 404
                assert asked(client, n, f"/b{n}/x", "POST") == (200, f"r{n}", "0")
                assert asked(client, n, f"/b{n}", headers=[("x-tenant", f"t{n}")]) == (200, f"r{n}", "0")
                assert asked(client, n, f"/b{n}")[0] == 404
                assert asked(client, n ^ 2, f"/a{n}/models")[0] == 404             # another host's

        over, failures, counts = threading.Event(), [], [0]

        def steady():
            try:
                with gateway.client() as client:
                    while not over.is_set():
                        status, route, _ = asked(client, 9_950, "/a9950/models")
                        if (status, route) != (200, "r9950"):
                            failures.append((status, route))
                        counts[0] += 1
                        over.wait(0.002)
            except Exception as error:
                failures.append(error)
        thread = threading.Thread(target=steady)
        thread.start()
        try:
            with gateway.client() as client:
                for version in range(1, RELOADS + 1):
                    gateway.write("routes-09900.json", written(9_900, version))
                    wait_until(lambda: asked(client, 9_950, "/a9950/v1")[2] == str(version), 30)
                    assert asked(client, 0, "/a0/v1") == (200, "r0", "0")
        finally:
            over.set()
            thread.join(10)
        assert not failures
        figure(f"{RELOADS} reloads at {ROUTES:,} routes", f"{counts[0]} steady requests, 0 failed")
