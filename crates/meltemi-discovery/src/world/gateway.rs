//! Gateways ready for translation, whichever kind of object declares them.

use std::collections::BTreeMap;
use std::sync::Arc;

use meltemi_api::networking::Gateway;
use meltemi_api::{Kind, ObjectKey};
use meltemi_registry::{ServiceTarget, matches};

use super::named::Named;

/// Names a Gateway's Services instead of a selector (host names, comma-separated): the pods of
/// these serve it, at these Services' ports only.
const GATEWAY_SERVICE: &str = "internal.istio.io/gateway-service";

/// Which workloads serve a Gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Served {
    /// Those with the labels, in one namespace where it is given.
    ByLabels {
        labels: BTreeMap<String, String>,
        namespace: Option<String>,
    },
    /// Those behind Services (host names), in one namespace where it is given; at the Services'
    /// ports only.
    ByServices {
        hosts: Vec<String>,
        namespace: Option<String>,
    },
}

impl Served {
    /// Whether a workload is one of them, by its namespace, its labels and the Services that lead
    /// to it.
    pub fn selects(
        &self,
        namespace: &str,
        labels: &BTreeMap<String, String>,
        targets: &[ServiceTarget],
    ) -> bool {
        match self {
            Self::ByLabels {
                labels: wanted,
                namespace: within,
            } => {
                within.as_deref().is_none_or(|within| within == namespace)
                    && matches(wanted, labels)
            }
            Self::ByServices { .. } => targets.iter().any(|target| self.leads_through(target)),
        }
    }

    /// Whether a Service is one of those that lead to the Gateway.
    pub fn leads_through(&self, target: &ServiceTarget) -> bool {
        match self {
            Self::ByLabels { .. } => true,
            Self::ByServices { hosts, namespace } => {
                namespace
                    .as_deref()
                    .is_none_or(|within| within == target.service.namespace)
                    && hosts.iter().any(|host| *host == *target.service.hostname)
            }
        }
    }
}

/// A Gateway ready for translation.
#[derive(Debug, Clone, PartialEq)]
pub struct ResolvedGateway {
    /// What declares it: an Istio Gateway, or a Kubernetes Gateway or Ingress it was made from.
    pub object: ObjectKey,
    pub namespace: String,
    /// The name by which VirtualServices call it.
    pub name: String,
    /// Sortable; empty when unknown.
    pub created: String,
    pub served: Served,
    pub spec: Arc<Gateway>,
    /// Where the servers stand in the object, unless it is an Istio Gateway.
    pub places: Vec<String>,
}

impl ResolvedGateway {
    /// Of an Istio Gateway.
    pub fn of(named: &Named<Gateway>) -> Self {
        let served = match named.annotations.get(GATEWAY_SERVICE) {
            Some(hosts) => Served::ByServices {
                hosts: hosts.split(',').map(str::to_owned).collect(),
                namespace: Some(named.namespace().to_owned()),
            },
            None => Served::ByLabels {
                labels: named.spec.selector.clone(),
                namespace: None,
            },
        };
        Self {
            object: named.key.clone(),
            namespace: named.namespace().to_owned(),
            name: named.name().to_owned(),
            created: named.created.clone(),
            served,
            spec: named.spec.clone(),
            places: Vec::new(),
        }
    }

    /// `NAMESPACE/NAME`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// Where a field of a server is; in other objects than Istio's Gateways the server as a
    /// whole, since its fields have other names there.
    pub fn field(&self, server: usize, name: &str) -> String {
        match self.places.get(server) {
            Some(place) => place.clone(),
            None => format!("spec.servers[{server}].{name}"),
        }
    }

    /// Whether it may name Secrets of other namespaces than its workload's: only names that were
    /// checked when the object was converted.
    pub fn names_any_secret(&self) -> bool {
        self.object.kind == Kind::KubernetesGateway
    }

    /// Oldest first, then by name and namespace, as Istio resolves conflicts.
    pub fn age(&self) -> (&str, &str, &str) {
        (&self.created, &self.name, &self.namespace)
    }
}
