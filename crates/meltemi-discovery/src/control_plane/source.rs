//! What a proxy is served: the World, translated for it.

use super::culprits::culprits;
use super::lock::lock;
use super::proxies::{Connection, Rejection};
use super::state::State;
use crate::proxy::Proxy;
use envoy_types::pb::envoy::config::core::v3::Node;
use meltemi_identity::LocalCredentials;
use meltemi_xds::server::{Ack, Nack, PeerAddress, PeerInfo, Push, ResourceSource};
use meltemi_xds::{ResourceSet, Subscription, type_url};
use std::sync::Arc;
use tokio::sync::watch;
use tonic::Status;

/// By what a proxy proves which workload it is.
#[derive(Clone)]
pub(super) enum Proof {
    /// A process on this machine with a one-time credential; `None`: nobody is known.
    Credential(Option<LocalCredentials>),
    /// A certificate of the mesh's CA.
    Certificate,
    /// Nothing: whoever can reach the plaintext port is trusted, as with Istio's 15010.
    Nothing,
}

#[derive(Clone)]
pub(super) struct Source {
    state: Arc<State>,
    proof: Proof,
}

impl Source {
    pub fn new(state: Arc<State>, proof: Proof) -> Self {
        Self { state, proof }
    }

    /// A proxy may only claim to be the workload that its credential or certificate names.
    // A tonic::Status is large; this happens once a stream.
    #[allow(clippy::result_large_err)]
    fn authenticate(&self, proxy: &Proxy, peer: &PeerInfo) -> Result<(), Status> {
        let (namespace, account) = match &self.proof {
            Proof::Nothing => return Ok(()),
            Proof::Credential(known) => {
                let known = known.as_ref().ok_or_else(|| {
                    Status::unauthenticated("this control plane knows no local workloads")
                })?;
                let pid = match &peer.address {
                    PeerAddress::Unix(credentials) => credentials.and_then(|peer| peer.pid),
                    PeerAddress::Tcp(_) => None,
                };
                let (Some(pid), Some(token)) = (pid, peer.bearer_token()) else {
                    return Err(Status::unauthenticated(
                        "a credential is missing: start the proxy through `meltemi up` or `meltemi run`",
                    ));
                };
                let workload = known
                    .identify(pid, token)
                    .map_err(|refusal| Status::unauthenticated(refusal.0))?;
                (workload.namespace, workload.service_account)
            }
            Proof::Certificate => {
                let id = peer.spiffe_id.as_ref().ok_or_else(|| {
                    Status::unauthenticated(
                        "a client certificate of the mesh's CA with a SPIFFE id is required",
                    )
                })?;
                let id: meltemi_identity::SpiffeId = id
                    .parse()
                    .map_err(|error| Status::unauthenticated(format!("{error}")))?;
                (id.namespace().to_owned(), id.service_account().to_owned())
            }
        };
        if proxy.namespace != namespace
            || !(proxy.service_account.is_empty() || proxy.service_account == account)
        {
            return Err(Status::permission_denied(format!(
                "node {} claims namespace {} and service account {}, but its identity is {account} in {namespace}",
                proxy.id, proxy.namespace, proxy.service_account
            )));
        }
        Ok(())
    }
}

impl ResourceSource for Source {
    type Proxy = Arc<Connection>;

    fn connect(&self, node: &Node, peer: &PeerInfo) -> Result<Self::Proxy, Status> {
        let proxy =
            Proxy::from_node(node).map_err(|error| Status::invalid_argument(error.to_string()))?;
        self.authenticate(&proxy, peer).inspect_err(|status| {
            tracing::warn!(proxy = proxy.id, "refused: {}", status.message());
        })?;
        tracing::info!(proxy = proxy.id, "connected");
        Ok(self.state.proxies.add(proxy))
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.state.watch()
    }

    fn resources(
        &self,
        connection: &Self::Proxy,
        type_url: &str,
        _subscription: &Subscription,
    ) -> ResourceSet {
        let served = self.state.served(connection);
        connection.compared(type_url, served.generation);
        served
            .translated
            .sets
            .get(type_url)
            .cloned()
            .unwrap_or_default()
    }

    fn on_push(&self, connection: &Self::Proxy, push: &Push<'_>) {
        connection.sent(push.type_url, push.version);
        tracing::debug!(
            proxy = connection.proxy.id,
            kind = type_url::short_name(push.type_url),
            resources = push.resources,
            removed = push.removed,
            bytes = push.bytes,
            "pushed"
        );
    }

    fn on_ack(&self, connection: &Self::Proxy, ack: &Ack<'_>) {
        connection.acknowledged(ack.type_url, ack.version);
    }

    fn on_nack(&self, connection: &Self::Proxy, nack: &Nack<'_>) {
        let served = lock(&connection.served).clone();
        let set = served
            .as_ref()
            .and_then(|served| served.translated.sets.get(nack.type_url));
        let world = self.state.world();
        let names = nack.resource_names;
        let objects = set.map(|set| culprits(&world, nack.type_url, set, names, nack.message));
        let rejection = Rejection {
            kind: type_url::short_name(nack.type_url).to_owned(),
            message: nack.message.to_owned(),
            objects: objects.unwrap_or_default(),
        };
        connection.rejected(nack.type_url, nack.version, rejection);
        tracing::warn!(
            proxy = connection.proxy.id,
            kind = type_url::short_name(nack.type_url),
            "the proxy refused its configuration: {}",
            nack.message
        );
    }

    fn disconnected(&self, connection: &Self::Proxy) {
        tracing::info!(proxy = connection.proxy.id, "disconnected");
        self.state.proxies.remove(connection);
    }
}
