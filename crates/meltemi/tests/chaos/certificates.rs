//! Certificates that end while they are used: of the workload that calls, of the one that is
//! called, and of a gateway. One process is all of them; its certificates are files, and nobody
//! renews them until the test does.

use crate::common::http::{Request, Response};
use crate::common::load::{Load, is_200};
use crate::common::process::Killed;
use crate::common::tls::provider;
use crate::common::wait::{attempt, until};
use crate::service;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const CALLER: u16 = 16080;
const SERVER: u16 = 16443;
const GATEWAY: u16 = 16444;
const ADMIN: u16 = 16000;
const START: Duration = Duration::from_secs(20);
/// For a new certificate to be seen, and one to end.
const EFFECT: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_secs(6);
const LONG: Duration = Duration::from_secs(3600);
const HOST: &str = "gateway.chaos.test";
const LOG_FORMAT: &str = "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %UPSTREAM_TRANSPORT_FAILURE_REASON%\n";

/// Of workload, server and gateway.
struct Certificates {
    dir: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    roots: RootCertStore,
    key: KeyPair,
}

impl Certificates {
    fn new(dir: &Path) -> Self {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate().unwrap();
        let certificate = authority.self_signed(&authority_key).unwrap();
        std::fs::write(dir.join("root.pem"), certificate.pem()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        let key = KeyPair::generate().unwrap();
        std::fs::write(dir.join("key.pem"), key.serialize_pem()).unwrap();
        Self {
            dir: dir.to_owned(),
            issuer: Issuer::new(authority, authority_key),
            roots,
            key,
        }
    }

    /// Puts a certificate in place that ends at this moment.
    fn issue(&self, name: &str, end: SystemTime) {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![
            SanType::DnsName(HOST.try_into().unwrap()),
            SanType::URI(format!("spiffe://chaos.test/{name}").try_into().unwrap()),
        ];
        params.not_before = (SystemTime::now() - LONG).into();
        params.not_after = end.into();
        let certificate = params.signed_by(&self.key, &self.issuer).unwrap();
        let fresh = self.dir.join(format!("{name}.fresh"));
        std::fs::write(&fresh, certificate.pem()).unwrap();
        std::fs::rename(fresh, self.dir.join(format!("{name}.pem"))).unwrap();
    }

    fn good(&self, name: &str) {
        self.issue(name, SystemTime::now() + LONG);
    }

    fn ended(&self, name: &str) {
        self.issue(name, SystemTime::now() - Duration::from_secs(60));
    }

    /// Through the gateway, by a client that looks at its certificate.
    fn through_gateway(&self) -> Result<String, String> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let config = builder
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        let name = ServerName::try_from(HOST).map_err(|error| error.to_string())?;
        let connection =
            ClientConnection::new(Arc::new(config), name).map_err(|error| error.to_string())?;
        let stream =
            TcpStream::connect(("127.0.0.1", GATEWAY)).map_err(|error| error.to_string())?;
        let mut stream = StreamOwned::new(connection, stream);
        let request = "GET /a/fine/t HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        stream
            .write_all(request.as_bytes())
            .map_err(|error| error.to_string())?;
        let mut head = [0; 12];
        stream
            .read_exact(&mut head)
            .map_err(|error| error.to_string())?;
        Ok(String::from_utf8_lossy(&head).into_owned())
    }
}

struct Mesh {
    dir: tempfile::TempDir,
    process: Killed,
}

impl Mesh {
    fn start(dir: tempfile::TempDir) -> Self {
        let service = service::start("a").unwrap();
        let path = dir.path().join("bootstrap.json");
        std::fs::write(&path, bootstrap(dir.path(), service).to_string()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_meltemi"));
        command
            .args(["proxy", "--concurrency", "1", "-c"])
            .arg(&path);
        let said = std::fs::File::create(dir.path().join("said")).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let process = Killed::spawn({
            command.stderr(said);
            command
        });
        let mesh = Self {
            process: process.unwrap(),
            dir,
        };
        let ready = attempt(START, || match Request::get(ADMIN, "/ready").send() {
            Ok(response) if response.status == 200 => Ok(()),
            other => Err(format!("{other:?}")),
        });
        ready.unwrap_or_else(|reason| panic!("{reason}: {}", mesh.read("said")));
        mesh
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(name)).unwrap_or_default()
    }

