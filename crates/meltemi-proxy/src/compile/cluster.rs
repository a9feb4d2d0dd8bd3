//! Clusters, without their endpoints.
#![allow(deprecated)] // Messages are destructured with their deprecated fields.

use super::any::{self, struct_json};
use super::assignment::{self, Assignment};
use super::basic::{duration_or, keepalive, u32_or};
use super::context::Cx;
use super::discovery::{self, Kind};
use super::presence::{harmless, left_out, refuse};
use super::{At, Error, Result};
use super::{
    balancer, cluster_dns, cluster_protocol, health, limits, outlier, pb, subset, transport,
};
use crate::model::{
    Balancer, ClusterConfig, Discovery, HealthProbe, IstioService, TcpKeepalive, TransportChoice,
    TransportMatch, UpstreamProtocol, UpstreamTransport,
};
use pb::cluster as proto;
use pb::clusters::dns::v3::DnsCluster;
use proto::cluster as nested;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Envoy's `connect_timeout` where none is configured.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A compiled cluster and where its endpoints come from.
pub struct CompiledCluster {
    pub config: ClusterConfig,
    /// Of the cluster itself; `None` for EDS and ORIGINAL_DST.
    pub assignment: Option<Assignment>,
    /// For EDS: how long to wait for the first endpoints (0: for ever).
    pub fetch_timeout: Duration,
}

