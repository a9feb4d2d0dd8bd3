//! EDS: where a cluster's requests go, by locality and priority.

use std::collections::{BTreeMap, BTreeSet};

use meltemi_api::networking::{LocalityLoadBalancerSetting, TrafficPolicy};
use meltemi_registry::{Endpoint, Locality, Port, Protocol, Provider, Service, Target, matches};

use crate::cluster::{self, Discovery};
use crate::names;
use crate::pb::{self, core, endpoint as eds, structs};
use crate::proxy::Proxy;
use crate::world::World;
use crate::world::destination_rule::{self, Rule};
use crate::world::peer_authentication::MtlsMode;
use crate::world::scope::Scope;

/// The endpoints of every EDS cluster of a proxy.
pub fn translate(scope: &Scope<'_>, proxy: &Proxy) -> Vec<eds::ClusterLoadAssignment> {
    let services = scope.services.values();
    services
        .flat_map(|service| {
            let rule = scope.rule(service).map(|rule| &**rule);
            of_service(scope.world, proxy, service, rule)
        })
        .collect()
}

/// The endpoints of a service's EDS clusters, under the DestinationRule in force for it.
pub fn of_service(
    world: &World,
    proxy: &Proxy,
    service: &Service,
    rule: Option<&Rule>,
) -> Vec<eds::ClusterLoadAssignment> {
    assignments(world, proxy, service, rule, false)
}

/// The endpoints of [`cluster::passed_on`]: those that take mesh mTLS, as others would take the
/// bytes of a stranger for their protocol's.
pub fn passed_on(
    world: &World,
    proxy: &Proxy,
    service: &Service,
    rule: Option<&Rule>,
) -> Vec<eds::ClusterLoadAssignment> {
    assignments(world, proxy, service, rule, true)
}

fn assignments(
    world: &World,
    proxy: &Proxy,
    service: &Service,
    rule: Option<&Rule>,
    passed_on: bool,
) -> Vec<eds::ClusterLoadAssignment> {
    let mut assignments = Vec::new();
    if cluster::discovery(service, proxy.kind) != Discovery::Eds {
        return assignments;
    }
    for port in &service.ports {
        if port.protocol == Protocol::Udp {
            continue;
        }
        let mesh_default = world.mesh.config.default_traffic_policy.as_ref();
        let own = rule.and_then(|rule| rule.traffic_policy.as_ref());
        let policy = destination_rule::at_port(own.or(mesh_default), port.number);
        let empty = BTreeMap::new();
        let subsets = rule.iter().flat_map(|rule| &rule.subsets).map(|subset| {
            let policy = destination_rule::at_subset(&policy, subset, port.number);
            (subset.name.as_str(), &subset.labels, policy)
        });
        let whole = ("", &empty, policy.clone());
        for (name, labels, policy) in std::iter::once(whole).chain(subsets) {
            let endpoints = service
                .endpoints(port.number)
                .iter()
                .map(|endpoint| &**endpoint)
                .filter(|endpoint| matches(labels, &endpoint.workload.labels))
                .filter(|endpoint| !passed_on || takes_mesh_tls(world, endpoint));
            assignments.push(eds::ClusterLoadAssignment {
                cluster_name: names::of_service(passed_on, port.number, name, &service.hostname),
                endpoints: localities(world, proxy, service, &policy, endpoints),
                ..Default::default()
            });
        }
    }
    assignments
}

/// The endpoints of a cluster whose names the proxy resolves.
pub fn resolved_by_name(
    scope: &Scope<'_>,
    proxy: &Proxy,
    cluster_name: &str,
    (service, port): (&Service, &Port),
    policy: &TrafficPolicy,
    selected: impl Fn(&BTreeMap<String, String>) -> bool,
) -> eds::ClusterLoadAssignment {
    let endpoints = service
        .endpoints(port.number)
        .iter()
        .map(|endpoint| &**endpoint);
    let endpoints = endpoints.filter(|endpoint| selected(&endpoint.workload.labels));
    eds::ClusterLoadAssignment {
        cluster_name: cluster_name.to_owned(),
        endpoints: localities(scope.world, proxy, service, policy, endpoints),
        ..Default::default()
    }
}

