//! The control-plane process: configuration in, xDS and certificates out, and an API that
//! tells what is in force.

mod api;
mod build;
mod culprits;
mod lock;
mod proxies;
mod source;
mod standing;
mod state;
mod status_file;
mod tls;
mod translations;

use crate::world::WorldOptions;
use meltemi_config::{Directory, DirectorySource, Editor, ReadOptions, SourceOptions, Trust};
use meltemi_identity::{
    Authority, AuthorityError, AuthorityOptions, CsrService, JoinTokens, LocalCredentials,
    MutualTls, RateLimit, SpiffeError, Store, StoreError, TrustDomain,
};
use meltemi_registry::Range16;
use meltemi_xds::server::{AdsServer, bind_unix, serve_tcp, serve_unix};
use source::{Proof, Source};
use state::State;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio_util::sync::CancellationToken;

/// How often it is looked whether a step is due in the replacement of the CA's root.
const ROTATION_CHECK: Duration = Duration::from_secs(1);

/// What a control plane is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Directory of the user's YAML; edits go here.
    pub config_dir: PathBuf,
    /// Further directories whose word is the platform's: Pods with their status, built-ins.
    pub platform_dirs: Vec<PathBuf>,
    /// Keys and last good objects (`store.redb`, `last-good.jsonl`); made private.
    pub state_dir: PathBuf,
    /// One-time credentials of local workloads; without it Unix peers cannot get certificates.
    pub credentials_dir: Option<PathBuf>,
    /// Admin sockets of proxies (`NAMESPACE.POD.sock`), asked for certificates by `status`.
    pub admin_dir: Option<PathBuf>,
    /// xDS and certificates for local proxies.
    pub xds_socket: Option<PathBuf>,
    /// The API.
    pub api_socket: Option<PathBuf>,
    /// xDS without TLS and without authentication (Istio's 15010). Certificates are not
    /// issued here.
    pub plaintext_address: Option<SocketAddr>,
    /// xDS and certificates over TLS (Istio's 15012).
    pub tls_address: Option<SocketAddr>,
    /// `cluster.local` unless MeshConfig says otherwise.
    pub trust_domain: Option<String>,
    pub cluster_id: String,
    /// Cluster IPs of Services that name none.
    pub service_range: Range16,
    /// A plugged-in CA, laid out as Istio's `cacerts`.
    pub cacerts: Option<PathBuf>,
    /// Lifetime of workload certificates (Istio: 24 h).
    pub certificate_ttl: Duration,
}

impl Options {
    pub fn new(config_dir: impl Into<PathBuf>, state_dir: impl Into<PathBuf>) -> Self {
        Self {
            config_dir: config_dir.into(),
            platform_dirs: Vec::new(),
            state_dir: state_dir.into(),
            credentials_dir: None,
            admin_dir: None,
            xds_socket: None,
            api_socket: None,
            plaintext_address: None,
            tls_address: None,
            trust_domain: None,
            cluster_id: WorldOptions::default().cluster_id,
            service_range: WorldOptions::default().service_range,
            cacerts: None,
            certificate_ttl: Duration::from_secs(24 * 3600),
        }
    }
}

