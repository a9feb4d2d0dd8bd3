//! Envoy's bootstrap, derived of ours: the control plane behind the relay, the certificates
//! behind SDS, the admin API on a Unix socket, and sockets that the capture rules let pass.

use crate::bootstrap::Format;
use crate::net::sockets::PROXY_MARK;
use serde_json::{Map, Value, json};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Cluster by which configurations in Istio's form fetch the workload's own secrets.
const SDS_CLUSTER: &str = "sds-grpc";
/// Node metadata by which a control plane knows a data plane with Istio's extensions. Envoy
/// as its project builds it has none of them and would refuse listeners that need them.
const EXTENDED: [&str; 2] = ["MELTEMI_VERSION", "ISTIO_VERSION"];

/// What becomes of a bootstrap.
pub struct Derivation<'a> {
    /// The cluster that leads to the control plane now.
    pub ads_cluster: Option<&'a str>,
    /// Unix sockets.
    pub xds: &'a Path,
    pub sds: Option<&'a Path>,
    pub admin: &'a Path,
    /// Upstream sockets get the mark that exempts them from capture.
    pub marked: bool,
}

/// Reads the bootstrap `from` and writes what Envoy gets (mode 0600).
///
/// # Errors
/// When it is a binary protobuf, or cannot be read or written.
pub fn write(from: &Path, derivation: &Derivation<'_>, to: &Path) -> Result<(), String> {
    let failed =
        |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let content = std::fs::read(from).map_err(|error| failed(from, &error))?;
    let bootstrap: Value = match Format::of(from, &content) {
        Format::Json => serde_json::from_slice(&content).map_err(|error| failed(from, &error))?,
        Format::Yaml => {
            let text = std::str::from_utf8(&content).map_err(|error| failed(from, &error))?;
            serde_saphyr::from_str(text).map_err(|error| failed(from, &error))?
        }
        Format::Protobuf => {
            return Err(failed(
                from,
                &"with --envoy the bootstrap must be YAML or JSON, not binary protobuf",
            ));
        }
    };
    let derived = derive(bootstrap, derivation);
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)
        .and_then(|mut file| file.write_all(derived.to_string().as_bytes()))
        .map_err(|error| failed(to, &error))
}

fn derive(mut bootstrap: Value, derivation: &Derivation<'_>) -> Value {
    // What has another form is refused by Envoy in its own words.
    let Some(root) = bootstrap.as_object_mut() else {
        return bootstrap;
    };
    root.insert(
        "admin".into(),
        json!({"address": {"pipe": {"path": derivation.admin, "mode": 0o600}}}),
    );
    if let Some(metadata) = root
        .get_mut("node")
        .and_then(|node| node.get_mut("metadata"))
        .and_then(Value::as_object_mut)
    {
        metadata.retain(|key, _| !EXTENDED.contains(&key.as_str()));
    }
    return_soon(root);
    if let Some(clusters) = clusters(root) {
        for cluster in clusters.iter_mut() {
            if derivation.ads_cluster.is_some()
                && cluster["name"].as_str() == derivation.ads_cluster
            {
                lead(cluster, derivation.xds);
            }
        }
        if let Some(path) = derivation.sds
            && !clusters
                .iter()
                .any(|cluster| cluster["name"] == SDS_CLUSTER)
        {
            clusters.push(agent_cluster(SDS_CLUSTER, path));
        }
    }
    if derivation.marked {
        let manager = root
            .entry("cluster_manager")
            .or_insert_with(|| Value::Object(Map::new()));
        manager["upstream_bind_config"] = json!({"socket_options": [{
            "description": "not captured",
            "level": libc::SOL_SOCKET,
            "name": libc::SO_MARK,
            "int_value": PROXY_MARK,
            "state": "STATE_PREBIND",
        }]});
    }
    bootstrap
}

