//! The PROXY protocol's header, with which a load balancer in front of us says who its client
//! is (haproxy.org, "The PROXY protocol", versions 1 and 2), read as Envoy reads it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Begins every header of version 1.
const FIRST: &[u8] = b"PROXY ";
/// Begins every header of version 2.
const SECOND: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of the longest header of version 1.
const MAX_FIRST: usize = 108;
/// Bytes of a header of version 2 before its addresses.
const FIXED: usize = 16;

/// Source and destination of the connection to the load balancer.
pub type Ends = (SocketAddr, SocketAddr);

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    NeedMore,
    /// Not the PROXY protocol.
    Other,
    /// A header of so many bytes, to be read by [`ends`].
    Header(usize),
    Malformed,
}

/// Looks at the first bytes.
pub fn start(bytes: &[u8]) -> Start {
    let begins = |mark: &[u8]| {
        let seen = bytes.len().min(mark.len());
        bytes[..seen] == mark[..seen]
    };
    if begins(SECOND) {
        let Some(length) = bytes.get(14..FIXED) else {
            return Start::NeedMore;
        };
        return Start::Header(FIXED + usize::from(u16::from_be_bytes([length[0], length[1]])));
    }
    if !begins(FIRST) {
        return Start::Other;
    }
    let line = &bytes[..bytes.len().min(MAX_FIRST)];
    match line.windows(2).position(|two| two == b"\r\n") {
        Some(end) => Start::Header(end + 2),
        None if line.len() == MAX_FIRST => Start::Malformed,
        None => Start::NeedMore,
    }
}

/// What a whole header says; `Ok(None)`: the connection is the load balancer's own.
///
/// # Errors
/// What is wrong with it.
pub fn ends(header: &[u8]) -> Result<Option<Ends>, &'static str> {
    let ends = match header.starts_with(FIRST) {
        true => first(header)?,
        false => second(header)?,
    };
    let Some((source, destination)) = ends else {
        return Ok(None);
    };
    match is_unicast(source.ip()) && is_unicast(destination.ip()) {
        true => Ok(Some((source, destination))),
        false => Err("an address that no connection has"),
    }
}

fn first(header: &[u8]) -> Result<Option<Ends>, &'static str> {
    let wrong = "the line is not PROXY TCP4|TCP6 SOURCE DESTINATION PORT PORT";
    let line = std::str::from_utf8(header).map_err(|_| wrong)?;
    // One space between words and none behind them, as the protocol's text has it.
    let parts: Vec<&str> = line.trim_end_matches("\r\n").split(' ').collect();
    let end = |address: &str, port: &str| {
        let address: IpAddr = address.parse().map_err(|_| wrong)?;
        let digits = Some(port).filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
        let port: u16 = digits.and_then(|port| port.parse().ok()).ok_or(wrong)?;
        Ok::<_, &'static str>(SocketAddr::new(address, port))
    };
    match parts[..] {
        [_, "UNKNOWN", ..] => Ok(None),
        [_, family @ ("TCP4" | "TCP6"), from, to, from_port, to_port] => {
            let (source, destination) = (end(from, from_port)?, end(to, to_port)?);
            let fits = |end: SocketAddr| end.is_ipv4() == (family == "TCP4");
            match fits(source) && fits(destination) {
                true => Ok(Some((source, destination))),
                false => Err("an address of another family than the line says"),
            }
        }
        _ => Err(wrong),
    }
}

fn second(header: &[u8]) -> Result<Option<Ends>, &'static str> {
    let cut = "the header is shorter than its addresses";
    let (fixed, rest) = header.split_at_checked(FIXED).ok_or(cut)?;
    let (version, command) = (fixed[12] >> 4, fixed[12] & 0xf);
    if version != 2 {
        return Err("a version other than 2");
    }
    match command {
        0 => return Ok(None),
        1 => {}
        _ => return Err("a command other than LOCAL and PROXY"),
    }
    // Of streams and of datagrams: it is the addresses that count.
    if !matches!(fixed[13] & 0xf, 1 | 2) {
        return Err("a transport other than streams and datagrams");
    }
    let port = |at: usize| {
        let bytes = rest.get(at..at + 2).ok_or(cut)?;
        Ok::<_, &'static str>(u16::from_be_bytes([bytes[0], bytes[1]]))
    };
    let (ends, length) = match fixed[13] >> 4 {
        1 => {
            let address = |at: usize| {
                let bytes: [u8; 4] = rest.get(at..at + 4)?.try_into().ok()?;
                Some(IpAddr::V4(Ipv4Addr::from(bytes)))
            };
            let source = SocketAddr::new(address(0).ok_or(cut)?, port(8)?);
            let destination = SocketAddr::new(address(4).ok_or(cut)?, port(10)?);
            ((source, destination), 12)
        }
        2 => {
            let address = |at: usize| {
                let bytes: [u8; 16] = rest.get(at..at + 16)?.try_into().ok()?;
                Some(IpAddr::V6(Ipv6Addr::from(bytes)))
            };
            let source = SocketAddr::new(address(0).ok_or(cut)?, port(32)?);
            let destination = SocketAddr::new(address(16).ok_or(cut)?, port(34)?);
            ((source, destination), 36)
        }
        _ => return Err("an address family other than IPv4 and IPv6"),
    };
    extensions(&rest[length..])?;
    Ok(Some(ends))
}

