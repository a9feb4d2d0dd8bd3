//! Probes of a running container: readiness, restarts, and whether it listens where it should.

use super::addresses::Place;
use super::container::Runner;
use super::context::Context;
use crate::loopback::BIND_ADDRESS;
use crate::plan::PodPlan;
use crate::probe::{Action, Prober, attempt};
use crate::sandbox::Reach;
use k8s_openapi::api::core::v1::Container;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// While a pod has never been ready, readiness is asked this often, whatever the period:
/// it costs nothing here, and start-up is what people wait for.
const EAGER: Duration = Duration::from_millis(200);
/// After this, an application that cannot be reached is worth a word.
const SLOW: Duration = Duration::from_secs(3);
/// Why a pod whose application listens elsewhere is not ready.
const NOT_LISTENING: &str = "NotListening";

impl Runner {
    /// Probes the running container. Returns why it must be restarted.
    pub(super) async fn watch(self: Arc<Self>) -> String {
        let name = self.container.name.clone();
        let prober = |probe: &Option<_>| {
            probe
                .as_ref()
                .map(|probe| Prober::of(probe, &self.container))
                .transpose()
        };
        let probes = (
            prober(&self.container.startup_probe),
            prober(&self.container.readiness_probe),
            prober(&self.container.liveness_probe),
        );
        let (startup, readiness, liveness) = match probes {
            (Ok(startup), Ok(readiness), Ok(liveness)) => (startup, readiness, liveness),
            (Err(problem), _, _) | (_, Err(problem), _) | (_, _, Err(problem)) => {
                self.cell.update(|state| {
                    state.problem = Some(("InvalidProbe", format!("container {name}: {problem}")))
                });
                return std::future::pending().await;
            }
        };
        if let Some(probe) = &startup
            && let Err(why) = self.until_success(probe).await
        {
            return format!("startup probe: {why}");
        }
        self.cell.container(&name, |state| state.started = true);
        let readiness = self.readiness(readiness);
        let liveness = async {
            match &liveness {
                Some(probe) => self.until_failure(probe).await,
                None => std::future::pending().await,
            }
        };
        // A probe decides on readiness; why it fails is worth telling all the same.
        let has_probe = self.container.readiness_probe.is_some();
        let listening = async {
            if has_probe {
                self.listening().await;
            }
            std::future::pending().await
        };
        tokio::select! {
            () = readiness => std::future::pending().await,
            () = listening => std::future::pending().await,
            why = liveness => format!("liveness probe: {why}"),
        }
    }

    /// In loopback mode, an application at another address is not found by its proxy: waits
    /// until one of its ports answers where it should, and says so while none does.
    async fn listening(&self) {
        let ports: Vec<u16> = tcp_ports(&self.container).collect();
        if self.place.seat.is_none() || ports.is_empty() {
            return;
        }
        let late = tokio::time::Instant::now() + SLOW;
        let mut told = false;
        while !self.any_open(&ports).await {
            if !told && tokio::time::Instant::now() >= late {
                told = true;
                let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
                let message = format!(
                    "container {}: nothing answers at {} port {}; {}",
                    self.container.name,
                    self.place.application,
                    ports.join(" or "),
                    self.remedy()
                );
                self.cell
                    .update(|state| state.problem = Some((NOT_LISTENING, message)));
            }
            sleep(EAGER).await;
        }
        self.cell.update(|state| {
            state.problem = state
                .problem
                .take()
                .filter(|(reason, _)| *reason != NOT_LISTENING);
        });
    }

    async fn any_open(&self, ports: &[u16]) -> bool {
        for port in ports {
            let open = self.reach(Action::Tcp { port: *port });
            if matches!(timeout(SLOW, open).await, Ok(Ok(()))) {
                return true;
            }
        }
        false
    }

    pub(super) fn remedy(&self) -> String {
        format!(
            "in loopback mode it must listen on {} alone, which {BIND_ADDRESS} tells it: pass it on in meltemi.yaml, \
             for example args: [--bind, $({BIND_ADDRESS})]",
            self.place.application
        )
    }

