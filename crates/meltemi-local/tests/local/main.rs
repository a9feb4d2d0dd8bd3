//! Tests that need processes of their own. The test program is its own sandbox, so it must be
//! able to start as a single thread: hence no harness, and a small runner instead.
#![allow(clippy::unwrap_used, reason = "tests")]

mod fakes;
mod fixture;
mod sandbox;
mod supervisor;

use std::process::ExitCode;

/// A test's name and body; bodies panic to fail.
type Test = (&'static str, fn());

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("sandbox") => {
            let fd = arguments[2].parse().expect("a descriptor number");
            return ExitCode::from(meltemi_local::sandbox::main(fd) as u8);
        }
        Some("role") => {
            let name = &arguments[2];
            let (_, body) = tests()
                .into_iter()
                .find(|(test, _)| test == name)
                .expect("a test of that name");
            body();
            return ExitCode::SUCCESS;
        }
        Some("control-plane") => fakes::control_plane(&arguments),
        Some("proxy") => fakes::proxy(&arguments),
        Some("enter") => return fakes::enter(&arguments),
        Some("up") => return supervisor::up_forever(&arguments[1]),
        _ => {}
    }
    let wanted = arguments.iter().find(|argument| !argument.starts_with('-'));
    if arguments.iter().any(|argument| argument == "--list") {
        tests()
            .iter()
            .for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let mut failed = Vec::new();
    for (name, _) in tests()
        .into_iter()
        .filter(|(name, _)| wanted.is_none_or(|wanted| name.contains(wanted)))
    {
        for role in fixture::roles(name) {
            let passed = fixture::run_as(role, name);
            println!(
                "test {name} ({role}) ... {}",
                if passed { "ok" } else { "FAILED" }
            );
            if !passed {
                failed.push(name);
            }
        }
    }
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        eprintln!("failed: {}", failed.join(", "));
        ExitCode::FAILURE
    }
}

fn tests() -> Vec<Test> {
    sandbox::TESTS
        .iter()
        .chain(&supervisor::TESTS)
        .copied()
        .collect()
}
