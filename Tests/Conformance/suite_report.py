"""The report of a run in the suites' own form: `ConformanceReport` of gateway.networking.k8s.io/v1.

As the suites count: a case belongs to a profile's core or to its extended tests; a case that asks for a feature that is
not claimed counts nowhere, its feature is unsupported instead; a provisional case counts only when it was played.
"""
import datetime
import os
import re

import yaml

IMPLEMENTATION = {"organization": "ai-gateway", "project": "ai-gateway", "url": "", "contact": []}
PROFILES = {"gateway-api": ["GATEWAY-HTTP", "GATEWAY-GRPC", "GATEWAY-TLS", "GATEWAY-TCP", "GATEWAY-UDP"], "inference": ["Gateway"]}
# Which features beyond the core ones a profile knows, by how they begin; those of Gateways are everybody's.
FAMILIES = {"GATEWAY-HTTP": ("Gateway", "ListenerSet", "HTTPRoute", "BackendTLSPolicy"),
            "GATEWAY-GRPC": ("Gateway", "ListenerSet", "BackendTLSPolicy"),
            "GATEWAY-TLS": ("Gateway", "ListenerSet", "TLSRoute", "BackendTLSPolicy"),
            "GATEWAY-TCP": ("Gateway", "ListenerSet", "TCPRoute"), "GATEWAY-UDP": ("Gateway", "ListenerSet", "UDPRoute"), "Gateway": ()}
CORE = {"Gateway", "ReferenceGrant", "HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute", "SupportInferencePool"}
FILES = {"gateway-api": "gateway-api.yaml", "inference": "inference-extension.yaml"}


def unclaimed(case, claimed):
    """The features that a case asks for and nobody claims."""
    return [f for f in case["feature"] if f not in claimed and f not in CORE]


def _status(results, level):
    """`results`: [(name, outcome)] of one level, with outcomes `pass`, `fail` and `skip`."""
    of = {o: sorted(n for n, outcome in results if outcome == o) for o in ("pass", "fail", "skip")}
    out = {"result": "failure" if of["fail"] else "partial" if of["skip"] else "success",
           "statistics": {"Passed": len(of["pass"]), "Failed": len(of["fail"]), "Skipped": len(of["skip"])}}
    if of["fail"]:
        out["failedTests"] = of["fail"]
    if of["skip"]:
        out["skippedTests"] = of["skip"]
    words = {"success": "succeeded", "partial": f"partially succeeded with {len(of['skip'])} test skips",
             "failure": f"failed with {len(of['fail'])} test failures"}[out["result"]]
    return out, f"{level} tests {words}"


def _profile(name, cases, outcomes, claimed, features):
    levels = {"core": [], "extended": []}
    for test, outcome in outcomes.items():
        level = cases[test]["profiles"].get(name)
        if not level or outcome == "unsupported" or (outcome == "skip" and cases[test]["provisional"]):
            continue
        levels[level].append((test, outcome))
    core, summary = _status(levels["core"], "Core")
    out = {"name": name, "core": core}
    if levels["extended"]:
        out["extended"], words = _status(levels["extended"], "Extended")
        own = sorted(f for f in features if f not in CORE and f.startswith(FAMILIES[name]))
        for key, wanted in (("supportedFeatures", True), ("unsupportedFeatures", False)):
            if some := [f for f in own if (f in claimed) == wanted]:
                out["extended"][key] = some
        summary += f". {words}"
    return {**out, "summary": summary + "."} if levels["core"] or levels["extended"] else None


def make(suite, cases, outcomes, claimed, version, api, now=None):
    """The report on one suite. `outcomes`: {case: pass, fail, skip or unsupported}; `api`: versions by suite."""
    mine = {n: o for n, o in outcomes.items() if cases[n]["suite"] == suite}
    features = set(claimed) | {f for c in cases.values() if c["suite"] == suite for f in c["feature"]}
    profiles = [_profile(p, cases, mine, claimed, features) for p in PROFILES[suite]]
    now = now or datetime.datetime.now(datetime.timezone.utc)
    report = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "ConformanceReport", "date": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
              "gatewayAPIChannel": "experimental", "gatewayAPIVersion": api["gateway-api"], "mode": "default",
              "implementation": {**IMPLEMENTATION, "version": version}, "profiles": [p for p in profiles if p]}
    if suite == "inference":
        report["GatewayAPIInferenceExtensionVersion"] = api["inference"]
    if passed := sorted(n for n, o in mine.items() if o == "pass" and cases[n]["provisional"]):
        report["succeededProvisionalTests"] = passed
    return report


def versions(root):
    """The releases that the tables were taken from, as their READMEs say."""
    out = {}
    for suite in PROFILES:
        try:
            with open(os.path.join(root, suite, "README.md")) as file:
                found = re.search(r"after (v\d+\.\d+\.\d+)", file.read())
        except OSError:
            found = None
        out[suite] = found[1] if found else "unknown"
    return out


def write(folder, root, cases, outcomes, claimed, version):
    """Writes a file for each suite that was played; returns lines that name them and say what is in them."""
    lines = []
    for suite, name in FILES.items():
        played = [n for n in outcomes if cases[n]["suite"] == suite]
        if not played:
            continue
        report = make(suite, cases, outcomes, claimed, version, versions(root))
        total = sum(c["suite"] == suite for c in cases.values())
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, name)
        with open(path, "w") as file:
            if len(played) < total:
                file.write(f"# Of a part of the suite: {len(played)} of {total} cases.\n")
            yaml.safe_dump(report, file, sort_keys=True, allow_unicode=True)
        lines.append(f"report: {path}" + (f" (of {len(played)} of {total} cases)" if len(played) < total else ""))
        for profile in report["profiles"]:
            counts = " ".join(f"{level} {s['Passed']}/{sum(s.values())}" for level in ("core", "extended") if level in profile
                              for s in [profile[level]["statistics"]])
            lines.append(f"  {profile['name']}: {counts}. {profile['summary']}")
    return lines
