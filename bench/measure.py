"""Processes on fixed cores, their CPU time and memory."""

import http.client
import os
import re
import resource
import signal
import subprocess
import time

PROXY_CORE, LOAD_CORE = 0, 1
TICKS = os.sysconf("SC_CLK_TCK")
START_LIMIT, END_LIMIT = 60, 20
# A process that gives memory back does so a while after its last work.
QUIET = 3


class Failed(Exception):
    """A run that brought no figure, with its reason."""


def on_core(core):
    """What a child does before it becomes its program: takes its core, and all the descriptors it may have."""
    if core is not None:
        os.sched_setaffinity(0, {core})
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class Process:
    """A child process, pinned unless `core` is `None`; ended at the end of the `with` block."""

    def __init__(self, command, core, log, environment=None):
        self.command, self.core, self.log, self.environment = command, core, log, environment

    def __enter__(self):
        with open(self.log, "w") as log:
            self.begun = time.monotonic()
            self.child = subprocess.Popen(
                self.command,
                stdout=log,
                stderr=log,
                env=self.environment,
                preexec_fn=lambda: on_core(self.core),
                start_new_session=True,
            )
        return self

    def __exit__(self, *_):
        self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(END_LIMIT)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()

    def ready(self, port):
        """Seconds from the start until a request to `port` is answered with 200."""
        while True:
            if self.child.poll() is not None:
                raise Failed(f"ended with status {self.child.returncode}: {self.last_words()}")
            if answers(port, "/"):
                return time.monotonic() - self.begun
            if time.monotonic() - self.begun > START_LIMIT:
                raise Failed(f"not ready after {START_LIMIT} s: {self.last_words()}")
            time.sleep(0.002)

    def listening(self, port):
        """Waits until something accepts on `port`, whatever protocol it speaks."""
        while not accepts(port):
            if self.child.poll() is not None or time.monotonic() - self.begun > START_LIMIT:
                raise Failed(f"does not listen on {port}: {self.last_words()}")
            time.sleep(0.002)

    def last_words(self):
        with open(self.log, errors="replace") as log:
            lines = [line.strip() for line in log if line.strip()]
        return lines[-1][:300] if lines else "it printed nothing"

    def cpu(self):
        """CPU seconds used so far, user and system, all threads."""
        with open(f"/proc/{self.child.pid}/stat") as stat:
            fields = stat.read().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self):
        """Resident and anonymous megabytes once the process has come to rest: QUIET seconds in a row."""
        quiet = 0
        for _ in range(30):
            before = self.cpu()
            time.sleep(1)
            quiet = quiet + 1 if self.cpu() - before < 0.03 else 0
            if quiet == QUIET:
                break
        with open(f"/proc/{self.child.pid}/status") as status:
            text = status.read()
        size = lambda field: int(re.search(field + r":\s+(\d+)", text)[1]) / 1024
        return size("VmRSS"), size("RssAnon")


def accepts(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.connect()
        return True
    except OSError:
        return False
    finally:
        connection.close()


def require_free(port):
    if accepts(port):
        raise Failed(f"port {port} is taken")


def becomes_free(port):
    begun = time.monotonic()
    while accepts(port) and time.monotonic() - begun < END_LIMIT:
        time.sleep(0.01)


def answers(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
