//! Listeners: addresses, listener filters, filter chains.
#![allow(deprecated)] // Messages are destructured with their deprecated fields.

use super::any;
use super::basic::{Location, bool_or, location, prefixes, timeout, u32_or};
use super::context::Cx;
use super::pb::filters::listener as inspectors;
use super::presence::{harmless, left_out, refuse};
use super::{At, Error, Result};
use super::{access_log, chain, pb};
use crate::model::{
    ChainMatch, ChainTable, Direction, InspectorPorts, Listener, ProxyProtocol, ServerName,
    SourceType, Transport,
};
use pb::listener as proto;
use prost::Name;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Envoy's `per_connection_buffer_limit_bytes`.
pub const BUFFER_LIMIT: u32 = 1 << 20;
/// Envoy's `listener_filters_timeout`.
const INSPECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Compiles a listener. `hash` identifies the message it came from.
pub fn listener(value: proto::Listener, hash: u64, cx: &mut Cx<'_>) -> Result<Listener> {
    let direction = match value.traffic_direction() {
        pb::core::TrafficDirection::Unspecified => Direction::Unspecified,
        pb::core::TrafficDirection::Inbound => Direction::Inbound,
        pb::core::TrafficDirection::Outbound => Direction::Outbound,
    };
    let proto::Listener {
        name,
        address,
        additional_addresses,
        stat_prefix,
        stats_matcher,
        filter_chains,
        fcds_config,
        filter_chain_matcher,
        use_original_dst,
        default_filter_chain,
        per_connection_buffer_limit_bytes,
        per_connection_buffer_high_watermark_timeout,
        metadata,
        deprecated_v1,
        drain_type,
        listener_filters,
        listener_filters_timeout,
        continue_on_listener_filters_timeout,
        transparent,
        freebind,
        socket_options,
        tcp_fast_open_queue_length,
        traffic_direction: _,
        udp_listener_config,
        api_listener,
        connection_balance_config,
        reuse_port,
        enable_reuse_port,
        access_log,
        tcp_backlog_size,
        max_connections_to_accept_per_socket_event,
        bind_to_port,
        enable_mptcp,
        ignore_global_conn_limit,
        bypass_overload_manager,
        tcp_keepalive,
        listener_specifier,
    } = value;
    refuse!(
        fcds_config,
        filter_chain_matcher,
        per_connection_buffer_high_watermark_timeout,
        udp_listener_config,
        api_listener,
        enable_mptcp,
        listener_specifier,
    );
    // Names of statistics; how the kernel and the workers share accepted connections, which
    // is our own; limits of an overload manager that is not there. `drain_type` only tells
    // whether health-check failure drains, which no filter of ours causes.
    harmless!(
        stat_prefix,
        stats_matcher,
        metadata,
        drain_type,
        connection_balance_config,
        reuse_port,
        enable_reuse_port,
        max_connections_to_accept_per_socket_event,
        ignore_global_conn_limit,
        bypass_overload_manager,
        tcp_backlog_size,
        tcp_fast_open_queue_length,
    );
    left_out!(
        cx,
        "Listener",
        "sockets are opened with the proxy's own options",
        socket_options,
        freebind,
        tcp_keepalive,
    );
    let mut addresses = vec![listen_address(address).at("address")?];
    for (index, value) in additional_addresses.into_iter().enumerate() {
        let proto::AdditionalAddress {
            address,
            socket_options,
            tcp_keepalive,
        } = value;
        harmless!(socket_options, tcp_keepalive);
        addresses.push(listen_address(address).nth("additional_addresses", index)?);
    }
    let bind = match deprecated_v1 {
        Some(v1) => bool_or(v1.bind_to_port, true),
        None => bool_or(bind_to_port, true),
    };
    let mut listener = Listener {
        name: if name.is_empty() {
            addresses[0].to_string().into()
        } else {
            name.into()
        },
        addresses,
        bind,
        transparent: bool_or(transparent, false),
        direction,
        hand_off: bool_or(use_original_dst, false),
        original_dst: false,
        proxy_protocol: None,
        tls_inspector: None,
        http_inspector: None,
        inspect_timeout: timeout(listener_filters_timeout, Some(INSPECT_TIMEOUT))
            .at("listener_filters_timeout")?,
        continue_on_inspect_timeout: continue_on_listener_filters_timeout,
        chains: chains(
            filter_chains,
            default_filter_chain,
            u32_or(per_connection_buffer_limit_bytes, BUFFER_LIMIT),
            cx,
        )?,
        access_logs: access_log::all(access_log, cx)?,
        hash,
    };
    for (index, filter) in listener_filters.into_iter().enumerate() {
        listener_filter(filter, &mut listener, cx).nth("listener_filters", index)?;
    }
    Ok(listener)
}

