//! A proxy that runs out of something waits until there is some, and goes on: without file
//! descriptors, and while its overload manager says so.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::ports::free_port;
use common::process::Killed;
use common::wait::until_true;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(30);
/// Descriptors of the process: some more than it has when nobody is connected.
const DESCRIPTORS: u32 = 80;

fn bootstrap(port: u16, overload: Value) -> Value {
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "web",
        "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [
            { "match": { "prefix": "/" }, "direct_response": { "status": 200 } },
        ] }] },
        "http_filters": [{ "name": "router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
        } }],
    });
    json!({ "node": { "id": "test", "cluster": "test" }, "overload_manager": overload, "static_resources": { "listeners": [{
        "name": "web",
        "address": { "socket_address": { "address": "127.0.0.1", "port_value": port } },
        "filter_chains": [{ "filters": [{ "name": "manager", "typed_config": manager }] }],
    }] } })
}

/// Whether a new connection is answered.
fn answers(port: u16) -> bool {
    let ask = || -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_millis(500)))?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with(b"HTTP/1.1 200"))
}

fn descriptors(pid: i32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .count()
}

/// Time on a processor so far, in clock ticks.
fn burnt(pid: i32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let mut times = fields.split_whitespace().skip(11);
    let mut next = || times.next().unwrap().parse::<u64>().unwrap();
    next() + next()
}

#[test]
fn without_descriptors_it_waits_and_then_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let port = free_port();
    let config = home.path().join("bootstrap.json");
    std::fs::write(&config, bootstrap(port, json!({})).to_string()).unwrap();
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(format!(
            "ulimit -n {DESCRIPTORS}; exec \"$0\" proxy -c \"$1\" --concurrency 1"
        ))
        .arg(env!("CARGO_BIN_EXE_meltemi"))
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(home.path().join("log")).unwrap());
    let proxy = Killed::spawn(command).unwrap();
    until_true("an answer", LIMIT, || answers(port));
    let held: Vec<TcpStream> = (0..2 * DESCRIPTORS)
        .map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap())
        .collect();
    until_true("no descriptor is left", LIMIT, || {
        descriptors(proxy.pid) >= DESCRIPTORS as usize
    });
    assert!(!answers(port));
    let (before, begun) = (burnt(proxy.pid), Instant::now());
    while begun.elapsed() < Duration::from_secs(1) {
        assert!(!answers(port));
    }
    let ticks = burnt(proxy.pid) - before;
    assert!(ticks < 30, "{ticks} of 100 clock ticks went into waiting");
    drop(held);
    until_true("an answer", LIMIT, || answers(port));
    let log = std::fs::read_to_string(home.path().join("log")).unwrap();
    assert!(log.contains("raise the limit of open files"), "{log}");
}

#[test]
fn connections_wait_while_the_overload_manager_says_so() {
    let home = tempfile::tempdir().unwrap();
    let port = free_port();
    let pressure = home.path().join("pressure");
    let press = |value: &str| {
        // Whole at once, so that no look finds half of it.
        let next = home.path().join("next");
        std::fs::write(&next, value).unwrap();
        std::fs::rename(&next, &pressure).unwrap();
    };
    press("0");
    let overload = json!({
        "refresh_interval": "0.01s",
        "resource_monitors": [{ "name": "injected", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.resource_monitors.injected_resource.v3.InjectedResourceConfig",
            "filename": pressure,
        } }],
        "actions": [{
            "name": "envoy.overload_actions.stop_accepting_connections",
            "triggers": [{ "name": "injected", "threshold": { "value": 0.9 } }],
        }],
    });
    let config = home.path().join("bootstrap.json");
    std::fs::write(&config, bootstrap(port, overload).to_string()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_meltemi"));
    command
        .args(["proxy", "--concurrency", "1", "-c"])
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let _proxy = Killed::spawn(command).unwrap();
    until_true("an answer", LIMIT, || answers(port));
    press("0.95");
    until_true("no connection is accepted", LIMIT, || !answers(port));
    press("0.5");
    until_true("an answer again", LIMIT, || answers(port));
}
