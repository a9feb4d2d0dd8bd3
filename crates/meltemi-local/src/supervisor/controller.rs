//! The loop that makes what runs follow what the configuration wants.

use super::addresses::{Addresses, HostPorts, Places};
use super::context::Context;
use super::member::{Member, PodRow};
use super::pod::Pod;
use super::rollout::{self, Running};
use super::runs::{RunRequest, Runs};
use super::status::{PodCell, PodState, UNREADY};
use crate::builtin::{self, PUBLISH_ANNOTATION};
use crate::events::Event;
use crate::loopback::Seats;
use crate::paths::write_atomically;
use crate::plan::{self, PodPlan};
use crate::running::Mode;
use crate::settings::LocalMesh;
use meltemi_config::Published;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// Between two looks at the settings file, which is no object and so is not watched.
const SETTINGS: Duration = Duration::from_millis(500);
/// Bound on the end of all pods when the mesh goes; the sandbox ends the rest.
const SHUTDOWN: Duration = Duration::from_secs(8);

/// A pod that was just started, and its state from then on.
pub(super) type Started = Result<(Arc<Pod>, watch::Receiver<PodState>), String>;

/// What others ask of the controller.
pub(super) enum Command {
    Pods(oneshot::Sender<Vec<PodRow>>),
    /// A pod by its name or its workload's.
    Find {
        namespace: String,
        name: String,
        reply: oneshot::Sender<Result<Arc<Pod>, String>>,
    },
    Run {
        request: RunRequest,
        reply: oneshot::Sender<Started>,
    },
    RunEnded {
        key: String,
    },
}

pub(super) struct Controller {
    pub ctx: Arc<Context>,
    settings: Arc<LocalMesh>,
    settings_time: Option<SystemTime>,
    settings_error: Option<String>,
    objects: watch::Receiver<Arc<Published>>,
    control_plane: watch::Receiver<bool>,
    places: Places,
    ports: HostPorts,
    members: BTreeMap<String, Member>,
    runs: Runs,
    changed: Arc<Notify>,
    told_errors: HashSet<String>,
    told_ready: bool,
    /// The ingress gateway's place on the host.
    url: watch::Sender<Option<String>>,
}

impl Controller {
    pub(super) fn new(
        ctx: Arc<Context>,
        settings: Arc<LocalMesh>,
        control_plane: watch::Receiver<bool>,
        url: watch::Sender<Option<String>>,
    ) -> Self {
        let places = match ctx.mode {
            Mode::Namespaces => Places::Namespaces(Addresses::new(settings.network.pods)),
            Mode::Loopback => Places::Loopback(Seats::default()),
        };
        let settings_time = settings_time(&ctx);
        let runs = Runs::new(ctx.paths.in_run("builtin"));
        Self {
            objects: ctx.objects.clone(),
            ctx,
            settings,
            settings_time,
            settings_error: None,
            control_plane,
            places,
            ports: HostPorts::default(),
            members: BTreeMap::new(),
            runs,
            changed: Arc::new(Notify::new()),
            told_errors: HashSet::new(),
            told_ready: false,
            url,
        }
    }

