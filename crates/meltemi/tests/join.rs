//! Proxies that nobody supervises join a control plane over TLS: a gateway and a sidecar, each
//! with a bootstrap, a join token and the mesh's root certificate.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::http::{Request, Response};
use common::load::{Load, is_200};
use common::output::{Output, run};
use common::ports::free_port;
use common::process::Killed;
use common::wait::{until, until_true};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const LIFETIME: &str = "8s";
/// For a proxy to join and to be configured.
const JOINED: Duration = Duration::from_secs(30);
/// For a rotation of the root: two steps, each a lifetime.
const ROTATED: Duration = Duration::from_secs(60);
/// The sidecar's address.
const WEB: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A control plane with the two proxies' configuration.
struct Mesh {
    home: tempfile::TempDir,
    tls_port: u16,
    /// The gateway's listener.
    edge_port: u16,
    /// The sidecar's.
    web_port: u16,
    _control_plane: Killed,
}

impl Mesh {
    fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let (tls_port, edge_port, web_port) = (free_port(), free_port(), free_port());
        let application = application();
        std::fs::create_dir(home.path().join("config")).unwrap();
        let config = configuration(edge_port, web_port, application);
        std::fs::write(home.path().join("config/mesh.yaml"), config).unwrap();
        let mut command = meltemi(home.path(), "control-plane.log");
        command
            .args(["control-plane", "--config-dir", "config"])
            .args(["--api-socket", "api.sock", "--cert-ttl", LIFETIME])
            .args(["--tls-address", &format!("127.0.0.1:{tls_port}")]);
        let control_plane = Killed::spawn(command).unwrap();
        let mesh = Self {
            home,
            tls_port,
            edge_port,
            web_port,
            _control_plane: control_plane,
        };
        let root = until("the control plane", JOINED, || {
            let root = mesh.cli(&["ca", "root"]);
            (root.code == 0).then_some(root.stdout).ok_or(root.stderr)
        });
        std::fs::write(mesh.home.path().join("root.pem"), root).unwrap();
        mesh
    }

    fn cli(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_meltemi"));
        command
            .args(arguments)
            .current_dir(self.home.path())
            .env("MELTEMI_MESH", "api.sock");
        run(command, b"", JOINED)
    }

    /// Makes a token for a service account of the namespace `shop`, in a file of its name.
    fn token(&self, account: &str, ttl: &str) -> PathBuf {
        let arguments = ["token", "create", "-n", "shop", "--ttl", ttl];
        let output = self.cli(&[&arguments[..], &["--service-account", account]].concat());
        let path = self.home.path().join(format!("{account}.token"));
        std::fs::write(&path, output.expect_success("token create").stdout).unwrap();
        path
    }

    /// Starts a proxy, with its log in `NAME.log`.
    fn proxy(&self, name: &str, role: &str, address: Ipv4Addr, token: &Path) -> Killed {
        let bootstrap = bootstrap(name, role, address, self.tls_port);
        let file = format!("{name}.json");
        std::fs::write(self.home.path().join(&file), bootstrap.to_string()).unwrap();
        let mut command = meltemi(self.home.path(), &format!("{name}.log"));
        command
            .args(["proxy", "-c", &file, "--root-cert", "root.pem"])
            .arg("--token-file")
            .arg(token);
        Killed::spawn(command).unwrap()
    }

    fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.home.path().join(format!("{name}.log"))).unwrap_or_default()
    }

    fn request(&self) -> Request {
        Request::get(self.edge_port, "/")
    }

    /// Roles of the trusted roots.
    fn roots(&self) -> Vec<String> {
        let state = self.cli(&["ca", "status", "-o", "json"]).json();
        let roots = state["roots"].as_array().unwrap().iter();
        roots
            .map(|root| root["role"].as_str().unwrap().to_owned())
            .collect()
    }

    /// What all of them wrote.
    fn story(&self) -> String {
        ["control-plane", "web", "edge"]
            .map(|name| format!("--- {name}\n{}", common::mesh::tail(&self.log(name), 15)))
            .join("\n")
    }
}

