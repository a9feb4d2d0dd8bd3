//! Bookinfo with Kubernetes' own routing objects, from Istio's files as they are.

use crate::common::runner::Test;
use crate::routing::reviews;
use crate::tests;
use crate::world::World;
use std::collections::BTreeMap;

pub const TESTS: &[Test<World>] = tests![
    a_gateway_and_routes_of_the_gateway_api,
    an_ingress_opens_the_gateway,
];

/// Jason's reviews are v2's, all others' v1's, as in Istio's task.
const JASON: &str = r#"
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: reviews }
spec:
  parentRefs: [{ group: "", kind: Service, name: reviews, port: 9080 }]
  rules:
  - matches: [{ headers: [{ name: end-user, value: jason }] }]
    backendRefs: [{ name: reviews-v2, port: 9080 }]
  - backendRefs: [{ name: reviews-v1, port: 9080 }]
"#;

/// The configuration without Istio's Gateway; whether Istio's files are here.
fn without_gateway(world: &World) -> bool {
    if !world.stage.join("istio/gateway-api").is_dir() {
        println!("skipped: Istio's files for the Gateway API not found");
        return false;
    }
    world.reset();
    let before = world.mesh.config_version();
    std::fs::remove_file(world.mesh.dir.join("gateway.yaml")).unwrap();
    world.changed_since(&before);
    assert!(
        world.mesh.request("/productpage").send().is_err(),
        "nothing opens the gateway"
    );
    true
}

fn apply(world: &World, files: &[&str]) {
    for file in files {
        world.mesh.apply(&world.stage.join("istio").join(file));
    }
}

fn opens_the_page_alone(world: &World) {
    for path in ["/productpage", "/api/v1/products"] {
        assert_eq!(world.mesh.get(path).status, 200, "{path}");
    }
    for path in ["/", "/ratings/0", "/productpage/1", "/api/v1/products2"] {
        assert_eq!(world.mesh.get(path).status, 404, "{path}");
    }
}

fn a_gateway_and_routes_of_the_gateway_api(world: &World) {
    if !without_gateway(world) {
        return;
    }
    apply(
        world,
        &[
            "platform/kube/bookinfo-versions.yaml",
            "gateway-api/bookinfo-gateway.yaml",
            "gateway-api/route-reviews-90-10.yaml",
        ],
    );
    opens_the_page_alone(world);
    let versions = reviews(world, 200, None);
    let of = |version: &str| versions.get(version).copied().unwrap_or(0);
    assert_eq!(of("reviews-v1") + of("reviews-v2"), 200, "{versions:?}");
    // Five standard deviations around 180.
    assert!((158..200).contains(&of("reviews-v1")), "{versions:?}");

    world.mesh.apply_text(JASON);
    let only = |version: &str| BTreeMap::from([(version.to_owned(), 10)]);
    assert_eq!(reviews(world, 10, Some("jason")), only("reviews-v2"));
    assert_eq!(reviews(world, 10, Some("jane")), only("reviews-v1"));

    let gateway = world
        .mesh
        .cli(&["get", "gtw", "bookinfo-gateway", "-o", "json"]);
    let gateway: serde_json::Value = serde_json::from_str(&gateway.stdout).unwrap();
    let status = &gateway["status"];
    assert_eq!(status["conditions"][1]["type"], "Programmed", "{status:#}");
    assert_eq!(status["conditions"][1]["status"], "True", "{status:#}");
    assert_eq!(status["listeners"][0]["attachedRoutes"], 1, "{status:#}");
    let told = world
        .mesh
        .cli(&["explain", "productpage-v1", "http://reviews:9080/"]);
    let rule = "HTTPRoute default/reviews spec.rules[1]";
    assert!(told.stdout.contains(rule), "{}", told.stdout);
}

fn an_ingress_opens_the_gateway(world: &World) {
    if !without_gateway(world) {
        return;
    }
    apply(world, &["platform/kube/bookinfo-ingress.yaml"]);
    opens_the_page_alone(world);
    world.reset();
}
