//! One upstream connection: TCP, then TLS when the endpoint's transport says so.

use super::proxy_protocol::{self, Ends};
use super::{ClusterStats, UpstreamError};
use crate::model::{ClusterConfig, Endpoint, UpstreamTransport};
use crate::net::{ConnectOptions, Connector, Stream};
use crate::telemetry::TlsInfo;
use crate::tls::{self, AlpnChoice};
use std::sync::Arc;
use tokio::io::AsyncWriteExt;

pub(super) struct Connected {
    pub stream: Stream,
    pub tls: Option<Arc<TlsInfo>>,
}

/// The transport of an endpoint (`transport_socket_matches`).
pub(crate) fn transport<'a>(
    config: &'a ClusterConfig,
    endpoint: &Endpoint,
) -> &'a UpstreamTransport {
    transport_of(config, endpoint.transport)
}

/// The transport at an index into `TransportChoice::matches`, or the default one.
pub(super) fn transport_of(config: &ClusterConfig, index: Option<u16>) -> &UpstreamTransport {
    index
        .and_then(|index| config.transport.matches.get(usize::from(index)))
        .map_or(&config.transport.default, |found| &found.transport)
}

/// How a connection is made, besides what the cluster says.
#[derive(Clone, Copy, Default)]
pub(super) struct Way<'a> {
    pub offer: AlpnChoice,
    pub sni: Option<&'a str>,
    pub ends: Option<Ends>,
}

/// Connects for a request or a TCP connection, and counts it.
pub(super) async fn connect(
    connector: &Connector,
    stats: &ClusterStats,
    config: &ClusterConfig,
    endpoint: &Endpoint,
    way: Way<'_>,
) -> Result<Connected, UpstreamError> {
    stats.cx_total.inc();
    let result = establish(connector, stats, config, endpoint, way).await;
    stats.connected(&result);
    result
}

/// Connects within `connect_timeout`, which covers the TLS handshake as in Envoy.
pub(super) async fn establish(
    connector: &Connector,
    stats: &ClusterStats,
    config: &ClusterConfig,
    endpoint: &Endpoint,
    way: Way<'_>,
) -> Result<Connected, UpstreamError> {
    let work = async {
        let options = ConnectOptions {
            bind_address: config.bind_address,
            keepalive: config.tcp_keepalive.as_ref(),
            timeout: config.connect_timeout,
        };
        let mut stream = connector
            .connect(&endpoint.address, &options)
            .await
            .map_err(|error| UpstreamError::Connect {
                message: error.to_string().into(),
                timeout: false,
            })?;
        let transport = transport(config, endpoint);
        if let Some(header) = transport.header() {
            let own = stream.local_addr().zip(stream.peer_addr());
            let header = proxy_protocol::encode(header, way.ends, own);
            stream
                .write_all(&header)
                .await
                .map_err(|error| UpstreamError::Connect {
                    message: error.to_string().into(),
                    timeout: false,
                })?;
        }
        let Some(context) = transport.tls() else {
            return Ok(Connected { stream, tls: None });
        };
        let (stream, info) = tls::connect(stream, context, way.sni, way.offer)
            .await
            .inspect_err(|error| stats.tls_failed(error))
            .map_err(|error| UpstreamError::Tls {
                message: error.to_string().into(),
            })?;
        stats.ssl_handshake.inc();
        Ok(Connected {
            stream,
            tls: Some(Arc::new(info)),
        })
    };
    tokio::time::timeout(config.connect_timeout, work)
        .await
        .unwrap_or_else(|_| {
            Err(UpstreamError::Connect {
                message: "connection timeout".into(),
                timeout: true,
            })
        })
}
