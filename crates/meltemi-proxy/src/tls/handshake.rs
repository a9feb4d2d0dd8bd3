//! Handshakes.

use super::drive::{End, Handshake, Server};
use super::error::tls_error;
use super::{StapleAction, TlsError, identity};
use crate::model::{ClientTls, ServerTls};
use crate::net::{Socket, Stream};
use crate::telemetry::TlsInfo;
use rustls::client::UnbufferedClientConnection;
use rustls::{Error, HandshakeKind, ServerConfig};
use rustls_pki_types::ServerName;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Bound on a server handshake of a chain without `transport_socket_connect_timeout` (Envoy has none):
/// a silent peer must not hold a connection for ever.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(15);

/// Which ALPN list a client offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AlpnChoice {
    /// The context's own.
    #[default]
    Own,
    /// For an HTTP/1.1 connection: the context's own, or `http/1.1`.
    Http11,
    /// For an HTTP/2 connection: the context's own, or `h2`.
    Http2,
    /// For either: the context's own, or both.
    Either,
    /// Istio's override for an HTTP/1.1 connection.
    IstioHttp11,
    /// Istio's override for an HTTP/2 connection.
    IstioHttp2,
}

/// Terminates TLS. The configuration in force now serves the whole connection. `staple` gets what
/// was done for a client that asks for an OCSP response, however the handshake ends.
pub async fn accept(
    socket: Socket,
    tls: &ServerTls,
    timeout: Duration,
    staple: &mut Option<StapleAction>,
) -> Result<(Stream, TlsInfo), TlsError> {
    let Some(config) = tls.config.load_full() else {
        return Err(TlsError::NoSecret);
    };
    match tokio::time::timeout(timeout, serve(socket, config, staple)).await {
        Ok(result) => result,
        Err(_) => Err(TlsError::Timeout(timeout)),
    }
}

async fn serve(
    socket: Socket,
    config: Arc<ServerConfig>,
    staple: &mut Option<StapleAction>,
) -> Result<(Stream, TlsInfo), TlsError> {
    let mut handshake = Handshake::new(socket);
    let mut end = Server::new(config.clone())?;
    let mut result = handshake.run(&mut end).await;
    if let Err(error) = &result
        && tls_error(error) == Some(&Error::NoApplicationProtocol)
        && !handshake.answered
    {
        // rustls ends such a handshake; Envoy goes on without a protocol, and Istio's TCP
        // clients (`istio`) count on it.
        let mut without = (*config).clone();
        without.alpn_protocols.clear();
        end = Server::new(Arc::new(without))?;
        result = handshake.run(&mut end).await;
    }
    let choice = end.choice.take();
    *staple = choice.as_ref().and_then(|choice| choice.staple);
    if let Err(error) = result {
        handshake.refuse(&mut end).await;
        return Err(error.into());
    }
    let mut info = established(&end)?;
    info.local_uri = choice.and_then(|choice| choice.uri);
    let stream = handshake.finish(end)?;
    Ok((Stream::Tls(Box::new(stream)), info))
}

/// What a finished handshake showed.
fn established(end: &impl End) -> Result<TlsInfo, TlsError> {
    let (info, not_after) = identity::info(end.state());
    if end.state().handshake_kind() == Some(HandshakeKind::Resumed) {
        refuse_expired(not_after)?;
    }
    Ok(info)
}

/// A resumed session skips the verification of the chain: a certificate that was good then
/// may have ended since.
fn refuse_expired(not_after: Option<i64>) -> Result<(), TlsError> {
    match not_after {
        Some(end) if end < crate::clock::unix_seconds() => {
            Err(TlsError::Untrusted("certificate expired".into()))
        }
        _ => Ok(()),
    }
}

/// Starts TLS towards a server. `sni` replaces the context's own; without either, none is
/// sent. The caller bounds the time (the cluster's `connect_timeout` covers it).
pub async fn connect(
    stream: Stream,
    tls: &ClientTls,
    sni: Option<&str>,
    alpn: AlpnChoice,
) -> Result<(Stream, TlsInfo), TlsError> {
    let Stream::Plain(socket) = stream else {
        return Err(TlsError::Protocol(
            "the connection is encrypted already".into(),
        ));
    };
    let Some(configs) = tls.config.load_full() else {
        return Err(TlsError::NoSecret);
    };
    let config = match alpn {
        AlpnChoice::Own => &configs.own,
        AlpnChoice::Http11 => &configs.plain_http11,
        AlpnChoice::Http2 => &configs.plain_http2,
        AlpnChoice::Either => &configs.plain_either,
        AlpnChoice::IstioHttp11 => &configs.istio_http11,
        AlpnChoice::IstioHttp2 => &configs.istio_http2,
    };
    let name = match sni.or(tls.sni.as_deref()) {
        Some(name) => ServerName::try_from(name)
            .map_err(|_| TlsError::Protocol(format!("`{name}` cannot be sent as server name")))?
            .to_owned(),
        // rustls sends no server name for an address; it keys session resumption only.
        None => {
            let unspecified = IpAddr::from([0, 0, 0, 0]);
            ServerName::IpAddress(
                socket
                    .peer_addr()
                    .map_or(unspecified, |peer| peer.ip())
                    .into(),
            )
        }
    };
    let mut handshake = Handshake::new(socket);
    let mut end = UnbufferedClientConnection::new(config.clone(), name.clone())?;
    if let Err(error) = handshake.run(&mut end).await {
        handshake.refuse(&mut end).await;
        return Err(error.into());
    }
    let info = established(&end)?;
    if tls.auto_san && sni.is_some() {
        let leaf = end
            .state()
            .peer_certificates()
            .and_then(|chain| chain.first())
            .ok_or(TlsError::NoCertificate)?;
        let leaf = rustls::server::ParsedCertificate::try_from(leaf)
            .map_err(|error| TlsError::from(&error))?;
        rustls::client::verify_server_name(&leaf, &name).map_err(|_| TlsError::WrongName)?;
    }
    let stream = handshake.finish(end)?;
    Ok((Stream::Tls(Box::new(stream)), info))
}
