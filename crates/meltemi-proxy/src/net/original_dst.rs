//! Where a redirected connection was going (`SO_ORIGINAL_DST`).

use socket2::{Domain, SockRef};
use std::net::{IpAddr, SocketAddr};
use tokio::net::TcpStream;

/// The destination before NAT redirected the connection, or `None` when connection tracking
/// does not know it. With TPROXY nothing is rewritten and the local address is the answer:
/// the caller falls back to that.
///
/// The option's level follows the packets' family: a listener on `[::]` sees IPv4 peers as
/// `::ffff:a.b.c.d`, but only `SOL_IP` knows their destination.
pub fn original_destination(stream: &TcpStream, local: SocketAddr) -> Option<SocketAddr> {
    let socket = SockRef::from(stream);
    let v4_first = match local.ip() {
        IpAddr::V4(_) => true,
        IpAddr::V6(ip) => ip.to_ipv4_mapped().is_some(),
    };
    let address = if v4_first {
        socket.original_dst_v4()
    } else {
        socket.original_dst_v6()
    };
    let found = address.ok()?.as_socket()?;
    debug_assert!(Domain::for_address(found) != Domain::UNIX);
    Some(canonical(found))
}

/// An IPv4 peer of an IPv6 socket as what it is.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
