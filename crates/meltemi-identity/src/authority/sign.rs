//! Making leaf certificates.

use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PublicKeyData, SanType, SerialNumber, SubjectPublicKeyInfo,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;

use super::{Authority, Signing};
use crate::bundle::pem;
use crate::{SpiffeId, StoreError};

/// Certificates are valid from a little before now, for peers whose clocks are
/// behind: a twelfth of their lifetime within these bounds (Istio: 2 minutes).
const MIN_SKEW: Duration = Duration::from_secs(10);
pub(super) const MAX_SKEW: Duration = Duration::from_secs(120);
/// Largest request; one with an RSA key of 8192 bits has 3 KiB.
const MAX_CSR_BYTES: usize = 16 * 1024;
/// RSA keys must have at least so many bits (and no more than verifiers accept).
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Why a certificate was not issued.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The request is not usable.
    #[error("unusable certificate request: {0}")]
    Request(String),
    /// The lifetime is out of bounds.
    #[error("a lifetime of {asked:?} was asked for, at most {max:?} is allowed")]
    Lifetime {
        /// What was asked for.
        asked: Duration,
        /// [`AuthorityOptions::max_ttl`](super::AuthorityOptions::max_ttl).
        max: Duration,
    },
    /// The id is of another realm than the authority.
    #[error("{id} is not in the trust domain {trust_domain}")]
    TrustDomain {
        /// The id.
        id: String,
        /// The authority's trust domain.
        trust_domain: String,
    },
    /// The CA's own certificate has ended.
    #[error("the CA's certificate has expired")]
    Expired,
    /// Signing failed.
    #[error("signing failed: {0}")]
    Sign(#[from] rcgen::Error),
    /// It was not accounted for.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A certificate for a workload.
#[derive(Clone, Debug)]
pub struct Issued {
    /// Leaf and intermediates, DER, without the root.
    pub chain: Vec<CertificateDer<'static>>,
    /// The same as PEM, and as last element all roots: what Istio's
    /// `IstioCertificateResponse.cert_chain` holds.
    pub pem_chain: Vec<String>,
    /// When it ends.
    pub not_after: SystemTime,
}

/// A certificate for a server of the control plane, with its key.
pub struct ServingCertificate {
    /// Leaf and intermediates.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key, only ever in memory.
    pub key: PrivateKeyDer<'static>,
    /// When it ends.
    pub not_after: SystemTime,
}

impl Authority {
    /// Signs a workload's PKCS #10 request (PEM). Only the request's public key
    /// is used; the identity is the caller's finding. A lifetime of none is the
    /// default one; none is longer than the CA's own certificate.
    ///
    /// # Errors
    /// When the request is malformed, its signature does not prove the
    /// possession of the key, or the lifetime is beyond the maximum.
    pub fn sign(
        &self,
        csr_pem: &str,
        id: &SpiffeId,
        ttl: Option<Duration>,
    ) -> Result<Issued, SignError> {
        if id.trust_domain() != self.trust_domain() {
            return Err(SignError::TrustDomain {
                id: id.to_string(),
                trust_domain: self.trust_domain().to_string(),
            });
        }
        let key = public_key(csr_pem)?;
        let uri = id.to_string();
        let name = SanType::URI(uri.as_str().try_into()?);
        let usages = [
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let signing = self.signing();
        let (chain, not_after) = self.leaf(&signing, &key, vec![name], &usages, ttl)?;
        if let Some(own) = &self.own {
            own.issued(not_after, self.options.default_ttl)?;
        }
        let mut pem_chain: Vec<String> = chain
            .iter()
            .map(|certificate| pem("CERTIFICATE", certificate))
            .collect();
        // Istio's agent takes the last element for the root(s), whole.
        pem_chain.push(signing.roots.to_pem());
        Ok(Issued {
            chain,
            pem_chain,
            not_after,
        })
    }

    /// A certificate for a server of the control plane that is known by DNS
    /// names, such as `istiod.istio-system.svc`.
    ///
    /// # Errors
    /// When a name is no ASCII, or the lifetime is beyond the maximum.
    pub fn serving_certificate(
        &self,
        dns_names: &[String],
        ttl: Duration,
    ) -> Result<ServingCertificate, SignError> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let names = dns_names
            .iter()
            .map(|name| Ok(SanType::DnsName(name.as_str().try_into()?)))
            .collect::<Result<_, rcgen::Error>>()?;
        let usages = [ExtendedKeyUsagePurpose::ServerAuth];
        let (chain, not_after) = self.leaf(&self.signing(), &key, names, &usages, Some(ttl))?;
        Ok(ServingCertificate {
            chain,
            key: key.into(),
            not_after,
        })
    }

    fn leaf(
        &self,
        signing: &Signing,
        key: &impl PublicKeyData,
        names: Vec<SanType>,
        usages: &[ExtendedKeyUsagePurpose],
        ttl: Option<Duration>,
    ) -> Result<(Vec<CertificateDer<'static>>, SystemTime), SignError> {
        let ttl = ttl.unwrap_or(self.options.default_ttl);
        if ttl > self.options.max_ttl || ttl.is_zero() {
            return Err(SignError::Lifetime {
                asked: ttl,
                max: self.options.max_ttl,
            });
        }
        let now = SystemTime::now();
        if now >= signing.not_after {
            return Err(SignError::Expired);
        }
        let not_after = (now + ttl).min(signing.not_after);
        let mut params = CertificateParams::default();
        params.serial_number = Some(serial()?);
        params.not_before = (now - (ttl / 12).clamp(MIN_SKEW, MAX_SKEW)).into();
        params.not_after = not_after.into();
        // With an empty subject the alternative name is critical (RFC 5280
        // §4.2.1.6); rcgen marks it so.
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = names;
        params.is_ca = IsCa::ExplicitNoCa;
        // Key encipherment is for the RSA keys that Istio's agents use.
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
        ];
        params.extended_key_usages = usages.to_vec();
        params.use_authority_key_identifier_extension = true;
        let leaf = params.signed_by(key, &signing.issuer)?;
        let mut chain = vec![leaf.der().clone()];
        chain.extend(signing.intermediates.iter().cloned());
        Ok((chain, not_after))
    }
}