    /// A connection of its own to the called workload.
    fn fresh(&self) -> Response {
        let request = Request::get(CALLER, "/a/fine/t").header("x-fresh", "yes");
        request.send().unwrap()
    }

    fn becomes(&self, what: &str, status: u16) -> Response {
        until(what, EFFECT, || match self.fresh() {
            response if response.status == status => Ok(response),
            other => Err(format!("{other:?}")),
        })
    }

    /// The last line of the caller's log that says 503.
    fn last_failure(&self) -> String {
        until("a line of the log", EFFECT, || {
            let log = self.read("access.log");
            let mut lines = log.lines().filter(|line| line.starts_with("503 "));
            lines.next_back().map(str::to_owned).ok_or(log.clone())
        })
    }

    fn counter(&self, name: &str) -> u64 {
        let stats = Request::get(ADMIN, &format!("/stats?filter={name}")).send();
        let body = stats.unwrap().body;
        let value = body.trim().rsplit(' ').next().map(str::parse);
        value.and_then(Result::ok).unwrap_or_default()
    }
}

/// What is connected goes on; whoever connects anew is told why it fails, here and at the other
/// end; and a renewed certificate is all that it takes to go on.
pub fn certificates_end_under_traffic() {
    let dir = tempfile::tempdir().unwrap();
    let certificates = Certificates::new(dir.path());
    certificates.good("server");
    certificates.good("gateway");
    let end = SystemTime::now() + SHORT;
    certificates.issue("workload", end);
    let mut mesh = Mesh::start(dir);
    let load = Load::start(
        Request::get(CALLER, "/a/fine/t"),
        2,
        Duration::from_millis(5),
        is_200,
    );
    load.wait_for(20);
    assert_eq!(mesh.fresh().status, 200, "{}", mesh.read("said"));

    let told = mesh.becomes("the workload's certificate ends", 503);
    assert!(SystemTime::now() + Duration::from_secs(1) >= end);
    assert!(told.body.contains("connection termination"), "{told:?}");
    // The alert comes after the handshake, beside the request's way out: now and then the end of
    // the connection is seen before it.
    let line = until("the caller's log has the reason", EFFECT, || {
        assert_eq!(mesh.fresh().status, 503);
        let line = mesh.last_failure();
        let has = line.contains("the_peer_finds_our_certificate_expired");
        has.then(|| line.clone()).ok_or(line)
    });
    println!("  caller's log: {line}");
    let details = "503 UC upstream_reset_before_response_started{connection_termination|TLS_error:";
    assert!(line.starts_with(details), "{line}");
    assert!(mesh.counter("listener.server.ssl.fail_verify_error") > 0);
    let shown = Request::get(ADMIN, "/certs").send().unwrap().body;
    assert!(shown.contains("spiffe://chaos.test/workload"), "{shown}");
    load.wait_for(load.sent() + 50);
    certificates.good("workload");
    mesh.becomes("a renewed certificate is used", 200);

    certificates.ended("server");
    let told = mesh.becomes("the server's certificate has ended", 503);
    assert!(
        told.body
            .contains("reset reason: remote connection failure"),
        "{told:?}"
    );
    let line = until("the caller's log has the reason", EFFECT, || {
        let line = mesh.last_failure();
        match line.starts_with("503 UF ") {
            true => Ok(line),
            false => Err(line),
        }
    });
    println!("  caller's log: {line}");
    let details =
        "503 UF upstream_reset_before_response_started{remote_connection_failure|TLS_error:";
    assert!(
        line.starts_with(details) && line.contains("expired"),
        "{line}"
    );
    assert!(mesh.counter("cluster.fresh.ssl.fail_verify_error") > 0);
    load.wait_for(load.sent() + 50);
    certificates.good("server");
    mesh.becomes("the server has another certificate", 200);

    assert_eq!(certificates.through_gateway().unwrap(), "HTTP/1.1 200");
    certificates.ended("gateway");
    let refusal = until("clients refuse the gateway", EFFECT, || match certificates
        .through_gateway()
    {
        Err(refusal) => Ok(refusal),
        Ok(answer) => Err(answer),
    });
    assert!(refusal.contains("expired"), "{refusal}");
    certificates.good("gateway");
    until("clients take the gateway", EFFECT, || {
        certificates.through_gateway()
    });

    let count = load.expect_no_failure("what was connected before");
    println!("  {count} requests on connections that stayed");
    assert!(mesh.process.status().is_none(), "the proxy has ended");
    let said = mesh.read("said");
    assert!(!said.contains("panicked"), "{said}");
}

