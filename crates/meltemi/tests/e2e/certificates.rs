//! Certificates that are renewed while they are used.

use crate::common::load::{Load, is_200};
use crate::common::mesh::{Mesh, text, workloads};
use crate::common::process::signal;
use crate::common::runner::Test;
use crate::common::wait::until;
use crate::tests;
use crate::world::World;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

pub const TESTS: &[Test<World>] = tests![
    certificates_rotate_under_load_without_a_failure,
    certificates_outlive_a_ca_that_is_out_and_are_renewed_when_it_is_back,
];

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
    metrics_tell_of_certificates(world, &mesh, before.len());
    let count = load.expect_no_failure("rotation under load");
    println!("  {count} requests over two renewals");
    mesh.down();
}

/// What the proxies' agent and the CA say of `workloads`' certificates after two renewals.
fn metrics_tell_of_certificates(world: &World, mesh: &Mesh, workloads: usize) {
    let scraped = world
        .tool_in(mesh, "client", &["http", "http://127.0.0.1:15020/metrics"])
        .stdout;
    let left = sample(
        &scraped,
        "istio_agent_cert_expiry_seconds{resource_name=\"default\"}",
    );
    assert!((0.0..=10.0).contains(&left), "{left}");
    let scraped = api_metrics(mesh);
    let said = |name: &str| sample(&scraped, &format!("citadel_server_{name}"));
    assert!(
        said("success_cert_issuance_count") >= 3.0 * workloads as f64,
        "{scraped}"
    );
    assert!(said("csr_count") >= said("success_cert_issuance_count"));
    for failure in ["authentication_failure", "csr_parsing_err", "csr_sign_err"] {
        assert_eq!(said(&format!("{failure}_count")), 0.0, "{scraped}");
    }
    // Nine years of ten at least.
    assert!(said("root_cert_expiry_seconds") > 9.0 * 365.0 * 86_400.0);
    assert!(said("cert_chain_expiry_seconds") > 0.0);
}

fn sample(scraped: &str, name: &str) -> f64 {
    let value = scraped
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = value.and_then(|value| value.parse().ok());
    value.unwrap_or_else(|| panic!("{name} in {scraped}"))
}

/// `/metrics` of the control plane.
fn api_metrics(mesh: &Mesh) -> String {
    let name = text(&mesh.status()["mesh"], "name").to_owned();
    let socket = mesh.home.join("r").join(name).join("api.sock");
    let mut stream = UnixStream::connect(&socket).expect("the control plane's socket");
    let ask = b"GET /metrics HTTP/1.1\r\nhost: mesh\r\nconnection: close\r\n\r\n";
    stream.write_all(ask).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

/// No call goes over a connection that is open already.
const FRESH_CONNECTIONS: &str = "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: fresh}
spec:
  host: httpbin
  trafficPolicy: {connectionPool: {http: {maxRequestsPerConnection: 1}}}
";

/// The control plane stops where it is: what asks it for a certificate waits.
fn certificates_outlive_a_ca_that_is_out_and_are_renewed_when_it_is_back(world: &World) {
    const LIFETIME: &str = "24s";
    let mesh = world.second("ca-out", &["--cert-ttl", LIFETIME]);
    let call = || world.tool_in(&mesh, "client", &["http", "http://httpbin:8000/status/200"]);
    mesh.apply_text(FRESH_CONNECTIONS).expect_success("apply");
    mesh.settled();
    until("a call", PATIENCE, || {
        let said = call().stdout;
        if said.starts_with("200 ") {
            Ok(())
        } else {
            Err(said)
        }
    });
    let [authority] = mesh.processes(&["meltemi", " control-plane "])[..] else {
        panic!("no control plane: {}", mesh.story());
    };
    let load = Load::start(
        mesh.request("/productpage"),
        2,
        Duration::from_millis(20),
        is_200,
    );
    load.wait_for(20);
    assert!(signal(authority, libc::SIGSTOP));
    // While certificates live, all goes on, new connections too.
    assert!(call().stdout.starts_with("200 "));
    load.wait_for(20);
    load.expect_no_failure("the CA is out");
    let output = mesh.cli(&["status"]);
    assert_eq!(output.code, 1, "{output}");
    assert!(
        output.stderr.contains("the control plane does not answer")
            && output.stderr.contains("until these end"),
        "{output}"
    );
    // Then a new connection fails.
    until("the end of the certificates", PATIENCE, || {
        let said = call().stdout;
        match said.starts_with("503 ") {
            true => Ok(()),
            false => Err(said),
        }
    });
    assert!(signal(authority, libc::SIGCONT));
    until("new certificates", PATIENCE, || {
        let (said, output) = (call().stdout, mesh.cli(&["status"]));
        match said.starts_with("200 ") && output.code == 0 {
            true => Ok(()),
            false => Err(format!("{said}\n{output}")),
        }
    });
    mesh.down();
}
