//! The proxy process, from its start to its end.

use crate::admin::{self, Admin, ServerError, Surface};
use crate::bootstrap::{AdminAddress, Bootstrap, BootstrapError};
use crate::dns::{Forwarder, ResolverConfig, SharedTable, Table};
use crate::hot_restart::{self, Sockets};
use crate::lifecycle::{Control, until_end};
use crate::logging::Levels;
use crate::model::Snapshot;
use crate::worker::{Group, Workers, can_listen, process_start};
use crate::{Options, config, dns, envoy, identity, node, overload, sys, telemetry};
use arc_swap::ArcSwap;
use meltemi_identity::Credential;
use meltemi_xds::nds::NameTable;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A configuration rests when none has come for so long.
const CALM: Duration = Duration::from_secs(1);

/// Why a proxy did not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("{0}")]
    Options(String),
    #[error("{path}: {source}")]
    Bootstrap {
        path: PathBuf,
        source: BootstrapError,
    },
    #[error(transparent)]
    Config(#[from] config::StartError),
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error("hot restart: {0}")]
    HotRestart(io::Error),
    #[error("Envoy: {0}")]
    Envoy(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Runs a proxy on the calling thread until it is told to end. The thread must be in the
/// host's network namespace and have no runtime.
///
/// # Errors
/// Anything that keeps it from starting. Once it has started, nothing of the configuration
/// ends it.
pub fn run(options: Options) -> Result<(), RunError> {
    process_start();
    let levels = Levels::start(&options.log_level).map_err(RunError::Options)?;
    report_panics();
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let tasks = tokio::task::LocalSet::new();
    match options.envoy.clone() {
        Some(program) => tasks.block_on(&runtime, envoy::serve(&program, options)),
        None => tasks.block_on(&runtime, serve(options, levels)),
    }
}

/// The bootstrap with what the command line overrides.
pub(crate) fn bootstrap(options: &Options) -> Result<Bootstrap, RunError> {
    let mut bootstrap =
        Bootstrap::read(&options.config_path).map_err(|source| RunError::Bootstrap {
            path: options.config_path.clone(),
            source,
        })?;
    if let Some(id) = &options.service_node {
        bootstrap.node.id = id.clone();
    }
    if let Some(cluster) = &options.service_cluster {
        bootstrap.node.cluster = cluster.clone();
    }
    Ok(bootstrap)
}

/// The workload's identity, fetched from now on, and what it shows the control plane.
pub(crate) fn identified(
    bootstrap: &Bootstrap,
    options: &Options,
) -> Result<config::Options, RunError> {
    let mut manager = config::Options::default();
    if let Some(credential) = &options.credential {
        let roots = options.root_cert.as_deref();
        let own = identity::start(bootstrap, credential.clone(), roots);
        manager.identity = Some(own.map_err(RunError::Options)?);
        // One from a file is good for the CA only; ADS is shown the certificate.
        if let Credential::Token(token) = credential {
            let header = format!("Bearer {token}");
            manager.authorization = Some(Arc::new(move || Some(header.clone())));
        }
    }
    Ok(manager)
}

async fn serve(options: Options, levels: Levels) -> Result<(), RunError> {
    let bootstrap = bootstrap(&options)?;
    telemetry::set_node(&bootstrap.node);
    telemetry::set_local_workload(&bootstrap.node.id, node::peer_info(&bootstrap));
    let zone = node::zone(&bootstrap);
    let overloaded = bootstrap.overload.clone();
    let admin_address = bootstrap.admin.clone();

    let mut manager = identified(&bootstrap, &options)?;
    let namespace = duplicate(options.netns.as_ref())?;
    manager.probe = Some(Arc::new(move |address| {
        can_listen(address, namespace.as_ref().map(AsFd::as_fd))
    }));
    let config = config::Manager::start(bootstrap, manager)?;

    let sockets = match &options.hot_restart {
        Some(_) => Sockets::kept(),
        None => Sockets::default(),
    };
    let predecessor = match &options.hot_restart {
        Some(path) => {
            hot_restart::Predecessor::find(path, &sockets).map_err(RunError::HotRestart)?
        }
        None => None,
    };
    if predecessor.is_some() {
        tracing::info!("taking over from a running process");
        // Until then it serves alone: it knows more. The sender lives as long as the manager.
        let live = |readiness: &config::Readiness| matches!(readiness, config::Readiness::Live);
        let _ = config.readiness().wait_for(live).await;
    }
    let shed = overloaded.as_ref().map(overload::Levels::of);
    let shed = Arc::new(shed.unwrap_or_default());
    let max_connections = overloaded
        .as_ref()
        .and_then(|overload| overload.max_connections);
    let workers = Workers::start(
        Group {
            count: options.concurrency,
            namespace: duplicate(options.netns.as_ref())?,
            mesh: options.mesh_cidrs.clone(),
            publish: options.publish.clone(),
            max_connections: max_connections.map_or(options.max_connections, |limit| {
                limit.min(options.max_connections)
            }),
            overload: shed.clone(),
            sockets: sockets.clone(),
            listener_drain: options.listener_drain,
        },
        config.snapshots.clone(),
    )?;

    telemetry::observe(
        config.snapshots.clone(),
        u32::try_from(options.concurrency).unwrap_or(u32::MAX),
        config.server_status(),
    );
    if let Some(predecessor) = predecessor {
        let generation = config.snapshot().generation;
        let applied = |applied: &u64| *applied >= generation;
        let _ = workers.handle().applied().wait_for(applied).await;
        take_over(predecessor).await?;
    }
    let successor = match &options.hot_restart {
        Some(path) => {
            Some(hot_restart::offer(path, sockets.clone()).map_err(RunError::HotRestart)?)
        }
        None => None,
    };
    if let Some(address) = options.dns.listen {
        serve_names(&options, address, config.name_table.clone(), zone, &sockets)?;
    }

    tokio::task::spawn_local(release_memory(
        config.snapshots.clone(),
        options.release_memory,
    ));
    if let Some(overloaded) = overloaded {
        tokio::task::spawn_local(overload::refresh(overloaded, shed, options.release_memory));
    }

    let control = Control::default();
    let admin = Rc::new(Admin {
        config,
        workers: workers.handle(),
        control: control.clone(),
        levels,
        command_line: command_line(&options),
        application_metrics: options.servers.application_metrics.clone(),
        namespace: duplicate(options.netns.as_ref())?,
        warm: std::cell::Cell::new(false),
    });
    let paths = serve_own(&admin, &options, admin_address, &sockets)?;
    sockets.drop_unwanted();
    tracing::info!(workers = options.concurrency, "started");

    let handle = workers.handle();
    let ended = until_end(&control, &handle, options.drain_time, successor, &sockets).await;
    workers.stop();
    telemetry::log::flush();
    if !sockets.are_handed_over() {
        for path in paths.iter().chain(&options.hot_restart) {
            // Best effort: a stale file is replaced at the next start.
            let _ = std::fs::remove_file(path);
        }
    }
    tracing::info!("ended");
    Ok(ended?)
}

/// Tells the predecessor that its place is taken, and waits until it accepts no more.
async fn take_over(predecessor: hot_restart::Predecessor) -> io::Result<()> {
    let released = tokio::task::spawn_blocking(move || predecessor.release()).await;
    if let Err(error) = released.map_err(io::Error::other)? {
        tracing::warn!(%error, "the process whose place this one takes has gone");
    }
    Ok(())
}

/// Gives back what reading a configuration took, once no other has come for a while.
async fn release_memory(mut snapshots: watch::Receiver<Arc<Snapshot>>, release: fn()) {
    while snapshots.changed().await.is_ok() {
        while let Ok(changed) = tokio::time::timeout(CALM, snapshots.changed()).await {
            if changed.is_err() {
                return;
            }
        }
        release();
        sys::release_program_pages();
    }
}

/// Opens the proxy's own servers; answers the Unix sockets' paths.
fn serve_own(
    admin: &Rc<Admin>,
    options: &Options,
    configured: Option<AdminAddress>,
    sockets: &Sockets,
) -> Result<Vec<std::path::PathBuf>, ServerError> {
    let servers = &options.servers;
    let mut paths = Vec::new();
    match (servers.admin, configured) {
        (Some(address), _) | (None, Some(AdminAddress::Socket(address))) => {
            admin::serve_tcp(admin, Surface::Admin, address, sockets)?;
        }
        (None, Some(AdminAddress::Pipe(path))) => paths.push(path),
        (None, None) => {}
    }
    paths.extend(options.admin_socket.clone());
    for path in &paths {
        admin::serve_unix(admin, path, sockets)?;
    }
    for (surface, address) in [
        (Surface::Health, servers.health),
        (Surface::Agent, servers.agent),
        (Surface::Prometheus, servers.prometheus),
    ] {
        if let Some(address) = address {
            admin::serve_tcp(admin, surface, address, sockets)?;
        }
    }
    Ok(paths)
}

/// Answers the workload's DNS by the name table.
pub(crate) fn serve_names(
    options: &Options,
    address: SocketAddr,
    names: watch::Receiver<Arc<NameTable>>,
    zone: dns::Zone,
    sockets: &Sockets,
) -> io::Result<()> {
    let table: SharedTable = Arc::new(ArcSwap::from_pointee(Table::empty(zone.clone())));
    let forwarder = Forwarder::new(ResolverConfig::read(&options.dns.resolv_conf));
    let namespace = options.netns.as_ref().map(AsFd::as_fd);
    dns::serve(
        address,
        namespace,
        table.clone(),
        options.dns.unknown,
        forwarder,
        sockets,
    )?;
    tokio::task::spawn_local(follow_names(names, table, zone));
    Ok(())
}

async fn follow_names(
    mut names: watch::Receiver<Arc<NameTable>>,
    table: SharedTable,
    zone: dns::Zone,
) {
    loop {
        let (built, errors) = Table::from_nds(&names.borrow_and_update().clone(), zone.clone());
        for error in errors {
            tracing::warn!("{error}");
        }
        tracing::debug!(names = built.len(), "name table");
        table.store(Arc::new(built));
        if names.changed().await.is_err() {
            return;
        }
    }
}

pub(crate) fn duplicate(namespace: Option<&OwnedFd>) -> io::Result<Option<OwnedFd>> {
    namespace.map(OwnedFd::try_clone).transpose()
}

/// For `/server_info`; no credential in it.
fn command_line(options: &Options) -> serde_json::Value {
    serde_json::json!({
        "config_path": options.config_path.display().to_string(),
        "concurrency": options.concurrency,
        "log_level": options.log_level,
        "drain_time": format!("{}s", options.drain_time.as_secs_f64()),
        "listener_drain_time": format!("{}s", options.listener_drain.as_secs_f64()),
        "max_connections": options.max_connections,
        "namespace": options.netns.is_some(),
        "publish": options.publish.as_ref().map(|publish| publish.address.to_string()),
    })
}

/// A panic ends the task it happened in, nothing more: it is a defect to report, with its
/// place, in the log.
fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        let what = panic
            .payload()
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.payload().downcast_ref::<String>().map(String::as_str))
            .unwrap_or("panic");
        tracing::error!(place, "a task ended by a defect of the proxy: {what}");
    }));
}

/// Raises the soft limit of open files to the hard one, for programs that hold a connection a
/// client: the 1024 of many systems are for programs that use `select`. Children inherit it.
pub fn raise_file_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}
