//! Which connections a workload's port accepts.

use std::collections::BTreeMap;

use meltemi_api::networking::ServerTlsMode;
use meltemi_api::security::{MutualTlsMode, PeerAuthentication};
use meltemi_registry::matches;

use super::named::Named;
use crate::rule::Rule;

/// The mode in force; never "unset".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MtlsMode {
    /// Plaintext only.
    Disable,
    /// Mesh mTLS and plaintext.
    Permissive,
    /// Mesh mTLS only.
    Strict,
}

/// All policies, by the scope they apply to.
#[derive(Debug, Default, PartialEq)]
pub struct PeerAuthentications {
    root_namespace: String,
    /// Without selector, by namespace: the oldest one counts.
    namespaces: BTreeMap<String, Named<PeerAuthentication>>,
    /// With selector, oldest first.
    workloads: Vec<Named<PeerAuthentication>>,
}

impl PeerAuthentications {
    /// Indexes policies that come oldest first.
    pub fn new(objects: &[Named<PeerAuthentication>], root_namespace: &str) -> Self {
        let mut index = Self {
            root_namespace: root_namespace.to_owned(),
            ..Self::default()
        };
        for object in objects {
            let selected = object
                .spec
                .selector
                .as_ref()
                .is_some_and(|selector| !selector.match_labels.is_empty());
            if selected {
                index.workloads.push(object.clone());
            } else {
                index
                    .namespaces
                    .entry(object.namespace().to_owned())
                    .or_insert_with(|| object.clone());
            }
        }
        index
    }

    /// The namespace's mode, inherited from the mesh; permissive when nobody says.
    pub fn namespace(&self, namespace: &str) -> MtlsMode {
        self.of_namespace(namespace)
            .map_or(MtlsMode::Permissive, |(mode, _)| mode)
    }

    fn of_namespace(&self, namespace: &str) -> Option<(MtlsMode, &Named<PeerAuthentication>)> {
        [namespace, &self.root_namespace]
            .into_iter()
            .find_map(|namespace| {
                let policy = self.namespaces.get(namespace)?;
                Some((decided(mode_of(&policy.spec))?, policy))
            })
    }

    fn of_workload(
        &self,
        namespace: &str,
        labels: &BTreeMap<String, String>,
    ) -> Option<&Named<PeerAuthentication>> {
        self.workloads.iter().find(|policy| {
            policy.namespace() == namespace
                && policy
                    .spec
                    .selector
                    .as_ref()
                    .is_some_and(|selector| matches(&selector.match_labels, labels))
        })
    }

    /// Which policy decides about a workload's port; `None` where nobody says.
    pub fn rule(
        &self,
        namespace: &str,
        labels: &BTreeMap<String, String>,
        port: u16,
    ) -> Option<Rule> {
        let own = self.of_workload(namespace, labels).and_then(|policy| {
            let at_port = policy.spec.port_level_mtls.get(&port);
            let field = match at_port.and_then(|mtls| decided(mtls.mode)) {
                Some(_) => format!("spec.portLevelMtls.{port}"),
                None => {
                    decided(mode_of(&policy.spec))?;
                    "spec.mtls".to_owned()
                }
            };
            Some((policy, field))
        });
        let (policy, field) = own.or_else(|| {
            let (_, policy) = self.of_namespace(namespace)?;
            Some((policy, "spec.mtls".to_owned()))
        })?;
        Some(Rule {
            object: policy.key.clone(),
            field,
        })
    }

    /// The workload's policies: the mode of all its ports, and that of single ones.
    pub fn workload(&self, namespace: &str, labels: &BTreeMap<String, String>) -> WorkloadMtls {
        let mut effective = WorkloadMtls {
            mode: self.namespace(namespace),
            ports: BTreeMap::new(),
        };
        let applicable = self.of_workload(namespace, labels);
        if let Some(policy) = applicable {
            if let Some(mode) = decided(mode_of(&policy.spec)) {
                effective.mode = mode;
            }
            for (port, mtls) in &policy.spec.port_level_mtls {
                // Unset means: as the workload.
                if let Some(mode) = decided(mtls.mode) {
                    effective.ports.insert(*port, mode);
                }
            }
        }
        effective
    }
}

/// The modes of a workload's ports.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WorkloadMtls {
    pub mode: MtlsMode,
    /// By the workload's (not the service's) port.
    pub ports: BTreeMap<u16, MtlsMode>,
}

impl WorkloadMtls {
    pub fn at(&self, port: u16) -> MtlsMode {
        self.ports.get(&port).copied().unwrap_or(self.mode)
    }
}

fn mode_of(policy: &PeerAuthentication) -> MutualTlsMode {
    policy
        .mtls
        .as_ref()
        .map_or(MutualTlsMode::Unset, |mtls| mtls.mode)
}

fn decided(mode: MutualTlsMode) -> Option<MtlsMode> {
    match mode {
        MutualTlsMode::Unset => None,
        MutualTlsMode::Disable => Some(MtlsMode::Disable),
        MutualTlsMode::Permissive => Some(MtlsMode::Permissive),
        MutualTlsMode::Strict => Some(MtlsMode::Strict),
    }
}

/// Whether a gateway server's mode ends TLS in the proxy.
pub fn terminates(mode: ServerTlsMode) -> bool {
    !matches!(
        mode,
        ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough
    )
}
