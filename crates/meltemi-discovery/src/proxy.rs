//! The proxy that asks: what its xDS node says of it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use envoy_types::pb::google::protobuf::value::Kind;

use crate::pb::{Struct, Value, core};
use meltemi_registry::{Locality, Range16, Service, canonical_revision, canonical_service};

/// What a proxy is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProxyKind {
    /// Beside a workload.
    Sidecar,
    /// On its own, at an edge of the mesh.
    Gateway,
}

/// Which data plane asks, and so which extensions it can load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Flavor {
    /// Meltemi's proxy (`MELTEMI_VERSION` in the node metadata) or Istio's build of Envoy
    /// (`ISTIO_VERSION`): `istio.metadata_exchange`, `istio.stats` and `istio.alpn` are known.
    Meltemi,
    /// Envoy as its project builds it: only Envoy's own extensions. Mesh mTLS still needs a
    /// cluster `sds-grpc` in its bootstrap that serves `default` and `ROOTCA`.
    Envoy,
}

/// Why a node cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    #[error(
        "the node id {0:?} is not KIND~IP~POD.NAMESPACE~DOMAIN; start the proxy through `meltemi proxy` or set node.id in its bootstrap"
    )]
    Id(String),
    #[error("a proxy of kind {0:?} is not supported; use \"sidecar\" or \"router\"")]
    Kind(String),
    #[error(
        "LOOPBACK in the node metadata: {0}; expected application: an IPv4 address, services and clients: ranges of the form A.B.0.0/16"
    )]
    Loopback(String),
}

/// A workload of a machine whose processes share one network, each with loopback addresses of
/// its own instead of interception (`LOOPBACK` in the node metadata; Meltemi's own).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Loopback {
    /// Where the application listens. The proxy listens on the workload's address.
    pub application: Ipv4Addr,
    /// First half of the services' cluster IPs.
    pub services: [u8; 2],
    /// First half of the addresses at which this workload alone reaches them.
    pub clients: [u8; 2],
    /// Ports below it are for root: no listener is bound there.
    pub lowest_port: u16,
}

impl Loopback {
    /// Where this workload calls a service: its cluster IP moved into the workload's own range.
    /// `None` for services without a cluster IP of the range.
    pub fn address_of(&self, service: &Service) -> Option<Ipv4Addr> {
        service.ips(false).into_iter().find_map(|ip| match ip {
            IpAddr::V4(ip) if ip.octets()[..2] == self.services => {
                let [_, _, third, fourth] = ip.octets();
                let [first, second] = self.clients;
                Some(Ipv4Addr::new(first, second, third, fourth))
            }
            _ => None,
        })
    }
}

/// A connected proxy.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Proxy {
    pub kind: ProxyKind,
    pub flavor: Flavor,
    /// `POD.NAMESPACE`.
    pub id: String,
    /// The workload's name without its namespace.
    pub pod: String,
    pub namespace: String,
    /// `NAMESPACE.svc.DOMAIN`.
    pub dns_domain: String,
    pub ips: Vec<IpAddr>,
    pub labels: BTreeMap<String, String>,
    pub service_account: String,
    pub workload_name: String,
    /// Of the bootstrap's node (`APPLICATION.NAMESPACE`): the service that traces tell of.
    pub cluster: String,
    pub cluster_id: String,
    pub mesh_id: String,
    pub locality: Locality,
    pub network: String,
    /// The proxy answers its workload's DNS, from the name table.
    pub dns_capture: bool,
    /// Its route configurations leave their virtual hosts to be discovered apart (VHDS).
    pub discovers_hosts: bool,
    /// Traffic is redirected to the proxy; without (`NONE`) it binds the listeners' ports.
    pub intercepts: bool,
    /// Traffic comes by TPROXY: the client's address is kept upstream.
    pub tproxy: bool,
    /// Set where workloads have loopback addresses instead of interception.
    pub loopback: Option<Loopback>,
}

