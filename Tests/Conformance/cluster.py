"""Plays the cluster: manifests become documents in a folder, Deployments become echo pods, Services get slices."""
import base64
import copy
import datetime
import hashlib
import os
import re
import socket

import yaml

from Fixtures import documents
from Fixtures.certificates import Certificate
from Fixtures.echo import Pod
from Fixtures.echo_streams import DNSPod, GRPCPod, TCPPod, UDPPod

CLASS, CONTROLLER = "ai-gateway", "ai-gateway.dev/gateway-controller"
INFRA, APP, WEB = "gateway-conformance-infra", "gateway-conformance-app-backend", "gateway-conformance-web-backend"
UNUSABLE = "203.0.113.7"                      # a documentation address: never local


def group(document):
    return document["apiVersion"].rpartition("/")[0]


def key(document):
    return document["kind"], document["metadata"].get("namespace", ""), document["metadata"]["name"]


def read(path):
    with open(path) as file:
        text = file.read()
    text = text.replace("{GATEWAY_CLASS_NAME}", CLASS).replace("{GATEWAY_CONTROLLER_NAME}", CONTROLLER)
    return [d for d in yaml.safe_load_all(text) if d]


def ports_may_be_low():
    with socket.socket() as s:
        try:
            s.bind(("127.20.0.1", 80))
            return True
        except OSError:
            return False


LOW = ports_may_be_low()


def bindable(port):
    """The port that stands for one which this process may not bind."""
    return port if LOW or port >= 1024 else port + 10000


class Certificates:
    """What cases/README.md lists, minted once a run."""

    def __init__(self):
        serve = dict
        self.secrets, self.authorities, self.documents = {}, {}, []

        def secret(namespace, name, certificate):
            self.secrets[f"{namespace}/{name}"] = certificate
            self.documents.append(certificate.secret(name, namespace))

        def authority(namespace, name):
            ca = Certificate([], authority=True, common_name=name)
            self.authorities[f"{namespace}/{name}"] = ca
            self.documents.append(ca.config_map(name, namespace))
            return ca

        secret(WEB, "certificate", Certificate(["*"]))
        secret(INFRA, "tls-validity-checks-certificate", Certificate(["*", "*.org", "*.wildcard.org"]))
        for name in ("tls-validity-checks", "tls-validity-checks-per-port"):
            ca = authority(INFRA, name + "-ca-certificate")
            secret(INFRA, name + "-client-certificate", Certificate(["client.example"], issuer=ca, client=True))
        authority(WEB, "web-backend-cm")
        authority(INFRA, "mismatch-ca-certificate")
        ca = authority(INFRA, "tls-checks-ca-certificate")
        secret(INFRA, "tls-checks-certificate", Certificate(
            ["abc.example.com", "other.example.com", "spiffe://abc.example.com/test-identity"], issuer=ca))
        passthrough = Certificate(["abc.example.com"], issuer=ca)
        secret(INFRA, "tls-passthrough-checks-certificate", passthrough)
        secret(APP, "tls-passthrough-checks-certificate", passthrough)
        secret(INFRA, "tls-terminate-checks-certificate", Certificate(["tls.example.com"], issuer=ca))
        secret(INFRA, "tls-checks-client-certificate", Certificate(["client.example.com"], issuer=ca, client=True))