fn meltemi(home: &Path, log: &str) -> Command {
    let log = std::fs::File::create(home.join(log)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_meltemi"));
    command
        .current_dir(home)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    command
}

/// A server that answers with the identity that its sidecar says the caller has; its port.
fn application() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    port
}

fn answer(stream: TcpStream) {
    let mut caller = String::new();
    for line in BufReader::new(&stream).lines().map_while(Result::ok) {
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("x-forwarded-client-cert: ") {
            value.clone_into(&mut caller);
        }
    }
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n", caller.len());
    // A client that went away is not waited for.
    let _ = write!(&stream, "{head}connection: close\r\n\r\n{caller}");
}

/// One service behind a sidecar, a gateway before it, plaintext forbidden. Every request has a
/// connection of its own between the two, so that each is a handshake.
fn configuration(edge: u16, web: u16, application: u16) -> String {
    format!(
        "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: web, namespace: shop}}
spec:
  hosts: [web.internal]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: {web}, name: http, protocol: HTTP}}]
  workloadSelector: {{labels: {{app: web}}}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: web, namespace: shop}}
spec:
  address: {WEB}
  serviceAccount: web
  labels: {{app: web, security.istio.io/tlsMode: istio}}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: web, namespace: shop}}
spec:
  workloadSelector: {{labels: {{app: web}}}}
  ingress:
  - port: {{number: {web}, name: http, protocol: HTTP}}
    bind: {WEB}
    captureMode: NONE
    defaultEndpoint: 127.0.0.1:{application}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: web, namespace: shop}}
spec:
  host: web.internal
  trafficPolicy: {{connectionPool: {{http: {{maxRequestsPerConnection: 1}}}}}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge, namespace: shop}}
spec:
  selector: {{app: edge}}
  servers: [{{port: {{number: {edge}, name: http, protocol: HTTP}}, hosts: ['*']}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: edge, namespace: shop}}
spec:
  hosts: ['*']
  gateways: [edge]
  http: [{{route: [{{destination: {{host: web.internal}}}}]}}]
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: default, namespace: shop}}
spec: {{mtls: {{mode: STRICT}}}}
"
    )
}

/// As docs/proxy.md shows it.
fn bootstrap(name: &str, role: &str, address: Ipv4Addr, tls_port: u16) -> serde_json::Value {
    let ads = serde_json::json!({"ads": {}, "resource_api_version": "V3"});
    let secret = |name: &str| serde_json::json!({"name": name, "sds_config": ads});
    serde_json::json!({
        "node": {
            "id": format!("{role}~{address}~{name}.shop~shop.svc.cluster.local"),
            "cluster": format!("{name}.shop"),
            "metadata": {
                "NAME": name, "NAMESPACE": "shop", "SERVICE_ACCOUNT": name, "WORKLOAD_NAME": name,
                "LABELS": {"app": name}, "INSTANCE_IPS": address.to_string(),
                "INTERCEPTION_MODE": "NONE",
            },
        },
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC", "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}],
            },
            "cds_config": ads, "lds_config": ads,
        },
        "static_resources": {"clusters": [{
            "name": "xds-grpc",
            "type": "STATIC",
            "load_assignment": {"cluster_name": "xds-grpc", "endpoints": [{"lb_endpoints": [
                {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": tls_port}}}},
            ]}]},
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": {"http2_protocol_options": {}},
                },
            },
            "transport_socket": {
                "name": "envoy.transport_sockets.tls",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                    "sni": "istiod.istio-system.svc",
                    "common_tls_context": {
                        "tls_certificate_sds_secret_configs": [secret("default")],
                        "validation_context_sds_secret_config": secret("ROOTCA"),
                    },
                },
            },
        }]},
    })
}

/// The gateway is known to the application.
fn is_from_edge(response: &Response) -> Result<(), String> {
    is_200(response)?;
    let expected = "URI=spiffe://cluster.local/ns/shop/sa/edge";
    match response.body.contains(expected) {
        true => Ok(()),
        false => Err(format!("the caller is {:?}", response.body)),
    }
}

