//! A whole proxy process' life in a thread: bootstrap, traffic, admin API, end.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use meltemi_proxy::{ApplicationMetrics, Options, run};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

fn free() -> SocketAddr {
    let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    probe.local_addr().unwrap()
}

/// Status and body of one request.
fn request(address: SocketAddr, method: &str, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    )?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let status = text
        .split(' ')
        .nth(1)
        .and_then(|word| word.parse().ok())
        .unwrap_or(0);
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((status, body.to_owned()))
}

fn get(address: SocketAddr, path: &str) -> (u16, String) {
    request(address, "GET", path).unwrap()
}

fn wait_for(address: SocketAddr, path: &str, status: u16) -> String {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let last = request(address, "GET", path);
        if let Ok((code, body)) = &last
            && *code == status
        {
            return body.clone();
        }
        assert!(Instant::now() < deadline, "{path}: {last:?}");
        std::thread::yield_now();
    }
}

/// Serves metrics as an application does.
fn application() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let body = "app_requests_total 7";
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    port
}

/// Waits until the proxy is not ready for want of health checks, then answers one.
fn pass_the_first_check(health: SocketAddr, endpoint: &TcpListener) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let last = request(health, "GET", "/healthz/ready");
        if matches!(&last, Ok((503, why)) if why.contains("first health checks of cluster checked"))
        {
            break;
        }
        assert!(Instant::now() < deadline, "{last:?}");
        std::thread::yield_now();
    }
    let (mut check, _) = endpoint.accept().unwrap();
    let _ = check.read(&mut [0; 1024]).unwrap();
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    check.write_all(answer).unwrap();
}

#[test]
fn a_process_starts_serves_answers_for_itself_and_ends() {
    let (listener, admin, health, agent) = (free(), free(), free(), free());
    let endpoint = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let bootstrap = dir.path().join("bootstrap.yaml");
    let text = format!(
        r#"
node: {{id: "sidecar~10.98.0.2~a-1.default~default.svc.cluster.local", cluster: a.default}}
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {admin}}}}}}}
static_resources:
  clusters:
  - name: checked
    type: STATIC
    load_assignment:
      cluster_name: checked
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {checked}}}}}}}
    health_checks:
    - {{timeout: 60s, interval: 600s, healthy_threshold: 1, unhealthy_threshold: 1, http_health_check: {{path: /}}}}
  listeners:
  - name: direct
    address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: direct
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{prefix: "/"}}
                direct_response: {{status: 418, body: {{inline_string: "short and stout"}}}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
"#,
        admin = admin.port(),
        checked = endpoint.local_addr().unwrap().port(),
        port = listener.port(),
    );
    std::fs::write(&bootstrap, text).unwrap();
    let socket = dir.path().join("admin.sock");
    let mut options = Options::new(&bootstrap);
    options.admin_socket = Some(socket.clone());
    options.servers.health = Some(health);
    options.servers.agent = Some(agent);
    options.servers.application_metrics = Some(ApplicationMetrics {
        port: application(),
        path: "/metrics".into(),
    });
    options.log_level = "error".into();
    options.drain_time = Duration::from_secs(1);
    let process = std::thread::spawn(move || run(options));

    pass_the_first_check(health, &endpoint);
    wait_for(health, "/healthz/ready", 200);
    assert_eq!(wait_for(admin, "/ready", 200), "LIVE\n");
    assert_eq!(get(listener, "/tea"), (418, "short and stout".into()));

    for (path, part) in [
        ("/help", "/config_dump"),
        ("/listeners", "direct::127.0.0.1:"),
        ("/config_dump", "short and stout"),
        ("/server_info", "\"state\": \"LIVE\""),
        (
            "/stats?filter=listener.direct",
            "listener.direct.downstream_cx_total: ",
        ),
        (
            "/stats/prometheus",
            "envoy_listener_downstream_cx_total{listener_address=\"direct\"}",
        ),
        ("/logging", "active loggers"),
    ] {
        let (status, body) =
            request(admin, if path == "/logging" { "POST" } else { "GET" }, path).unwrap();
        assert_eq!(status, 200, "{path}");
        assert!(body.contains(part), "{path}: {body}");
    }
    for (method, path, wanted) in [
        ("GET", "/quitquitquit", 405),
        ("GET", "/drain_listeners", 405),
        ("GET", "/nothing", 404),
        ("GET", "/stats?filter=(", 400),
        ("POST", "/logging?level=loud", 400),
        ("DELETE", "/stats", 405),
    ] {
        assert_eq!(
            request(admin, method, path).unwrap().0,
            wanted,
            "{method} {path}"
        );
    }
    let merged = get(agent, "/stats/prometheus").1;
    assert!(
        merged.contains("app_requests_total 7") && merged.contains("envoy_listener_"),
        "{merged}"
    );
    request(admin, "POST", "/healthcheck/fail").unwrap();
    assert_eq!(get(health, "/healthz/ready").0, 503);
    request(admin, "POST", "/healthcheck/ok").unwrap();
    assert_eq!(get(health, "/healthz/ready").0, 200);

    let mut unix = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    unix.write_all(b"GET /ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut text = String::new();
    unix.read_to_string(&mut text).unwrap();
    assert!(text.ends_with("LIVE\n"), "{text}");

    assert_eq!(request(agent, "POST", "/quitquitquit").unwrap().0, 200);
    process.join().unwrap().unwrap();
    assert!(TcpStream::connect(listener).is_err());
    assert!(!socket.exists());
}
