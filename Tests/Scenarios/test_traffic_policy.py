"""XBackendTrafficPolicy: how many requests to a backend are tried again, and how they stay together."""
import concurrent.futures
import time

import pytest

from Fixtures import documents as docs
from Fixtures.gateway import cli, serving
from Fixtures.net import wait_until
from Fixtures.origin import Origin, echo
from test_route_retry import Failing, answering, resetting
from test_session_persistence import Origins, cookie, whose, with_cookie
from test_upstream_failures import own

ONCE = {"codes": [503], "attempts": 1, "backoff": "1ms"}
SERVICE = {"group": "", "kind": "Service", "name": "origin"}
BACKEND = {"group": "ai-gateway.dev", "kind": "Backend", "name": "origin"}
REF = {"name": "origin", "port": 80}


def policy(*targets, name="policy", created=None, **spec):
    metadata = {"name": name, "namespace": "default", **({"creationTimestamp": created} if created else {})}
    return {"apiVersion": "gateway.networking.x-k8s.io/v1alpha1", "kind": "XBackendTrafficPolicy", "metadata": metadata,
            "spec": {"targetRefs": list(targets) or [SERVICE], **spec}}


def constraint(percent=None, interval=None, count=None, per=None):
    """A `retryConstraint`; what is not given is left out."""
    def made(**fields):
        return {k: v for k, v in fields.items() if v is not None}
    parts = {"budget": made(percent=percent, interval=interval), "minRetryRate": made(count=count, interval=per)}
    return {k: v for k, v in parts.items() if v}


def limited(origin, *policies, retry=ONCE, rules=None, extra=(), workers=1, **more):
    return serving(None, rules=rules or [docs.rule([REF], retry=retry)], workers=workers, extra=[
        *docs.service("origin", [("127.0.0.1", origin.port)]), *policies, *extra], **more)


def accepted(gateway, name="policy"):
    ancestors = gateway.object("XBackendTrafficPolicy", name)["status"]["ancestors"]
    assert [a["ancestorRef"]["name"] for a in ancestors] == ["gateway"], ancestors
    found = [c for c in ancestors[0]["conditions"] if c["type"] == "Accepted"][0]
    return found["status"], found["reason"]


# -- retries

def test_retries_beyond_the_budget_are_not_made():
    """At least so many in an interval; then each request is sent once and answered 503 by the gateway, in metric and log."""
    with Origin(Failing(1000, answering(503))) as origin, limited(
            origin, policy(retryConstraint=constraint(0, "10s", 3, "1h"))) as gateway:
        answers = [gateway.get("/a") for _ in range(6)]
        assert [a.body for a in answers[:3]] == [b"not now"] * 3
        for answer in answers[3:]:
            own(answer, 503)
            assert answer.get("x-gateway-error") == "retry_budget_spent" and answer.get("retry-after")
        assert len(origin.requests) == 6 + 3 and accepted(gateway) == ("True", "Accepted")
        assert gateway.total("ai_gateway_retries_total") == 3
        assert gateway.total("ai_gateway_retries_over_budget_total") == 3
        wait_until(lambda: len(gateway.access()) == 6, 5)
        assert [line["retries"] for line in gateway.access()] == [1] * 3 + [0] * 3


@pytest.mark.parametrize("percent,allowed", [(0, 1), (20, 12), (50, 50)])
def test_the_budget_is_a_share_of_requests(percent, allowed):
    """Of 50 requests, 50 of which ask for a retry: so many that retries are at most the share of all, and one at least."""
    with Origin(Failing(10_000, answering(503))) as origin, limited(
            origin, policy(retryConstraint=constraint(percent, "1h", 1, "1h"))) as gateway:
        with gateway.client() as client:
            for n in range(50):
                client.request("GET", f"/{n}")
        retries = len(origin.requests) - 50
        assert retries == allowed


def test_the_budget_is_one_for_all_workers():
    """Of 200 requests at once over four workers, exactly as many are tried again as there may be."""
    with Origin(Failing(10_000, answering(503))) as origin, limited(
            origin, policy(retryConstraint=constraint(0, "1h", 17, "1h")), workers=4) as gateway:
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            statuses = list(pool.map(lambda n: gateway.get(f"/{n}").status, range(200)))
        assert set(statuses) == {503} and len(origin.requests) == 217


def test_the_budget_comes_back():
    """What was spent is there again after the interval."""
    with Origin(Failing(10_000, answering(503))) as origin, limited(
            origin, policy(retryConstraint=constraint(0, "1s", 2, "1s"))) as gateway:
        for n in range(4):
            gateway.get(f"/{n}")
        assert len(origin.requests) == 6
        time.sleep(1.2)
        for n in range(4):
            gateway.get(f"/{n}")
        assert len(origin.requests) == 12


