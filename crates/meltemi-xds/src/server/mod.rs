//! The ADS server: `envoy.service.discovery.v3.AggregatedDiscoveryService`, delta
//! and state of the world, in front of a [`ResourceSource`].
//!
//! What holds on every stream, as with istiod and go-control-plane:
//! * at most one unanswered response of each type; what changes meanwhile is
//!   sent after the answer, and only its newest state (back-pressure, and the
//!   bound on memory);
//! * a response goes out only when its content differs from what was sent last;
//!   what the client rejected is not repeated before it changes;
//! * types are pushed in [`PUSH_ORDER`](crate::type_url::PUSH_ORDER); changed
//!   listeners and routes wait (5 s at most) until the endpoints of the clusters
//!   in the same change are confirmed, and clusters are removed only after the
//!   listeners and routes are;
//! * after a reconnect, `initial_resource_versions` (delta) or `version_info`
//!   (state of the world) reduce the first answer to the difference.

mod bounded;
mod delta;
mod grpc;
mod peer;
mod protocol;
mod response;
mod serve;
mod sotw;
mod source;
mod stream;
mod warming;

#[cfg(test)]
mod tests;

use std::num::NonZeroUsize;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use grpc::SecretServer;
pub use peer::{PeerAddress, PeerCredentials, PeerInfo};
pub use protocol::MAX_NAMES;
pub use serve::{TlsSource, bind_unix, serve_tcp, serve_unix};
pub use source::{Ack, Nack, Push, ResourceSource};
pub use stream::MAX_TYPES;

use crate::wire;

/// The gRPC service; clones serve the same source. Give it to
/// [`tonic::service::Routes`], possibly beside other services, and the routes to
/// [`serve_unix`] or [`serve_tcp`].
pub struct AdsServer<S> {
    shared: Arc<stream::Shared<S>>,
}

impl<S: ResourceSource> AdsServer<S> {
    /// A server of the source's resources. `shutdown` ends all streams with `UNAVAILABLE`: the
    /// same token as stops the listeners, since they wait for streams to end.
    pub fn new(source: S, shutdown: CancellationToken) -> Self {
        // A thousand proxies that connect at once wait for their turn instead of competing for
        // the processors.
        let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self {
            shared: Arc::new(stream::Shared {
                source,
                generations: Arc::new(Semaphore::new(processors)),
                subscriptions: stream::Subscriptions::default(),
                shutdown,
            }),
        }
    }

    /// The source that is served.
    pub fn source(&self) -> &S {
        &self.shared.source
    }
}

impl<S> Clone for AdsServer<S> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

/// How responses identify the server; istiod's field for the same purpose holds
/// its version, which clients show in their status.
fn control_plane() -> Option<wire::ControlPlane> {
    Some(wire::ControlPlane {
        identifier: concat!("meltemi-", env!("CARGO_PKG_VERSION")).to_owned(),
    })
}
