//! A control plane whose content a test sets, and a proxy's configuration under it.

#![allow(dead_code)] // Each test uses a part.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::Node;
use meltemi_proxy::bootstrap::{Bootstrap, Format};
use meltemi_proxy::config::{Handle, Kind, Manager, Options, Readiness};
use meltemi_schema::encode;
use meltemi_xds::server::{AdsServer, Nack, PeerInfo, ResourceSource, bind_unix, serve_unix};
use meltemi_xds::{Resource, ResourceSet, Subscription};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// A control plane whose content the test sets.
#[derive(Clone)]
pub struct Source(Arc<Inner>);

struct Inner {
    content: Mutex<BTreeMap<&'static str, ResourceSet>>,
    version: watch::Sender<u64>,
    nacks: mpsc::UnboundedSender<String>,
}

impl Source {
    pub fn set(&self, kind: Kind, resources: &[Value]) {
        let name = |resource: &Value| {
            let names = [&resource["name"], &resource["cluster_name"]];
            let name = names.into_iter().find_map(Value::as_str);
            name.unwrap().to_owned()
        };
        let named = resources.iter().map(|r| (name(r), r.clone())).collect();
        self.set_named(kind, named);
    }

    /// Resources whose names are not those of the messages.
    pub fn set_named(&self, kind: Kind, resources: Vec<(String, Value)>) {
        let url = kind.type_url();
        let message = url.rsplit('/').next().unwrap();
        let set = resources
            .into_iter()
            .map(|(name, resource)| {
                let bytes = encode(message, &resource).unwrap();
                Resource::from_value(name, url, Bytes::from(bytes))
            })
            .collect();
        self.0.content.lock().unwrap().insert(url, set);
        self.0.version.send_modify(|version| *version += 1);
    }
}

impl ResourceSource for Source {
    type Proxy = ();

    fn connect(&self, _: &Node, _: &PeerInfo) -> Result<(), tonic::Status> {
        Ok(())
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.0.version.subscribe()
    }

    fn resources(&self, _: &(), type_url: &str, _: &Subscription) -> ResourceSet {
        let content = self.0.content.lock().unwrap();
        content.get(type_url).cloned().unwrap_or_default()
    }

    fn on_nack(&self, _: &(), nack: &Nack<'_>) {
        let _ = self.0.nacks.send(nack.message.to_owned());
    }
}

pub struct Mesh {
    pub source: Source,
    pub nacks: mpsc::UnboundedReceiver<String>,
    pub handle: Handle,
    pub shutdown: CancellationToken,
    _home: tempfile::TempDir,
}

impl Drop for Mesh {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Mesh {
    pub fn start() -> Self {
        Self::start_with(Options::default())
    }

    pub fn start_with(options: Options) -> Self {
        let home = tempfile::tempdir().unwrap();
        let socket = home.path().join("xds.sock");
        let (nacks, receiver) = mpsc::unbounded_channel();
        let source = Source(Arc::new(Inner {
            content: Mutex::default(),
            version: watch::channel(0).0,
            nacks,
        }));
        let shutdown = serve(&source, &socket);
        let bootstrap = Bootstrap::parse(bootstrap(&socket).as_bytes(), Format::Json).unwrap();
        let handle = Manager::start(bootstrap, options).unwrap();
        Self {
            source,
            nacks: receiver,
            handle,
            shutdown,
            _home: home,
        }
    }

    pub async fn until(&self, what: impl Fn(&Handle) -> bool) {
        let mut snapshots = self.handle.snapshots.clone();
        let mut readiness = self.handle.readiness();
        within(async {
            while !what(&self.handle) {
                tokio::select! {
                    _ = snapshots.changed() => {}
                    _ = readiness.changed() => {}
                    // Records change without a publication, too.
                    () = tokio::time::sleep(Duration::from_millis(5)) => {}
                }
            }
        })
        .await;
    }

    pub async fn live(&self) {
        let mut readiness = self.handle.readiness();
        within(readiness.wait_for(|state| *state == Readiness::Live))
            .await
            .unwrap();
    }
}

pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future)
        .await
        .expect("did not happen in time")
}

pub fn serve(source: &Source, socket: &Path) -> CancellationToken {
    let shutdown = CancellationToken::new();
    let server = AdsServer::new(source.clone(), shutdown.clone());
    let listener = bind_unix(socket).unwrap();
    let routes = tonic::service::Routes::new(server);
    tokio::spawn(serve_unix(listener, routes, shutdown.clone()));
    shutdown
}

pub fn bootstrap(socket: &Path) -> String {
    json!({
        "node": {"id": "sidecar~10.0.0.1~a.b~b.svc.cluster.local"},
        "dynamic_resources": {
            "ads_config": {"api_type": "DELTA_GRPC", "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}]},
            "cds_config": {"ads": {}, "initial_fetch_timeout": "0s"},
            "lds_config": {"ads": {}, "initial_fetch_timeout": "0s"},
        },
        "static_resources": {"clusters": [{
            "name": "xds-grpc",
            "load_assignment": {"cluster_name": "xds-grpc", "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": socket}}}}]}]},
        }]},
    })
    .to_string()
}

pub fn cluster(name: &str, timeout: &str) -> Value {
    json!({
        "name": name,
        "type": "EDS",
        "connect_timeout": timeout,
        "eds_cluster_config": {"eds_config": {"ads": {}, "initial_fetch_timeout": "0s"}},
    })
}

pub fn endpoints(name: &str, ports: &[u16]) -> Value {
    let endpoints: Vec<Value> = ports
        .iter()
        .map(|port| json!({"endpoint": {"address": {"socket_address": {"address": "10.0.0.9", "port_value": port}}}}))
        .collect();
    json!({"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]})
}

pub fn listener(name: &str, port: u16, table: &str) -> Value {
    json!({
        "name": name,
        "address": {"socket_address": {"address": "10.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{"name": "hcm", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": name,
            "rds": {"route_config_name": table, "config_source": {"ads": {}, "initial_fetch_timeout": "0s"}},
            "http_filters": [{"name": "router", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
        }}]}],
    })
}

pub fn table(name: &str, cluster: &str) -> Value {
    json!({"name": name, "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
        {"match": {"prefix": "/"}, "route": {"cluster": cluster}}]}]})
}