@pytest.mark.parametrize("how", ["reset", "refused", "timeout"])
def test_whatever_made_the_attempt_fail(how):
    """A connection that breaks, that cannot be made, an attempt that takes too long: 503 of the gateway's own beyond the budget."""
    retry = {"attempts": 3, "backoff": "1ms"}
    scripts = {"reset": Failing(10_000, resetting), "refused": echo, "timeout": lambda peer: peer.wait_end()}
    with Origin(scripts[how]) as origin:
        if how == "refused":
            origin.stop()
        rule = docs.rule([REF], retry=retry, timeouts={"backendRequest": "200ms"})
        with limited(origin, policy(retryConstraint=constraint(0, "1h", 2, "1h")), rules=[rule]) as gateway:
            own(gateway.get("/a"), 503)
            wait_until(lambda: len(gateway.access()) == 1, 5)
            line = gateway.access()[0]
            assert line["retries"] == 2 and line["status"] == 503
            assert gateway.total("ai_gateway_retries_over_budget_total") == 1


def test_over_http_2():
    with Origin(Failing(10_000, answering(503))) as origin, limited(
            origin, policy(retryConstraint=constraint(0, "1h", 1, "1h"))) as gateway:
        with gateway.http2() as client:
            assert client.request("GET", "/a").body == b"not now"
            answer = client.request("GET", "/b")
            assert answer.status == 503 and answer.get("x-gateway-error") == "retry_budget_spent"
        assert len(origin.requests) == 3


def test_a_backend_without_a_policy_is_as_before():
    """Its retries do not count with the other one's, nor are they bounded by its policy."""
    other = Failing(10_000, answering(503))
    with Origin(Failing(10_000, answering(503))) as origin, Origin(other) as free, limited(
            origin, policy(retryConstraint=constraint(0, "1h", 1, "1h")), extra=docs.service("free", [("127.0.0.1", free.port)]),
            rules=[docs.rule([{"name": "free", "port": 80}], path="/free", retry=ONCE), docs.rule([REF], retry=ONCE)]) as gateway:
        for n in range(5):
            gateway.get(f"/free/{n}")
            gateway.get(f"/{n}")
        assert len(free.requests) == 10 and len(origin.requests) == 6


def test_a_reload_leaves_spent_what_is_spent():
    """Another route changes; the budget goes on. Another allowance begins anew."""
    with Origin(Failing(10_000, answering(503))) as origin, limited(
            origin, policy(retryConstraint=constraint(0, "1h", 2, "1h"))) as gateway:
        for n in range(3):
            gateway.get(f"/{n}")
        assert len(origin.requests) == 5
        more = docs.route([docs.rule([REF], path="/more")], name="more")
        gateway.write("more.yaml", [more])
        wait_until(lambda: gateway.object("HTTPRoute", "more"), 5)
        gateway.get("/4")
        assert len(origin.requests) == 6
        gateway.write("main.yaml", [policy(retryConstraint=constraint(0, "1h", 3, "1h"))
                                    if d["kind"] == "XBackendTrafficPolicy" else d for d in gateway.content])
        wait_until(lambda: len(gateway.get("/5").body) and len(origin.requests) >= 8, 5)


def test_backends_of_our_own_are_targets():
    with Origin(Failing(10_000, answering(503))) as origin, serving(
            origin, rules=[docs.rule(retry=ONCE)], extra=[policy(BACKEND, retryConstraint=constraint(0, "1h", 1, "1h"))]) as gateway:
        for n in range(3):
            gateway.get(f"/{n}")
        assert len(origin.requests) == 4 and accepted(gateway) == ("True", "Accepted")


def test_explain_names_the_policy():
    with Origin() as origin, limited(origin, policy(retryConstraint={})) as gateway:
        code, out, _ = cli("explain", gateway.folder, f"http://127.0.0.1:{gateway.port}/")
        assert code == 0, out
        assert "of Service default/origin at most 20% of requests in 10s, or 10 in 1s (XBackendTrafficPolicy default/policy)" in out


# -- which policy holds

