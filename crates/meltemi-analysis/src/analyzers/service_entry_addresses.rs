//! TCP ports of ServiceEntries without addresses.

use meltemi_api::networking::ServiceEntry;

use crate::code::ADDRESSES_REQUIRED;
use crate::report::at;
use crate::{Analyzer, Index, Platform, Report};

pub struct EntryAddresses;

impl Analyzer for EntryAddresses {
    fn name(&self) -> &'static str {
        "serviceentry.Analyzer"
    }

    fn about(&self) -> &'static str {
        "Checks that ServiceEntries have addresses for ports whose traffic names no host"
    }

    /// The local mesh gives every ServiceEntry addresses of its own.
    fn by_default(&self, index: &Index) -> bool {
        index.platform == Platform::Kubernetes
    }

    fn analyze(&self, index: &Index, report: &mut Report) {
        if allocates(index) {
            return;
        }
        for (resource, entry) in index.of::<ServiceEntry>() {
            let allocated = resource.tree().at(&["status", "addresses"]).items();
            if !entry.addresses.is_empty() || !allocated.is_empty() {
                continue;
            }
            for (position, port) in entry.ports.iter().enumerate() {
                if port.protocol.is_empty() || port.protocol.eq_ignore_ascii_case("TCP") {
                    report.add(
                        &ADDRESSES_REQUIRED,
                        resource,
                        at!(spec.ports[position]),
                        format!("TCP names no host, and without addresses the entry takes whatever goes to port {}", port.number),
                        "give addresses, or a protocol with a host name (HTTP, TLS)",
                    );
                }
            }
        }
    }
}

/// Whether the mesh's settings give ServiceEntries addresses of their own.
fn allocates(index: &Index) -> bool {
    let Some(config) = &index.mesh.default_config else {
        return false;
    };
    let says = |key: &str| {
        config
            .proxy_metadata
            .get(key)
            .is_some_and(|value| value == "true")
    };
    says("ISTIO_META_DNS_CAPTURE")
        && (says("ISTIO_META_DNS_AUTO_ALLOCATE") || says("PILOT_ENABLE_IP_AUTOALLOCATE"))
}
