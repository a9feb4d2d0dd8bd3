//! What a proxy is served: the World, translated for it.

use super::proxies::{Connection, lock};
use super::state::State;
use crate::issue::Issue;
use crate::proxy::Proxy;
use crate::translate::translate;
use envoy_types::pb::envoy::config::core::v3::Node;
use meltemi_identity::LocalCredentials;
use meltemi_xds::server::{Ack, Nack, PeerAddress, PeerInfo, Push, ResourceSource};
use meltemi_xds::{ResourceSet, Subscription, type_url};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tokio::sync::watch;
use tonic::Status;

/// A World translated for one proxy.
#[derive(Clone)]
pub(super) struct Cached {
    pub generation: u64,
    pub sets: Arc<HashMap<&'static str, ResourceSet>>,
    pub issues: Arc<[Issue]>,
}

#[derive(Clone)]
pub(super) struct Source {
    state: Arc<State>,
    credentials: Option<LocalCredentials>,
}

impl Source {
    pub fn new(state: Arc<State>, credentials: Option<LocalCredentials>) -> Self {
        Self { state, credentials }
    }

    /// A proxy may only claim to be the workload that its credential or certificate names.
    // A tonic::Status is large; this happens once a stream.
    #[allow(clippy::result_large_err)]
    fn authenticate(&self, proxy: &Proxy, peer: &PeerInfo) -> Result<(), Status> {
        let (namespace, account) = match &peer.address {
            PeerAddress::Unix(credentials) => {
                let known = self.credentials.as_ref().ok_or_else(|| {
                    Status::unauthenticated("this control plane knows no local workloads")
                })?;
                let pid = credentials.and_then(|credentials| credentials.pid);
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
            PeerAddress::Tcp(_) => match &peer.spiffe_id {
                Some(id) => {
                    let id: meltemi_identity::SpiffeId = id
                        .parse()
                        .map_err(|error| Status::unauthenticated(format!("{error}")))?;
                    (id.namespace().to_owned(), id.service_account().to_owned())
                }
                // The plaintext port trusts whom the operator lets reach it, as Istio's 15010.
                None => return Ok(()),
            },
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

    /// The proxy's resources in the World in force, translated once a generation.
    pub fn generated(&self, connection: &Connection) -> Cached {
        generated(&self.state, connection)
    }
}

/// As [`Source::generated`].
pub(super) fn generated(state: &State, connection: &Connection) -> Cached {
    let mut cache = lock(&connection.cache);
    let world = state.world();
    if let Some(cached) = &*cache
        && cached.generation >= world.generation
    {
        return cached.clone();
    }
    let translated = catch_unwind(AssertUnwindSafe(|| translate(&world, &connection.proxy)));
    let next = match (translated, &*cache) {
        (Ok(generated), _) => Cached {
            generation: world.generation,
            issues: generated.issues.clone().into(),
            sets: Arc::new(generated.encode()),
        },
        (Err(_), last) => {
            tracing::error!(
                proxy = connection.proxy.id,
                "the configuration could not be translated for this proxy because of a defect \
                 in Meltemi; what it has stays in force. Please report the panic logged above"
            );
            let last = last.clone();
            Cached {
                generation: world.generation,
                sets: last
                    .as_ref()
                    .map(|last| last.sets.clone())
                    .unwrap_or_default(),
                issues: last.map(|last| last.issues).unwrap_or_else(|| [].into()),
            }
        }
    };
    for issue in next.issues.iter() {
        tracing::debug!(proxy = connection.proxy.id, object = %issue.object, field = issue.field, "{}", issue.message);
    }
    *cache = Some(next.clone());
    next
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
        let generated = self.generated(connection);
        connection.compared(type_url, generated.generation);
        generated.sets.get(type_url).cloned().unwrap_or_default()
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
        connection.rejected(nack.type_url, nack.version, nack.message);
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