fn address(port: u16) -> Value {
    json!({ "socket_address": { "address": "127.0.0.1", "port_value": port } })
}

fn bootstrap(dir: &Path, service: u16) -> Value {
    let file = |name: &str| json!({ "filename": dir.join(name) });
    let common = |name: &str, verifies: bool| {
        let mut common = json!({ "tls_certificates": [{
            "certificate_chain": file(&format!("{name}.pem")),
            "private_key": file("key.pem"),
        }] });
        if verifies {
            common["validation_context"] = json!({ "trusted_ca": file("root.pem") });
        }
        common
    };
    let extension = "type.googleapis.com/envoy.extensions";
    let tls = |kind: &str, config: Value| {
        let mut config = config;
        config["@type"] = format!("{extension}.transport_sockets.tls.v3.{kind}").into();
        json!({ "name": "tls", "typed_config": config })
    };
    let served = |name: &str, verifies: bool| {
        let config = json!({
            "require_client_certificate": verifies,
            "common_tls_context": common(name, verifies),
        });
        tls("DownstreamTlsContext", config)
    };
    let cluster = |name: &str, port: u16| {
        json!({
            "name": name,
            "type": "STATIC",
            "connect_timeout": "5s",
            "load_assignment": { "cluster_name": name, "endpoints": [{ "lb_endpoints": [
                { "endpoint": { "address": address(port) } },
            ] }] },
        })
    };
    let calling = |name: &str| {
        let mut cluster = cluster(name, SERVER);
        let config = json!({ "common_tls_context": common("workload", true) });
        cluster["transport_socket"] = tls("UpstreamTlsContext", config);
        cluster
    };
    let mut fresh = calling("fresh");
    fresh["typed_extension_protocol_options"] = json!({
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": format!("{extension}.upstreams.http.v3.HttpProtocolOptions"),
            "common_http_protocol_options": { "max_requests_per_connection": 1 },
            "explicit_http_config": { "http_protocol_options": {} },
        },
    });
    let listener = |name: &str, port: u16, routes: Value, socket: Option<Value>, log: bool| {
        let mut manager = json!({
            "@type": format!("{extension}.filters.network.http_connection_manager.v3.HttpConnectionManager"),
            "stat_prefix": name,
            "route_config": { "virtual_hosts": [{ "name": "any", "domains": ["*"], "routes": routes }] },
            "http_filters": [{ "name": "envoy.filters.http.router", "typed_config": {
                "@type": format!("{extension}.filters.http.router.v3.Router"),
            } }],
        });
        if log {
            manager["access_log"] = json!([{ "name": "log", "typed_config": {
                "@type": format!("{extension}.access_loggers.file.v3.FileAccessLog"),
                "path": dir.join("access.log"),
                "log_format": { "text_format_source": { "inline_string": LOG_FORMAT } },
            } }]);
        }
        let mut chain = json!({ "filters": [{ "name": "http", "typed_config": manager }] });
        if let Some(socket) = socket {
            chain["transport_socket"] = socket;
        }
        json!({ "name": name, "address": address(port), "filter_chains": [chain] })
    };
    let to = |cluster: &str| json!({ "match": { "prefix": "/" }, "route": { "cluster": cluster } });
    let mut first = to("fresh");
    first["match"]["headers"] = json!([{ "name": "x-fresh", "present_match": true }]);
    json!({
        "node": { "id": "certificates", "cluster": "chaos" },
        "admin": { "address": address(ADMIN) },
        "static_resources": {
            "listeners": [
                listener("caller", CALLER, json!([first, to("kept")]), None, true),
                listener("server", SERVER, json!([to("service")]), Some(served("server", true)), false),
                listener("gateway", GATEWAY, json!([to("service")]), Some(served("gateway", false)), false),
            ],
            "clusters": [calling("kept"), fresh, cluster("service", service)],
        },
    })
}
