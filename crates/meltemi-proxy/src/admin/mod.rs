//! The proxy's own HTTP servers: Envoy's admin API, readiness, and the metrics that Istio's
//! agent serves. All on the main thread; their sockets are in the workload's namespace.
//!
//! Not here: what the answers say. Configuration, statistics and log levels know their own
//! text; this is the directory of them.

mod agent;
mod api;
mod merge;
mod probe;
mod query;
mod reply;
mod scrape;
mod server;

pub(crate) use agent::{expiry, with_application};
pub use reply::Reply;
pub use server::{Incoming, ServerError, serve_tcp, serve_unix};

use crate::config;
use crate::lifecycle::Control;
use crate::logging::Levels;
use crate::model::{CheckResult, Endpoint, Snapshot};
use crate::options::ApplicationMetrics;
use crate::worker;
use std::cell::Cell;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

/// What the servers answer from.
pub struct Admin {
    pub config: config::Handle,
    pub workers: worker::Handle,
    pub control: Control,
    pub levels: Levels,
    /// For `/server_info`.
    pub command_line: serde_json::Value,
    pub application_metrics: Option<ApplicationMetrics>,
    /// Where the application is scraped.
    pub namespace: Option<OwnedFd>,
    /// Set once the workers have the first complete configuration and its endpoints were checked.
    pub warm: Cell<bool>,
}

/// Which of the servers a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// 15000 and the Unix socket: everything, to the machine itself only.
    Admin,
    /// 15021: readiness for a kubelet or a load balancer.
    Health,
    /// 15020: Istio's agent.
    Agent,
    /// 15090: the proxy's metrics.
    Prometheus,
}

impl Admin {
    /// `None` when the proxy can serve; else why not.
    fn not_ready(&self) -> Option<String> {
        if let Some(why) = self.control.unhealthy() {
            return Some(why.to_owned());
        }
        let readiness = self.config.readiness().borrow().clone();
        match readiness {
            config::Readiness::Live => {
                if self.warm.get() {
                    return None;
                }
                let snapshot = self.config.snapshot();
                if *self.workers.applied().borrow() < snapshot.generation {
                    return Some(
                        "the workers have not taken the configuration over yet".to_owned(),
                    );
                }
                if let Some(cluster) = unchecked(&snapshot) {
                    return Some(format!(
                        "the first health checks of cluster {cluster} are under way"
                    ));
                }
                self.warm.set(true);
                None
            }
            config::Readiness::PreInitializing(missing)
            | config::Readiness::Initializing(missing) => {
                Some(format!("{}: {missing}", readiness_name(&self.config)))
            }
        }
    }
}

/// A cluster with endpoints that were never checked: until they were, they count as unhealthy.
fn unchecked(snapshot: &Snapshot) -> Option<&str> {
    let pending = |endpoint: &Arc<Endpoint>| {
        !endpoint.check.disabled && endpoint.state.checked() == CheckResult::Pending
    };
    let mut clusters = snapshot.clusters.iter().flatten();
    let found = clusters.find(|cluster| {
        let mut priorities = cluster.endpoints.priorities.iter();
        cluster.config.health_check.is_some()
            && priorities.any(|priority| priority.endpoints.iter().any(pending))
    });
    found.map(|cluster| &*cluster.config.name)
}

/// What stands behind the servers: our own data plane, or one that we look after.
pub trait Answers: 'static {
    /// Where the servers' sockets are made; none: where the process is.
    fn namespace(&self) -> Option<&OwnedFd>;

    /// Answers a request that came to a surface; `peer` is none on a Unix socket.
    fn answer(
        self: Rc<Self>,
        surface: Surface,
        peer: Option<SocketAddr>,
        request: Incoming,
    ) -> impl Future<Output = Reply>;
}

impl Answers for Admin {
    fn namespace(&self) -> Option<&OwnedFd> {
        self.namespace.as_ref()
    }

    async fn answer(
        self: Rc<Self>,
        surface: Surface,
        peer: Option<SocketAddr>,
        request: Incoming,
    ) -> Reply {
        let local = peer.is_none_or(|peer| peer.ip().to_canonical().is_loopback());
        match surface {
            Surface::Admin if !local => Reply::text(
                http::StatusCode::FORBIDDEN,
                "the admin API answers the machine itself only\n",
            ),
            Surface::Admin => api::answer(&self, &request).await,
            Surface::Health => probe::health(&self, &request),
            Surface::Agent => agent::answer(&self, &request, local).await,
            Surface::Prometheus => agent::own_metrics(&request),
        }
    }
}

fn readiness_name(config: &config::Handle) -> &'static str {
    config.readiness().borrow().as_str()
}