/// Compiles a cluster. `hash` identifies the message it came from.
pub fn cluster(value: proto::Cluster, hash: u64, cx: &mut Cx<'_>) -> Result<CompiledCluster> {
    let lookup = cluster_dns::family(value.dns_lookup_family());
    let lb_policy = value.lb_policy();
    let selection = value.protocol_selection();
    let proto::Cluster {
        transport_socket_matches,
        transport_socket_matcher,
        name,
        alt_stat_name,
        stats_matcher,
        eds_cluster_config,
        connect_timeout,
        per_connection_buffer_limit_bytes,
        per_connection_buffer_high_watermark_timeout,
        lb_policy: _,
        load_assignment,
        health_checks,
        max_requests_per_connection,
        circuit_breakers,
        upstream_http_protocol_options,
        common_http_protocol_options,
        http_protocol_options,
        http2_protocol_options,
        typed_extension_protocol_options,
        dns_refresh_rate,
        dns_jitter,
        dns_failure_refresh_rate,
        respect_dns_ttl,
        dns_lookup_family: _,
        dns_resolvers,
        use_tcp_for_dns_lookups,
        dns_resolution_config,
        typed_dns_resolver_config,
        wait_for_warm_on_init,
        outlier_detection,
        cleanup_interval,
        upstream_bind_config,
        lb_subset_config,
        common_lb_config,
        transport_socket,
        metadata,
        protocol_selection: _,
        upstream_connection_options,
        close_connections_on_host_health_failure,
        ignore_health_on_host_removal,
        filters,
        load_balancing_policy,
        lrs_server,
        lrs_report_endpoint_metrics,
        track_timeout_budgets,
        upstream_config,
        track_cluster_stats,
        preconnect_policy,
        connection_pool_per_downstream_connection,
        queuing_policies,
        cluster_discovery_type,
        lb_config,
    } = value;
    if name.is_empty() {
        return Err(Error::missing("name"));
    }
    refuse!(
        transport_socket_matcher,
        per_connection_buffer_high_watermark_timeout,
        dns_resolvers,
        use_tcp_for_dns_lookups,
        dns_resolution_config,
        upstream_config,
        connection_pool_per_downstream_connection,
        queuing_policies,
    );
    // Names of statistics, when Envoy's own initialisation waits, when it forgets original
    // destinations (ours are not kept).
    harmless!(
        stats_matcher,
        wait_for_warm_on_init,
        cleanup_interval,
        track_timeout_budgets,
        track_cluster_stats,
        dns_jitter,
    );
    left_out!(
        cx,
        "Cluster",
        "load is not reported",
        lrs_server,
        lrs_report_endpoint_metrics
    );
    left_out!(
        cx,
        "Cluster",
        "failed resolutions are repeated with a backoff of their own",
        dns_failure_refresh_rate
    );
    let kind = discovery::kind(cluster_discovery_type, cx)?;
    let mut upstream_http_protocol_options = upstream_http_protocol_options;
    if matches!(kind, Kind::Dynamic(_)) && upstream_http_protocol_options.is_none() {
        // As in Envoy. Without effect where typed options replace the cluster's own.
        upstream_http_protocol_options = Some(pb::core::UpstreamHttpProtocolOptions {
            auto_sni: true,
            auto_san_validation: true,
            ..Default::default()
        });
    }
    let protocol = cluster_protocol::compile(
        cluster_protocol::Input {
            typed: typed_extension_protocol_options,
            common: common_http_protocol_options,
            http1: http_protocol_options,
            http2: http2_protocol_options,
            upstream: upstream_http_protocol_options,
            downstream_protocol: selection
                == nested::ClusterProtocolSelection::UseDownstreamProtocol,
        },
        cx,
    )?;
    let dns = cluster_dns::Settings {
        refresh: dns_refresh_rate,
        respect_ttl: respect_dns_ttl,
        lookup,
        resolver: typed_dns_resolver_config,
    };
    let dns = |extension: Option<DnsCluster>| match extension {
        Some(extension) => cluster_dns::Settings::from_extension(extension),
        None => Ok(dns),
    };
    let is_dns = matches!(kind, Kind::StrictDns(_) | Kind::LogicalDns(_));
    let assignment = load_assignment
        .map(|value| assignment::assignment(value, is_dns, cx))
        .transpose()
        .at("load_assignment")?;
    let mut eds_timeout = Duration::ZERO;
    let mut original = None;
    let lb_config = match lb_config {
        Some(nested::LbConfig::OriginalDstLbConfig(config)) => {
            original = Some(config);
            None
        }
        other => other,
    };
    let discovery = match kind {
        Kind::Static => Discovery::Static,
        Kind::Eds => {
            let source = discovery::eds(eds_cluster_config, &name);
            let (service, timeout) = source.at("eds_cluster_config")?;
            eds_timeout = timeout;
            Discovery::Eds(service)
        }
        Kind::StrictDns(extension) => {
            Discovery::StrictDns(dns(extension)?.compile(assignment.as_ref())?)
        }
        Kind::LogicalDns(extension) => {
            let options = dns(extension)?.compile(assignment.as_ref())?;
            if assignment.as_ref().map_or(0, |a| a.endpoints().count()) != 1 {
                return Err(Error::new("LOGICAL_DNS needs exactly one endpoint")
                    .at_field("load_assignment"));
            }
            Discovery::LogicalDns(options)
        }
        Kind::OriginalDst => discovery::original_dst(original.take().unwrap_or_default())
            .at("original_dst_lb_config")?,
        Kind::Dynamic(config) => {
            let verified = protocol.auto.sni && protocol.auto.san;
            if !verified && !config.insecure {
                let reason = "needs auto_sni and auto_san_validation in the cluster's \
                    upstream_http_protocol_options, or allow_insecure_cluster_options";
                return Err(Error::new(reason).at_field("cluster_type"));
            }
            Discovery::DynamicForward(config.cache)
        }
    };
    let own_endpoints = !matches!(
        discovery,
        Discovery::OriginalDst { .. } | Discovery::DynamicForward(_)
    );
    if original.is_some() {
        return Err(Error::new("is for ORIGINAL_DST clusters").at_field("original_dst_lb_config"));
    }
    let health_check = health::checks(health_checks, cx).nth("health_checks", 0)?;
    if health_check.is_some() && !own_endpoints {
        let reason = "are not possible in a cluster that has no endpoints of its own";
        return Err(Error::new(reason).at_field("health_checks"));
    }
    let speaks_http2 = matches!(protocol.protocol, UpstreamProtocol::Http2);
    if !speaks_http2
        && health_check
            .as_ref()
            .is_some_and(|check| matches!(check.probe, HealthProbe::Grpc { .. }))
    {
        let reason = "by gRPC need a cluster that speaks HTTP/2 (http2_protocol_options)";
        return Err(Error::new(reason).at_field("health_checks"));
    }
    let health_check = health_check.map(Arc::new);
    let discovered = !matches!(discovery, Discovery::Static);
    if health_check.is_some() && discovered && !ignore_health_on_host_removal {
        cx.notice(
            "Cluster.ignore_health_on_host_removal",
            "endpoints that discovery removes are used no more, whatever their health",
        );
    }
    let common =
        balancer::common(common_lb_config.unwrap_or_default(), cx).at("common_lb_config")?;
    let (balancer, policy_locality_weighted) =
        balancer::balancer(lb_policy, lb_config, load_balancing_policy, &common, cx)?;
    if matches!(discovery, Discovery::DynamicForward(_)) && balancer != Balancer::ClusterProvided {
        return Err(Error::new("is CLUSTER_PROVIDED for this cluster_type").at_field("lb_policy"));
    }
    if !own_endpoints && lb_subset_config.is_some() {
        let reason = "is not possible in a cluster that has no endpoints of its own";
        return Err(Error::new(reason).at_field("lb_subset_config"));
    }
    let bind_address = upstream_bind_config
        .map(bind_address)
        .transpose()
        .at("upstream_bind_config")?
        .flatten();
    let tcp_keepalive = upstream_connection_options
        .map(|options| connection_options(options, cx))
        .transpose()
        .at("upstream_connection_options")?
        .flatten();
    let transport = transports(
        transport_socket_matches,
        transport_socket,
        protocol.auto,
        cx,
    )?;
    let istio = metadata
        .and_then(|mut metadata| metadata.filter_metadata.remove("istio"))
        .map(struct_json)
        .unwrap_or_default();
    Ok(CompiledCluster {
        config: ClusterConfig {
            name: name.into(),
            alt_stat_name: (!alt_stat_name.is_empty()).then(|| alt_stat_name.into()),
            discovery,
            balancer,
            connect_timeout: duration_or(connect_timeout, CONNECT_TIMEOUT).at("connect_timeout")?,
            buffer_limit: u32_or(
                per_connection_buffer_limit_bytes,
                super::listener::BUFFER_LIMIT,
            ),
            circuit_breakers: limits::circuit_breakers(circuit_breakers.unwrap_or_default(), cx)
                .at("circuit_breakers")?,
            outlier: outlier_detection
                .map(outlier::outlier)
                .transpose()
                .at("outlier_detection")?,
            health_check,
            subsets: lb_subset_config
                .map(subset::config)
                .transpose()
                .at("lb_subset_config")?
                .flatten()
                .map(Arc::new),
            transport,
            protocol: protocol.protocol,
            http1: protocol.http1,
            alpn_override: istio["alpn_override"] != "false",
            http2: protocol.http2,
            idle_timeout: protocol.idle_timeout,
            max_connection_duration: protocol.max_connection_duration,
            max_requests_per_connection: protocol
                .max_requests_per_connection
                .or(max_requests_per_connection.map(|value| value.value))
                .filter(|value| *value > 0),
            preconnect_ratio: limits::preconnect(preconnect_policy.unwrap_or_default(), cx)
                .at("preconnect_policy.per_upstream_preconnect_ratio")?,
            tcp_keepalive,
            bind_address,
            service: istio["services"].get(0).and_then(service),
            panic_threshold: common.panic_threshold,
            locality_weighted: common.locality_weighted || policy_locality_weighted,
            overprovisioning_percent: assignment
                .as_ref()
                .map_or(140, |assignment| assignment.overprovisioning),
            close_on_failure: close_connections_on_host_health_failure,
            peer_exchange: upstream_filters(filters)?,
            hash,
        },
        assignment,
        fetch_timeout: eds_timeout,
    })
}

