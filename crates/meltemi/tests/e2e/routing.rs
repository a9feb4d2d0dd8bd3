//! Every file of bookinfo's `networking` folder, applied as Istio's tasks do, and its effect.

use crate::common::http::{Request, Response};
use crate::common::runner::Test;
use crate::common::wait::until;
use crate::tests;
use crate::world::{EFFECT, World, served_by};
use std::collections::BTreeMap;
use std::time::Instant;

pub const TESTS: &[Test<World>] = tests![
    all_v1_sends_everything_to_v1,
    weights_hold_within_chance,
    jason_gets_a_version_of_his_own,
    v3_and_database_ratings,
    a_subset_without_pods_is_unavailable_and_says_so,
    details_v2_by_subset,
    a_fault_in_details_is_seen_on_the_page,
    ratings_are_delayed_for_jason_only,
    ratings_are_aborted_for_jason_only,
    a_random_balancer_reaches_every_version,
    mutual_tls_by_destination_rule,
    an_egress_rule_is_accepted,
    the_certmanager_gateway_is_reported_and_harms_nothing,
];

const RULES: &str = "destination-rule-all.yaml";

/// Whether Istio's files are here, and the configuration as it was at the beginning.
fn ready(world: &World) -> bool {
    let there = world.stage.join("istio").is_dir();
    if there {
        world.reset();
    } else {
        println!("skipped: Istio's networking files not found");
    }
    there
}

/// The reviews of a product; jason's with a session cookie from the login page.
fn ask(world: &World, user: Option<&str>) -> Response {
    let mut request = world.mesh.request("/api/v1/products/0/reviews");
    if let Some(user) = user {
        request = request.header("cookie", &login(world, user));
    }
    request.send().unwrap_or_else(|error| panic!("{error}"))
}

/// The session cookie that productpage gives.
pub fn login(world: &World, user: &str) -> String {
    let request = Request::post(
        world.mesh.port,
        "/login",
        &format!("username={user}&passwd="),
    )
    .header("content-type", "application/x-www-form-urlencoded");
    let response = request.send().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(response.status, 302, "{response:?}");
    let cookie = response
        .header("set-cookie")
        .split(';')
        .next()
        .unwrap_or_default();
    assert!(cookie.starts_with("session="), "{response:?}");
    cookie.to_owned()
}

/// How often each version of reviews answered.
pub fn reviews(world: &World, count: usize, user: Option<&str>) -> BTreeMap<String, usize> {
    let cookie = user.map(|user| login(world, user));
    let mut versions = BTreeMap::new();
    for _ in 0..count {
        let mut request = world.mesh.request("/api/v1/products/0/reviews");
        if let Some(cookie) = &cookie {
            request = request.header("cookie", cookie);
        }
        let response = request.send().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(response.status, 200, "{response:?}");
        *versions.entry(served_by(&response, "reviews")).or_insert(0) += 1;
    }
    versions
}

fn only(version: &str, count: usize) -> BTreeMap<String, usize> {
    BTreeMap::from([(version.to_owned(), count)])
}

fn all_v1_sends_everything_to_v1(world: &World) {
    if !ready(world) {
        return;
    }
    world.apply_networking(&[RULES, "virtual-service-all-v1.yaml"]);
    assert_eq!(reviews(world, 30, None), only("reviews-v1", 30));
    let page = world.mesh.get("/productpage").body;
    assert!(!page.contains('★') && page.contains("details-v1"), "{page}");
}

fn weights_hold_within_chance(world: &World) {
    if !ready(world) {
        return;
    }
    world.apply_networking(&[RULES]);
    for (file, first, second, share) in [
        (
            "virtual-service-reviews-90-10.yaml",
            "reviews-v1",
            "reviews-v2",
            0.9,
        ),
        (
            "virtual-service-reviews-80-20.yaml",
            "reviews-v1",
            "reviews-v2",
            0.8,
        ),
        (
            "virtual-service-reviews-50-v3.yaml",
            "reviews-v1",
            "reviews-v3",
            0.5,
        ),
        (
            "virtual-service-reviews-v2-v3.yaml",
            "reviews-v2",
            "reviews-v3",
            0.5,
        ),
    ] {
        world.apply_networking(&[file]);
        let count = 200;
        let versions = reviews(world, count, None);
        let of = |version: &str| versions.get(version).copied().unwrap_or(0);
        assert_eq!(of(first) + of(second), count, "{file}: {versions:?}");
        // Five standard deviations: wrong by chance once in some million runs.
        let bound = 5.0 * (count as f64 * share * (1.0 - share)).sqrt();
        let expected = count as f64 * share;
        let got = of(first) as f64;
        assert!(
            (got - expected).abs() <= bound,
            "{file}: {versions:?}, expected {expected} +- {bound:.0}"
        );
    }
}

fn jason_gets_a_version_of_his_own(world: &World) {
    if !ready(world) {
        return;
    }
    world.apply_networking(&[
        RULES,
        "virtual-service-all-v1.yaml",
        "virtual-service-reviews-test-v2.yaml",
    ]);
    assert_eq!(reviews(world, 10, Some("jason")), only("reviews-v2", 10));
    assert_eq!(reviews(world, 10, Some("jane")), only("reviews-v1", 10));
    assert_eq!(reviews(world, 10, None), only("reviews-v1", 10));
    world.apply_networking(&["virtual-service-reviews-jason-v2-v3.yaml"]);
    assert_eq!(reviews(world, 10, Some("jason")), only("reviews-v2", 10));
    assert_eq!(reviews(world, 10, None), only("reviews-v3", 10));
}

