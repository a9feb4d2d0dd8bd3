//! Transport sockets of either side.

use super::any::{self, Typed};
use super::context::Cx;
use super::presence::{harmless, left_out, refuse};
use super::{At, Error, Result};
use super::{pb, tls};
use crate::model::{ProxyHeader, ProxyVersion, ServerTls, UpstreamTransport};
use envoy_types::pb::envoy::extensions::transport_sockets::proxy_protocol::v3::ProxyProtocolUpstreamTransport;
use envoy_types::pb::envoy::extensions::transport_sockets::raw_buffer::v3::RawBuffer;
use pb::core::{TransportSocket, transport_socket::ConfigType};
use prost::Name;
use std::sync::Arc;

/// A socket's configuration; `None` for plaintext.
fn open(value: TransportSocket) -> Result<Option<Typed>> {
    let TransportSocket { name, config_type } = value;
    let typed = match config_type {
        Some(ConfigType::TypedConfig(any)) => any::open(Some(any)).at("typed_config")?,
        // Only plaintext needs no configuration.
        None if matches!(
            name.as_str(),
            "raw_buffer" | "envoy.transport_sockets.raw_buffer"
        ) =>
        {
            return Ok(None);
        }
        None => return Err(Error::missing("typed_config")),
    };
    Ok((typed.type_name() != RawBuffer::full_name()).then_some(typed))
}

/// `None` for plaintext.
pub fn downstream(value: TransportSocket, cx: &mut Cx<'_>) -> Result<Option<Arc<ServerTls>>> {
    let Some(typed) = open(value)? else {
        return Ok(None);
    };
    if typed.type_name() != pb::tls::DownstreamTlsContext::full_name() {
        return Err(Error::new(format!(
            "{} is not supported",
            typed.type_name()
        )));
    }
    typed
        .decode()
        .and_then(|context| tls::server(context, cx))
        .map(Some)
        .at("typed_config")
}

pub fn upstream(
    value: TransportSocket,
    auto: tls::Auto,
    cx: &mut Cx<'_>,
) -> Result<UpstreamTransport> {
    let Some(typed) = open(value)? else {
        return Ok(UpstreamTransport::Plain);
    };
    if typed.type_name() == ProxyProtocolUpstreamTransport::full_name() {
        return typed
            .decode()
            .and_then(|value| announced(value, auto, cx))
            .at("typed_config");
    }
    if typed.type_name() != pb::tls::UpstreamTlsContext::full_name() {
        return Err(Error::new(format!(
            "{} is not supported",
            typed.type_name()
        )));
    }
    typed
        .decode()
        .and_then(|context| tls::client(context, auto, cx))
        .map(UpstreamTransport::Tls)
        .at("typed_config")
}

/// The PROXY protocol around another transport.
fn announced(
    value: ProxyProtocolUpstreamTransport,
    auto: tls::Auto,
    cx: &mut Cx<'_>,
) -> Result<UpstreamTransport> {
    let ProxyProtocolUpstreamTransport {
        config,
        transport_socket,
        allow_unspecified_address,
        tlv_as_pool_key,
    } = value;
    // Addresses that are not of one family are announced as unknown; the values are fixed.
    harmless!(allow_unspecified_address, tlv_as_pool_key);
    let socket = transport_socket.ok_or_else(|| Error::missing("transport_socket"))?;
    let within = upstream(socket, auto, cx).at("transport_socket")?;
    if within.header().is_some() {
        return Err(Error::new("is the PROXY protocol again").at_field("transport_socket"));
    }
    let config = config.unwrap_or_default();
    let version = match config.version() {
        pb::core::proxy_protocol_config::Version::V1 => ProxyVersion::V1,
        pb::core::proxy_protocol_config::Version::V2 => ProxyVersion::V2,
    };
    let pb::core::ProxyProtocolConfig {
        version: _,
        pass_through_tlvs,
        added_tlvs,
    } = config;
    left_out!(
        cx,
        "ProxyProtocolConfig",
        "listeners keep no TLVs that could be passed through",
        pass_through_tlvs
    );
    let tlvs = added_tlvs.into_iter().enumerate().map(|(index, entry)| {
        let pb::core::TlvEntry {
            r#type,
            value,
            format_string,
        } = entry;
        refuse!(format_string);
        match (u8::try_from(r#type), u16::try_from(value.len())) {
            (Ok(kind), Ok(_)) => Ok((kind, value.into())),
            _ => Err(Error::new(
                "its type is above 255, or its value above 65535 bytes",
            ))
            .nth("config.added_tlvs", index),
        }
    });
    let tlvs: Box<[(u8, Box<[u8]>)]> = tlvs.collect::<Result<_>>()?;
    let bytes: usize = tlvs.iter().map(|(_, value)| value.len() + 3).sum();
    // The longest addresses take 36 bytes of a header's 65535.
    if bytes > usize::from(u16::MAX) - 36 {
        return Err(Error::new("are above 65499 bytes together").at_field("config.added_tlvs"));
    }
    let header = ProxyHeader { version, tlvs };
    Ok(UpstreamTransport::Announced(
        Arc::new(header),
        Box::new(within),
    ))
}
