//! Services that differ between clusters.

use std::collections::BTreeMap;

use meltemi_api::k8s::{Service, ServicePort, ServiceSpec};

use crate::code::INCONSISTENT_SERVICE;
use crate::report::at;
use crate::{Analyzer, Index, Report, Resource, ResourceName};

pub struct MulticlusterService;

/// The same Service by cluster.
type Copies<'a> = BTreeMap<&'a str, (&'a Resource, ServiceSpec)>;

/// Whether two Services are alike in one respect.
type Same = fn(&ServiceSpec, &ServiceSpec) -> bool;

/// In what they may differ.
const DIFFERENCES: [(&str, Same); 3] = [
    ("headless in one and not in another", |a, b| {
        is_headless(a) == is_headless(b)
    }),
    ("of different types", |a, b| kind(a) == kind(b)),
    ("with different ports", |a, b| sorted(a) == sorted(b)),
];

impl Analyzer for MulticlusterService {
    fn name(&self) -> &'static str {
        "services.MultiClusterServiceAnalyzer"
    }

    fn about(&self) -> &'static str {
        "Checks that Services of one name are alike in all clusters"
    }

    fn analyze(&self, index: &Index, report: &mut Report) {
        let mut services: BTreeMap<&ResourceName, Copies<'_>> = BTreeMap::new();
        for (resource, service) in index.of::<Service>() {
            if let Some(cluster) = &resource.cluster {
                let copies = services.entry(&resource.name).or_default();
                copies.insert(
                    cluster,
                    (resource, service.spec.clone().unwrap_or_default()),
                );
            }
        }
        for copies in services.into_values().filter(|copies| copies.len() > 1) {
            let clusters: Vec<&str> = copies.keys().copied().collect();
            let mut all = copies.into_values();
            let Some((resource, first)) = all.next() else {
                continue;
            };
            let rest: Vec<(&Resource, ServiceSpec)> = all.collect();
            let differs = |same: Same| rest.iter().any(|(_, other)| !same(&first, other));
            let differences: Vec<&str> = DIFFERENCES
                .into_iter()
                .filter(|(_, same)| differs(*same))
                .map(|(text, _)| text)
                .collect();
            if !differences.is_empty() {
                report.add(
                    &INCONSISTENT_SERVICE,
                    resource,
                    at!(spec),
                    format!(
                        "in the clusters {} the Service is {}",
                        clusters.join(", "),
                        differences.join(" and ")
                    ),
                    "make it the same in all clusters; until then which one counts is not defined",
                );
            }
        }
    }
}

fn is_headless(spec: &ServiceSpec) -> bool {
    spec.cluster_ip.as_deref() == Some("None")
}

fn kind(spec: &ServiceSpec) -> &str {
    spec.type_.as_deref().unwrap_or("ClusterIP")
}

fn sorted(spec: &ServiceSpec) -> Vec<ServicePort> {
    let mut ports = spec.ports.clone().unwrap_or_default();
    ports.sort_by(|a, b| (&a.name, a.port).cmp(&(&b.name, b.port)));
    ports
}
