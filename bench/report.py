"""The table: on the terminal, and as docs/benchmarks.md."""

import datetime
import os
import platform
import re
import statistics
import subprocess

METHOD = """\
`bench/run` measures both proxies in one go on the same Envoy bootstrap files (`bench/bootstraps.py`), one after the other,
one worker each, pinned to core {proxy}; the load and the upstream (1 KiB answers) share core {load}. Two-hop scenarios run both
sidecars on core {proxy}. A figure is the median of {runs} runs of {seconds} s, smallest and largest behind it. Lower is better, except
requests a second.

* **CPU a request**: user and system time of the proxy processes (`/proc/PID/stat`, 10 ms ticks) by the requests served;
  for two hops the sum of both. It stays a fair figure where core {load} limits the requests a second.
* **At 1,000/s**: open loop; latency counts from the moment a request was due, so a stall cannot hide the requests behind it.
* **Istio-like**: mutual TLS with HTTP/2 between the sidecars; filter chains as istiod writes them (100 virtual hosts and 100
  routes outbound, authorization with ten rules inbound, gRPC statistics, fault, CORS, access log, retries, outlier detection)
  less the extensions that only Istio's own build of Envoy has: a real Istio sidecar costs more than the Envoy here.
* **Idle sidecar**: bookinfo's services, subsets and inbound chain; memory once the process rests.
* **Start to ready**: from the start of the process to the first request answered through it.
"""


class Row:
    """One figure of both proxies: lists of values, or the reason why there are none."""

    def __init__(self, scenario, figure, unit, digits=1, more_is_better=False, compared=True):
        self.scenario, self.figure, self.unit = scenario, figure, unit
        self.digits, self.more_is_better, self.compared = digits, more_is_better, compared
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
        return ours / theirs if ours is not None and theirs else None

    def falls_short(self):
        if isinstance(self.values.get("meltemi"), str):
            return True
        ratio = self.ratio()
        return self.compared and ratio is not None and (ratio < 1 if self.more_is_better else ratio > 1)


def table(rows):
    lines = ["| | figure | Envoy | Meltemi | ratio |", "|---|---|---|---|---|"]
    for row in rows:
        ratio = row.ratio()
        ratio = f"{ratio:.2f}" if ratio is not None and row.compared else "-"
        figure = f"{row.figure}, {row.unit}"
        lines.append(f"| {row.scenario} | {figure} | {row.text('envoy')} | {row.text('meltemi')} | {ratio} |")
    return "\n".join(lines)


def shortcomings(rows):
    lines = []
    for row in rows:
        reason = row.values.get("meltemi")
        if isinstance(reason, str):
            lines.append(f"* {row.scenario}, {row.figure}: no figure: {reason}")
        elif row.falls_short():
            lines.append(f"* {row.scenario}, {row.figure}: {row.ratio():.2f} times Envoy's")
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

## Method

{method}"""
