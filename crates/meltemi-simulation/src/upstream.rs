//! What a proxy speaks to an endpoint, read from what it is sent.

use std::net::SocketAddr;

use meltemi_discovery::pb::{cluster, core, endpoint, structs, tls};
use prost::Message;

use crate::call::Tls;

pub(crate) fn address(endpoint: &endpoint::LbEndpoint) -> Option<SocketAddr> {
    use endpoint::lb_endpoint::HostIdentifier;
    let Some(HostIdentifier::Endpoint(endpoint)) = &endpoint.host_identifier else {
        return None;
    };
    let address = endpoint.address.as_ref()?.address.as_ref()?;
    let core::address::Address::SocketAddress(socket) = address else {
        return None;
    };
    let Some(core::socket_address::PortSpecifier::PortValue(port)) = socket.port_specifier else {
        return None;
    };
    let ip = socket.address.parse().ok()?;
    Some(SocketAddr::new(ip, u16::try_from(port).ok()?))
}

/// Sockets are chosen by the mark that endpoints of the mesh carry.
pub(crate) fn tls(cluster: &cluster::Cluster, endpoint: &endpoint::LbEndpoint) -> Tls {
    if !cluster.transport_socket_matches.is_empty() {
        let mark = endpoint.metadata.as_ref();
        let mark = mark.and_then(|m| structs::text(m, "envoy.transport_socket_match", "tlsMode"));
        return match mark {
            Some("istio") => Tls::Mtls,
            _ => Tls::Plaintext,
        };
    }
    let typed = cluster.transport_socket.as_ref();
    let typed = typed.and_then(|socket| socket.config_type.as_ref());
    let Some(core::transport_socket::ConfigType::TypedConfig(config)) = typed else {
        return Tls::Plaintext;
    };
    let context = tls::UpstreamTlsContext::decode(config.value.as_slice()).unwrap_or_default();
    let common = context.common_tls_context.unwrap_or_default();
    let own = common.tls_certificate_sds_secret_configs.first();
    match own.is_some_and(|secret| secret.name == "default") {
        true => Tls::Mtls,
        false => Tls::Tls,
    }
}
