//! Parts that die, and what the others make of it.

use crate::common::load::{Load, is_200};
use crate::common::process::signal;
use crate::common::runner::Test;
use crate::common::wait::until;
use crate::tests;
use crate::world::{EFFECT, World, served_by};
use std::time::Duration;

pub const TESTS: &[Test<World>] = tests![
    traffic_does_not_need_the_control_plane,
    a_sidecar_that_dies_is_replaced,
    an_application_that_dies_is_started_again,
];

/// Of a control plane, one after the other.
const DEATHS: usize = 3;
const PAUSE: Duration = Duration::from_millis(5);
/// For something to be started again: back-off included.
const AGAIN: Duration = Duration::from_secs(20);

/// The one process whose command line has these words.
fn the_process(world: &World, words: &[&str]) -> i32 {
    until("one process", AGAIN, || {
        match world.mesh.processes(words)[..] {
            [pid] => Ok(pid),
            ref other => Err(format!("{words:?}: {other:?}")),
        }
    })
}

fn kill(pid: i32) {
    assert!(
        signal(pid, libc::SIGKILL),
        "kill {pid}: {}",
        std::io::Error::last_os_error()
    );
}

fn traffic_does_not_need_the_control_plane(world: &World) {
    world.reset();
    let load = Load::start(world.mesh.request("/productpage"), 2, PAUSE, is_200);
    load.wait_for(20);
    for _ in 0..DEATHS {
        let before = the_process(world, &["meltemi", " control-plane "]);
        kill(before);
        load.wait_for(50);
        until("another control plane", AGAIN, || {
            match world.mesh.processes(&["meltemi", " control-plane "])[..] {
                [pid] if pid != before => Ok(()),
                ref other => Err(format!("{other:?}")),
            }
        });
    }
    world.mesh.settled();
    load.wait_for(20);
    load.expect_no_failure("the control plane was gone");
    // And it is a real one.
    if world.stage.join("istio").is_dir() {
        world.apply_networking(&[
            "destination-rule-all.yaml",
            "virtual-service-reviews-v3.yaml",
        ]);
        for _ in 0..10 {
            let response = world.mesh.get("/api/v1/products/0/reviews");
            assert_eq!(
                served_by(&response, "reviews"),
                "reviews-v3",
                "{response:?}"
            );
        }
    }
    world.reset();
}

fn a_sidecar_that_dies_is_replaced(world: &World) {
    world.reset();
    let before = the_process(world, &["meltemi", " proxy ", "details-v1"]);
    // The other version goes on; the route is by chance.
    kill(before);
    until("another sidecar", AGAIN, || {
        match world.mesh.processes(&["meltemi", " proxy ", "details-v1"])[..] {
            [pid] if pid != before => Ok(()),
            ref other => Err(format!("{other:?}")),
        }
    });
    until("traffic through the new sidecar", AGAIN, || {
        let response = world.mesh.request("/api/v1/products/0").send()?;
        let by = served_by(&response, "details");
        if by == "details-v1" {
            Ok(())
        } else {
            Err(format!("{} {by}", response.status))
        }
    });
    world.mesh.settled();
    let load = Load::start(world.mesh.request("/productpage"), 2, PAUSE, is_200);
    load.wait_for(50);
    load.expect_no_failure("after a sidecar was replaced");
}

fn an_application_that_dies_is_started_again(world: &World) {
    world.reset();
    let restarts = |pod: &str| world.mesh.workload(pod)["restarts"].as_i64().unwrap_or(-1);
    let count = restarts("httpbin");
    let before = the_process(world, &["sample httpbin"]);
    kill(before);
    until("another application", AGAIN, || {
        match world.mesh.processes(&["sample httpbin"])[..] {
            [pid] if pid != before => Ok(()),
            ref other => Err(format!("{other:?}")),
        }
    });
    until("its answer", EFFECT, || {
        let output = world.tool("client", &["http", "http://httpbin:8000/hostname"]);
        if output.stdout.starts_with("200") {
            Ok(())
        } else {
            Err(output.to_string())
        }
    });
    until("the count of restarts", EFFECT, || {
        match restarts("httpbin") {
            found if found > count => Ok(()),
            found => Err(format!("{found}")),
        }
    });
}
