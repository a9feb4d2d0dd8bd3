//! An address range in CIDR notation.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A network: `10.98.0.0/16`, `fd00::/8`; an address without a length is that one address.
/// Host bits are cleared when it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

/// Why a text is no address range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not an address range: {reason} (expected e.g. 10.0.0.0/8 or fd00::/8)")]
pub struct CidrError {
    text: String,
    reason: &'static str,
}

impl Cidr {
    /// `prefix` is cut to the family's maximum (32 or 128).
    pub fn new(address: IpAddr, prefix: u8) -> Self {
        let address = match address {
            IpAddr::V4(v4) => {
                let prefix = prefix.min(32);
                let mask = u32::MAX.checked_shl(u32::from(32 - prefix)).unwrap_or(0);
                IpAddr::V4((u32::from(v4) & mask).into())
            }
            IpAddr::V6(v6) => {
                let prefix = prefix.min(128);
                let mask = u128::MAX.checked_shl(u32::from(128 - prefix)).unwrap_or(0);
                IpAddr::V6((u128::from(v6) & mask).into())
            }
        };
        let most = if address.is_ipv4() { 32 } else { 128 };
        Self {
            address,
            prefix: prefix.min(most),
        }
    }

    /// The network's first address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Length of the network part in bits.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether `address` lies in the range; never across families.
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4() && Self::new(address, self.prefix) == *self
    }

    pub(crate) fn octets(&self) -> Vec<u8> {
        match self.address {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        }
    }

    pub(crate) fn mask(&self) -> Vec<u8> {
        let all = if self.address.is_ipv4() {
            [0xff; 16][..4].to_vec()
        } else {
            vec![0xff; 16]
        };
        let bits = usize::from(self.prefix);
        all.iter()
            .enumerate()
            .map(|(index, _)| match bits.saturating_sub(index * 8) {
                0 => 0,
                8.. => 0xff,
                some => 0xffu8 << (8 - some),
            })
            .collect()
    }

    pub(crate) fn is_host(&self) -> bool {
        self.prefix == if self.address.is_ipv4() { 32 } else { 128 }
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let fail = |reason| CidrError {
            text: text.to_owned(),
            reason,
        };
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address
            .trim()
            .parse()
            .map_err(|_| fail("the address does not parse"))?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => most,
            Some(digits) => digits
                .trim()
                .parse::<u8>()
                .map_err(|_| fail("the prefix length does not parse"))?,
        };
        if prefix > most {
            return Err(fail("the prefix is longer than the address"));
        }
        Ok(Self::new(address, prefix))
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_host() {
            write!(f, "{}", self.address)
        } else {
            write!(f, "{}/{}", self.address, self.prefix)
        }
    }
}

impl TryFrom<String> for Cidr {
    type Error = CidrError;
    fn try_from(text: String) -> Result<Self, CidrError> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> Self {
        cidr.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_bits_are_cleared_and_ranges_hold_their_members() {
        let cidr: Cidr = "10.98.7.9/16".parse().unwrap();
        assert_eq!(cidr.to_string(), "10.98.0.0/16");
        assert!(cidr.contains("10.98.255.1".parse().unwrap()));
        assert!(!cidr.contains("10.99.0.1".parse().unwrap()));
        assert!(!cidr.contains("::1".parse().unwrap()));
        assert_eq!(cidr.mask(), [255, 255, 0, 0]);
        assert_eq!("0.0.0.0/0".parse::<Cidr>().unwrap().mask(), [0; 4]);
        assert_eq!(
            "10.0.0.0/9".parse::<Cidr>().unwrap().mask(),
            [255, 128, 0, 0]
        );
        assert_eq!("fd00::1".parse::<Cidr>().unwrap().prefix(), 128);
    }

    #[test]
    fn what_is_no_range_is_refused_with_the_text() {
        for text in ["", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/x", "host"] {
            let error = text.parse::<Cidr>().unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
        }
    }
}
