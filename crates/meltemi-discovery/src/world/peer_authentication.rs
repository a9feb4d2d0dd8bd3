//! Which connections a workload's port accepts.

use std::collections::BTreeMap;

use meltemi_api::networking::ServerTlsMode;
use meltemi_api::security::{MutualTlsMode, PeerAuthentication};
use meltemi_registry::matches;

use super::named::Named;

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
#[derive(Debug, Default)]
pub struct PeerAuthentications {
    root_namespace: String,
    /// Without selector, by namespace: the oldest one's mode counts.
    namespaces: BTreeMap<String, MutualTlsMode>,
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
                    .or_insert_with(|| mode_of(&object.spec));
            }
        }
        index
    }

    /// The namespace's mode, inherited from the mesh; permissive when nobody says.
    pub fn namespace(&self, namespace: &str) -> MtlsMode {
        let own = self.namespaces.get(namespace).copied();
        let root = self.namespaces.get(&self.root_namespace).copied();
        own.and_then(decided)
            .or_else(|| root.and_then(decided))
            .unwrap_or(MtlsMode::Permissive)
    }

    /// The workload's policies: the mode of all its ports, and that of single ones.
    pub fn workload(&self, namespace: &str, labels: &BTreeMap<String, String>) -> WorkloadMtls {
        let mut effective = WorkloadMtls {
            mode: self.namespace(namespace),
            ports: BTreeMap::new(),
        };
        let applicable = self.workloads.iter().find(|policy| {
            policy.namespace() == namespace
                && policy
                    .spec
                    .selector
                    .as_ref()
                    .is_some_and(|selector| matches(&selector.match_labels, labels))
        });
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
