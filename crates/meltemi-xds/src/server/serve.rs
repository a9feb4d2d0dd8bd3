//! Listening for gRPC on a Unix socket or on TCP, for the ADS service and for
//! whatever else is served beside it.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tracing::{debug, warn};

use super::bounded::Bounded;

/// Gives the TLS configuration for the next connection, so that a serving
/// certificate can be renewed without closing anything. ALPN must offer `h2`.
pub type TlsSource = Arc<dyn Fn() -> Arc<ServerConfig> + Send + Sync>;

/// A dead peer is noticed after this long plus [`KEEPALIVE_TIMEOUT`]; istiod's
/// `--keepaliveInterval` is the same.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Open connections of one listener; further ones wait to be accepted. Each
/// proxy has two.
const MAX_CONNECTIONS: usize = 10_000;
/// One proxy needs one ADS stream and a CSR call now and then.
const MAX_STREAMS_A_CONNECTION: u32 = 64;
/// TLS handshakes under way at once, and how long each may take.
const MAX_HANDSHAKES: usize = 64;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// After a failed accept (out of descriptors, say) the listener rests this long.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Binds a Unix socket that only its owner may connect to (0600), replacing the
/// socket file of a server that is gone.
///
/// # Errors
/// `AddrInUse` when a server answers on the path, `AlreadyExists` when the path
/// is something other than a socket, or what the system says. Must be called
/// within a tokio runtime.
pub fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!("{} exists and is not a socket", path.display()),
            ));
        }
        Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::AddrInUse,
                    format!("another server listens on {}", path.display()),
                ));
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path)?;
            }
            Err(error) => return Err(error),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(path)?;
    // The run directory is closed to others (0700), so that nobody can slip in
    // between these two lines.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves on a Unix socket until `shutdown` is cancelled and the streams have
/// ended. Peers are known by `SO_PEERCRED`.
///
/// # Errors
/// What ends the server other than its shutdown.
pub async fn serve_unix(
    listener: UnixListener,
    routes: Routes,
    shutdown: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let incoming = stream::unfold((listener, permits), async |(listener, permits)| {
        let permit = Arc::clone(&permits).acquire_owned().await.ok()?;
        let accepted = listener.accept().await;
        let accepted = accepted.map(|(stream, _)| Bounded::new(stream, permit));
        Some((rest_on_error(accepted).await, (listener, permits)))
    });
    serve(incoming.filter_map(std::future::ready), routes, shutdown).await
}

/// Serves on TCP, with TLS when there is a source of its configuration, until
/// `shutdown` is cancelled and the streams have ended.
///
/// # Errors
/// What ends the server other than its shutdown.
pub async fn serve_tcp(
    listener: TcpListener,
    tls: Option<TlsSource>,
    routes: Routes,
    shutdown: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let incoming = stream::unfold((listener, permits), async |(listener, permits)| {
        let permit = Arc::clone(&permits).acquire_owned().await.ok()?;
        let accepted = listener.accept().await;
        let accepted = accepted.and_then(|(stream, _)| {
            stream.set_nodelay(true)?;
            Ok(Bounded::new(stream, permit))
        });
        Some((rest_on_error(accepted).await, (listener, permits)))
    })
    .filter_map(std::future::ready);
    match tls {
        None => serve(incoming, routes, shutdown).await,
        Some(tls) => {
            let incoming = incoming
                .map(move |accepted| handshake(accepted, tls()))
                .buffer_unordered(MAX_HANDSHAKES)
                .filter_map(std::future::ready);
            serve(incoming, routes, shutdown).await
        }
    }
}

async fn serve<IO>(
    incoming: impl Stream<Item = io::Result<IO>>,
    routes: Routes,
    shutdown: CancellationToken,
) -> Result<(), tonic::transport::Error>
where
    IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_concurrent_streams(Some(MAX_STREAMS_A_CONNECTION))
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, shutdown.cancelled_owned())
        .await
}

/// A failed accept concerns one connection; the server goes on.
async fn rest_on_error<IO>(accepted: io::Result<IO>) -> Option<io::Result<IO>> {
    match accepted {
        Ok(stream) => Some(Ok(stream)),
        Err(error) => {
            warn!("accepting a connection failed: {error}");
            tokio::time::sleep(ACCEPT_REST).await;
            None
        }
    }
}

async fn handshake(
    accepted: io::Result<Bounded<TcpStream>>,
    config: Arc<ServerConfig>,
) -> Option<io::Result<TlsStream<Bounded<TcpStream>>>> {
    let stream = accepted.ok()?;
    let peer = stream.connect_info().remote_addr();
    let handshake = TlsAcceptor::from(config).accept(stream);
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
        Ok(Ok(stream)) => Some(Ok(stream)),
        Ok(Err(error)) => {
            debug!(?peer, "TLS handshake failed: {error}");
            None
        }
        Err(_) => {
            debug!(
                ?peer,
                "TLS handshake took longer than {HANDSHAKE_TIMEOUT:?}"
            );
            None
        }
    }
}
