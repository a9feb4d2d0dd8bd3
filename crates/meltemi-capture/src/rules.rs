//! What of a workload's traffic goes through its sidecar: Istio's interception settings as data.

use crate::cidr::{Cidr, CidrError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Socket mark (`SO_MARK`) of the proxy's own sockets: never sent back to the proxy.
pub const PROXY_MARK: u32 = 1337;
/// User and group id of Istio's proxy; a process that runs as it counts as the proxy.
pub const PROXY_OWNER: u32 = 1337;
/// Source address of what the sidecar forwards to its own application (Istio's
/// InboundPassthroughClusterIpv4 bind address), and of our probes: passes the rules.
pub const PASSTHROUGH_SOURCE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);
/// The same for IPv6.
pub(crate) const PASSTHROUGH_SOURCE_V6: Ipv6Addr = Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6);

/// The proxy's own inbound ports: metrics, health, telemetry, as Istio's injection excludes them.
const PROXY_INBOUND_PORTS: [u16; 3] = [15090, 15021, 15020];
const ANNOTATIONS: &str = "traffic.sidecar.istio.io/";

/// A list of ports, or all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ports {
    /// Every port (`*`).
    All,
    /// Exactly these; may be empty.
    Only(Vec<u16>),
}

/// A list of address ranges, or every address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Cidrs {
    /// Every address (`*`).
    All,
    /// Exactly these; may be empty.
    Only(Vec<Cidr>),
}

/// The interception of one workload (Istio `tools/istio-iptables`, REDIRECT mode).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RuleSet {
    /// Where outbound TCP goes: the sidecar's outbound listener (15001).
    pub outbound_port: u16,
    /// Where inbound TCP goes (15006).
    pub inbound_port: u16,
    /// Where DNS (TCP and UDP to port 53, any server) goes (15053); none: DNS is left alone.
    pub dns_port: Option<u16>,
    /// Users whose sockets count as the proxy's.
    pub proxy_uids: Vec<u32>,
    /// Groups whose sockets count as the proxy's.
    pub proxy_gids: Vec<u32>,
    /// Outbound destinations that are captured.
    pub include_outbound: Cidrs,
    /// Outbound destinations that are not, even if included.
    pub exclude_outbound: Vec<Cidr>,
    /// Outbound ports that are captured whatever the destination.
    pub include_outbound_ports: Ports,
    /// Outbound ports that never are.
    pub exclude_outbound_ports: Vec<u16>,
    /// Inbound ports that are captured.
    pub include_inbound_ports: Ports,
    /// Inbound ports that never are (the proxy's own are added).
    pub exclude_inbound_ports: Vec<u16>,
    /// Ranges that are reached directly; TCP and UDP to anywhere else are refused at once
    /// instead of vanishing. Empty: nothing is refused.
    pub reachable: Vec<Cidr>,
}

/// Why the annotations of a workload make no rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// A value does not parse.
    #[error("annotation {annotation}: {reason}")]
    Value {
        /// The annotation's name.
        annotation: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An interception feature that we do not have.
    #[error("annotation {annotation} is not supported: {remedy}")]
    Unsupported {
        /// The annotation's name.
        annotation: String,
        /// What to do.
        remedy: &'static str,
    },
}

impl RuleSet {
    /// Istio's defaults with DNS capture: everything goes through the sidecar.
    pub fn standard(reachable: Vec<Cidr>) -> Self {
        Self {
            outbound_port: 15001,
            inbound_port: 15006,
            dns_port: Some(15053),
            proxy_uids: vec![PROXY_OWNER],
            proxy_gids: vec![PROXY_OWNER],
            include_outbound: Cidrs::All,
            exclude_outbound: Vec::new(),
            include_outbound_ports: Ports::Only(Vec::new()),
            exclude_outbound_ports: Vec::new(),
            include_inbound_ports: Ports::All,
            exclude_inbound_ports: PROXY_INBOUND_PORTS.to_vec(),
            reachable,
        }
    }

