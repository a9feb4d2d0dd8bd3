//! CDS: what a proxy can send to.

mod inbound;
mod load_balancer;
mod outbound;
mod tls;
mod traffic_policy;

pub use load_balancer::{consistent_hash, locality_setting};
pub use outbound::{Discovery, discovery, of_service, passed_on};

use envoy_types::pb::envoy::extensions::upstreams::http::v3 as upstream_http;

use crate::dynamic;
use crate::issue::Issues;
use crate::names;
use crate::pb::{self, cluster, core, structs};
use crate::proxy::{Flavor, Proxy, ProxyKind};
use crate::world::mesh::OutboundPolicy;
use crate::world::scope::Scope;
use meltemi_registry::ServiceTarget;

/// Every cluster of a proxy.
pub fn translate(
    scope: &Scope<'_>,
    proxy: &Proxy,
    targets: &[ServiceTarget],
    issues: &mut Issues,
) -> Vec<cluster::Cluster> {
    let mut clusters = own(scope, proxy, targets, issues);
    for service in scope.services.values() {
        let rule = scope.rule(service).map(|rule| &**rule);
        clusters.extend(of_service(scope, proxy, service, rule, issues));
    }
    clusters
}

/// The clusters that are no service's, and those of the proxy's own workload.
pub fn own(
    scope: &Scope<'_>,
    proxy: &Proxy,
    targets: &[ServiceTarget],
    issues: &mut Issues,
) -> Vec<cluster::Cluster> {
    let mut clusters = vec![black_hole(scope)];
    if proxy.kind == ProxyKind::Sidecar {
        clusters.push(passthrough(scope, proxy));
        if scope.outbound_policy == OutboundPolicy::AllowAnyDynamicDns {
            clusters.push(unknown_hosts(scope, proxy));
        }
        clusters.push(inbound_passthrough(scope));
        clusters.extend(inbound::translate(scope, proxy, targets, issues));
    }
    clusters
}

fn named(name: &str, scope: &Scope<'_>) -> cluster::Cluster {
    cluster::Cluster {
        name: name.to_owned(),
        // The semicolon ends the name where Envoy's statistics tags are cut out of it.
        alt_stat_name: format!("{name};"),
        connect_timeout: Some(pb::duration(scope.world.mesh.connect_timeout)),
        ..Default::default()
    }
}

fn typed(kind: cluster::cluster::DiscoveryType) -> cluster::cluster::ClusterDiscoveryType {
    cluster::cluster::ClusterDiscoveryType::Type(kind as i32)
}

/// A cluster without endpoints: connections to it are closed.
fn black_hole(scope: &Scope<'_>) -> cluster::Cluster {
    cluster::Cluster {
        cluster_discovery_type: Some(typed(cluster::cluster::DiscoveryType::Static)),
        ..named(names::BLACK_HOLE, scope)
    }
}

fn original_destination(name: &str, scope: &Scope<'_>) -> cluster::Cluster {
    cluster::Cluster {
        cluster_discovery_type: Some(typed(cluster::cluster::DiscoveryType::OriginalDst)),
        lb_policy: cluster::cluster::LbPolicy::ClusterProvided as i32,
        circuit_breakers: Some(traffic_policy::unlimited()),
        ..named(name, scope)
    }
}

/// Speaks upstream what the client spoke, and gives idle connections up after five minutes.
fn downstream_protocol() -> upstream_http::HttpProtocolOptions {
    use upstream_http::http_protocol_options::{UpstreamProtocolOptions, UseDownstreamHttpConfig};
    upstream_http::HttpProtocolOptions {
        common_http_protocol_options: Some(core::HttpProtocolOptions {
            idle_timeout: Some(pb::seconds(300)),
            ..Default::default()
        }),
        upstream_protocol_options: Some(UpstreamProtocolOptions::UseDownstreamProtocolConfig(
            UseDownstreamHttpConfig {
                http_protocol_options: Some(Default::default()),
                http2_protocol_options: Some(Default::default()),
                ..Default::default()
            },
        )),
        ..Default::default()
    }
}

fn http_options(options: &upstream_http::HttpProtocolOptions) -> (String, pb::Any) {
    (
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions".to_owned(),
        pb::any(options),
    )
}

fn passthrough(scope: &Scope<'_>, proxy: &Proxy) -> cluster::Cluster {
    cluster::Cluster {
        typed_extension_protocol_options: [http_options(&downstream_protocol())]
            .into_iter()
            .collect(),
        filters: peer_metadata(proxy),
        ..original_destination(names::PASSTHROUGH, scope)
    }
}

/// Connects to the host that a request names, which no service has.
fn unknown_hosts(scope: &Scope<'_>, proxy: &Proxy) -> cluster::Cluster {
    let mut cluster = cluster::Cluster {
        circuit_breakers: Some(traffic_policy::unlimited()),
        filters: peer_metadata(proxy),
        ..named(names::ALLOW_ANY_DYNAMIC_DNS, scope)
    };
    let mesh = &scope.world.mesh;
    let tls = mesh.outbound_tls();
    let names = tls.map_or_else(dynamic::verified, tls::names_by_request);
    dynamic::make(
        &mut cluster,
        dynamic::unknown_hosts(proxy),
        !names.auto_san_validation,
    );
    cluster.transport_socket = tls.and_then(|settings| tls::to_unknown_hosts(mesh, settings));
    if tls.is_some_and(tls::is_custom) {
        let istio = structs::structure([("alpn_override", structs::string("false"))]);
        cluster.metadata = Some(structs::metadata("istio", istio));
    }
    let (name, any) = http_options(&upstream_http::HttpProtocolOptions {
        upstream_http_protocol_options: Some(names),
        ..downstream_protocol()
    });
    cluster.typed_extension_protocol_options.insert(name, any);
    cluster
}

fn inbound_passthrough(scope: &Scope<'_>) -> cluster::Cluster {
    cluster::Cluster {
        // Istio names its statistics like the outbound one.
        alt_stat_name: format!("{};", names::PASSTHROUGH),
        upstream_bind_config: Some(inbound_source()),
        typed_extension_protocol_options: [http_options(&downstream_protocol())]
            .into_iter()
            .collect(),
        ..original_destination(names::INBOUND_PASSTHROUGH, scope)
    }
}

fn inbound_source() -> core::BindConfig {
    core::BindConfig {
        source_address: Some(core::SocketAddress {
            address: names::INBOUND_SOURCE.to_owned(),
            port_specifier: Some(core::socket_address::PortSpecifier::PortValue(0)),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Peers tell each other who they are at the start of a TCP connection (Istio's protocol
/// `istio-peer-exchange`); Envoy as such does not have the filter.
fn peer_metadata(proxy: &Proxy) -> Vec<cluster::Filter> {
    match proxy.flavor {
        Flavor::Envoy => Vec::new(),
        Flavor::Meltemi => vec![cluster::Filter {
            name: "istio.metadata_exchange".to_owned(),
            typed_config: Some(crate::listener::filters::tcp_peer_metadata()),
            ..Default::default()
        }],
    }
}

/// Istio's metadata of a cluster: the services it stands for.
fn service_metadata<'a>(
    services: impl IntoIterator<Item = &'a meltemi_registry::Service>,
) -> pb::Struct {
    let services = services
        .into_iter()
        .map(|service| {
            structs::object([
                ("host", structs::string(&*service.hostname)),
                ("name", structs::string(&service.name)),
                ("namespace", structs::string(&service.namespace)),
            ])
        })
        .collect();
    structs::structure([("services", structs::list(services))])
}
