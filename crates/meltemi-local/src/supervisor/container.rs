//! One container of a pod: its process, probes, restarts and end.

use super::addresses::Place;
use super::backoff::Backoff;
use super::context::{Context, base_environment};
use super::processes::Process;
use super::status::{Activity, PodCell};
use crate::loopback::{self, BIND_ADDRESS};
use crate::plan::{self, Command, EnvError, PodFacts, PodKind, PodPlan};
use crate::probe::{Action, Prober, attempt};
use crate::sandbox::{Ended, Reach, Role, Spawn, View};
use crate::settings::LocalMesh;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Container;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// While a pod has never been ready, readiness is asked this often, whatever the period:
/// it costs nothing here, and start-up is what people wait for.
const EAGER: Duration = Duration::from_millis(200);
/// Wait before looking again for a ConfigMap or Secret that is missing.
const MISSING: Duration = Duration::from_secs(1);

/// After this, an application that cannot be reached is worth a word.
const SLOW: Duration = Duration::from_secs(3);
/// Why a pod whose application listens elsewhere is not ready.
const NOT_LISTENING: &str = "NotListening";

/// Kubernetes' default terminationGracePeriodSeconds.
const GRACE_SECONDS: i64 = 30;
/// Bound on an application's end when the whole mesh goes.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// What a container needs to run; shared by its probes.
pub(crate) struct Runner {
    pub ctx: Arc<Context>,
    pub plan: Arc<PodPlan>,
    pub settings: Arc<LocalMesh>,
    pub cell: Arc<PodCell>,
    pub place: Place,
    pub container: Container,
    pub command: Command,
    pub init: bool,
}

/// When a container's process is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Policy {
    Always,
    OnFailure,
    Never,
}

