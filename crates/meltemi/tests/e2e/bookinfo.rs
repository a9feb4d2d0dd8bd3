//! What somebody who starts bookinfo sees.

use crate::common::mesh::{OUTSIDER, text, workloads};
use crate::common::runner::Test;
use crate::tests;
use crate::world::World;

pub const TESTS: &[Test<World>] = tests![
    up_prints_what_to_do_next,
    the_page_shows_stars_through_the_gateway,
    every_version_of_reviews_answers,
    what_the_gateway_does_not_publish_is_not_found,
    status_knows_every_workload,
    identities_are_istios,
];

fn up_prints_what_to_do_next(world: &World) {
    let said = world.mesh.said();
    let url = format!("http://127.0.0.1:{}/productpage", world.mesh.port);
    for part in [" is up in ", url.as_str(), "productpage-v1", "meltemi "] {
        assert!(said.contains(part), "{part:?} is missing in\n{said}");
    }
    assert!(
        !said.contains('\u{1b}'),
        "no colour without a terminal:\n{said}"
    );
}

fn the_page_shows_stars_through_the_gateway(world: &World) {
    let pages: Vec<_> = (0..30).map(|_| world.mesh.get("/productpage")).collect();
    for page in &pages {
        assert_eq!(page.status, 200, "{page:?}");
        assert!(
            page.body.contains("Book Details") && page.body.contains("Book Reviews"),
            "{}",
            page.body
        );
        assert_eq!(page.header("server"), "istio-envoy", "{:?}", page.headers);
    }
    let with = |part: &str| pages.iter().filter(|page| page.body.contains(part)).count();
    assert!(
        with("stars black") > 0 && with("stars red") > 0,
        "black and red stars"
    );
    assert!(with("★") < pages.len(), "and a version without");
}

fn every_version_of_reviews_answers(world: &World) {
    let versions = super::routing::reviews(world, 60, None);
    assert_eq!(versions.len(), 3, "{versions:?}");
}

fn what_the_gateway_does_not_publish_is_not_found(world: &World) {
    for path in ["/", "/ratings/0", "/health"] {
        assert_eq!(world.mesh.get(path).status, 404, "{path}");
    }
}

fn status_knows_every_workload(world: &World) {
    let status = world.mesh.status();
    let names: Vec<&str> = workloads(&status).map(|w| text(w, "workload")).collect();
    for name in [
        "productpage-v1",
        "details-v1",
        "ratings-v1",
        "reviews-v1",
        "reviews-v2",
        "reviews-v3",
        "istio-ingressgateway",
    ] {
        assert!(names.contains(&name), "{name} is missing in {status:#}");
    }
    assert_eq!(status["control_plane"]["ready"], true, "{status:#}");
    for workload in workloads(&status) {
        assert_eq!(workload["ready"], true, "{workload:#}");
        if text(workload, "workload") != OUTSIDER {
            assert_eq!(workload["proxy"]["synced"], true, "{workload:#}");
        }
    }
    assert_eq!(
        world.mesh.cli(&["status"]).code,
        0,
        "a pod without a sidecar is no failure"
    );
}

fn identities_are_istios(world: &World) {
    let reviews = world.mesh.workload("reviews-v1");
    let certificate = &reviews["certificate"];
    let spiffe = "spiffe://cluster.local/ns/default/sa/bookinfo-reviews";
    assert_eq!(text(certificate, "spiffe"), spiffe, "{reviews:#}");
    let left = certificate["seconds_left"].as_f64().unwrap_or_default();
    assert!((3600.0..=86_400.0).contains(&left), "{certificate:#}");
}
