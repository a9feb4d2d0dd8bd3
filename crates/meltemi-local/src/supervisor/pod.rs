//! One pod's life: namespace, proxy, containers, and the way out in the reverse order.

use super::addresses::Place;
use super::backoff::Backoff;
use super::commands;
use super::container::{Runner, ids};
use super::context::{Context, base_environment};
use super::health;
use super::sidecar::Sidecar;
use super::status::{Activity, ContainerState, PodCell};
use crate::events::Event;
use crate::plan::{self, Command, OwnerKind, PodKind, PodPlan};
use crate::probe::Action;
use crate::running::Mode;
use crate::sandbox::{Ended, SandboxError, View};
use crate::settings::LocalMesh;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Container;
use meltemi_capture::{PROXY_OWNER, RuleSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// From "no longer ready" to the first SIGTERM: other proxies have stopped choosing the pod.
const PROPAGATION: Duration = Duration::from_secs(1);
/// From the proxy's drain to SIGTERM: exchanges under way end.
const DRAIN: Duration = Duration::from_millis(500);
/// Between two looks at the port of a process that `run` started.
const PORT_POLL: Duration = Duration::from_millis(100);
/// Bound on one such look.
const PORT_TIMEOUT: Duration = Duration::from_secs(1);

/// What a workload lacks whose proxy is Envoy.
const WITH_ENVOY: &str = "its proxy is Envoy: it reaches the mesh only, not what lies outside, and has Envoy's metrics but not Istio's (istio_requests_total)";

pub(crate) struct Pod {
    pub ctx: Arc<Context>,
    pub plan: Arc<PodPlan>,
    pub settings: Arc<LocalMesh>,
    pub cell: Arc<PodCell>,
    pub place: Place,
    /// A gateway's ports and their ports on the host.
    pub publish: Vec<(u16, u16)>,
    pub control_plane: watch::Receiver<bool>,
    /// Cancelled to end the pod.
    pub stop: CancellationToken,
}

/// What a process that enters the pod needs beside its namespaces.
pub(crate) struct Entry {
    pub view: View,
    pub env: Vec<(String, String)>,
    /// Of `env`, what the place requires.
    pub place: Vec<(String, String)>,
    pub cwd: PathBuf,
}

impl Pod {
    pub(crate) fn id(&self) -> String {
        format!("{}/{}", self.plan.namespace, self.plan.name)
    }

    /// Runs the pod until it is told to stop; then nothing of it is left.
    pub(crate) async fn run(self: Arc<Self>) {
        if let Some((runners, rules, envoy)) = self.prepared() {
            self.ctx.events.send(Event::PodStarting {
                pod: self.id(),
                address: self.place.pod,
            });
            if self.create(rules).await {
                self.live(runners, envoy).await;
                if let Err(error) = self.ctx.processes.sandbox().destroy(&self.plan.key()).await
                    && !matches!(error, SandboxError::Gone)
                {
                    tracing::error!(pod = self.id(), %error, "remove the namespace");
                }
            }
        } else {
            self.stop.cancelled().await;
        }
        self.cell.remove();
        self.ctx.events.send(Event::PodStopped { pod: self.id() });
    }

    /// Commands and rules; `None` when the configuration must change first, which is then told.
    fn prepared(&self) -> Option<(Vec<Arc<Runner>>, RuleSet, Option<PathBuf>)> {
        let blocked = |reason: &'static str, message: String| {
            self.cell.update(|state| {
                state.problem = Some((reason, message));
                state.blocked = true;
            });
            None
        };
        let reachable = self.settings.network.mesh().ranges();
        let rules = match self.plan.kind {
            PodKind::Application { sidecar: true } => {
                match RuleSet::from_annotations(&self.plan.annotations, reachable) {
                    Ok(rules) if runs_past_its_proxy(&self.plan) => rules,
                    // Ours is known by its mark, which no application can set; the user id is
                    // one that an application of root could take unasked.
                    Ok(rules) => RuleSet {
                        proxy_uids: Vec::new(),
                        proxy_gids: Vec::new(),
                        ..rules
                    },
                    Err(error) => return blocked("InvalidAnnotation", error.to_string()),
                }
            }
            PodKind::Application { sidecar: false } | PodKind::Gateway => RuleSet::bare(reachable),
        };
        let mut runners = Vec::new();
        for (container, init) in self.programs() {
            match self.runner(container, init) {
                Ok(runner) => runners.push(Arc::new(runner)),
                Err(error) => return blocked("NoCommand", error),
            }
        }
        let envoy = match plan::envoy(
            &self.plan.annotations,
            &self.settings,
            &self.ctx.paths.config,
        ) {
            Ok(envoy) => envoy,
            Err(error) => return blocked("NoCommand", error.to_string()),
        };
        let beyond = envoy.is_some().then(|| WITH_ENVOY.to_owned());
        for message in unsupported(&self.plan, &self.ctx).into_iter().chain(beyond) {
            self.ctx.events.send(Event::Notice {
                what: self.id(),
                message,
            });
        }
        Some((runners, rules, envoy))
    }

    /// The containers whose processes are ours to start, initial ones first.
    fn programs(&self) -> Vec<(&Container, bool)> {
        if self.plan.kind == PodKind::Gateway || self.plan.owner.kind == OwnerKind::Run {
            return Vec::new();
        }
        let init = self
            .plan
            .spec
            .init_containers
            .iter()
            .flatten()
            .map(|container| (container, true));
        init.chain(self.plan.containers().map(|container| (container, false)))
            .collect()
    }

    fn runner(&self, container: &Container, init: bool) -> Result<Runner, String> {
        let command = if self.plan.owner.kind == OwnerKind::Run {
            Command {
                argv: Vec::new(),
                env: Vec::new(),
                cwd: self.ctx.paths.config.clone(),
            }
        } else {
            plan::resolve(
                container,
                &self.settings,
                &self.ctx.paths.config,
                &self.ctx.executable,
            )
            .map_err(|error| error.to_string())?
        };
        Ok(Runner {
            ctx: self.ctx.clone(),
            plan: self.plan.clone(),
            settings: self.settings.clone(),
            cell: self.cell.clone(),
            place: self.place,
            container: container.clone(),
            command,
            init,
        })
    }

    /// The environment of one container (the first unless named), for `exec` and `run`.
    pub(crate) fn entry(&self, container: Option<&str>) -> Result<Entry, String> {
        let mut containers = self.plan.containers();
        let chosen = match container {
            Some(name) => Some(containers.find(|one| one.name == name).ok_or_else(|| {
                let names: Vec<&str> = self
                    .plan
                    .containers()
                    .map(|one| one.name.as_str())
                    .collect();
                format!(
                    "pod {} has no container {name}; it has: {}",
                    self.id(),
                    names.join(", ")
                )
            })?),
            None => containers.next(),
        };
        let Some(chosen) = chosen else {
            let (namespace, name) = (&self.plan.namespace, &self.plan.name);
            let view = self.ctx.view(
                &self.settings,
                namespace,
                name,
                self.place.pod,
                (None, None),
            );
            return Ok(Entry {
                view,
                env: base_environment(name),
                place: Vec::new(),
                cwd: self.ctx.paths.config.clone(),
            });
        };
        let runner = self.runner(chosen, false)?;
        let objects = self.ctx.objects.borrow().objects.clone();
        let env = runner
            .environment(&objects)
            .map_err(|error| error.to_string())?;
        Ok(Entry {
            view: runner.view(),
            env,
            place: runner.place_variables(&objects),
            cwd: runner.command.cwd.clone(),
        })
    }

    /// Makes the namespace; false when the pod was stopped before that worked.
    async fn create(&self, rules: RuleSet) -> bool {
        let mut backoff = Backoff::new();
        loop {
            // Not raced against the stop: a namespace made meanwhile would be forgotten.
            match self
                .ctx
                .processes
                .sandbox()
                .create(&self.plan.key(), self.place.pod, rules.clone())
                .await
            {
                Ok(()) => break,
                Err(error) => {
                    self.cell.update(|state| {
                        state.problem = Some(("CreateSandboxError", error.to_string()))
                    });
                }
            }
            tokio::select! {
                () = sleep(backoff.ended()) => {}
                () = self.stop.cancelled() => return false,
            }
        }
        self.cell.update(|state| {
            state.problem = None;
            state.address = Some(self.place.pod);
        });
        true
    }

    async fn live(&self, runners: Vec<Arc<Runner>>, envoy: Option<PathBuf>) {
        let (proxy_ready, mut proxy) = watch::channel(false);
        let proxy_stop = CancellationToken::new();
        let mut control_plane = self.control_plane.clone();
        let sidecar = self.plan.has_proxy().then(|| {
            Arc::new(Sidecar {
                ctx: self.ctx.clone(),
                plan: self.plan.clone(),
                settings: self.settings.clone(),
                cell: self.cell.clone(),
                place: self.place,
                publish: self.publish.clone(),
                envoy,
            })
        });
        let apps_stop = CancellationToken::new();
        let mut proxy_task = None;
        let mut apps = JoinSet::new();
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = async {
                if let Some(sidecar) = &sidecar {
                    // Ended only with the supervisor.
                    let _ = control_plane.wait_for(|ready| *ready).await;
                    proxy_task = Some(tokio::spawn(sidecar.clone().run(proxy_ready, proxy_stop.clone())));
                    // Applications start with a working network (holdApplicationUntilProxyStarts).
                    let _ = proxy.wait_for(|ready| *ready).await;
                }
                if self.initialize(&runners, &mut apps, &apps_stop).await {
                    for runner in runners.iter().filter(|runner| !runner.init) {
                        apps.spawn(runner.clone().run(apps_stop.clone()));
                    }
                    if self.plan.owner.kind == OwnerKind::Run {
                        self.borrowed().await;
                    }
                    self.finished(&mut apps).await;
                    // Nothing left to serve: the proxy goes too, as with Kubernetes' Jobs.
                    proxy_stop.cancel();
                }
                std::future::pending::<()>().await;
            } => {}
        }
        let was_ready = self.cell.subscribe().borrow().ready();
        self.cell
            .update(|state| state.deleting = Some(Timestamp::now()));
        if was_ready && !self.ctx.shutdown.is_cancelled() {
            self.unless_shutdown(PROPAGATION).await;
            if let Some(sidecar) = &sidecar {
                sidecar.drain().await;
                self.unless_shutdown(DRAIN).await;
            }
        }
        apps_stop.cancel();
        while apps.join_next().await.is_some() {}
        proxy_stop.cancel();
        if let Some(task) = proxy_task
            && let Err(error) = task.await
        {
            tracing::error!(pod = self.id(), %error, "the proxy's task");
        }
    }

    async fn unless_shutdown(&self, wait: Duration) {
        tokio::select! {
            () = sleep(wait) => {}
            () = self.ctx.shutdown.cancelled() => {}
        }
    }

    /// Runs the init containers in order; false when one failed for good.
    async fn initialize(
        &self,
        runners: &[Arc<Runner>],
        tasks: &mut JoinSet<Option<Ended>>,
        stop: &CancellationToken,
    ) -> bool {
        for runner in runners.iter().filter(|runner| runner.init) {
            // In the set, so that a stop meanwhile finds and ends it.
            tasks.spawn(runner.clone().run(stop.clone()));
            let ended = tasks
                .join_next()
                .await
                .and_then(|ended| ended.ok().flatten());
            if !ended.is_some_and(Ended::success) {
                let why = ended.map_or("it was stopped".to_owned(), |ended| ended.to_string());
                self.cell.update(|state| {
                    state.problem = Some((
                        "InitFailed",
                        format!("init container {}: {why}", runner.container.name),
                    ));
                    state.finished = Some(false);
                });
                return false;
            }
            // Its row would otherwise count against the pod's readiness.
            self.cell.update(|state| {
                state.containers.remove(&runner.container.name);
            });
        }
        true
    }

    /// Resolves when every container has ended for good; never for a pod without any.
    async fn finished(&self, apps: &mut JoinSet<Option<Ended>>) {
        if apps.is_empty() {
            return std::future::pending().await;
        }
        let mut success = true;
        while let Some(ended) = apps.join_next().await {
            success &= ended.ok().flatten().is_some_and(Ended::success);
        }
        self.cell.update(|state| state.finished = Some(success));
    }

    /// A process that the command line runs: ready when its port answers, if it has one.
    async fn borrowed(&self) {
        let Some(container) = self.plan.containers().next() else {
            return;
        };
        let name = container.name.clone();
        self.cell.container(&name, |state| {
            state.activity = Activity::Running {
                since: Timestamp::now(),
            };
            state.started = true;
        });
        let port = container
            .ports
            .iter()
            .flatten()
            .find_map(|port| u16::try_from(port.container_port).ok());
        let Some(port) = port else {
            return self
                .cell
                .container(&name, |state: &mut ContainerState| state.ready = true);
        };
        let action = Action::Tcp { port };
        loop {
            let open = health::reach(&self.ctx, &self.plan, self.place, &action);
            let ready = matches!(timeout(PORT_TIMEOUT, open).await, Ok(Ok(())));
            self.cell.container(&name, |state| state.ready = ready);
            sleep(if ready { PORT_TIMEOUT } else { PORT_POLL }).await;
        }
    }
}

