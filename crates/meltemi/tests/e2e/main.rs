//! End-to-end suite: meshes in namespaces, as root and as an ordinary user, and with Envoy as
//! the data plane or a part of it, with Istio's own bookinfo files. One mesh serves a whole role; the tests run in order, each beginning with
//! the configuration of [`world`].
//!
//!     cargo test -p meltemi --test e2e                  everything that can run here
//!     cargo test -p meltemi --test e2e -- root jason    tests whose role and name have these
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;

mod bookinfo;
mod calls;
mod capture;
mod certificates;
mod changes;
mod commands;
mod discovery;
mod failures;
mod gateway_api;
mod gateway_tls;
mod lifetime;
mod mtls;
mod outside;
mod programs;
mod rolling;
mod routing;
mod stage;
mod toolbox;
mod world;

use common::runner::{Arguments, Report, Test};
use stage::Stage;
use std::sync::Arc;
use std::time::Duration;
use world::World;

/// Bound on one test.
const LIMIT: Duration = Duration::from_secs(100);

/// What a role plays: everything on our own proxy; with Envoy what a data plane can make a
/// difference to.
fn tests(role: &str) -> Vec<Test<World>> {
    match role {
        stage::ENVOY => [
            bookinfo::TESTS,
            routing::TESTS,
            gateway_api::TESTS,
            gateway_tls::TESTS,
            discovery::TESTS,
            changes::TESTS,
            rolling::TESTS,
            mtls::TESTS,
            failures::TESTS,
            certificates::TESTS,
        ]
        .concat(),
        stage::MIXED => [
            bookinfo::TESTS,
            routing::TESTS,
            changes::TESTS,
            rolling::TESTS,
            mtls::TESTS,
        ]
        .concat(),
        _ => all(),
    }
}

fn all() -> Vec<Test<World>> {
    [
        bookinfo::TESTS,
        routing::TESTS,
        gateway_api::TESTS,
        gateway_tls::TESTS,
        discovery::TESTS,
        programs::TESTS,
        outside::TESTS,
        capture::TESTS,
        commands::TESTS,
        changes::TESTS,
        rolling::TESTS,
        rolling::OWN,
        mtls::TESTS,
        failures::TESTS,
        certificates::TESTS,
        lifetime::TESTS,
    ]
    .concat()
}

fn main() {
    let mut words = std::env::args().skip(1);
    match words.next().as_deref() {
        Some("tool") => std::process::exit(toolbox::main(&words.collect::<Vec<_>>())),
        Some("as") => {
            let role = words.next().unwrap_or_default();
            std::process::exit(as_role(&role, &words.collect::<Vec<_>>()));
        }
        _ => {}
    }
    let arguments = Arguments::of_process();
    let mut report = Report::new();
    let mut stage = Stage::make();
    for role in stage.roles(&mut report) {
        let wanted = tests(role)
            .into_iter()
            .filter(|test| arguments.wants(role, test.name));
        let names: Vec<&str> = wanted.map(|test| test.name).collect();
        if arguments.list {
            names
                .iter()
                .for_each(|name| println!("{role}::{name}: test"));
        } else if !names.is_empty() {
            let (line, success) = stage.run_as(role, &names);
            report.absorb(role, line.as_deref(), success);
        }
    }
    drop(stage);
    if !arguments.list {
        std::process::exit(report.finish());
    }
}

/// The named tests, in this process and on one mesh.
fn as_role(role: &str, names: &[String]) -> i32 {
    let mut report = Report::new();
    let stage = Stage::given();
    let world = match World::up(&stage, role) {
        Ok(world) => Arc::new(world),
        Err(reason) => {
            println!("{reason}");
            report.fail(&format!("{role}: bringing up bookinfo"));
            return report.finish();
        }
    };
    for test in tests(role) {
        if !names.iter().any(|name| name == test.name) {
            continue;
        }
        if !report.run(role, test, &world, LIMIT, World::explain) {
            report.fail(&format!("{role}: what follows did not run"));
            break;
        }
    }
    // A stuck test holds a reference; the mesh ends with this process then.
    if let Some(mut world) = Arc::into_inner(world) {
        world.end(&mut report);
    }
    report.finish()
}