/// 126 random bits, positive as RFC 5280 §4.1.2.2 demands: rcgen's own default
/// repeats for the same key.
pub(super) fn serial() -> Result<SerialNumber, rcgen::Error> {
    let mut bytes = [0; 16];
    rustls::crypto::aws_lc_rs::default_provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| rcgen::Error::RingUnspecified)?;
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

/// The public key of a request that proves the possession of the private one.
fn public_key(csr_pem: &str) -> Result<SubjectPublicKeyInfo, SignError> {
    let problem = |problem: &dyn std::fmt::Display| SignError::Request(problem.to_string());
    if csr_pem.len() > MAX_CSR_BYTES {
        return Err(problem(&format!("longer than {MAX_CSR_BYTES} bytes")));
    }
    let der = CertificateSigningRequestDer::from_pem_slice(csr_pem.as_bytes())
        .map_err(|error| problem(&format!("not a PEM certificate request ({error})")))?;
    let (rest, csr) = X509CertificationRequest::from_der(&der)
        .map_err(|error| problem(&format!("malformed ({error})")))?;
    if !rest.is_empty() {
        return Err(problem(&"trailing bytes"));
    }
    let spki = &csr.certification_request_info.subject_pki;
    if let Ok(PublicKey::RSA(rsa)) = spki.parsed()
        && !RSA_BITS.contains(&rsa.key_size())
    {
        return Err(problem(&format!(
            "an RSA key of {} bits; {} to {} are allowed",
            rsa.key_size(),
            RSA_BITS.start(),
            RSA_BITS.end()
        )));
    }
    csr.verify_signature()
        .map_err(|_| problem(&"its signature does not match its key"))?;
    SubjectPublicKeyInfo::from_der(spki.raw)
        .map_err(|error| problem(&format!("unsupported kind of key ({error})")))
}
