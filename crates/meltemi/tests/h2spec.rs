//! The proxy's HTTP/2 against h2spec, the conformance suite of the protocol: every case of
//! RFC 9113 and 7541 that it has, the strict ones included.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use common::ports::free_port;
use common::process::Killed;
use common::runner::only;
use common::tools::{home, on_path};
use common::wait::attempt;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const NAME: &str = "h2spec::every_case_passes";
const MODULE: &str = "github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible";
/// For the proxy to listen.
const START: Duration = Duration::from_secs(20);

fn main() {
    only(NAME, find, |h2spec| run(&h2spec))
}

/// `$H2SPEC`, the PATH, or installed by Go below the build directory.
fn find() -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os("H2SPEC") {
        return Ok(path.into());
    }
    if let Some(path) = on_path("h2spec") {
        return Ok(path);
    }
    let directory = home("h2spec");
    let program = directory.join("h2spec");
    if program.is_file() {
        return Ok(program);
    }
    let go = on_path("go").ok_or("neither h2spec nor Go, which installs it, is there")?;
    println!(
        "h2spec is not installed; Go puts it into {}",
        directory.display()
    );
    let status = Command::new(go)
        .args(["install", MODULE])
        .env("GOBIN", &directory)
        .status()
        .map_err(|error| format!("Go cannot be run: {error}"))?;
    match status.success() && program.is_file() {
        true => Ok(program),
        false => Err(format!("Go cannot install h2spec: {status}")),
    }
}

/// # Errors
/// What h2spec says of the cases that failed.
fn run(h2spec: &Path) -> Result<(), String> {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("bootstrap.json");
    let port = free_port();
    let bootstrap = bootstrap(port, free_port(), upstream());
    std::fs::write(&config, bootstrap.to_string()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_meltemi"));
    command
        .args(["proxy", "--concurrency", "1", "-c"])
        .arg(&config);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let _proxy = Killed::spawn(command).map_err(|error| error.to_string())?;
    attempt(START, || {
        TcpStream::connect(("127.0.0.1", port)).map_err(|e| e.to_string())
    })?;
    let output = Command::new(h2spec)
        .args(["--strict", "--port", &port.to_string()])
        .output()
        .map_err(|error| format!("h2spec cannot be run: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    match output.status.success() && said.contains(" 0 failed") {
        true => Ok(()),
        // The list of failures is at the end, once more.
        false => Err(said
            .split_once("Failures:")
            .map_or(&*said, |(_, end)| end)
            .to_owned()),
    }
}

/// A service that takes each request whole before it answers: the proxy has seen all of it
/// then. The port.
fn upstream() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    port
}

/// Until the proxy closes the connection.
fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    let mut read = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let length = stream.read(&mut piece)?;
        if length == 0 {
            return Ok(());
        }
        read.extend_from_slice(&piece[..length]);
        let text = String::from_utf8_lossy(&read);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let complete = match length {
            Some(length) => body.len() >= length.parse().unwrap_or(0),
            None => !head.contains("chunked") || body.ends_with("0\r\n\r\n"),
        };
        if complete {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 21\r\n\r\nan answer with a body")?;
            read.clear();
        }
    }
}

fn bootstrap(port: u16, admin: u16, upstream: u16) -> Value {
    const KIND: &str = "type.googleapis.com/envoy.extensions.filters";
    let address =
        |port: u16| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    let manager = json!({
        "@type": format!("{KIND}.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "h2spec",
        "codec_type": "HTTP2",
        "http2_protocol_options": {"max_concurrent_streams": 100},
        "route_config": {"virtual_hosts": [{
            "name": "all",
            "domains": ["*"],
            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "service"}}],
        }]},
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": {"@type": format!("{KIND}.http.router.v3.Router")},
        }],
    });
    let endpoint = json!({"endpoint": {"address": address(upstream)}});
    json!({
        "node": {"id": "h2spec", "cluster": "h2spec"},
        "admin": {"address": address(admin)},
        "static_resources": {
            "listeners": [{
                "name": "h2spec",
                "address": address(port),
                "filter_chains": [{"filters": [{
                    "name": "envoy.filters.network.http_connection_manager",
                    "typed_config": manager,
                }]}],
            }],
            "clusters": [{
                "name": "service",
                "type": "STATIC",
                "load_assignment": {
                    "cluster_name": "service",
                    "endpoints": [{"lb_endpoints": [endpoint]}],
                },
            }],
        },
    })
}
