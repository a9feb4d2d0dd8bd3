//! HTTP/1 on a listening socket, bounded in everything.

use super::reply::Reply;
use super::{Answers, Surface};
use crate::hot_restart::{SocketKey, SocketKind, Sockets};
use crate::net::{self, netns};
use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Limited};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;

/// Clients of one server at once; the next wait in the kernel's queue.
const CLIENTS: usize = 64;
/// For a request's head and for its body.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// After a successor has taken over, a request may still be on its way here.
const ON_ITS_WAY: Duration = Duration::from_millis(500);
/// Bound on a request's body: none of them needs one.
const MAX_BODY: usize = 64 * 1024;
/// Bytes of a request's head.
const MAX_HEAD: usize = 16 * 1024;

pub type Incoming = http::Request<Bytes>;

#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error(
        "{what} cannot listen on {address}: {source}; is another proxy running in this namespace?"
    )]
    Tcp {
        what: &'static str,
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error("the admin API cannot listen on {}: {source}", .path.display())]
    Unix {
        path: PathBuf,
        source: std::io::Error,
    },
}

/// Serves a surface on an address of the workload's namespace, from now on.
///
/// # Errors
/// The address cannot be bound.
pub fn serve_tcp<A: Answers>(
    admin: &Rc<A>,
    surface: Surface,
    address: SocketAddr,
    sockets: &Sockets,
) -> Result<SocketAddr, ServerError> {
    let what = match surface {
        Surface::Admin => "the admin API",
        Surface::Health => "the health endpoint",
        Surface::Agent => "the metrics endpoint",
        Surface::Prometheus => "the proxy's metrics endpoint",
    };
    let fail = |source| ServerError::Tcp {
        what,
        address,
        source,
    };
    let key = SocketKey::ip(SocketKind::Tcp, address);
    let made = netns::run(admin.namespace().map(AsFd::as_fd), || {
        sockets.get(&key, 1, |_| {
            net::sockets::probe(address)?;
            net::sockets::listen(address, false)
        })
    });
    // One was asked for, and one was handed over if any.
    let socket = made.map_err(fail)?.swap_remove(0);
    let listener = TcpListener::from_std(socket).map_err(fail)?;
    let bound = listener.local_addr().map_err(fail)?;
    let admin = admin.clone();
    let own = sockets.clone();
    accepting(sockets, async move {
        let places = Arc::new(Semaphore::new(CLIENTS));
        while let Ok(place) = places.clone().acquire_owned().await {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let (admin, sockets) = (admin.clone(), own.clone());
                    own.clients.spawn_local(async move {
                        connection(admin, surface, Some(peer), stream, sockets).await;
                        drop(place);
                    });
                }
                Err(error) => pause(&error).await,
            }
        }
    });
    Ok(bound)
}

/// Serves the admin API on a Unix socket (mode 0600). A socket file that nobody listens on
/// any more is replaced.
///
/// # Errors
/// The path is in use, or is something else than a socket.
pub fn serve_unix<A: Answers>(
    admin: &Rc<A>,
    path: &Path,
    sockets: &Sockets,
) -> Result<(), ServerError> {
    let fail = |source| ServerError::Unix {
        path: path.to_owned(),
        source,
    };
    let made = sockets.get(&SocketKey::unix(path), 1, |_| bind_unix(path));
    let socket = made.map_err(fail)?.swap_remove(0);
    let listener = UnixListener::from_std(socket).map_err(fail)?;
    let admin = admin.clone();
    let own = sockets.clone();
    accepting(sockets, async move {
        let places = Arc::new(Semaphore::new(CLIENTS));
        while let Ok(place) = places.clone().acquire_owned().await {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (admin, sockets) = (admin.clone(), own.clone());
                    own.clients.spawn_local(async move {
                        connection(admin, Surface::Admin, None, stream, sockets).await;
                        drop(place);
                    });
                }
                Err(error) => pause(&error).await,
            }
        }
    });
    Ok(())
}

/// Accepts until a successor does.
fn accepting(sockets: &Sockets, accept: impl Future<Output = ()> + 'static) {
    let sockets = sockets.clone();
    tokio::task::spawn_local(async move {
        tokio::select! {
            () = accept => {}
            () = sockets.handed_over() => {}
        }
    });
}

fn bind_unix(path: &Path) -> std::io::Result<std::os::unix::net::UnixListener> {
    if let Ok(metadata) = std::fs::symlink_metadata(path) {
        let stale = metadata.file_type().is_socket()
            && std::os::unix::net::UnixStream::connect(path).is_err();
        if !stale {
            return Err(std::io::ErrorKind::AddrInUse.into());
        }
        std::fs::remove_file(path)?;
    }
    let listener = std::os::unix::net::UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn pause(error: &std::io::Error) {
    tracing::warn!(%error, "accepting on one of the proxy's own servers pauses");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

async fn connection<A: Answers>(
    admin: Rc<A>,
    surface: Surface,
    peer: Option<SocketAddr>,
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    sockets: Sockets,
) {
    let service = service_fn(|request: http::Request<hyper::body::Incoming>| {
        let admin = admin.clone();
        async move {
            let reply = match whole(request).await {
                Ok(request) => admin.answer(surface, peer, request).await,
                Err(refused) => refused,
            };
            Ok::<_, Infallible>(reply.into_http())
        }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD);
    let mut served = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let over = async {
        sockets.handed_over().await;
        tokio::time::sleep(ON_ITS_WAY).await;
    };
    let served = tokio::select! {
        served = &mut served => served,
        () = over => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = served {
        tracing::trace!(%error, ?surface, "a client of the proxy's own servers ended");
    }
}

async fn whole(request: http::Request<hyper::body::Incoming>) -> Result<Incoming, Reply> {
    let (head, body) = request.into_parts();
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(body)) => Ok(http::Request::from_parts(head, body.to_bytes())),
        Ok(Err(_)) => Err(Reply::text(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body is too large\n",
        )),
        Err(_) => Err(Reply::text(
            StatusCode::REQUEST_TIMEOUT,
            "the body did not arrive\n",
        )),
    }
}
