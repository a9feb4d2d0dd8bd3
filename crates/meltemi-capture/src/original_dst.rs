//! Where a redirected connection was going before the rules turned it.

#![expect(unsafe_code, reason = "a socket option of netfilter")]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};

/// SO_ORIGINAL_DST of `linux/netfilter_ipv4.h`, and the same number for IPv6.
const SO_ORIGINAL_DST: libc::c_int = 80;

/// The destination of an accepted connection before redirection. `ENOENT` when connection
/// tracking does not know the connection (it was not redirected, or rules are gone).
pub fn original_destination(socket: &impl AsFd) -> io::Result<SocketAddr> {
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: sockaddr_storage is plain data, and zero is a valid value of it.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let mut failure = None;
    // A listener on [::] accepts both families, and the connection's own address says ::ffff:a.b.c.d
    // for IPv4; the option's level is the family of the packets, so ask for both in turn.
    for level in [libc::SOL_IP, libc::SOL_IPV6] {
        let mut length = size_of_val(&storage) as libc::socklen_t;
        // SAFETY: storage is large enough for either family and its length is passed.
        let result = unsafe {
            libc::getsockopt(
                fd,
                level,
                SO_ORIGINAL_DST,
                (&raw mut storage).cast(),
                &mut length,
            )
        };
        if result == 0 {
            return address(&storage);
        }
        failure = Some(io::Error::last_os_error());
    }
    Err(failure.unwrap_or_else(|| io::ErrorKind::Unsupported.into()))
}

fn address(storage: &libc::sockaddr_storage) -> io::Result<SocketAddr> {
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says which layout the kernel wrote.
            let v4 = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in>() };
            let ip = IpAddr::V4(Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr)));
            Ok(SocketAddr::new(ip, u16::from_be(v4.sin_port)))
        }
        libc::AF_INET6 => {
            // SAFETY: the family says which layout the kernel wrote.
            let v6 = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in6>() };
            Ok(SocketAddr::new(
                IpAddr::V6(Ipv6Addr::from(v6.sin6_addr.s6_addr)),
                u16::from_be(v6.sin6_port),
            ))
        }
        family => Err(io::Error::other(format!(
            "the kernel answered with address family {family}"
        ))),
    }
}
