//! Our proxy among services that misbehave, on a network that loses packets, before a disk
//! that is full, with certificates that end; and for as long as `SOAK_SECONDS` says. It must not end, and no answer may go to the
//! wrong client or come from the wrong service: every request carries a token that its answer
//! must repeat. All of it happens in namespaces of the suite's own.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;

mod certificates;
mod clients;
mod proxy;
mod service;

use common::namespace::{end_with_parent, run, within};
use common::runner::{Arguments, Report, Test};
use common::wait::until;
use proxy::Proxy;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

const WITHIN: &str = "within-namespaces";
const GROUP: &str = "chaos";
/// How long the soak takes by itself, in seconds.
const SOAK: u64 = 20;
/// For one test, beside the soak's own time.
const LIMIT: Duration = Duration::from_secs(120);
/// For connections to end and memory to come back.
const CALM: Duration = Duration::from_secs(30);

const TESTS: &[Test<Proxy>] = tests![
    services_that_misbehave_harm_nobody_else,
    lost_and_late_packets_cost_time_only,
    a_full_disk_costs_lines_only,
    certificates_that_end_fail_new_connections_only,
    memory_and_descriptors_come_back,
];

fn main() {
    let arguments = Arguments::of_process();
    if arguments.list {
        TESTS
            .iter()
            .for_each(|test| println!("{GROUP}::{}: test", test.name));
        return;
    }
    if arguments.words.first().is_some_and(|word| word == WITHIN) {
        std::process::exit(inside(&arguments.words[1..]));
    }
    let mut report = Report::new();
    let wanted = TESTS
        .iter()
        .filter(|test| arguments.wants(GROUP, test.name));
    let wanted: Vec<&str> = wanted.map(|test| test.name).collect();
    let probe = within("/bin/sh".as_ref())
        .args(["-c", "ip link set lo up"])
        .output();
    if !probe.as_ref().is_ok_and(|output| output.status.success()) {
        report.skip("chaos", &format!("it needs namespaces and ip: {probe:?}"));
    } else if !wanted.is_empty() {
        let mut command = within(&std::env::current_exe().unwrap());
        command
            .arg(WITHIN)
            .args(&wanted)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = common::process::spawn(command).unwrap();
        let mut closing = None;
        for line in BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok)
        {
            match line.starts_with("test result:") {
                true => closing = Some(line),
                false => println!("{line}"),
            }
        }
        let success = child.wait().unwrap().success();
        report.absorb(GROUP, closing.as_deref(), success);
    }
    std::process::exit(report.finish());
}

fn inside(wanted: &[String]) -> i32 {
    end_with_parent();
    let mut report = Report::new();
    run("ip", &["link", "set", "lo", "up"]).unwrap();
    let proxy = match Proxy::start() {
        Ok(proxy) => Arc::new(proxy),
        Err(reason) => {
            println!("{reason}");
            report.fail("chaos: setting up");
            return report.finish();
        }
    };
    let limit = LIMIT + soak();
    for test in TESTS
        .iter()
        .filter(|test| wanted.iter().any(|name| name == test.name))
    {
        if !report.run(GROUP, *test, &proxy, limit, Proxy::explain) {
            break;
        }
    }
    report.finish()
}

fn soak() -> Duration {
    let asked = std::env::var("SOAK_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok());
    Duration::from_secs(asked.unwrap_or(SOAK))
}

fn services_that_misbehave_harm_nobody_else(proxy: &Proxy) {
    let tally = clients::run(proxy.port, 16, 100, true);
    println!("  {} answered, {} failed", tally.answered, tally.failed);
    assert!(tally.wrong.is_empty(), "{:#?}", tally.wrong);
    assert!(tally.answered > tally.failed, "{tally:?}");
    proxy.lives();
    // Who asks for nothing bad gets nothing bad, once the rest is over.
    let tally = clients::run(proxy.port, 4, 50, false);
    assert_eq!(
        (tally.answered, tally.failed, tally.wrong.len()),
        (200, 0, 0),
        "{tally:?}"
    );
}

fn lost_and_late_packets_cost_time_only(proxy: &Proxy) {
    let netem = [
        "qdisc", "add", "dev", "lo", "root", "netem", "delay", "3ms", "loss", "3%",
    ];
    if let Err(reason) = run("tc", &netem) {
        println!("skipped: lost and late packets: {reason}");
        return;
    }
    let tally = clients::run(proxy.port, 16, 40, false);
    run("tc", &["qdisc", "del", "dev", "lo", "root"]).unwrap();
    println!("  {} answered, {} failed", tally.answered, tally.failed);
    assert!(tally.wrong.is_empty(), "{:#?}", tally.wrong);
    // An answer may be later than the proxy waits for it; most are not.
    assert!(tally.answered > 20 * tally.failed, "{tally:?}");
    proxy.lives();
}

fn a_full_disk_costs_lines_only(proxy: &Proxy) {
    let filler = proxy.logs.join("filler");
    let full = std::fs::write(&filler, vec![b'x'; proxy::DISK]);
    assert!(full.is_err(), "the disk is not full");
    let tally = clients::run(proxy.port, 8, 100, false);
    assert_eq!(
        (tally.answered, tally.failed, tally.wrong.len()),
        (800, 0, 0),
        "{tally:?}"
    );
    proxy.lives();
    std::fs::remove_file(&filler).unwrap();
    let before = proxy.log().len();
    clients::run(proxy.port, 1, 5, false);
    until("lines are written again", CALM, || {
        match proxy.log().len() {
            now if now > before => Ok(()),
            now => Err(format!("{now} bytes, as before")),
        }
    });
}

fn certificates_that_end_fail_new_connections_only(_: &Proxy) {
    certificates::certificates_end_under_traffic();
}

fn memory_and_descriptors_come_back(proxy: &Proxy) {
    // What a proxy keeps for good, it keeps after the first round.
    clients::run(proxy.port, 16, 50, true);
    proxy.calm(CALM);
    let before = (proxy.anonymous(), proxy.descriptors());
    let (begun, time) = (Instant::now(), soak());
    let (mut answered, mut failed) = (0, 0);
    while begun.elapsed() < time {
        let tally = clients::run(proxy.port, 32, 25, true);
        assert!(tally.wrong.is_empty(), "{:#?}", tally.wrong);
        answered += tally.answered;
        failed += tally.failed;
    }
    proxy.lives();
    proxy.calm(CALM);
    until("memory comes back", CALM, || {
        let now = (proxy.anonymous(), proxy.descriptors());
        let fine =
            now.0 <= before.0 + proxy::SPARE_MEMORY && now.1 <= before.1 + proxy::SPARE_FILES;
        fine.then_some(())
            .ok_or_else(|| format!("{now:?}, before {before:?}"))
    });
    println!(
        "  {answered} answered, {failed} failed; {} KiB and {} descriptors before, {} KiB and {} after",
        before.0 / 1024,
        before.1,
        proxy.anonymous() / 1024,
        proxy.descriptors()
    );
}
