//! A call: what a client does.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::header::HOST;
use meltemi_proxy::model::Direction;
use meltemi_proxy::offline::{self, ClientHello};
use meltemi_proxy::telemetry;
use serde::{Deserialize, Serialize};

/// What is spoken inside the connection (inside TLS, where there is TLS).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    #[default]
    Http,
    /// HTTP/2, gRPC included.
    Http2,
    /// Bytes that are not HTTP.
    Tcp,
}

/// The client's TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    #[default]
    Plaintext,
    /// Without a client certificate.
    Tls,
    /// The mesh's: with the workload's certificate, and with nobody but a workload of the mesh.
    Mtls,
}

/// One call.
#[derive(Debug, Clone)]
pub struct Call {
    pub direction: Direction,
    /// Where the client connects to.
    pub address: IpAddr,
    pub port: u16,
    pub protocol: Protocol,
    pub tls: Tls,
    /// `None`: the host without its port, where there is TLS.
    pub sni: Option<String>,
    /// ALPN names; `None`: what such a client offers.
    pub alpn: Option<Vec<String>>,
    pub method: String,
    /// The request's authority; empty: the address and port.
    pub host: String,
    /// With its query.
    pub path: String,
    pub headers: Vec<(String, String)>,
    /// Where the call comes from.
    pub source: IpAddr,
    /// The client's SPIFFE id, with [`Tls::Mtls`].
    pub identity: String,
}

impl Default for Call {
    fn default() -> Self {
        Self {
            direction: Direction::Outbound,
            address: Ipv4Addr::LOCALHOST.into(),
            port: 80,
            protocol: Protocol::Http,
            tls: Tls::Plaintext,
            sni: None,
            alpn: None,
            method: "GET".to_owned(),
            host: String::new(),
            path: "/".to_owned(),
            headers: Vec::new(),
            // A client elsewhere; TEST-NET-2 (RFC 5737).
            source: Ipv4Addr::new(198, 51, 100, 1).into(),
            identity: "spiffe://cluster.local/ns/default/sa/default".to_owned(),
        }
    }
}

/// Why a call cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCall {
    #[error("{0:?} is not an HTTP method")]
    Method(String),
    #[error("{0:?} is not a path; it begins with \"/\"")]
    Path(String),
    #[error("{0:?} is not a header's name")]
    HeaderName(String),
    #[error("the value of header {0:?} has characters that HTTP does not allow")]
    HeaderValue(String),
    #[error("{0:?} is not a host")]
    Host(String),
}

impl Call {
    /// The same call as the proxy meets it.
    pub(crate) fn offline(&self) -> Result<offline::Call, BadCall> {
        Ok(offline::Call {
            direction: self.direction,
            destination: SocketAddr::new(self.address, self.port),
            // Any port of a client (RFC 6335: dynamic).
            source: SocketAddr::new(self.source, 49_152),
            tls: self.hello(),
            request: self.request()?,
        })
    }

    fn authority(&self) -> String {
        if self.host.is_empty() {
            SocketAddr::new(self.address, self.port).to_string()
        } else {
            self.host.clone()
        }
    }

    fn hello(&self) -> Option<ClientHello> {
        if self.tls == Tls::Plaintext {
            return None;
        }
        let default: &[&str] = match (self.tls, self.protocol) {
            (Tls::Mtls, Protocol::Http) => &["istio-http/1.1"],
            (Tls::Mtls, Protocol::Http2) => &["istio-h2"],
            (Tls::Mtls, Protocol::Tcp) => &["istio"],
            (_, Protocol::Http) => &["http/1.1"],
            (_, Protocol::Http2) => &["h2"],
            (_, Protocol::Tcp) => &[],
        };
        let protocols = match &self.alpn {
            Some(names) => names.iter().map(|name| name.as_bytes().into()).collect(),
            None => default.iter().map(|name| name.as_bytes().into()).collect(),
        };
        let host = self.host.split(':').next().unwrap_or_default();
        let name = self.sni.as_deref().unwrap_or(host).to_ascii_lowercase();
        Some(ClientHello {
            server_name: (!name.is_empty()).then(|| name.into()),
            protocols,
            identity: (self.tls == Tls::Mtls).then(|| self.identity.as_str().into()),
        })
    }

    fn request(&self) -> Result<Option<(telemetry::Protocol, http::request::Parts)>, BadCall> {
        let protocol = match self.protocol {
            Protocol::Tcp => return Ok(None),
            Protocol::Http => telemetry::Protocol::Http11,
            Protocol::Http2 => telemetry::Protocol::Http2,
        };
        let (mut parts, ()) = http::Request::new(()).into_parts();
        parts.method = self
            .method
            .parse()
            .map_err(|_| BadCall::Method(self.method.clone()))?;
        if !self.path.starts_with('/') {
            return Err(BadCall::Path(self.path.clone()));
        }
        parts.uri = self
            .path
            .parse()
            .map_err(|_| BadCall::Path(self.path.clone()))?;
        for (name, value) in &self.headers {
            let key: http::HeaderName = name
                .parse()
                .map_err(|_| BadCall::HeaderName(name.clone()))?;
            let value = value
                .parse()
                .map_err(|_| BadCall::HeaderValue(name.clone()))?;
            parts.headers.append(key, value);
        }
        let host = self.authority();
        let value = host.parse().map_err(|_| BadCall::Host(host.clone()))?;
        parts.headers.insert(HOST, value);
        Ok(Some((protocol, parts)))
    }
}
