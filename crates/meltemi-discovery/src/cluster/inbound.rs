//! Clusters for the workload's own ports.

use std::collections::BTreeMap;

use meltemi_api::networking::TrafficPolicy;
use meltemi_registry::{Port, Protocol, ServiceTarget};

use super::traffic_policy::{self, Http};
use super::{http_options, inbound_source, original_destination, service_metadata, typed};
use crate::issue::Issues;
use crate::listener::ingress;
use crate::names;
use crate::pb::{self, cluster, core, endpoint, structs};
use crate::proxy::Proxy;
use crate::world::destination_rule;
use crate::world::scope::Scope;

/// Envoy's longest interval: idle destinations of inbound clusters are never forgotten, as
/// there is just one.
const NEVER: i64 = 9_223_372_035;

pub fn translate(
    scope: &Scope<'_>,
    proxy: &Proxy,
    targets: &[ServiceTarget],
    issues: &mut Issues,
) -> Vec<cluster::Cluster> {
    if let Some(listeners) = ingress::listeners(scope) {
        return listeners
            .iter()
            .map(|listener| explicit(scope, proxy, listener, targets, issues))
            .collect();
    }
    let mut by_port: BTreeMap<u16, Vec<&ServiceTarget>> = BTreeMap::new();
    for target in targets {
        if target.port.protocol != Protocol::Udp {
            by_port.entry(target.target_port).or_default().push(target);
        }
    }
    by_port
        .into_iter()
        .map(|(port, targets)| of_port(scope, proxy, port, &targets))
        .collect()
}

fn of_port(
    scope: &Scope<'_>,
    proxy: &Proxy,
    port: u16,
    targets: &[&ServiceTarget],
) -> cluster::Cluster {
    let first = targets[0];
    let mut cluster = as_received(scope, proxy, port);
    cluster.common_lb_config = Some(Default::default());
    let mut metadata = service_metadata(targets.iter().map(|target| &*target.service));
    let rule = scope.rule(&first.service);
    let mut policy = destination_rule::at_port(
        rule.and_then(|rule| rule.traffic_policy.as_ref()),
        first.port.number,
    );
    let pool = scope
        .sidecar
        .and_then(|sidecar| sidecar.spec.inbound_connection_pool.as_ref());
    if let Some(pool) = pool {
        policy.connection_pool = Some(pool.clone());
    }
    if let Some(rule) = rule {
        let path = structs::config_path("destination-rule", &rule.key.namespace, &rule.key.name);
        metadata
            .fields
            .insert("config".to_owned(), structs::string(path));
    }
    cluster.metadata = Some(structs::metadata("istio", metadata));
    finish(cluster, scope, &first.port, policy)
}

/// The application's own port: redirected connections go where they were going, others to
/// where the application listens beside the proxy.
fn as_received(scope: &Scope<'_>, proxy: &Proxy, port: u16) -> cluster::Cluster {
    let name = names::inbound(port);
    let localhost = scope.world.mesh.inbound_to_localhost;
    let localhost = localhost.then_some(std::net::Ipv4Addr::LOCALHOST.into());
    if let Some(application) = proxy.application().or(localhost) {
        let address = pb::socket_address(&application.to_string(), u32::from(port));
        return at_address(&name, scope, address);
    }
    cluster::Cluster {
        cleanup_interval: Some(pb::seconds(NEVER)),
        upstream_bind_config: (!proxy.tproxy).then(inbound_source),
        ..original_destination(&name, scope)
    }
}

/// Only the connection pool of a policy is for the workload's own ports.
fn finish(
    mut cluster: cluster::Cluster,
    scope: &Scope<'_>,
    port: &Port,
    policy: TrafficPolicy,
) -> cluster::Cluster {
    let mut http = Http::inbound(port);
    let pool = TrafficPolicy {
        connection_pool: policy.connection_pool,
        ..Default::default()
    };
    traffic_policy::connection(&mut cluster, &mut http, scope, &pool);
    if let Some(options) = http.options() {
        let (name, any) = http_options(&options);
        cluster.typed_extension_protocol_options.insert(name, any);
    }
    cluster
}

/// A Sidecar's ingress listener, whose `defaultEndpoint` says where the application is.
fn explicit(
    scope: &Scope<'_>,
    proxy: &Proxy,
    listener: &ingress::Ingress<'_>,
    targets: &[ServiceTarget],
    issues: &mut Issues,
) -> cluster::Cluster {
    let mut policy = TrafficPolicy::default();
    let shared = scope
        .sidecar
        .and_then(|sidecar| sidecar.spec.inbound_connection_pool.as_ref());
    policy.connection_pool = listener
        .spec
        .connection_pool
        .clone()
        .or_else(|| shared.cloned());
    let name = names::inbound(listener.port.number);
    let services = targets
        .iter()
        .filter(|target| target.target_port == listener.port.number)
        .map(|target| &*target.service);
    let metadata = structs::metadata("istio", service_metadata(services));
    let cluster = match ingress::endpoint(proxy, listener, issues) {
        ingress::Endpoint::AsReceived => as_received(scope, proxy, listener.port.number),
        ingress::Endpoint::At(address) => at_address(&name, scope, address),
    };
    finish(
        cluster::Cluster {
            metadata: Some(metadata),
            common_lb_config: Some(Default::default()),
            ..cluster
        },
        scope,
        &listener.port,
        policy,
    )
}

fn at_address(name: &str, scope: &Scope<'_>, address: core::Address) -> cluster::Cluster {
    let assignment = endpoint::ClusterLoadAssignment {
        cluster_name: name.to_owned(),
        endpoints: vec![endpoint::LocalityLbEndpoints {
            lb_endpoints: vec![endpoint::LbEndpoint {
                host_identifier: Some(endpoint::lb_endpoint::HostIdentifier::Endpoint(
                    endpoint::Endpoint {
                        address: Some(address),
                        ..Default::default()
                    },
                )),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    cluster::Cluster {
        cluster_discovery_type: Some(typed(cluster::cluster::DiscoveryType::Static)),
        load_assignment: Some(assignment),
        ..super::named(name, scope)
    }
}
