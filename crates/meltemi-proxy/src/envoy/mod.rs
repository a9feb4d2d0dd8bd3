//! Real Envoy as the data plane: this process is then what Istio's agent is to it.
//!
//! Envoy serves the traffic, from a bootstrap derived of the one we were given. We hold what
//! it lacks: the workload's identity (an SDS server), the credential for the control plane (a
//! relay of its ADS streams), the workload's DNS, readiness, merged metrics, and listeners
//! published outside of the workload's namespace.

mod bootstrap;
mod process;
mod publish;
mod secrets;
mod surfaces;

use crate::admin::{self, Surface};
use crate::bootstrap::{AdminAddress, Bootstrap};
use crate::config::{self, OwnSecrets};
use crate::hot_restart::Sockets;
use crate::run::{self, RunError, duplicate, serve_names};
use crate::{Options, node};
use bootstrap::Derivation;
use meltemi_xds::server::{bind_unix, serve_unix};
use meltemi_xds::{AdsRelay, AdsServer, SecretServer};
use process::Process;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use surfaces::Front;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

/// Runs `program` until it ends or is to end.
///
/// # Errors
/// What keeps it from starting, and its own unwanted end.
pub(crate) async fn serve(program: &Path, options: Options) -> Result<(), RunError> {
    let given = run::bootstrap(&options)?;
    let zone = node::zone(&given);
    let own_admin = given.admin.clone();
    let home = Home::make(&options)?;
    let shutdown = CancellationToken::new();

    let manager = run::identified(&given, &options)?;
    let (own_secrets, authorization) = (manager.identity.clone(), manager.authorization.clone());
    let ads = given.ads.clone();
    let config = config::Manager::start(without_traffic(given), manager)?;

    if let Some(server) = config.ads_server.clone() {
        let relay = AdsRelay::new(server, authorization);
        serve_socket(&home.xds, Routes::new(relay), &shutdown)?;
    }
    if let Some(own_secrets) = &own_secrets {
        let server = secret_server(own_secrets.clone(), &shutdown);
        serve_socket(&home.sds, Routes::new(server), &shutdown)?;
    }
    if let Some(address) = options.dns.listen {
        serve_names(
            &options,
            address,
            config.name_table.clone(),
            zone,
            &Sockets::default(),
        )?;
    }

    let derived = Derivation {
        ads_cluster: ads.as_ref().map(|ads| ads.cluster.as_str()),
        xds: &home.xds,
        sds: own_secrets.as_ref().map(|_| home.sds.as_path()),
        admin: &home.admin,
        marked: options.netns.is_some(),
    };
    let file = home.directory.path().join("envoy.json");
    bootstrap::write(&options.config_path, &derived, &file).map_err(RunError::Options)?;
    let mut envoy = Process::start(program, &file, &options)?;

    let front = Rc::new(Front::new(
        home.admin.clone(),
        own_secrets,
        options.servers.application_metrics.clone(),
        duplicate(options.netns.as_ref())?,
    ));
    let servers = &options.servers;
    let admin = servers.admin.or(match own_admin {
        Some(AdminAddress::Socket(address)) => Some(address),
        Some(AdminAddress::Pipe(_)) | None => None,
    });
    for (surface, address) in [
        (Surface::Admin, admin),
        (Surface::Health, servers.health),
        (Surface::Agent, servers.agent),
        (Surface::Prometheus, servers.prometheus),
    ] {
        if let Some(address) = address {
            admin::serve_tcp(&front, surface, address, &Sockets::default())?;
        }
    }
    if let Some(publish) = &options.publish {
        publish::start(publish, duplicate(options.netns.as_ref())?)?;
    }
    tracing::info!(program = %program.display(), pid = envoy.id(), "started");

    let ended = envoy.until_end(&front, options.drain_time).await;
    shutdown.cancel();
    tracing::info!("ended");
    ended
}

/// Of the bootstrap only what leads to the control plane, which sends us the name table: the
/// rest is Envoy's.
fn without_traffic(mut bootstrap: Bootstrap) -> Bootstrap {
    bootstrap.listeners.clear();
    bootstrap.secrets.clear();
    bootstrap.lds = None;
    bootstrap.cds = None;
    let ads = bootstrap.ads.as_ref().map(|ads| ads.cluster.clone());
    bootstrap
        .clusters
        .retain(|cluster| ads.as_ref() == Some(&config::name_of(cluster, 0)));
    bootstrap
}

fn secret_server(
    own: watch::Receiver<OwnSecrets>,
    shutdown: &CancellationToken,
) -> SecretServer<secrets::Source> {
    let source = secrets::Source::start(own);
    SecretServer(AdsServer::new(source, shutdown.clone()))
}

fn serve_socket(path: &Path, routes: Routes, shutdown: &CancellationToken) -> Result<(), RunError> {
    let listener = bind_unix(path)?;
    let shutdown = shutdown.clone();
    tokio::spawn(async move {
        if let Err(error) = serve_unix(listener, routes, shutdown).await {
            tracing::error!(%error, "a server for Envoy ended");
        }
    });
    Ok(())
}

/// The files between us and Envoy, in a directory of our own (0700).
struct Home {
    directory: tempfile::TempDir,
    xds: PathBuf,
    sds: PathBuf,
    /// Envoy's admin API; where we were told, if we were.
    admin: PathBuf,
}

impl Home {
    fn make(options: &Options) -> std::io::Result<Self> {
        let told = options.admin_socket.as_deref();
        let parent = told
            .and_then(Path::parent)
            .map_or_else(std::env::temp_dir, Path::to_owned);
        let directory = tempfile::Builder::new()
            .prefix("envoy-")
            .tempdir_in(parent)?;
        Ok(Self {
            xds: directory.path().join("xds"),
            sds: directory.path().join("sds"),
            admin: told.map_or_else(|| directory.path().join("admin"), Path::to_owned),
            directory,
        })
    }
}
