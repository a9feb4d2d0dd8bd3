//! Spans as OpenTelemetry's own classes read them: a request through two proxies is one trace,
//! each span the child of the one before.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use common::http::Request;
use common::ports::free_port;
use common::process::Killed;
use common::runner::only;
use common::tools::{home, on_path};
use common::wait::attempt;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const NAME: &str = "collector::two_hops_are_one_trace";
const PACKAGES: [&str; 2] = ["opentelemetry-proto==1.45.2", "protobuf"];
/// For the processes to listen.
const START: Duration = Duration::from_secs(20);
/// Spans leave after five seconds.
const SENT: Duration = Duration::from_secs(30);

/// Takes OTLP over HTTP, and writes each span as a line of JSON.
const COLLECTOR: &str = r#"
import http.server, json, sys
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest, ExportTraceServiceResponse)

class Collector(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        request = ExportTraceServiceRequest.FromString(body)
        with open(sys.argv[2], "a") as out:
            for resource in request.resource_spans:
                service = {a.key: a.value.string_value for a in resource.resource.attributes}
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        print(json.dumps({
                            "service": service.get("service.name"),
                            "trace": span.trace_id.hex(),
                            "span": span.span_id.hex(),
                            "parent": span.parent_span_id.hex(),
                            "kind": span.kind,
                            "name": span.name,
                            "ordered": 0 < span.start_time_unix_nano <= span.end_time_unix_nano,
                            "tags": {a.key: a.value.string_value for a in span.attributes},
                            "path": self.path,
                        }), file=out, flush=True)
        answer = ExportTraceServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Collector).serve_forever()
"#;

fn main() {
    only(NAME, packages, |(python, packages)| run(&python, &packages))
}

/// Python, and where OpenTelemetry's classes are, which pip puts below the build directory.
fn packages() -> Result<(PathBuf, PathBuf), String> {
    let python = on_path("python3").ok_or("python3 is not installed")?;
    let directory = home("opentelemetry");
    if directory.join("opentelemetry/proto").is_dir() {
        return Ok((python, directory));
    }
    println!(
        "OpenTelemetry's classes are not installed; pip puts them into {}",
        directory.display()
    );
    let status = Command::new(&python)
        .args(["-m", "pip", "install", "--quiet"])
        .args(["--disable-pip-version-check", "--target"])
        .arg(&directory)
        .args(PACKAGES)
        .status()
        .map_err(|error| format!("pip cannot be run: {error}"))?;
    match status.success() {
        true => Ok((python, directory)),
        false => Err(format!("pip cannot install {PACKAGES:?}: {status}")),
    }
}

