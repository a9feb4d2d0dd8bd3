//! The PROXY protocol's header, which tells an upstream who is connected to us
//! (haproxy.org, "The PROXY protocol", versions 1 and 2).

use crate::model::{ProxyHeader, ProxyVersion};
use std::net::{IpAddr, SocketAddr};

/// Source and destination of the downstream connection.
pub(crate) type Ends = (SocketAddr, SocketAddr);

/// Begins every header of version 2.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, command LOCAL: the connection is our own.
const LOCAL: u8 = 0x20;
/// Version 2, command PROXY.
const PROXY: u8 = 0x21;

/// What is sent before anything else. Without `ends` the connection is our own (a health
/// check): version 1 names `own`, the connection's own ends, as Envoy does.
pub(super) fn encode(header: &ProxyHeader, ends: Option<Ends>, own: Option<Ends>) -> Vec<u8> {
    match header.version {
        ProxyVersion::V1 => first(ends.or(own)),
        ProxyVersion::V2 => second(ends, &header.tlvs),
    }
}

fn first(ends: Option<Ends>) -> Vec<u8> {
    let line = match ends {
        Some((source, destination)) if source.is_ipv4() == destination.is_ipv4() => format!(
            "PROXY TCP{} {} {} {} {}\r\n",
            if source.is_ipv4() { 4 } else { 6 },
            source.ip(),
            destination.ip(),
            source.port(),
            destination.port()
        ),
        _ => "PROXY UNKNOWN\r\n".to_owned(),
    };
    line.into_bytes()
}

fn second(ends: Option<Ends>, tlvs: &[(u8, Box<[u8]>)]) -> Vec<u8> {
    let mut content = Vec::new();
    let (command, family) = match ends {
        None => (LOCAL, 0x00),
        Some((source, destination)) => {
            let family = match (source.ip(), destination.ip()) {
                (IpAddr::V4(source), IpAddr::V4(destination)) => {
                    content.extend_from_slice(&source.octets());
                    content.extend_from_slice(&destination.octets());
                    0x11
                }
                (IpAddr::V6(source), IpAddr::V6(destination)) => {
                    content.extend_from_slice(&source.octets());
                    content.extend_from_slice(&destination.octets());
                    0x21
                }
                _ => 0x00,
            };
            if family != 0 {
                content.extend_from_slice(&source.port().to_be_bytes());
                content.extend_from_slice(&destination.port().to_be_bytes());
            }
            for (kind, value) in tlvs {
                content.push(*kind);
                content.extend_from_slice(&(value.len() as u16).to_be_bytes());
                content.extend_from_slice(value);
            }
            (PROXY, family)
        }
    };
    let mut out = Vec::with_capacity(16 + content.len());
    out.extend_from_slice(&SIGNATURE);
    out.extend_from_slice(&[command, family]);
    out.extend_from_slice(&(content.len() as u16).to_be_bytes());
    out.extend_from_slice(&content);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(version: ProxyVersion) -> ProxyHeader {
        ProxyHeader {
            version,
            tlvs: [(0xE0, Box::from(*b"hi"))].into(),
        }
    }

    fn ends(source: &str, destination: &str) -> Ends {
        (source.parse().unwrap(), destination.parse().unwrap())
    }

    #[test]
    fn version_1_is_a_line() {
        let v1 = header(ProxyVersion::V1);
        let (four, six) = (
            ends("10.0.0.1:1", "10.0.0.2:80"),
            ends("[::1]:1", "[::2]:80"),
        );
        let text = |ends, own| String::from_utf8(encode(&v1, ends, own)).unwrap();
        assert_eq!(
            text(Some(four), None),
            "PROXY TCP4 10.0.0.1 10.0.0.2 1 80\r\n"
        );
        assert_eq!(text(Some(six), None), "PROXY TCP6 ::1 ::2 1 80\r\n");
        assert_eq!(text(Some((four.0, six.1)), None), "PROXY UNKNOWN\r\n");
        assert_eq!(text(None, Some(four)), text(Some(four), None));
        assert_eq!(text(None, None), "PROXY UNKNOWN\r\n");
    }

    #[test]
    fn version_2_is_binary() {
        let v2 = header(ProxyVersion::V2);
        let four = encode(&v2, Some(ends("10.0.0.1:1", "10.0.0.2:80")), None);
        assert_eq!(four[..12], SIGNATURE);
        assert_eq!(four[12..16], [0x21, 0x11, 0, 17]);
        assert_eq!(four[16..28], [10, 0, 0, 1, 10, 0, 0, 2, 0, 1, 0, 80]);
        assert_eq!(four[28..], [0xE0, 0, 2, b'h', b'i']);
        let six = encode(&v2, Some(ends("[::1]:1", "[::2]:80")), None);
        assert_eq!((six[13], six.len()), (0x21, 16 + 36 + 5));
        let local = encode(&v2, None, Some(ends("10.0.0.1:1", "10.0.0.2:80")));
        assert_eq!(local[12..], [0x20, 0, 0, 0]);
    }
}
