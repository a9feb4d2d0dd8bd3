//! Ports of the workload's namespace that are reachable in the host's too. Envoy's own
//! listeners are in its namespace only, so connections are passed on to them; Envoy sees
//! them come from loopback.

use crate::Publish;
use crate::net::{netns, sockets};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Connections of all published ports at once; the next wait in the kernel's queue.
const CONNECTIONS: usize = 10_000;
/// After a failed accept (out of descriptors, say).
const PAUSE: Duration = Duration::from_millis(100);

/// Opens the ports and serves them on a thread of the namespace, for as long as the process
/// lives.
///
/// # Errors
/// A port cannot be opened.
pub fn start(publish: &Publish, namespace: Option<OwnedFd>) -> io::Result<()> {
    let mut listeners = Vec::new();
    for (real, published) in &publish.ports {
        let address = SocketAddr::new(publish.address, *published);
        let listener = sockets::listen(address, false).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("cannot publish on {address}: {error}"),
            )
        })?;
        listeners.push((*real, listener));
    }
    std::thread::Builder::new()
        .name("publish".into())
        .spawn(move || {
            let served = (|| {
                if let Some(namespace) = &namespace {
                    netns::enter(namespace.as_fd())?;
                }
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?
                    .block_on(serve(listeners))
            })();
            if let Err(error) = served {
                tracing::error!(%error, "published ports are not served");
            }
        })?;
    Ok(())
}

async fn serve(listeners: Vec<(u16, std::net::TcpListener)>) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut accepting = tokio::task::JoinSet::new();
    for (port, listener) in listeners {
        let listener = TcpListener::from_std(listener)?;
        accepting.spawn(accept(listener, port, places.clone()));
    }
    while accepting.join_next().await.is_some() {}
    Ok(())
}

async fn accept(listener: TcpListener, port: u16, places: Arc<Semaphore>) {
    while let Ok(place) = places.clone().acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(async move {
                    if let Err(error) = pass(stream, port).await {
                        tracing::debug!(port, %error, "a published connection");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accepting on a published port pauses");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn pass(mut outside: TcpStream, port: u16) -> io::Result<()> {
    outside.set_nodelay(true)?;
    let mut inside = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    inside.set_nodelay(true)?;
    copy_bidirectional(&mut outside, &mut inside).await?;
    Ok(())
}