fn run(python: &Path, packages: &Path) -> Result<(), String> {
    let directory = tempfile::tempdir().unwrap();
    let [collector, front, back] = [(); 3].map(|()| free_port());
    let spans = directory.path().join("spans");
    let mut command = Command::new(python);
    command
        .args(["-c", COLLECTOR, &collector.to_string()])
        .arg(&spans)
        .env("PYTHONPATH", packages);
    let mut processes = vec![start(command, collector)?];
    let answers = json!({ "direct_response": { "status": 200 } });
    let mirrored = json!([{ "cluster": "next", "trace_sampled": true }]);
    let forwards = json!({ "route": { "cluster": "next", "request_mirror_policies": mirrored } });
    for (name, port, action) in [("back", back, answers), ("front", front, forwards)] {
        let config = directory.path().join(format!("{name}.json"));
        let bootstrap = bootstrap(name, port, back, collector, action);
        std::fs::write(&config, bootstrap.to_string()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_meltemi"));
        command
            .args(["proxy", "--concurrency", "1", "-c"])
            .arg(&config);
        processes.push(start(command, port)?);
    }
    let answer = Request::get(front, "/asked")
        .header("host", "app.test")
        .send()?;
    assert_eq!(answer.status, 200);
    let told = attempt(SENT, || {
        let text = std::fs::read_to_string(&spans).unwrap_or_default();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        let all: Vec<Value> = lines.collect();
        match all.len() {
            5.. => Ok(all),
            count => Err(format!("{count} of 5 spans were sent: {text}")),
        }
    })?;
    check(&told).map_err(|what| format!("{what}: {told:#?}"))
}

fn start(mut command: Command, port: u16) -> Result<Killed, String> {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let process = Killed::spawn(command).map_err(|error| error.to_string())?;
    attempt(START, || {
        std::net::TcpStream::connect(("127.0.0.1", port)).map_err(|error| error.to_string())
    })?;
    Ok(process)
}

/// The front's span of the request is the root, those of its attempt and its mirror are the
/// parents of the next hop's.
fn check(spans: &[Value]) -> Result<(), String> {
    let one = |what: &str, matches: &dyn Fn(&Value) -> bool| {
        let found = spans.iter().find(|span| matches(span));
        found.ok_or_else(|| format!("there is no span of {what}"))
    };
    let is = |what: &str, holds: bool| match holds {
        true => Ok(()),
        false => Err(format!("it does not hold that {what}")),
    };
    let root = one("the request", &|span| span["parent"] == "")?;
    let mirror = one("the mirror", &|span| span["name"] == "mirror")?;
    let attempt = one("the attempt", &|span| {
        span["service"] == "front" && span["parent"] != "" && span["name"] != "mirror"
    })?;
    let end = one("the second hop", &|span| span["parent"] == attempt["span"])?;
    let copy = one("the mirror's end", &|span| span["parent"] == mirror["span"])?;
    is("there are five spans", spans.len() == 5)?;
    let children = [attempt, mirror]
        .iter()
        .all(|span| span["parent"] == root["span"]);
    is("attempt and mirror are the request's", children)?;
    let ends = [end, copy].iter().all(|span| span["service"] == "back");
    is("the second hop is the other proxy", ends)?;
    is(
        "times are in order",
        spans.iter().all(|span| span["ordered"] == true),
    )?;
    let trace = root["trace"].as_str().unwrap_or_default();
    let same = spans.iter().all(|span| span["trace"] == trace);
    is("all is one trace", trace.len() == 32 && same)?;
    let kinds = [root, attempt, mirror, end, copy];
    let kinds = kinds.map(|span| span["kind"].as_u64().unwrap_or_default());
    is(
        "clients and servers are told apart",
        kinds == [2, 3, 3, 2, 2],
    )?;
    let path = "/v1/traces";
    is(
        "they came where they should",
        spans.iter().all(|span| span["path"] == path),
    )?;
    let tags = &end["tags"];
    is(
        "a span tells of its request",
        tags["http.status_code"] == "200",
    )?;
    is(
        "a span tells of its URL",
        tags["http.url"] == "http://app.test/asked",
    )
}

fn bootstrap(name: &str, port: u16, next: u16, collector: u16, mut action: Value) -> Value {
    const KIND: &str = "type.googleapis.com/envoy.extensions.filters";
    let address =
        |port: u16| json!({ "socket_address": { "address": "127.0.0.1", "port_value": port } });
    let front = name == "front";
    action["match"] = json!({ "prefix": "/" });
    let service = json!({
        "http_uri": { "uri": "http://collector/v1/traces", "cluster": "collector", "timeout": "5s" },
    });
    let tracer = json!({
        "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
        "service_name": name,
        "http_service": service,
    });
    let manager = json!({
        "@type": format!("{KIND}.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": name,
        "tracing": {
            "provider": { "name": "otel", "typed_config": tracer },
            "random_sampling": { "value": if front { 100.0 } else { 0.0 } },
            "spawn_upstream_span": front,
        },
        "route_config": {
            "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [action] }],
        },
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": { "@type": format!("{KIND}.http.router.v3.Router") },
        }],
    });
    let cluster = |name: &str, port: u16| {
        let endpoint = json!({ "endpoint": { "address": address(port) } });
        json!({
            "name": name,
            "type": "STATIC",
            "load_assignment": {
                "cluster_name": name,
                "endpoints": [{ "lb_endpoints": [endpoint] }],
            },
        })
    };
    json!({
        "node": { "id": name, "cluster": name },
        "admin": { "address": address(free_port()) },
        "static_resources": {
            "listeners": [{
                "name": name,
                "address": address(port),
                "traffic_direction": if front { "OUTBOUND" } else { "INBOUND" },
                "filter_chains": [{ "filters": [{
                    "name": "envoy.filters.network.http_connection_manager",
                    "typed_config": manager,
                }] }],
            }],
            "clusters": [cluster("next", next), cluster("collector", collector)],
        },
    })
}
