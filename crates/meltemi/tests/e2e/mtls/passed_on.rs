//! AUTO_PASSTHROUGH: mutual TLS from sidecar to sidecar, through a gateway that has no part in it.

use super::becomes;
use crate::world::World;

/// A gateway, and a service without sidecars.
const GATEWAY: &str = "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: east-west}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 15443, name: tls, protocol: TLS}
    hosts: ['*.default.svc.cluster.local']
    tls: {mode: AUTO_PASSTHROUGH}
---
apiVersion: v1
kind: Service
metadata: {name: plain}
spec: {selector: {app: outsider}, ports: [{name: http, port: 8000}]}
";

/// A host that is reached through the gateway, by the name of a service.
fn behind(gateway: &str, host: &str, service: &str) -> String {
    format!(
        "---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {service}-behind}}
spec:
  hosts: [{host}]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 8000, name: http, protocol: HTTP}}]
  endpoints: [{{address: {gateway}, ports: {{http: 15443}}}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {service}-behind}}
spec:
  host: {host}
  trafficPolicy: {{tls: {{mode: ISTIO_MUTUAL, sni: outbound_.8000_._.{service}.default.svc.cluster.local}}}}
"
    )
}

pub fn a_gateway_passes_mutual_tls_on_by_its_sni(world: &World) {
    world.reset();
    let gateway = world.mesh.ip("istio-ingressgateway");
    let hosts = [
        ("far.test", "httpbin"),
        ("plain.test", "plain"),
        ("nobody.test", "nobody"),
    ];
    let hosts = hosts.map(|(host, service)| behind(&gateway, host, service));
    let applied = world
        .mesh
        .apply_text(&format!("{GATEWAY}{}", hosts.concat()));
    applied.expect_success("apply");
    world.mesh.settled();
    let ask = |host: &str, path: &str| {
        let url = format!("http://{host}:8000{path}");
        world.tool("client", &["http", &url]).stdout
    };
    // The service's sidecar met the client's certificate.
    becomes(
        "a call through the gateway",
        || ask("far.test", "/headers"),
        |said| said.starts_with("200 ") && said.contains("URI=spiffe://cluster.local/ns/default/"),
    );
    // Nobody is led to where no sidecar asks for a certificate, or to what is no service.
    for host in ["plain.test", "nobody.test"] {
        let said = ask(host, "/");
        assert!(said.starts_with("503 "), "{host}: {said}");
    }
    world.reset();
}
