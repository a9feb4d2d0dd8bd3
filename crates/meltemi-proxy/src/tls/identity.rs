//! What a certificate says about its holder, and the cache of it.

use crate::telemetry::TlsInfo;
use rustls::CommonState;
use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Peers whose certificate a worker remembers; the whole cache is dropped when it is full.
const CACHED: usize = 1024;

/// A certificate's names.
pub(super) struct Identity {
    pub uri: Option<Arc<str>>,
    pub dns: Vec<Arc<str>>,
    /// RFC 2253.
    pub subject: Arc<str>,
    /// SHA-256, lower-case hex.
    pub hash: Arc<str>,
    /// The certificate itself, shared by the connections that showed it.
    pub der: Arc<[u8]>,
    /// Seconds since 1970.
    pub not_after: i64,
}

/// A name out of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum San<'a> {
    Dns(&'a str),
    Uri(&'a str),
    Ip(IpAddr),
    Email(&'a str),
}

/// Calls `test` with each subject alternative name until it says yes.
pub(super) fn any_name(
    certificate: &CertificateDer<'_>,
    mut test: impl FnMut(San<'_>) -> bool,
) -> bool {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
        return false;
    };
    let Ok(Some(names)) = parsed.subject_alternative_name() else {
        return false;
    };
    names.value.general_names.iter().any(|name| match name {
        GeneralName::DNSName(dns) => test(San::Dns(dns)),
        GeneralName::URI(uri) => test(San::Uri(uri)),
        GeneralName::RFC822Name(email) => test(San::Email(email)),
        GeneralName::IPAddress(bytes) => address(bytes).is_some_and(|ip| test(San::Ip(ip))),
        _ => false,
    })
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(v4.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

pub(super) fn parse(certificate: &CertificateDer<'_>) -> Option<Identity> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let mut uri = None;
    let mut dns = Vec::new();
    any_name(certificate, |name| {
        match name {
            San::Uri(text) if uri.is_none() => uri = Some(Arc::from(text)),
            San::Dns(text) => dns.push(Arc::from(text)),
            _ => {}
        }
        false
    });
    let mut hash = String::with_capacity(64);
    for byte in Sha256::digest(certificate) {
        let _ = write!(hash, "{byte:02x}");
    }
    Some(Identity {
        uri,
        dns,
        subject: super::certificate::distinguished(parsed.subject()).into(),
        hash: hash.into(),
        der: certificate.as_ref().into(),
        not_after: parsed.validity().not_after.timestamp(),
    })
}

thread_local! {
    /// By the certificate's bytes: a hash would let a collision borrow an identity.
    static CACHE: RefCell<HashMap<Box<[u8]>, Rc<Identity>>> = RefCell::default();
}

fn cached(certificate: &CertificateDer<'_>) -> Option<Rc<Identity>> {
    CACHE.with_borrow_mut(|cache| {
        let bytes: &[u8] = certificate;
        if let Some(known) = cache.get(bytes) {
            return Some(known.clone());
        }
        let identity = Rc::new(parse(certificate)?);
        if cache.len() >= CACHED {
            cache.clear();
        }
        cache.insert(bytes.into(), identity.clone());
        Some(identity)
    })
}

/// What a finished handshake showed, and when the peer's certificate ends (seconds since
/// 1970).
pub(super) fn info(state: &CommonState) -> (TlsInfo, Option<i64>) {
    let mut info = TlsInfo {
        version: match state.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "unknown",
        },
        cipher: state
            .negotiated_cipher_suite()
            .map_or("unknown", |suite| super::suites::name(suite.suite())),
        alpn: state.alpn_protocol().map(Into::into),
        ..TlsInfo::default()
    };
    let chain = state.peer_certificates().unwrap_or_default();
    let peer = chain.first().and_then(cached);
    info.peer_chain = chain
        .iter()
        .filter_map(|certificate| Some(cached(certificate)?.der.clone()))
        .collect();
    let not_after = peer.as_ref().map(|peer| peer.not_after);
    if let Some(peer) = peer {
        info.peer_uri = peer.uri.clone();
        info.peer_dns = peer.dns.clone();
        info.peer_subject = Some(peer.subject.clone());
        info.peer_hash = Some(peer.hash.clone());
    }
    (info, not_after)
}
