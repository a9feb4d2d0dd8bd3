//! Filter chains: TLS termination and network filters.
#![allow(deprecated)] // Messages are destructured with their deprecated fields.

use super::any::{self, Typed};
use super::basic::{bool_or, timeout};
use super::context::Cx;
use super::istio::{METADATA_EXCHANGE, STATS};
use super::presence::{harmless, refuse};
use super::{At, Error, Result};
use super::{dynamic, hcm, istio, pb, tcp, transport, unsupported};
use crate::listener::NetworkFilter;
use crate::model::{FilterChain, SniForward, StandardMetrics, Terminal};
use pb::listener as proto;
use prost::{Message, Name};
use std::sync::Arc;

pub fn chain(
    mut value: proto::FilterChain,
    buffer_limit: u32,
    cx: &mut Cx<'_>,
) -> Result<FilterChain> {
    // Metadata describes only, and its maps have no order that a hash could rely on.
    value.metadata = None;
    let hash = super::content_hash(&value.encode_to_vec());
    let proto::FilterChain {
        filter_chain_match,
        filters,
        use_proxy_proto,
        metadata,
        transport_socket,
        transport_socket_connect_timeout,
        name,
    } = value;
    if bool_or(use_proxy_proto, false) {
        return Err(Error::unsupported("use_proxy_proto"));
    }
    // Read before by the listener (of the default chain Envoy ignores it); descriptive.
    harmless!(filter_chain_match, metadata);
    let tls = transport_socket
        .map(|socket| transport::downstream(socket, cx))
        .transpose()
        .at("transport_socket")?
        .flatten();
    let mut parts = Parts::default();
    for (index, filter) in filters.into_iter().enumerate() {
        if parts.terminal.is_some() {
            return Err(Error::new("follows a terminal filter")).nth("filters", index);
        }
        network_filter(filter, &mut parts, cx).nth("filters", index)?;
    }
    Ok(FilterChain {
        name: name.into(),
        tls,
        handshake_timeout: timeout(transport_socket_connect_timeout, None)
            .at("transport_socket_connect_timeout")?,
        peer_exchange: parts.peer_exchange,
        buffer_limit,
        istio_stats: parts.istio_stats,
        filters: parts.filters.into(),
        terminal: parts
            .terminal
            .ok_or_else(|| Error::new("has no terminal filter").at_field("filters"))?,
        hash,
    })
}

#[derive(Default)]
struct Parts {
    peer_exchange: bool,
    istio_stats: Option<Arc<StandardMetrics>>,
    filters: Vec<NetworkFilter>,
    sni_forward: Option<SniForward>,
    terminal: Option<Terminal>,
}

fn network_filter(value: proto::Filter, parts: &mut Parts, cx: &mut Cx<'_>) -> Result<()> {
    use proto::filter::ConfigType;
    let proto::Filter { name, config_type } = value;
    let typed = match config_type {
        Some(ConfigType::TypedConfig(any)) => any::open(Some(any)).at("typed_config")?,
        Some(ConfigType::ConfigDiscovery(_)) => {
            return Err(Error::unsupported("config_discovery"));
        }
        None => return Err(Error::missing("typed_config")),
    };
    let kind = typed.type_name().to_owned();
    if kind == pb::hcm::HttpConnectionManager::full_name() {
        if parts.sni_forward.is_some() {
            return Err(Error::new(
                "follows sni_dynamic_forward_proxy, which needs a TCP proxy",
            ));
        }
        let manager = typed.decode().and_then(|proto| hcm::manager(proto, cx));
        parts.terminal = Some(Terminal::Http(Arc::new(manager.at("typed_config")?)));
    } else if kind == pb::tcp::TcpProxy::full_name() {
        let proxy = typed.decode().and_then(|proto| tcp::proxy(proto, cx));
        let mut proxy = proxy.at("typed_config")?;
        proxy.sni_forward = parts.sni_forward.take();
        parts.terminal = Some(Terminal::Tcp(Arc::new(proxy)));
    } else if kind == pb::filters::network::sni_dynamic_forward_proxy::v3::FilterConfig::full_name()
    {
        let config = typed.decode().and_then(|proto| dynamic::sni(proto, cx));
        parts.sni_forward = Some(config.at("typed_config")?);
    } else if kind == METADATA_EXCHANGE {
        parts.peer_exchange = peer_exchange(&typed).at("typed_config")?;
    } else if kind == STATS {
        let metrics = istio::stats(typed, cx).at("typed_config")?;
        parts.istio_stats = Some(Arc::new(metrics));
    } else if let Some(filter) = NetworkFilter::compile(typed, cx) {
        parts.filters.push(filter.at("typed_config")?);
    } else {
        return Err(unsupported::filter(&name, &kind));
    }
    Ok(())
}

/// Whether the exchange's protocol is the one we know.
pub fn peer_exchange(typed: &Typed) -> Result<bool> {
    #[derive(Clone, PartialEq, prost::Message)]
    struct MetadataExchange {
        #[prost(string, tag = "1")]
        protocol: String,
        #[prost(bool, tag = "2")]
        enable_discovery: bool,
        #[prost(string, repeated, tag = "3")]
        additional_labels: Vec<String>,
    }
    let protocol = match typed {
        Typed::Struct(_, value) => value["protocol"].as_str().unwrap_or_default().to_owned(),
        Typed::Message(_, bytes) => {
            let MetadataExchange {
                protocol,
                enable_discovery,
                additional_labels,
            } = prost::Message::decode(bytes.as_slice())
                .map_err(|error| Error::new(format!("malformed: {error}")))?;
            // Both only add what ambient-mode discovery and extra labels know.
            harmless!(enable_discovery);
            refuse!(additional_labels);
            protocol
        }
    };
    if protocol != "istio-peer-exchange" {
        return Err(Error::new(format!("{protocol:?} is not supported")).at_field("protocol"));
    }
    Ok(true)
}
