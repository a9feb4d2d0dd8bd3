//! Reaching a server: over a Unix socket, TCP, or TCP with TLS.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use tonic::transport::{Channel, Uri};
use tower::service_fn;

/// Gives the TLS configuration of the next connection, so that a renewed client
/// certificate or trust bundle is used; or says what it still waits for. ALPN must offer `h2`.
pub type TlsSource = Arc<dyn Fn() -> Result<Arc<ClientConfig>, String> + Send + Sync>;

/// Where a server is.
#[derive(Clone)]
pub enum Endpoint {
    /// A Unix socket.
    Unix(PathBuf),
    /// `host:port`, in plain text or with TLS.
    Tcp {
        /// Resolved anew for every connection.
        address: String,
        /// None for plain text.
        tls: Option<Tls>,
    },
}

/// How to do TLS with a server.
#[derive(Clone)]
pub struct Tls {
    /// Trust, and our certificate.
    pub config: TlsSource,
    /// The name the server's certificate must have.
    pub server_name: ServerName<'static>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp { address, tls: None } => write!(f, "tcp:{address}"),
            Self::Tcp {
                address,
                tls: Some(_),
            } => write!(f, "tls:{address}"),
        }
    }
}

/// TCP (or Unix) connect, TLS and HTTP/2 preface together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A dead server is noticed after the two of them, as with Istio's agent.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

impl Endpoint {
    /// Opens one connection.
    pub(crate) async fn connect(&self) -> Result<Channel, String> {
        tokio::time::timeout(CONNECT_TIMEOUT, self.open())
            .await
            .map_err(|_| format!("{self}: no connection within {CONNECT_TIMEOUT:?}"))?
            .map_err(|error| format!("{self}: {}", chain(&error)))
    }

    async fn open(&self) -> Result<Channel, tonic::transport::Error> {
        // The connectors own what they need: tonic keeps them.
        match self.clone() {
            Self::Unix(path) => {
                // The URI only becomes the :authority of requests.
                endpoint("http://localhost".to_owned())?
                    .connect_with_connector(service_fn(move |_: Uri| {
                        let path = path.clone();
                        async move { UnixStream::connect(path).await.map(TokioIo::new) }
                    }))
                    .await
            }
            Self::Tcp { address, tls: None } => {
                endpoint(format!("http://{address}"))?
                    .connect_with_connector(service_fn(move |_: Uri| {
                        let address = address.clone();
                        async move { tcp(&address).await.map(TokioIo::new) }
                    }))
                    .await
            }
            Self::Tcp {
                address,
                tls: Some(tls),
            } => {
                // Plain http here: the connector below already does the TLS.
                endpoint(format!("http://{address}"))?
                    .connect_with_connector(service_fn(move |_: Uri| {
                        let (address, tls) = (address.clone(), tls.clone());
                        async move {
                            let config = (tls.config)().map_err(io::Error::other)?;
                            let stream = tcp(&address).await?;
                            TlsConnector::from(config)
                                .connect(tls.server_name, stream)
                                .await
                                .map(TokioIo::new)
                        }
                    }))
                    .await
            }
        }
    }
}

fn endpoint(uri: String) -> Result<tonic::transport::Endpoint, tonic::transport::Error> {
    Ok(tonic::transport::Endpoint::from_shared(uri)?
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true))
}

async fn tcp(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// An error with all its sources: tonic's own text is "transport error".
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
