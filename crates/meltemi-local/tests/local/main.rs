//! Tests that need processes of their own. The test program is its own sandbox, so it must be
//! able to start as a single thread: hence no harness, and a small runner instead.
#![allow(clippy::unwrap_used, reason = "tests")]

/// A list of tests whose names are those of their functions.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        &[$((stringify!($name), $name as fn())),*]
    };
}

mod fakes;
mod fixture;
mod mesh;
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
        Some("up") => return mesh::up_forever(&arguments[1]),
        _ => {}
    }
    let wanted = arguments.iter().find(|argument| !argument.starts_with('-'));
    if arguments.iter().any(|argument| argument == "--list") {
        tests()
            .iter()
            .for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let begun = std::time::Instant::now();
    let (mut passed, mut failed) = (0, Vec::new());
    for (name, _) in tests()
        .into_iter()
        .filter(|(name, _)| wanted.is_none_or(|wanted| name.contains(wanted)))
    {
        for role in fixture::roles(name) {
            if fixture::run_as(role, name) {
                println!("test {name} ({role}) ... ok");
                passed += 1;
            } else {
                println!("test {name} ({role}) ... FAILED");
                failed.push(format!("{name} ({role})"));
            }
        }
    }
    if !failed.is_empty() {
        println!("failed: {}", failed.join(", "));
    }
    println!(
        "test result: {}. {passed} passed; {} failed; 0 ignored; 0 measured; 0 filtered out; finished in {:.2}s",
        if failed.is_empty() { "ok" } else { "FAILED" },
        failed.len(),
        begun.elapsed().as_secs_f64()
    );
    ExitCode::from(u8::from(!failed.is_empty()))
}

fn tests() -> Vec<Test> {
    [sandbox::TESTS, supervisor::TESTS].concat()
}
