"""The table: on the terminal, and as docs/benchmarks.md."""

import datetime
import os
import pathlib
import platform
import re
import statistics
import subprocess

PROFILE = pathlib.Path(__file__).resolve().parent / "profile.md"
METHOD = """\
`bench/run` measures both proxies in one go on the same Envoy bootstrap files (`bench/bootstraps.py`), one after the other,
one worker each, pinned to core {proxy}; the load and the upstream (1 KiB answers) share core {load}. Two-hop scenarios run both
sidecars on core {proxy}. A figure is the median of {runs} runs of {seconds} s, smallest and largest behind it. Lower is better, except
what is counted a second.

* **Target**: what Meltemi's figure is to be of Envoy's, at most, or at least where more is better; with a unit, Meltemi's
  figure itself, whatever Envoy's is.
* **CPU a request**: user and system time of the proxy processes (`/proc/PID/stat`, 10 ms ticks) by the requests served;
  for two hops the sum of both. It stays a fair figure where core {load} limits the requests a second.
* **At 1,000/s**: open loop; latency counts from the moment a request was due, so a stall cannot hide the requests behind it.
* **At 70 % of Envoy's most**: Envoy's requests a second under 64 connections are measured first, in the same run; then both
  proxies are offered seven tenths of that, open loop.
* **Istio-like**: mutual TLS with HTTP/2 between the sidecars; filter chains as istiod writes them (100 virtual hosts and 100
  routes outbound, authorization with ten rules inbound, gRPC statistics, fault, CORS, access log, retries, outlier detection)
  less the extensions that only Istio's own build of Envoy has: a real Istio sidecar costs more than the Envoy here.
* **gRPC**: unary calls with 128 bytes that bring 1 KiB, HTTP/2 on all three legs, 64 under way on 8 connections.
* **TCP**: 0.5 GB (10⁹ bytes) through one connection for each second of a run; `tcp_proxy` in both hops, mutual TLS between them.
* **New connections**: eight clients connect, make a full TLS 1.3 handshake (X25519, certificates of P-256 on both sides, no
  ticket used), one GET, and close; all of it is counted, as connections by the proxy's CPU seconds.
* **Idle connections**: growth of the resident memory by 5,000 connections that have made one request each and stay open, from
  a proxy that has served 64 before; both once the process rests, for three seconds. KB are 1,024 bytes. All must still be open at the end.
* **Idle sidecar**: bookinfo's services, subsets and inbound chain; memory once the process rests.
* **10,000 clusters**: each of one endpoint, with a virtual host and a route; memory once the process rests.
* **Start to ready**: from the start of the process to the first request answered through it.
"""


class Row:
    """One figure of both proxies: lists of values, or the reason why there are none.

    `target` is what Meltemi's figure is to be of Envoy's: at most, or at least where `more_is_better`; `limit`
    takes its place where the aim is a figure of its own, in the row's unit."""

    def __init__(self, scenario, figure, unit, digits=1, more_is_better=False, compared=True, target=1.0, limit=None):
        self.scenario, self.figure, self.unit = scenario, figure, unit
        self.digits, self.more_is_better, self.compared = digits, more_is_better, compared
        self.target, self.limit = target, limit
        self.values = {}

    def median(self, proxy):
        values = self.values.get(proxy)
        return statistics.median(values) if isinstance(values, list) and values else None

    def text(self, proxy):
        values = self.values.get(proxy)
        if isinstance(values, str):
            return "failed"
        if not values:
            return "-"
        show = lambda value: f"{value:,.{self.digits}f}"
        spread = f" ({show(min(values))}..{show(max(values))})" if len(values) > 1 else ""
        return f"{show(self.median(proxy))}{spread}"

    def ratio(self):
        ours, theirs = self.median("meltemi"), self.median("envoy")
        return ours / theirs if self.compared and ours is not None and theirs else None

    def goal(self):
        if self.limit is not None:
            return f"{self.limit:,} {self.unit}"
        return f"{self.target:.2f}" if self.compared else "-"

    def reached(self):
        """Whether the target is; `None` where there is nothing to tell it by."""
        if isinstance(self.values.get("meltemi"), str):
            return False
        figure, aim = (self.ratio(), self.target) if self.limit is None else (self.median("meltemi"), self.limit)
        if figure is None:
            return None
        return figure >= aim if self.more_is_better else figure <= aim


VERDICT = {True: "reached", False: "**missed**", None: "-"}


def table(rows):
    lines = ["| | figure | Envoy | Meltemi | ratio | target | |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        ratio = row.ratio()
        ratio = f"{ratio:.2f}" if ratio is not None else "-"
        cells = [row.scenario, f"{row.figure}, {row.unit}", row.text("envoy"), row.text("meltemi"), ratio]
        lines.append(f"| {' | '.join([*cells, row.goal(), VERDICT[row.reached()]])} |")
    return "\n".join(lines)


def shortcomings(rows):
    lines = []
    for row in rows:
        reason = row.values.get("meltemi")
        if isinstance(reason, str):
            lines.append(f"* {row.scenario}, {row.figure}: no figure: {reason}")
        elif row.reached() is False:
            figure = f"{row.text('meltemi')} {row.unit}" if row.limit is not None else f"{row.ratio():.2f} times Envoy's"
            lines.append(f"* {row.scenario}, {row.figure}: {figure}; target {row.goal()}")
    return "\n".join(lines) or "In no row of this run."


def machine():
    with open("/proc/cpuinfo") as info:
        model = re.search(r"model name\s*: (.*)", info.read())
    with open("/proc/meminfo") as info:
        memory = int(re.search(r"MemTotal:\s+(\d+)", info.read())[1]) / (1 << 20)
    model = model[1].strip() if model else platform.machine()
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release().split('-')[0]}"


def version(command):
    out = subprocess.run(command, capture_output=True, text=True)
    words = re.search(r"\d+\.\d+\.\d+[^/\s]*", out.stdout + out.stderr)
    return words[0] if words else "unknown"


def page(rows, runs, seconds, proxy_core, load_core, versions):
    method = METHOD.format(runs=runs, seconds=seconds, proxy=proxy_core, load=load_core)
    about = ", ".join(f"{name} {number}" for name, number in versions.items())
    return f"""# Benchmarks

Written by `bench/run`; run it to get the same table for your machine.

Measured {datetime.date.today():%d %B %Y} on {machine()}; {about}.

{table(rows)}

## Where Meltemi falls short

{shortcomings(rows)}

{PROFILE.read_text()}
## Method

{method}"""
