//! The certificate authority (Istio calls its own Citadel).

mod plugged;
mod rotation;
mod sign;
mod tally;

#[cfg(test)]
mod rotation_tests;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls_pki_types::CertificateDer;
use tracing::info;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::store::{StoredCa, StoredRoot};
use crate::{BundleError, Store, StoreError, TrustBundle, TrustDomain};

use rotation::Own;

pub use rotation::{CaState, RootRole, RootState, RotateError};
pub use sign::{Issued, ServingCertificate, SignError};
pub use tally::{Count, Tally};

/// Lifetime of the self-signed root (Istio's `CITADEL_SELF_SIGNED_CA_CERT_TTL`):
/// ten years.
const ROOT_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// A root that ends within this time is worth a warning.
const ROOT_WARNING: Duration = Duration::from_secs(90 * 24 * 3600);

/// How an [`Authority`] signs.
#[derive(Clone, Debug)]
pub struct AuthorityOptions {
    /// The realm of the workloads' identities.
    pub trust_domain: TrustDomain,
    /// Lifetime of a certificate whose request names none (Istio's
    /// `DEFAULT_WORKLOAD_CERT_TTL`, 24 h).
    pub default_ttl: Duration,
    /// Longest lifetime (Istio's `MAX_WORKLOAD_CERT_TTL`, 90 days).
    pub max_ttl: Duration,
}

impl Default for AuthorityOptions {
    fn default() -> Self {
        Self {
            trust_domain: TrustDomain::default(),
            default_ttl: Duration::from_secs(24 * 3600),
            max_ttl: Duration::from_secs(90 * 24 * 3600),
        }
    }
}

/// Why there is no authority.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file of a plugged-in CA cannot be used.
    #[error("{path}: {problem}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what to do.
        problem: String,
    },
    /// The roots of a plugged-in CA cannot be used.
    #[error("{path}: {source}")]
    Roots {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: BundleError,
    },
    /// The certificates of a plugged-in CA do not work together.
    #[error(
        "the CA in {directory} issues certificates that its own root does not trust: {problem}"
    )]
    Chain {
        /// The directory.
        directory: PathBuf,
        /// What the verifier says.
        problem: String,
    },
    /// The root could not be made.
    #[error("making the root certificate failed: {0}")]
    Generate(#[from] rcgen::Error),
}

/// Signs certificates. What goes into them is decided here and by the caller,
/// never by the request, of which only the public key is taken.
pub struct Authority {
    options: AuthorityOptions,
    /// Whoever issues holds it for reading until the certificate is accounted for.
    signing: RwLock<Signing>,
    /// Counts changes of `signing`.
    generation: AtomicU64,
    /// Where a root of our own is kept; none for a plugged-in CA.
    own: Option<Own>,
    tally: Tally,
}

/// What certificates are signed and verified with.
struct Signing {
    issuer: Issuer<'static, KeyPair>,
    /// Between a leaf and the root: empty when the root itself signs.
    intermediates: Vec<CertificateDer<'static>>,
    roots: TrustBundle,
    /// No certificate outlives the one that signed it.
    not_after: SystemTime,
}

impl Authority {
    /// The self-signed authority of a store; makes its root (P-256, ten years)
    /// when the store has none.
    ///
    /// # Errors
    /// When the store fails, or what it holds is no CA.
    pub fn self_signed(store: &Store, options: AuthorityOptions) -> Result<Self, AuthorityError> {
        let ca = match store.load_ca()? {
            Some(ca) => ca,
            None => {
                let root = make_root(&options.trust_domain)?;
                let ca = StoredCa {
                    root,
                    rotation: None,
                };
                store.save_ca(&ca)?;
                info!(store = %store.path().display(), "made a new root certificate");
                ca
            }
        };
        let signing = Signing::of(&ca).map_err(|problem| store.damaged(problem))?;
        let own = Own::new(store.clone(), ca)?;
        let authority = Self::new(options, signing, Some(own));
        authority
            .prove()
            .map_err(|problem| store.damaged(problem))?;
        Ok(authority)
    }

    fn new(options: AuthorityOptions, signing: Signing, own: Option<Own>) -> Self {
        Self {
            options,
            signing: RwLock::new(signing),
            generation: AtomicU64::new(1),
            own,
            tally: Tally::default(),
        }
    }

