//! A workload's certificate: asked for, published, and renewed in time.

mod ca;

#[cfg(test)]
mod join_tests;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DistinguishedName, KeyPair, PublicKeyData};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{info, warn};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::authority::validity;
use crate::{BundleError, SpiffeError, SpiffeId, TrustBundle, spiffe_id_of};

pub use ca::{CaEndpoint, Credential};

/// Pauses between attempts: the first one and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The certificate is renewed when this part of its lifetime is left, and up to one hundredth
/// of it earlier or later (Istio's defaults of `SECRET_GRACE_PERIOD_RATIO` and its jitter).
const GRACE_RATIO: f64 = 0.5;
const GRACE_JITTER: f64 = 0.01;
/// The clock is looked at this often: while a machine sleeps, timers stand still
/// and certificates do not.
const CLOCK_CHECK: Duration = Duration::from_secs(30);

/// How to get a workload's certificate.
#[derive(Clone)]
pub struct WorkloadOptions {
    /// Where the CA is.
    pub endpoint: CaEndpoint,
    /// What the CA knows us by.
    pub credential: Credential,
    /// Lifetime to ask for (Istio's `SECRET_TTL`); the CA may give less. None: the CA's
    /// default.
    pub ttl: Option<Duration>,
}

impl WorkloadOptions {
    /// The CA's lifetime.
    pub fn new(endpoint: CaEndpoint, credential: Credential) -> Self {
        Self {
            endpoint,
            credential,
            ttl: None,
        }
    }
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The CA cannot be reached.
    #[error("the CA at {endpoint} cannot be reached: {problem}")]
    Unreachable {
        /// Where it should be.
        endpoint: String,
        /// What the transport says.
        problem: String,
    },
    /// The CA refused.
    #[error("the CA refused: {0}")]
    Refused(String),
    /// What the CA sent, or a file holds, is not usable.
    #[error("unusable certificate: {0}")]
    Unusable(String),
    /// The trust bundle is not usable.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The certificate has no SPIFFE id.
    #[error(transparent)]
    Id(#[from] SpiffeError),
    /// The credential cannot be read.
    #[error("{source_name}: {problem}")]
    Credential {
        /// Where it is read from.
        source_name: String,
        /// What is wrong.
        problem: String,
    },
    /// Making the key or the request failed.
    #[error("making the certificate request failed: {0}")]
    Request(#[from] rcgen::Error),
}

/// A certificate with all that belongs to it.
pub struct WorkloadIdentity {
    /// Who the workload is.
    pub id: SpiffeId,
    /// Leaf and intermediates.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's key. It exists in memory only.
    pub key: PrivateKeyDer<'static>,
    /// What peers are verified with.
    pub roots: TrustBundle,
    /// Valid from.
    pub not_before: SystemTime,
    /// Valid until.
    pub not_after: SystemTime,
    /// Counts from 1; a renewal has the next number.
    pub generation: u64,
}

impl std::fmt::Debug for WorkloadIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkloadIdentity")
            .field("id", &self.id)
            .field("not_after", &self.not_after)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

/// Keeps a workload's certificate fresh until it is dropped.
pub struct WorkloadCertificates {
    identity: watch::Receiver<Arc<WorkloadIdentity>>,
    _stop: DropGuard,
}

impl WorkloadCertificates {
    /// Gets the first certificate, trying again with growing pauses for as long
    /// as `patience` lasts (for ever when none), and then keeps it fresh on the
    /// current tokio runtime.
    ///
    /// # Errors
    /// The last failure, when patience has run out.
    pub async fn start(
        options: WorkloadOptions,
        patience: Option<Duration>,
    ) -> Result<Self, CertificateError> {
        let deadline = patience.map(|patience| tokio::time::Instant::now() + patience);
        let mut pause = FIRST_PAUSE;
        let first = loop {
            let error = match request(&options, None).await {
                Ok(first) => break first,
                Err(error) => error,
            };
            let wait = jittered(pause);
            if deadline.is_some_and(|deadline| tokio::time::Instant::now() + wait >= deadline) {
                return Err(error);
            }
            warn!("no certificate yet: {error}");
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        };
        info!(id = %first.id, "got a certificate");
        let (identities, identity) = watch::channel(Arc::new(first));
        let stop = CancellationToken::new();
        let guard = stop.clone().drop_guard();
        tokio::spawn(async move {
            stop.run_until_cancelled(renew(options, identities)).await;
        });
        Ok(Self {
            identity,
            _stop: guard,
        })
    }

    /// The certificate in use, and each one that replaces it.
    pub fn identity(&self) -> watch::Receiver<Arc<WorkloadIdentity>> {
        self.identity.clone()
    }
}

async fn renew(options: WorkloadOptions, identities: watch::Sender<Arc<WorkloadIdentity>>) {
    loop {
        let current = Arc::clone(&identities.borrow());
        let now = SystemTime::now();
        // Of the lifetime that is left now: what lies before is the allowance
        // for slow clocks, not lifetime.
        let lifetime = current.not_after.duration_since(now).unwrap_or_default();
        let jitter = (fastrand::f64() * 2.0 - 1.0) * GRACE_JITTER;
        let due = now + lifetime.mul_f64(1.0 - GRACE_RATIO + jitter);
        sleep_until(due).await;

        // Short lifetimes leave no room for long pauses.
        let longest = LONGEST_PAUSE.min(lifetime / 8).max(FIRST_PAUSE);
        let mut pause = FIRST_PAUSE;
        let next = loop {
            let error = match request(&options, Some(&current)).await {
                Ok(next) => break next,
                Err(error) => error,
            };
            let wait = jittered(pause);
            match SystemTime::now().duration_since(current.not_after) {
                Err(_) => warn!(
                    id = %current.id,
                    "renewing the certificate failed, the old one stays in use: {error}"
                ),
                Ok(since) => tracing::error!(
                    id = %current.id,
                    "the certificate ended {} s ago and peers refuse it: new connections fail \
                     until the CA answers, {error}",
                    since.as_secs()
                ),
            }
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(longest);
        };
        info!(id = %next.id, generation = next.generation, "renewed the certificate");
        identities.send_replace(Arc::new(next));
    }
}

async fn sleep_until(due: SystemTime) {
    while let Ok(left) = due.duration_since(SystemTime::now()) {
        if left.is_zero() {
            break;
        }
        tokio::time::sleep(left.min(CLOCK_CHECK)).await;
    }
}

/// Half of a pause is random, so that the workloads of a mesh do not come all
/// at once.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + fastrand::f64() / 2.0)
}

/// Makes a key and has the CA certify it; `current` is the certificate to be replaced.
async fn request(
    options: &WorkloadOptions,
    current: Option<&WorkloadIdentity>,
) -> Result<WorkloadIdentity, CertificateError> {
    let generation = current.map_or(1, |current| current.generation + 1);
    // One that has ended proves nothing.
    let current = current.filter(|current| SystemTime::now() < current.not_after);
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let csr = params.serialize_request(&key)?.pem()?;
    let chain = ca::create_certificate(options, current, csr).await?;

    // As Istio's agent: the last element is the root or roots, whole.
    let [certificates @ .., roots] = &chain[..] else {
        return Err(CertificateError::Unusable(
            "the CA sent no chain".to_owned(),
        ));
    };
    let roots = TrustBundle::from_pem(roots.as_bytes())?;
    let mut chain = Vec::new();
    for element in certificates {
        for certificate in CertificateDer::pem_slice_iter(element.as_bytes()) {
            let certificate = certificate
                .map_err(|error| CertificateError::Unusable(format!("malformed PEM: {error}")))?;
            chain.push(certificate);
        }
    }
    assemble(chain, &key, roots, generation)
}

/// Puts the parts together after looking whether they fit.
fn assemble(
    chain: Vec<CertificateDer<'static>>,
    key: &KeyPair,
    roots: TrustBundle,
    generation: u64,
) -> Result<WorkloadIdentity, CertificateError> {
    let Some((leaf, intermediates)) = chain.split_first() else {
        return Err(CertificateError::Unusable(
            "there is no certificate".to_owned(),
        ));
    };
    let (_, parsed) = X509Certificate::from_der(leaf)
        .map_err(|error| CertificateError::Unusable(error.to_string()))?;
    if parsed.public_key().raw != key.subject_public_key_info() {
        return Err(CertificateError::Unusable(
            "it belongs to another key".to_owned(),
        ));
    }
    let (not_before, not_after) = validity(leaf).map_err(CertificateError::Unusable)?;
    let now = SystemTime::now();
    if now < not_before || now >= not_after {
        let away = match now.duration_since(not_after) {
            Ok(since) => format!("ended {} s ago", since.as_secs()),
            Err(_) => "is not valid yet".to_owned(),
        };
        return Err(CertificateError::Unusable(format!(
            "it {away}: compare the clocks of this machine and of the CA's"
        )));
    }
    crate::authority::verify(&roots, leaf, intermediates, webpki::KeyUsage::client_auth())
        .map_err(|problem| {
            CertificateError::Unusable(format!("the trust bundle does not verify it: {problem}"))
        })?;
    Ok(WorkloadIdentity {
        id: spiffe_id_of(leaf)?,
        key: key
            .serialize_der()
            .try_into()
            .map_err(|problem: &'static str| CertificateError::Unusable(problem.to_owned()))?,
        chain,
        roots,
        not_before,
        not_after,
        generation,
    })
}