fn transports(
    matches: Vec<nested::TransportSocketMatch>,
    default: Option<pb::core::TransportSocket>,
    auto: super::tls::Auto,
    cx: &mut Cx<'_>,
) -> Result<TransportChoice> {
    let mut compiled = Vec::with_capacity(matches.len());
    for (index, value) in matches.into_iter().enumerate() {
        let nested::TransportSocketMatch {
            name,
            r#match,
            transport_socket,
        } = value;
        let transport = transport_socket
            .ok_or_else(|| Error::new("is required"))
            .and_then(|socket| transport::upstream(socket, auto, cx))
            .at("transport_socket")
            .nth("transport_socket_matches", index)?;
        compiled.push(TransportMatch {
            name: name.into(),
            criteria: r#match.map(assignment::criteria).unwrap_or_default(),
            transport,
        });
    }
    let default = match default {
        None => UpstreamTransport::Plain,
        Some(socket) => transport::upstream(socket, auto, cx).at("transport_socket")?,
    };
    Ok(TransportChoice {
        matches: compiled,
        default,
    })
}

fn bind_address(value: pb::core::BindConfig) -> Result<Option<IpAddr>> {
    let pb::core::BindConfig {
        source_address,
        freebind,
        socket_options,
        extra_source_addresses,
        additional_source_addresses,
        local_address_selector,
        validate_network_namespaces,
    } = value;
    refuse!(
        socket_options,
        extra_source_addresses,
        additional_source_addresses,
        local_address_selector,
        validate_network_namespaces,
    );
    // Addresses are bound whether or not the host has them, where the kernel lets us.
    harmless!(freebind);
    let Some(address) = source_address else {
        return Ok(None);
    };
    let address = super::basic::socket_address(address).at("source_address")?;
    if address.port() != 0 {
        return Err(
            Error::new("a fixed port is not supported").at_field("source_address.port_value")
        );
    }
    Ok(Some(address.ip()).filter(|ip| !ip.is_unspecified()))
}

