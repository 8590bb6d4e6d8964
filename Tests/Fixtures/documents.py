"""Builds the documents that a test serves, with as little text as the test needs."""
import yaml

API = "gateway.networking.k8s.io/v1"
OWN = "ai-gateway.dev/v1alpha1"


def dump(documents):
    return yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True)


def listener(port, name="http", protocol="HTTP", hostname=None, certificates=(), **more):
    out = {"name": name, "port": port, "protocol": protocol, "allowedRoutes": {"namespaces": {"from": "All"}}}
    if hostname:
        out["hostname"] = hostname
    if certificates:
        out["tls"] = {"mode": "Terminate", "certificateRefs": [{"kind": "Secret", "name": c} for c in certificates]}
    return {**out, **more}


def gateway(listeners, addresses=("127.0.0.1",), name="gateway", namespace="default", parameters=None):
    spec = {"gatewayClassName": "ai-gateway", "listeners": listeners}
    if addresses:
        spec["addresses"] = [{"type": "IPAddress", "value": a} for a in addresses]
    if parameters:
        spec["infrastructure"] = {"parametersRef": {"group": "ai-gateway.dev", "kind": "GatewayParameters", "name": parameters}}
    return {"apiVersion": API, "kind": "Gateway", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def parameters(name="parameters", namespace="default", **spec):
    return {"apiVersion": OWN, "kind": "GatewayParameters", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def backend_ref(name, weight=None, filters=None):
    out = {"group": "ai-gateway.dev", "kind": "Backend", "name": name}
    if weight is not None:
        out["weight"] = weight
    if filters:
        out["filters"] = filters
    return out


def rule(backends=("origin",), path=None, exact=None, filters=None, headers=None, method=None, query=None, regex=None,
         timeouts=None, retry=None, matches=None):
    """One rule. `backends`: names or whole refs; `path` is a prefix."""
    match = {}
    for kind, value in (("PathPrefix", path), ("Exact", exact), ("RegularExpression", regex)):
        if value is not None:
            match["path"] = {"type": kind, "value": value}
    if headers:
        match["headers"] = [{"name": n, "value": v} for n, v in headers.items()]
    if query:
        match["queryParams"] = [{"name": n, "value": v} for n, v in query.items()]
    if method:
        match["method"] = method
    out = {}
    if matches or match:
        out["matches"] = matches or [match]
    if filters:
        out["filters"] = filters
    if backends:
        out["backendRefs"] = [backend_ref(b) if isinstance(b, str) else b for b in backends]
    if timeouts:
        out["timeouts"] = timeouts
    if retry:
        out["retry"] = retry
    return out


def route(rules, hostnames=None, name="route", namespace="default", parents=("gateway",), generation=None):
    metadata = {"name": name, "namespace": namespace}
    if generation:
        metadata["generation"] = generation
    spec = {"parentRefs": [{"name": p} if isinstance(p, str) else p for p in parents]}
    if hostnames:
        spec["hostnames"] = list(hostnames)
    spec["rules"] = rules
    return {"apiVersion": API, "kind": "HTTPRoute", "metadata": metadata, "spec": spec}


def stream_route(kind, backends=("origin",), hostnames=None, name=None, namespace="default", parents=("gateway",)):
    """A TCPRoute or TLSRoute with one rule; `backends`: names or whole refs."""
    spec = {"parentRefs": [{"name": p} if isinstance(p, str) else p for p in parents]}
    if hostnames:
        spec["hostnames"] = list(hostnames)
    spec["rules"] = [{"backendRefs": [backend_ref(b) if isinstance(b, str) else b for b in backends]}]
    return {"apiVersion": API, "kind": kind, "metadata": {"name": name or kind.lower(), "namespace": namespace}, "spec": spec}


def backend(endpoints, name="origin", namespace="default", **spec):
    """A Backend. `endpoints`: origins, dictionaries, or (address, port) pairs."""
    rows = []
    for e in endpoints if isinstance(endpoints, (list, tuple)) else [endpoints]:
        if hasattr(e, "endpoint"):
            e = e.endpoint()
        rows.append(e if isinstance(e, dict) else {"address": e[0], "port": e[1]})
    return {"apiVersion": OWN, "kind": "Backend", "metadata": {"name": name, "namespace": namespace},
            "spec": {"endpoints": rows, **spec}}


def service(name, pods, port=80, target=None, namespace="default", app_protocol=None):
    """A Service and its EndpointSlice. `pods`: (address, port) pairs that share one port."""
    entry = {"name": "http", "protocol": "TCP", "port": port, "targetPort": target or (pods[0][1] if pods else port)}
    if app_protocol:
        entry["appProtocol"] = app_protocol
    slice_port = {"name": "http", "protocol": "TCP", "port": entry["targetPort"]}
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
         "spec": {"selector": {"app": name}, "ports": [entry]}},
        {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
         "metadata": {"name": name + "-1", "namespace": namespace, "labels": {"kubernetes.io/service-name": name}},
         "ports": [slice_port],
         "endpoints": [{"addresses": [a], "conditions": {"ready": True, "serving": True, "terminating": False}}
                       for a, _ in pods]}]


def grpc_rule(backends=("origin",), service=None, method=None, headers=None, filters=None):
    """One rule of a GRPCRoute."""
    match, out = {}, {}
    if service or method:
        match["method"] = {k: v for k, v in (("service", service), ("method", method)) if v}
    if headers:
        match["headers"] = [{"name": n, "value": v} for n, v in headers.items()]
    if match:
        out["matches"] = [match]
    if filters:
        out["filters"] = filters
    if backends:
        out["backendRefs"] = [backend_ref(b) if isinstance(b, str) else b for b in backends]
    return out


def grpc_route(rules, hostnames=None, name="calls", namespace="default", parents=("gateway",)):
    return {**route(rules, hostnames, name, namespace, parents), "kind": "GRPCRoute"}


def pool(origins, name="pool", namespace="default", picker=None, app_protocol=None):
    """An InferencePool over `origins`, which are the ports of one Pod at 127.0.0.1; `picker`: its `endpointPickerRef`."""
    spec = {"selector": {"matchLabels": {"app": name}}, "targetPorts": [{"number": o.port} for o in origins]}
    if picker:
        spec["endpointPickerRef"] = picker
    if app_protocol:
        spec["appProtocol"] = app_protocol
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name + "-0", "namespace": namespace, "labels": {"app": name}},
           "status": {"podIP": "127.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]}}
    return [{"apiVersion": "inference.networking.k8s.io/v1", "kind": "InferencePool",
             "metadata": {"name": name, "namespace": namespace}, "spec": spec}, pod]


def pool_ref(name="pool", weight=None):
    """A backendRef to an InferencePool."""
    ref = {"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": name}
    return ref if weight is None else {**ref, "weight": weight}
