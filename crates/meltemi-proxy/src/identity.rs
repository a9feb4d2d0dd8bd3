//! The workload's own certificate, where the process was given a credential: fetched from
//! the CA behind the ADS server's address, kept fresh, and handed to the configuration as
//! the secrets `default` and `ROOTCA`.

use crate::bootstrap::Bootstrap;
use crate::config::OwnSecrets;
use crate::tls::Secret;
use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::core::v3::address::Address;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use meltemi_identity::{
    CaEndpoint, Credential, WorkloadCertificates, WorkloadIdentity, WorkloadOptions,
};
use prost::Message;
use std::sync::Arc;
use tokio::sync::watch;

/// Starts fetching. Until the first certificate the receiver holds no secrets, and what
/// needs them waits.
///
/// # Errors
/// The bootstrap names no ADS server whose address could be the CA's.
pub(crate) fn start(
    bootstrap: &Bootstrap,
    credential: &str,
) -> Result<watch::Receiver<OwnSecrets>, String> {
    let endpoint = ca_endpoint(bootstrap)?;
    let options = WorkloadOptions::new(endpoint, Credential::Token(credential.into()));
    let (sender, receiver) = watch::channel(OwnSecrets::default());
    tokio::task::spawn_local(async move {
        let certificates = match WorkloadCertificates::start(options, None).await {
            Ok(certificates) => certificates,
            Err(error) => {
                tracing::error!(%error, "the workload gets no certificate: mutual TLS will fail");
                return;
            }
        };
        let mut identity = certificates.identity();
        loop {
            let secrets = secrets(&identity.borrow_and_update());
            // The configuration manager lives as long as the process.
            let _ = sender.send(secrets);
            if identity.changed().await.is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

fn secrets(identity: &WorkloadIdentity) -> OwnSecrets {
    OwnSecrets {
        certificate: Some(Arc::new(Secret::Certificate {
            chain: identity.chain.clone(),
            key: identity.key.clone_key(),
        })),
        trust: Some(Arc::new(Secret::Trust {
            roots: identity.roots.roots().to_vec(),
        })),
    }
}

/// The first endpoint of the cluster that ADS uses: in Istio, too, the CA is where the
/// control plane is.
fn ca_endpoint(bootstrap: &Bootstrap) -> Result<CaEndpoint, String> {
    let ads = bootstrap
        .ads
        .as_ref()
        .ok_or("a credential was given, but the bootstrap has no ads_config: the CA's address is the ADS server's")?;
    let address = bootstrap
        .clusters
        .iter()
        .filter_map(|bytes| Cluster::decode(bytes.as_ref()).ok())
        .find(|cluster| cluster.name == ads.cluster)
        .and_then(|cluster| cluster.load_assignment)
        .into_iter()
        .flat_map(|assignment| assignment.endpoints)
        .flat_map(|locality| locality.lb_endpoints)
        .find_map(|endpoint| match endpoint.host_identifier? {
            HostIdentifier::Endpoint(endpoint) => endpoint.address?.address,
            HostIdentifier::EndpointName(_) => None,
        });
    match address {
        Some(Address::Pipe(pipe)) => Ok(CaEndpoint::Unix(pipe.path.into())),
        Some(Address::SocketAddress(socket)) => match socket.port_specifier {
            Some(PortSpecifier::PortValue(port)) => Ok(CaEndpoint::Tcp {
                address: format!("{}:{port}", socket.address),
                tls: None,
            }),
            _ => Err(format!(
                "cluster `{}`: the CA needs a port number",
                ads.cluster
            )),
        },
        _ => Err(format!(
            "cluster `{}` has no endpoint of its own: the CA's address is unknown",
            ads.cluster
        )),
    }
}
