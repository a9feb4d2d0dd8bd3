"""What a request costs a proxy in instructions and allocations, counted by valgrind's callgrind.

Callgrind counts what the program executes, so neither another load on the machine nor the clock changes a figure.
It needs no rights and no counters of the CPU, which virtual machines and containers often lack."""

import contextlib
import json
import os
import re

import bootstraps
import loads
import tools
from measure import Failed, Process, require_free

FEW, MANY = 500, 1500  # requests; what is the same in both runs, the start above all, is subtracted
ALLOCATION = re.compile(r"__rust_(alloc|alloc_zeroed|realloc)$|^(malloc|calloc|realloc|aligned_alloc|posix_memalign)$")
FUNCTION = re.compile(r"c?fn=\((\d+)\)(?: (.*))?")
# Copying by `rep movsb` counts as an instruction a byte, and which lengths are copied so differs by machine.
ENVIRONMENT = os.environ | {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-ERMS"}


def counted(path):
    """Instructions and allocations of a file that callgrind has written."""
    names, callee, allocations = {}, None, 0
    with open(path) as lines:
        for line in lines:
            if function := FUNCTION.match(line):
                number, name = function.groups()
                callee = names.setdefault(number, (name or "").strip())
            elif line.startswith("calls=") and ALLOCATION.search(callee):
                allocations += int(line[len("calls=") :].split()[0])
            elif line.startswith("totals:"):
                return int(line.split()[1]), allocations
    raise Failed(f"{path} has no total: the proxy did not end by itself")


def run(tool, proxy, hops, protocol, requests):
    """Sends `requests` through the chain of `hops` (name, port, bootstrap; the entry last) and returns what each hop did,
    by name."""
    files = {}
    with contextlib.ExitStack() as running:

        def start(name, command, port, environment=None):
            require_free(port)
            log = tools.HOME / "log" / f"budget-{name}.log"
            process = running.enter_context(Process(command, None, log, environment))
            process.listening(port)
            return process

        start("upstream", [tool, "upstream", "--port", str(bootstraps.UPSTREAM)], bootstraps.UPSTREAM)
        for name, port, config in hops:
            config_path = tools.HOME / f"budget-{name}.json"
            config_path.write_text(json.dumps(config))
            files[name] = tools.HOME / f"callgrind-{name}.out"
            files[name].unlink(missing_ok=True)
            command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={files[name]}"]
            command += [proxy, "proxy", "--concurrency", "1", "--drain-time", "0", "-c", str(config_path)]
            entry = start(name, command, port, ENVIRONMENT)
        entry.ready(bootstraps.ENTRY)
        loads.counted(bootstraps.ENTRY, requests, protocol)
    return {name: counted(path) for name, path in files.items()}


def a_request(tool, proxy, hops, protocol):
    """Instructions and allocations that one request costs each hop, by name."""
    few, many = (run(tool, proxy, hops, protocol, requests) for requests in (FEW, MANY))
    each = lambda name, what: max(0, many[name][what] - few[name][what]) / (MANY - FEW)
    return {name: {"instructions": each(name, 0), "allocations": each(name, 1)} for name in few}
