"""The control plane's table, on the terminal and as a section of docs/benchmarks.md."""

import datetime

import report

HEADING = "## Control plane: push"

# istiod (commit 86c9f01fd735, August 2026), its request limit lifted and its push throttle at 100, as a plain process
# against a real Kubernetes 1.34 API server, asked by proxies that do what ours do, on the same kind of machine.
ISTIOD = {
    "all-50": {
        "connect_cpu": 0.41, "connect_mb_sent": 347, "connect_s": 13.4, "resident_mb": 469, "highest_mb": 737,
        "weight_cpu": 2.65, "weight_mb": 67, "weight_p99_ms": 1800, "endpoint_cpu": 0.06, "endpoint_p99_ms": 248,
        "idle_mb": 191, "start": 2.0,
    },
    "all-200": {
        "connect_cpu": 0.45, "connect_mb_sent": 1387, "connect_s": 58.7, "resident_mb": 959, "highest_mb": 2044,
        "weight_cpu": 7.0, "weight_mb": 270, "weight_p99_ms": 5400, "endpoint_cpu": 0.15, "endpoint_p99_ms": 348,
        "idle_mb": 191, "start": 2.0,
    },
    "scoped-1000": {
        "connect_cpu": 0.022, "connect_mb_sent": 388, "connect_s": 15.5, "resident_mb": 1848, "highest_mb": 2229,
        "endpoint_cpu": 0.03, "endpoint_p99_ms": 312,
    },
}

# It sends whole route configurations to all.
ISTIOD["envoys-200"] = ISTIOD["all-200"]

FIGURES = [
    ("start", "start to serving, s", 2),
    ("idle_mb", "resident before, MB", 0),
    ("connect_cpu", "connecting: CPU a proxy, s", 4),
    ("connect_s", "connecting: until all have all, s", 1),
    ("connect_mb_sent", "connecting: sent, MB", 0),
    ("resident_mb", "resident then, MB", 0),
    ("highest_mb", "high-water mark, MB", 0),
    ("weight_cpu", "a weight changes: CPU, s", 2),
    ("weight_mb", "a weight changes: sent, MB", 1),
    ("weight_p99_ms", "a weight changes: last of 99 %, ms", 0),
    ("own_weight_us", "a weight changes: CPU of Meltemi's proxy to compile it, µs", 0),
    ("own_worker_us", "a weight changes: CPU of each of its workers, µs", 0),
    ("endpoint_cpu", "an endpoint comes: CPU, s", 2),
    ("endpoint_p99_ms", "an endpoint comes: last of 99 %, ms", 0),
    ("reconnect_cpu", "all reconnect: CPU a proxy, s", 4),
    ("reconnect_mb", "all reconnect: sent, MB", 1),
]

METHOD = """\
Written by `bench/push --write`, {date:%d %B %Y}, on {machine}; load average at the end {load:.1f}. Meltemi was measured in this
run. **istiod was not**: its figures were taken once, on 21 November 2026 on the same kind of machine, with the same work
(`bench/services.py` writes the same objects) and with proxies that asked for the same over delta ADS without TLS. istiod had a
Kubernetes API server beside it that Meltemi does not need; only istiod's own CPU is counted.

CPU is the control plane's user and system time. Latency counts from the moment a file is replaced (with istiod: an object) until
a proxy has received what is new. The proxies run on the same two cores; like Meltemi's own they take virtual hosts one by one (VHDS), but for
*Envoys*, which take whole route configurations. Changes are the median of five. *stuck*: 20 more
proxies ask for everything and never read. *reconnect*: all proxies come back at once and tell the versions they have."""


LIMITS = """\
What a change costs beside its push grows with the configuration, as all of it is gone through once: the files' objects are put
together, a World is built of them and compared with the one before. Memory is the objects, the World, and what views hold of it."""


def title(name, scenarios):
    count, endpoints, proxies, scoped, stuck, whole_routes = scenarios[name]
    kind = "Envoys" if whole_routes else "proxies"
    see = "50 services each" if scoped else "all"
    beside = f", {stuck} stuck beside them" if stuck else ""
    return f"{count:,} services, {count * endpoints:,} endpoints; {proxies:,} {kind} that see {see}{beside}"


def rows(name, results, scenarios):
    figures, theirs = results[name], ISTIOD.get(name, {})
    lines = [f"### {title(name, scenarios)}\n"]
    if isinstance(figures, str):
        return lines + [f"No figures: {figures}\n"]
    lines += ["| | istiod | Meltemi | ratio |", "|---|---|---|---|"]
    for key, figure, digits in FIGURES:
        ours, other = figures.get(key), theirs.get(key)
        if ours is None:
            continue
        ratio = f"{ours / other:.3f}" if other else "-"
        other = f"{other:,.{digits}f}" if other else "-"
        lines.append(f"| {figure} | {other} | {ours:,.{digits}f} | {ratio} |")
    return lines + [""]


def section(results, scenarios, load):
    method = METHOD.format(date=datetime.date.today(), machine=report.machine(), load=load)
    tables = [line for name in results for line in rows(name, results, scenarios)]
    return "\n".join([HEADING, "", method, "", LIMITS, "", *tables])


def split(page):
    """A page's text before the section, the section, and what follows it."""
    before, found, rest = page.partition(HEADING)
    if not found:
        return page.rstrip() + "\n\n", "", ""
    end = rest.find("\n## ")
    inside, after = (rest, "") if end < 0 else (rest[:end], rest[end + 1 :])
    return before, HEADING + inside, after


def write(path, text):
    before, _, after = split(path.read_text())
    path.write_text(before + text.rstrip() + "\n" + ("\n" + after if after else ""))