    /// Nothing is captured (interception mode NONE, or no sidecar).
    pub fn bare(reachable: Vec<Cidr>) -> Self {
        Self {
            dns_port: None,
            include_outbound: Cidrs::Only(Vec::new()),
            include_inbound_ports: Ports::Only(Vec::new()),
            ..Self::standard(reachable)
        }
    }

    /// The rules a pod's annotations ask for (`traffic.sidecar.istio.io/*`,
    /// `sidecar.istio.io/interceptionMode`).
    ///
    /// # Errors
    /// A value that does not parse, and the features we lack (TPROXY, interface lists), by name.
    pub fn from_annotations(
        annotations: &BTreeMap<String, String>,
        reachable: Vec<Cidr>,
    ) -> Result<Self, RuleError> {
        let mode = annotations
            .get("sidecar.istio.io/interceptionMode")
            .map_or("REDIRECT", String::as_str);
        match mode {
            "REDIRECT" | "" => {}
            "NONE" => return Ok(Self::bare(reachable)),
            "TPROXY" => {
                return Err(RuleError::Unsupported {
                    annotation: "sidecar.istio.io/interceptionMode: TPROXY".into(),
                    remedy: "use REDIRECT, which is the default",
                });
            }
            other => {
                return Err(RuleError::Value {
                    annotation: "sidecar.istio.io/interceptionMode".into(),
                    reason: format!("\"{other}\" is none of REDIRECT, TPROXY, NONE"),
                });
            }
        }
        for name in [
            "traffic.sidecar.istio.io/excludeInterfaces",
            "traffic.sidecar.istio.io/kubevirtInterfaces",
            "istio.io/reroute-virtual-interfaces",
        ] {
            if annotations.get(name).is_some_and(|value| !value.is_empty()) {
                return Err(RuleError::Unsupported {
                    annotation: name.into(),
                    remedy: "a workload here has one interface, eth0: remove the annotation",
                });
            }
        }
        let mut rules = Self::standard(reachable);
        let value = |name: &str| {
            annotations
                .get(&format!("{ANNOTATIONS}{name}"))
                .map(|text| (format!("{ANNOTATIONS}{name}"), text.as_str()))
        };
        if let Some((name, text)) = value("includeOutboundIPRanges") {
            rules.include_outbound = if text.trim() == "*" {
                Cidrs::All
            } else {
                Cidrs::Only(cidrs(&name, text)?)
            };
        }
        if let Some((name, text)) = value("excludeOutboundIPRanges") {
            rules.exclude_outbound = cidrs(&name, text)?;
        }
        if let Some((name, text)) = value("includeOutboundPorts") {
            rules.include_outbound_ports = port_set(&name, text)?;
        }
        if let Some((name, text)) = value("excludeOutboundPorts") {
            rules.exclude_outbound_ports = ports(&name, text)?;
        }
        if let Some((name, text)) = value("includeInboundPorts") {
            rules.include_inbound_ports = port_set(&name, text)?;
        }
        if let Some((name, text)) = value("excludeInboundPorts") {
            rules.exclude_inbound_ports.extend(ports(&name, text)?);
        }
        Ok(rules)
    }
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

fn cidrs(annotation: &str, text: &str) -> Result<Vec<Cidr>, RuleError> {
    let invalid = |error: CidrError| RuleError::Value {
        annotation: annotation.to_owned(),
        reason: error.to_string(),
    };
    items(text)
        .map(|item| item.parse().map_err(invalid))
        .collect()
}

fn ports(annotation: &str, text: &str) -> Result<Vec<u16>, RuleError> {
    items(text)
        .map(|item| match item.parse::<u16>() {
            Ok(port) if port > 0 => Ok(port),
            _ => Err(RuleError::Value {
                annotation: annotation.to_owned(),
                reason: format!("\"{item}\" is not a port (1-65535)"),
            }),
        })
        .collect()
}

fn port_set(annotation: &str, text: &str) -> Result<Ports, RuleError> {
    if text.trim() == "*" {
        Ok(Ports::All)
    } else {
        Ok(Ports::Only(ports(annotation, text)?))
    }
}
