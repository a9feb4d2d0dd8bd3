//! The workload's own certificate, where the process was given a credential: fetched from
//! the CA behind the ADS server's address, kept fresh, and handed to the configuration as
//! the secrets `default` and `ROOTCA`.

use crate::bootstrap::Bootstrap;
use crate::config::OwnSecrets;
use crate::tls::Secret;
use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::core::v3::address::Address;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::transport_socket::ConfigType;
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::UpstreamTlsContext;
use meltemi_identity::{
    CaEndpoint, Credential, WorkloadCertificates, WorkloadIdentity, WorkloadOptions,
};
use prost::{Message, Name};
use rustls_pki_types::ServerName;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::watch;

/// Starts fetching. Until the first certificate the receiver holds no secrets, and what
/// needs them waits.
///
/// # Errors
/// The bootstrap names no ADS server whose address could be the CA's, or the way there is not
/// safe for a credential.
pub(crate) fn start(
    bootstrap: &Bootstrap,
    credential: Credential,
    roots: Option<&Path>,
) -> Result<watch::Receiver<OwnSecrets>, String> {
    let options = WorkloadOptions::new(ca_endpoint(bootstrap, roots)?, credential);
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
            staple: None,
        })),
        trust: Some(Arc::new(Secret::Trust {
            roots: identity.roots.roots().to_vec(),
            revocation: None,
        })),
    }
}

/// The first endpoint of the cluster that ADS uses: in Istio, too, the CA is where the
/// control plane is.
fn ca_endpoint(bootstrap: &Bootstrap, roots: Option<&Path>) -> Result<CaEndpoint, String> {
    let ads = bootstrap
        .ads
        .as_ref()
        .ok_or("a credential was given, but the bootstrap has no ads_config: the CA's address is the ADS server's")?;
    let problem = |text: &str| format!("cluster `{}`: {text}", ads.cluster);
    let cluster = bootstrap
        .clusters
        .iter()
        .filter_map(|bytes| Cluster::decode(bytes.as_ref()).ok())
        .find(|cluster| cluster.name == ads.cluster)
        .ok_or_else(|| problem("is not among the static clusters"))?;
    let sni = sni(&cluster).map_err(|error| problem(&error))?;
    let address = cluster
        .load_assignment
        .into_iter()
        .flat_map(|assignment| assignment.endpoints)
        .flat_map(|locality| locality.lb_endpoints)
        .find_map(|endpoint| match endpoint.host_identifier? {
            HostIdentifier::Endpoint(endpoint) => endpoint.address?.address,
            HostIdentifier::EndpointName(_) => None,
        });
    let socket = match address {
        Some(Address::Pipe(pipe)) => return Ok(CaEndpoint::Unix(pipe.path.into())),
        Some(Address::SocketAddress(socket)) => socket,
        _ => {
            return Err(problem(
                "has no endpoint of its own: the CA's address is unknown",
            ));
        }
    };
    let Some(PortSpecifier::PortValue(port)) = socket.port_specifier else {
        return Err(problem("the CA needs a port number"));
    };
    let name = sni
        .ok_or_else(|| {
            problem("a credential is not sent in plain text: give it a transport_socket with TLS")
        })
        .map(|sni| {
            if sni.is_empty() {
                socket.address.clone()
            } else {
                sni
            }
        })?;
    let roots = roots.ok_or_else(|| {
        problem(
            "it is reached by TLS: name a file with the mesh's root certificate, --root-cert FILE",
        )
    })?;
    Ok(CaEndpoint::Tls {
        address: format!("{}:{port}", socket.address),
        server_name: ServerName::try_from(name.clone())
            .map_err(|_| problem(&format!("{name:?} is not a server name")))?,
        roots: roots.to_owned(),
    })
}

/// The server name of a cluster's TLS context, empty when it names none; `None` without TLS.
fn sni(cluster: &Cluster) -> Result<Option<String>, String> {
    let Some(ConfigType::TypedConfig(config)) = cluster
        .transport_socket
        .as_ref()
        .and_then(|socket| socket.config_type.as_ref())
    else {
        return Ok(None);
    };
    if !config.type_url.ends_with(&UpstreamTlsContext::full_name()) {
        return Ok(None);
    }
    UpstreamTlsContext::decode(config.value.as_slice())
        .map(|context| Some(context.sni))
        .map_err(|error| format!("transport_socket: {error}"))
}
