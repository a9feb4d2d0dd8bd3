"""What is measured: a method a scenario, in the order of the page."""

import functools
import shutil
import signal
import statistics
import subprocess
import time

import bootstraps
import loads
import measure
import tools
from harness import Harness
from measure import Failed

CPU = ("CPU a request", "µs")
RATE = ("requests a second", "1/s")
IDLE_CONNECTIONS = 5000
CLUSTERS = 10_000
SHARE = 0.7


def cpu_a_request(result):
    return result["used"] * 1e6 / result["requests"]


def columns(results, *figures):
    """A list for each of `figures`, which are keys of a result or functions of it."""
    return [[result[f] if isinstance(f, str) else f(result) for result in results] for f in figures]


class Bench(Harness):
    # --- kinds of scenarios

    def saturated(self, title, hops, load, target=1.0, upstream="upstream"):
        rows = [self.row(title, *CPU, target=target), self.row(title, *RATE, digits=0, more_is_better=True)]
        self.each_proxy(rows, lambda name: columns(self.loaded(name, hops, load, upstream), cpu_a_request, "rate"))

    def at_rate(self, title, hops, rate, p99_target=1.0):
        rows = [
            self.row(title, *CPU),
            self.row(title, "latency, median", "µs", digits=0),
            self.row(title, "latency, 99th percentile", "µs", digits=0, target=p99_target),
        ]
        load = functools.partial(loads.open_loop, self.tool, rate=rate)
        self.each_proxy(rows, lambda name: columns(self.loaded(name, hops, load), cpu_a_request, "p50_us", "p99_us"))

    def at_share(self, title, hops):
        """At a share of the load that saturates Envoy, which is measured first."""
        if "envoy" not in self.proxies:
            return print("  only beside Envoy, whose most is the measure")
        title += f", at {SHARE:.0%} of Envoy's most".replace("%", " %")
        try:
            (most,) = columns(self.loaded("envoy", hops, loads.wrk), "rate")
        except Failed as reason:
            self.row(title, "latency, 99th percentile", "µs").values["envoy"] = str(reason)
            return print(f"  failed: {reason}")
        rate = int(SHARE * statistics.median(most))
        self.at_rate(f"{title} ({rate:,}/s)", hops, rate, p99_target=0.5)

    def started(self, title, config, resident, ready=None, ready_ratio=1.0):
        rows = [
            self.row(title, "resident memory", "MB", limit=resident),
            self.row(title, "anonymous memory", "MB"),
            self.row(title, "start to ready", "s", digits=3, limit=ready, target=ready_ratio),
        ]

        def run(name):
            results = []
            with self.upstream() as upstream:
                upstream.listening(bootstraps.UPSTREAM)
                for _ in range(self.chosen.runs):
                    with self.proxy(name, "started", config) as proxy:
                        seconds = proxy.ready(bootstraps.ENTRY)
                        results.append((*proxy.memory(), seconds))
            return zip(*results)

        self.each_proxy(rows, lambda name: [list(column) for column in run(name)])

    def idle(self, title, config, limit, certs=None):
        rows = [self.row(title, "resident memory a connection", "KB", limit=limit)]

        def once(name):
            with self.proxy(name, "idle", config) as proxy:
                proxy.listening(bootstraps.ENTRY)
                # What the first connections bring along is not the price of one more.
                with loads.Idle(self.tool, bootstraps.ENTRY, 64, certs) as first:
                    first.close()
                before, _ = proxy.memory()
                with loads.Idle(self.tool, bootstraps.ENTRY, IDLE_CONNECTIONS, certs) as held:
                    after, _ = proxy.memory()
                    held.close()
                return (after - before) * 1024 / IDLE_CONNECTIONS

        def run(name):
            with self.upstream() as upstream:
                upstream.listening(bootstraps.UPSTREAM)
                return [[once(name) for _ in range(self.chosen.runs)]]

        self.each_proxy(rows, run)

    def one_hop(self):
        return [("h1", bootstraps.one_hop())]

    def istio_hops(self, http2=False):
        return [("outbound", bootstraps.outbound_hop(self.certs)), ("inbound", bootstraps.inbound_hop(self.certs, http2))]

    # --- the scenarios

    def h1(self):
        self.saturated("HTTP/1.1, one hop, 64 connections", self.one_hop(), loads.wrk, target=0.4)

    def h1_1000(self):
        self.at_rate("HTTP/1.1, one hop, at 1,000/s", self.one_hop(), 1000)

    def h1_share(self):
        self.at_share("HTTP/1.1, one hop", self.one_hop())

    def h2(self):
        self.saturated("HTTP/2 to HTTP/1.1, one hop, 16 × 10 streams", self.one_hop(), loads.h2load)

    def istiomesh(self):
        self.saturated("two hops, mutual TLS, Istio-like, 64 connections", self.istio_hops(), loads.wrk, target=0.33)

    def istiomesh_1000(self):
        self.at_rate("two hops, mutual TLS, Istio-like, at 1,000/s", self.istio_hops(), 1000)

    def istiomesh_share(self):
        self.at_share("two hops, mutual TLS, Istio-like", self.istio_hops())

    def grpc(self):
        title = "gRPC, two hops, mutual TLS, Istio-like, 8 × 8 streams"
        message = tools.HOME / "grpc-message"
        message.write_bytes(b"\0" + (128).to_bytes(4, "big") + b"x" * 128)
        load = functools.partial(loads.grpc, message)
        self.saturated(title, self.istio_hops(http2=True), load, target=0.4, upstream="grpc-upstream")

    def tcp(self):
        hops = [("outbound", bootstraps.tcp_outbound_hop(self.certs)), ("inbound", bootstraps.tcp_inbound_hop(self.certs))]
        for direction, meaning in (("down", "from the upstream"), ("up", "to the upstream")):
            title = f"TCP, two hops, mutual TLS, one connection, {meaning}"
            rows = [self.row(title, "CPU a GB", "s", digits=2, target=0.8)]
            load = functools.partial(loads.bulk, self.tool, direction)

            def run(name):
                results = self.loaded(name, hops, load, "bulk-upstream", speaks_http=False)
                return columns(results, lambda result: result["used"] * 1e9 / result["bytes"])

            self.each_proxy(rows, run)

    def handshakes(self):
        title = "new connections, mutual TLS, P-256, no resumption"
        rows = [self.row(title, "handshakes a CPU second", "1/s", digits=0, more_is_better=True, target=1.35)]
        hops = [("tls", bootstraps.one_hop(self.certs))]
        load = functools.partial(loads.handshakes, self.tool, self.certs)

        def run(name):
            results = self.loaded(name, hops, load, speaks_http=False)
            return columns(results, lambda result: result["requests"] / result["used"])

        self.each_proxy(rows, run)

    def idle_connections(self):
        title = f"{IDLE_CONNECTIONS:,} idle HTTP/1.1 connections"
        self.idle(title, bootstraps.one_hop(), limit=12)
        self.idle(f"{title}, mutual TLS", bootstraps.one_hop(self.certs), limit=24, certs=self.certs)

    def sidecar(self):
        config = bootstraps.bookinfo_sidecar(self.certs)
        self.started("idle sidecar, bookinfo", config, resident=10, ready_ratio=0.25)

    def clusters(self):
        self.started(f"{CLUSTERS:,} clusters", bootstraps.many_clusters(CLUSTERS), resident=60, ready=1)

    def up(self):
        """The newcomer's figure: from `meltemi up` to the first page through the ingress gateway."""
        if "meltemi" not in self.proxies:
            return print("  Meltemi only")
        row = self.row("`meltemi up`, bookinfo", "first page through the gateway", "s", digits=2, compared=False)
        try:
            row.values["meltemi"] = [self.up_once() for _ in range(self.chosen.runs)]
            print(f"  {row.text('meltemi')}")
        except Failed as reason:
            row.values["meltemi"] = str(reason)
            print(f"  failed: {reason}")

    def up_once(self):
        port = 8080
        measure.require_free(port)
        home = tools.HOME / "up"
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(tools.ROOT / "samples" / "bookinfo", home)
        begun = time.monotonic()
        with open(self.log / "up.log", "w") as log:
            mesh = subprocess.Popen([self.commands["meltemi"][0], "up", str(home)], stdout=log, stderr=log, start_new_session=True)
        try:
            while not measure.answers(port, "/productpage"):
                if mesh.poll() is not None:
                    raise Failed(f"`meltemi up` ended with status {mesh.returncode}, see {self.log}/up.log")
                if time.monotonic() - begun > 120:
                    raise Failed(f"no page after 120 s, see {self.log}/up.log")
                time.sleep(0.01)
            return time.monotonic() - begun
        finally:
            mesh.send_signal(signal.SIGINT)
            try:
                mesh.wait(30)
            except subprocess.TimeoutExpired:
                mesh.kill()
                mesh.wait()
            # The gateway's process may end a moment later.
            measure.becomes_free(port)


SCENARIOS = {
    "h1": Bench.h1,
    "h1-1000": Bench.h1_1000,
    "h1-share": Bench.h1_share,
    "h2": Bench.h2,
    "istiomesh": Bench.istiomesh,
    "istiomesh-1000": Bench.istiomesh_1000,
    "istiomesh-share": Bench.istiomesh_share,
    "grpc": Bench.grpc,
    "tcp": Bench.tcp,
    "handshakes": Bench.handshakes,
    "idle": Bench.idle_connections,
    "sidecar": Bench.sidecar,
    "clusters": Bench.clusters,
    "up": Bench.up,
}
