//! What we send, real Envoy takes: every captured scenario, one after the other as a running
//! proxy would see them, over both variants of ADS, with secrets by SDS. Nothing may be
//! refused, and everything must come into force. The same as a static configuration passes
//! Envoy's validation mode, which also looks for the clusters of routes.
//!
//! Envoy runs in a network namespace of its own, so that listeners can have their ports.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../../../meltemi/tests/common/envoy.rs"]
mod envoy;
mod running;
mod source;
#[path = "../../../meltemi/tests/common/tools.rs"]
#[allow(dead_code, reason = "each suite uses its own part")]
mod tools;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::config::core::v3::DataSource;
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as tls;
use meltemi_api::Object;
use meltemi_discovery::{Flavor, Resources};
use meltemi_xds::server::{bind_unix, serve_unix};
use meltemi_xds::{AdsServer, Resource, ResourceSet, SecretServer, type_url};
use running::{Running, bootstrap, isolated};
use serde_json::Value;
use source::{Sets, Source};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

const SCENARIOS: [&str; 8] = [
    "bookinfo",
    "routing",
    "strict",
    "egress",
    "traffic-policy",
    "gateway-tls",
    "policy",
    "dynamic-dns",
];
/// A scenario of our own: hosts that requests name, with each kind of TLS, and several caches for
/// the requests of one port.
const DYNAMIC_DNS: &str = include_str!("dynamic-dns.yaml");
const PROXIES: [&str; 5] = [
    "productpage-v1",
    "reviews-v1",
    "ratings-v1",
    "ingressgateway",
    "egressgateway",
];
/// For one configuration to be in force.
const LIMIT: Duration = Duration::from_secs(60);

/// Envoy and the cluster of the captures; says what is missing.
fn stage() -> Option<(PathBuf, Vec<Object>)> {
    let cluster = common::captured_cluster()?;
    match envoy::find() {
        Ok(path) => Some((path, cluster)),
        Err(reason) => {
            println!("skipped: {reason}");
            None
        }
    }
}

#[test]
fn envoys_validation_passes_every_scenario() {
    let Some((envoy, cluster)) = stage() else {
        return;
    };
    for name in PROXIES {
        let home = tempfile::tempdir().unwrap();
        let certificates = certificates(home.path());
        let mut proxy = common::captured_proxy(name);
        proxy.flavor = Flavor::Envoy;
        for scenario in SCENARIOS {
            let objects = objects(&cluster, scenario, &certificates);
            let resources = common::json(&common::translated(&objects, &proxy));
            let mut bootstrap = bootstrap(home.path(), &proxy.id, true);
            let statics = &mut bootstrap["static_resources"];
            let clusters = statics["clusters"].as_array_mut().unwrap();
            clusters.extend(resources["cds"].iter().cloned());
            statics["listeners"] = resources["lds"]
                .iter()
                .map(|listener| with_routes(listener, &resources["rds"]))
                .collect();
            let text = bootstrap.to_string();
            let left = text.split("\"rds\"").nth(1);
            assert_eq!(left, None, "{scenario}, {name}: routes of its own");
            let file = home.path().join("static.json");
            std::fs::write(&file, text).unwrap();
            let output = std::process::Command::new(&envoy)
                .args(["--mode", "validate", "--log-level", "error", "-c"])
                .arg(&file)
                .output()
                .unwrap();
            assert!(
                output.status.success(),
                "{scenario}, {name}: {}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }
}

/// A listener with its routes in place of their name.
fn with_routes(value: &Value, routes: &[Value]) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| {
                let name = &value["route_config_name"];
                match routes.iter().find(|route| route["name"] == *name) {
                    Some(route) if key == "rds" => ("route_config".to_owned(), route.clone()),
                    _ => (key.clone(), with_routes(value, routes)),
                }
            });
            Value::Object(fields.collect())
        }
        Value::Array(items) => items.iter().map(|item| with_routes(item, routes)).collect(),
        other => other.clone(),
    }
}