    /// An authority from files as in Istio's secret `cacerts`: `ca-cert.pem`,
    /// `ca-key.pem` (RSA or EC), `root-cert.pem` (one or more roots) and, when
    /// there are intermediates above the CA, `cert-chain.pem`.
    ///
    /// # Errors
    /// When a file is missing, or they do not belong together; says which.
    pub fn plugged_in(directory: &Path, options: AuthorityOptions) -> Result<Self, AuthorityError> {
        plugged::load(directory, options)
    }

    /// The realm of the identities this authority issues.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.options.trust_domain
    }

    /// What verifies the certificates this authority issues.
    pub fn roots(&self) -> TrustBundle {
        self.signing().roots.clone()
    }

    /// When the certificate that signs ends.
    pub fn not_after(&self) -> SystemTime {
        self.signing().not_after
    }

    /// When the first of the roots ends; `None` when none says so.
    pub fn first_root_not_after(&self) -> Option<SystemTime> {
        let roots = self.roots();
        let ends = roots.roots().iter().filter_map(|root| not_after(root).ok());
        ends.min()
    }

    /// What became of the requests for certificates.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Another number when [`Self::roots`] or what signs have changed.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    fn signing(&self) -> RwLockReadGuard<'_, Signing> {
        // A panic cannot leave it half changed: it is replaced whole.
        self.signing.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// A warning when the signing certificate ends within 90 days.
    pub fn expiry_warning(&self, now: SystemTime) -> Option<String> {
        let left = self.not_after().duration_since(now).unwrap_or_default();
        if left > ROOT_WARNING {
            return None;
        }
        let days = left.as_secs() / (24 * 3600);
        Some(if left.is_zero() {
            "the mesh's CA certificate has expired: no workload can get a certificate any more; \
             provide a new CA"
                .to_owned()
        } else {
            format!(
                "the mesh's CA certificate expires in {days} days; replace it before: `meltemi ca \
                 rotate`, or, where it is plugged in, a new one whose root is added to \
                 root-cert.pem first"
            )
        })
    }

    /// Issues a certificate and verifies it: signature, names, chain and dates
    /// of the whole CA are right, or this fails.
    fn prove(&self) -> Result<(), String> {
        let issued = self
            .serving_certificate(&["probe.invalid".to_owned()], Duration::from_secs(60))
            .map_err(|error| error.to_string())?;
        let [leaf, above @ ..] = &issued.chain[..] else {
            return Err("an empty chain was issued".to_owned());
        };
        verify(
            &self.signing().roots,
            leaf,
            above,
            webpki::KeyUsage::server_auth(),
        )
    }
}

/// Verifies a chain with webpki as of now.
pub(crate) fn verify(
    roots: &TrustBundle,
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    usage: webpki::KeyUsage,
) -> Result<(), String> {
    let leaf = webpki::EndEntityCert::try_from(leaf).map_err(|error| error.to_string())?;
    leaf.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &roots.anchors(),
        intermediates,
        rustls_pki_types::UnixTime::now(),
        usage,
        None,
        None,
    )
    .map(|_| ())
    .map_err(|error| error.to_string())
}

fn make_root(trust_domain: &TrustDomain) -> Result<StoredRoot, AuthorityError> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationName, trust_domain.as_str());
    params
        .distinguished_name
        .push(DnType::CommonName, "Meltemi root CA");
    params.serial_number = Some(sign::serial()?);
    let now = SystemTime::now();
    params.not_before = (now - sign::MAX_SKEW).into();
    params.not_after = (now + ROOT_LIFETIME).into();
    // It signs leaves only: no CA below it.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    let certificate = params.self_signed(&key)?;
    Ok(StoredRoot {
        certificate: certificate.der().to_vec(),
        key: key.serialize_der(),
    })
}

/// When a certificate ends.
pub(crate) fn not_after(certificate: &[u8]) -> Result<SystemTime, String> {
    validity(certificate).map(|(_, end)| end)
}

/// From when until when a certificate is valid.
pub(crate) fn validity(certificate: &[u8]) -> Result<(SystemTime, SystemTime), String> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|e| e.to_string())?;
    let at = |time: x509_parser::time::ASN1Time| {
        let seconds = u64::try_from(time.timestamp()).unwrap_or_default();
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    };
    let validity = parsed.validity();
    Ok((at(validity.not_before), at(validity.not_after)))
}
