"""Judges status and traffic as ${CONFORMANCE_DIR}/cases/README.md says."""
import collections
import concurrent.futures
import json
import math
import random
import re
import ssl
import tempfile
import time
import uuid
from urllib.parse import urlsplit

from Fixtures import http2
from Fixtures.http1 import Client, Ended, Malformed, request_bytes
from talks import CALLS, STREAMS
from verdict import Final, Wrong, need

CONTROLLER = "ai-gateway.dev/gateway-controller"
HTTP2 = {"h2", "h2c-prior-knowledge"}
SPOKEN = {"http/1.1", None, *HTTP2, *STREAMS, *CALLS}          # protocols of traffic entries that this runner speaks
FAILURES = (Wrong, OSError, Ended, Malformed, ssl.SSLError, ValueError)


# -- status

def compare(conditions, expected, where):
    actual = {c["type"]: c for c in conditions or []}
    for want in expected:
        have = actual.get(want["type"])
        need(have is not None, f"{where}: no condition {want['type']} in {sorted(actual)}")
        for field in ("status", "reason"):
            if field in want:
                need(have.get(field) == want[field],
                     f"{where}: {want['type']}.{field} is {have.get(field)}, not {want[field]} ({have.get('message', '')})")


def observed(conditions, generation, where):
    for c in conditions or []:
        need(c.get("observedGeneration") == generation,
             f"{where}: {c['type']} observed generation {c.get('observedGeneration')}, not {generation}")


class Status:
    """One look at /status."""

    def __init__(self, answer):
        self.objects = {(o["kind"], o["metadata"].get("namespace") or "", o["metadata"]["name"]): o for o in answer["objects"]}

    def find(self, kind, name):
        namespace, _, short = name.rpartition("/")
        for k in ((kind, namespace, short), (kind, "", short), (kind, "default", short)):
            if k in self.objects:
                return self.objects[k]
        raise Wrong(f"{kind} {name} is not in /status")


def check(entry, look, cluster, generations):
    """Raises Wrong unless the status entry holds."""
    kind, name = entry["kind"], entry["name"]
    found = look.find(kind, name)
    status, meta = found.get("status") or {}, found["metadata"]
    where = f"{kind} {name}"
    generation = next((o["metadata"].get("generation", 1) for k, o in cluster.objects.items()
                       if k[0] == kind and k[2] == name.rpartition("/")[2] and k[1] in (name.rpartition("/")[0], "")), 1)
    need(meta.get("generation", generation) == generation, f"{where}: generation {meta.get('generation')}, not {generation}")
    if entry.get("generationIncreased"):
        need(generation > generations.get((kind, name), generation), f"{where}: the generation did not increase")
    if kind.endswith("Route"):
        route(entry, status, generation, where, name)
    elif kind == "BackendTLSPolicy":
        ancestor(entry, status, generation, where)
    elif kind == "InferencePool":
        pool(entry, status, where)
    else:
        gateway(entry, status, generation, where, cluster, name)
    if entry.get("latestObservedGeneration"):
        for conditions in every(kind, status):
            need(conditions, f"{where}: no conditions")
            observed(conditions, generation, where)


def every(kind, status):
    if kind.endswith("Route"):
        rows = [p.get("conditions") for p in status.get("parents", [])]
    elif kind == "BackendTLSPolicy":
        rows = [p.get("conditions") for p in status.get("ancestors", [])]
    else:
        rows = [status.get("conditions")]
    need(rows, f"{kind}: status is empty")
    return rows


def route(entry, status, generation, where, name):
    parents = status.get("parents") or []
    if entry.get("noAcceptedParents"):
        if parents:
            need(len(parents) == 1, f"{where}: {len(parents)} parents")
            compare(parents[0].get("conditions"), [{"type": "Accepted", "status": "False"}], where)
        return
    for p in parents:
        observed(p.get("conditions"), generation, where)
    if "parent" not in entry:
        return
    namespace, _, short = entry["parent"].rpartition("/")
    own = name.rpartition("/")[0]
    mine = [p for p in parents if p["parentRef"]["name"] == short and p["parentRef"].get("namespace") in (None, namespace)]
    need(mine, f"{where}: no status for parent {entry['parent']}, only {[p['parentRef'] for p in parents]}")
    errors = []
    for p in mine:
        reference = p["parentRef"]
        try:
            if "parentKind" in entry:
                need(reference.get("kind") == entry["parentKind"], f"{where}: parentRef.kind {reference.get('kind')}")
                need(reference.get("group") == "gateway.networking.k8s.io", f"{where}: parentRef.group {reference.get('group')}")
                need(p.get("controllerName") == CONTROLLER, f"{where}: controllerName {p.get('controllerName')}")
                need(own == namespace or reference.get("namespace") == namespace, f"{where}: parentRef.namespace is missing")
            if entry.get("parentNamespaceRequired"):
                need(reference.get("namespace") == namespace, f"{where}: parentRef.namespace {reference.get('namespace')}")
            compare(p.get("conditions"), entry.get("conditions", []), f"{where} at {entry['parent']}")
            return
        except Wrong as wrong:
            errors.append(wrong)
    raise errors[0]


