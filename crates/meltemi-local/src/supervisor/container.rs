//! One container of a pod: its process, restarts and end.

use super::addresses::Place;
use super::backoff::Backoff;
use super::context::{Context, base_environment};
use super::processes::Process;
use super::status::{Activity, PodCell};
use crate::loopback::{self, BIND_ADDRESS};
use crate::plan::{self, Command, EnvError, PodFacts, PodKind, PodPlan};
use crate::sandbox::{Ended, Reach, Role, Spawn, View};
use crate::settings::LocalMesh;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Container;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Wait before looking again for a ConfigMap or Secret that is missing.
const MISSING: Duration = Duration::from_secs(1);

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
