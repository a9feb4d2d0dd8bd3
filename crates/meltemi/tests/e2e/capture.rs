//! What of a pod's traffic goes through its sidecar, and what does not.

use crate::common::runner::Test;
use crate::common::wait::until;
use crate::stage::is_root;
use crate::tests;
use crate::world::{EFFECT, World};

pub const TESTS: &[Test<World>] = tests![
    plain_tcp_goes_through_the_mesh,
    an_excluded_outbound_port_bypasses_the_sidecar,
    an_excluded_inbound_port_bypasses_the_sidecar,
    a_pod_that_asks_for_the_proxys_user_id_passes_it_by,
    the_proxys_user_id_taken_unasked_opens_no_way_past_it,
];

const STRICT: &str = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: { name: default }\nspec: { mtls: { mode: STRICT } }\n";

const ANSWERED: &str = "answered HTTP/1.1 200";

/// A deployment with an annotation on its pods.
fn deployment(name: &str, image: &str, annotation: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: {name} }}\nspec:\n  selector: {{ matchLabels: {{ app: {name} }} }}\n  template:\n    metadata: {{ labels: {{ app: {name} }}, annotations: {{ {annotation} }} }}\n    spec: {{ containers: [{{ name: c, image: {image} }}] }}\n---\n"
    )
}

fn plain_tcp_goes_through_the_mesh(world: &World) {
    world.reset();
    let service = "apiVersion: v1\nkind: Service\nmetadata: { name: tcp-echo }\nspec: { selector: { app: tcp-echo }, ports: [{ name: tcp, port: 9000 }] }\n---\n";
    let server = deployment("tcp-echo", "docker.io/istio/tcp-echo-server:1.3", "");
    // Refused without mutual TLS, so what is answered was encrypted.
    world.mesh.apply_text(&format!("{service}{server}{STRICT}"));
    until("the echo", EFFECT, || {
        let output = world.tool("client", &["tcp", "tcp-echo:9000", "over the mesh"]);
        match output.stdout.contains("over the mesh") {
            true => Ok(()),
            false => Err(output.to_string()),
        }
    });
    let address = format!("{}:9000", world.mesh.ip("tcp-echo"));
    let output = world.tool("outsider", &["tcp", &address, "from outside"]);
    assert!(!output.stdout.contains("from outside"), "{output}");
}

fn an_excluded_outbound_port_bypasses_the_sidecar(world: &World) {
    world.reset();
    let annotation = "traffic.sidecar.istio.io/excludeOutboundPorts: \"8080\"";
    let registry_only = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: istio, namespace: istio-system }\ndata:\n  mesh: |\n    outboundTrafficPolicy: { mode: REGISTRY_ONLY }\n";
    world
        .mesh
        .apply_text(&(deployment("bypass", "curlimages/curl", annotation) + registry_only));
    world.mesh.settled();
    // A pod's own address is no service: sidecars let nothing pass there now.
    let address = format!("{}:8080", world.mesh.ip("httpbin"));
    let through = |workload: &str| world.tool(workload, &["plaintext", &address]).stdout;
    assert!(
        !through("client").starts_with(ANSWERED),
        "{}",
        through("client")
    );
    assert!(
        through("bypass").starts_with(ANSWERED),
        "{}",
        through("bypass")
    );
    // Other ports are captured as ever.
    let output = world.tool("bypass", &["http", "http://details:9080/health"]);
    assert!(output.stdout.starts_with("200"), "{output}");
}

fn an_excluded_inbound_port_bypasses_the_sidecar(world: &World) {
    world.reset();
    let annotation = "traffic.sidecar.istio.io/excludeInboundPorts: \"8080\"";
    let image = "docker.io/mccutchen/go-httpbin:v2.15.0";
    world
        .mesh
        .apply_text(&(deployment("open-door", image, annotation) + STRICT));
    world.mesh.settled();
    let address = format!("{}:8080", world.mesh.ip("open-door"));
    let output = world.tool("outsider", &["plaintext", &address]);
    assert!(
        output.stdout.starts_with("answered HTTP/1.1 200"),
        "{output}"
    );
    world.reset();
}

/// As init containers do in Istio. Rootless, the id is but the process's own view of itself.
fn a_pod_that_asks_for_the_proxys_user_id_passes_it_by(world: &World) {
    if !is_root() {
        return;
    }
    world.reset();
    let beside = deployment("beside", "curlimages/curl", "").replace(
        "spec: { containers",
        "spec: { securityContext: { runAsUser: 1337, runAsGroup: 1337 }, containers",
    );
    world.mesh.apply_text(&(beside + STRICT));
    world.mesh.settled();
    let id = world.mesh.exec("beside", &["id", "-u"]);
    assert_eq!(id.stdout.trim(), "1337", "{id}");
    // Plaintext, which the other end refuses.
    let address = format!("{}:8080", world.mesh.ip("httpbin"));
    let output = world.tool("beside", &["plaintext", &address]);
    assert!(!output.stdout.starts_with(ANSWERED), "{output}");
    let output = world.tool("client", &["http", "http://httpbin:8000/status/200"]);
    assert!(output.stdout.starts_with("200"), "{output}");
    world.reset();
}

fn the_proxys_user_id_taken_unasked_opens_no_way_past_it(world: &World) {
    if !is_root() {
        return;
    }
    world.reset();
    world.mesh.apply_text(STRICT);
    world.mesh.settled();
    let taken = [
        "setpriv",
        "--reuid",
        "1337",
        "--regid",
        "1337",
        "--clear-groups",
    ];
    let tool = world.stage.join("bin/e2e");
    let call = [
        tool.to_str().unwrap(),
        "tool",
        "http",
        "http://httpbin:8000/status/200",
    ];
    // Refused without mutual TLS, so what is answered went through the sidecar.
    until("an encrypted call", EFFECT, || {
        let output = world
            .mesh
            .exec("client", &[taken.as_slice(), &call].concat());
        match output.stdout.starts_with("200") {
            true => Ok(()),
            false => Err(output.to_string()),
        }
    });
    world.reset();
}
