//! Calling the CA.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic_prost::ProstCodec;
use tower::service_fn;

use super::{CertificateError, WorkloadIdentity, WorkloadOptions};
use crate::TrustBundle;
use crate::csr::proto::{CREATE_CERTIFICATE, IstioCertificateRequest, IstioCertificateResponse};

/// Connecting and being answered, together.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Largest response: a chain and a bundle of 64 roots.
const MAX_RESPONSE_BYTES: usize = 1024 * 1024;
/// Longest credential, Kubernetes' tokens included.
const MAX_CREDENTIAL_BYTES: u64 = 16 * 1024;
/// Largest file of root certificates.
const MAX_ROOTS_BYTES: u64 = 1024 * 1024;

/// Where the CA is.
#[derive(Clone, Debug)]
pub enum CaEndpoint {
    /// A Unix socket.
    Unix(PathBuf),
    /// TLS. While there is a certificate, it is presented instead of the credential, and the
    /// CA is verified with the roots that came with it.
    Tls {
        /// `host:port`, resolved anew for every request.
        address: String,
        /// The name the CA's certificate must have.
        server_name: ServerName<'static>,
        /// Verifies the CA as long as there is no certificate: PEM, read for every request.
        roots: PathBuf,
    },
}

impl fmt::Display for CaEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tls { address, .. } => f.write_str(address),
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

/// One call of `CreateCertificate`; returns the chain as it came. `current` is the certificate
/// in use, if there is one that has not ended.
pub(super) async fn create_certificate(
    options: &WorkloadOptions,
    current: Option<&WorkloadIdentity>,
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
    let connector = Connector::new(&options.endpoint, current)?;
    let certified = current.is_some() && matches!(connector, Connector::Tls { .. });
    if !certified && let Some(header) = options.credential.header()? {
        let header = header.parse().map_err(|_| CertificateError::Credential {
            source_name: "credential".to_owned(),
            problem: "it has characters that no token has".to_owned(),
        })?;
        request.metadata_mut().insert("authorization", header);
    }
    let call = async {
        let channel = connector
            .connect()
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

/// What opens one connection.
enum Connector {
    Unix(PathBuf),
    Tls {
        address: String,
        server_name: ServerName<'static>,
        tls: TlsConnector,
    },
}

impl Connector {
    fn new(
        endpoint: &CaEndpoint,
        current: Option<&WorkloadIdentity>,
    ) -> Result<Self, CertificateError> {
        match endpoint {
            CaEndpoint::Unix(path) => Ok(Self::Unix(path.clone())),
            CaEndpoint::Tls {
                address,
                server_name,
                roots,
            } => Ok(Self::Tls {
                address: address.clone(),
                server_name: server_name.clone(),
                tls: Arc::new(configuration(roots, current)?).into(),
            }),
        }
    }

    async fn connect(self) -> Result<Channel, tonic::transport::Error> {
        // tonic keeps the connectors: they own what they need.
        match self {
            Self::Unix(path) => {
                // The URI only becomes the :authority of requests.
                Endpoint::from_static("http://localhost")
                    .connect_with_connector(service_fn(move |_: Uri| {
                        let path = path.clone();
                        async move { UnixStream::connect(path).await.map(TokioIo::new) }
                    }))
                    .await
            }
            Self::Tls {
                address,
                server_name,
                tls,
            } => {
                // Plain http here: the connector already does the TLS.
                Endpoint::from_shared(format!("http://{address}"))?
                    .connect_with_connector(service_fn(move |_: Uri| {
                        let (address, name) = (address.clone(), server_name.clone());
                        let tls = tls.clone();
                        async move {
                            let stream = TcpStream::connect(address).await?;
                            tls.connect(name, stream).await.map(TokioIo::new)
                        }
                    }))
                    .await
            }
        }
    }
}

fn configuration(
    roots: &Path,
    current: Option<&WorkloadIdentity>,
) -> Result<ClientConfig, CertificateError> {
    let roots = match current {
        Some(current) => current.roots.clone(),
        None => roots_of_file(roots)?,
    };
    let mut store = RootCertStore::empty();
    store.roots.extend(roots.anchors());
    let unusable = |error: rustls::Error| CertificateError::Unusable(error.to_string());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_root_certificates(store);
    let mut config = match current {
        Some(current) => builder
            .with_client_auth_cert(current.chain.clone(), current.key.clone_key())
            .map_err(unusable)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn roots_of_file(path: &Path) -> Result<TrustBundle, CertificateError> {
    let unusable =
        |problem: String| CertificateError::Unusable(format!("{}: {problem}", path.display()));
    let mut pem = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_ROOTS_BYTES + 1).read_to_end(&mut pem))
        .map_err(|error| unusable(error.to_string()))?;
    if pem.len() as u64 > MAX_ROOTS_BYTES {
        return Err(unusable(format!("larger than {MAX_ROOTS_BYTES} bytes")));
    }
    TrustBundle::from_pem(&pem).map_err(|error| unusable(error.to_string()))
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
