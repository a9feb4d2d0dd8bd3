//! The certificates a mesh trusts.

use std::sync::Arc;

use base64::Engine as _;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, TrustAnchor};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Most roots in a bundle. Two suffice to replace one; some more for a mesh
/// that trusts its neighbours.
const MAX_ROOTS: usize = 64;

/// Why a trust bundle is unusable.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The text is no sequence of PEM blocks.
    #[error("malformed PEM: {0}")]
    Pem(#[from] rustls_pki_types::pem::Error),
    /// Without a root nothing could be trusted.
    #[error("the trust bundle has no certificate")]
    Empty,
    /// Too many roots.
    #[error("the trust bundle has more than {MAX_ROOTS} certificates")]
    TooMany,
    /// A certificate cannot be used as a root.
    #[error("certificate {index} of the trust bundle: {problem}")]
    Root {
        /// Its position, from 1.
        index: usize,
        /// What is wrong with it.
        problem: String,
    },
}

/// One or more root certificates, without repetition; clones are cheap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustBundle {
    roots: Arc<[CertificateDer<'static>]>,
}

impl TrustBundle {
    /// A bundle of these roots.
    ///
    /// # Errors
    /// When there is none, there are more than 64, or one is not a CA certificate.
    pub fn new(
        roots: impl IntoIterator<Item = CertificateDer<'static>>,
    ) -> Result<Self, BundleError> {
        let mut kept: Vec<CertificateDer<'static>> = Vec::new();
        for (position, root) in roots.into_iter().enumerate() {
            let problem = |problem: String| BundleError::Root {
                index: position + 1,
                problem,
            };
            let (_, parsed) =
                X509Certificate::from_der(&root).map_err(|error| problem(error.to_string()))?;
            if !parsed.is_ca() {
                return Err(problem("not a CA certificate".to_owned()));
            }
            webpki::anchor_from_trusted_cert(&root).map_err(|error| problem(error.to_string()))?;
            if !kept.contains(&root) {
                kept.push(root);
            }
            if kept.len() > MAX_ROOTS {
                return Err(BundleError::TooMany);
            }
        }
        if kept.is_empty() {
            return Err(BundleError::Empty);
        }
        Ok(Self { roots: kept.into() })
    }

    /// Reads concatenated PEM certificates; blocks of other kinds are skipped.
    ///
    /// # Errors
    /// As [`TrustBundle::new`], and for malformed PEM.
    pub fn from_pem(pem: &[u8]) -> Result<Self, BundleError> {
        let roots: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>()?;
        Self::new(roots)
    }

    /// The roots, DER.
    pub fn roots(&self) -> &[CertificateDer<'static>] {
        &self.roots
    }

    /// All roots as concatenated PEM.
    pub fn to_pem(&self) -> String {
        self.roots
            .iter()
            .map(|root| pem("CERTIFICATE", root))
            .collect()
    }

    /// The roots as webpki and rustls want them.
    pub fn anchors(&self) -> Vec<TrustAnchor<'static>> {
        self.roots
            .iter()
            // All of them parsed in `new`.
            .filter_map(|root| webpki::anchor_from_trusted_cert(root).ok())
            .map(|anchor| anchor.to_owned())
            .collect()
    }
}

/// One DER structure as PEM (RFC 7468: lines of 64 characters); `label` is `CERTIFICATE`,
/// `PRIVATE KEY` ...
pub fn pem(label: &str, der: &[u8]) -> String {
    let base64 = base64::engine::general_purpose::STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in base64.as_bytes().chunks(64) {
        text.extend(line.iter().map(|byte| char::from(*byte)));
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}
