//! Outbound connections, made in the namespace where the destination is.

use super::host::{HostSockets, Supply, mark_if_allowed};
use super::{Socket, Stream, sockets};
use crate::model::{Address, IpPrefix, TcpKeepalive};
use socket2::{Domain, SockRef};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{TcpSocket, UnixStream};

/// How a connection is to be made.
#[derive(Clone, Copy, Debug)]
pub struct ConnectOptions<'a> {
    /// Local address (`upstream_bind_config`).
    pub bind_address: Option<IpAddr>,
    pub keepalive: Option<&'a TcpKeepalive>,
    pub timeout: Duration,
}

impl Default for ConnectOptions<'_> {
    fn default() -> Self {
        Self {
            bind_address: None,
            keepalive: None,
            // Envoy's default of `connect_timeout`.
            timeout: Duration::from_secs(5),
        }
    }
}

/// Why there is no connection. Nothing was sent: another attempt is always safe.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("connect timeout after {} ms", .0.as_millis())]
    Timeout(Duration),
    #[error("{}", reason(.0))]
    Io(#[from] io::Error),
}

/// Envoy's wording of `delayed_connect_error` for the common errno.
fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => format!("delayed connect error: {}", nix_name(number)),
        None => error.to_string(),
    }
}

fn nix_name(number: i32) -> &'static str {
    nix::errno::Errno::from_raw(number).desc()
}

/// Makes a worker's outbound connections. Cheap to clone.
#[derive(Clone)]
pub struct Connector(Rc<Inner>);

struct Inner {
    /// `Some` when the thread lives in a namespace of its own.
    host: Option<Supply>,
    mesh: Vec<IpPrefix>,
    mark: bool,
}

impl Connector {
    /// Everything from the calling thread's own namespace, unmarked.
    pub fn own() -> Self {
        Self(Rc::new(Inner {
            host: None,
            mesh: Vec::new(),
            mark: false,
        }))
    }

    /// For a thread inside a workload's namespace: `mesh` is reached from there with marked
    /// sockets, the rest through the host's sockets.
    pub fn in_namespace(host: HostSockets, mesh: Vec<IpPrefix>) -> Self {
        Self(Rc::new(Inner {
            host: Some(host.into_supply()),
            mesh,
            mark: true,
        }))
    }

    /// True when the destination is reached from the thread's own namespace. Loopback always is,
    /// also as the unspecified address, which Linux connects to it: a request that may name its
    /// destination does not come to the host's.
    pub fn is_local(&self, destination: IpAddr) -> bool {
        let destination = destination.to_canonical();
        self.0.host.is_none()
            || destination.is_loopback()
            || destination.is_unspecified()
            || self
                .0
                .mesh
                .iter()
                .any(|prefix| prefix.contains(destination))
    }

    /// Connects within the timeout. TCP_NODELAY is set.
    pub async fn connect(
        &self,
        address: &Address,
        options: &ConnectOptions<'_>,
    ) -> Result<Stream, ConnectError> {
        let connecting = async {
            match address {
                Address::Socket(address) => Ok(Stream::Plain(Socket::Tcp(
                    self.tcp(*address, options).await?,
                ))),
                Address::Pipe(path) => Ok(Stream::Plain(Socket::Unix(
                    UnixStream::connect(path).await?,
                ))),
            }
        };
        match tokio::time::timeout(options.timeout, connecting).await {
            Ok(result) => result,
            Err(_) => Err(ConnectError::Timeout(options.timeout)),
        }
    }

    async fn tcp(
        &self,
        address: SocketAddr,
        options: &ConnectOptions<'_>,
    ) -> io::Result<tokio::net::TcpStream> {
        let domain = Domain::for_address(address);
        let socket = match &self.0.host {
            Some(host) if !self.is_local(address.ip()) => host.take(domain).await?,
            _ => {
                let socket = sockets::tcp(domain)?;
                if self.0.mark {
                    mark_if_allowed(&socket);
                }
                if let Some(ip) = options.bind_address
                    && ip.is_ipv4() == address.is_ipv4()
                {
                    // The port is chosen at connect, by the whole four-tuple: without this
                    // a bound address runs out of ports at 28 thousand connections.
                    sockets::bind_address_no_port(&socket)?;
                    socket.bind(&SocketAddr::new(ip, 0).into())?;
                }
                socket
            }
        };
        if let Some(keepalive) = options.keepalive {
            sockets::keepalive(SockRef::from(&socket), keepalive)?;
        }
        TcpSocket::from_std_stream(socket.into())
            .connect(address)
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_hosts_loopback_is_out_of_reach() {
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let mesh = IpPrefix {
                    address: [10, 98, 0, 0].into(),
                    length: 16,
                };
                let connector = Connector::in_namespace(HostSockets::start(), vec![mesh]);
                let own = [
                    "127.0.0.1",
                    "127.1.2.3",
                    "0.0.0.0",
                    "::1",
                    "::",
                    "10.98.1.1",
                ];
                let mapped = ["::ffff:127.0.0.1", "::ffff:0.0.0.0", "::ffff:10.98.1.1"];
                for ip in own.into_iter().chain(mapped) {
                    assert!(connector.is_local(ip.parse().unwrap()), "{ip}");
                }
                for ip in ["192.0.2.1", "10.99.0.1", "::ffff:192.0.2.1", "2001:db8::1"] {
                    assert!(!connector.is_local(ip.parse().unwrap()), "{ip}");
                }
            })
            .await;
    }
}
