//! Names, as programs inside the mesh see them.

use crate::common::runner::Test;
use crate::common::wait::until;
use crate::tests;
use crate::world::{EFFECT, World};

pub const TESTS: &[Test<World>] = tests![
    a_service_has_one_address_under_all_its_names,
    a_name_without_ipv6_says_so_at_once,
    an_unknown_name_of_the_cluster_does_not_exist,
    a_headless_service_has_its_pods_addresses,
    a_service_that_comes_is_known_and_one_that_goes_is_not,
];

fn resolve(world: &World, name: &str) -> String {
    let output = world.tool("client", &["resolve", name]);
    output.expect_success(name).stdout.trim().to_owned()
}

fn dns(world: &World, name: &str, kind: &str) -> String {
    let output = world.tool("client", &["dns", name, kind]);
    output.expect_success(name).stdout.trim().to_owned()
}

fn a_service_has_one_address_under_all_its_names(world: &World) {
    world.reset();
    let address = resolve(world, "reviews");
    assert!(address.starts_with("10.99."), "{address}");
    for name in [
        "reviews.default",
        "reviews.default.svc",
        "reviews.default.svc.cluster.local",
        "reviews.default.svc.cluster.local.",
        "REVIEWS.default",
    ] {
        assert_eq!(resolve(world, name), address, "{name}");
    }
    let gateway = resolve(world, "istio-ingressgateway.istio-system");
    assert!(
        gateway.starts_with("10.99.") && gateway != address,
        "{gateway}"
    );
    assert!(resolve(world, "localhost").contains("127.0.0.1"));
}

fn a_name_without_ipv6_says_so_at_once(world: &World) {
    assert_eq!(dns(world, "reviews.default.svc.cluster.local", "A"), "0 1");
    // No error, no answer: the name exists, the address does not.
    assert_eq!(
        dns(world, "reviews.default.svc.cluster.local", "AAAA"),
        "0 0"
    );
}

fn an_unknown_name_of_the_cluster_does_not_exist(world: &World) {
    for kind in ["A", "AAAA"] {
        assert_eq!(
            dns(world, "nobody.default.svc.cluster.local", kind),
            "3 0",
            "{kind}"
        );
    }
}

fn a_headless_service_has_its_pods_addresses(world: &World) {
    world.reset();
    world.mesh.apply_text(
        "apiVersion: v1\nkind: Service\nmetadata: { name: every-review }\nspec: { clusterIP: None, selector: { app: reviews }, ports: [{ name: http, port: 9080 }] }\n",
    );
    let mut pods = ["reviews-v1", "reviews-v2", "reviews-v3"].map(|pod| world.mesh.ip(pod));
    pods.sort();
    until("the pods' addresses", EFFECT, || {
        let output = world.tool("client", &["resolve", "every-review"]);
        match output.stdout.trim() == pods.join(" ") {
            true => Ok(()),
            false => Err(output.to_string()),
        }
    });
    let answer = world.tool("client", &["http", "http://every-review:9080/health"]);
    assert!(answer.stdout.starts_with("200"), "{answer}");
}

fn a_service_that_comes_is_known_and_one_that_goes_is_not(world: &World) {
    world.reset();
    world.mesh.apply_text(
        "apiVersion: v1\nkind: Service\nmetadata: { name: late }\nspec: { selector: { app: details }, ports: [{ name: http, port: 80, targetPort: 9080 }] }\n",
    );
    until("the new service", EFFECT, || {
        let output = world.tool("client", &["http", "http://late/health"]);
        if output.stdout.starts_with("200") {
            Ok(())
        } else {
            Err(output.to_string())
        }
    });
    world
        .mesh
        .cli(&["delete", "service", "late"])
        .expect_success("delete");
    until("the name is gone", EFFECT, || {
        match dns(world, "late.default.svc.cluster.local", "A").as_str() {
            "3 0" => Ok(()),
            other => Err(other.to_owned()),
        }
    });
}
