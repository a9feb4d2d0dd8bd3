"""Meltemi's own proxy under the control plane that is measured: what a change costs it."""

import json
import os
import time

import bootstraps
from measure import Failed, Process, answers

ADMIN = 15791
READY_LIMIT = 60


def bootstrap(port):
    """A sidecar of namespace ns-0 that takes its configuration by ADS without TLS."""
    metadata = {"NAMESPACE": "ns-0", "CLUSTER_ID": "Kubernetes", "MESH_ID": "cluster.local", "WORKLOAD_NAME": "own"}
    metadata |= {"INSTANCE_IPS": "10.99.0.1", "SERVICE_ACCOUNT": "default", "INTERCEPTION_MODE": "REDIRECT"}
    metadata |= {"MELTEMI_VERSION": "bench", "LABELS": {"app": "own"}}
    service = [{"envoy_grpc": {"cluster_name": "xds-grpc"}}]
    return {
        "node": {"id": "sidecar~10.99.0.1~own.ns-0~ns-0.svc.cluster.local", "cluster": "own.ns-0", "metadata": metadata},
        "admin": {"address": bootstraps.address(ADMIN)},
        "dynamic_resources": {
            "ads_config": {"api_type": "DELTA_GRPC", "transport_api_version": "V3", "grpc_services": service},
            "cds_config": {"ads": {}},
            "lds_config": {"ads": {}},
        },
        "static_resources": {"clusters": [bootstraps.cluster("xds-grpc", port)]},
    }


class OwnProxy(Process):
    """Its threads' CPU time is read in nanoseconds, which `/proc/PID/stat` is too coarse for."""

    def __init__(self, binary, port, home):
        path = home / "own-proxy.json"
        path.write_text(json.dumps(bootstrap(port)))
        super().__init__([binary, "proxy", "-c", str(path), "--concurrency", "2"], None, home / "own-proxy.log")

    def live(self):
        """Waits until it has all of its configuration in force."""
        while not answers(ADMIN, "/ready"):
            if self.child.poll() is not None or time.monotonic() - self.begun > READY_LIMIT:
                raise Failed(f"the proxy is not ready: {self.last_words()}")
            time.sleep(0.05)

    def threads(self):
        """CPU nanoseconds by thread: the one that compiles configuration, and the workers."""
        tasks = f"/proc/{self.child.pid}/task"
        used = {}
        for task in os.listdir(tasks):
            with open(f"{tasks}/{task}/comm") as name, open(f"{tasks}/{task}/schedstat") as schedule:
                used[name.read().strip()] = int(schedule.read().split()[0])
        return used

    def change(self, what):
        """Microseconds that a change costs: the thread that takes configuration, and the busiest worker."""
        time.sleep(1)
        before = self.threads()
        what()
        time.sleep(1)
        used = {name: (after - before.get(name, 0)) / 1e3 for name, after in self.threads().items()}
        return used["meltemi"], max(time for name, time in used.items() if name.startswith("worker"))
