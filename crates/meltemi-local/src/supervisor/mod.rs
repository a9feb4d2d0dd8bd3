//! Runs a local mesh: the control plane, a proxy and the applications of every pod, from a
//! configuration directory, until it is told to stop.

mod addresses;
mod admin;
mod api;
mod backoff;
mod commands;
mod container;
mod context;
mod control_plane;
mod controller;
mod credential;
pub(crate) mod entrance;
mod ground;
mod health;
mod member;
mod pod;
mod processes;
mod rollout;
mod runs;
mod sidecar;
mod status;

pub use member::PodRow;
pub use runs::RunRequest;

use crate::events::{Event, Events};
use crate::paths::MeshPaths;
use crate::running::{Claim, ClaimError, MeshInfo, Mode, start_time};
use crate::sandbox::SandboxError;
use crate::settings::{LocalMesh, SettingsError};
use context::Context;
use controller::Controller;
use meltemi_config::{Directory, DirectorySource, ReadOptions, SourceOptions, Trust};
use processes::Processes;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Commands waiting for the controller.
const QUEUE: usize = 64;

/// How to run a mesh.
#[derive(Debug, Clone)]
pub struct Options {
    /// The configuration directory.
    pub config_dir: PathBuf,
    /// The `meltemi` program, for the mesh's own processes and for `meltemi` in commands.
    pub executable: PathBuf,
    /// The command that becomes the sandbox; `--fd N` is added. `EXECUTABLE sandbox`.
    pub sandbox: Vec<String>,
    /// Version of this program.
    pub version: String,
    /// Overrides the settings' publish address.
    pub publish: Option<IpAddr>,
    /// Overrides the host's port of a gateway's port (target port, wanted port).
    pub publish_ports: Vec<(u16, u16)>,
    /// Further arguments of the control plane, `--cert-ttl 1h` for example.
    pub control_plane_args: Vec<String>,
    /// How applications are connected; none: with namespaces where the machine allows them.
    pub mode: Option<Mode>,
}

impl Options {
    /// The usual ones: the program that calls is `meltemi` itself.
    pub fn new(config_dir: PathBuf, version: &str) -> io::Result<Self> {
        let executable = std::env::current_exe()?;
        let sandbox = vec![executable.to_string_lossy().into_owned(), "sandbox".into()];
        Ok(Self {
            config_dir,
            executable,
            sandbox,
            version: version.to_owned(),
            publish: None,
            publish_ports: Vec::new(),
            control_plane_args: Vec::new(),
            mode: None,
        })
    }
}

