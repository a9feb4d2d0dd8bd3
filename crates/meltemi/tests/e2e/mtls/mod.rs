//! Who gets in: PERMISSIVE, STRICT, a client without a certificate, one of a foreign CA.

pub mod foreign;
mod passed_on;

use crate::common::runner::Test;
use crate::common::wait::until;
use crate::tests;
use crate::world::{EFFECT, World};
use passed_on::a_gateway_passes_mutual_tls_on_by_its_sni;

pub const TESTS: &[Test<World>] = tests![
    traffic_between_sidecars_is_mutual_tls,
    permissive_takes_plaintext_but_no_foreign_certificate,
    strict_refuses_plaintext_and_foreign_certificates,
    one_port_can_be_exempt,
    one_workload_can_be_strict,
    disable_means_plaintext,
    a_gateway_passes_mutual_tls_on_by_its_sni,
];

fn policy(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{ name: {name} }}\nspec: {spec}\n"
    )
}

/// What `address` makes of the client without a sidecar.
fn plaintext(world: &World, pod: &str, port: u16) -> String {
    let address = format!("{}:{port}", world.mesh.ip(pod));
    let output = world.tool("outsider", &["plaintext", &address]);
    output.expect_success("the tool").stdout.trim().to_owned()
}

fn foreign_certificate(world: &World, pod: &str) -> String {
    let address = format!("{}:9080", world.mesh.ip(pod));
    let output = world.tool("outsider", &["foreign", &address]);
    output.expect_success("the tool").stdout.trim().to_owned()
}

fn becomes(what: &str, mut look: impl FnMut() -> String, wanted: fn(&str) -> bool) {
    until(what, EFFECT, || {
        let found = look();
        if wanted(&found) { Ok(()) } else { Err(found) }
    });
}

fn answered(text: &str) -> bool {
    text.starts_with("answered HTTP/1.1 200")
}

fn refused(text: &str) -> bool {
    text == "closed" || text == "reset"
}

fn traffic_between_sidecars_is_mutual_tls(world: &World) {
    world.reset();
    let output = world.tool("client", &["http", "http://httpbin:8000/headers"]);
    let output = output.expect_success("httpbin");
    for part in [
        "200 ",
        "X-Forwarded-Client-Cert",
        "URI=spiffe://cluster.local/ns/default/sa/default",
    ] {
        assert!(
            output.stdout.contains(part),
            "{part:?} is missing: {output}"
        );
    }
}

fn permissive_takes_plaintext_but_no_foreign_certificate(world: &World) {
    world.reset();
    becomes(
        "plaintext",
        || plaintext(world, "reviews-v1", 9080),
        answered,
    );
    let foreign = foreign_certificate(world, "reviews-v1");
    assert!(foreign.starts_with("refused"), "{foreign}");
}

fn strict_refuses_plaintext_and_foreign_certificates(world: &World) {
    world.reset();
    world
        .mesh
        .apply_text(&policy("default", "{ mtls: { mode: STRICT } }"));
    becomes(
        "plaintext",
        || plaintext(world, "reviews-v1", 9080),
        refused,
    );
    assert!(refused(&plaintext(world, "httpbin", 8080)));
    let foreign = foreign_certificate(world, "reviews-v1");
    assert!(foreign.starts_with("refused"), "{foreign}");
    // Those who belong here are served, and probed.
    assert_eq!(world.mesh.get("/productpage").status, 200);
    world.mesh.settled();
    assert_eq!(world.mesh.workload("reviews-v1")["mtls"], "STRICT");
}

fn one_port_can_be_exempt(world: &World) {
    world.reset();
    world.mesh.apply_text(&policy(
        "details",
        "{ selector: { matchLabels: { app: details } }, mtls: { mode: STRICT }, portLevelMtls: { 9080: { mode: DISABLE } } }",
    ));
    becomes(
        "plaintext",
        || plaintext(world, "details-v1", 9080),
        answered,
    );
    assert_eq!(world.mesh.get("/api/v1/products/0").status, 200);
}

fn one_workload_can_be_strict(world: &World) {
    world.reset();
    world.mesh.apply_text(&policy(
        "details",
        "{ selector: { matchLabels: { app: details } }, mtls: { mode: STRICT } }",
    ));
    becomes(
        "plaintext to details",
        || plaintext(world, "details-v1", 9080),
        refused,
    );
    assert!(answered(&plaintext(world, "reviews-v1", 9080)));
    assert_eq!(world.mesh.get("/api/v1/products/0").status, 200);
}

fn disable_means_plaintext(world: &World) {
    world.reset();
    world
        .mesh
        .apply_text(&policy("default", "{ mtls: { mode: DISABLE } }"));
    until("plaintext within the mesh", EFFECT, || {
        let output = world.tool("client", &["http", "http://httpbin:8000/headers"]);
        let plain = output.code == 0
            && output.stdout.starts_with("200")
            && !output.stdout.contains("URI=spiffe");
        if plain {
            Ok(())
        } else {
            Err(output.to_string())
        }
    });
    world.reset();
}
