//! One place where a service is served.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{Settings, canonical_revision, canonical_service};

/// Region, zone and sub-zone; empty parts are unknown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Locality {
    pub region: String,
    pub zone: String,
    pub sub_zone: String,
}

impl Locality {
    /// Istio's form `region/zone/sub-zone`, trailing parts optional.
    pub fn parse(text: &str) -> Self {
        Self::split(text, '/')
    }

    /// The label `istio-locality` has dots, as a label value has no slashes.
    pub fn parse_label(text: &str) -> Self {
        if text.contains('/') {
            Self::parse(text)
        } else {
            Self::split(text, '.')
        }
    }

    fn split(text: &str, separator: char) -> Self {
        let mut parts = text.splitn(3, separator).map(str::to_owned);
        Self {
            region: parts.next().unwrap_or_default(),
            zone: parts.next().unwrap_or_default(),
            sub_zone: parts.next().unwrap_or_default(),
        }
    }

    pub fn is_unknown(&self) -> bool {
        self.region.is_empty() && self.zone.is_empty() && self.sub_zone.is_empty()
    }
}

/// Where to connect.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    Ip(std::net::IpAddr),
    /// Resolved by the proxy.
    Name(String),
    /// A Unix socket's path.
    Unix(String),
}

impl Target {
    pub fn parse(address: &str) -> Self {
        if let Some(path) = address.strip_prefix("unix://") {
            return Self::Unix(path.to_owned());
        }
        match address.parse() {
            Ok(ip) => Self::Ip(ip),
            Err(_) => Self::Name(address.to_owned()),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => f.write_str(name),
            Self::Unix(path) => f.write_str(path),
        }
    }
}

/// Whether an endpoint takes requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    Ready,
    /// Not ready, and wanted anyway (`publishNotReadyAddresses`).
    Unready,
    /// Going away: finishes what it has.
    Terminating,
}

/// The workload behind an endpoint, shared by its endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// The Pod's, or WorkloadEntry's, name.
    pub name: String,
    /// What it belongs to: its Deployment's name, otherwise its own.
    pub workload: String,
    pub namespace: String,
    pub labels: BTreeMap<String, String>,
    pub service_account: String,
    /// `spiffe://TRUST_DOMAIN/ns/NS/sa/SA`; empty where no account is known.
    pub identity: String,
    pub locality: Locality,
    pub network: String,
    pub cluster_id: String,
    /// Its proxy accepts mesh mTLS.
    pub mutual_tls: bool,
    /// Set by StatefulSets: `hostname.subdomain.ns.svc.domain` names it.
    pub hostname: String,
    pub subdomain: String,
}

impl Workload {
    /// A workload of which nothing is known but that it is there; without a proxy.
    pub(crate) fn anonymous(settings: &Settings) -> Self {
        Self {
            name: String::new(),
            workload: String::new(),
            namespace: String::new(),
            labels: BTreeMap::new(),
            service_account: String::new(),
            identity: String::new(),
            locality: Locality::default(),
            network: String::new(),
            cluster_id: settings.cluster_id.clone(),
            mutual_tls: false,
            hostname: String::new(),
            subdomain: String::new(),
        }
    }

    /// Istio's canonical service name.
    pub fn canonical_name(&self) -> &str {
        canonical_service(&self.labels).unwrap_or(&self.workload)
    }

    /// Istio's canonical revision; empty where no label gives one.
    pub fn canonical_revision(&self) -> &str {
        canonical_revision(&self.labels).unwrap_or_default()
    }
}

/// One endpoint of a service's port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub target: Target,
    pub port: u16,
    /// At least 1.
    pub weight: u32,
    pub health: Health,
    pub workload: Arc<Workload>,
}

/// An endpoint outside of the mesh.
pub(crate) fn anonymous(address: &str, port: u16, settings: &Settings) -> Endpoint {
    Endpoint {
        target: Target::parse(address),
        port,
        weight: 1,
        health: Health::Ready,
        workload: Arc::new(Workload::anonymous(settings)),
    }
}