/// A lost stream to the control plane is opened again as our own proxy does it: Envoy's default
/// lets pauses grow to 30 s, for which a new control plane would not be heard.
fn return_soon(root: &mut Map<String, Value>) {
    let services = root
        .get_mut("dynamic_resources")
        .and_then(|resources| resources.get_mut("ads_config"))
        .and_then(|config| config.get_mut("grpc_services"))
        .and_then(Value::as_array_mut);
    for service in services.into_iter().flatten() {
        let envoy = service.get_mut("envoy_grpc").and_then(Value::as_object_mut);
        if let Some(envoy) = envoy {
            // A policy that the user gave stays.
            envoy.entry("retry_policy").or_insert_with(
                || json!({"retry_back_off": {"base_interval": "0.05s", "max_interval": "10s"}}),
            );
        }
    }
}

fn clusters(root: &mut Map<String, Value>) -> Option<&mut Vec<Value>> {
    root.entry("static_resources")
        .or_insert_with(|| Value::Object(Map::new()))
        .as_object_mut()?
        .entry("clusters")
        .or_insert_with(|| Value::Array(Vec::new()))
        .as_array_mut()
}

/// Turns a cluster, whatever it was, into one of a single Unix socket in plain text.
fn lead(cluster: &mut Value, socket: &Path) {
    let name = cluster["name"].as_str().unwrap_or_default().to_owned();
    *cluster = agent_cluster(&name, socket);
}

fn agent_cluster(name: &str, socket: &Path) -> Value {
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": socket}}}}]}],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_control_plane_is_behind_the_relay_and_the_rest_stays() {
        let given = json!({
            "node": {"id": "n", "metadata": {"MELTEMI_VERSION": "1", "ISTIO_VERSION": "1", "NAMESPACE": "a"}},
            "dynamic_resources": {"ads_config": {"api_type": "DELTA_GRPC", "grpc_services": [
                {"envoy_grpc": {"cluster_name": "xds"}},
                {"envoy_grpc": {"cluster_name": "xds", "retry_policy": {"num_retries": 1}}},
            ]}},
            "static_resources": {"clusters": [
                {"name": "xds", "type": "STRICT_DNS", "transport_socket": {"name": "tls"}},
                {"name": "other", "type": "STATIC"},
            ]},
            "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 15000}}},
        });
        let derivation = Derivation {
            ads_cluster: Some("xds"),
            xds: Path::new("/run/xds"),
            sds: Some(Path::new("/run/sds")),
            admin: Path::new("/run/admin"),
            marked: true,
        };
        let derived = derive(given, &derivation);
        assert_eq!(derived["node"]["metadata"], json!({"NAMESPACE": "a"}));
        assert_eq!(derived["admin"]["address"]["pipe"]["path"], "/run/admin");
        let services = &derived["dynamic_resources"]["ads_config"]["grpc_services"];
        let given = &services[1]["envoy_grpc"]["retry_policy"];
        assert_eq!(*given, json!({"num_retries": 1}));
        let service = &services[0]["envoy_grpc"];
        assert_eq!(
            service["retry_policy"]["retry_back_off"]["max_interval"],
            "10s"
        );
        let clusters = derived["static_resources"]["clusters"].as_array().unwrap();
        let names: Vec<_> = clusters
            .iter()
            .map(|c| c["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["xds", "other", "sds-grpc"]);
        let address = |cluster: &Value| {
            cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]
                ["pipe"]["path"]
                .clone()
        };
        assert_eq!(address(&clusters[0]), "/run/xds");
        assert!(clusters[0].get("transport_socket").is_none());
        assert_eq!(address(&clusters[2]), "/run/sds");
        let options = &derived["cluster_manager"]["upstream_bind_config"]["socket_options"][0];
        assert_eq!(options["int_value"], PROXY_MARK);
        // What we write, our own reader takes too.
        let text = derived.to_string();
        crate::bootstrap::Bootstrap::parse(text.as_bytes(), Format::Json).unwrap();
    }
}