fn listen_address(value: Option<pb::core::Address>) -> Result<SocketAddr> {
    match location(value)? {
        Location::Socket(address) => address
            .socket()
            .ok_or_else(|| Error::new(format!("{:?} is not an IP address", address.host))),
        Location::Pipe(_) => Err(Error::unsupported("pipe")),
    }
}

fn listener_filter(
    value: proto::ListenerFilter,
    listener: &mut Listener,
    cx: &mut Cx<'_>,
) -> Result<()> {
    use proto::listener_filter::ConfigType;
    let proto::ListenerFilter {
        name,
        filter_disabled,
        config_type,
    } = value;
    let typed = match config_type {
        Some(ConfigType::TypedConfig(any)) => any::open(Some(any)).at("typed_config")?,
        Some(ConfigType::ConfigDiscovery(_)) => {
            return Err(Error::unsupported("config_discovery"));
        }
        None => return Err(Error::missing("typed_config")),
    };
    let disabled = filter_disabled
        .map(disabled_ports)
        .transpose()
        .at("filter_disabled")?
        .unwrap_or_default();
    let kind = typed.type_name();
    if kind == inspectors::tls_inspector::v3::TlsInspector::full_name() {
        let inspectors::tls_inspector::v3::TlsInspector {
            enable_ja3_fingerprinting,
            enable_ja4_fingerprinting,
            initial_read_buffer_size,
            close_connection_on_client_hello_parsing_errors,
            max_client_hello_size,
        } = typed.decode().at("typed_config")?;
        refuse!(close_connection_on_client_hello_parsing_errors);
        left_out!(
            cx,
            "TlsInspector",
            "fingerprints are not computed",
            enable_ja3_fingerprinting,
            enable_ja4_fingerprinting
        );
        harmless!(initial_read_buffer_size, max_client_hello_size);
        listener.tls_inspector = Some(disabled);
    } else if kind == inspectors::http_inspector::v3::HttpInspector::full_name() {
        listener.http_inspector = Some(disabled);
    } else if kind == inspectors::proxy_protocol::v3::ProxyProtocol::full_name() {
        let inspectors::proxy_protocol::v3::ProxyProtocol {
            rules,
            allow_requests_without_proxy_protocol,
            pass_through_tlvs,
            disallowed_versions,
            tlv_location,
            stat_prefix,
        } = typed.decode().at("typed_config")?;
        refuse!(rules, pass_through_tlvs, disallowed_versions);
        // It says where what `rules` take goes.
        harmless!(tlv_location, stat_prefix);
        if !disabled.disabled.is_empty() {
            return Err(Error::unsupported("filter_disabled"));
        }
        listener.proxy_protocol = Some(ProxyProtocol {
            optional: allow_requests_without_proxy_protocol,
        });
    } else if kind == inspectors::original_dst::v3::OriginalDst::full_name() {
        if !disabled.disabled.is_empty() {
            return Err(Error::unsupported("filter_disabled"));
        }
        listener.original_dst = true;
    } else {
        return Err(Error::new(format!(
            "listener filter {name:?} ({kind}) is not supported"
        )));
    }
    Ok(())
}

fn disabled_ports(value: proto::ListenerFilterChainMatchPredicate) -> Result<InspectorPorts> {
    use proto::listener_filter_chain_match_predicate::Rule;
    let mut ports = InspectorPorts::default();
    match value.rule {
        None => return Err(Error::new("is empty")),
        Some(Rule::DestinationPortRange(range)) => {
            let bound = |value: i32| {
                u32::try_from(value)
                    .map_err(|_| Error::new("is negative").at_field("destination_port_range"))
            };
            ports.disabled.push(bound(range.start)?..bound(range.end)?);
        }
        Some(Rule::OrMatch(set)) => {
            for (index, rule) in set.rules.into_iter().enumerate() {
                let inner = disabled_ports(rule).nth("or_match.rules", index)?;
                ports.disabled.extend(inner.disabled);
            }
        }
        Some(Rule::AnyMatch(true)) => ports.disabled.push(0..65_536),
        Some(Rule::AnyMatch(false)) => {}
        Some(Rule::AndMatch(_)) => return Err(Error::unsupported("and_match")),
        Some(Rule::NotMatch(inner)) => {
            ports = disabled_ports(*inner).at("not_match")?.inverted();
        }
    }
    Ok(ports)
}

