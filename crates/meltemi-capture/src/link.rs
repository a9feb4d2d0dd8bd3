//! Links, addresses and routes over rtnetlink, in the calling thread's namespace.

#![expect(unsafe_code, reason = "the index of an interface")]

use crate::error::CaptureError;
use crate::netlink::{ACK, CREATE, EXCL, Message, Socket};
use std::ffi::CString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFLA_BR_MCAST_SNOOPING: u16 = 23;
const IFA_FLAGS: u16 = 8;

/// The far end of a veth pair.
pub(crate) struct Peer<'a> {
    pub name: &'a str,
    pub hardware: [u8; 6],
    pub namespace: BorrowedFd<'a>,
}

/// The rtnetlink socket of a namespace.
pub(crate) struct Links(Socket);

impl Links {
    pub(crate) fn open() -> Result<Self, CaptureError> {
        Ok(Self(Socket::open(libc::NETLINK_ROUTE, "route")?))
    }

    /// A bridge without spanning tree: its ports forward at once.
    pub(crate) fn add_bridge(&mut self, name: &str) -> Result<(), CaptureError> {
        let mut message = Message::new(
            format!("add bridge {name}"),
            libc::RTM_NEWLINK,
            ACK | CREATE | EXCL,
            &interface(0, 0, 0),
        );
        message.text(libc::IFLA_IFNAME, name);
        message.nest(libc::IFLA_LINKINFO, |info| {
            info.text(IFLA_INFO_KIND, "bridge");
            // Nobody queries multicast groups here; neighbour discovery must simply reach all.
            info.nest(IFLA_INFO_DATA, |data| {
                data.attr(IFLA_BR_MCAST_SNOOPING, &[0])
            });
        });
        self.one(message).map_err(|error| {
            error.needs("the kernel needs the bridge driver (CONFIG_BRIDGE; modprobe bridge)")
        })
    }

    /// A veth pair: `name` here as a port of the bridge `master`, `peer` in another namespace.
    pub(crate) fn add_veth(
        &mut self,
        name: &str,
        master: u32,
        peer: &Peer<'_>,
        mtu: u32,
    ) -> Result<(), CaptureError> {
        let mut message = Message::new(
            format!("add veth pair {name}/{}", peer.name),
            libc::RTM_NEWLINK,
            ACK | CREATE | EXCL,
            &interface(0, 0, 0),
        );
        message.text(libc::IFLA_IFNAME, name);
        message.attr(libc::IFLA_MTU, &mtu.to_ne_bytes());
        message.attr(libc::IFLA_MASTER, &master.to_ne_bytes());
        message.nest(libc::IFLA_LINKINFO, |info| {
            info.text(IFLA_INFO_KIND, "veth");
            info.nest(IFLA_INFO_DATA, |data| {
                data.nest(VETH_INFO_PEER, |end| {
                    end.raw(&interface(0, 0, 0));
                    end.text(libc::IFLA_IFNAME, peer.name);
                    end.attr(libc::IFLA_ADDRESS, &peer.hardware);
                    end.attr(libc::IFLA_MTU, &mtu.to_ne_bytes());
                    let namespace = peer.namespace.as_raw_fd();
                    end.attr(libc::IFLA_NET_NS_FD, &namespace.to_ne_bytes());
                });
            });
        });
        self.one(message).map_err(|error| {
            error.needs("the kernel needs the veth driver (CONFIG_VETH; modprobe veth)")
        })
    }

    pub(crate) fn remove(&mut self, name: &str) -> Result<(), CaptureError> {
        let mut message = Message::new(
            format!("remove link {name}"),
            libc::RTM_DELLINK,
            ACK,
            &interface(0, 0, 0),
        );
        message.text(libc::IFLA_IFNAME, name);
        self.one(message)
    }

    pub(crate) fn up(&mut self, name: &str) -> Result<(), CaptureError> {
        let up = libc::IFF_UP as u32;
        let message = Message::new(
            format!("set {name} up"),
            libc::RTM_NEWLINK,
            ACK,
            &interface(index(name)?, up, up),
        );
        self.one(message)
    }

    /// Adds an address; duplicate address detection is skipped, all addresses are ours.
    pub(crate) fn add_address(
        &mut self,
        name: &str,
        address: IpAddr,
        prefix: u8,
    ) -> Result<(), CaptureError> {
        let mut head = vec![family(address), prefix, libc::IFA_F_NODAD as u8, 0];
        head.extend_from_slice(&index(name)?.to_ne_bytes());
        let step = format!("add address {address}/{prefix} to {name}");
        let mut message = Message::new(step, libc::RTM_NEWADDR, ACK | CREATE | EXCL, &head);
        message.attr(libc::IFA_LOCAL, &octets(address));
        message.attr(libc::IFA_ADDRESS, &octets(address));
        message.attr(IFA_FLAGS, &libc::IFA_F_NODAD.to_ne_bytes());
        self.one(message)
    }

    /// The default route through `gateway`, of the gateway's family.
    pub(crate) fn add_default_route(
        &mut self,
        name: &str,
        gateway: IpAddr,
    ) -> Result<(), CaptureError> {
        let head = [
            family(gateway),
            0,
            0,
            0,
            libc::RT_TABLE_MAIN,
            libc::RTPROT_STATIC,
            libc::RT_SCOPE_UNIVERSE,
            libc::RTN_UNICAST,
            0,
            0,
            0,
            0,
        ];
        let step = format!("add the default route via {gateway}");
        let mut message = Message::new(step, libc::RTM_NEWROUTE, ACK | CREATE, &head);
        message.attr(libc::RTA_GATEWAY, &octets(gateway));
        message.attr(libc::RTA_OIF, &index(name)?.to_ne_bytes());
        self.one(message)
    }

    fn one(&mut self, message: Message) -> Result<(), CaptureError> {
        self.0.transact(&mut [message])
    }
}

/// `struct ifinfomsg`.
fn interface(index: u32, flags: u32, change: u32) -> Vec<u8> {
    let mut head = vec![libc::AF_UNSPEC as u8, 0, 0, 0];
    head.extend_from_slice(&index.to_ne_bytes());
    head.extend_from_slice(&flags.to_ne_bytes());
    head.extend_from_slice(&change.to_ne_bytes());
    head
}

fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() {
        libc::AF_INET as u8
    } else {
        libc::AF_INET6 as u8
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// The index of interface `name` in the calling thread's namespace.
pub(crate) fn index(name: &str) -> Result<u32, CaptureError> {
    let text = CString::new(name)
        .map_err(|error| CaptureError::new(format!("find interface {name}"), error.into()))?;
    // SAFETY: a NUL-terminated text.
    match unsafe { libc::if_nametoindex(text.as_ptr()) } {
        0 => Err(CaptureError::last(format!("find interface {name}"))),
        index => Ok(index),
    }
}

/// The workload's IPv6 address: the mesh's unique local prefix with the IPv4 address inside,
/// so that IPv6 destinations have a source address and are captured too.
pub(crate) fn embedded(prefix: Ipv6Addr, address: Ipv4Addr) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(prefix) | u128::from(u32::from(address)))
}
