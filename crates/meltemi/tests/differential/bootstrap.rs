//! Bootstraps as both proxies read them. What differs between the two is where they listen
//! and where they log.

use crate::common::ports::free_port;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// One access-log field a line's part, by the name that the comparison uses.
pub const LOG_FIELDS: &[(&str, &str)] = &[
    ("protocol", "PROTOCOL"),
    ("method", "REQ(:METHOD)"),
    ("path", "REQ(:PATH)"),
    ("original-path", "REQ(X-ENVOY-ORIGINAL-PATH)"),
    ("authority", "REQ(:AUTHORITY)"),
    ("code", "RESPONSE_CODE"),
    ("details", "RESPONSE_CODE_DETAILS"),
    ("flags", "RESPONSE_FLAGS"),
    ("cluster", "UPSTREAM_CLUSTER"),
    ("route", "ROUTE_NAME"),
    ("received", "BYTES_RECEIVED"),
    ("sent", "BYTES_SENT"),
    ("termination", "CONNECTION_TERMINATION_DETAILS"),
    ("failure", "UPSTREAM_TRANSPORT_FAILURE_REASON"),
    ("attempts", "UPSTREAM_REQUEST_ATTEMPT_COUNT"),
];

/// What a group of cases configures: listeners without address and log, and clusters.
#[derive(Default)]
pub struct Config {
    pub listeners: Vec<Value>,
    pub clusters: Vec<Value>,
    /// The overload manager.
    pub overload: Option<Value>,
}

/// Where one proxy's copy of a configuration listens and logs.
pub struct Place {
    pub listeners: Vec<u16>,
    pub admin: u16,
}

impl Place {
    pub fn new(listeners: usize) -> Self {
        Self {
            listeners: (0..listeners).map(|_| free_port()).collect(),
            admin: free_port(),
        }
    }
}

pub fn typed(kind: &str, fields: Value) -> Value {
    let mut out = json!({ "@type": format!("type.googleapis.com/envoy.extensions.{kind}") });
    let fields = fields.as_object().expect("fields are an object");
    out.as_object_mut()
        .expect("an object")
        .extend(fields.clone());
    out
}

pub fn address(port: u16) -> Value {
    json!({ "socket_address": { "address": "127.0.0.1", "port_value": port } })
}

pub fn bootstrap(config: &Config, place: &Place, log: &Path) -> Value {
    let listeners = config.listeners.iter().zip(&place.listeners);
    let listeners = listeners.enumerate().map(|(index, (listener, port))| {
        let mut listener = listener.clone();
        listener["name"] = json!(format!("listener-{index}"));
        listener["address"] = address(*port);
        put_log(&mut listener, log);
        listener
    });
    let mut bootstrap = json!({
        "node": { "id": "differential", "cluster": "differential" },
        "admin": { "address": address(place.admin) },
        "static_resources": {
            "listeners": listeners.collect::<Vec<_>>(),
            "clusters": config.clusters,
        },
    });
    if let Some(overload) = &config.overload {
        bootstrap["overload_manager"] = overload.clone();
    }
    bootstrap
}

/// Stands for the file of the access log.
pub const LOG: &str = "{log}";

/// Puts the access log into every terminal filter, behind those that it has; the listener keeps
/// its own.
fn put_log(listener: &mut Value, path: &Path) {
    let fields: Vec<String> = LOG_FIELDS
        .iter()
        .map(|(_, operator)| format!("%{operator}%"))
        .collect();
    let log = json!([{
        "name": "log",
        "typed_config": typed("access_loggers.file.v3.FileAccessLog", json!({
            "path": path,
            "log_format": { "text_format_source": { "inline_string": fields.join("\t") + "\n" } },
        })),
    }]);
    placed(&mut listener["access_log"], path);
    let chains = listener["filter_chains"]
        .as_array_mut()
        .into_iter()
        .flatten();
    for filter in chains.filter_map(|chain| chain["filters"].as_array_mut()?.last_mut()) {
        let mut own = filter["typed_config"]["access_log"].take();
        placed(&mut own, path);
        let logs = [own, log.clone()].map(|logs| logs.as_array().cloned().unwrap_or_default());
        filter["typed_config"]["access_log"] = logs.concat().into();
    }
}

/// Gives logs their file.
fn placed(logs: &mut Value, path: &Path) {
    for log in logs.as_array_mut().into_iter().flatten() {
        if log["typed_config"]["path"] == LOG {
            log["typed_config"]["path"] = json!(path);
        }
    }
}

/// A listener with one HTTP connection manager; `more` is merged into the manager.
pub fn http_listener(hosts: Value, more: Value) -> Value {
    http_listener_with(json!([]), hosts, more)
}

/// As [`http_listener`], with HTTP filters before the router.
pub fn http_listener_with(filters: Value, hosts: Value, more: Value) -> Value {
    let mut filters = filters.as_array().expect("filters are a list").clone();
    filters.push(json!({
        "name": "envoy.filters.http.router",
        "typed_config": typed("filters.http.router.v3.Router", json!({})),
    }));
    let mut manager = typed(
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        json!({
            "stat_prefix": "differential",
            "codec_type": "AUTO",
            "route_config": { "name": "routes", "virtual_hosts": hosts, "validate_clusters": false },
            "http_filters": filters,
        }),
    );
    let more = more.as_object().expect("an object").clone();
    manager.as_object_mut().expect("an object").extend(more);
    json!({ "filter_chains": [{ "filters": [{
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": manager,
    }] }] })
}

/// A virtual host for every name.
pub fn any_host(routes: Value) -> Value {
    json!([{ "name": "any", "domains": ["*"], "routes": routes }])
}

/// A static cluster of endpoints on loopback; `more` is merged into it.
pub fn cluster(name: &str, ports: &[u16], more: Value) -> Value {
    let endpoints: Vec<Value> = ports
        .iter()
        .map(|port| json!({ "endpoint": { "address": address(*port) } }))
        .collect();
    let mut out = json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": { "cluster_name": name, "endpoints": [{ "lb_endpoints": endpoints }] },
    });
    let more = more.as_object().expect("an object").clone();
    out.as_object_mut().expect("an object").extend(more);
    out
}

/// One cluster an upstream, called like it.
pub fn clusters(ports: &BTreeMap<&'static str, u16>) -> Vec<Value> {
    let one = |(name, port): (&&str, &u16)| cluster(name, &[*port], json!({}));
    ports.iter().map(one).collect()
}

/// Makes a cluster speak HTTP/2 without TLS.
pub fn http2_upstream() -> Value {
    json!({ "typed_extension_protocol_options": {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed(
            "upstreams.http.v3.HttpProtocolOptions",
            json!({ "explicit_http_config": { "http2_protocol_options": {} } }),
        ),
    } })
}
