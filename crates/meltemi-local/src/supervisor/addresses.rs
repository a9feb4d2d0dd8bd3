//! Which pod has which addresses, and which gateway which port of the host.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, TcpListener};

use crate::loopback::{Seat, Seats};
use crate::plan::{PodKind, PodPlan};
use meltemi_capture::Cidr;
use sha2::{Digest, Sha256};

/// Ports tried above a wanted one that is in use.
const PORT_TRIES: u16 = 200;

/// Where a pod is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The pod's address in the mesh.
    pub pod: Ipv4Addr,
    /// Where its application listens: the pod's address too, except beside a sidecar that has
    /// no interception.
    pub application: Ipv4Addr,
    /// In a mesh without namespaces.
    pub seat: Option<Seat>,
}

/// Hands out places.
#[derive(Debug)]
pub(crate) enum Places {
    Namespaces(Addresses),
    Loopback(Seats),
}

impl Places {
    /// A place for a pod.
    ///
    /// # Errors
    /// When none is left.
    pub(crate) fn allocate(&mut self, plan: &PodPlan) -> Result<Place, String> {
        let key = plan.key();
        match self {
            Self::Namespaces(addresses) => {
                let address = addresses
                    .allocate(&key)
                    .ok_or_else(|| format!("no address is free in {}", addresses.range))?;
                Ok(Place {
                    pod: address,
                    application: address,
                    seat: None,
                })
            }
            Self::Loopback(seats) => {
                let seat = seats.allocate(start(&key)).ok_or(
                    "loopback mode has addresses for 127 pods on a machine, and all are in use",
                )?;
                let behind = plan.kind == PodKind::Application { sidecar: true };
                Ok(Place {
                    pod: seat.pod(),
                    application: if behind {
                        seat.application()
                    } else {
                        seat.pod()
                    },
                    seat: Some(seat),
                })
            }
        }
    }

    pub(crate) fn release(&mut self, place: Place) {
        match (self, place.seat) {
            (Self::Namespaces(addresses), _) => addresses.release(place.pod),
            (Self::Loopback(seats), Some(seat)) => seats.release(seat),
            (Self::Loopback(_), None) => {}
        }
    }
}

/// Where the search for a pod's address begins.
fn start(key: &str) -> u32 {
    let digest = Sha256::digest(key.as_bytes());
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}

/// Hands out addresses of a range. A pod's name decides its address unless another pod has it, so that
/// it stays the same over restarts.
#[derive(Debug)]
pub(crate) struct Addresses {
    range: Cidr,
    taken: HashMap<Ipv4Addr, String>,
}

impl Addresses {
    pub(crate) fn new(range: Cidr) -> Self {
        Self {
            range,
            taken: HashMap::new(),
        }
    }

    /// An address for `key`; `None` when the range is full.
    pub(crate) fn allocate(&mut self, key: &str) -> Option<Ipv4Addr> {
        let IpAddr::V4(base) = self.range.address() else {
            return None;
        };
        let size = 1u32 << (32 - u32::from(self.range.prefix()));
        // Not the network, the hub, nor the broadcast address.
        let usable = size - 3;
        let start = start(key) % usable;
        let free = (0..usable)
            .map(|step| {
                Ipv4Addr::from(
                    u32::from(base) + 2 + (u64::from(start) + u64::from(step)) as u32 % usable,
                )
            })
            .find(|address| !self.taken.contains_key(address))?;
        self.taken.insert(free, key.to_owned());
        Some(free)
    }

    pub(crate) fn release(&mut self, address: Ipv4Addr) {
        self.taken.remove(&address);
    }
}

/// Ports of the host that gateways have.
#[derive(Debug, Default)]
pub(crate) struct HostPorts {
    /// By gateway (namespace/owner) and its own port; kept for the mesh's life, so that a
    /// replaced gateway keeps its address.
    assigned: HashMap<(String, u16), u16>,
}

impl HostPorts {
    /// The host's port for `owner`'s `port`: the wanted one, or a free one above it.
    pub(crate) fn assign(
        &mut self,
        owner: &str,
        port: u16,
        wanted: u16,
        address: IpAddr,
    ) -> Option<u16> {
        if let Some(port) = self.assigned.get(&(owner.to_owned(), port)) {
            return Some(*port);
        }
        let free = (wanted..=wanted.saturating_add(PORT_TRIES)).find(|port| {
            !self.assigned.values().any(|other| other == port)
                && TcpListener::bind((address, *port)).is_ok()
        })?;
        self.assigned.insert((owner.to_owned(), port), free);
        Some(free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_address_and_none_is_given_twice() {
        let range: Cidr = "10.98.0.0/29".parse().unwrap();
        let first = Addresses::new(range).allocate("default.one").unwrap();
        let mut addresses = Addresses::new(range);
        assert_eq!(addresses.allocate("default.one"), Some(first));
        let mut all = vec![first];
        for key in ["a", "b", "c", "d"] {
            all.push(addresses.allocate(key).unwrap());
        }
        all.sort();
        assert_eq!(
            all,
            (2..7)
                .map(|last| Ipv4Addr::new(10, 98, 0, last))
                .collect::<Vec<_>>()
        );
        assert_eq!(addresses.allocate("e"), None);
        addresses.release(first);
        assert_eq!(addresses.allocate("e"), Some(first));
    }

    #[test]
    fn a_port_in_use_is_passed_over() {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let listener = TcpListener::bind((loopback, 0)).unwrap();
        let used = listener.local_addr().unwrap().port();
        let mut ports = HostPorts::default();
        let got = ports
            .assign("istio-system/gw", 8080, used, loopback)
            .unwrap();
        assert!(got > used);
        assert_eq!(
            ports.assign("istio-system/gw", 8080, used, loopback),
            Some(got)
        );
        assert_ne!(
            ports.assign("istio-system/gw", 8443, used, loopback),
            Some(got)
        );
    }
}
