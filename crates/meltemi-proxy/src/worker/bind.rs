//! Listening sockets: which a snapshot needs, and making them on the main thread, one a
//! worker with SO_REUSEPORT, in the workload's namespace and, for published listeners, in
//! the host's.

use super::listeners::BindKey;
use crate::hot_restart::{SocketKey, SocketKind, Sockets};
use crate::model::Snapshot;
use crate::net::{self, netns};
use crate::options::Publish;
use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::BorrowedFd;

/// Why a listener does not listen somewhere. It is tried again while it is wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("listener `{listener}` cannot listen on {address}: {reason}")]
pub struct BindFailure {
    pub listener: Box<str>,
    /// In the host's namespace when it is a published one.
    pub address: SocketAddr,
    /// What is wrong, and what to do.
    pub reason: String,
}

/// A socket that a snapshot needs.
#[derive(Clone, Debug)]
pub(super) struct Needed {
    pub key: BindKey,
    pub listener: Box<str>,
    pub transparent: bool,
}

/// The sockets of a snapshot, and what cannot be had at all: two listeners published on one
/// port.
pub(super) fn needed(
    snapshot: &Snapshot,
    publish: Option<&Publish>,
) -> (Vec<Needed>, Vec<BindFailure>) {
    let mut needed = Vec::new();
    let mut refused = Vec::new();
    let mut published: BTreeMap<SocketAddr, (Box<str>, u16)> = BTreeMap::new();
    for listener in snapshot
        .listeners
        .all
        .iter()
        .filter(|listener| listener.bind)
    {
        for address in &listener.addresses {
            let mut add = |published| {
                needed.push(Needed {
                    key: BindKey {
                        address: *address,
                        published,
                    },
                    listener: listener.name.clone(),
                    transparent: listener.transparent && published.is_none(),
                });
            };
            add(None);
            let Some(publish) = publish else { continue };
            let host = SocketAddr::new(publish.address, publish.port(address.port()));
            match published.get(&host) {
                None => {
                    published.insert(host, (listener.name.clone(), address.port()));
                    add(Some(host));
                }
                // The same port of another family (0.0.0.0 and [::]) is served already.
                Some((name, port)) if *name == listener.name && *port == address.port() => {}
                Some((name, port)) => refused.push(BindFailure {
                    listener: listener.name.clone(),
                    address: host,
                    reason: format!(
                        "listener `{name}` (port {port}) is published there; publish one of them elsewhere: --publish {},{}=PORT",
                        publish.address,
                        address.port()
                    ),
                }),
            }
        }
    }
    (needed, refused)
}

impl BindKey {
    /// The socket behind it, whoever opened it.
    pub(super) fn socket(&self) -> SocketKey {
        match self.published {
            Some(host) => SocketKey::ip(SocketKind::Published, host),
            None => SocketKey::ip(SocketKind::Tcp, self.address),
        }
    }
}

/// At least `count` sockets for a need: those of a predecessor, and new ones.
pub(super) fn bind(
    need: &Needed,
    namespace: Option<BorrowedFd<'_>>,
    count: usize,
    sockets: &Sockets,
) -> Result<Vec<TcpListener>, BindFailure> {
    let (address, namespace) = match need.key.published {
        Some(host) => (host, None),
        None => (need.key.address, namespace),
    };
    let made = netns::run(namespace, || {
        sockets.get(&need.key.socket(), count, |first| {
            if first {
                net::sockets::probe(address)?;
            }
            net::sockets::listen(address, need.transparent)
        })
    });
    made.map_err(|error| BindFailure {
        listener: need.listener.clone(),
        address,
        reason: explain(&error, &need.key),
    })
}

/// Whether the workers could listen on an address of the namespace.
///
/// # Errors
/// What is wrong, and what to do.
pub fn can_listen(address: SocketAddr, namespace: Option<BorrowedFd<'_>>) -> Result<(), String> {
    let key = BindKey {
        address,
        published: None,
    };
    netns::run(namespace, || net::sockets::probe(address)).map_err(|error| explain(&error, &key))
}

fn explain(error: &io::Error, key: &BindKey) -> String {
    let port = key.address.port();
    let elsewhere = |port: u16| match key.published {
        Some(host) => format!("publish it elsewhere: --publish {},{port}=OTHER", host.ip()),
        None => "end that process, or give the listener another port".to_owned(),
    };
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("the port is taken by another process; {}", elsewhere(port))
        }
        io::ErrorKind::PermissionDenied => match key.published {
            Some(host) => format!(
                "port {} needs privileges; {} with a port above 1023",
                host.port(),
                elsewhere(port)
            ),
            None => format!("{error}; the process needs CAP_NET_BIND_SERVICE in that namespace"),
        },
        io::ErrorKind::AddrNotAvailable => format!("{error}; no interface has that address"),
        _ => error.to_string(),
    }
}