#[test]
fn envoy_takes_every_scenario() {
    let Some((envoy, cluster)) = stage() else {
        return;
    };
    if let Err(error) = isolated(Path::new("/bin/true")).and_then(|mut probe| probe.status()) {
        return println!("skipped: network namespaces are forbidden here: {error}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    for proxy in PROXIES {
        for delta in [true, false] {
            runtime.block_on(all_scenarios(&envoy, &cluster, proxy, delta));
        }
    }
}

async fn all_scenarios(envoy: &Path, cluster: &[Object], name: &str, delta: bool) {
    let mut proxy = common::captured_proxy(name);
    proxy.flavor = Flavor::Envoy;
    let source = Source::new();
    let home = tempfile::tempdir().unwrap();
    let shutdown = CancellationToken::new();
    let server = AdsServer::new(source.clone(), shutdown.clone());
    let listener = bind_unix(&home.path().join("xds")).unwrap();
    let routes = Routes::new(server.clone()).add_service(SecretServer(server));
    let serving = tokio::spawn(serve_unix(listener, routes, shutdown.clone()));
    let certificates = certificates(home.path());
    let mut running = None;
    for scenario in SCENARIOS {
        let place = format!(
            "{scenario}, {name}, {}",
            if delta { "delta" } else { "state of the world" }
        );
        let resources = common::translated(&objects(cluster, scenario, &certificates), &proxy);
        source.set(sets(&resources));
        let running =
            running.get_or_insert_with(|| Running::start(envoy, home.path(), &proxy.id, delta));
        let begun = Instant::now();
        loop {
            let refused = source.refusals();
            assert!(refused.is_empty(), "{place}: {refused:#?}");
            let missing = match running.dump().await {
                Ok(dump) => missing(&dump, &resources),
                Err(error) => Some(error),
            };
            let Some(missing) = missing else { break };
            assert!(
                begun.elapsed() < LIMIT && running.lives(),
                "{place}: {missing}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    drop(running);
    shutdown.cancel();
    serving.await.unwrap().unwrap();
}

fn objects(cluster: &[Object], scenario: &str, certificates: &Path) -> Vec<Object> {
    let directory = common::shared("istiod-xds").unwrap();
    let mut objects = cluster.to_vec();
    let config = match scenario {
        "dynamic-dns" => {
            objects.retain(|object| object.meta.kind != meltemi_api::Kind::MeshConfig);
            DYNAMIC_DNS.to_owned()
        }
        captured => {
            let file = directory.join(captured).join("config.yaml");
            std::fs::read_to_string(file).unwrap()
        }
    };
    // Envoy refuses names of files that it cannot read.
    let files = certificates.display().to_string();
    objects.extend(common::objects(&config.replace("/etc/certs", &files)));
    if !matches!(scenario, "bookinfo" | "gateway-tls") {
        objects.extend(common::read(&directory.join("bookinfo/config.yaml")));
    }
    objects
}

/// Files as an application would mount them.
fn certificates(home: &Path) -> PathBuf {
    let (certificate, key) = pair();
    let directory = home.join("certs");
    std::fs::create_dir(&directory).unwrap();
    for (name, content) in [
        ("c.pem", certificate),
        ("k.pem", key),
        ("ca.pem", certificate),
    ] {
        std::fs::write(directory.join(name), content).unwrap();
    }
    directory
}

/// What is not in force yet, by Envoy's own dump.
fn missing(dump: &Value, wanted: &Resources) -> Option<String> {
    let text = dump.to_string();
    for bad in [
        "\"error_state\"",
        "dynamic_warming_clusters",
        "\"warming_state\"",
    ] {
        if text.contains(bad) {
            return Some(format!("{bad} in the dump"));
        }
    }
    let names = |list: &str, at: &str| -> BTreeSet<String> {
        let configs = dump["configs"].as_array().into_iter().flatten();
        configs
            .flat_map(|config| config[list].as_array().into_iter().flatten())
            .filter_map(|one| one.pointer(at)?.as_str().map(str::to_owned))
            .collect()
    };
    let clusters = wanted.clusters.iter().map(|c| c.name.clone()).collect();
    let listeners = wanted.listeners.iter().map(|l| l.name.clone()).collect();
    let routes = wanted.routes.iter().map(|r| r.name.clone()).collect();
    for (kind, found, wanted) in [
        (
            "clusters",
            names("dynamic_active_clusters", "/cluster/name"),
            clusters,
        ),
        (
            // Removed ones are listed for as long as they drain.
            "listeners",
            names("dynamic_listeners", "/active_state/listener/name"),
            listeners,
        ),
        (
            "routes",
            names("dynamic_route_configs", "/route_config/name"),
            routes,
        ),
    ] {
        let wanted: BTreeSet<String> = wanted;
        let lacking: Vec<_> = wanted.difference(&found).collect();
        if !lacking.is_empty() {
            return Some(format!("{kind} not in force: {lacking:?}"));
        }
        // Routes of a removed listener live for as long as it drains.
        let left: Vec<_> = found.difference(&wanted).collect();
        if kind != "routes" && !left.is_empty() {
            return Some(format!("{kind} still in force: {left:?}"));
        }
    }
    None
}

fn sets(resources: &Resources) -> Sets {
    fn set<M: prost::Message + prost::Name>(
        messages: &[M],
        name: impl Fn(&M) -> &str,
    ) -> ResourceSet {
        messages
            .iter()
            .map(|message| Resource::encode(name(message), message))
            .collect()
    }
    let secrets: Vec<tls::Secret> = resources.secrets.iter().cloned().chain(own()).collect();
    BTreeMap::from([
        (type_url::CLUSTER, set(&resources.clusters, |c| &c.name)),
        (
            type_url::ENDPOINT,
            set(&resources.endpoints, |e| &e.cluster_name),
        ),
        (type_url::LISTENER, set(&resources.listeners, |l| &l.name)),
        (type_url::ROUTE, set(&resources.routes, |r| &r.name)),
        (type_url::SECRET, set(&secrets, |s| &s.name)),
    ])
}

/// A certificate that is its own root, and its key.
fn pair() -> &'static (String, String) {
    static MADE: std::sync::OnceLock<(String, String)> = std::sync::OnceLock::new();
    MADE.get_or_init(|| {
        let made = rcgen::generate_simple_self_signed(["mesh.test".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    })
}

/// A workload's certificate and the mesh's root.
fn own() -> [tls::Secret; 2] {
    let (certificate, key) = pair();
    let inline = |text: &String| {
        Some(DataSource {
            specifier: Some(Specifier::InlineString(text.clone())),
            ..Default::default()
        })
    };
    let secret = |name: &str, content| tls::Secret {
        name: name.to_owned(),
        r#type: Some(content),
    };
    [
        secret(
            "default",
            tls::secret::Type::TlsCertificate(tls::TlsCertificate {
                certificate_chain: inline(certificate),
                private_key: inline(key),
                ..Default::default()
            }),
        ),
        secret(
            "ROOTCA",
            tls::secret::Type::ValidationContext(tls::CertificateValidationContext {
                trusted_ca: inline(certificate),
                ..Default::default()
            }),
        ),
    ]
}