impl Proxy {
    /// Reads an xDS node as Istio's agent writes it.
    ///
    /// # Errors
    /// When the id does not have Istio's four parts, or names another kind of proxy.
    pub fn from_node(node: &core::Node) -> Result<Self, NodeError> {
        let parts: Vec<&str> = node.id.split('~').collect();
        let [kind, ip, id, domain] = parts[..] else {
            return Err(NodeError::Id(node.id.clone()));
        };
        let kind = match kind {
            "sidecar" => ProxyKind::Sidecar,
            "router" => ProxyKind::Gateway,
            other => return Err(NodeError::Kind(other.to_owned())),
        };
        let metadata = Metadata(node.metadata.as_ref());
        let (pod, id_namespace) = match id.rsplit_once('.') {
            Some((pod, namespace)) => (pod.to_owned(), namespace.to_owned()),
            None => return Err(NodeError::Id(node.id.clone())),
        };
        let mut ips: Vec<IpAddr> = Vec::new();
        let instance_ips = metadata.text("INSTANCE_IPS");
        for text in std::iter::once(ip).chain(instance_ips.split(',')) {
            if let Ok(ip) = text.trim().parse()
                && !ips.contains(&ip)
            {
                ips.push(ip);
            }
        }
        let labels = metadata.labels("LABELS");
        let namespace = non_empty(metadata.text("NAMESPACE")).unwrap_or(id_namespace);
        let locality = node.locality.clone().unwrap_or_default();
        let mut locality = Locality {
            region: locality.region,
            zone: locality.zone,
            sub_zone: locality.sub_zone,
        };
        if locality.is_unknown()
            && let Some(label) = labels.get("istio-locality")
        {
            locality = Locality::parse_label(label);
        }
        let flavor = if metadata.has("MELTEMI_VERSION") || metadata.has("ISTIO_VERSION") {
            Flavor::Meltemi
        } else {
            Flavor::Envoy
        };
        let interception = metadata.text("INTERCEPTION_MODE");
        Ok(Self {
            kind,
            flavor,
            id: id.to_owned(),
            workload_name: non_empty(metadata.text("WORKLOAD_NAME")).unwrap_or_else(|| pod.clone()),
            pod,
            dns_domain: non_empty(domain.to_owned())
                .unwrap_or_else(|| format!("{namespace}.svc.cluster.local")),
            namespace,
            ips,
            labels,
            service_account: metadata.text("SERVICE_ACCOUNT"),
            cluster: node.cluster.clone(),
            cluster_id: non_empty(metadata.text("CLUSTER_ID"))
                .unwrap_or_else(|| "Kubernetes".to_owned()),
            mesh_id: metadata.text("MESH_ID"),
            locality,
            network: metadata.text("NETWORK"),
            dns_capture: metadata.flag("DNS_CAPTURE"),
            discovers_hosts: node
                .client_features
                .iter()
                .any(|feature| feature == meltemi_xds::VIRTUAL_HOST_DISCOVERY),
            intercepts: interception != "NONE",
            tproxy: interception == "TPROXY",
            loopback: metadata.loopback().map_err(NodeError::Loopback)?,
        })
    }

    /// Where the application listens beside a proxy that binds its ports; `None` where the
    /// application has them itself, behind interception.
    pub fn application(&self) -> Option<IpAddr> {
        (!self.intercepts).then(|| match &self.loopback {
            Some(loopback) => loopback.application.into(),
            None => Ipv4Addr::LOCALHOST.into(),
        })
    }

    /// The namespaces' services share this domain, for example `cluster.local`.
    pub fn domain_suffix(&self) -> &str {
        self.dns_domain
            .split_once(".svc.")
            .map_or("cluster.local", |(_, domain)| domain)
    }

    /// The label of a workload's application, for names in telemetry.
    pub fn canonical_service(&self) -> &str {
        canonical_service(&self.labels).unwrap_or(&self.workload_name)
    }

    pub fn canonical_revision(&self) -> &str {
        canonical_revision(&self.labels).unwrap_or("latest")
    }
}

fn non_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

struct Metadata<'a>(Option<&'a Struct>);

impl Metadata<'_> {
    fn get(&self, key: &str) -> Option<&Kind> {
        self.0?.fields.get(key)?.kind.as_ref()
    }

    fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    fn text(&self, key: &str) -> String {
        match self.get(key) {
            Some(Kind::StringValue(text)) => text.clone(),
            _ => String::new(),
        }
    }

    /// Istio's agent writes flags as booleans and as text.
    fn flag(&self, key: &str) -> bool {
        match self.get(key) {
            Some(Kind::BoolValue(value)) => *value,
            Some(Kind::StringValue(text)) => text == "true" || text == "1",
            _ => false,
        }
    }

    fn loopback(&self) -> Result<Option<Loopback>, String> {
        let Some(Kind::StructValue(fields)) = self.get("LOOPBACK") else {
            return Ok(None);
        };
        let fields = Metadata(Some(fields));
        let range = |key: &str| fields.text(key).parse().map(|Range16(half)| half);
        let application = fields.text("application");
        Ok(Some(Loopback {
            application: application
                .parse()
                .map_err(|_| format!("application is {application:?}"))?,
            services: range("services")?,
            clients: range("clients")?,
            lowest_port: match fields.text("lowestPort").as_str() {
                "" => 1,
                text => text
                    .parse()
                    .map_err(|_| format!("lowestPort is {text:?}"))?,
            },
        }))
    }

    fn labels(&self, key: &str) -> BTreeMap<String, String> {
        let Some(Kind::StructValue(labels)) = self.get(key) else {
            return BTreeMap::new();
        };
        let text = |value: &Value| match &value.kind {
            Some(Kind::StringValue(text)) => Some(text.clone()),
            _ => None,
        };
        labels
            .fields
            .iter()
            .filter_map(|(key, value)| Some((key.clone(), text(value)?)))
            .collect()
    }
}
