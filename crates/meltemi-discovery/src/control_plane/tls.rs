//! The control plane's own certificate, renewed before it expires and when the CA changes.

use super::lock::lock;
use meltemi_identity::Authority;
use meltemi_xds::server::TlsSource;
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

/// Names that proxies expect (Istio's istiod service and ours on this machine).
const NAMES: [&str; 4] = [
    "istiod.istio-system.svc",
    "istiod.istio-system.svc.cluster.local",
    "istiod.istio-system",
    "localhost",
];
const LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// Renewed when less than this is left.
const MARGIN: Duration = Duration::from_secs(6 * 3600);

/// TLS for each connection: a certificate of our own CA; clients may show theirs.
///
/// # Errors
/// When no certificate can be made now. Later failures keep the last one and are logged.
pub(super) fn source(authority: &Arc<Authority>) -> Result<TlsSource, String> {
    let current = Mutex::new(configuration(authority)?);
    let authority = authority.clone();
    Ok(Arc::new(move || {
        let mut current = lock(&current);
        let due = current.not_after < SystemTime::now() + MARGIN;
        if due || current.generation != authority.generation() {
            match configuration(&authority) {
                Ok(next) => *current = next,
                Err(error) => tracing::error!("the control plane's certificate: {error}"),
            }
        }
        current.config.clone()
    }))
}

/// A configuration, and how long it is good.
struct Current {
    config: Arc<ServerConfig>,
    not_after: SystemTime,
    /// The authority's, when it was made.
    generation: u64,
}

fn configuration(authority: &Authority) -> Result<Current, String> {
    // Before what is made of it: a change in between makes another one.
    let generation = authority.generation();
    let certificate = authority
        .serving_certificate(&NAMES.map(str::to_owned), LIFETIME)
        .map_err(|error| error.to_string())?;
    let mut roots = RootCertStore::empty();
    for root in authority.roots().roots() {
        roots.add(root.clone()).map_err(|error| error.to_string())?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(|error| error.to_string())?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificate.chain, certificate.key)
        .map_err(|error| error.to_string())?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Current {
        config: Arc::new(config),
        not_after: certificate.not_after,
        generation,
    })
}
