//! MeshNetworks that name clusters which do not exist.

use std::collections::BTreeSet;

use crate::code::UNKNOWN_SERVICE_REGISTRY;
use crate::{Analyzer, Index, Report, Resource, Tree};

pub struct MeshNetworks;

/// Label of secrets with the access to other clusters, keyed by cluster.
const REMOTE_CLUSTERS: &str = "istio/multiCluster";
/// Registries that are no clusters (Istio's names).
const BUILT_IN: [&str; 3] = ["Mock", "Kubernetes", "External"];

impl Analyzer for MeshNetworks {
    fn name(&self) -> &'static str {
        "meshnetworks.MeshNetworksAnalyzer"
    }

    fn about(&self) -> &'static str {
        "Checks that MeshNetworks name clusters that exist"
    }

    fn analyze(&self, index: &Index, report: &mut Report) {
        let mut known: BTreeSet<&str> = BUILT_IN.into();
        for secret in index.kind("", "Secret") {
            if secret
                .labels
                .get(REMOTE_CLUSTERS)
                .is_some_and(|value| value == "true")
            {
                for data in ["data", "stringData"] {
                    let entries = secret.tree().get(data).entries();
                    known.extend(entries.into_iter().map(|(cluster, _)| cluster));
                }
            }
        }
        for networks in index.kind("mesh.istio.io", "MeshNetworks") {
            for (name, network) in settings(networks).get("networks").entries() {
                for endpoint in network.get("endpoints").items() {
                    let registry = match endpoint.get("from_registry") {
                        written if written.exists() => written,
                        _ => endpoint.get("fromRegistry"),
                    };
                    if registry.exists() && !known.contains(registry.text()) {
                        report.add(
                            &UNKNOWN_SERVICE_REGISTRY,
                            networks,
                            registry.path.clone(),
                            format!(
                                "network {name} takes endpoints of {:?}, which is no known cluster",
                                registry.text()
                            ),
                            meltemi_api::did_you_mean(registry.text(), known.iter().copied()),
                        );
                    }
                }
            }
        }
    }
}

/// The settings themselves: a document of Istio's ConfigMap, or the spec of an object.
fn settings(resource: &Resource) -> Tree<'_> {
    let spec = resource.tree().get("spec");
    if spec.exists() { spec } else { resource.tree() }
}