fn localities<'a>(
    world: &World,
    proxy: &Proxy,
    service: &Service,
    policy: &TrafficPolicy,
    endpoints: impl Iterator<Item = &'a Endpoint>,
) -> Vec<eds::LocalityLbEndpoints> {
    let mesh = world.mesh.config.locality_lb_setting.as_ref();
    let setting = cluster::locality_setting(mesh, policy);
    let failover = setting.filter(|_| policy.outlier_detection.is_some());
    // Label priority comes first, then the locality; groups are in the order of both.
    let mut groups: BTreeMap<(u32, &Locality), Vec<&Endpoint>> = BTreeMap::new();
    for endpoint in endpoints {
        let by_label = failover.map_or(0, |setting| label_priority(setting, proxy, endpoint));
        groups
            .entry((by_label, &endpoint.workload.locality))
            .or_default()
            .push(endpoint);
    }
    let mut assigned: Vec<(u32, eds::LocalityLbEndpoints)> = groups
        .into_iter()
        .map(|((by_label, locality), endpoints)| {
            let members = endpoints
                .iter()
                .map(|endpoint| {
                    let mutual = takes_mesh_tls(world, endpoint);
                    lb_endpoint(endpoint, service, mutual)
                })
                .collect();
            // Localities give at most five priorities (0 to 4).
            let by_locality = failover
                .filter(|setting| setting.distribute.is_empty())
                .map_or(0, |setting| locality_priority(setting, proxy, locality));
            (
                by_label * 5 + by_locality,
                group(locality, members, &endpoints),
            )
        })
        .collect();
    if let Some(setting) = setting {
        distribute(setting, &proxy.locality, &mut assigned);
    }
    // Envoy wants priorities from 0 without gaps.
    let ranks: BTreeSet<u32> = assigned.iter().map(|(priority, _)| *priority).collect();
    assigned
        .into_iter()
        .map(|(priority, mut group)| {
            group.priority = ranks.range(..priority).count() as u32;
            group
        })
        .collect()
}

/// How far an endpoint's labels are from the proxy's along `failoverPriority`: 0 when all are
/// equal, more the earlier they differ.
fn label_priority(
    setting: &LocalityLoadBalancerSetting,
    proxy: &Proxy,
    endpoint: &Endpoint,
) -> u32 {
    let labels = &setting.failover_priority;
    let equal = labels
        .iter()
        .take_while(|entry| {
            let (key, wanted) = match entry.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (entry.as_str(), label(&proxy.labels, &proxy.locality, entry)),
            };
            let own = label(&endpoint.workload.labels, &endpoint.workload.locality, key);
            own == wanted
        })
        .count();
    (labels.len() - equal) as u32
}

/// A label, locality labels also where only the locality is known.
fn label<'a>(
    labels: &'a BTreeMap<String, String>,
    locality: &'a Locality,
    key: &str,
) -> Option<&'a str> {
    let of_locality = match key {
        "topology.kubernetes.io/region" => Some(&locality.region),
        "topology.kubernetes.io/zone" => Some(&locality.zone),
        "topology.istio.io/subzone" => Some(&locality.sub_zone),
        _ => None,
    };
    labels
        .get(key)
        .or(of_locality.filter(|value| !value.is_empty()))
        .map(String::as_str)
}

/// 0 same sub-zone, 1 same zone, 2 same region, 3 elsewhere, 4 elsewhere although `failover`
/// names another region.
fn locality_priority(
    setting: &LocalityLoadBalancerSetting,
    proxy: &Proxy,
    locality: &Locality,
) -> u32 {
    let own = &proxy.locality;
    if own.is_unknown() {
        return 0;
    }
    if own.region != locality.region {
        let elsewhere = setting
            .failover
            .iter()
            .find(|failover| failover.from == own.region)
            .is_some_and(|failover| failover.to != locality.region);
        return if elsewhere { 4 } else { 3 };
    }
    if own.zone != locality.zone {
        2
    } else if own.sub_zone != locality.sub_zone {
        1
    } else {
        0
    }
}

