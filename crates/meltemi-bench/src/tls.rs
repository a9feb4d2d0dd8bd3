//! The client's side of mutual TLS: version 1.3, X25519, no resumption, so that every proxy
//! has the same handshake to make.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

/// From `ca.pem`, `leaf.pem` and `leaf.key` of `directory`.
pub(crate) fn client(directory: &Path) -> Result<Arc<ClientConfig>> {
    let certificates = |name| -> Result<Vec<CertificateDer>> {
        let path = directory.join(name);
        CertificateDer::pem_file_iter(&path)
            .and_then(Iterator::collect)
            .with_context(|| format!("{}", path.display()))
    };
    let mut roots = RootCertStore::empty();
    for root in certificates("ca.pem")? {
        roots.add(root)?;
    }
    let key = PrivateKeyDer::from_pem_file(directory.join("leaf.key")).context("leaf.key")?;
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(certificates("leaf.pem")?, key)?;
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// A connection's session, not begun yet.
pub(crate) fn session(config: &Arc<ClientConfig>) -> Result<ClientConnection> {
    Ok(ClientConnection::new(
        config.clone(),
        "localhost".try_into()?,
    )?)
}
