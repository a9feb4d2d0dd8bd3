//! Transport sockets of either side.

use super::any::{self, Typed};
use super::context::Cx;
use super::{At, Error, Result};
use super::{pb, tls};
use crate::model::{ServerTls, UpstreamTransport};
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
