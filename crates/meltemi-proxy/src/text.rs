//! Numbers and addresses as text, on the way of every request: `fmt` costs several times as much.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

/// Appends the decimal digits.
pub(crate) fn number(out: &mut String, value: u64) {
    out.push_str(itoa::Buffer::new().format(value));
}

/// Appends an address as its `Display` does.
pub(crate) fn ip(out: &mut String, address: IpAddr) {
    let IpAddr::V4(address) = address else {
        let _ = write!(out, "{address}");
        return;
    };
    for (index, part) in address.octets().into_iter().enumerate() {
        if index > 0 {
            out.push('.');
        }
        number(out, part.into());
    }
}

/// Appends address and port as their `Display` does.
pub(crate) fn socket(out: &mut String, address: SocketAddr) {
    if address.is_ipv6() {
        let _ = write!(out, "{address}");
        return;
    }
    ip(out, address.ip());
    out.push(':');
    number(out, address.port().into());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_as_their_display() {
        for text in ["0.10.200.255:0", "[::1]:65535", "[::ffff:1.2.3.4]:80"] {
            let address: SocketAddr = text.parse().unwrap();
            let (mut all, mut host) = (String::new(), String::new());
            socket(&mut all, address);
            ip(&mut host, address.ip());
            assert_eq!(all, address.to_string());
            assert_eq!(host, address.ip().to_string());
        }
    }
}