impl Runner {
    /// Runs until told to stop, or until the policy says that it is over.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) -> Option<Ended> {
        let mut backoff = Backoff::new();
        let policy = self.policy();
        loop {
            let mut process = tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                process = self.start() => process,
            };
            backoff.started();
            let ended = match &mut process {
                Ok(process) => {
                    self.running();
                    tokio::select! {
                        ended = process.wait() => ended,
                        why = self.clone().watch() => {
                            tracing::info!(pod = self.plan.key(), container = self.container.name, why, "restart");
                            process.stop(self.grace()).await
                        }
                        () = stop.cancelled() => {
                            self.pre_stop(self.grace()).await;
                            let ended = process.stop(self.grace()).await;
                            self.ended(ended);
                            return Some(ended);
                        }
                    }
                }
                Err(message) => {
                    let message = message.clone();
                    self.waiting("RunContainerError", message);
                    Ended::Code(127)
                }
            };
            if process.is_ok() {
                self.ended(ended);
            }
            if policy == Policy::Never || (policy == Policy::OnFailure && ended.success()) {
                return Some(ended);
            }
            let wait = backoff.ended();
            if process.is_ok() {
                let seconds = wait.as_secs_f32();
                let hint = match self.place.seat {
                    Some(_) if !ended.success() => format!("; {}", self.remedy()),
                    _ => String::new(),
                };
                self.waiting(
                    "CrashLoopBackOff",
                    format!("ended with {ended}; starting again in {seconds} s{hint}"),
                );
            }
            tokio::select! {
                () = sleep(wait) => {}
                () = stop.cancelled() => return Some(ended),
            }
            self.cell
                .container(&self.container.name, |state| state.restarts += 1);
        }
    }

    /// The pod's grace period; shorter when the whole mesh goes.
    fn grace(&self) -> Duration {
        let seconds = self
            .plan
            .spec
            .termination_grace_period_seconds
            .unwrap_or(GRACE_SECONDS);
        let grace = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        if self.ctx.shutdown.is_cancelled() {
            grace.min(SHUTDOWN)
        } else {
            grace
        }
    }

    fn policy(&self) -> Policy {
        match self.plan.spec.restart_policy.as_deref() {
            Some("Never") => Policy::Never,
            Some("OnFailure") => Policy::OnFailure,
            // An init container has to succeed once.
            _ if self.init => Policy::OnFailure,
            _ => Policy::Always,
        }
    }

    fn running(&self) {
        self.cell.container(&self.container.name, |state| {
            state.activity = Activity::Running {
                since: Timestamp::now(),
            };
        });
    }

    fn waiting(&self, reason: &'static str, message: String) {
        self.cell.container(&self.container.name, |state| {
            state.activity = Activity::Waiting { reason, message };
            (state.ready, state.started) = (false, false);
        });
    }

    fn ended(&self, ended: Ended) {
        self.cell.container(&self.container.name, |state| {
            state.activity = Activity::Terminated {
                ended,
                at: Timestamp::now(),
            };
            (state.ready, state.started, state.last) = (false, false, Some(ended));
        });
    }

    /// Starts the process, waiting for what its environment refers to.
    async fn start(&self) -> Result<Process, String> {
        let mut objects = self.ctx.objects.clone();
        let env = loop {
            match self.environment(&objects.borrow_and_update().objects.clone()) {
                Ok(env) => break env,
                Err(error) => self.waiting("CreateContainerConfigError", error.to_string()),
            }
            // Woken by a change; the clock is for a source that has ended.
            let _ = timeout(MISSING, objects.changed()).await;
        };
        let argv = self
            .command
            .argv
            .iter()
            .map(|argument| plan::expand(argument, &env))
            .collect();
        let (out, err) = self
            .log()
            .map_err(|error| format!("open the log: {error}"))?;
        let spawn = self.spawn(argv, env, Reach::Own);
        // A task of its own, so that a stop meanwhile cannot lose the started process.
        let processes = self.ctx.processes.clone();
        let started =
            tokio::spawn(async move { processes.spawn(spawn, out, err, Vec::new()).await });
        started
            .await
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())
    }

    pub(crate) fn environment(
        &self,
        objects: &meltemi_config::Objects,
    ) -> Result<Vec<(String, String)>, EnvError> {
        let mut image = base_environment(&self.plan.name);
        image.extend(self.place_variables(objects));
        image.extend(self.command.env.iter().cloned());
        let facts = PodFacts {
            plan: &self.plan,
            address: self.place.pod,
        };
        plan::environment(&self.container, &image, &facts, objects)
    }

    /// What an application without interception has to be told.
    pub(crate) fn place_variables(
        &self,
        objects: &meltemi_config::Objects,
    ) -> Vec<(String, String)> {
        match (self.place.seat, self.plan.kind) {
            (Some(seat), PodKind::Application { sidecar: true }) => loopback::variables(
                seat,
                &self.plan.namespace,
                objects,
                self.settings.network.services,
            ),
            // Nothing calls for it, and nothing keeps it from the pod's own address.
            (Some(seat), _) => vec![(BIND_ADDRESS.to_owned(), seat.pod().to_string())],
            (None, _) => Vec::new(),
        }
    }

    fn log(&self) -> io::Result<(OwnedFd, OwnedFd)> {
        self.ctx
            .log(&self.plan.namespace, &self.plan.name, &self.container.name)
    }

    pub(crate) fn view(&self) -> View {
        self.ctx.view(
            &self.settings,
            &self.plan.namespace,
            &self.plan.name,
            self.place.pod,
            ids(&self.plan, &self.container),
        )
    }

    pub(crate) fn spawn(
        &self,
        argv: Vec<String>,
        env: Vec<(String, String)>,
        reach: Reach,
    ) -> Spawn {
        let view = View {
            reach,
            ..self.view()
        };
        Spawn {
            workload: Some(self.plan.key()),
            role: Role::Application(view),
            argv,
            env,
            cwd: Some(self.command.cwd.clone()),
        }
    }

    /// Probes the running container. Returns why it must be restarted.
    async fn watch(self: Arc<Self>) -> String {
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

    fn remedy(&self) -> String {
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
        let socket = self
            .ctx
            .processes
            .sandbox()
            .socket(&self.plan.key())
            .await
            .map_err(|error| error.to_string())?;
        attempt(&action, socket, self.place.application).await
    }

    /// Runs a command beside the container's; success is exit code 0 within `limit`.
    async fn execute(&self, argv: Vec<String>, limit: Duration) -> Result<(), String> {
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

    /// The preStop hook, within the grace period; a failing hook delays nothing.
    async fn pre_stop(&self, grace: Duration) {
        let Some(hook) = self
            .container
            .lifecycle
            .as_ref()
            .and_then(|lifecycle| lifecycle.pre_stop.as_ref())
        else {
            return;
        };
        if let Some(pause) = &hook.sleep {
            sleep(Duration::from_secs(u64::try_from(pause.seconds).unwrap_or(0)).min(grace)).await;
        }
        if let Some(command) = hook.exec.as_ref().and_then(|exec| exec.command.clone())
            && let Err(error) = self.execute(command, grace).await
        {
            tracing::warn!(pod = self.plan.key(), error, "preStop");
        }
    }
}

/// `runAsUser` and `runAsGroup`: the container's, else the pod's.
pub(crate) fn ids(plan: &PodPlan, container: &Container) -> (Option<u32>, Option<u32>) {
    let (own, pod) = (
        container.security_context.as_ref(),
        plan.spec.security_context.as_ref(),
    );
    let id = |value: Option<i64>| value.and_then(|value| u32::try_from(value).ok());
    let uid = own
        .and_then(|own| own.run_as_user)
        .or_else(|| pod.and_then(|pod| pod.run_as_user));
    let gid = own
        .and_then(|own| own.run_as_group)
        .or_else(|| pod.and_then(|pod| pod.run_as_group));
    (id(uid), id(gid))
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
