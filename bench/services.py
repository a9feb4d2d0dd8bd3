"""A directory of mesh-internal services, one file an object, and changes of it."""

import os
import re

SERVICE = """\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  hosts: [{host}]
  location: MESH_INTERNAL
  resolution: STATIC
  addresses: [{address}]
  ports:
  - {{number: 8080, name: http, protocol: HTTP}}
  - {{number: 9090, name: grpc, protocol: GRPC}}
  endpoints:
"""
ROUTES = """\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  hosts: [{host}]
  http:
  - match: [{{headers: {{x-canary: {{exact: "1"}}}}}}]
    route: [{{destination: {{host: {host}, subset: v2}}}}]
  - route:
    - {{destination: {{host: {host}, subset: v1}}, weight: 90}}
    - {{destination: {{host: {host}, subset: v2}}, weight: 10}}
"""
SUBSETS = """\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  host: {host}
  subsets: [{{name: v1, labels: {{version: v1}}}}, {{name: v2, labels: {{version: v2}}}}]
"""
SIDECAR = """\
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: default, namespace: {namespace}}}
spec: {{egress: [{{hosts: ["./*"]}}]}}
"""


def member(address, service, version):
    return f"  - {{address: {address}, labels: {{app: {service}, version: {version}}}}}\n"


def write(directory, count, endpoints, namespaces, scoped):
    """`count` services of `endpoints` endpoints; every fifth has routes by weight to two subsets. With `scoped` a
    namespace's proxies see that namespace alone."""
    directory.mkdir(parents=True)
    for index in range(count):
        name, namespace = f"svc-{index}", f"ns-{index % namespaces}"
        about = {"name": name, "namespace": namespace, "host": f"{name}.{namespace}.svc.mesh.test"}
        address = f"240.{240 + (index >> 16)}.{index >> 8 & 255}.{index & 255}"
        text = SERVICE.format(address=address, **about)
        for k in range(endpoints):
            text += member(f"10.{200 + (index >> 12)}.{index >> 4 & 255}.{(index & 15) * 16 + k}", name, f"v{k % 2 + 1}")
        (directory / f"{name}.yaml").write_text(text)
        if index % 5 == 0:
            (directory / f"{name}-routes.yaml").write_text(ROUTES.format(**about))
            (directory / f"{name}-subsets.yaml").write_text(SUBSETS.format(**about))
    for index in range(namespaces if scoped else 0):
        (directory / f"sidecar-{index}.yaml").write_text(SIDECAR.format(namespace=f"ns-{index}"))


def replace(path, text):
    """As editors and controllers do: readers see the old file or the new one."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(text)
    os.rename(new, path)


def weight(directory, count):
    """Moves a little of a service's traffic."""
    path = directory / "svc-0-routes.yaml"
    weights = iter((80 - count, 20 + count))
    replace(path, re.sub(r"weight: \d+", lambda _: f"weight: {next(weights)}", path.read_text()))


def endpoint(directory, count):
    """Adds an endpoint to a service."""
    path = directory / "svc-7.yaml"
    replace(path, path.read_text() + member(f"10.250.0.{count}", "svc-7", "v1"))
