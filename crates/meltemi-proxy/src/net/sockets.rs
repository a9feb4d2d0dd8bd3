//! Making and setting up sockets, in the calling thread's network namespace.

use crate::model::TcpKeepalive;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::io;
use std::net::SocketAddr;

/// Istio's mark of the proxy's own packets: the capture rules let them pass.
pub const PROXY_MARK: u32 = 1337;
#[cfg(test)]
const _: () = assert!(PROXY_MARK == meltemi_capture::PROXY_MARK);

/// Connections waiting for `accept` (the kernel caps it at `net.core.somaxconn`).
const BACKLOG: i32 = 4096;

/// A listening TCP socket, one of several on the same address (SO_REUSEPORT).
pub fn listen(address: SocketAddr, transparent: bool) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking(),
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        // A separate IPv4 listener with the same port must not collide.
        socket.set_only_v6(true)?;
    }
    if transparent {
        if address.is_ipv6() {
            socket.set_ip_transparent_v6(true)?;
        } else {
            socket.set_ip_transparent_v4(true)?;
        }
    }
    // Accepted sockets inherit it.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// True when the address can be bound without SO_REUSEPORT now: no other process holds it.
/// SO_REUSEPORT alone would share the port with a stranger of the same user silently.
pub fn probe(address: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(1)
}

/// A non-blocking TCP socket that is not connected yet.
pub fn tcp(domain: Domain) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket)
}

/// Marks a socket as the proxy's own.
pub fn mark(socket: &Socket) -> io::Result<()> {
    socket.set_mark(PROXY_MARK)
}

/// The local port is chosen at `connect`, not at `bind`.
pub fn bind_address_no_port(socket: &Socket) -> io::Result<()> {
    nix::sys::socket::setsockopt(
        socket,
        nix::sys::socket::sockopt::IpBindAddressNoPort,
        &true,
    )?;
    Ok(())
}

pub fn keepalive(socket: SockRef<'_>, options: &TcpKeepalive) -> io::Result<()> {
    let mut keepalive = socket2::TcpKeepalive::new();
    if let Some(time) = options.time {
        keepalive = keepalive.with_time(time);
    }
    if let Some(interval) = options.interval {
        keepalive = keepalive.with_interval(interval);
    }
    if let Some(probes) = options.probes {
        keepalive = keepalive.with_retries(probes);
    }
    socket.set_tcp_keepalive(&keepalive)
}