class Cluster:
    """The objects of one run of the gateway. `network` is the second octet of its addresses."""

    def __init__(self, folder, certificates, pods, addresses, pod_addresses):
        self.folder, self.certificates, self.pods = folder, certificates, pods
        self.addresses, self.pod_addresses = addresses, pod_addresses     # iterators of free addresses
        self.objects, self.files, self.gateway_address, self.running = {}, {}, {}, []
        self.generations, self.original = {}, {}

    # -- objects
    def add(self, file, manifests, shared_pods=None):
        """Applies manifests as one file; Deployments become pods (or the `shared_pods` of that Deployment)."""
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        deployments = []
        for document in manifests:
            document = copy.deepcopy(document)
            if document["kind"] == "Deployment":
                deployments.append(document)
                continue
            if document["kind"] == "Gateway":
                self.address(document)
            document["metadata"].setdefault("creationTimestamp", now)
            document["metadata"].setdefault("generation", 1)
            k = key(document)
            self.objects[k] = document
            self.original[k] = copy.deepcopy(document)
            self.files.setdefault(file, []).append(k)
        for deployment in deployments:
            for number in range(deployment["spec"].get("replicas", 1)):
                self.add_pod(file, deployment, number, shared_pods)
        self.slices(file)

    def address(self, gateway):
        """Gives a Gateway a loopback address of its own, unless it is about addresses."""
        spec, name = gateway["spec"], gateway["metadata"]["namespace"] + "/" + gateway["metadata"]["name"]
        mine = next(self.addresses)
        if "addresses" not in spec:
            spec["addresses"] = [{"type": "IPAddress", "value": mine}]
            self.gateway_address[name] = mine
            return
        for a in spec["addresses"]:
            a["value"] = {"PLACEHOLDER_USABLE_ADDRS": mine, "PLACEHOLDER_UNUSABLE_ADDRS": UNUSABLE}.get(a.get("value"), a.get("value"))
            if a["value"] is None:
                del a["value"]
            elif a["value"] in (mine, UNUSABLE):
                a.setdefault("type", "IPAddress")
                if a["value"] == mine:
                    self.gateway_address[name] = mine

    def add_pod(self, file, deployment, number, shared):
        meta, template = deployment["metadata"], deployment["spec"]["template"]
        digest = hashlib.sha256(f"{meta['namespace']}/{meta['name']}".encode()).hexdigest()
        name = f"{meta['name']}-{digest[:9]}-{hashlib.sha256(f'{digest}{number}'.encode()).hexdigest()[:5]}"
        container = template["spec"]["containers"][0]
        environment = {e["name"]: e.get("value") for e in container.get("env", [])}
        pod = (shared or {}).get((meta["namespace"], name))
        if pod is None:
            kind, more = self.pod_kind(template["spec"]["containers"], environment, meta["namespace"])
            certificate, tls = self.pod_tls(deployment, environment)
            pod = kind(meta["namespace"], name, next(self.pod_addresses), tls, environment.get("SERVICE_NAME") or "",
                       certificate=certificate, **more)
            self.pods.add(pod)
            self.running.append(pod)
        document = {"apiVersion": "v1", "kind": "Pod",
                    "metadata": {"name": name, "namespace": meta["namespace"], "labels": dict(template["metadata"]["labels"])},
                    "spec": {"nodeName": "node", "containers": [{"name": container["name"], "image": container["image"]}]},
                    "status": {"phase": "Running", "podIP": pod.address, "podIPs": [{"ip": pod.address}],
                               "conditions": [{"type": "Ready", "status": "True"}]}}
        self.objects[key(document)] = document
        self.files.setdefault(file, []).append(key(document))
        document["_pod"] = pod

    def pod_kind(self, containers, environment, namespace):
        """What plays a pod's containers, and what else it needs."""
        container = containers[0]
        if "/lwepp:" in container["image"]:
            from pickers import PickerPod
            arguments = container["args"]
            pool = arguments[arguments.index("--pool-name") + 1]
            return PickerPod, {"pool": lambda: self.pool_endpoints(namespace, pool)}
        if container["image"].split("/")[-1].startswith("coredns"):
            return DNSPod, {"port": bindable(53)}
        for mode, kind in (("GRPC_ECHO_SERVER", GRPCPod), ("TCP_ECHO_SERVER", TCPPod), ("UDP_ECHO_SERVER", UDPPod)):
            if environment.get(mode):
                return kind, {}
        more = [e["value"] for c in containers[1:] for e in c.get("env", []) if e["name"] == "HTTP_PORT"]
        return Pod, {"more_ports": [int(port) for port in more]} if more else {}

    def pool_endpoints(self, namespace, name):
        """The endpoints of an InferencePool, as `ip:port`."""
        spec = self.objects[("InferencePool", namespace, name)]["spec"]
        pods = self.pods_of(namespace, spec["selector"]["matchLabels"])
        return [f"{pod['status']['podIP']}:{port['number']}" for pod in pods for port in spec["targetPorts"]]

    def pod_tls(self, deployment, environment):
        """The certificate and the TLS context of a pod that has TLS_SERVER_CERT, from the Secret of its volume."""
        if "TLS_SERVER_CERT" not in environment:
            return None, None
        namespace, spec = deployment["metadata"]["namespace"], deployment["spec"]["template"]["spec"]
        secret = next(v["secret"]["secretName"] for v in spec["volumes"] if "secret" in v)
        client_ca = None
        if "TLS_CLIENT_CACERTS" in environment:
            config = next(v["configMap"]["name"] for v in spec["volumes"] if "configMap" in v)
            client_ca = self.certificates.authorities[f"{namespace}/{config}"].pem
        certificate = self.certificates.secrets[f"{namespace}/{secret}"]
        return certificate, certificate.server_context(client_ca)

    def pods_of(self, namespace, selector):
        return [o for (kind, ns, _), o in self.objects.items() if kind == "Pod" and ns == namespace
                and selector.items() <= o["metadata"]["labels"].items()]

    def slices(self, file):
        """One EndpointSlice for each Service with a selector, as the endpoint controller makes it."""
        for k in list(self.objects):
            service = self.objects[k]
            selector = service["spec"].get("selector") if service["kind"] == "Service" else None
            if not selector:
                continue
            namespace, name = k[1], k[2]
            document = {
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                "metadata": {"name": name + "-x7k2p", "namespace": namespace,
                             "labels": {"kubernetes.io/service-name": name,
                                        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}},
                "endpoints": [self.endpoint(p) for p in self.pods_of(namespace, selector)],
                "ports": [{"name": p.get("name", ""), "protocol": p.get("protocol", "TCP"),
                           "port": bindable(p.get("targetPort", p["port"])),
                           **({"appProtocol": p["appProtocol"]} if "appProtocol" in p else {})}
                          for p in service["spec"]["ports"]]}
            if key(document) not in self.objects:
                self.files.setdefault(file, []).append(key(document))
            self.objects[key(document)] = document

    def endpoint(self, pod):
        return {"addresses": [pod["status"]["podIP"]], "nodeName": "node",
                "conditions": {"ready": True, "serving": True, "terminating": False},
                "targetRef": {"kind": "Pod", "name": pod["metadata"]["name"], "namespace": pod["metadata"]["namespace"]}}

    # -- files
    def write(self, files=None):
        os.makedirs(self.folder, exist_ok=True)
        for name in files or self.files:
            rows = [{k: v for k, v in self.objects[o].items() if k != "_pod"} for o in self.files[name] if o in self.objects]
            temporary = os.path.join(self.folder, "." + name + ".new")
            with open(temporary, "w") as file:
                file.write(documents.dump(rows))
            os.rename(temporary, os.path.join(self.folder, name))

    def file_of(self, k):
        return next(name for name, keys in self.files.items() if k in keys)

    # -- steps
    def change(self, step):
        """Carries out one step of a case; only the file that holds the object is written anew."""
        names = step["name"] if isinstance(step["name"], list) else [step["name"]]
        touched = set()
        for name in names:
            namespace, _, short = name.rpartition("/")
            k = (step["kind"], namespace, short)
            if step["op"] == "create":
                touched.add(self.create(step, k))
                continue
            if k not in self.objects:                              # cluster-scoped, or applied without a namespace
                k = next(o for o in self.objects if o[0] == step["kind"] and o[2] == short)
            touched.add(self.file_of(k))
            if step["op"] == "delete":
                del self.objects[k]
            else:
                self.patch(k, step["patch"])
                if k[0] == "Service":
                    self.slices(self.file_of(k))
        self.write(touched)

    def create(self, step, k):
        api = {"ConfigMap": "v1", "TCPRoute": "gateway.networking.k8s.io/v1alpha2", "UDPRoute": "gateway.networking.k8s.io/v1alpha2"}[k[0]]
        document = {"apiVersion": api, "kind": k[0], "metadata": {"name": k[2], "namespace": k[1]}}
        if "spec" in step:
            document["spec"] = step["spec"]
        if "data" in step:
            source = re.search(r"copied from (\S+)", step["data"]).group(1)
            document["data"] = {"ca.crt": self.certificates.authorities[source].pem.decode()}
        self.add("created.yaml", [document])
        return "created.yaml"

    def patch(self, k, patch):
        document, value = self.objects[k], patch.get("value")
        before = copy.deepcopy(document.get("spec"))
        if k[0] == "EndpointSlice":
            family = document["addressType"]
            pods = self.pods_of(k[1], {"app": "infra-backend-v1"}) if family == "IPv4" else []
            if pods:
                document["endpoints"] = [self.endpoint(p) for p in pods]
            return
        steps = re.findall(r'[A-Za-z]+|\["([^"]+)"\]|\[(\d+|\+)\]', patch["path"])
        path = [m.group(0) if m.group(0)[0] != "[" else (m.group(1) or m.group(2))
                for m in re.finditer(r'[A-Za-z]+|\["([^"]+)"\]|\[(\d+|\+)\]', patch["path"])]
        if value == "original value":
            value = self.original[k]
            for step in path:
                value = value[step]
        elif value == "the original CA again":
            value = self.original[k]["data"]["ca.crt"]
        holder = document
        for step in path[:-1]:
            holder = holder[int(step) if step.isdigit() else step]
        last = path[-1]
        if last == "+":
            holder.append(value)
        elif "keepOnly" in patch:
            holder[last] = [i for i in holder[last] if i["name"] in patch["keepOnly"]]
        elif "remove" in patch:
            index = 0 if patch["remove"].startswith("index 0") else next(
                i for i, a in enumerate(holder[last]) if a.get("value") == UNUSABLE)
            del holder[last][index]
        else:
            holder[last] = value
        if before != document.get("spec"):
            document["metadata"]["generation"] += 1

    def close(self):
        self.pods.remove(self.running)
        self.running = []


def certificate_pem(document, entry):
    return base64.b64decode(document["data"][entry])
