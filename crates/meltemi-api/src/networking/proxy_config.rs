//! ProxyConfig: settings of the proxies of some workloads.

use std::collections::BTreeMap;

use crate::mesh::ProxyImage;
use crate::proto::message;
use crate::scope::LabelSelector;

message! {
    /// Settings (Istio networking: `ProxyConfig`; not `mesh.v1alpha1.ProxyConfig`, which is
    /// what `MeshConfig.defaultConfig` holds).
    pub struct ProxyConfig {
        /// Workloads; the whole namespace (or mesh, in the root namespace) when absent.
        pub selector: Option<LabelSelector>,
        /// Worker threads; 0 is one a core.
        pub concurrency: Option<i32>,
        /// Environment of the proxy.
        pub environment_variables: BTreeMap<String, String>,
        /// Image of the proxy.
        pub image: Option<ProxyImage>,
    }
}
