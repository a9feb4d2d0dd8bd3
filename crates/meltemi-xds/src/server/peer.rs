//! Who is at the other end of a connection, as far as the transport knows.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use tonic::transport::CertificateDer;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo, UdsConnectInfo};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

/// The peer of a stream.
#[derive(Clone)]
pub struct PeerInfo {
    /// Where the connection comes from.
    pub address: PeerAddress,
    /// The leaf certificate the peer presented; the TLS layer has verified it.
    pub certificate: Option<CertificateDer<'static>>,
    /// The one `spiffe://` URI among the leaf's subject alternative names; none
    /// when there are several, as SPIFFE's X.509-SVID §2 demands exactly one.
    pub spiffe_id: Option<String>,
    /// The `authorization` header of the stream, a secret.
    pub authorization: Option<Arc<str>>,
}

/// Where a connection comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerAddress {
    /// A Unix socket; credentials as the kernel reports them (`SO_PEERCRED`),
    /// none when it does not.
    Unix(Option<PeerCredentials>),
    /// TCP, with TLS or without.
    Tcp(Option<SocketAddr>),
}

/// The process that opened a Unix connection, at the time it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerCredentials {
    /// Process id in the server's PID namespace; none when it is not visible there.
    pub pid: Option<i32>,
    /// User id in the server's user namespace.
    pub uid: u32,
    /// Group id in the server's user namespace.
    pub gid: u32,
}

impl PeerInfo {
    /// Reads what tonic has recorded about the connection of a request.
    pub fn of<T>(request: &tonic::Request<T>) -> Self {
        let extensions = request.extensions();
        let authorization = request
            .metadata()
            .get("authorization")
            .and_then(|value| value.to_str().ok())
            .map(Arc::from);
        if let Some(unix) = extensions.get::<UdsConnectInfo>() {
            let credentials = unix.peer_cred.as_ref().map(|cred| PeerCredentials {
                // Zero means that the peer lives outside of our PID namespace.
                pid: cred.pid().filter(|pid| *pid != 0),
                uid: cred.uid(),
                gid: cred.gid(),
            });
            return Self {
                address: PeerAddress::Unix(credentials),
                certificate: None,
                spiffe_id: None,
                authorization,
            };
        }
        let tls = extensions.get::<TlsConnectInfo<TcpConnectInfo>>();
        let certificate = tls
            .and_then(TlsConnectInfo::peer_certs)
            .and_then(|chain| chain.first().cloned());
        let address = tls
            .map(TlsConnectInfo::get_ref)
            .or_else(|| extensions.get::<TcpConnectInfo>())
            .and_then(TcpConnectInfo::remote_addr);
        Self {
            address: PeerAddress::Tcp(address),
            spiffe_id: certificate.as_ref().and_then(|leaf| spiffe_uri(leaf)),
            certificate,
            authorization,
        }
    }
}

impl PeerInfo {
    /// The token of `authorization: Bearer TOKEN`, a secret.
    pub fn bearer_token(&self) -> Option<&str> {
        let (scheme, token) = self.authorization.as_deref()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    }
}

impl fmt::Debug for PeerInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerInfo")
            .field("address", &self.address)
            .field("spiffe_id", &self.spiffe_id)
            .field(
                "authorization",
                &self.authorization.as_ref().map(|_| "(secret)"),
            )
            .finish_non_exhaustive()
    }
}

fn spiffe_uri(der: &[u8]) -> Option<String> {
    let (_, certificate) = x509_parser::certificate::X509Certificate::from_der(der).ok()?;
    let mut uris = certificate
        .extensions()
        .iter()
        .filter_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
            _ => None,
        })
        .flatten()
        .filter_map(|name| match name {
            GeneralName::URI(uri) if uri.starts_with("spiffe://") => Some(*uri),
            _ => None,
        });
    let first = uris.next()?;
    uris.next().is_none().then(|| first.to_owned())
}