def test_the_oldest_policy_holds():
    older = policy(name="b", created="2026-01-01T00:00:00Z", retryConstraint=constraint(0, "1h", 1, "1h"))
    later = policy(name="a", created="2026-01-02T00:00:00Z", retryConstraint=constraint(100, "1h", 9, "1h"))
    with Origin(Failing(10_000, answering(503))) as origin, limited(origin, older, later) as gateway:
        assert accepted(gateway, "b") == ("True", "Accepted") and accepted(gateway, "a") == ("False", "Conflicted")
        for n in range(3):
            gateway.get(f"/{n}")
        assert len(origin.requests) == 4
        gateway.write("main.yaml", [d for d in gateway.content if d is not older])
        wait_until(lambda: accepted(gateway, "a") == ("True", "Accepted"), 5)


REFUSED = {
    "spec.targetRefs": {"targetRefs": []},
    "spec.targetRefs[1]": {"targetRefs": [SERVICE, SERVICE]},
    "spec.targetRefs[0].sectionName": {"targetRefs": [{**SERVICE, "sectionName": "http"}]},
    "spec.retryConstraint.budget.percent": {"retryConstraint": constraint(percent=101)},
    "spec.retryConstraint.budget.interval": {"retryConstraint": constraint(interval="2h")},
    "spec.retryConstraint.minRetryRate.count": {"retryConstraint": constraint(count=0)},
    "spec.retryConstraint.minRetryRate.interval": {"retryConstraint": constraint(per="soon")},
    "spec.retryConstraint.budgets": {"retryConstraint": {"budgets": {}}},
    "spec.sessionPersistence.absoluteTimeout": {"sessionPersistence": {"cookieConfig": {"lifetimeType": "Permanent"}}},
    "spec.sessionPersistence.type": {"sessionPersistence": {"type": "Cake"}},
}


@pytest.mark.parametrize("path", REFUSED)
def test_what_is_wrong_is_said_with_its_path(path):
    with Origin() as origin, limited(origin, policy(**{"targetRefs": [SERVICE], **REFUSED[path]})) as gateway:
        code, out, _ = cli("check", gateway.folder)
        assert code == 1 and f"XBackendTrafficPolicy default/policy {path}:" in out, out
        assert gateway.get("/").status == 200


@pytest.mark.parametrize("target,reason", [({**SERVICE, "name": "origins"}, "TargetNotFound"), ({**SERVICE, "kind": "Secret"}, "TargetNotFound")])
def test_a_target_that_is_not_there(target, reason):
    with Origin() as origin, limited(origin, policy(SERVICE, target, retryConstraint={})) as gateway:
        code, out, _ = cli("check", gateway.folder)
        assert "spec.targetRefs[1]" in out and code != 0 and accepted(gateway) == ("True", "Accepted")


# -- sessions

def persisting(origins, *policies, rules=None, **more):
    return serving(None, rules=rules or [docs.rule(["origin"])], extra=[docs.backend(origins), *policies], workers=1, **more)


def test_sessions_of_a_policy():
    """As if each rule that leads to the backend said so: with the cookie requests stay, each rule has its own."""
    sessions = policy(BACKEND, sessionPersistence={"sessionName": "stay"})
    with Origins(4) as origins, persisting(origins, sessions, rules=[docs.rule(path="/a"), docs.rule(path="/b")]) as gateway:
        first = gateway.get("/a")
        name, token, _ = cookie(first)
        assert name == "stay"
        for _ in range(10):
            again = gateway.get("/a", headers=with_cookie(name, token))
            assert whose(again) == whose(first) and again.get("set-cookie") is None
        other = gateway.get("/b", headers=with_cookie(name, token))
        assert cookie(other)[1] != token
        out = cli("explain", gateway.folder, f"http://127.0.0.1:{gateway.port}/a")[1]
        assert "stay with one endpoint by the cookie stay" in out


def test_the_rules_own_sessions_win():
    rule = {**docs.rule(), "sessionPersistence": {"sessionName": "own"}}
    with Origins(2) as origins, persisting(origins, policy(BACKEND, sessionPersistence={"sessionName": "policy"}), rules=[rule]) as gateway:
        assert cookie(gateway.get("/"))[0] == "own"


def test_backends_with_and_without_sessions_in_one_rule():
    """There are none then, and the route's status says so."""
    with Origins(2) as origins, persisting(origins[:1], policy(BACKEND, sessionPersistence={"sessionName": "stay"}),
                                           docs.backend(origins[1:], "other"), rules=[docs.rule(["origin", "other"])]) as gateway:
        assert all(gateway.get("/").get("set-cookie") is None for _ in range(8))
        found = gateway.object("HTTPRoute", "route")["status"]["parents"][0]["conditions"]
        assert any("sessions of its backends' policies are not kept" in c["message"] for c in found)