fn connection_options(
    value: proto::UpstreamConnectionOptions,
    cx: &mut Cx<'_>,
) -> Result<Option<TcpKeepalive>> {
    let proto::UpstreamConnectionOptions {
        tcp_keepalive,
        set_local_interface_name_on_upstream_connections,
        happy_eyeballs_config,
    } = value;
    refuse!(set_local_interface_name_on_upstream_connections);
    left_out!(
        cx,
        "UpstreamConnectionOptions",
        "only an endpoint's first address is used",
        happy_eyeballs_config
    );
    Ok(tcp_keepalive.map(keepalive))
}

/// Istio's metadata exchange is the only upstream network filter there is.
fn upstream_filters(filters: Vec<proto::Filter>) -> Result<bool> {
    let mut exchange = false;
    for (index, filter) in filters.into_iter().enumerate() {
        let proto::Filter {
            name,
            typed_config,
            config_discovery,
        } = filter;
        refuse!(config_discovery);
        let typed = any::open(typed_config).nth("filters", index)?;
        if typed.type_name() != super::istio::METADATA_EXCHANGE {
            return Err(super::unsupported::filter(&name, typed.type_name())).nth("filters", index);
        }
        exchange = super::chain::peer_exchange(&typed).nth("filters", index)?;
    }
    Ok(exchange)
}

/// Istio's `metadata.filter_metadata.istio.services[0]`.
fn service(service: &serde_json::Value) -> Option<IstioService> {
    Some(IstioService {
        host: service["host"].as_str()?.into(),
        name: service["name"].as_str().unwrap_or_default().into(),
        namespace: service["namespace"].as_str().unwrap_or_default().into(),
    })
}
