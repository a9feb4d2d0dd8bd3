//! What the registry has to know about the mesh.

use crate::{Range16, Visibility};

/// Settings of the mesh that names, identities and addresses depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The services' domain: `NAME.NAMESPACE.svc.DOMAIN`.
    pub domain: String,
    pub trust_domain: String,
    pub cluster_id: String,
    /// Who sees services that do not say (MeshConfig's `defaultServiceExportTo`); empty: all.
    pub default_export: Vec<String>,
    /// Cluster IPs for Services without one.
    pub service_range: Range16,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            domain: "cluster.local".to_owned(),
            trust_domain: "cluster.local".to_owned(),
            cluster_id: "Kubernetes".to_owned(),
            default_export: Vec::new(),
            service_range: Range16([10, 99]),
        }
    }
}

impl Settings {
    /// A Kubernetes service's full name.
    pub fn hostname(&self, name: &str, namespace: &str) -> String {
        format!("{name}.{namespace}.svc.{}", self.domain)
    }

    /// The visibility of a service in a namespace, from its own `exportTo` or the default.
    pub fn visibility<'a>(&'a self, own: Vec<&'a str>, namespace: &str) -> Visibility {
        if own.is_empty() {
            Visibility::parse(self.default_export.iter().map(String::as_str), namespace)
        } else {
            Visibility::parse(own, namespace)
        }
    }

    /// The SPIFFE id of a service account.
    pub fn identity(&self, namespace: &str, service_account: &str) -> String {
        format!(
            "spiffe://{}/ns/{namespace}/sa/{service_account}",
            self.trust_domain
        )
    }
}
