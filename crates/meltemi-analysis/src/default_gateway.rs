//! Istio's default ingress gateway, which a mesh has although no file of the user's says so.

use std::sync::Arc;

use meltemi_api::decode;
use meltemi_api::mesh::IngressControllerMode;
use meltemi_config::yaml::parse;

use crate::{Index, Resource, ResourceName};

/// Its name unless MeshConfig's `ingressService` says another.
const NAME: &str = "istio-ingressgateway";

/// Workload and Service of the gateway, unless the index has them or the mesh has none. The
/// ports are those that Istio's analysis assumes and that its installation has.
pub fn resources(index: &Index) -> Vec<Resource> {
    if index.mesh.ingress_controller_mode == Some(IngressControllerMode::Off) {
        return Vec::new();
    }
    let name = index.mesh.ingress_service.as_deref().unwrap_or(NAME);
    let namespace = index.system_namespace.as_str();
    let has_one = index
        .kind("", "Service")
        .any(|service| service.namespace() == namespace && service.name.name == name);
    if has_one {
        return Vec::new();
    }
    let text = format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {namespace}, labels: {{istio: ingressgateway}}}}
spec: {{containers: [{{name: istio-proxy, image: proxyv2}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  selector: {{istio: ingressgateway}}
  ports:
  - {{name: http2, port: 80, targetPort: 8080}}
  - {{name: https, port: 443, targetPort: 8443}}
  - {{name: tcp, port: 31400}}
  - {{name: tls, port: 15443}}
"
    );
    parse(text.as_bytes())
        .into_iter()
        .filter_map(|document| {
            let root = document.ok()?.root;
            let object = decode(&root.to_value(), namespace).ok()?;
            let name = ResourceName {
                kind: object.meta.kind.as_str().to_owned(),
                namespace: object.meta.namespace.clone(),
                name: object.meta.name.clone(),
            };
            let mut resource = Resource::new("", name, root, Some(Arc::new(object)));
            // Nothing is said about what nobody wrote.
            resource
                .annotations
                .insert(crate::suppress::ANNOTATION.into(), "*".into());
            Some(resource)
        })
        .collect()
}
