//! SPIFFE ids as Istio forms them, and reading them from certificates.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Longest id (SPIFFE ID specification §2.3).
const MAX_ID_BYTES: usize = 2048;
/// Longest trust domain (SPIFFE ID specification §2.1).
const MAX_TRUST_DOMAIN_BYTES: usize = 255;
/// Longest namespace: a DNS label.
const MAX_NAMESPACE_BYTES: usize = 63;
/// Longest service account name: a DNS subdomain.
const MAX_SERVICE_ACCOUNT_BYTES: usize = 253;

/// Why something is no SPIFFE id of a workload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpiffeError {
    /// Not of Istio's form.
    #[error("{0:?} is not of the form spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT")]
    Form(String),
    /// A part is empty, too long, or has a character it must not have.
    #[error("{part} {value:?} must be 1 to {limit} characters of {allowed}")]
    Part {
        /// Which part.
        part: &'static str,
        /// What it is.
        value: String,
        /// Longest allowed.
        limit: usize,
        /// Allowed characters.
        allowed: &'static str,
    },
    /// The certificate cannot be parsed.
    #[error("malformed certificate: {0}")]
    Certificate(String),
    /// An X.509-SVID has exactly one URI (X.509-SVID §2).
    #[error("the certificate has {0} URI names, a workload's has exactly one")]
    Uris(usize),
}

/// The name of a mesh's realm of trust, `cluster.local` unless configured.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrustDomain(Arc<str>);

impl TrustDomain {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TrustDomain {
    /// Istio's default.
    fn default() -> Self {
        Self(Arc::from("cluster.local"))
    }
}

impl FromStr for TrustDomain {
    type Err = SpiffeError;

    fn from_str(text: &str) -> Result<Self, SpiffeError> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b);
        check(
            "trust domain",
            text,
            MAX_TRUST_DOMAIN_BYTES,
            "a-z, 0-9, '-', '.' and '_'",
            allowed,
        )?;
        Ok(Self(text.into()))
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The identity of a workload: `spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpiffeId {
    trust_domain: TrustDomain,
    namespace: Arc<str>,
    service_account: Arc<str>,
}

impl SpiffeId {
    /// The id of a service account.
    ///
    /// # Errors
    /// When namespace or account are not the names Kubernetes would allow.
    pub fn new(
        trust_domain: TrustDomain,
        namespace: &str,
        service_account: &str,
    ) -> Result<Self, SpiffeError> {
        let label = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        check(
            "namespace",
            namespace,
            MAX_NAMESPACE_BYTES,
            "a-z, 0-9 and '-'",
            label,
        )?;
        check(
            "service account",
            service_account,
            MAX_SERVICE_ACCOUNT_BYTES,
            "a-z, 0-9, '-' and '.'",
            |b| label(b) || b == b'.',
        )?;
        Ok(Self {
            trust_domain,
            namespace: namespace.into(),
            service_account: service_account.into(),
        })
    }

    /// The realm the id belongs to.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The workload's namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The workload's service account.
    pub fn service_account(&self) -> &str {
        &self.service_account
    }
}

impl FromStr for SpiffeId {
    type Err = SpiffeError;

    fn from_str(text: &str) -> Result<Self, SpiffeError> {
        let form = || SpiffeError::Form(text.chars().take(200).collect());
        if text.len() > MAX_ID_BYTES {
            return Err(form());
        }
        let path = text.strip_prefix("spiffe://").ok_or_else(form)?;
        let mut parts = path.split('/');
        let mut next = || parts.next().ok_or_else(form);
        let (domain, ns, namespace, sa, account) = (next()?, next()?, next()?, next()?, next()?);
        if ns != "ns" || sa != "sa" || parts.next().is_some() {
            return Err(form());
        }
        Self::new(domain.parse()?, namespace, account)
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "spiffe://{}/ns/{}/sa/{}",
            self.trust_domain, self.namespace, self.service_account
        )
    }
}

fn check(
    part: &'static str,
    value: &str,
    limit: usize,
    allowed: &'static str,
    accepts: impl Fn(u8) -> bool,
) -> Result<(), SpiffeError> {
    if value.is_empty() || value.len() > limit || !value.bytes().all(accepts) {
        return Err(SpiffeError::Part {
            part,
            value: value.chars().take(300).collect(),
            limit,
            allowed,
        });
    }
    Ok(())
}

/// The id in a certificate's subject alternative names. Whether the certificate
/// can be trusted is another question.
///
/// # Errors
/// When it has none, several, or one that is not of Istio's form.
pub fn spiffe_id_of(certificate: &[u8]) -> Result<SpiffeId, SpiffeError> {
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|error| SpiffeError::Certificate(error.to_string()))?;
    let names = parsed
        .subject_alternative_name()
        .map_err(|error| SpiffeError::Certificate(error.to_string()))?;
    let uris: Vec<&str> = names
        .iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })
        .collect();
    match uris[..] {
        [uri] => uri.parse(),
        _ => Err(SpiffeError::Uris(uris.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_written() {
        let text = "spiffe://cluster.local/ns/default/sa/bookinfo-reviews";
        let id: SpiffeId = text.parse().unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(id.namespace(), "default");
        assert_eq!(id.service_account(), "bookinfo-reviews");
        assert_eq!(id.trust_domain().as_str(), "cluster.local");
    }

    #[test]
    fn other_forms_are_refused() {
        let long = format!("spiffe://td/ns/{}/sa/x", "n".repeat(64));
        for text in [
            "",
            "spiffe://",
            "spiffe://td",
            "https://td/ns/a/sa/b",
            "spiffe://td/ns/a/sa/b/c",
            "spiffe://td/ns/a/sa/",
            "spiffe://td/ns//sa/b",
            "spiffe:///ns/a/sa/b",
            "spiffe://TD/ns/a/sa/b",
            "spiffe://td/ns/a%2f/sa/b",
            "spiffe://td/ns/../sa/b",
            "spiffe://td/namespace/a/sa/b",
            "spiffe://td:80/ns/a/sa/b",
            "spiffe://user@td/ns/a/sa/b",
            "spiffe://td/ns/a/sa/b?x",
            &long,
        ] {
            assert!(text.parse::<SpiffeId>().is_err(), "{text:?} was accepted");
        }
    }
}
