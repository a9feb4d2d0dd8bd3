//! The objects a local mesh has without anybody writing them: its gateways.

use crate::settings::{Gateway, LocalMesh};
use serde_json::{Value, json};

/// Pod annotation that asks for ports on the host: `8080` or `8080=80`, separated by commas.
pub const PUBLISH_ANNOTATION: &str = "meltemi.dev/publish";

/// File name and content of every built-in object's file, for a configuration directory that
/// the control plane reads beside the user's. The user's own objects of the same name win.
pub fn objects(settings: &LocalMesh) -> Vec<(String, String)> {
    settings
        .gateways
        .iter()
        .map(|gateway| {
            let documents: Vec<String> = gateway_objects(gateway)
                .iter()
                .map(Value::to_string)
                .collect();
            // JSON documents are YAML.
            (
                format!("{}.{}.yaml", gateway.namespace, gateway.name),
                documents.join("\n---\n"),
            )
        })
        .collect()
}

fn gateway_objects(gateway: &Gateway) -> [Value; 3] {
    let (name, namespace) = (&gateway.name, &gateway.namespace);
    let istio = name.strip_prefix("istio-").unwrap_or(name);
    let labels = json!({"app": name, "istio": istio});
    let account = format!("{name}-service-account");
    let metadata = |name: &str| json!({"name": name, "namespace": namespace, "labels": labels});
    let mut ports = vec![json!({"name": "status-port", "port": 15021, "targetPort": 15021})];
    ports.extend(
        gateway.ports.iter().map(
            |port| json!({"name": port.name, "port": port.port, "targetPort": port.target_port}),
        ),
    );
    let container_ports: Vec<Value> = gateway
        .ports
        .iter()
        .map(|port| json!({"containerPort": port.target_port}))
        .collect();
    let publish: Vec<String> = gateway
        .ports
        .iter()
        .filter_map(|port| {
            port.publish
                .map(|publish| format!("{}={publish}", port.target_port))
        })
        .collect();
    let mut annotations = json!({"inject.istio.io/templates": "gateway"});
    if let (Value::Object(map), false) = (&mut annotations, publish.is_empty()) {
        map.insert(PUBLISH_ANNOTATION.into(), publish.join(",").into());
    }
    [
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(&account)}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata(name), "spec": {"selector": labels, "ports": ports}}),
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata(name),
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels, "annotations": annotations},
                    "spec": {
                        "serviceAccountName": account,
                        "containers": [{"name": "istio-proxy", "image": "auto", "ports": container_ports}],
                    },
                },
            },
        }),
    ]
}

/// Reads the annotation: pairs of the gateway's port and the wanted port of the host.
pub(crate) fn published(annotation: &str) -> Result<Vec<(u16, u16)>, String> {
    annotation
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(|item| {
            let (real, wanted) = item.split_once('=').unwrap_or((item, item));
            match (real.trim().parse(), wanted.trim().parse()) {
                (Ok(real), Ok(wanted)) if real > 0 && wanted > 0 => Ok((real, wanted)),
                _ => Err(format!(
                    "annotation {PUBLISH_ANNOTATION}: \"{item}\" is not PORT or PORT=HOSTPORT"
                )),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ingress_gateway_is_there_by_default() {
        let files = objects(&LocalMesh::default());
        let [(name, text)] = files.as_slice() else {
            panic!("{files:?}")
        };
        assert_eq!(name, "istio-system.istio-ingressgateway.yaml");
        let documents: Vec<Value> = text
            .split("\n---\n")
            .map(|part| serde_json::from_str(part).unwrap())
            .collect();
        assert_eq!(
            documents[1]["spec"]["ports"][1],
            json!({"name": "http2", "port": 80, "targetPort": 8080})
        );
        assert_eq!(documents[1]["spec"]["selector"]["istio"], "ingressgateway");
        let template = &documents[2]["spec"]["template"];
        assert_eq!(
            template["metadata"]["annotations"][PUBLISH_ANNOTATION],
            "8080=8080,8443=8443"
        );
        assert_eq!(
            template["spec"]["serviceAccountName"],
            "istio-ingressgateway-service-account"
        );
    }

    #[test]
    fn the_publish_annotation() {
        assert_eq!(
            published("8080, 8443=443").unwrap(),
            [(8080, 8080), (8443, 443)]
        );
        assert!(published("http").unwrap_err().contains("http"));
    }
}