def ancestor(entry, status, generation, where):
    rows = status.get("ancestors") or []
    for p in rows:
        observed(p.get("conditions"), generation, where)
    if "ancestor" not in entry:
        return
    namespace, _, short = entry["ancestor"].rpartition("/")
    mine = [p for p in rows if p["ancestorRef"]["name"] == short and p["ancestorRef"].get("namespace") in (None, namespace)]
    need(mine, f"{where}: no status for ancestor {entry['ancestor']}")
    compare(mine[0].get("conditions"), entry.get("conditions", []), where)


def pool(entry, status, where):
    parents = status.get("parents") or []
    if entry.get("noParents"):
        need(not parents, f"{where}: parents {[p['parentRef'] for p in parents]}")
        return
    namespace, _, short = entry["parent"].rpartition("/")
    mine = [p for p in parents if p["parentRef"]["name"] == short and p["parentRef"].get("namespace") == namespace]
    need(mine, f"{where}: no status for parent {entry['parent']}, only {[p['parentRef'] for p in parents]}")
    need(mine[0].get("controllerName") == CONTROLLER, f"{where}: controllerName {mine[0].get('controllerName')}")
    compare(mine[0].get("conditions"), entry.get("conditions", []), f"{where} at {entry['parent']}")
    errors = []
    for want in entry.get("oneOfConditions", []):
        try:
            return compare(mine[0].get("conditions"), [want], f"{where} at {entry['parent']}")
        except Wrong as wrong:
            errors.append(wrong)
    if errors:
        raise errors[0]


def gateway(entry, status, generation, where, cluster, name):
    observed(status.get("conditions"), generation, where)
    if "conditions" in entry:
        compare(status.get("conditions"), entry["conditions"], where)
    listeners = status.get("listeners") or []
    if "everyListener" in entry:
        need(listeners, f"{where}: no listeners in status")
        for l in listeners:
            compare(l.get("conditions"), entry["everyListener"], f"{where} listener {l['name']}")
    if "listeners" in entry:
        need({l["name"] for l in listeners} == {l["name"] for l in entry["listeners"]},
             f"{where}: listeners {sorted(l['name'] for l in listeners)}")
    for want in entry.get("listeners", []) + entry.get("listenerSubset", []):
        have = next((l for l in listeners if l["name"] == want["name"]), None)
        need(have is not None, f"{where}: no listener {want['name']}")
        at = f"{where} listener {want['name']}"
        if "supportedKinds" in want:
            kinds = [k["kind"] for k in have.get("supportedKinds") or []]
            need(set(want["supportedKinds"]) <= set(kinds) if want["supportedKinds"] else not kinds,
                 f"{at}: supportedKinds {kinds}, not {want['supportedKinds']}")
        if "attachedRoutes" in want:
            need(have.get("attachedRoutes") == want["attachedRoutes"],
                 f"{at}: attachedRoutes {have.get('attachedRoutes')}, not {want['attachedRoutes']}")
        compare(have.get("conditions"), want.get("conditions", []), at)
    if entry.get("zeroAttachedRoutes"):
        need(not listeners or len(listeners) == 1 and listeners[0].get("attachedRoutes") == 0, f"{where}: routes are attached")
    if "attachedListenerSets" in entry:
        need((status.get("attachedListenerSets") or 0) == entry["attachedListenerSets"],
             f"{where}: attachedListenerSets {status.get('attachedListenerSets')}, not {entry['attachedListenerSets']}")
    addresses = status.get("addresses") or []
    if entry.get("hasAddress"):
        need(len(addresses) == 1 and addresses[0].get("type"), f"{where}: addresses {addresses}")
    if "addresses" in entry:
        need(len(addresses) == entry["addresses"]["count"], f"{where}: addresses {addresses}")
        need(addresses[0].get("value") == cluster.gateway_address[name] and addresses[0].get("type") == "IPAddress",
             f"{where}: addresses {addresses}")


