//! TLS on both sides of the proxy: rustls (aws-lc-rs only) configurations from secrets,
//! verification of the peer's names as Envoy does it, and what the peer showed.

pub(crate) mod certificate;
mod client_hello;
mod config;
mod drive;
mod error;
mod handshake;
mod identity;
mod known;
mod sessions;
mod staple;
mod suites;
mod verify;

pub use client_hello::{TlsVerdict, client_hello};
pub(crate) use config::{ISTIO_HTTP2, ISTIO_HTTP11};
pub use config::{Lookup, client_configs, server_config};
pub use error::TlsError;
pub(crate) use error::verdict;
pub(crate) use handshake::HANDSHAKE;
pub use handshake::{AlpnChoice, accept, connect};
pub use staple::{Action as StapleAction, Staple};
pub(crate) use suites::number as suite_number;

use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

/// What SDS, a file or the bootstrap delivered under one name.
pub enum Secret {
    Certificate {
        /// Leaf first.
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        /// An OCSP response about the leaf (`ocsp_staple`).
        staple: Option<Staple>,
    },
    Trust {
        roots: Vec<CertificateDer<'static>>,
        /// `None`: revocation is not checked.
        revocation: Option<Revocation>,
    },
}

/// What certificates are no longer good (`crl`). Each issuer in a chain needs a list that is
/// in force, as in Envoy.
pub struct Revocation {
    pub lists: Vec<CertificateRevocationListDer<'static>>,
    /// Only the peer's own certificate is looked up (`only_verify_leaf_cert_crl`).
    pub only_leaf: bool,
}

#[cfg(test)]
mod interop_tests;
#[cfg(test)]
mod tests;
