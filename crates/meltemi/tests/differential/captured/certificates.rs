//! The certificates of a test: everybody's are from one authority.

use crate::common::tls;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, ServerConfig};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Who the proxies' clients are.
pub const PEER: &str = "spiffe://cluster.local/ns/default/sa/bookinfo-productpage";

pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// In PEM.
    pub certificate: String,
    /// Of the clients.
    peer: (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>),
}

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "captured");
        let certificate = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        let peer = pair(issue(&issuer, [PEER]));
        Self {
            issuer,
            certificate,
            peer,
        }
    }

    /// A certificate as Envoy's configuration gives it.
    pub fn secret(&self, name: &str) -> Value {
        let (certificate, key) = issue(&self.issuer, ["spiffe://cluster.local/ns/default/sa/own"]);
        json!({ "name": name, "tls_certificate": {
            "certificate_chain": { "inline_string": certificate.pem() },
            "private_key": { "inline_string": key.serialize_pem() },
        } })
    }

    /// For the services behind the proxies: any of these names, any application protocol
    /// that the proxies' clusters offer.
    pub fn server(&self, names: &BTreeSet<String>) -> ServerConfig {
        let own = ["services.test"];
        let (chain, key) = pair(issue(
            &self.issuer,
            names.iter().map(String::as_str).chain(own),
        ));
        let mut config = ServerConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        config.alpn_protocols = ["h2", "http/1.1", "istio-peer-exchange", "istio"]
            .map(|name| name.into())
            .to_vec();
        config
    }

    /// For a client, with a certificate for [`PEER`] or without.
    pub fn client(&self, certified: bool, protocols: &[String]) -> Arc<ClientConfig> {
        let builder = tls::trusting().unwrap();
        let mut config = match certified {
            true => {
                let (chain, key) = &self.peer;
                let chain = chain.clone();
                builder
                    .with_client_auth_cert(chain, key.clone_key())
                    .unwrap()
            }
            false => builder.with_no_client_auth(),
        };
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        Arc::new(config)
    }
}

/// A certificate for names, SPIFFE ids among them; and its key.
fn issue<'a>(
    issuer: &Issuer<'static, KeyPair>,
    names: impl IntoIterator<Item = &'a str>,
) -> (rcgen::Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let name = |name: &str| match name.contains("://") {
        true => SanType::URI(name.try_into().unwrap()),
        false => SanType::DnsName(name.try_into().unwrap()),
    };
    params.subject_alt_names = names.into_iter().map(name).collect();
    let certificate = params.signed_by(&key, issuer).unwrap();
    (certificate, key)
}

fn pair(
    (certificate, key): (rcgen::Certificate, KeyPair),
) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    (vec![certificate.der().clone()], key.into())
}