def ready(namespaces, look, cluster):
    """namespacesReady: Accepted and Programmed at the latest generation, and pods there."""
    for (kind, namespace, name), o in cluster.objects.items():
        if kind != "Gateway" or namespace not in namespaces:
            continue
        if o["metadata"].get("annotations", {}).get("gateway-api/skip-this-for-readiness") == "true":
            continue
        status = look.find(kind, f"{namespace}/{name}").get("status") or {}
        compare(status.get("conditions"), [{"type": t, "status": "True"} for t in ("Accepted", "Programmed")], f"Gateway {name}")
        observed(status.get("conditions"), o["metadata"].get("generation", 1), f"Gateway {name}")


# -- traffic

class Traffic:
    """Plays the traffic entries of one case against the running gateway."""

    def __init__(self, cluster, ports, within, status):
        self.cluster, self.ports, self.within, self.status = cluster, ports, within, status

    def address(self, name):
        found = self.status().find("Gateway", name).get("status", {}).get("addresses") or []
        need(found, f"Gateway {name} has no address")
        return found[0]["value"]

    def play(self, entry):
        """Three successes in a row within the time, 100 ms after a failure."""
        entry = self.filled(entry)
        expect = entry["expect"]
        deadline = time.monotonic() + self.within
        if "onlyPods" in expect or "poolWeights" in expect:
            if "poolWeights" not in expect:
                self.play({k: v for k, v in entry.items() if k != "repeat"}
                          | {"expect": {k: v for k, v in expect.items() if k not in ("onlyPods", "httpPortByPod")}})
            return self.picked(entry)
        if "weights" in expect:
            return self.weights(entry)
        if "mirrors" in expect:
            return self.mirrors(entry, deadline)
        if entry.get("repeat") and entry["repeat"] > 1:
            return self.repeat(entry)
        # «Retried until the weighted choice hits this pool»: three in a row would be luck.
        row, last, wanted = 0, None, 1 if entry.get("protocol") in STREAMS or "retried until" in entry.get("name", "") else 3
        while row < wanted:
            try:
                self.once(entry)
                row += 1
            except Final:
                raise
            except FAILURES as error:
                row, last = 0, error
                if time.monotonic() > deadline:
                    raise Wrong(f"{self.title(entry)}: {last}") from None
                time.sleep(0.1)

    def filled(self, entry):
        """The entry with the names and addresses of pods in place of `{pod[0].ip}` and the like."""
        if "pods" not in entry:
            return entry
        selectors = entry["pods"] if isinstance(entry["pods"], dict) else {"pod": entry["pods"]}
        namespace = entry["expect"]["namespace"]
        pods = {name: sorted(self.cluster.pods_of(namespace, dict([selector.split("=")])), key=lambda p: p["metadata"]["name"])
                for name, selector in selectors.items()}

        def value(match):
            pod = pods[match[1]][int(match[2])]
            return pod["status"]["podIP"] if match[3] == "ip" else pod["metadata"]["name"]
        text = re.sub(r"\{(\w+)\[(\d+)\]\.(ip|name)\}", value, json.dumps({k: v for k, v in entry.items() if k != "pods"}))
        return {**json.loads(text), "listed": {name: [p["metadata"]["name"] for p in listed] for name, listed in pods.items()}}

    def picked(self, entry):
        """Many requests, each answered by a pod that the picker may have chosen; 404 and 503 are asked again."""
        expect = entry["expect"]

        def one(_):
            end = time.monotonic() + 30
            while True:
                try:
                    response, echoed = self.send(entry)
                    if response.status not in (404, 503):
                        break
                    last = f"status {response.status}"
                except (OSError, Ended) as error:
                    last = error
                need(time.monotonic() < end, f"{self.title(entry)}: {last}")
                time.sleep(0.5)
            need(response.status in expect["status"], f"{self.title(entry)}: status {response.status}")
            self.echoed({k: v for k, v in expect.items() if k in ("namespace", "backend", "backendRequest")}, response, echoed)
            pod, port = echoed["pod"], echoed.get("httpPort")
            if "onlyPods" in expect:
                need(pod in expect["onlyPods"], f"{self.title(entry)}: pod {pod} is not of {expect['onlyPods']}")
            if "httpPortByPod" in expect:
                need(port in expect["httpPortByPod"][pod], f"{self.title(entry)}: port {port} of {pod}")
            return pod
        with concurrent.futures.ThreadPoolExecutor(entry.get("concurrency", 10)) as workers:
            pods = list(workers.map(one, range(entry["repeat"])))
        if "poolWeights" in expect:
            known = {name: set(names) for name, names in entry["listed"].items()}
            for pod in pods:
                need(any(pod in names for names in known.values()), f"{self.title(entry)}: {pod} is of no pool")
            first, weight = next(iter(expect["poolWeights"].items()))
            names = known[next(name for name in known if first.startswith(name))]
            share = sum(pod in names for pod in pods) / len(pods)
            need(abs(share - weight) <= expect["tolerance"], f"{self.title(entry)}: {first} got {share:.3f}, not {weight}")

    def title(self, entry):
        r = entry["request"]
        if entry.get("protocol") in STREAMS:
            return entry.get("name") or f"{entry['protocol']} {entry.get('sni', '')} port {entry['port']}"
        return entry.get("name") or r.get("grpcMethod") or f"{r.get('method')} {r.get('host', '')}{r.get('path')}"

    def place(self, entry):
        """Where an entry's gateway listens."""
        return self.address(entry["gateway"]), self.ports.get(entry["port"], entry["port"])

    def send(self, entry, extra=None, jitter=False):
        """One request on a new connection; (response, echoed body or None)."""
        request = entry["request"]
        address, port = self.place(entry)
        default = {"http": 80, "https": 443}[entry["scheme"]]
        host = request.get("host") or (address if port == default else f"{address}:{port}")
        fields = [("User-Agent", "conformance"), ("Accept-Encoding", "gzip"), ("Connection", "close"),
                  ("X-Echo-Set-Header", ",".join(f"{n}:{v}" for n, v in pairs(entry.get("backendSetsResponseHeaders", {}))))]
        fields += pairs(request.get("headers", {})) + (extra or [])
        path = request["path"].replace("{uuid}", str(uuid.uuid4()))
        tls = None
        if entry["scheme"] == "https":
            tls = self.tls(entry)
        body = request.get("body", "").encode()
        if entry.get("protocol") in HTTP2:
            fields = [(n, v) for n, v in fields if n != "Connection"]
            response = http2.request(address, port, request["method"], path, host, fields, body, tls, entry.get("sni"))
        else:
            with Client(address, port, timeout=10, tls=tls, sni=entry.get("sni")) as client:
                client.send(request_bytes(request["method"], path, fields, body, host=host))
                response = client.read(request["method"])
        need(response.complete, f"the response is cut: {response}")
        echoed = None
        try:
            echoed = json.loads(response.body) if "json" in (response.get("content-type") or "") else None
        except ValueError:
            pass
        return response, echoed

    def tls(self, entry):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN          # a certificate can be trusted without its CA
        trust = entry.get("trust")
        if trust:
            kind, _, name = trust.rpartition(" ")
            certificates = self.cluster.certificates
            pem = certificates.authorities[name].pem if kind else certificates.secrets[name].pem
            context.load_verify_locations(cadata=pem.decode())
        else:
            context.verify_mode = ssl.CERT_NONE
        if entry.get("clientCertificate"):
            with tempfile.TemporaryDirectory() as folder:
                context.load_cert_chain(*self.cluster.certificates.secrets[entry["clientCertificate"]].write(folder, "client"))
        if entry["expect"].get("serverRequestsClientCertificate"):
            def note(connection, direction, version, kind, message, data):
                if direction == "read" and getattr(message, "name", "") == "CERTIFICATE_REQUEST":
                    entry["asked"] = True
            context._msg_callback = note
        return context

    def once(self, entry):
        expect = entry["expect"]
        talk = {**STREAMS, **CALLS}.get(entry.get("protocol"))
        if talk:
            return talk(self, entry)
        entry.pop("asked", None)
        try:
            self.answered(entry, expect)
        finally:
            if expect.get("serverRequestsClientCertificate"):
                need(entry.get("asked"), "the handshake asked for no certificate of the client")

    def answered(self, entry, expect):
        if expect.get("connectionError"):
            try:
                response, _ = self.send(entry)
            except (OSError, Ended, ssl.SSLError):
                return
            raise Wrong(f"answered {response.status} where the connection has to fail")
        response, echoed = self.send(entry)
        if "statusNot" in expect:
            if response.status == 200:
                raise Final(f"{self.title(entry)}: answered 200")
            need(response.status not in expect["statusNot"], f"status {response.status}")
            return
        need(response.status in expect["status"], f"status {response.status}, not {expect['status'][0]} {response.body[:120]!r}")
        if "redirect" in expect:
            redirect(response, expect["redirect"])
        if expect.get("localReply"):
            need(not (echoed and any(echoed.get(f) for f in ("path", "host", "namespace"))), "the backend answered a preflight")
        if response.status in (200, 204):
            self.echoed(expect, response, echoed)

    def echoed(self, expect, response, echoed):
        if expect.get("backend") or expect.get("namespace") or expect.get("backendRequest"):
            need(echoed is not None, f"no echo: {response}")
        if "backend" in expect:
            need(echoed["pod"].startswith(expect["backend"]), f"pod {echoed['pod']}, not {expect['backend']}")
        if "namespace" in expect:
            need(echoed["namespace"] == expect["namespace"], f"namespace {echoed['namespace']}")
        want = expect.get("backendRequest") or {}
        for field in ("method", "path", "host"):
            if field in want and not (field == "path" and "{uuid}" in want["path"]):
                need(echoed[field] == want[field], f"the backend saw {field} {echoed[field]!r}, not {want[field]!r}")
        seen = {n.lower(): ",".join(v) for n, v in (echoed or {}).get("headers", {}).items()}
        for name, value in (want.get("headers") or {}).items():
            need(seen.get(name.lower()) == joined(value), f"the backend saw {name}: {seen.get(name.lower())!r}, not {joined(value)!r}")
        for name in want.get("absentHeaders", []):
            need(name.lower() not in seen, f"the backend saw {name}")
        security = (echoed or {}).get("tls") or {}
        if "sni" in want:
            need(security.get("serverName") == want["sni"], f"SNI to the backend {security.get('serverName')!r}")
        if "clientCertificate" in want:
            pem = self.cluster.certificates.secrets[want["clientCertificate"]].pem.decode()
            need(pem.split() in [p.split() for p in security.get("peerCertificates", [])], "the backend saw no such client certificate")
        squeeze = (lambda s: s and re.sub(r"\s", "", s)) if expect.get("ignoreWhitespaceInResponseHeaders") else (lambda s: s)
        for name, value in (expect.get("responseHeaders") or {}).items():
            have = response.joined(name)
            need(squeeze(have) == squeeze(joined(value)), f"response header {name}: {have!r}, not {joined(value)!r}")
        for name, values in (expect.get("responseHeadersOneOf") or {}).items():
            need(squeeze(response.joined(name)) in [squeeze(joined(v)) for v in values],
                 f"response header {name}: {response.joined(name)!r}, not one of {values}")
        for name in expect.get("absentResponseHeaders", []):
            need(response.get(name) is None, f"response header {name} is there")

    # -- many requests
    def many(self, entry, count, extra=None, retry=False):
        def one(_):
            fields = list(extra or [])
            if random.random() < 0.5:
                fields.append(("X-Jitter", str(random.randrange(10000))))
            while True:
                try:
                    return self.sample(entry, fields)
                except FAILURES:
                    if not retry:
                        raise
        with concurrent.futures.ThreadPoolExecutor(entry.get("concurrency", 10)) as pool:
            return list(pool.map(one, range(count)))

    def sample(self, entry, fields):
        """One request or conversation of many; what the backend tells of itself."""
        talk = {**STREAMS, **CALLS}.get(entry.get("protocol"))
        if talk:
            return talk(self, entry, fields)
        response, echoed = self.send(entry, fields)
        need(response.status in entry["expect"]["status"], f"status {response.status}")
        self.echoed({k: v for k, v in entry["expect"].items() if k in ("namespace", "backend", "backendRequest")}, response, echoed)
        return echoed

    def repeat(self, entry):
        if entry.get("protocol") in STREAMS:
            return self.in_a_row(entry)
        try:
            echoes = self.many(entry, entry["repeat"])
        except (OSError, Ended, Malformed) as error:
            raise Wrong(f"{self.title(entry)}: {error}") from None
        if "echoInvariant" in entry["expect"]:            # HTTPRouteRequestHeaderModifierBackendWeights
            for echoed in echoes:
                values = echoed["headers"].get("Backend", [])
                need(len(values) == 1 and echoed["pod"].startswith(values[0]), f"Backend {values} at {echoed['pod']}")

    def in_a_row(self, entry):
        """Conversations one after another; a datagram may be lost, which begins the row anew."""
        end, row = time.monotonic() + self.within, 0
        while row < entry["repeat"]:
            try:
                self.once(entry)
                row += 1
            except Wrong:
                raise
            except (OSError, Ended, ValueError) as error:
                row = 0
                if entry["scheme"] != "udp" or time.monotonic() > end:
                    raise Wrong(f"{self.title(entry)}: {error}") from None

    def weights(self, entry):
        expect, last = entry["expect"], None
        end = time.monotonic() + self.within
        for _ in range(10):
            try:
                hits = collections.Counter(e["pod"].rsplit("-", 2)[0] for e in self.many(entry, entry["repeat"]))
                need(set(hits) == {b for b, w in expect["weights"].items() if w > 0}, f"backends {dict(hits)}")
                for backend, weight in expect["weights"].items():
                    share = hits[backend] / entry["repeat"]
                    need(abs(share - weight) <= expect["tolerance"], f"{backend} got {share:.3f}, not {weight}")
                return
            except FAILURES as error:
                last = error
                if time.monotonic() > end:
                    break
        raise Wrong(f"{self.title(entry)}: {last}")

    def mirrors(self, entry, deadline):
        """Every mirror backend receives the request, with an unchanged path and query (or its percentage)."""
        base = {**entry, "expect": {k: v for k, v in entry["expect"].items() if k != "mirrors"}}
        percentages = [m for m in entry["expect"]["mirrors"] if "percent" in m]
        self.play({k: v for k, v in base.items() if k not in ("repeat",)})
        tries, last = 5 if percentages else 30, None
        for _ in range(tries):
            mark = str(uuid.uuid4())
            join = "&" if "?" in entry["request"]["path"] else "?"
            path = f"{entry['request']['path']}{join}gateway-api-conformance-request-id={mark}"
            marked = json.loads(json.dumps(base))
            marked["request"]["path"] = path
            if "path" in (marked["expect"].get("backendRequest") or {}):
                marked["expect"]["backendRequest"]["path"] = path
            try:
                count = entry.get("repeat") or (500 if percentages else 1)
                self.many(marked, count, retry=bool(percentages))
                for m in entry["expect"]["mirrors"]:
                    self.mirrored(m, path, count, bool(percentages))
                return
            except (Wrong, OSError, Ended, Malformed) as error:
                last = error
                if time.monotonic() > deadline:
                    break
                time.sleep(2 if percentages else 0.1)
        raise Wrong(f"{self.title(entry)}: {last}")

    def mirrored(self, mirror, path, count, percentage):
        end = time.monotonic() + (0 if percentage else 2)
        while True:
            have = sum(p.log.count(path) for p in self.cluster.pods.pods
                       if p.namespace == mirror["namespace"] and p.name.startswith(mirror["backend"]))
            if not percentage and have >= 1:
                return
            if time.monotonic() > end:
                break
            time.sleep(0.05)
        need(percentage, f"{mirror['backend']} did not receive the mirrored request")
        p = mirror["percent"] / 100
        need(abs(have - count * p) <= 3 * math.sqrt(count * p * (1 - p)), f"{mirror['backend']} received {have} of {count}, not {p:.0%}")


def pairs(fields):
    """[(name, value)] of a case's headers: a value may be a list."""
    return [(n, v) for n, value in fields.items() for v in (value if isinstance(value, list) else [value])]


def joined(value):
    return ",".join(value) if isinstance(value, list) else value


def redirect(response, want):
    location = response.get("location")
    need(location is not None, "no Location")
    parts = urlsplit(location)
    need(parts.scheme == want["scheme"], f"Location {location}: scheme, not {want['scheme']}")
    need(parts.path == want["path"], f"Location {location}: path, not {want['path']}")
    if want.get("host"):
        need(parts.hostname == want["host"], f"Location {location}: host, not {want['host']}")
    default = {"http": 80, "https": 443}.get(parts.scheme)
    if want["port"] == "default":
        need(parts.port in (None, default), f"Location {location}: port")
    else:
        need(str(parts.port or default) == str(want["port"]), f"Location {location}: port, not {want['port']}")