/// Why a control plane cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ControlPlaneError {
    #[error("cannot watch {directory}: {source}")]
    Config {
        directory: PathBuf,
        source: io::Error,
    },
    #[error("cannot make the state directory {directory}: {source}")]
    State {
        directory: PathBuf,
        source: io::Error,
    },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error("trust domain: {0}")]
    TrustDomain(#[from] SpiffeError),
    #[error("cannot listen on {at}: {source}")]
    Listen { at: String, source: io::Error },
    #[error("serving xDS: {0}")]
    Serve(#[from] tonic::transport::Error),
    #[error("TLS certificate of the control plane: {0}")]
    Tls(String),
}

/// Runs until `shutdown` is cancelled.
///
/// # Errors
/// What keeps it from starting, or a listener that fails for good.
pub async fn run(options: Options, shutdown: CancellationToken) -> Result<(), ControlPlaneError> {
    make_private(&options.state_dir).map_err(|source| ControlPlaneError::State {
        directory: options.state_dir.clone(),
        source,
    })?;
    let config = open_config(&options).await?;
    let first = config.current();
    let mesh_config = first.objects.mesh_config();
    let trust_domain: TrustDomain = options
        .trust_domain
        .clone()
        .or_else(|| mesh_config.trust_domain.clone())
        .unwrap_or_else(|| "cluster.local".to_owned())
        .parse()?;
    let world_options = WorldOptions {
        cluster_id: options.cluster_id.clone(),
        service_range: options.service_range,
        trust_domain: Some(trust_domain.as_str().to_owned()),
        ..WorldOptions::default()
    };
    let state = Arc::new(State::new(&first, world_options, &options));
    let builder = tokio::spawn(build::follow(state.clone(), config.subscribe()));

    let status = options.state_dir.join("status.json");
    let status = tokio::spawn(status_file::follow(state.clone(), status));

    let store = Store::open(&options.state_dir)?;
    let authority = Arc::new(authority(&options, &store, trust_domain.clone())?);
    if let Some(warning) = authority.expiry_warning(SystemTime::now()) {
        tracing::warn!("{warning}");
    }
    let rotation = tokio::spawn(follow_rotation(authority.clone()));
    let join_tokens = JoinTokens::new(store, trust_domain.clone());
    let credentials = options
        .credentials_dir
        .as_ref()
        .map(|directory| LocalCredentials::new(directory, trust_domain.clone()));
    let ads = |proof| AdsServer::new(Source::new(state.clone(), proof), shutdown.clone());
    let local = ads(Proof::Credential(credentials.clone()));
    let plaintext = ads(Proof::Nothing);
    let tls = ads(Proof::Certificate);
    let editor = Editor::new(user_directory(&options));
    let served = tokio::try_join!(
        serve_local(&options, &local, &authority, credentials, &shutdown),
        serve_plaintext(&options, &plaintext, &shutdown),
        serve_tls(&options, &tls, &authority, &join_tokens, &shutdown),
        serve_api(
            &options,
            api::Context {
                state: state.clone(),
                editor: Arc::new(editor),
                config: &config,
                authority: authority.clone(),
                // Without a TLS port there is nothing to join by.
                join_tokens: options.tls_address.map(|_| join_tokens.clone()),
            },
            &shutdown
        ),
    );
    builder.abort();
    status.abort();
    rotation.abort();
    served.map(|_| ())
}

/// Makes the directory for its owner alone; one that exists keeps its mode, which the store
/// checks.
fn make_private(directory: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
}

fn user_directory(options: &Options) -> Directory {
    Directory {
        path: options.config_dir.clone(),
        read: ReadOptions::default(),
    }
}

async fn open_config(options: &Options) -> Result<DirectorySource, ControlPlaneError> {
    let platform = options.platform_dirs.iter().map(|path| Directory {
        path: path.clone(),
        read: ReadOptions {
            trust: Trust::Platform,
            ..ReadOptions::default()
        },
    });
    let directories = std::iter::once(user_directory(options)).chain(platform);
    let source_options = SourceOptions {
        last_good: Some(options.state_dir.join("last-good.jsonl")),
        ..SourceOptions::default()
    };
    DirectorySource::open(directories.collect(), source_options)
        .await
        .map_err(|source| ControlPlaneError::Config {
            directory: options.config_dir.clone(),
            source,
        })
}

fn authority(
    options: &Options,
    store: &Store,
    trust_domain: TrustDomain,
) -> Result<Authority, ControlPlaneError> {
    let authority = AuthorityOptions {
        trust_domain,
        default_ttl: options.certificate_ttl,
        max_ttl: options
            .certificate_ttl
            .max(AuthorityOptions::default().max_ttl),
    };
    Ok(match &options.cacerts {
        Some(directory) => Authority::plugged_in(directory, authority)?,
        None => Authority::self_signed(store, authority)?,
    })
}

/// Takes the steps of a replacement of the CA's root as they fall due.
async fn follow_rotation(authority: Arc<Authority>) {
    let mut ticks = tokio::time::interval(ROTATION_CHECK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = authority.advance(SystemTime::now()) {
            tracing::error!("the replacement of the CA's root does not go on: {error}");
        }
    }
}

fn listen_error(at: impl ToString) -> impl FnOnce(io::Error) -> ControlPlaneError {
    let at = at.to_string();
    move |source| ControlPlaneError::Listen { at, source }
}

/// xDS and certificates over a Unix socket: peers prove themselves by their process and a
/// one-time credential.
async fn serve_local(
    options: &Options,
    ads: &AdsServer<Source>,
    authority: &Arc<Authority>,
    credentials: Option<LocalCredentials>,
    shutdown: &CancellationToken,
) -> Result<(), ControlPlaneError> {
    let Some(path) = &options.xds_socket else {
        return Ok(());
    };
    let listener = bind_unix(path).map_err(listen_error(path.display()))?;
    let routes = tonic::service::Routes::new(ads.clone());
    let routes = match credentials {
        Some(credentials) => routes.add_service(CsrService::new(
            authority.clone(),
            vec![Box::new(credentials)],
            RateLimit::default(),
        )),
        None => routes,
    };
    Ok(serve_unix(listener, routes, shutdown.clone()).await?)
}

async fn serve_plaintext(
    options: &Options,
    ads: &AdsServer<Source>,
    shutdown: &CancellationToken,
) -> Result<(), ControlPlaneError> {
    let Some(address) = options.plaintext_address else {
        return Ok(());
    };
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .map_err(listen_error(address))?;
    let routes = tonic::service::Routes::new(ads.clone());
    Ok(serve_tcp(listener, None, routes, shutdown.clone()).await?)
}

/// xDS and certificates over TLS: peers prove themselves by a certificate of ours, and get
/// their first one for a join token.
async fn serve_tls(
    options: &Options,
    ads: &AdsServer<Source>,
    authority: &Arc<Authority>,
    join_tokens: &JoinTokens,
    shutdown: &CancellationToken,
) -> Result<(), ControlPlaneError> {
    let Some(address) = options.tls_address else {
        return Ok(());
    };
    let tls = tls::source(authority).map_err(ControlPlaneError::Tls)?;
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .map_err(listen_error(address))?;
    let csr = CsrService::new(
        authority.clone(),
        vec![
            Box::new(MutualTls::new(authority.clone())),
            Box::new(join_tokens.clone()),
        ],
        RateLimit::default(),
    );
    let routes = tonic::service::Routes::new(ads.clone()).add_service(csr);
    Ok(serve_tcp(listener, Some(tls), routes, shutdown.clone()).await?)
}

async fn serve_api(
    options: &Options,
    context: api::Context<'_>,
    shutdown: &CancellationToken,
) -> Result<(), ControlPlaneError> {
    let Some(path) = &options.api_socket else {
        shutdown.cancelled().await;
        return Ok(());
    };
    let listener = bind_unix(path).map_err(listen_error(path.display()))?;
    api::serve(listener, context, shutdown.clone()).await;
    Ok(())
}