/// Why a mesh did not start or did not go on.
#[derive(Debug, thiserror::Error)]
pub enum UpError {
    /// The configuration directory cannot be used.
    #[error("configuration directory {0}: {1}")]
    Directory(PathBuf, #[source] io::Error),
    /// The settings file is wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Another supervisor runs this mesh, or its directories cannot be made.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// The machine does not give what the sandbox needs; the text has the remedy.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// A file or socket of the run directory.
    #[error("{0}: {1}")]
    Io(&'static str, #[source] io::Error),
}

/// Runs the mesh until `stop` is cancelled or `POST /v1/down` comes; then everything has ended
/// and nothing is left. Must run on a tokio runtime.
pub async fn up(options: Options, events: Events, stop: CancellationToken) -> Result<(), UpError> {
    let paths = MeshPaths::of(&options.config_dir)
        .map_err(|error| UpError::Directory(options.config_dir.clone(), error))?;
    let mut settings = LocalMesh::load(&paths.config)?;
    apply_overrides(&mut settings, &options);
    let claim = Claim::take(&paths)?;
    let outcome = run(&options, paths, Arc::new(settings), events.clone(), stop).await;
    if let Err(error) = claim.release() {
        tracing::warn!(%error, "the run directory stays");
    }
    events.send(Event::Stopped);
    outcome
}

fn apply_overrides(settings: &mut LocalMesh, options: &Options) {
    if let Some(address) = options.publish {
        settings.publish = address;
    }
    for (target, wanted) in &options.publish_ports {
        for port in settings
            .gateways
            .iter_mut()
            .flat_map(|gateway| &mut gateway.ports)
        {
            if port.target_port == *target {
                port.publish = Some(*wanted);
            }
        }
    }
}

async fn run(
    options: &Options,
    paths: MeshPaths,
    settings: Arc<LocalMesh>,
    events: Events,
    stop: CancellationToken,
) -> Result<(), UpError> {
    let (sandbox, ends) = ground::prepare(options, &settings, &events).await?;
    let capabilities = sandbox.capabilities();
    let mode = if capabilities.namespaces {
        Mode::Namespaces
    } else {
        Mode::Loopback
    };
    let (processes, mut gone) = Processes::new(sandbox, ends);

    let directory = |path: PathBuf, trust| Directory {
        path,
        read: ReadOptions {
            trust,
            ..ReadOptions::default()
        },
    };
    let directories = vec![
        directory(paths.config.clone(), Trust::User),
        directory(paths.in_run("builtin"), Trust::Platform),
    ];
    controller::write_builtin(&paths.in_run("builtin"), &settings)
        .map_err(|error| UpError::Io("write the built-in objects", error))?;
    let source = DirectorySource::open(directories, SourceOptions::default())
        .await
        .map_err(|error| UpError::Io("read the configuration", error))?;
    let ctx = Arc::new(Context {
        paths: paths.clone(),
        executable: options.executable.clone(),
        version: options.version.clone(),
        control_plane_args: options.control_plane_args.clone(),
        processes,
        events: events.clone(),
        rootless: capabilities.rootless,
        mode,
        objects: source.subscribe(),
        shutdown: CancellationToken::new(),
    });

    let pid = std::process::id() as i32;
    let (info, info_reader) = watch::channel(MeshInfo {
        name: paths.name.clone(),
        dir: paths.config.clone(),
        pid,
        start_time: start_time(pid).unwrap_or_default(),
        url: None,
        version: options.version.clone(),
        mode,
    });
    let (commands, queue) = mpsc::channel(QUEUE);
    let listener = UnixListener::bind(paths.in_run("supervisor.sock"))
        .map_err(|error| UpError::Io("supervisor.sock", error))?;
    let api = Arc::new(api::Api {
        info: info_reader.clone(),
        commands: commands.clone(),
        stop: stop.clone(),
    });
    let api = tokio::spawn(api::serve(listener, api));
    let listener = std::os::unix::net::UnixListener::bind(paths.in_run("enter.sock"))
        .map_err(|error| UpError::Io("enter.sock", error))?;
    entrance::serve(listener, commands, tokio::runtime::Handle::current())
        .map_err(|error| UpError::Io("enter.sock", error))?;
    info.borrow()
        .write(&paths.run)
        .map_err(|error| UpError::Io("mesh.json", error))?;

    let (control_ready, control_reader) = watch::channel(false);
    let control_stop = CancellationToken::new();
    let control = tokio::spawn(control_plane::run(
        ctx.clone(),
        settings.clone(),
        control_ready,
        control_stop.clone(),
    ));
    let (url, mut urls) = watch::channel(None);
    let controller = Controller::new(ctx.clone(), settings, control_reader, url);
    let controller = controller.run(queue, stop.clone());
    let publishing = async {
        while urls.changed().await.is_ok() {
            info.send_modify(|info| info.url.clone_from(&urls.borrow_and_update()));
            if let Err(error) = info.borrow().write(&paths.run) {
                tracing::error!(%error, "mesh.json");
            }
        }
        std::future::pending::<()>().await
    };
    let stopping = {
        let (stop, events) = (stop.clone(), events.clone());
        tokio::spawn(async move {
            stop.cancelled().await;
            events.send(Event::Stopping);
        })
    };
    let outcome = tokio::select! {
        () = controller => Ok(()),
        () = publishing => Ok(()),
        _ = &mut gone => Err(UpError::Sandbox(SandboxError::Gone)),
    };
    stopping.abort();
    api.abort();
    drop(source);
    ctx.shutdown.cancel();
    control_stop.cancel();
    if outcome.is_ok() {
        // Bounded by the control plane's own grace period.
        let _ = control.await;
        gone.abort();
        if let Err(error) = gone.await
            && !error.is_cancelled()
        {
            tracing::error!(%error, "the sandbox's events");
        }
    }
    outcome
}
