//! Certificates that are renewed while they are used.

use crate::common::load::{Load, is_200};
use crate::common::mesh::{Mesh, text, workloads};
use crate::common::runner::Test;
use crate::common::wait::until;
use crate::tests;
use crate::world::World;
use std::collections::BTreeMap;
use std::time::Duration;

pub const TESTS: &[Test<World>] = tests![certificates_rotate_under_load_without_a_failure];

const LIFETIME: &str = "10s";
const PATIENCE: Duration = Duration::from_secs(40);

/// Serial number of each workload's certificate.
fn serials(mesh: &Mesh) -> BTreeMap<String, String> {
    let status = mesh.status();
    let with_one = workloads(&status).filter(|workload| workload["certificate"].is_object());
    let pair = |workload: &serde_json::Value| {
        let left = workload["certificate"]["seconds_left"]
            .as_i64()
            .unwrap_or(-1);
        assert!((0..=10).contains(&left), "{workload:#}");
        (
            text(workload, "name").to_owned(),
            text(&workload["certificate"], "serial").to_owned(),
        )
    };
    with_one.map(pair).collect()
}

fn certificates_rotate_under_load_without_a_failure(world: &World) {
    let mesh = world.second("rotation", &["--cert-ttl", LIFETIME]);
    let load = Load::start(
        mesh.request("/productpage"),
        4,
        Duration::from_millis(5),
        is_200,
    );
    load.wait_for(20);
    let mut before = serials(&mesh);
    assert!(before.len() >= 7, "{before:?}");
    // Twice, so that what the first renewal left behind is renewed as well.
    for _ in 0..2 {
        let now = until("a new certificate everywhere", PATIENCE, || {
            let now = serials(&mesh);
            let changed = before
                .iter()
                .all(|(pod, serial)| now.get(pod).is_some_and(|new| new != serial));
            if changed {
                Ok(now)
            } else {
                Err(format!("{before:?} and {now:?}"))
            }
        });
        before = now;
    }
    let count = load.expect_no_failure("rotation under load");
    println!("  {count} requests over two renewals");
    mesh.down();
}
