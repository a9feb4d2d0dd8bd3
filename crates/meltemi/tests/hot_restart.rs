//! A proxy is replaced by a new process while clients use it: no connection is refused, no
//! request fails, and what is under way goes on.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::http::Request;
use common::load::{Load, is_200};
use common::ports::free_port;
use common::process::Killed;
use common::wait::until;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);
/// How long connections may go on: longer than the test needs.
const DRAIN: &str = "30";
/// Requests that see each restart.
const AROUND: usize = 200;

struct Ports {
    http: u16,
    tcp: u16,
    admin: u16,
    health: u16,
}

fn address(port: u16) -> Value {
    json!({"socket_address": {"address": "127.0.0.1", "port_value": port}})
}

fn cluster(name: &str, port: u16) -> Value {
    json!({"name": name, "type": "STATIC", "load_assignment": {
        "cluster_name": name,
        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(port)}}]}],
    }})
}

fn bootstrap(ports: &Ports, web: u16, echo: u16) -> Value {
    let network = "type.googleapis.com/envoy.extensions.filters.network";
    let manager = json!({
        "@type": format!("{network}.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "web",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "route": {"cluster": "web"}},
        ]}]},
        "http_filters": [{"name": "router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
        }}],
    });
    let tcp = json!({
        "@type": format!("{network}.tcp_proxy.v3.TcpProxy"), "stat_prefix": "echo", "cluster": "echo",
    });
    let listener = |name: &str, port: u16, filter: Value| {
        json!({"name": name, "address": address(port), "filter_chains": [
            {"filters": [{"name": name, "typed_config": filter}]},
        ]})
    };
    json!({
        "node": {"id": "test", "cluster": "test"},
        "admin": {"address": address(ports.admin)},
        "static_resources": {
            "listeners": [listener("http", ports.http, manager), listener("tcp", ports.tcp, tcp)],
            "clusters": [cluster("web", web), cluster("echo", echo)],
        },
    })
}

/// Serves each connection of a new port on a thread of its own.
fn server(serve: fn(TcpStream)) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    port
}

/// Answers every request of a connection.
fn web(stream: TcpStream) {
    let lines = BufReader::new(&stream).lines().map_while(Result::ok);
    for _ in lines.filter(String::is_empty) {
        // A client that went away is not waited for.
        let _ = (&stream).write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    }
}

fn echo(stream: TcpStream) {
    let _ = std::io::copy(&mut &stream, &mut &stream);
}

/// Starts a proxy; the command line is always the same.
fn proxy(home: &Path, ports: &Ports, config: &str, concurrency: &str) -> Killed {
    let mut log = std::fs::File::options();
    log.append(true).create(true);
    let log = log.open(home.join("proxy.log")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_meltemi"));
    command
        .args(["proxy", "-c", config, "--concurrency", concurrency])
        .args(["--hot-restart-socket", "restart.sock"])
        .args(["--admin-socket", "admin.sock", "--drain-time", DRAIN])
        .args(["--health-listen", &format!("127.0.0.1:{}", ports.health)])
        .current_dir(home)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    Killed::spawn(command).unwrap()
}

fn ready(port: u16) -> Result<(), String> {
    let response = Request::get(port, "/healthz/ready").send()?;
    is_200(&response)
}

/// What the process behind the admin API says of its command line.
fn workers(port: u16) -> u64 {
    let info = Request::get(port, "/server_info").send().unwrap().json();
    let options = &info["command_line_options"]["concurrency"];
    options.as_u64().unwrap_or_else(|| panic!("{info}"))
}

fn speak(mut stream: &TcpStream, words: &str) {
    stream.write_all(words.as_bytes()).unwrap();
    let mut heard = vec![0; words.len()];
    stream.read_exact(&mut heard).unwrap();
    assert_eq!(heard, words.as_bytes());
}

#[test]
fn nothing_is_refused_while_a_proxy_is_replaced() {
    let home = tempfile::tempdir().unwrap();
    let [http, tcp, admin, health] = [(); 4].map(|()| free_port());
    let ports = Ports {
        http,
        tcp,
        admin,
        health,
    };
    let mut config = bootstrap(&ports, server(web), server(echo));
    std::fs::write(home.path().join("envoy.json"), config.to_string()).unwrap();
    // One that waits for a control plane that is not there.
    config["dynamic_resources"] = json!({
        "ads_config": {"api_type": "DELTA_GRPC", "grpc_services": [{"envoy_grpc": {"cluster_name": "web"}}]},
        "cds_config": {"ads": {}, "initial_fetch_timeout": "0s"},
    });
    std::fs::write(home.path().join("waiting.json"), config.to_string()).unwrap();
    let log = || std::fs::read_to_string(home.path().join("proxy.log")).unwrap_or_default();
    let mut first = proxy(home.path(), &ports, "envoy.json", "2");
    until("the proxy", LIMIT, || {
        ready(health).map_err(|error| error + &log())
    });

    let kept = Load::start(Request::get(http, "/"), 4, Duration::from_millis(1), is_200);
    let close = Request::get(http, "/").header("connection", "close");
    let new = Load::start(close, 4, Duration::from_millis(1), is_200);
    let stream = TcpStream::connect(("127.0.0.1", tcp)).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    speak(&stream, "before");

    let replace = |concurrency: &str| {
        new.wait_for(AROUND);
        let mut next = proxy(home.path(), &ports, "envoy.json", concurrency);
        until("the new process in charge", LIMIT, || {
            assert_eq!(next.status(), None, "{}", log());
            let wanted: u64 = concurrency.parse().unwrap();
            (workers(admin) == wanted).then_some(()).ok_or_else(log)
        });
        assert_eq!(ready(health), Ok(()), "readiness never goes");
        speak(&stream, "what is under way goes on");
        new.wait_for(AROUND);
        kept.wait_for(AROUND);
        next
    };
    // A process that is never live, and is killed, changes nothing.
    let mut waiting = proxy(home.path(), &ports, "waiting.json", "2");
    let begun = || {
        log()
            .contains("taking over from")
            .then_some(())
            .ok_or_else(log)
    };
    until("a process that waits", LIMIT, begun);
    assert_eq!(workers(admin), 2);
    waiting.kill();

    // More workers, and fewer: every socket of the process before has a queue of its own.
    let mut second = replace("3");
    let mut third = replace("1");
    assert_eq!(first.status(), None, "it carries the stream: {}", log());
    drop(stream);
    for before in [&mut first, &mut second] {
        until("a process with nothing left ends well", LIMIT, || {
            let status = before.status().ok_or_else(log)?;
            status.success().then_some(()).ok_or_else(log)
        });
    }
    new.expect_no_failure("new connections");
    kept.expect_no_failure("kept connections");
    assert_eq!(third.status(), None);
    assert_eq!(ready(health), Ok(()));
}
