//! A service as the mesh sees it, whatever declared it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use meltemi_api::ObjectKey;

use crate::{Endpoint, Protocol, Visibility};

/// Which source declared a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// A Kubernetes `Service`.
    Kubernetes,
    /// A `ServiceEntry`.
    External,
}

/// How a client finds the endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// The control plane knows the endpoints (EDS).
    ClientSide,
    /// The proxy resolves the endpoints' names and uses every address.
    Dns,
    /// The proxy resolves the endpoints' names and uses one address.
    DnsRoundRobin,
    /// The connection goes where the application sent it (headless, resolution NONE).
    Passthrough,
    /// The proxy resolves the requested name at request time (DYNAMIC_DNS).
    DynamicDns,
    /// Another name for a host elsewhere (ExternalName).
    Alias,
}

/// A service's port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    pub name: String,
    pub number: u16,
    pub protocol: Protocol,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The name it is known by in the mesh: an FQDN, or a ServiceEntry's host (may begin `*.`).
    pub hostname: Arc<str>,
    /// The declaring object's name (Kubernetes), the host (ServiceEntry).
    pub name: String,
    pub namespace: String,
    /// The object that declares it.
    pub object: ObjectKey,
    pub provider: Provider,
    pub labels: BTreeMap<String, String>,
    pub ports: Vec<Port>,
    pub resolution: Resolution,
    /// Addresses and CIDR ranges that clients connect to. Empty for headless and nameless ones.
    pub addresses: Vec<String>,
    /// The address allocated because none was given.
    pub auto_address: Option<IpAddr>,
    /// Not part of the mesh: no automatic mTLS.
    pub external: bool,
    /// ExternalName's target.
    pub external_name: Option<String>,
    /// `clusterIP: None`.
    pub headless: bool,
    pub visibility: Visibility,
    /// Labels that its workloads carry; empty where it selects none.
    pub selector: BTreeMap<String, String>,
    /// SPIFFE ids of its endpoints, and names that were declared (`subjectAltNames`).
    pub identities: BTreeSet<String>,
    /// Endpoints by port number, in order of address.
    pub endpoints: BTreeMap<u16, Vec<Arc<Endpoint>>>,
    /// RFC 3339; older ones win conflicts. Empty when the object does not say.
    pub created: String,
}

impl Service {
    pub fn port(&self, number: u16) -> Option<&Port> {
        self.ports.iter().find(|port| port.number == number)
    }

    pub fn endpoints(&self, port: u16) -> &[Arc<Endpoint>] {
        self.endpoints.get(&port).map_or(&[], Vec::as_slice)
    }

    /// The first address, a CIDR or an IP; the allocated one where none was given. `allocated`:
    /// the client gets to know allocated addresses, from the mesh's DNS.
    pub fn address(&self, allocated: bool) -> Option<String> {
        self.addresses
            .first()
            .cloned()
            .or_else(|| Some(self.auto_address.filter(|_| allocated)?.to_string()))
    }

    /// Single IP addresses, given or allocated.
    pub fn ips(&self, allocated: bool) -> Vec<IpAddr> {
        let given: Vec<IpAddr> = self
            .addresses
            .iter()
            .filter_map(|address| address.parse().ok())
            .collect();
        if given.is_empty() {
            self.auto_address
                .filter(|_| allocated)
                .into_iter()
                .collect()
        } else {
            given
        }
    }

    pub fn is_wildcard(&self) -> bool {
        self.hostname.starts_with('*')
    }

    /// Whether both differ in nothing that a client notices but in the endpoints it is told by
    /// EDS: neither names nor addresses nor the identities it expects.
    pub fn differs_in_endpoints_only(&self, other: &Self) -> bool {
        let told =
            |service: &Self| service.resolution == Resolution::ClientSide && !service.headless;
        told(self) && told(other) && self.declaration() == other.declaration()
    }

    /// Everything but the endpoints.
    fn declaration(&self) -> impl PartialEq + '_ {
        let Self {
            hostname,
            name,
            namespace,
            object,
            provider,
            labels,
            ports,
            resolution,
            addresses,
            auto_address,
            external,
            external_name,
            headless,
            visibility,
            selector,
            identities,
            endpoints: _,
            created,
        } = self;
        (
            (hostname, name, namespace, object, provider),
            (labels, ports),
            (resolution, addresses, auto_address, external, external_name),
            (headless, visibility, selector, identities, created),
        )
    }
}