/// Type, length and value, one after the other; Envoy closes a connection whose are not whole.
fn extensions(mut bytes: &[u8]) -> Result<(), &'static str> {
    while let [_, rest @ ..] = bytes {
        let whole = rest.split_at_checked(2).and_then(|(length, rest)| {
            rest.get(usize::from(u16::from_be_bytes([length[0], length[1]]))..)
        });
        bytes = whole.ok_or("an extension that is cut")?;
    }
    Ok(())
}

fn is_unicast(address: IpAddr) -> bool {
    let broadcast = address == IpAddr::V4(Ipv4Addr::BROADCAST);
    !address.is_unspecified() && !address.is_multicast() && !broadcast
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(command: u8, family: u8, content: &[u8]) -> Vec<u8> {
        let mut header = SECOND.to_vec();
        header.extend_from_slice(&[command, family]);
        header.extend_from_slice(&(content.len() as u16).to_be_bytes());
        header.extend_from_slice(content);
        header
    }

    const V4: &[u8] = &[10, 0, 0, 1, 10, 0, 0, 2, 0x30, 0x39, 0, 80];

    #[test]
    fn headers_are_told_by_their_first_bytes_however_they_arrive() {
        let line = b"PROXY TCP4 10.0.0.1 10.0.0.2 12345 80\r\n";
        let binary = v2(0x21, 0x11, V4);
        for header in [&line[..], &binary] {
            // The length of version 2 stands in its first sixteen bytes.
            let known = if header == line { header.len() } else { FIXED };
            for seen in 1..header.len() {
                let expected = match seen < known {
                    true => Start::NeedMore,
                    false => Start::Header(header.len()),
                };
                assert_eq!(start(&header[..seen]), expected, "{seen}");
            }
            let followed = [header, b"GET / HTTP/1.1\r\n"].concat();
            assert_eq!(start(&followed), Start::Header(header.len()));
            let expected = (
                "10.0.0.1:12345".parse().unwrap(),
                "10.0.0.2:80".parse().unwrap(),
            );
            assert_eq!(ends(header), Ok(Some(expected)));
        }
        assert_eq!(start(b"GET / HTTP/1.1\r\n"), Start::Other);
        assert_eq!(start(b"\r\n\r\nGET"), Start::Other);
        assert_eq!(
            start(&[b"PROXY TCP4 ", [b'1'; 100].as_slice()].concat()),
            Start::Malformed
        );
    }

    #[test]
    fn what_is_not_about_a_client_changes_nothing() {
        assert_eq!(ends(b"PROXY UNKNOWN\r\n"), Ok(None));
        assert_eq!(ends(b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n"), Ok(None));
        assert_eq!(ends(&v2(0x20, 0x00, b"ignored")), Ok(None));
    }

    #[test]
    fn ipv6_and_extensions_are_read() {
        let expected = Ok(Some((
            "[2001:db8::1]:1".parse().unwrap(),
            "[2001:db8::2]:2".parse().unwrap(),
        )));
        assert_eq!(
            ends(b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n"),
            expected
        );
        let mut content = Vec::new();
        for address in ["2001:db8::1", "2001:db8::2"] {
            content.extend(address.parse::<Ipv6Addr>().unwrap().octets());
        }
        content.extend_from_slice(&[0, 1, 0, 2]);
        content.extend_from_slice(&[4, 0, 2, 9, 9]);
        assert_eq!(ends(&v2(0x21, 0x21, &content)), expected);
    }

    #[test]
    fn wrong_headers_are_refused() {
        let cut = [V4, &[4, 0, 2, 9]].concat();
        for header in [
            &b"PROXY TCP4 10.0.0.1 10.0.0.2 12345\r\n"[..],
            b"PROXY TCP4 ::1 ::1 1 2\r\n",
            b"PROXY  TCP4 10.0.0.1 10.0.0.2 1 2\r\n",
            b"PROXY TCP4 10.0.0.1 10.0.0.2 +1 2\r\n",
            b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2 \r\n",
            b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\x0b\r\n",
            b"PROXY TCP4 10.0.0.1 10.0.0.2 1 70000\r\n",
            b"PROXY UDP4 10.0.0.1 10.0.0.2 1 2\r\n",
            b"PROXY TCP4 0.0.0.0 10.0.0.2 1 2\r\n",
            &v2(0x11, 0x11, V4),
            &v2(0x22, 0x11, V4),
            &v2(0x21, 0x31, V4),
            &v2(0x21, 0x10, V4),
            &v2(0x21, 0x11, &V4[..11]),
            &v2(0x21, 0x11, &cut),
        ] {
            assert!(ends(header).is_err(), "{header:?}");
        }
    }
}
