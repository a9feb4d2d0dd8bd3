//! A workload's proxy: started with a fresh credential, watched, started again, drained.

use super::addresses::Place;
use super::admin;
use super::backoff::Backoff;
use super::commands::{self, Proxy};
use super::context::{Context, own_environment};
use super::credential::Credential;
use super::processes::Process;
use super::status::{Activity, PodCell};
use crate::bootstrap::bootstrap;
use crate::events::Event;
use crate::loopback;
use crate::paths::write_atomically;
use crate::plan::{PodKind, PodPlan};
use crate::sandbox::{Role, Spawn};
use crate::settings::LocalMesh;
use jiff::Timestamp;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Between two looks at a starting proxy.
const POLL: Duration = Duration::from_millis(25);
/// Between two looks at one that is ready.
const WATCH: Duration = Duration::from_secs(1);
/// Bound on a proxy's own graceful end after SIGTERM.
const GRACE: Duration = Duration::from_secs(10);
/// Its name in status and logs.
pub(crate) const NAME: &str = "istio-proxy";

pub(crate) struct Sidecar {
    pub ctx: Arc<Context>,
    pub plan: Arc<PodPlan>,
    pub settings: Arc<LocalMesh>,
    pub cell: Arc<PodCell>,
    pub place: Place,
    /// Ports and their ports on the host.
    pub publish: Vec<(u16, u16)>,
    /// Envoy's binary; none for Meltemi's own proxy.
    pub envoy: Option<PathBuf>,
}

impl Sidecar {
    fn admin(&self) -> PathBuf {
        self.ctx
            .paths
            .admin_socket(&self.plan.namespace, &self.plan.name)
    }

    /// Asks the proxy to take no new inbound connections and to end the present ones in order.
    pub(crate) async fn drain(&self) {
        let path = "/drain_listeners?inboundonly&graceful";
        if let Err(error) = admin::ask(&self.admin(), http::Method::POST, path).await {
            tracing::debug!(pod = self.plan.key(), error, "drain");
        }
    }

    /// Runs the proxy until `stop`; `ready` follows its readiness.
    pub(crate) async fn run(self: Arc<Self>, ready: watch::Sender<bool>, stop: CancellationToken) {
        let mut backoff = Backoff::new();
        loop {
            let why = match self.start().await {
                Ok((mut process, _credential)) => {
                    backoff.started();
                    self.cell.container(NAME, |state| {
                        state.activity = Activity::Running {
                            since: Timestamp::now(),
                        };
                        state.started = true;
                    });
                    tokio::select! {
                        ended = process.wait() => {
                            self.cell.container(NAME, |state| {
                                state.activity = Activity::Terminated { ended, at: Timestamp::now() };
                                state.last = Some(ended);
                            });
                            format!("ended with {ended}")
                        }
                        never = self.follow(&ready) => match never {},
                        () = stop.cancelled() => {
                            // A mesh that ends as a whole has nobody left to drain for.
                            if !self.ctx.shutdown.is_cancelled() {
                                process.stop(GRACE).await;
                            }
                            return;
                        }
                    }
                }
                Err(problem) => problem,
            };
            ready.send_replace(false);
            let log = self
                .ctx
                .paths
                .log(&self.plan.namespace, &self.plan.name, NAME);
            let message = format!("{why}; its log: {}", log.display());
            self.cell.container(NAME, |state| {
                state.activity = Activity::Waiting {
                    reason: "CrashLoopBackOff",
                    message: message.clone(),
                };
                (state.ready, state.started) = (false, false);
                state.restarts += 1;
            });
            let pod = format!("{}/{}", self.plan.namespace, self.plan.name);
            self.ctx.events.send(Event::Restarting {
                what: pod,
                why: message,
            });
            tokio::select! {
                () = sleep(backoff.ended()) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn start(&self) -> Result<(Process, Credential), String> {
        let text = |error: std::io::Error| error.to_string();
        let key = self.plan.key();
        let paths = &self.ctx.paths;
        let file = paths.in_run("bootstrap").join(format!("{key}.json"));
        let content = bootstrap(
            &self.plan,
            self.place.pod,
            self.place.seat.map(|seat| {
                let lowest_port = loopback::lowest_port(self.ctx.rootless);
                seat.metadata(self.settings.network.services, lowest_port)
            }),
            &paths.in_run("xds.sock"),
            &self.ctx.version,
            &paths.name,
        );
        write_atomically(&file, content.to_string().as_bytes()).map_err(text)?;
        let credential = Credential::issue(paths, &self.plan).map_err(text)?;
        let token = credential.pipe().map_err(text)?;
        let (out, err) = self
            .ctx
            .log(&self.plan.namespace, &self.plan.name, NAME)
            .map_err(text)?;
        let admin = self.admin();
        let arguments = Proxy {
            bootstrap: &file,
            admin: &admin,
            loopback: self.place.seat.map(|_| self.place.pod),
            dns: self.plan.kind != PodKind::Gateway,
            publish: &self.publish,
            address: self.settings.publish,
            envoy: self.envoy.as_deref(),
            metrics: commands::application_metrics(&self.plan.annotations),
        };
        let spawn = Spawn {
            workload: Some(key),
            role: Role::Sidecar,
            argv: commands::proxy(&self.ctx, &self.settings, &arguments),
            env: own_environment(),
            cwd: None,
        };
        let process = self
            .ctx
            .processes
            .spawn(spawn, out, err, vec![token])
            .await
            .map_err(|error| error.to_string())?;
        Ok((process, credential))
    }

    /// Follows the proxy's readiness for as long as it runs.
    async fn follow(&self, ready: &watch::Sender<bool>) -> Infallible {
        let admin = self.admin();
        loop {
            let now = admin::ask(&admin, http::Method::GET, "/ready")
                .await
                .is_ok();
            ready.send_replace(now);
            self.cell.container(NAME, |state| state.ready = now);
            sleep(if now { WATCH } else { POLL }).await;
        }
    }
}
