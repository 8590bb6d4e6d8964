"""The conformance runner's own words: the suites' reports, and names that no case has."""
import datetime
import os
import subprocess
import sys

import pytest
import yaml

from Fixtures.gateway import ROOT

sys.path.append(os.path.join(ROOT, "Tests", "Conformance"))
import suite_report as report   # noqa: E402

RUNNER = os.path.join(ROOT, "Tests", "Conformance", "run.py")
NOON = datetime.datetime(2026, 1, 2, 12, tzinfo=datetime.timezone.utc)


def case(*features, suite="gateway-api", provisional=False, **profiles):
    return {"suite": suite, "feature": list(features), "provisional": provisional, "profiles": {k.replace("_", "-"): v for k, v in profiles.items()}}


CASES = {
    "Matching": case("Gateway", "HTTPRoute", GATEWAY_HTTP="core"), "Both": case("Gateway", GATEWAY_HTTP="core", GATEWAY_TLS="core"),
    "Redirect": case("HTTPRoute", "HTTPRoutePortRedirect", GATEWAY_HTTP="extended"),
    "Maybe": case("HTTPRoute", "HTTPRouteNamedRouteRule", provisional=True, GATEWAY_HTTP="extended"),
    "Mirror": case("HTTPRoute", "HTTPRouteRequestMirror", GATEWAY_HTTP="extended"), "Nowhere": case("Gateway", "TLSRoute"),
    "Pool": case("SupportInferencePool", suite="inference", Gateway="core")}
CLAIMED = ["Gateway", "HTTPRoute", "HTTPRoutePortRedirect", "HTTPRouteNamedRouteRule", "GatewayPort8080", "TLSRouteModeMixed"]
API = {"gateway-api": "v1.6.0", "inference": "v1.5.0"}


def make(suite="gateway-api", **outcomes):
    made = report.make(suite, CASES, {**dict.fromkeys(CASES, "pass"), "Mirror": "unsupported", **outcomes}, CLAIMED, "1.2.3", API, NOON)
    return made, {p["name"]: p for p in made["profiles"]}


def test_a_report_counts_as_the_suites_do():
    """Core and extended by profile; what is not claimed counts nowhere and is named; a profile without cases is left out."""
    made, profiles = make()
    assert (made["apiVersion"], made["kind"], made["mode"]) == ("gateway.networking.k8s.io/v1", "ConformanceReport", "default")
    assert (made["date"], made["gatewayAPIVersion"], made["gatewayAPIChannel"]) == ("2026-01-02T12:00:00Z", "v1.6.0", "experimental")
    assert made["implementation"]["version"] == "1.2.3" and "GatewayAPIInferenceExtensionVersion" not in made
    assert list(profiles) == ["GATEWAY-HTTP", "GATEWAY-TLS"] and made["succeededProvisionalTests"] == ["Maybe"]
    http = profiles["GATEWAY-HTTP"]
    assert http["core"] == {"result": "success", "statistics": {"Passed": 2, "Failed": 0, "Skipped": 0}}
    assert http["extended"]["statistics"] == {"Passed": 2, "Failed": 0, "Skipped": 0}
    assert http["extended"]["supportedFeatures"] == ["GatewayPort8080", "HTTPRouteNamedRouteRule", "HTTPRoutePortRedirect"]
    assert http["extended"]["unsupportedFeatures"] == ["HTTPRouteRequestMirror"]
    assert http["summary"] == "Core tests succeeded. Extended tests succeeded."
    assert "extended" not in profiles["GATEWAY-TLS"] and profiles["GATEWAY-TLS"]["summary"] == "Core tests succeeded."


@pytest.mark.parametrize("outcomes,core,extended", [
    ({"Redirect": "skip"}, "success", {"result": "partial", "skippedTests": ["Redirect"]}), ({"Maybe": "skip"}, "success", {"result": "success"}),
    ({"Matching": "fail", "Redirect": "fail"}, "failure", {"result": "failure", "failedTests": ["Redirect"]})])
def test_what_failed_or_was_skipped_is_named(outcomes, core, extended):
    """A provisional case that was not played counts nowhere."""
    _, profiles = make(**outcomes)
    http = profiles["GATEWAY-HTTP"]
    assert http["core"]["result"] == core and extended.items() <= http["extended"].items()
    assert sum(http["extended"]["statistics"].values()) == (1 if "Maybe" in outcomes else 2)


def test_the_inference_extension_has_a_report_of_its_own():
    """With its one profile, and both versions."""
    made, profiles = make("inference")
    assert made["GatewayAPIInferenceExtensionVersion"] == "v1.5.0" and list(profiles) == ["Gateway"]
    assert profiles["Gateway"]["core"]["statistics"]["Passed"] == 1 and "succeededProvisionalTests" not in made


def test_reports_are_written_and_named(tmp_path):
    """One file a suite; a part of a suite is called so."""
    (tmp_path / "gateway-api").mkdir()
    (tmp_path / "gateway-api" / "README.md").write_text("- Source: main after v1.6.0 (v1.6.x)\n")
    lines = report.write(str(tmp_path / "out"), str(tmp_path), CASES, {"Both": "pass", "Pool": "fail"}, CLAIMED, "1.2.3")
    assert [l for l in lines if l.startswith("report: ")] == [
        f"report: {tmp_path}/out/gateway-api.yaml (of 1 of 6 cases)", f"report: {tmp_path}/out/inference-extension.yaml"]
    assert "  Gateway: core 0/1. Core tests failed with 1 test failures." in lines
    text = (tmp_path / "out" / "gateway-api.yaml").read_text()
    assert text.startswith("# Of a part of the suite: 1 of 6 cases.\n") and yaml.safe_load(text)["gatewayAPIVersion"] == "v1.6.0"


@pytest.mark.parametrize("name,said", [("HTTPRouteRetri", "HTTPRouteRetry"), ("retry", "HTTPRouteRetryConnectionError"),
                                       ("GatewayFrontend", "GatewayFrontendClientCertificateValidation")])
def test_an_unknown_case_is_answered_by_the_nearest(name, said):
    """At once, before anything is played."""
    done = subprocess.run([sys.executable, RUNNER, name], capture_output=True, text=True, timeout=60)
    if "SKIPPED" in done.stdout:
        pytest.skip("the conformance tables are not here")
    assert done.returncode == 2 and f"no case is called {name}; did you mean" in done.stdout and said in done.stdout
    assert done.stdout.endswith("0 passed, 1 failed\n") and not done.stderr
