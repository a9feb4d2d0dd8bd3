//! The configuration manager: static resources and ADS in, compiled snapshots out.
//!
//! One task on the main thread's runtime owns all configuration. It decodes and compiles
//! what arrives, keeps the last good version of whatever is broken, warms listeners and
//! clusters until what they need is there, and publishes a new [`Snapshot`] at most once
//! per received batch. Workers and the admin API only read.

mod ads;
mod clusters;
mod counters;
mod dns;
pub mod dump;
mod endpoints;
mod handle;
mod listeners;
mod manager;
mod record;
mod routes;
mod sds;
mod secrets;
mod state;
mod status;
mod subsets;
mod tables;
mod unbound;
mod virtual_hosts;

pub use dump::Query;
pub use handle::{Handle, Readiness};
pub use manager::{Manager, name_of};
pub use record::{Failure, Kind, Record, State};
pub use secrets::OWN_CERTIFICATE;
pub(crate) use status::seconds_left;
pub use unbound::Probe;

use crate::model::Snapshot;
use crate::tls;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// What the process adds to its bootstrap.
#[derive(Default)]
pub struct Options {
    /// The workload's own certificate and trust bundle, which answer for the secrets
    /// `default` and `ROOTCA`; all other secrets then come by ADS or from files, as they do
    /// through Istio's agent. `None`: secrets are fetched as the configuration says (SDS).
    pub identity: Option<watch::Receiver<OwnSecrets>>,
    /// Gives the `authorization` header of the ADS stream (`Bearer ...`).
    pub authorization: Option<meltemi_xds::client::Authorization>,
    /// Name servers for DNS clusters instead of those in `/etc/resolv.conf`.
    pub name_servers: Vec<SocketAddr>,
    /// Refuses listeners whose address is taken; `None`: the workers alone find out.
    pub probe: Option<Probe>,
}

/// The workload's identity as it stands; replaced as a whole when it rotates.
#[derive(Clone, Default)]
pub struct OwnSecrets {
    /// Answers for the secret `default`.
    pub certificate: Option<Arc<tls::Secret>>,
    /// Answers for the secret `ROOTCA`.
    pub trust: Option<Arc<tls::Secret>>,
}

/// Why a manager could not start: the bootstrap's own resources must all be good.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("static {kind} {name:?} is refused: {error}")]
    Static {
        kind: &'static str,
        name: String,
        error: crate::compile::Error,
    },
    #[error("ADS through cluster {0:?}: {1}")]
    Ads(String, String),
}

/// Envoy's `initial_fetch_timeout` where the configuration names none.
pub(crate) const INITIAL_FETCH_TIMEOUT: Duration = Duration::from_secs(15);