/// Splits the load over localities as the first matching `distribute` entry says; localities
/// that it does not name get nothing.
fn distribute(
    setting: &LocalityLoadBalancerSetting,
    own: &Locality,
    groups: &mut Vec<(u32, eds::LocalityLbEndpoints)>,
) {
    let Some(entry) = setting
        .distribute
        .iter()
        .find(|entry| locality_matches(&entry.from, own))
    else {
        return;
    };
    let mut taken: Vec<(u32, eds::LocalityLbEndpoints)> = Vec::new();
    for (pattern, share) in &entry.to {
        let (members, rest): (Vec<_>, Vec<_>) =
            std::mem::take(groups).into_iter().partition(|(_, group)| {
                let locality = group.locality.clone().unwrap_or_default();
                let locality = Locality {
                    region: locality.region,
                    zone: locality.zone,
                    sub_zone: locality.sub_zone,
                };
                locality_matches(pattern, &locality)
            });
        *groups = rest;
        let total: u32 = members
            .iter()
            .filter_map(|(_, group)| group.load_balancing_weight)
            .map(|weight| weight.value)
            .sum();
        for (priority, mut group) in members {
            let weight = group.load_balancing_weight.map_or(0, |weight| weight.value);
            let share = u64::from(*share) * u64::from(weight);
            let part = share.div_ceil(u64::from(total.max(1)));
            group.load_balancing_weight = pb::u32v(u32::try_from(part).unwrap_or(u32::MAX));
            taken.push((priority, group));
        }
    }
    taken.retain(|(_, group)| group.load_balancing_weight.is_some_and(|w| w.value > 0));
    *groups = taken;
}

/// `region`, `region/zone`, `region/*`, `*`.
fn locality_matches(pattern: &str, locality: &Locality) -> bool {
    let parts = [&locality.region, &locality.zone, &locality.sub_zone];
    pattern
        .split('/')
        .zip(parts)
        .all(|(wanted, part)| wanted == "*" || wanted == part)
}

/// Whether mesh mTLS is to be used: the workload has a proxy, and no policy forbids it there.
fn takes_mesh_tls(world: &World, endpoint: &Endpoint) -> bool {
    endpoint.workload.mutual_tls
        && world
            .peer_authentications
            .workload(&endpoint.workload.namespace, &endpoint.workload.labels)
            .at(endpoint.port)
            != MtlsMode::Disable
}

fn group(
    locality: &Locality,
    members: Vec<eds::LbEndpoint>,
    endpoints: &[&Endpoint],
) -> eds::LocalityLbEndpoints {
    let weight = endpoints
        .iter()
        .fold(0_u32, |sum, endpoint| sum.saturating_add(endpoint.weight));
    eds::LocalityLbEndpoints {
        locality: Some(core::Locality {
            region: locality.region.clone(),
            zone: locality.zone.clone(),
            sub_zone: locality.sub_zone.clone(),
        }),
        lb_endpoints: members,
        load_balancing_weight: pb::u32v(weight),
        ..Default::default()
    }
}

fn lb_endpoint(endpoint: &Endpoint, service: &Service, mesh_tls: bool) -> eds::LbEndpoint {
    let workload = &endpoint.workload;
    let address = match &endpoint.target {
        Target::Unix(path) => pb::pipe_address(path),
        other => pb::socket_address(&other.to_string(), u32::from(endpoint.port)),
    };
    let canonical = if workload.name.is_empty() {
        ""
    } else {
        workload.canonical_name()
    };
    let peer = format!(
        "{};{};{canonical};{};{}",
        workload.workload,
        workload.namespace,
        workload.canonical_revision(),
        workload.cluster_id
    );
    let mut metadata = structs::metadata(
        "istio",
        structs::structure([("workload", structs::string(peer))]),
    );
    if mesh_tls {
        metadata.filter_metadata.insert(
            "envoy.transport_socket_match".to_owned(),
            structs::structure([("tlsMode", structs::string("istio"))]),
        );
    }
    eds::LbEndpoint {
        host_identifier: Some(eds::lb_endpoint::HostIdentifier::Endpoint(eds::Endpoint {
            address: Some(address),
            ..Default::default()
        })),
        health_status: match service.provider {
            Provider::Kubernetes => core::HealthStatus::Healthy as i32,
            Provider::External => core::HealthStatus::Unknown as i32,
        },
        load_balancing_weight: pb::u32v(endpoint.weight),
        metadata: Some(metadata),
    }
}
