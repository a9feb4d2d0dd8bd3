//! A proxy's bootstrap: who it is, and where its control plane is. As Istio's agent writes it.

use crate::plan::{PodKind, PodPlan};
use serde_json::{Map, Value, json};
use std::net::Ipv4Addr;
use std::path::Path;

/// The Istio release whose conventions we follow, as peers and istiod see it.
const ISTIO_VERSION: &str = "1.28.0";

/// The bootstrap of `plan`'s proxy. `loopback` is the node's metadata of that name in a mesh
/// without namespaces; its proxies have their admin API on their Unix socket alone, as a port
/// of the machine is open to all its users.
pub(crate) fn bootstrap(
    plan: &PodPlan,
    address: Ipv4Addr,
    loopback: Option<Value>,
    xds: &Path,
    version: &str,
    mesh: &str,
) -> Value {
    let admin = loopback.is_none().then(
        || json!({"address": {"socket_address": {"address": "127.0.0.1", "port_value": 15000}}}),
    );
    let mut bootstrap = json!({
        "node": node(plan, address, loopback, version, mesh),
        "dynamic_resources": {
            "lds_config": {"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"},
            "cds_config": {"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"},
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "set_node_on_first_message_only": true,
                "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}],
            },
        },
        "static_resources": {"clusters": [xds_cluster(xds)]},
    });
    if let (Value::Object(map), Some(admin)) = (&mut bootstrap, admin) {
        map.insert("admin".into(), admin);
    }
    bootstrap
}

fn node(
    plan: &PodPlan,
    address: Ipv4Addr,
    loopback: Option<Value>,
    version: &str,
    mesh: &str,
) -> Value {
    let role = if plan.kind == PodKind::Gateway {
        "router"
    } else {
        "sidecar"
    };
    let (name, namespace) = (&plan.name, &plan.namespace);
    let app = ["app.kubernetes.io/name", "app"]
        .iter()
        .find_map(|label| plan.labels.get(*label));
    let containers: Vec<&str> = plan
        .containers()
        .map(|container| container.name.as_str())
        .collect();
    let mut metadata = json!({
        "NAME": name,
        "NAMESPACE": namespace,
        "LABELS": plan.labels,
        "ANNOTATIONS": plan.annotations,
        "SERVICE_ACCOUNT": plan.service_account(),
        "WORKLOAD_NAME": plan.workload(),
        "OWNER": owner(plan),
        "INSTANCE_IPS": address.to_string(),
        "APP_CONTAINERS": containers.join(","),
        "MESH_ID": "cluster.local",
        "CLUSTER_ID": "Kubernetes",
        "ISTIO_VERSION": ISTIO_VERSION,
        "NODE_NAME": mesh,
        "MELTEMI_VERSION": version,
    });
    if let Value::Object(map) = &mut metadata {
        let mut put = |name: &str, value: Value| drop(map.insert(name.into(), value));
        match (loopback, plan.kind) {
            (Some(loopback), kind) => {
                if kind != PodKind::Gateway {
                    put("INTERCEPTION_MODE", "NONE".into());
                }
                put("LOOPBACK", loopback);
            }
            (None, PodKind::Application { .. }) => {
                let mode = plan.annotations.get("sidecar.istio.io/interceptionMode");
                let mode = mode.map_or("REDIRECT", String::as_str);
                put("INTERCEPTION_MODE", mode.into());
                put("DNS_CAPTURE", "true".into());
                put("DNS_AUTO_ALLOCATE", "true".into());
            }
            (None, PodKind::Gateway) => {}
        }
    }
    json!({
        "id": format!("{role}~{address}~{name}.{namespace}~{namespace}.svc.cluster.local"),
        "cluster": format!("{}.{namespace}", app.map_or(plan.workload(), String::as_str)),
        "locality": locality(plan),
        "metadata": metadata,
    })
}

/// As Istio's injector writes it for the workload's own kind.
fn owner(plan: &PodPlan) -> String {
    use crate::plan::OwnerKind;
    let plural = match plan.owner.kind {
        OwnerKind::Deployment => "deployments",
        OwnerKind::StatefulSet { .. } => "statefulsets",
        OwnerKind::Pod | OwnerKind::Run => "pods",
    };
    let version = if plural == "pods" { "v1" } else { "apps/v1" };
    format!(
        "kubernetes://apis/{version}/namespaces/{}/{plural}/{}",
        plan.namespace, plan.owner.name
    )
}

/// From the pod's labels: Istio's own first, then Kubernetes' topology.
fn locality(plan: &PodPlan) -> Value {
    let mut map = Map::new();
    let mut put = |key: &str, value: Option<&str>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            map.insert(key.into(), value.into());
        }
    };
    let label = |name: &str| plan.labels.get(name).map(String::as_str);
    if let Some(text) = label("istio-locality") {
        let mut parts = text.split(['.', '/']);
        for key in ["region", "zone", "sub_zone"] {
            put(key, parts.next());
        }
    } else {
        put("region", label("topology.kubernetes.io/region"));
        put("zone", label("topology.kubernetes.io/zone"));
        put("sub_zone", label("topology.istio.io/subzone"));
    }
    Value::Object(map)
}

fn xds_cluster(socket: &Path) -> Value {
    json!({
        "name": "xds-grpc",
        "type": "STATIC",
        "connect_timeout": "1s",
        "lb_policy": "ROUND_ROBIN",
        "load_assignment": {
            "cluster_name": "xds-grpc",
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
