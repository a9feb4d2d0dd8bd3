//! Addresses for services that have none.
//!
//! Each name hashes to its own slot of the range, and collisions probe forward in the names'
//! order: a service keeps its address when others come and go, unless it lost a collision to
//! one that went.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// An IPv4 range of 2^16 addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range16(pub [u8; 2]);

impl std::str::FromStr for Range16 {
    type Err = String;

    /// Reads `10.99.0.0/16`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is not an IPv4 range of the form A.B.0.0/16");
        let address = text.strip_suffix("/16").ok_or_else(wrong)?;
        let address: std::net::Ipv4Addr = address.parse().map_err(|_| wrong())?;
        match address.octets() {
            [first, second, 0, 0] => Ok(Self([first, second])),
            _ => Err(wrong()),
        }
    }
}

impl Range16 {
    fn at(self, slot: u16) -> Ipv4Addr {
        let [c, d] = slot.to_be_bytes();
        Ipv4Addr::new(self.0[0], self.0[1], c, d)
    }

    pub fn contains(self, address: Ipv4Addr) -> bool {
        address.octets()[..2] == self.0
    }
}

/// Gives every name an address that is not taken. Names beyond the range's 65534 addresses
/// get none.
pub fn allocate<'a>(
    range: Range16,
    names: &BTreeSet<&'a str>,
    taken: &BTreeSet<Ipv4Addr>,
) -> BTreeMap<&'a str, Ipv4Addr> {
    // The first and the last address of a range are its network and its broadcast address.
    const SLOTS: u32 = 65534;
    let mut used: BTreeSet<Ipv4Addr> = taken.clone();
    let mut allocated = BTreeMap::new();
    for name in names {
        let first = u32::try_from(fnv1a(name.as_bytes()) % u64::from(SLOTS)).unwrap_or(0);
        let free = (0..SLOTS)
            .map(|step| range.at(((first + step) % SLOTS + 1) as u16))
            .find(|address| !used.contains(address));
        let Some(address) = free else { break };
        used.insert(address);
        allocated.insert(*name, address);
    }
    allocated
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo): stable in every build, unlike the standard hasher.
fn fnv1a(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in bytes {
        hash ^= u64::from(*byte);
        hash = hash.wrapping_mul(0x0000_0100_0000_01b3);
    }
    // The low bits of FNV mix badly for names that differ in their last byte only.
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_does_not_change_when_other_names_come() {
        let range = Range16([10, 99]);
        let few = ["default/reviews", "default/ratings"].into();
        let many: Vec<String> = (0..200).map(|i| format!("default/s{i}")).collect();
        let mut all: BTreeSet<&str> = many.iter().map(String::as_str).collect();
        all.extend(&few);
        let before = allocate(range, &few, &BTreeSet::new());
        let after = allocate(range, &all, &BTreeSet::new());
        for name in few {
            assert_eq!(before[name], after[name]);
            assert!(range.contains(before[name]));
        }
        let distinct: BTreeSet<_> = after.values().collect();
        assert_eq!(distinct.len(), after.len());
    }

    #[test]
    fn taken_addresses_are_left_alone() {
        let range = Range16([10, 99]);
        let names: BTreeSet<&str> = ["a"].into();
        let address = allocate(range, &names, &BTreeSet::new())["a"];
        let other = allocate(range, &names, &[address].into())["a"];
        assert_ne!(address, other);
    }
}
