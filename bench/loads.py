"""The load generators: each run brings a dictionary of what it did."""

import json
import os
import re
import subprocess
import threading

from measure import LOAD_CORE, Failed, on_core

MESSAGE = 1024  # bytes of a gRPC answer, without its prefix of five
BULK_A_SECOND = 500_000_000  # bytes moved for each second that a run is to take
IDLE_LIMIT = 120  # seconds that opening or checking all idle connections may take


def generator(command, seconds):
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, preexec_fn=lambda: on_core(LOAD_CORE))
    except subprocess.TimeoutExpired:
        raise Failed(f"{command[0]} did not end")
    if run.returncode:
        raise Failed(f"{os.path.basename(command[0])}: {(run.stderr or run.stdout).strip()[-200:]}")
    return run.stdout


def wrk(port, seconds, connections=64):
    """As fast as it goes, over HTTP/1.1: requests, failures, requests a second."""
    out = generator(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", f"http://127.0.0.1:{port}/"], seconds)
    failed = re.findall(r"Non-2xx or 3xx responses: (\d+)|(?:connect|read|write|timeout) (\d+)", out)
    return {
        "requests": int(re.search(r"(\d+) requests in", out)[1]),
        "failed": sum(int(a or b) for a, b in failed),
        "rate": float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1]),
    }


def h2load(port, seconds, connections=16, streams=10, path="/", more=()):
    """As fast as it goes, over HTTP/2 without TLS: requests, failures, requests a second, bytes of bodies."""
    command = ["h2load", "-t1", f"-c{connections}", f"-m{streams}", f"-D{seconds}", *more, f"http://127.0.0.1:{port}{path}"]
    out = generator(command, seconds)
    failed, errored = re.search(r"(\d+) failed, (\d+) errored", out).groups()
    good = int(re.search(r"status codes: (\d+) 2xx", out)[1])
    body = int(re.search(r"\((\d+)\) data", out)[1])
    return {"requests": good, "failed": int(failed) + int(errored), "rate": good / seconds, "body": body}


def grpc(message, port, seconds):
    """Unary calls that send the file `message`, 64 at a time on 8 connections."""
    more = [f"--data={message}", "--header=content-type: application/grpc", "--header=te: trailers"]
    connections, streams = 8, 8
    result = h2load(port, seconds, connections, streams, "/bench.Echo/Unary", more)
    # A call that fails is answered with 200, too, but without a message. Those under way at the end may lack it.
    if result["body"] < (result["requests"] - connections * streams) * (MESSAGE + 5):
        raise Failed(f"{result['requests']} calls brought {result['body']} bytes")
    return result


def counted(port, requests, protocol):
    """So many requests, one after the other on one connection."""
    command = ["h2load", f"--requests={requests}", *(["--h1"] if protocol == "HTTP/1.1" else []), f"http://127.0.0.1:{port}/"]
    out = generator(command, 60)
    if f"{requests} succeeded" not in out or f"status codes: {requests} 2xx" not in out:
        raise Failed(f"not all of {requests} requests succeeded: {out.strip()[-200:]}")


def open_loop(tool, port, seconds, rate):
    """At a constant rate: requests, failures, latency from the time a request was due."""
    command = [tool, "load", "--port", str(port), "--rate", str(rate), "--seconds", str(seconds)]
    return json.loads(generator(command, seconds))


def bulk(tool, direction, port, seconds):
    """Bytes through one TCP connection, `up` or `down`."""
    command = [tool, "bulk", "--port", str(port), "--direction", direction, "--bytes", str(seconds * BULK_A_SECOND)]
    return json.loads(generator(command, 10 * seconds))


def handshakes(tool, certs, port, seconds):
    """New connections with mutual TLS, a request each, eight at a time."""
    command = [tool, "handshakes", "--port", str(port), "--certificates", certs, "--seconds", str(seconds)]
    return json.loads(generator(command, seconds))


class Idle:
    """Connections that have made a request each and stay open as long as the `with` block."""

    def __init__(self, tool, port, connections, certs=None):
        self.command = [tool, "idle", "--port", str(port), "--connections", str(connections)]
        self.command += ["--certificates", certs] if certs else []
        self.connections = connections

    def __enter__(self):
        pipe = subprocess.PIPE
        pin = lambda: on_core(LOAD_CORE)
        self.child = subprocess.Popen(self.command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, preexec_fn=pin)
        self.all_open("were opened")
        return self

    def __exit__(self, *_):
        self.child.kill()
        self.child.wait()
        for pipe in (self.child.stdin, self.child.stdout, self.child.stderr):
            pipe.close()

    def close(self):
        """Ends them, once it is sure that none was closed before."""
        self.child.stdin.close()
        self.all_open("were left open")

    def all_open(self, what):
        late = threading.Timer(IDLE_LIMIT, self.child.kill)
        late.start()
        line = self.child.stdout.readline()
        late.cancel()
        if not line:
            raise Failed(f"idle connections: {self.child.stderr.read().strip()[-200:] or f'nothing after {IDLE_LIMIT} s'}")
        count = json.loads(line)["open"]
        if count != self.connections:
            raise Failed(f"{count} of {self.connections} connections {what}")