fn chains(
    values: Vec<proto::FilterChain>,
    default: Option<proto::FilterChain>,
    buffer_limit: u32,
    cx: &mut Cx<'_>,
) -> Result<ChainTable> {
    let mut table = ChainTable::default();
    for (index, mut value) in values.into_iter().enumerate() {
        let matches = value.filter_chain_match.take().unwrap_or_default();
        let matches = chain_match(matches)
            .at("filter_chain_match")
            .nth("filter_chains", index)?;
        let mut known = table.chains.iter();
        if let Some(twin) = known.position(|(known, _)| known.overlaps(&matches)) {
            // Envoy refuses it as well: which chain would win depends on chance.
            return Err(Error::new(format!(
                "takes connections that filter_chains[{twin}] takes, and neither is more \
                 specific; give one of them a criterion of its own"
            ))
            .at_field("filter_chain_match"))
            .nth("filter_chains", index);
        }
        let chain = chain::chain(value, buffer_limit, cx).nth("filter_chains", index)?;
        table.chains.push((matches, Arc::new(chain)));
    }
    if let Some(value) = default {
        let chain = chain::chain(value, buffer_limit, cx).at("default_filter_chain")?;
        table.default = Some(Arc::new(chain));
    }
    if table.chains.is_empty() && table.default.is_none() {
        return Err(Error::missing("filter_chains"));
    }
    Ok(table)
}

fn chain_match(value: proto::FilterChainMatch) -> Result<ChainMatch> {
    use proto::filter_chain_match::ConnectionSourceType;
    let source_type = match value.source_type() {
        ConnectionSourceType::Any => SourceType::Any,
        ConnectionSourceType::SameIpOrLoopback => SourceType::SameIpOrLoopback,
        ConnectionSourceType::External => SourceType::External,
    };
    let proto::FilterChainMatch {
        destination_port,
        prefix_ranges,
        address_suffix,
        suffix_len,
        direct_source_prefix_ranges,
        source_type: _,
        source_prefix_ranges,
        source_ports,
        server_names,
        transport_protocol,
        application_protocols,
    } = value;
    refuse!(address_suffix, suffix_len);
    let port = |value: u32| match u16::try_from(value) {
        Ok(1..) => Ok(value as u16),
        _ => Err(Error::new(format!("{value} is not a port from 1 to 65535"))),
    };
    Ok(ChainMatch {
        destination_port: destination_port
            .map(|value| port(value.value))
            .transpose()
            .at("destination_port")?,
        destination_prefixes: prefixes(prefix_ranges, "prefix_ranges")?,
        server_names: server_names
            .into_iter()
            .map(server_name)
            .collect::<Result<_>>()
            .at("server_names")?,
        transport: match transport_protocol.as_str() {
            "" => None,
            "raw_buffer" => Some(Transport::RawBuffer),
            "tls" => Some(Transport::Tls),
            other => {
                return Err(Error::new(format!("{other:?} is not supported"))
                    .at_field("transport_protocol"));
            }
        },
        application_protocols: application_protocols
            .into_iter()
            .map(|protocol| protocol.into_bytes().into())
            .collect(),
        direct_source_prefixes: prefixes(
            direct_source_prefix_ranges,
            "direct_source_prefix_ranges",
        )?,
        source_type,
        source_prefixes: prefixes(source_prefix_ranges, "source_prefix_ranges")?,
        source_ports: source_ports
            .into_iter()
            .map(port)
            .collect::<Result<_>>()
            .at("source_ports")?,
    })
}

fn server_name(name: String) -> Result<ServerName> {
    let folded = name.to_ascii_lowercase();
    let (text, wildcard) = match folded.strip_prefix('*') {
        Some(rest) => (rest, true),
        None => (folded.as_str(), false),
    };
    if text.contains('*') || (wildcard && !text.is_empty() && !text.starts_with('.')) {
        return Err(Error::new(format!("{name:?} is not a valid pattern")));
    }
    Ok(ServerName {
        name: text.into(),
        wildcard,
    })
}
