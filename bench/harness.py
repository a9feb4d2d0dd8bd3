"""Runs a proxy, or two in a row, between a load and an upstream, and collects rows of figures."""

import json

import bootstraps
import measure
import tools
from measure import Failed, Process
from report import Row


class Harness:
    """`chosen` are the arguments of `bench/run`; `rows` is what comes of it."""

    def __init__(self, chosen):
        self.chosen = chosen
        self.proxies = [chosen.only] if chosen.only else ["envoy", "meltemi"]
        self.rows = []
        self.log = tools.HOME / "log"
        self.log.mkdir(parents=True, exist_ok=True)
        tools.packages({"wrk": "wrk", "h2load": "nghttp2-client"})
        self.commands = {}
        if "envoy" in self.proxies:
            envoy = tools.envoy(chosen.envoy)
            self.commands["envoy"] = [envoy, "--concurrency", "1", "--use-dynamic-base-id", "-l", "error", "-c"]
        packages = ["meltemi-bench", "meltemi"] if "meltemi" in self.proxies else ["meltemi-bench"]
        self.tool, *meltemi = tools.built(packages)
        if meltemi:
            self.commands["meltemi"] = [meltemi[0], "proxy", "--concurrency", "1", "-c"]
        self.certs = str(tools.HOME / "certs")
        tools.call(self.tool, "certificates", self.certs)

    def proxy(self, name, hop, config):
        measure.require_free(bootstraps.SECOND_HOP if hop == "inbound" else bootstraps.ENTRY)
        path = tools.HOME / f"{hop}.json"
        path.write_text(json.dumps(config, indent=1))
        return Process([*self.commands[name], str(path)], measure.PROXY_CORE, self.log / f"{name}-{hop}.log")

    def upstream(self, kind="upstream"):
        """The upstream of HTTP/1.1, or the `kind` that meltemi-bench has."""
        measure.require_free(bootstraps.UPSTREAM)
        command = [self.tool, kind, "--port", str(bootstraps.UPSTREAM)]
        return Process(command, measure.LOAD_CORE, self.log / f"{kind}.log")

    def row(self, *about, **more):
        self.rows.append(Row(*about, **more))
        return self.rows[-1]

    def each_proxy(self, rows, run):
        """Fills `rows` by `run(name)`, which returns a list of figures for each row."""
        for name in self.proxies:
            print(f"  {name} ...", end=" ", flush=True)
            try:
                figures = run(name)
                for row, values in zip(rows, figures):
                    row.values[name] = values
                print("; ".join(f"{row.figure} {row.text(name)}" for row in rows))
            except Failed as reason:
                for row in rows:
                    row.values[name] = str(reason)
                print(f"failed: {reason}")

    def loaded(self, name, hops, load, upstream="upstream", speaks_http=True):
        """Runs `load(port, seconds)` on the chain of `hops` and returns one result a run, with the CPU seconds
        that the proxies `used` for it."""
        with self.upstream(upstream) as behind:
            behind.listening(bootstraps.UPSTREAM)
            if len(hops) == 2:
                with self.proxy(name, *hops[1]) as second, self.proxy(name, *hops[0]) as first:
                    second.listening(bootstraps.SECOND_HOP)
                    return self.results([first, second], load, speaks_http)
            with self.proxy(name, *hops[0]) as only:
                return self.results([only], load, speaks_http)

    def results(self, proxies, load, speaks_http):
        entry = proxies[0]
        entry.ready(bootstraps.ENTRY) if speaks_http else entry.listening(bootstraps.ENTRY)
        load(bootstraps.ENTRY, 1)
        results = []
        for _ in range(self.chosen.runs):
            before = sum(proxy.cpu() for proxy in proxies)
            result = load(bootstraps.ENTRY, self.chosen.seconds)
            used = sum(proxy.cpu() for proxy in proxies) - before
            if result.get("failed"):
                raise Failed(f"{result['failed']} of {result['requests']} requests failed")
            if result.get("requests") == 0:
                raise Failed("no request was answered")
            results.append({**result, "used": used})
        return results