    /// Runs until `stop`, then ends every pod.
    pub(super) async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        stop: CancellationToken,
    ) {
        let mut clock = tokio::time::interval(SETTINGS);
        let mut source_alive = true;
        loop {
            self.step();
            let changed = self.changed.clone();
            tokio::select! {
                () = stop.cancelled() => break,
                () = changed.notified() => {}
                outcome = self.objects.changed(), if source_alive => source_alive = outcome.is_ok(),
                outcome = self.control_plane.changed() => if outcome.is_err() { break },
                command = commands.recv() => match command {
                    Some(command) => self.command(command),
                    None => break,
                },
                _ = clock.tick() => self.reload_settings(),
            }
        }
        self.end().await;
    }

    async fn end(&mut self) {
        self.ctx.shutdown.cancel();
        for member in self.members.values() {
            member.pod.stop.cancel();
        }
        let all = async {
            for member in self.members.values_mut() {
                // A task that panicked has ended too.
                let _ = (&mut member.task).await;
            }
        };
        if tokio::time::timeout(SHUTDOWN, all).await.is_err() {
            tracing::warn!("not all pods ended in time; the sandbox ends them");
        }
    }

    fn step(&mut self) {
        let gone: Vec<String> = self
            .members
            .iter()
            .filter(|(_, member)| member.task.is_finished())
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            if let Some(member) = self.members.remove(&key) {
                self.places.release(member.pod.place);
                self.runs.ended(&key);
            }
        }
        let published = self.objects.borrow_and_update().clone();
        self.tell_configuration(&published);
        let wanted = plan::pods(&published.objects, &self.settings);
        let running: Vec<Running> = self.members.values().map(Member::running).collect();
        let steps = rollout::next(&wanted, &running);
        for key in steps.stop {
            if let Some(member) = self.members.get(&key) {
                member.pod.stop.cancel();
            }
        }
        for plan in steps.start {
            // Its predecessor of the same name may still be leaving.
            if !self.members.contains_key(&plan.key())
                && let Err(message) = self.start(plan.clone())
            {
                let pod = format!("{}/{}", plan.namespace, plan.name);
                self.ctx.events.send(Event::PodProblem {
                    pod,
                    reason: "NoAddress".into(),
                    message,
                });
            }
        }
        self.tell_pods();
        self.tell_ready(&wanted);
    }

    fn start(&mut self, plan: Arc<PodPlan>) -> Started {
        let key = plan.key();
        let place = self.places.allocate(&plan)?;
        let publish = self.publish(&plan);
        let file = self.ctx.paths.in_run("pods").join(format!("{key}.yaml"));
        let cell = Arc::new(PodCell::new(plan.clone(), file, self.changed.clone()));
        let state = cell.subscribe();
        let pod = Arc::new(Pod {
            ctx: self.ctx.clone(),
            plan,
            settings: self.settings.clone(),
            cell,
            place,
            publish,
            control_plane: self.control_plane.clone(),
            stop: CancellationToken::new(),
        });
        let changed = self.changed.clone();
        let running = pod.clone();
        let task = tokio::spawn(async move {
            // Also when it panics: the controller must look.
            let _wake = Wake(changed);
            running.run().await;
        });
        let member = Member {
            pod: pod.clone(),
            state: state.clone(),
            task,
            told_ready: false,
            was_ready: false,
            told_trouble: None,
        };
        self.members.insert(key, member);
        Ok((pod, state))
    }

    /// A gateway's ports on the host; tells where they are.
    fn publish(&mut self, plan: &PodPlan) -> Vec<(u16, u16)> {
        let Some(annotation) = plan.annotations.get(PUBLISH_ANNOTATION) else {
            return Vec::new();
        };
        let pod = format!("{}/{}", plan.namespace, plan.name);
        let wanted = match builtin::published(annotation) {
            Ok(wanted) => wanted,
            Err(message) => {
                self.ctx.events.send(Event::Notice { what: pod, message });
                return Vec::new();
            }
        };
        let owner = format!("{}/{}", plan.namespace, plan.owner.name);
        let host = self.settings.publish;
        let mut ports = Vec::new();
        for (real, wish) in wanted {
            let Some(port) = self.ports.assign(&owner, real, wish, host) else {
                let message = format!(
                    "no port of {host} from {wish} on is free: port {real} is not published"
                );
                self.ctx.events.send(Event::Notice {
                    what: pod.clone(),
                    message,
                });
                continue;
            };
            ports.push((real, port));
            let at = std::net::SocketAddr::new(host, port).to_string();
            if ports.len() == 1 && self.url.borrow().is_none() {
                self.url.send_replace(Some(format!("http://{at}")));
            }
            self.ctx.events.send(Event::Published {
                pod: pod.clone(),
                port: real,
                at,
                moved: port != wish,
            });
        }
        ports
    }

    fn command(&mut self, command: Command) {
        // A caller that has gone does not want the answer.
        match command {
            Command::Pods(reply) => {
                let _ = reply.send(self.members.values().map(Member::row).collect());
            }
            Command::Find {
                namespace,
                name,
                reply,
            } => {
                let _ = reply.send(self.find(&namespace, &name));
            }
            Command::Run { request, reply } => {
                let objects = self.objects.borrow().objects.clone();
                let started = self
                    .runs
                    .plan(&request, &objects)
                    .and_then(|plan| self.start(plan));
                let _ = reply.send(started);
            }
            Command::RunEnded { key } => {
                if let Some(member) = self.members.get(&key) {
                    member.pod.stop.cancel();
                }
            }
        }
    }

    fn find(&self, namespace: &str, name: &str) -> Result<Arc<Pod>, String> {
        let here = |member: &&Member| member.pod.plan.namespace == namespace;
        let by_name = self
            .members
            .values()
            .filter(here)
            .find(|member| member.pod.plan.name == name);
        let of_owner = || {
            let mut pods: Vec<&Member> = self
                .members
                .values()
                .filter(here)
                .filter(|member| member.pod.plan.owner.name == name)
                .collect();
            pods.sort_by_key(|member| !member.state.borrow().ready());
            pods.first().copied()
        };
        by_name
            .or_else(of_owner)
            .map(|member| member.pod.clone())
            .ok_or_else(|| {
                let names: Vec<&str> = self
                    .members
                    .values()
                    .filter(here)
                    .map(|member| member.pod.plan.name.as_str())
                    .collect();
                format!(
                    "no pod or workload {name} in namespace {namespace}; there are: {}",
                    names.join(", ")
                )
            })
    }

    fn reload_settings(&mut self) {
        let time = settings_time(&self.ctx);
        if time == self.settings_time {
            return;
        }
        self.settings_time = time;
        match LocalMesh::load(&self.ctx.paths.config) {
            Ok(mut new) => {
                self.settings_error = None;
                if new.network != self.settings.network || new.publish != self.settings.publish {
                    let message =
                        "network and publish take effect at the next start of the mesh".to_owned();
                    self.ctx.events.send(Event::Notice {
                        what: crate::settings::FILE_NAME.into(),
                        message,
                    });
                    (new.network, new.publish) = (self.settings.network, self.settings.publish);
                }
                if let Err(error) = write_builtin(&self.ctx.paths.in_run("builtin"), &new) {
                    tracing::error!(%error, "write the built-in objects");
                }
                self.settings = Arc::new(new);
            }
            Err(error) => {
                let message = format!("{error}; the settings in force stay");
                self.settings_error = Some(message.clone());
                self.ctx.events.send(Event::Configuration { message });
            }
        }
    }

    fn tell_configuration(&mut self, published: &Published) {
        let errors: HashSet<String> = published.errors.iter().map(ToString::to_string).collect();
        for message in errors.difference(&self.told_errors) {
            self.ctx.events.send(Event::Configuration {
                message: message.clone(),
            });
        }
        self.told_errors = errors;
    }

    fn tell_pods(&mut self) {
        for member in self.members.values_mut() {
            let state = member.state.borrow_and_update().clone();
            let pod = member.pod.id();
            if state.ready() && !member.told_ready {
                self.ctx.events.send(Event::PodReady { pod: pod.clone() });
            }
            member.told_ready = state.ready();
            member.was_ready |= state.ready();
            // Until it is ready for the first time, a probe that fails says that it starts.
            let told = |(reason, _): &(&str, String)| member.was_ready || *reason != UNREADY;
            let trouble = if state.ready() { None } else { state.trouble() };
            let trouble = trouble.filter(told);
            let text = trouble.as_ref().map(|(_, message)| message.clone());
            if let (Some((reason, message)), true) = (trouble, text != member.told_trouble) {
                self.ctx.events.send(Event::PodProblem {
                    pod,
                    reason: reason.into(),
                    message,
                });
            }
            member.told_trouble = text;
        }
    }

    /// Once: everything that can run is ready.
    fn tell_ready(&mut self, wanted: &[Arc<PodPlan>]) {
        if self.told_ready || !*self.control_plane.borrow() {
            return;
        }
        let states = wanted.iter().map(|plan| {
            self.members
                .get(&plan.key())
                .map(|member| member.state.borrow().clone())
        });
        let Some(states) = states.collect::<Option<Vec<PodState>>>() else {
            return;
        };
        if states
            .iter()
            .all(|state| state.ready() || state.blocked || state.finished.is_some())
        {
            self.told_ready = true;
            let blocked = self
                .members
                .values()
                .filter(|member| member.state.borrow().blocked)
                .map(|member| member.pod.id());
            self.ctx.events.send(Event::Ready {
                url: self.url.borrow().clone(),
                ready: states.iter().filter(|state| state.ready()).count(),
                blocked: blocked.collect(),
            });
        }
    }
}

/// Wakes the controller when dropped.
struct Wake(Arc<Notify>);

impl Drop for Wake {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

fn settings_time(ctx: &Context) -> Option<SystemTime> {
    std::fs::metadata(ctx.paths.config.join(crate::settings::FILE_NAME))
        .and_then(|meta| meta.modified())
        .ok()
}

/// Writes the built-in objects, and removes those of gateways that are no longer set.
pub(super) fn write_builtin(directory: &Path, settings: &LocalMesh) -> std::io::Result<()> {
    let files = builtin::objects(settings);
    for entry in std::fs::read_dir(directory)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with(super::runs::PREFIX)
            && !name.starts_with('.')
            && !files.iter().any(|(file, _)| *file == name)
        {
            std::fs::remove_file(entry.path())?;
        }
    }
    for (name, content) in files {
        write_atomically(&directory.join(name), content.as_bytes())?;
    }
    Ok(())
}
