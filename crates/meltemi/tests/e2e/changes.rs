//! Configuration that changes while it is used.

use crate::common::load::{Load, is_200};
use crate::common::runner::Test;
use crate::common::wait::until;
use crate::tests;
use crate::world::{EFFECT, World, replace, served_by};
use std::time::{Duration, Instant};

pub const TESTS: &[Test<World>] = tests![
    twenty_changes_under_load_fail_no_request,
    new_subsets_and_routes_to_them_may_come_together,
    pods_come_and_go_under_load,
];

/// Time between two requests of a connection.
const PAUSE: Duration = Duration::from_millis(2);
/// A change is to be in force within a second; a small machine under load gets more.
const SOON: Duration = Duration::from_secs(3);

fn route(version: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{ name: reviews }}\nspec:\n  hosts: [reviews]\n  http:\n  - route: [{{ destination: {{ host: reviews, subset: {version} }} }}]\n"
    )
}

const SUBSETS: &str = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: { name: reviews }\nspec:\n  host: reviews\n  subsets:\n  - { name: v1, labels: { version: v1 } }\n  - { name: v3, labels: { version: v3 } }\n";

fn twenty_changes_under_load_fail_no_request(world: &World) {
    world.reset();
    let path = "/api/v1/products/0/reviews";
    world.mesh.apply_text(SUBSETS);
    let load = Load::start(world.mesh.request(path), 4, PAUSE, is_200);
    load.wait_for(50);
    let file = world.mesh.dir.join("flip.yaml");
    let mut slowest = Duration::ZERO;
    for turn in 0..20 {
        let version = if turn % 2 == 0 { "v1" } else { "v3" };
        replace(&file, &route(version));
        let begun = Instant::now();
        until("the change", EFFECT, || {
            let response = world.mesh.request(path).send()?;
            let found = served_by(&response, "reviews");
            if found == format!("reviews-{version}") {
                Ok(())
            } else {
                Err(found)
            }
        });
        slowest = slowest.max(begun.elapsed());
    }
    let count = load.expect_no_failure("changes under load");
    println!(
        "  {count} requests, slowest change in force after {:.2} s",
        slowest.as_secs_f64()
    );
    assert!(
        slowest <= SOON,
        "a change took {:.2} s",
        slowest.as_secs_f64()
    );
    world.reset();
}

/// In one step, which Istio asks its users to make in two.
fn new_subsets_and_routes_to_them_may_come_together(world: &World) {
    let path = "/api/v1/products/0/reviews";
    for _ in 0..3 {
        world.reset();
        let load = Load::start(world.mesh.request(path), 4, PAUSE, is_200);
        load.wait_for(50);
        world
            .mesh
            .apply_text(&format!("{}---\n{SUBSETS}", route("v3")));
        until("the subset", EFFECT, || {
            let found = served_by(&world.mesh.request(path).send()?, "reviews");
            match found == "reviews-v3" {
                true => Ok(()),
                false => Err(found),
            }
        });
        load.wait_for(50);
        load.expect_no_failure("a subset and the route to it");
    }
    world.reset();
}

fn pods_come_and_go_under_load(world: &World) {
    world.reset();
    let scaled = |count: u32| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: details-v3 }}\nspec:\n  replicas: {count}\n  selector: {{ matchLabels: {{ app: details, version: v3 }} }}\n  template:\n    metadata: {{ labels: {{ app: details, version: v3 }} }}\n    spec:\n      containers: [{{ name: details, image: \"registry.istio.io/release/examples-bookinfo-details-v1:1.20.3\", ports: [{{ containerPort: 9080 }}], readinessProbe: {{ httpGet: {{ path: /health, port: 9080 }}, periodSeconds: 1 }} }}]\n"
        )
    };
    let path = "/api/v1/products/0";
    let load = Load::start(world.mesh.request(path), 4, PAUSE, is_200);
    load.wait_for(50);
    world.mesh.apply_text(&scaled(2));
    until("an answer of a new pod", EFFECT, || {
        let response = world.mesh.request(path).send()?;
        let found = served_by(&response, "details");
        if found == "details-v3" {
            Ok(())
        } else {
            Err(found)
        }
    });
    load.wait_for(100);
    world.mesh.apply_text(&scaled(1));
    load.wait_for(200);
    world
        .mesh
        .cli(&["delete", "deployment", "details-v3"])
        .expect_success("delete");
    until("the pods are gone", EFFECT, || {
        let left = world.mesh.processes(&["proxy", "details-v3"]);
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    });
    load.wait_for(100);
    load.expect_no_failure("scaling under load");
    world.reset();
}
