//! The mesh's network: one hub namespace with a bridge, one namespace a workload hung on it.

use crate::cidr::Cidr;
use crate::error::CaptureError;
use crate::link::{self, Links, Peer};
use crate::netns::Netns;
use crate::rules::PASSTHROUGH_SOURCE_V6;
use crate::sysctl;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;

/// Name of a workload's interface, as in containers.
const INTERFACE: &str = "eth0";
const BRIDGE: &str = "hub";
/// The largest a veth takes: packets never meet a wire, so fewer and larger is only cheaper.
const MTU: u32 = 65535;
/// Unique local prefix (RFC 4193) of the workloads' IPv6 addresses; the last 32 bits are the
/// IPv4 address.
const V6_PREFIX: Ipv6Addr = Ipv6Addr::new(0xfd6d, 0x656c, 0x7465, 0x6d69, 0, 0, 0, 0);
const V6_LENGTH: u8 = 64;

/// The addresses of a mesh's workloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshNetwork {
    /// Range of the workloads' IPv4 addresses.
    pub pods: Cidr,
    /// The hub's own address, inside `pods`; the workloads' default route.
    pub hub: Ipv4Addr,
}

impl MeshNetwork {
    /// `10.98.0.0/16` with the hub at `10.98.0.1`.
    pub fn standard() -> Self {
        Self {
            pods: Cidr::new(IpAddr::V4(Ipv4Addr::new(10, 98, 0, 0)), 16),
            hub: Ipv4Addr::new(10, 98, 0, 1),
        }
    }

    /// What workloads may reach directly: the ranges the capture rules let out of the namespace.
    pub fn ranges(&self) -> Vec<Cidr> {
        vec![self.pods, Cidr::new(IpAddr::V6(V6_PREFIX), V6_LENGTH)]
    }
}

/// The hub. Dropping it removes the bridge; workload namespaces then reach nobody.
#[derive(Debug)]
pub struct Fabric {
    hub: Netns,
    network: MeshNetwork,
    /// Index of the bridge in the hub namespace.
    bridge: u32,
    /// Whether the kernel has IPv6.
    ipv6: bool,
}

impl Fabric {
    /// Creates the hub namespace with its bridge.
    pub fn create(network: MeshNetwork) -> Result<Self, CaptureError> {
        let hub = Netns::create()?;
        let (bridge, ipv6) = hub.run(|| {
            sysctl::prepare_workload();
            let mut links = Links::open()?;
            links.up("lo")?;
            links.add_bridge(BRIDGE)?;
            links.add_address(BRIDGE, network.hub.into(), network.pods.prefix())?;
            let v6 = link::embedded(V6_PREFIX, network.hub);
            let ipv6 = links.add_address(BRIDGE, v6.into(), V6_LENGTH).is_ok();
            links.up(BRIDGE)?;
            Ok::<_, CaptureError>((link::index(BRIDGE)?, ipv6))
        })??;
        Ok(Self {
            hub,
            network,
            bridge,
            ipv6,
        })
    }

    /// A new namespace with `eth0` at `address`, connected to all others; loopback is up, ports
    /// below 1024 are free for all. The address must be unused and inside the network.
    pub fn attach(&self, address: Ipv4Addr) -> Result<Netns, CaptureError> {
        let workload = Netns::create()?;
        let port = port_name(address);
        self.hub.run(|| {
            let mut links = Links::open()?;
            let peer = Peer {
                name: INTERFACE,
                hardware: hardware(address),
                namespace: workload.as_fd(),
            };
            links.add_veth(&port, self.bridge, &peer, MTU)?;
            links.up(&port)
        })??;
        workload.run(|| {
            sysctl::prepare_workload();
            let mut links = Links::open()?;
            links.up("lo")?;
            links.add_address(INTERFACE, address.into(), self.network.pods.prefix())?;
            if self.ipv6 {
                links.add_address("lo", PASSTHROUGH_SOURCE_V6.into(), 128)?;
                links.add_address(
                    INTERFACE,
                    link::embedded(V6_PREFIX, address).into(),
                    V6_LENGTH,
                )?;
            }
            links.up(INTERFACE)?;
            links.add_default_route(INTERFACE, self.network.hub.into())?;
            if self.ipv6 {
                links.add_default_route(
                    INTERFACE,
                    link::embedded(V6_PREFIX, self.network.hub).into(),
                )?;
            }
            Ok::<_, CaptureError>(())
        })??;
        Ok(workload)
    }

    /// Cuts a workload off. Its namespace goes when its last process and descriptor go, and the
    /// link with it: that it has gone already is fine.
    pub fn detach(&self, address: Ipv4Addr) -> Result<(), CaptureError> {
        let removed = self
            .hub
            .run(|| Links::open()?.remove(&port_name(address)))?;
        match removed {
            Err(error) if error.source.raw_os_error() == Some(libc::ENODEV) => Ok(()),
            other => other,
        }
    }

    /// The hub's namespace.
    pub fn hub(&self) -> &Netns {
        &self.hub
    }

    /// The mesh's addresses.
    pub fn network(&self) -> MeshNetwork {
        self.network
    }

    /// The IPv6 address of the workload at `address`, when the kernel has IPv6.
    pub fn ipv6_of(&self, address: Ipv4Addr) -> Option<Ipv6Addr> {
        self.ipv6.then(|| link::embedded(V6_PREFIX, address))
    }
}

/// The hardware address that goes with an address, locally administered. Whoever spoke with a
/// former owner of the address remembers it, and must not wait for an answer from one that is
/// gone.
fn hardware(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0x4d, a, b, c, d]
}

/// Name of the hub's end of a workload's veth pair; interface names have at most 15 bytes.
fn port_name(address: Ipv4Addr) -> String {
    format!("w{:08x}", u32::from(address))
}
