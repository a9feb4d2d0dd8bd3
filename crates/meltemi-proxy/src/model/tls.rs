//! TLS contexts. The rustls configuration inside is replaced when a secret rotates,
//! without touching the listener or cluster that uses it.

use super::StringMatch;
use arc_swap::ArcSwapOption;
use std::sync::Arc;

/// A `DownstreamTlsContext`.
pub struct ServerTls {
    pub requires_client_cert: bool,
    /// `None` until every secret it names has arrived: handshakes are refused until then.
    pub config: ArcSwapOption<rustls::ServerConfig>,
    pub spec: ServerTlsSpec,
}

pub struct ServerTlsSpec {
    pub common: CommonTls,
    /// Session tickets off (`disable_stateless_session_resumption`).
    pub stateless_resumption: bool,
    pub staple_policy: StaplePolicy,
}

/// When a certificate is shown without a valid OCSP response to a client that asks for one
/// (`ocsp_staple_policy`). A certificate with the must-staple extension follows `Must`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StaplePolicy {
    /// Always.
    #[default]
    Lenient,
    /// Unless it has one that is over.
    Strict,
    /// Never, and a context with a certificate without one is refused.
    Must,
}

/// An `UpstreamTlsContext`.
pub struct ClientTls {
    /// `None` until every secret it names has arrived: connections fail until then.
    pub config: ArcSwapOption<ClientTlsConfigs>,
    pub sni: Option<Box<str>>,
    pub auto_sni: bool,
    /// The server's certificate must be for the name that `auto_sni` sends
    /// (`auto_san_validation`).
    pub auto_san: bool,
    pub spec: CommonTls,
}

/// One rustls configuration an ALPN list: they differ in nothing else.
pub struct ClientTlsConfigs {
    /// Increases when a certificate or trust bundle changes: older pooled connections
    /// stay in use, session resumption across generations does not.
    pub generation: u64,
    /// The context's own ALPN list.
    pub own: Arc<rustls::ClientConfig>,
    /// For HTTP: the same, or the protocol's own names where the context lists none (Envoy's
    /// fallback).
    pub plain_http11: Arc<rustls::ClientConfig>,
    pub plain_http2: Arc<rustls::ClientConfig>,
    pub plain_either: Arc<rustls::ClientConfig>,
    /// Istio's override lists (`istio.alpn`), when a filter names them.
    pub istio_http11: Arc<rustls::ClientConfig>,
    pub istio_http2: Arc<rustls::ClientConfig>,
}

pub struct CommonTls {
    pub alpn: Vec<Vec<u8>>,
    /// Secret names in use, inline ones have a generated name.
    pub certificates: Vec<Box<str>>,
    pub validation: Validation,
    pub min_version: TlsVersion,
    pub max_version: TlsVersion,
    /// OpenSSL names as configured, empty: defaults.
    pub cipher_suites: Vec<Box<str>>,
    /// Key exchange groups by BoringSSL's names, the preferred first; empty: defaults.
    pub curves: Vec<Box<str>>,
}

#[derive(Default)]
pub struct Validation {
    /// Secret that holds the trust bundle; `None` verifies nothing (as Envoy without a
    /// validation context).
    pub trust: Option<Box<str>>,
    /// Any of them must match (`match_typed_subject_alt_names`); empty accepts all.
    pub names: Vec<SanMatch>,
    /// Any of them must be the certificate's; empty accepts all.
    pub pins: Vec<Pin>,
    pub accept_untrusted: bool,
}

/// SHA-256 of what the peer's certificate has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pin {
    /// Of the whole certificate in DER (`verify_certificate_hash`).
    Certificate([u8; 32]),
    /// Of its SubjectPublicKeyInfo in DER (`verify_certificate_spki`).
    Key([u8; 32]),
}

#[derive(Clone, Debug)]
pub struct SanMatch {
    pub kind: SanKind,
    pub value: StringMatch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SanKind {
    Any,
    Dns,
    Uri,
    Ip,
    Email,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    V1_2,
    V1_3,
}
