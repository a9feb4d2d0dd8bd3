//! The three proxies, each before a service of its own, with the same policy: `/admin` is for
//! nobody, and nobody may take longer than a second, or stay idle for more than two.

use super::service::Service;
use crate::common::envoy;
use crate::common::ports::free_port;
use crate::common::process::Killed;
use crate::common::tools::from_debian;
use crate::common::wait::attempt;
use serde_json::{Value, json};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

pub const OURS: &str = "Meltemi";
const START: Duration = Duration::from_secs(20);

pub struct Proxy {
    /// With its version, as the document has it.
    pub name: String,
    pub plain: u16,
    pub tls: u16,
    pub service: Service,
    pub pid: i32,
}

/// Ours first.
pub fn start(dir: &Path) -> Result<Vec<(Proxy, Killed)>, String> {
    let authority = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
    let pem = [authority.cert.pem(), authority.signing_key.serialize_pem()];
    let ours = PathBuf::from(env!("CARGO_BIN_EXE_meltemi"));
    let mut proxies = vec![from_bootstrap(OURS, &ours, &["proxy"], dir, &pem)?];
    match envoy::find() {
        Ok(path) => {
            let name = format!("Envoy {}", version(&path, &["--version"]));
            let options = ["--disable-hot-restart", "-l", "error"];
            proxies.push(from_bootstrap(&name, &path, &options, dir, &pem)?);
        }
        Err(reason) => println!("skipped: Envoy's answers: {reason}"),
    }
    match from_debian("haproxy", "haproxy") {
        Ok(path) => proxies.push(haproxy(&path, dir, &pem)?),
        Err(reason) => println!("skipped: haproxy's answers: {reason}"),
    }
    Ok(proxies)
}

/// The first two numbers of a version in what a program says of itself.
fn version(program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let text = text.unwrap_or_default();
    let words = text.split(|c: char| !c.is_ascii_digit() && c != '.');
    let number = words
        .map(|word| word.trim_matches('.'))
        .find(|word| word.contains('.'));
    let parts: Vec<&str> = number.unwrap_or("(unknown)").split('.').take(2).collect();
    parts.join(".")
}

fn spawned(
    name: String,
    mut command: Command,
    ports: [u16; 2],
    service: Service,
    said: &Path,
) -> Result<(Proxy, Killed), String> {
    let file = std::fs::File::create(said).map_err(|error| error.to_string())?;
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(file);
    let mut process = Killed::spawn(command).map_err(|error| format!("{name}: {error}"))?;
    attempt(START, || {
        if process.status().is_some() {
            return Ok(());
        }
        let open = ports
            .iter()
            .all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok());
        open.then_some(())
            .ok_or_else(|| "it does not listen".into())
    })?;
    if let Some(status) = process.status() {
        let said = std::fs::read_to_string(said).unwrap_or_default();
        return Err(format!("{name} does not start: {status}\n{said}"));
    }
    let [plain, tls] = ports;
    let proxy = Proxy {
        name,
        plain,
        tls,
        service,
        pid: process.pid,
    };
    Ok((proxy, process))
}

fn from_bootstrap(
    name: &str,
    program: &Path,
    options: &[&str],
    dir: &Path,
    pem: &[String; 2],
) -> Result<(Proxy, Killed), String> {
    let service = Service::start().map_err(|error| error.to_string())?;
    let ports = [free_port(), free_port()];
    let path = dir.join(format!("{name}.json"));
    let text = bootstrap(ports, free_port(), service.port, pem).to_string();
    std::fs::write(&path, text).map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command
        .args(options)
        .args(["--concurrency", "1", "-c"])
        .arg(&path);
    let said = path.with_extension("err");
    spawned(name.to_owned(), command, ports, service, &said)
}

fn address(port: u16) -> Value {
    json!({ "socket_address": { "address": "127.0.0.1", "port_value": port } })
}

fn bootstrap(ports: [u16; 2], admin: u16, service: u16, pem: &[String; 2]) -> Value {
    let typed = |kind: &str, mut fields: Value| {
        fields["@type"] = json!(format!("type.googleapis.com/envoy.extensions.{kind}"));
        fields
    };
    let manager = typed(
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        json!({
            "stat_prefix": "security",
            "normalize_path": true,
            "merge_slashes": true,
            "path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD",
            "request_headers_timeout": "1s",
            "stream_idle_timeout": "1s",
            "common_http_protocol_options": { "idle_timeout": "2s" },
            "drain_timeout": "0.5s",
            "delayed_close_timeout": "0.05s",
            "use_remote_address": true,
            "upgrade_configs": [{ "upgrade_type": "websocket" }],
            "route_config": { "virtual_hosts": [{ "name": "any", "domains": ["*"], "routes": [
                { "match": { "prefix": "/admin" }, "direct_response": { "status": 403 } },
                { "match": { "prefix": "/" }, "route": { "cluster": "service" } },
            ] }] },
            "http_filters": [{
                "name": "envoy.filters.http.router",
                "typed_config": typed("filters.http.router.v3.Router", json!({})),
            }],
        }),
    );
    let filters = json!([{
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": manager,
    }]);
    let [certificate, key] = pem;
    let tls = typed(
        "transport_sockets.tls.v3.DownstreamTlsContext",
        json!({ "common_tls_context": { "tls_certificates": [{
            "certificate_chain": { "inline_string": certificate },
            "private_key": { "inline_string": key },
        }] } }),
    );
    let [plain, terminated] = ports;
    json!({
        "node": { "id": "security", "cluster": "security" },
        "admin": { "address": address(admin) },
        "static_resources": {
            "listeners": [
                { "name": "plain", "address": address(plain), "filter_chains": [{ "filters": filters }] },
                { "name": "tls", "address": address(terminated), "filter_chains": [{
                    "filters": filters,
                    "transport_socket": { "name": "envoy.transport_sockets.tls", "typed_config": tls },
                    "transport_socket_connect_timeout": "1s",
                }] },
            ],
            "clusters": [{
                "name": "service",
                "type": "STATIC",
                "load_assignment": { "cluster_name": "service", "endpoints": [{ "lb_endpoints": [
                    { "endpoint": { "address": address(service) } },
                ] }] },
            }],
        },
    })
}

fn haproxy(program: &Path, dir: &Path, pem: &[String; 2]) -> Result<(Proxy, Killed), String> {
    let service = Service::start().map_err(|error| error.to_string())?;
    let ports = [free_port(), free_port()];
    let (path, certificate) = (dir.join("haproxy.cfg"), dir.join("haproxy.pem"));
    let [plain, tls] = ports;
    let text = format!(
        "global
  expose-experimental-directives
defaults
  mode http
  timeout connect 1s
  timeout client 1s
  timeout server 5s
  timeout http-request 1s
  timeout http-keep-alive 1s
frontend all
  bind 127.0.0.1:{plain}
  bind 127.0.0.1:{tls} ssl crt {} alpn h2,http/1.1
  http-request normalize-uri percent-decode-unreserved
  http-request normalize-uri path-merge-slashes
  http-request normalize-uri path-strip-dot
  http-request normalize-uri path-strip-dotdot full
  http-request deny if {{ path_beg /admin }}
  default_backend service
backend service
  server one 127.0.0.1:{}
",
        certificate.display(),
        service.port
    );
    std::fs::write(&path, text).map_err(|error| error.to_string())?;
    std::fs::write(&certificate, pem.concat()).map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command.arg("-db").arg("-f").arg(&path);
    let name = format!("haproxy {}", version(program, &["-v"]));
    spawned(name, command, ports, service, &path.with_extension("err"))
}