/// Fields of a pod that mean nothing or too little here, for the user to know.
fn unsupported(plan: &PodPlan, ctx: &Context) -> Vec<String> {
    let loopback = ctx.mode == Mode::Loopback;
    let mut found = Vec::new();
    let spec = &plan.spec;
    for container in plan
        .containers()
        .chain(spec.init_containers.iter().flatten())
    {
        let paths: Vec<&str> = container
            .volume_mounts
            .iter()
            .flatten()
            .map(|mount| mount.mount_path.as_str())
            .collect();
        if !paths.is_empty() {
            found.push(format!(
                "container {}: volumeMounts ({}) are not mounted; the program sees the machine's files",
                container.name,
                paths.join(", ")
            ));
        }
        let lifecycle = container.lifecycle.as_ref();
        if lifecycle.is_some_and(|lifecycle| lifecycle.post_start.is_some()) {
            found.push(format!(
                "container {}: lifecycle.postStart is not run",
                container.name
            ));
        }
        let stop = lifecycle.and_then(|lifecycle| lifecycle.pre_stop.as_ref());
        if stop.is_some_and(|hook| hook.http_get.is_some() || hook.tcp_socket.is_some()) {
            found.push(format!(
                "container {}: of lifecycle.preStop only exec and sleep are run",
                container.name
            ));
        }
    }
    if loopback && commands::application_metrics(&plan.annotations).is_some() {
        found.push(
            "prometheus.io/scrape is not honoured in loopback mode: the application's metrics are at its own port, the proxy's at 15090"
                .into(),
        );
    }
    if loopback && ctx.rootless && runs_as_others(plan) {
        found.push("runAsUser and runAsGroup need root in loopback mode: it runs as you".into());
    }
    if spec.host_network == Some(true) && !loopback {
        found.push("hostNetwork is not honoured: the pod has its own network namespace".into());
    }
    if spec.share_process_namespace == Some(true) {
        found.push(
            "shareProcessNamespace is not honoured: all pods share the mesh's process namespace"
                .into(),
        );
    }
    found
}

/// Whether a container asks for the user or group id of Istio's proxy, as those do in Istio
/// that are to pass the sidecar by (an init container before it is up, say).
fn runs_past_its_proxy(plan: &PodPlan) -> bool {
    let init = plan.spec.init_containers.iter().flatten();
    plan.containers().chain(init).any(|container| {
        let (uid, gid) = ids(plan, container);
        uid == Some(PROXY_OWNER) || gid == Some(PROXY_OWNER)
    })
}

fn runs_as_others(plan: &PodPlan) -> bool {
    plan.containers()
        .any(|container| ids(plan, container) != (None, None))
}