#[test]
fn joined_proxies_take_part_in_mutual_tls_while_certificates_and_the_root_rotate() {
    let mesh = Mesh::start();
    let _web = mesh.proxy("web", "sidecar", WEB, &mesh.token("web", "1h"));
    let edge = Ipv4Addr::new(127, 0, 0, 3);
    let _edge = mesh.proxy("edge", "router", edge, &mesh.token("edge", "1h"));
    until("the first answer", JOINED, || {
        let response = mesh.request().send();
        response
            .and_then(|response| is_from_edge(&response))
            .map_err(|reason| format!("{reason}\n{}", mesh.story()))
    });
    // The sidecar accepts nobody without a certificate.
    let mut plain = TcpStream::connect((WEB, mesh.web_port)).unwrap();
    let _ = plain.write_all(b"GET / HTTP/1.1\r\nhost: web\r\n\r\n");
    let mut refused = String::new();
    let _ = BufReader::new(plain).read_line(&mut refused);
    assert_eq!(refused, "", "plaintext is answered");

    let pause = Duration::from_millis(10);
    let load = Load::start(mesh.request(), 2, pause, is_from_edge);
    load.wait_for(20);
    mesh.cli(&["ca", "rotate"]).expect_success("ca rotate");
    assert_eq!(mesh.roots(), ["signing", "next"]);
    let again = mesh.cli(&["ca", "rotate"]);
    assert!(
        again.code == 1 && again.stderr.contains("already"),
        "{again}"
    );
    for stage in [&["signing", "former"][..], &["signing"]] {
        until_true("the next step", ROTATED, || mesh.roots() == stage);
    }
    // Until both have renewed once more, with nothing but the new root.
    let renewals = |name: &str| mesh.log(name).matches("renewed the certificate").count();
    for name in ["web", "edge"] {
        let before = renewals(name);
        assert!(before >= 2, "{name}: {before}\n{}", mesh.story());
        until_true("another renewal", JOINED, || renewals(name) > before);
    }
    load.wait_for(20);
    let count = load.expect_no_failure("rotation of the root under load");
    println!("  {count} requests over a rotation of the root");
}

#[test]
fn a_token_that_is_used_expired_or_of_elsewhere_is_refused_with_the_reason() {
    let mesh = Mesh::start();
    let refused = |token: &Path, reason: &str| {
        let _proxy = mesh.proxy("web", "sidecar", WEB, token);
        until("the refusal", JOINED, || {
            let log = mesh.log("web");
            let told = log.contains(reason) && log.contains("meltemi token create");
            told.then_some(()).ok_or(log)
        });
    };
    let token = mesh.token("web", "1h");
    {
        let _proxy = mesh.proxy("web", "sidecar", WEB, &token);
        until("a certificate", JOINED, || {
            let log = mesh.log("web");
            log.contains("got a certificate").then_some(()).ok_or(log)
        });
    }
    refused(&token, "it was used at");
    let list = mesh.cli(&["token", "list"]).expect_success("token list");
    assert!(list.stdout.contains("used"), "{list}");

    let expired = mesh.token("web", "1s");
    until_true("its end", JOINED, || {
        mesh.cli(&["token", "list"]).stdout.contains("expired")
    });
    refused(&expired, "it expired at");

    let other = Mesh::start();
    refused(&other.token("web", "1h"), "this mesh does not know it");

    // A token stands for one workload: it does not open the door to another one's configuration.
    let foreign = mesh.token("edge", "1h");
    let _proxy = mesh.proxy("web", "sidecar", WEB, &foreign);
    until("the refusal", JOINED, || {
        let log = mesh.log("control-plane");
        let told = log.contains("but its identity is edge in shop");
        told.then_some(()).ok_or(log)
    });
    let wrong = mesh.cli(&["token", "create", "--service-account", "a/b"]);
    assert!(wrong.code == 1 && wrong.stderr.contains("a/b"), "{wrong}");
}