fn v3_and_database_ratings(world: &World) {
    if !ready(world) {
        return;
    }
    world.apply_networking(&[RULES, "virtual-service-reviews-v3.yaml"]);
    assert_eq!(reviews(world, 20, None), only("reviews-v3", 20));
    world.apply_networking(&["virtual-service-ratings-db.yaml"]);
    for _ in 0..10 {
        let response = ask(world, None);
        assert_eq!(
            served_by(&response, "ratings"),
            "ratings-v2",
            "{response:?}"
        );
        assert!(response.body.contains("\"red\""), "{response:?}");
    }
}

fn a_subset_without_pods_is_unavailable_and_says_so(world: &World) {
    if !ready(world) {
        return;
    }
    for file in [
        "virtual-service-ratings-mysql.yaml",
        "virtual-service-ratings-mysql-vm.yaml",
    ] {
        world.apply_networking(&[RULES, file]);
        let page = world.mesh.get("/productpage");
        assert_eq!(page.status, 200);
        assert!(
            page.body
                .contains("Ratings service is currently unavailable"),
            "{file}: {}",
            page.body
        );
    }
}

fn details_v2_by_subset(world: &World) {
    if !ready(world) {
        return;
    }
    world.apply_networking(&[RULES, "virtual-service-details-v2.yaml"]);
    for _ in 0..10 {
        let response = world.mesh.get("/api/v1/products/0");
        assert_eq!(
            served_by(&response, "details"),
            "details-v2",
            "{response:?}"
        );
    }
}

fn a_fault_in_details_is_seen_on_the_page(world: &World) {
    if !ready(world) {
        return;
    }
    world.apply_networking(&["fault-injection-details-v1.yaml"]);
    let page = world.mesh.get("/productpage");
    assert_eq!(page.status, 200);
    assert!(
        page.body.contains("Error fetching product details!"),
        "{}",
        page.body
    );
    assert_eq!(world.mesh.get("/api/v1/products/0").status, 555);
}

fn ratings_are_delayed_for_jason_only(world: &World) {
    if !ready(world) {
        return;
    }
    world.apply_networking(&[
        RULES,
        "virtual-service-all-v1.yaml",
        "virtual-service-reviews-test-v2.yaml",
        "virtual-service-ratings-test-delay.yaml",
    ]);
    let begun = Instant::now();
    let page = world.mesh.get("/productpage");
    assert!(
        begun.elapsed().as_secs() < 3 && page.body.contains("Book Reviews"),
        "{page:?}"
    );
    // Istio's task: 7 s are more than the 3 s that productpage waits, twice.
    let begun = Instant::now();
    let cookie = login(world, "jason");
    let page = world
        .mesh
        .request("/productpage")
        .header("cookie", &cookie)
        .send()
        .unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    assert!((5.9..9.0).contains(&seconds), "{seconds} s");
    assert!(
        page.body.contains("Error fetching product reviews!"),
        "{}",
        page.body
    );
}

fn ratings_are_aborted_for_jason_only(world: &World) {
    if !ready(world) {
        return;
    }
    world.apply_networking(&[
        RULES,
        "virtual-service-all-v1.yaml",
        "virtual-service-reviews-jason-v2-v3.yaml",
        "virtual-service-ratings-test-abort.yaml",
    ]);
    let cookie = login(world, "jason");
    let page = world
        .mesh
        .request("/productpage")
        .header("cookie", &cookie)
        .send()
        .unwrap();
    assert!(
        page.body
            .contains("Ratings service is currently unavailable"),
        "{}",
        page.body
    );
    let page = world.mesh.get("/productpage");
    assert!(page.body.contains("stars red"), "{}", page.body);
}

fn a_random_balancer_reaches_every_version(world: &World) {
    if !ready(world) {
        return;
    }
    world.apply_networking(&["destination-rule-reviews.yaml"]);
    let versions = reviews(world, 60, None);
    assert_eq!(versions.len(), 3, "{versions:?}");
}

fn mutual_tls_by_destination_rule(world: &World) {
    if !ready(world) {
        return;
    }
    world.apply_networking(&[
        "destination-rule-all-mtls.yaml",
        "virtual-service-all-v1.yaml",
    ]);
    assert_eq!(reviews(world, 20, None), only("reviews-v1", 20));
}

fn an_egress_rule_is_accepted(world: &World) {
    if !ready(world) {
        return;
    }
    world.apply_networking(&["egress-rule-google-apis.yaml"]);
    world.mesh.settled();
    until("clusters for googleapis", EFFECT, || {
        let clusters = world
            .mesh
            .cli(&["proxy-config", "cluster", "productpage-v1", "-o", "json"])
            .stdout;
        match clusters.contains("outbound|443||www.googleapis.com") {
            true => Ok(()),
            false => Err(format!("not in {} bytes of clusters", clusters.len())),
        }
    });
    assert_eq!(world.mesh.get("/productpage").status, 200);
}

/// It names a service that is not there: worth a warning, no reason to stop anything.
fn the_certmanager_gateway_is_reported_and_harms_nothing(world: &World) {
    if !ready(world) {
        return;
    }
    let file = world.networking("certmanager-gateway.yaml");
    let output = world
        .mesh
        .cli(&["apply", "--wait", "-f", file.to_str().unwrap()]);
    let status = world.mesh.status();
    let told = format!("{output}\n{status:#}");
    assert!(told.contains("cert-manager-resolver"), "{told}");
    assert_eq!(world.mesh.get("/productpage").status, 200);
    assert_eq!(reviews(world, 5, None).values().sum::<usize>(), 5);
    world.reset();
}
