//! Verification of the peer: the chain by webpki, then the names as Envoy's
//! `match_typed_subject_alt_names` does it (not the host name: mesh identities are URIs).

use super::identity::{self, San};
use super::known::KnownChains;
use crate::model::{Pin, SanKind, SanMatch, StringMatch};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Verifies clients.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    /// `None` looks at neither issuer nor names (Envoy without a trusted CA; names without one
    /// are refused in the configuration); the pins, and that the peer holds its key, are verified
    /// all the same.
    pub inner: Option<Arc<dyn ClientCertVerifier>>,
    /// `None`: every chain is verified anew.
    pub known: Option<KnownChains>,
    pub names: Vec<SanMatch>,
    pub pins: Vec<Pin>,
    pub mandatory: bool,
    pub algorithms: WebPkiSupportedAlgorithms,
}

/// Verifies servers.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    /// `None` takes any certificate.
    pub inner: Option<Arc<WebPkiServerVerifier>>,
    /// `None`: every chain is verified anew.
    pub known: Option<KnownChains>,
    pub names: Vec<SanMatch>,
    pub pins: Vec<Pin>,
    pub algorithms: WebPkiSupportedAlgorithms,
}

/// Verifies a chain unless it is known to be good.
fn verify_chain(
    known: Option<&KnownChains>,
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    now: UnixTime,
    verify: impl FnOnce() -> Result<(), Error>,
) -> Result<(), Error> {
    if known.is_some_and(|known| known.contains(leaf, intermediates, now)) {
        return Ok(());
    }
    verify()?;
    if let Some(known) = known {
        known.insert(leaf, intermediates);
    }
    Ok(())
}

fn verify_names(names: &[SanMatch], leaf: &CertificateDer<'_>) -> Result<(), Error> {
    if names.is_empty()
        || identity::any_name(leaf, |name| names.iter().any(|rule| matches(rule, name)))
    {
        Ok(())
    } else {
        Err(Error::InvalidCertificate(
            CertificateError::ApplicationVerificationFailure,
        ))
    }
}

/// The certificate has none of the pinned hashes.
#[derive(Debug, thiserror::Error)]
#[error("not pinned")]
pub(super) struct NotPinned;

fn verify_pins(pins: &[Pin], leaf: &CertificateDer<'_>) -> Result<(), Error> {
    if pins.is_empty() {
        return Ok(());
    }
    let certificate = Pin::Certificate(Sha256::digest(leaf).into());
    let key = X509Certificate::from_der(leaf)
        .ok()
        .map(|(_, leaf)| Pin::Key(Sha256::digest(leaf.public_key().raw).into()));
    match pins
        .iter()
        .any(|pin| *pin == certificate || Some(*pin) == key)
    {
        true => Ok(()),
        false => Err(Error::InvalidCertificate(CertificateError::Other(
            OtherError(Arc::new(NotPinned)),
        ))),
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner
            .as_ref()
            .map_or(&[], |inner| inner.root_hint_subjects())
    }

    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(inner) = &self.inner {
            verify_chain(self.known.as_ref(), leaf, intermediates, now, || {
                inner.verify_client_cert(leaf, intermediates, now).map(drop)
            })?;
            verify_names(&self.names, leaf)?;
        }
        verify_pins(&self.pins, leaf)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(inner) = &self.inner {
            use CertificateError::{NotValidForName, NotValidForNameContext};
            verify_chain(self.known.as_ref(), leaf, intermediates, now, || {
                match inner.verify_server_cert(leaf, intermediates, name, ocsp, now) {
                    // The host name is looked at last, when the chain is good; whose certificate
                    // it has to be is told by other names.
                    Err(Error::InvalidCertificate(
                        NotValidForName | NotValidForNameContext { .. },
                    )) => Ok(()),
                    verdict => verdict.map(drop),
                }
            })?;
            verify_names(&self.names, leaf)?;
        }
        verify_pins(&self.pins, leaf)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn matches(rule: &SanMatch, name: San<'_>) -> bool {
    let fits = |kind| rule.kind == SanKind::Any || rule.kind == kind;
    match name {
        San::Dns(dns) => {
            fits(SanKind::Dns)
                && (rule.value.matches(dns)
                    || matches!(&rule.value, StringMatch::Exact(wanted, _) if dns_matches(dns, wanted)))
        }
        San::Uri(uri) => fits(SanKind::Uri) && rule.value.matches(uri),
        San::Email(email) => fits(SanKind::Email) && rule.value.matches(email),
        San::Ip(ip) => fits(SanKind::Ip) && rule.value.matches(&ip.to_string()),
    }
}

/// A certificate's DNS name against a host name, without regard to case; `*.` stands for
/// exactly one label.
pub(super) fn dns_matches(certified: &str, host: &str) -> bool {
    match certified.strip_prefix("*.") {
        Some(parent) => host
            .split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(parent)),
        None => certified.eq_ignore_ascii_case(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(kind: SanKind, value: StringMatch) -> SanMatch {
        SanMatch { kind, value }
    }

    #[test]
    fn names_match_by_kind_and_pattern() {
        let spiffe = San::Uri("spiffe://cluster.local/ns/default/sa/reviews");
        let exact = |text: &str| StringMatch::Exact(text.into(), false);
        assert!(matches(
            &rule(
                SanKind::Any,
                exact("spiffe://cluster.local/ns/default/sa/reviews")
            ),
            spiffe
        ));
        assert!(!matches(
            &rule(
                SanKind::Dns,
                exact("spiffe://cluster.local/ns/default/sa/reviews")
            ),
            spiffe
        ));
        assert!(matches(
            &rule(
                SanKind::Uri,
                StringMatch::Prefix("spiffe://cluster.local/".into(), false)
            ),
            spiffe
        ));
        assert!(!matches(
            &rule(
                SanKind::Uri,
                StringMatch::Prefix("spiffe://cluster.local.evil/".into(), false)
            ),
            spiffe
        ));
        assert!(matches(
            &rule(
                SanKind::Uri,
                StringMatch::Suffix("/sa/reviews".into(), false)
            ),
            spiffe
        ));
        // As the compiler anchors them.
        let regex = |text: &str| meltemi_re2::full(text).unwrap();
        let whole = StringMatch::Regex(regex("spiffe://[^/]+/ns/default/sa/.*"));
        assert!(matches(&rule(SanKind::Uri, whole), spiffe));
        let part = StringMatch::Regex(regex("cluster"));
        assert!(!matches(&rule(SanKind::Uri, part), spiffe));
        assert!(matches(
            &rule(SanKind::Dns, exact("a.example.com")),
            San::Dns("*.Example.com")
        ));
        assert!(!matches(
            &rule(SanKind::Dns, exact("a.b.example.com")),
            San::Dns("*.example.com")
        ));
        assert!(!matches(
            &rule(SanKind::Dns, exact("example.com")),
            San::Dns("*.example.com")
        ));
        assert!(matches(
            &rule(SanKind::Ip, exact("10.0.0.1")),
            San::Ip([10, 0, 0, 1].into())
        ));
    }
}
