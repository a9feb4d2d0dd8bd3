//! `ClusterLoadAssignment`: endpoints before names are resolved and tables are built.
#![allow(deprecated)] // Messages are destructured with their deprecated fields.

use super::any::struct_json;
use super::basic::{HostPort, Location, fraction, location, u32_or};
use super::presence::{harmless, left_out, refuse};
use super::{At, Error, Result};
use super::{context::Cx, pb};
use crate::model::{CheckTarget, Health, Workload};
use pb::endpoint as proto;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Envoy's `overprovisioning_factor`.
const OVERPROVISIONING: u32 = 140;

#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    pub localities: Vec<LocalitySpec>,
    /// Percent.
    pub overprovisioning: u32,
    pub drop_per_million: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct LocalitySpec {
    pub region: Box<str>,
    pub zone: Box<str>,
    pub sub_zone: Box<str>,
    pub priority: u32,
    /// 0: not weighted.
    pub weight: u32,
    pub endpoints: Vec<EndpointSpec>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct EndpointSpec {
    pub host: Host,
    pub hostname: Box<str>,
    pub weight: u32,
    pub health: Health,
    pub transport_match: Vec<(Box<str>, Box<str>)>,
    pub lb_metadata: Vec<(Box<str>, Box<str>)>,
    pub check: CheckTarget,
    pub workload: Option<Workload>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    Address(SocketAddr),
    Pipe(PathBuf),
    /// To be resolved.
    Name(Box<str>, u16),
}

impl Assignment {
    pub fn endpoints(&self) -> impl Iterator<Item = &EndpointSpec> {
        self.localities
            .iter()
            .flat_map(|locality| &locality.endpoints)
    }
}

/// `names`: host names are allowed (DNS clusters).
pub fn assignment(
    value: proto::ClusterLoadAssignment,
    names: bool,
    cx: &mut Cx<'_>,
) -> Result<Assignment> {
    let proto::ClusterLoadAssignment {
        cluster_name,
        endpoints,
        named_endpoints,
        policy,
    } = value;
    harmless!(cluster_name);
    refuse!(named_endpoints);
    let (overprovisioning, drop_per_million) = match policy {
        None => (OVERPROVISIONING, 0),
        Some(policy) => load_policy(policy, cx).at("policy")?,
    };
    let localities = endpoints
        .into_iter()
        .enumerate()
        .map(|(index, value)| locality(value, names, cx).nth("endpoints", index));
    Ok(Assignment {
        localities: exact(localities)?,
        overprovisioning,
        drop_per_million,
    })
}

fn load_policy(
    value: proto::cluster_load_assignment::Policy,
    cx: &mut Cx<'_>,
) -> Result<(u32, u32)> {
    let proto::cluster_load_assignment::Policy {
        drop_overloads,
        overprovisioning_factor,
        endpoint_stale_after,
        weighted_priority_health,
    } = value;
    refuse!(weighted_priority_health);
    left_out!(
        cx,
        "ClusterLoadAssignment.Policy",
        "endpoints stay until they are replaced",
        endpoint_stale_after
    );
    let mut passing = 1.0;
    for overload in drop_overloads {
        let (numerator, denominator) = overload.drop_percentage.map_or((0, 100), fraction);
        passing *= 1.0 - f64::from(numerator) / f64::from(denominator);
    }
    Ok((
        u32_or(overprovisioning_factor, OVERPROVISIONING),
        ((1.0 - passing) * 1e6).round() as u32,
    ))
}

fn locality(
    value: proto::LocalityLbEndpoints,
    names: bool,
    cx: &mut Cx<'_>,
) -> Result<LocalitySpec> {
    use proto::locality_lb_endpoints::LbConfig;
    let proto::LocalityLbEndpoints {
        locality,
        metadata,
        lb_endpoints,
        load_balancing_weight,
        priority,
        proximity,
        lb_config,
    } = value;
    harmless!(metadata, proximity);
    let lb_endpoints = match lb_config {
        None => lb_endpoints,
        Some(LbConfig::LoadBalancerEndpoints(list)) => list.lb_endpoints,
        Some(LbConfig::LedsClusterLocalityConfig(_)) => {
            return Err(Error::unsupported("leds_cluster_locality_config"));
        }
    };
    if priority > 128 {
        return Err(Error::new("is above 128").at_field("priority"));
    }
    let locality = locality.unwrap_or_default();
    let endpoints = lb_endpoints
        .into_iter()
        .enumerate()
        .map(|(index, value)| endpoint(value, names, cx).nth("lb_endpoints", index));
    Ok(LocalitySpec {
        region: locality.region.into(),
        zone: locality.zone.into(),
        sub_zone: locality.sub_zone.into(),
        priority,
        weight: u32_or(load_balancing_weight, 0),
        endpoints: exact(endpoints)?,
    })
}

/// Collected in place, they would keep the messages' memory, which is several times as much.
fn exact<T>(values: impl Iterator<Item = Result<T>>) -> Result<Vec<T>> {
    let mut values = values.collect::<Result<Vec<_>>>()?;
    values.shrink_to_fit();
    Ok(values)
}

fn endpoint(value: proto::LbEndpoint, names: bool, cx: &mut Cx<'_>) -> Result<EndpointSpec> {
    use pb::core::HealthStatus;
    use proto::lb_endpoint::HostIdentifier;
    let health = match value.health_status() {
        HealthStatus::Unknown | HealthStatus::Healthy => Health::Healthy,
        HealthStatus::Degraded => Health::Degraded,
        HealthStatus::Draining => Health::Draining,
        HealthStatus::Unhealthy | HealthStatus::Timeout => Health::Unhealthy,
    };
    let proto::LbEndpoint {
        health_status: _,
        metadata,
        load_balancing_weight,
        host_identifier,
    } = value;
    let endpoint = match host_identifier {
        Some(HostIdentifier::Endpoint(endpoint)) => endpoint,
        Some(HostIdentifier::EndpointName(_)) => {
            return Err(Error::unsupported("endpoint_name"));
        }
        None => return Err(Error::missing("endpoint")),
    };
    let proto::Endpoint {
        address,
        health_check_config,
        hostname,
        additional_addresses,
        observability_name,
    } = endpoint;
    harmless!(observability_name);
    let check = health_check_config
        .map(check_target)
        .transpose()
        .at("endpoint.health_check_config")?
        .unwrap_or_default();
    left_out!(
        cx,
        "Endpoint",
        "only an endpoint's first address is used",
        additional_addresses
    );
    let host = match location(address).at("endpoint.address")? {
        Location::Pipe(path) => Host::Pipe(path.into()),
        Location::Socket(address) => match address.socket() {
            Some(address) => Host::Address(address),
            None if names => {
                let HostPort { host, port } = address;
                Host::Name(host.into(), port)
            }
            None => {
                return Err(
                    Error::new(format!("{:?} is not an IP address", address.host))
                        .at_field("endpoint.address.socket_address.address"),
                );
            }
        },
    };
    let (transport_match, lb_metadata, workload) = endpoint_metadata(metadata);
    let hostname: Box<str> = match (&host, hostname.is_empty()) {
        // Envoy takes the DNS name as the host name of what it resolves to.
        (Host::Name(name, _), true) => name.clone(),
        _ => hostname.into(),
    };
    Ok(EndpointSpec {
        host,
        hostname,
        weight: u32_or(load_balancing_weight, 1).max(1),
        health,
        transport_match,
        lb_metadata,
        check,
        workload,
    })
}

fn check_target(value: proto::endpoint::HealthCheckConfig) -> Result<CheckTarget> {
    let proto::endpoint::HealthCheckConfig {
        port_value,
        hostname,
        address,
        disable_active_health_check,
    } = value;
    let port = u16::try_from(port_value)
        .map_err(|_| Error::new("is above 65535").at_field("port_value"))?;
    let address = match address.map(|address| location(Some(address))) {
        None => None,
        Some(Ok(Location::Socket(address))) => address.socket(),
        Some(Ok(Location::Pipe(_))) => return Err(Error::unsupported("address.pipe")),
        Some(Err(error)) => return Err(error.at_field("address")),
    };
    Ok(CheckTarget {
        disabled: disable_active_health_check,
        port: Some(port).filter(|port| *port > 0).or(address
            .map(|address| address.port())
            .filter(|port| *port > 0)),
        address: address.map(|address| address.ip()),
        hostname: hostname.into(),
    })
}

type Metadata = Vec<(Box<str>, Box<str>)>;

fn endpoint_metadata(value: Option<pb::core::Metadata>) -> (Metadata, Metadata, Option<Workload>) {
    let Some(mut metadata) = value else {
        return (Vec::new(), Vec::new(), None);
    };
    let mut take = |name: &str| {
        let fields = metadata.filter_metadata.remove(name);
        fields.map(criteria).unwrap_or_default()
    };
    let transport_match = take("envoy.transport_socket_match");
    let lb_metadata = take("envoy.lb");
    let workload = metadata
        .filter_metadata
        .remove("istio")
        .and_then(|fields| workload(struct_json(fields)["workload"].as_str()?));
    (transport_match, lb_metadata, workload)
}

/// A metadata struct's fields as text, in the order of names.
pub fn criteria(value: pb::wkt::Struct) -> Metadata {
    match struct_json(value) {
        serde_json::Value::Object(fields) => fields
            .into_iter()
            .map(|(key, value)| {
                let text = match value {
                    serde_json::Value::String(text) => text,
                    other => other.to_string(),
                };
                (key.into(), text.into())
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// Istio's `name;namespace;canonical-name;canonical-revision;cluster`.
fn workload(text: &str) -> Option<Workload> {
    let mut parts = text.split(';').map(Box::<str>::from);
    Some(Workload {
        name: parts.next()?,
        namespace: parts.next()?,
        canonical_name: parts.next()?,
        canonical_revision: parts.next()?,
        cluster: parts.next().unwrap_or_default(),
    })
}
