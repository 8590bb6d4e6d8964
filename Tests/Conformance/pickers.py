"""Plays the inference suite's test picker: an endpoint picker pod that knows the Pods of its InferencePool."""
import asyncio

from Fixtures.picker import Picker

PORT = 9002


class PoolPicker(Picker):
    """lwepp: of the endpoints that a request names only those of the pool count, an address alone for all its ports."""

    def __init__(self, pool, host):
        self.pool = pool                       # what gives the endpoints, as `ip:port`
        super().__init__([], style="lwepp", host=host, port=PORT, workers=32)

    def choice(self, call):
        endpoints = self.pool()
        asked = [e.strip() for e in (call.get("test-epp-endpoint-selection") or "").split(",") if e.strip()]
        if asked:
            endpoints = [e for e in endpoints if e in asked or e.rpartition(":")[0] in asked]
        if not endpoints:
            return ""
        with self.lock:
            self.turn += 1
            return endpoints[self.turn % len(endpoints)]


class PickerPod:
    """The picker's pod."""

    def __init__(self, namespace, name, address, tls=None, service="", certificate=None, pool=None):
        self.namespace, self.name, self.address, self.pool = namespace, name, address, pool
        self.log = []

    async def start(self):
        self.picker = PoolPicker(self.pool, self.address)

    async def stop(self):
        await asyncio.get_running_loop().run_in_executor(None, self.picker.stop)
