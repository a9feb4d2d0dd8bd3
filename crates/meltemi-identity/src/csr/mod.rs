//! The service that signs certificate requests:
//! `istio.v1.auth.IstioCertificateService`.
//!
//! [`CsrService`] asks its [`Authenticator`]s, one after the other, who the
//! caller is; the first that knows decides. The identity in the certificate is
//! theirs, whatever the request says.

mod grpc;
mod join;
mod local;
mod mtls;
mod process;
pub(crate) mod proto;
mod rate;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use tonic::Status;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo, UdsConnectInfo};
use tracing::{info, warn};

use crate::{Authority, SignError, SpiffeId};

pub use join::{JoinToken, JoinTokenError, JoinTokens};
pub use local::{LocalCredentials, LocalWorkload};
pub use mtls::MutualTls;
pub use rate::RateLimit;

use proto::{IstioCertificateRequest, IstioCertificateResponse};

/// Who is at the other end of a call, as far as the transport knows.
#[derive(Clone)]
pub struct Peer {
    /// Where the connection comes from.
    pub address: PeerAddress,
    /// The certificates it presented, leaf first; empty without mutual TLS.
    pub certificates: Arc<Vec<CertificateDer<'static>>>,
    /// The token of `authorization: Bearer TOKEN`, a secret.
    pub token: Option<String>,
}

/// Where a connection comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PeerAddress {
    /// A Unix socket, and the process that opened the connection (`SO_PEERCRED`).
    Unix {
        /// Its id, when it is visible in our PID namespace.
        pid: Option<i32>,
        /// Its user.
        uid: u32,
    },
    /// TCP.
    Tcp(SocketAddr),
    /// Neither is known.
    Unknown,
}

impl Peer {
    fn of<T>(request: &tonic::Request<T>) -> Self {
        let extensions = request.extensions();
        let tls = extensions.get::<TlsConnectInfo<TcpConnectInfo>>();
        let tcp = tls
            .map(TlsConnectInfo::get_ref)
            .or_else(|| extensions.get::<TcpConnectInfo>())
            .and_then(TcpConnectInfo::remote_addr);
        let unix = extensions
            .get::<UdsConnectInfo>()
            .and_then(|unix| unix.peer_cred);
        let address = match (unix, tcp) {
            (Some(cred), _) => PeerAddress::Unix {
                // Zero stands for a process outside of our PID namespace.
                pid: cred.pid().filter(|pid| *pid > 0),
                uid: cred.uid(),
            },
            (None, Some(address)) => PeerAddress::Tcp(address),
            (None, None) => PeerAddress::Unknown,
        };
        let token = request
            .metadata()
            .get("authorization")
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim().to_owned());
        Self {
            address,
            certificates: tls.and_then(TlsConnectInfo::peer_certs).unwrap_or_default(),
            token,
        }
    }
}

/// A caller whose identity is established.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its identity.
    pub id: SpiffeId,
    /// For the log: how it was established, and the pod where that is known.
    pub evidence: String,
}

/// Why a caller was not admitted. The text goes to the caller: it names the
/// reason and the remedy, and no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

/// One way to establish who is calling: a source of identities.
pub trait Authenticator: Send + Sync + 'static {
    /// None when the caller brings nothing this way could examine, such as a bearer
    /// token of another kind, so that the next one is tried. Called on a thread that
    /// may block, for as long as the caller is willing to wait (10 s).
    ///
    /// # Errors
    /// When what the caller brings is wrong; no other way is tried.
    fn authenticate(&self, peer: &Peer) -> Result<Option<Caller>, Refusal>;
}

/// The gRPC service; clones share one. Give it to [`tonic::service::Routes`].
#[derive(Clone)]
pub struct CsrService {
    inner: Arc<Inner>,
}

struct Inner {
    authority: Arc<Authority>,
    authenticators: Vec<Box<dyn Authenticator>>,
    rate: RateLimit,
}

impl CsrService {
    /// A service that signs with this authority for whom one of these
    /// authenticators knows.
    pub fn new(
        authority: Arc<Authority>,
        authenticators: Vec<Box<dyn Authenticator>>,
        rate: RateLimit,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                authority,
                authenticators,
                rate,
            }),
        }
    }
}

impl Inner {
    // Refusals become the answer of the call: the type is tonic's.
    #[allow(clippy::result_large_err)]
    fn create_certificate(
        &self,
        request: tonic::Request<IstioCertificateRequest>,
    ) -> Result<IstioCertificateResponse, Status> {
        let tally = self.authority.tally();
        tally.requests.inc();
        let peer = Peer::of(&request);
        if !self.rate.admit(&peer.address) {
            return Err(Status::resource_exhausted(
                "too many certificate requests from this peer; try again in a few seconds",
            ));
        }
        let caller = self.authenticate(&peer).inspect_err(|status| {
            tally.unauthenticated.inc();
            warn!(peer = ?peer.address, "certificate refused: {}", status.message());
        })?;
        // The request's metadata tells the caller's workload and cluster, to
        // impersonate others in Istio; here only the authenticators count.
        let IstioCertificateRequest {
            csr,
            validity_duration,
            metadata: _,
        } = request.into_inner();
        // As istiod: what is not positive asks for the default.
        let ttl = u64::try_from(validity_duration)
            .ok()
            .filter(|seconds| *seconds > 0)
            .map(Duration::from_secs);
        let issued = self
            .authority
            .sign(&csr, &caller.id, ttl)
            .map_err(|error| {
                match error {
                    SignError::Request(_) => tally.unusable.inc(),
                    _ => tally.not_signed.inc(),
                }
                warn!(id = %caller.id, "certificate not issued: {error}");
                refuse(&error)
            })?;
        tally.issued.inc();
        info!(id = %caller.id, by = caller.evidence, "certificate issued");
        Ok(IstioCertificateResponse {
            cert_chain: issued.pem_chain,
        })
    }

    #[allow(clippy::result_large_err)]
    fn authenticate(&self, peer: &Peer) -> Result<Caller, Status> {
        for authenticator in &self.authenticators {
            match authenticator.authenticate(peer) {
                Ok(Some(caller)) => return Ok(caller),
                Ok(None) => {}
                Err(refusal) => return Err(Status::unauthenticated(refusal.0)),
            }
        }
        Err(Status::unauthenticated(if peer.token.is_some() {
            "no usable credential: the bearer token is of no kind that is known here; \
             `meltemi token create` makes one"
        } else {
            "no usable credential: neither a bearer token (`meltemi token create`) nor a client \
             certificate of this mesh"
        }))
    }
}

/// SHA-256 of a token, in hexadecimal: what is kept instead of it.
fn digest(token: &str) -> String {
    use std::fmt::Write as _;
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(token.as_bytes()) {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

fn refuse(error: &SignError) -> Status {
    let text = error.to_string();
    match error {
        SignError::Request(_) | SignError::Lifetime { .. } => Status::invalid_argument(text),
        SignError::TrustDomain { .. } => Status::permission_denied(text),
        SignError::Expired => Status::failed_precondition(text),
        SignError::Sign(_) | SignError::Store(_) => Status::internal(text),
    }
}
