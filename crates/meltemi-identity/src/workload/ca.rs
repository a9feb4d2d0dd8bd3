//! Calling the CA.

use std::fmt;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic_prost::ProstCodec;
use tower::service_fn;

use super::{CertificateError, WorkloadOptions};
use crate::csr::proto::{CREATE_CERTIFICATE, IstioCertificateRequest, IstioCertificateResponse};

/// Connecting and being answered, together.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Largest response: a chain and a bundle of 64 roots.
const MAX_RESPONSE_BYTES: usize = 1024 * 1024;
/// Longest credential, Kubernetes' tokens included.
const MAX_CREDENTIAL_BYTES: u64 = 16 * 1024;

/// Where the CA is.
#[derive(Clone)]
pub enum CaEndpoint {
    /// A Unix socket.
    Unix(PathBuf),
    /// `host:port`; plain text without `tls`.
    Tcp {
        /// Resolved anew for every request.
        address: String,
        /// None for plain text.
        tls: Option<CaTls>,
    },
}

/// How to do TLS with the CA.
#[derive(Clone)]
pub struct CaTls {
    /// Gives the configuration of the next connection, with the newest client
    /// certificate. ALPN must offer `h2`.
    pub config: Arc<dyn Fn() -> Arc<ClientConfig> + Send + Sync>,
    /// The name the CA's certificate must have.
    pub server_name: ServerName<'static>,
}

impl fmt::Display for CaEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp { address, .. } => f.write_str(address),
        }
    }
}

/// What the CA knows us by.
#[derive(Clone)]
pub enum Credential {
    /// Nothing: the client certificate of the connection says it all.
    None,
    /// A bearer token.
    Token(Arc<str>),
    /// A file with a bearer token, read for every request, since Kubernetes
    /// replaces it.
    File(PathBuf),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Token(_) => f.write_str("Token(secret)"),
            Self::File(path) => write!(f, "File({})", path.display()),
        }
    }
}

impl Credential {
    /// The token in an environment variable.
    ///
    /// # Errors
    /// When the variable is not set or is not text.
    pub fn from_env(name: &str) -> Result<Self, CertificateError> {
        std::env::var(name)
            .map(|token| Self::Token(token.trim().into()))
            .map_err(|error| CertificateError::Credential {
                source_name: name.to_owned(),
                problem: error.to_string(),
            })
    }

    /// The token that a reader yields up to its end, for example an inherited
    /// pipe.
    ///
    /// # Errors
    /// When reading fails, or what is read is empty or not text.
    pub fn read(reader: impl Read, source_name: &str) -> Result<Self, CertificateError> {
        token(reader)
            .map(|token| Self::Token(token.into()))
            .map_err(|problem| CertificateError::Credential {
                source_name: source_name.to_owned(),
                problem,
            })
    }

    /// The `authorization` header to send now.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn header(&self) -> Result<Option<String>, CertificateError> {
        let found = match self {
            Self::None => return Ok(None),
            Self::Token(token) => token.to_string(),
            Self::File(path) => std::fs::File::open(path)
                .map_err(|error| error.to_string())
                .and_then(token)
                .map_err(|problem| CertificateError::Credential {
                    source_name: path.display().to_string(),
                    problem,
                })?,
        };
        Ok(Some(format!("Bearer {found}")))
    }
}

fn token(reader: impl Read) -> Result<String, String> {
    let mut text = String::new();
    reader
        .take(MAX_CREDENTIAL_BYTES)
        .read_to_string(&mut text)
        .map_err(|error| error.to_string())?;
    let token = text.trim();
    if token.is_empty() {
        return Err("no token in it".to_owned());
    }
    Ok(token.to_owned())
}

/// One call of `CreateCertificate`; returns the chain as it came.
pub(super) async fn create_certificate(
    options: &WorkloadOptions,
    csr: String,
) -> Result<Vec<String>, CertificateError> {
    let unreachable = |problem: String| CertificateError::Unreachable {
        endpoint: options.endpoint.to_string(),
        problem,
    };
    let mut request = tonic::Request::new(IstioCertificateRequest {
        csr,
        // Zero leaves it to the CA.
        validity_duration: options
            .ttl
            .map_or(0, |ttl| i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX)),
        metadata: None,
    });
    if let Some(header) = options.credential.header()? {
        let header = header.parse().map_err(|_| CertificateError::Credential {
            source_name: "credential".to_owned(),
            problem: "it has characters that no token has".to_owned(),
        })?;
        request.metadata_mut().insert("authorization", header);
    }
    let call = async {
        let channel = connect(&options.endpoint)
            .await
            .map_err(|error| unreachable(chain(&error)))?;
        let mut grpc =
            tonic::client::Grpc::new(channel).max_decoding_message_size(MAX_RESPONSE_BYTES);
        grpc.ready()
            .await
            .map_err(|error| unreachable(chain(&error)))?;
        let codec = ProstCodec::<IstioCertificateRequest, IstioCertificateResponse>::default();
        grpc.unary(
            request,
            PathAndQuery::from_static(CREATE_CERTIFICATE),
            codec,
        )
        .await
        .map_err(|status| match status.code() {
            tonic::Code::Unavailable => unreachable(status.message().to_owned()),
            code => CertificateError::Refused(format!("{} ({code})", status.message())),
        })
    };
    let response = tokio::time::timeout(TIMEOUT, call)
        .await
        .map_err(|_| unreachable(format!("no answer within {TIMEOUT:?}")))??;
    Ok(response.into_inner().cert_chain)
}

async fn connect(endpoint: &CaEndpoint) -> Result<Channel, tonic::transport::Error> {
    // The connectors own what they need: tonic keeps them.
    match endpoint.clone() {
        CaEndpoint::Unix(path) => {
            // The URI only becomes the :authority of requests.
            Endpoint::from_static("http://localhost")
                .connect_with_connector(service_fn(move |_: Uri| {
                    let path = path.clone();
                    async move { UnixStream::connect(path).await.map(TokioIo::new) }
                }))
                .await
        }
        CaEndpoint::Tcp { address, tls: None } => {
            Endpoint::from_shared(format!("http://{address}"))?
                .connect_with_connector(service_fn(move |_: Uri| {
                    let address = address.clone();
                    async move { TcpStream::connect(address).await.map(TokioIo::new) }
                }))
                .await
        }
        CaEndpoint::Tcp {
            address,
            tls: Some(tls),
        } => {
            // Plain http here: the connector already does the TLS.
            Endpoint::from_shared(format!("http://{address}"))?
                .connect_with_connector(service_fn(move |_: Uri| {
                    let (address, tls) = (address.clone(), tls.clone());
                    async move {
                        let stream = TcpStream::connect(address).await?;
                        TlsConnector::from((tls.config)())
                            .connect(tls.server_name, stream)
                            .await
                            .map(TokioIo::new)
                    }
                }))
                .await
        }
    }
}

/// An error with all its sources: tonic's own text is "transport error".
fn chain(error: &dyn std::error::Error) -> String {
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
