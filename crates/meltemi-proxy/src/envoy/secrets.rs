//! The workload's own certificate and the mesh's roots, as the SDS secrets `default` and
//! `ROOTCA`: Istio's names for them.

use crate::config::OwnSecrets;
use crate::tls::{Revocation, Secret};
use arc_swap::ArcSwap;
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::config::core::v3::{DataSource, Node};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    self as pb, CertificateValidationContext, TlsCertificate,
};
use meltemi_identity::pem;
use meltemi_xds::server::PeerInfo;
use meltemi_xds::{Resource, ResourceSet, ResourceSource, Subscription, type_url};
use rustls_pki_types::PrivateKeyDer;
use std::sync::Arc;
use tokio::sync::watch;
use tonic::Status;

const WORKLOAD: &str = "default";
const ROOTS: &str = "ROOTCA";

pub struct Source {
    secrets: Arc<ArcSwap<ResourceSet>>,
    version: watch::Sender<u64>,
}

impl Source {
    /// Follows the workload's identity for as long as it is renewed.
    pub fn start(mut own: watch::Receiver<OwnSecrets>) -> Self {
        let secrets = Arc::new(ArcSwap::from_pointee(encoded(&own.borrow_and_update())));
        let version = watch::Sender::new(0);
        let (current, changes) = (secrets.clone(), version.clone());
        tokio::spawn(async move {
            while own.changed().await.is_ok() {
                current.store(Arc::new(encoded(&own.borrow_and_update())));
                changes.send_modify(|version| *version += 1);
            }
        });
        Self { secrets, version }
    }
}

impl ResourceSource for Source {
    type Proxy = ();

    /// Whoever may open the socket is the workload's proxy.
    fn connect(&self, _: &Node, _: &PeerInfo) -> Result<(), Status> {
        Ok(())
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    fn resources(&self, _: &(), type_url: &str, _: &Subscription) -> ResourceSet {
        match type_url {
            type_url::SECRET => ResourceSet::clone(&self.secrets.load()),
            _ => ResourceSet::default(),
        }
    }
}

fn encoded(own: &OwnSecrets) -> ResourceSet {
    let both = [(WORKLOAD, &own.certificate), (ROOTS, &own.trust)];
    both.into_iter()
        .filter_map(|(name, secret)| Some(resource(name, secret.as_deref()?)))
        .collect()
}

fn resource(name: &str, secret: &Secret) -> Resource {
    let content = match secret {
        Secret::Certificate { chain, key, staple } => {
            let label = match key {
                PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
                PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
                _ => "PRIVATE KEY",
            };
            pb::secret::Type::TlsCertificate(TlsCertificate {
                certificate_chain: inline(
                    chain.iter().map(|one| pem("CERTIFICATE", one)).collect(),
                ),
                private_key: inline(pem(label, key.secret_der())),
                ocsp_staple: staple.as_ref().map(|staple| DataSource {
                    specifier: Some(Specifier::InlineBytes(staple.response.clone())),
                    ..Default::default()
                }),
                ..Default::default()
            })
        }
        Secret::Trust { roots, revocation } => {
            let lists = |revocation: &Revocation| {
                let lists = revocation.lists.iter();
                inline(lists.map(|list| pem("X509 CRL", list)).collect())
            };
            pb::secret::Type::ValidationContext(CertificateValidationContext {
                trusted_ca: inline(roots.iter().map(|one| pem("CERTIFICATE", one)).collect()),
                crl: revocation.as_ref().and_then(lists),
                only_verify_leaf_cert_crl: revocation.as_ref().is_some_and(|r| r.only_leaf),
                ..Default::default()
            })
        }
    };
    let message = pb::Secret {
        name: name.to_owned(),
        r#type: Some(content),
    };
    Resource::encode(name, &message)
}

fn inline(text: String) -> Option<DataSource> {
    Some(DataSource {
        specifier: Some(Specifier::InlineString(text)),
        ..Default::default()
    })
}