    async fn readiness(&self, probe: Option<Prober>) {
        let ready = |ready: bool| {
            self.cell
                .container(&self.container.name, |state| state.ready = ready)
        };
        let Some(probe) = probe else {
            self.listening().await;
            ready(true);
            return std::future::pending().await;
        };
        sleep(probe.initial_delay).await;
        let (mut successes, mut failures, mut ever) = (0, 0, false);
        loop {
            match self.try_once(&probe).await {
                Ok(()) => (successes, failures) = (successes + 1, 0),
                Err(why) => {
                    (successes, failures) = (0, failures + 1);
                    self.cell.container(&self.container.name, |state| {
                        state.unready = Some(why);
                    });
                }
            }
            if successes >= probe.success_threshold {
                ever = true;
                self.cell
                    .container(&self.container.name, |state| state.unready = None);
                ready(true);
            } else if failures >= probe.failure_threshold {
                ready(false);
            }
            sleep(if ever {
                probe.period
            } else {
                probe.period.min(EAGER)
            })
            .await;
        }
    }

    async fn until_success(&self, probe: &Prober) -> Result<(), String> {
        sleep(probe.initial_delay).await;
        let deadline = tokio::time::Instant::now() + probe.period * probe.failure_threshold;
        loop {
            match self.try_once(probe).await {
                Ok(()) => return Ok(()),
                Err(why) if tokio::time::Instant::now() >= deadline => return Err(why),
                Err(_) => sleep(probe.period.min(EAGER)).await,
            }
        }
    }

    async fn until_failure(&self, probe: &Prober) -> String {
        sleep(probe.initial_delay).await;
        let mut failures = 0;
        loop {
            failures = match self.try_once(probe).await {
                Ok(()) => 0,
                Err(why) if failures + 1 >= probe.failure_threshold => return why,
                Err(_) => failures + 1,
            };
            sleep(probe.period).await;
        }
    }

    async fn try_once(&self, probe: &Prober) -> Result<(), String> {
        if let Action::Exec { command } = &probe.action {
            return self.execute(command.clone(), probe.timeout).await;
        }
        timeout(probe.timeout, self.reach(probe.action.clone()))
            .await
            .map_err(|_| format!("no answer within {:?}", probe.timeout))?
    }

    /// One network probe.
    async fn reach(&self, action: Action) -> Result<(), String> {
        reach(&self.ctx, &self.plan, self.place, &action).await
    }

    /// Runs a command beside the container's; success is exit code 0 within `limit`.
    pub(super) async fn execute(&self, argv: Vec<String>, limit: Duration) -> Result<(), String> {
        let objects = self.ctx.objects.borrow().objects.clone();
        let env = self
            .environment(&objects)
            .map_err(|error| error.to_string())?;
        let spawn = self.spawn(argv, env, Reach::User);
        let processes = self.ctx.processes.clone();
        // A task of its own: it ends its process also when nobody waits for it any more.
        let task = tokio::spawn(async move {
            let (out, err) = (null()?, null()?);
            let mut process = processes
                .spawn(spawn, out, err, Vec::new())
                .await
                .map_err(|error| error.to_string())?;
            match timeout(limit, process.wait()).await {
                Ok(ended) if ended.success() => Ok(()),
                Ok(ended) => Err(format!("the command ended with {ended}")),
                Err(_) => {
                    process.stop(Duration::ZERO).await;
                    Err(format!("the command took longer than {limit:?}"))
                }
            }
        });
        task.await.map_err(|error| error.to_string())?
    }
}

/// Probes a pod over the network, from inside of it.
pub(super) async fn reach(
    ctx: &Context,
    plan: &PodPlan,
    place: Place,
    action: &Action,
) -> Result<(), String> {
    let socket = ctx
        .processes
        .sandbox()
        .socket(&plan.key())
        .await
        .map_err(|error| error.to_string())?;
    attempt(action, socket, place.application).await
}

/// The container's declared TCP ports.
fn tcp_ports(container: &Container) -> impl Iterator<Item = u16> + '_ {
    let ports = container.ports.iter().flatten();
    ports
        .filter(|port| {
            port.protocol
                .as_deref()
                .is_none_or(|protocol| protocol == "TCP")
        })
        .filter_map(|port| u16::try_from(port.container_port).ok())
}

fn null() -> Result<OwnedFd, String> {
    File::options()
        .write(true)
        .open("/dev/null")
        .map(OwnedFd::from)
        .map_err(|error| format!("open /dev/null: {error}"))
}
