//! The PROXY protocol's header of a connection. It comes in pieces: a verdict on a part must be
//! the verdict on the whole, or ask for more, and nothing behind the header counts. What is taken
//! is beside what the specification lets a sender write: the same ends, written anew.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meltemi_fuzz::cuts;
use meltemi_proxy::listener::inspect::proxy_protocol::{Ends, Start, ends, start};
use std::net::SocketAddr;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fuzz_target!(|input: &[u8]| {
    let whole = start(input);
    for end in cuts(input.len()) {
        let part = start(&input[..end]);
        assert!(
            part == Start::NeedMore || part == whole,
            "{end} bytes: {part:?}, all: {whole:?}"
        );
    }
    let Start::Header(length) = whole else { return };
    let Some(header) = input.get(..length) else {
        return;
    };
    let taken = ends(header);
    match header.starts_with(SIGNATURE) {
        true => binary(header, taken),
        false => text(header, taken),
    }
    if let Ok(Some((source, destination))) = taken {
        assert_eq!(source.is_ipv4(), destination.is_ipv4());
        for header in [line(source, destination), bytes(source, destination)] {
            assert_eq!(start(&header), Start::Header(header.len()));
            assert_eq!(ends(&header), taken);
        }
    }
});

/// Version 1: one space between words and none behind them, nothing but digits in a port.
fn text(header: &[u8], taken: Result<Option<Ends>, &'static str>) {
    assert!(header.len() <= 108 && header.ends_with(b"\r\n"));
    let words: Vec<&[u8]> = header
        .trim_ascii_end()
        .split(|byte| *byte == b' ')
        .collect();
    match taken {
        Ok(Some(_)) => {
            assert_eq!(words.len(), 6, "{words:?}");
            let digits = |word: &[u8]| !word.is_empty() && word.iter().all(u8::is_ascii_digit);
            assert!(digits(words[4]) && digits(words[5]), "{words:?}");
        }
        Ok(None) => assert_eq!(words[1], b"UNKNOWN"),
        Err(reason) => assert!(!reason.is_empty()),
    }
}

/// Version 2, read by offsets of the specification.
fn binary(header: &[u8], taken: Result<Option<Ends>, &'static str>) {
    let (command, family, content) = (header[12], header[13], &header[16..]);
    let octets = |from: usize, count: usize| content.get(from..from + count);
    let port = |from: usize| octets(from, 2).map(|two| u16::from_be_bytes([two[0], two[1]]));
    let address = |from: usize, six: bool| -> Option<std::net::IpAddr> {
        Some(match six {
            false => <[u8; 4]>::try_from(octets(from, 4)?).ok()?.into(),
            true => <[u8; 16]>::try_from(octets(from, 16)?).ok()?.into(),
        })
    };
    let at = match family >> 4 {
        1 => Some((false, 4, 8)),
        2 => Some((true, 16, 32)),
        _ => None,
    };
    let told = at.and_then(|(six, second, ports)| {
        let source = SocketAddr::new(address(0, six)?, port(ports)?);
        Some((
            source,
            SocketAddr::new(address(second, six)?, port(ports + 2)?),
        ))
    });
    match taken {
        Ok(Some(ends)) => {
            assert_eq!(command, 0x21);
            assert_eq!(Some(ends), told);
        }
        Ok(None) => assert_eq!(command, 0x20),
        Err(reason) => assert!(!reason.is_empty() && command != 0x20),
    }
}

fn line(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    format!(
        "PROXY {family} {from} {to} {} {}\r\n",
        source.port(),
        destination.port()
    )
    .into_bytes()
}

fn bytes(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let mut content = Vec::new();
    for end in [source, destination] {
        match end.ip() {
            std::net::IpAddr::V4(ip) => content.extend(ip.octets()),
            std::net::IpAddr::V6(ip) => content.extend(ip.octets()),
        }
    }
    content.extend(source.port().to_be_bytes());
    content.extend(destination.port().to_be_bytes());
    let family = if source.is_ipv4() { 0x11 } else { 0x21 };
    let head = [SIGNATURE, &[0x21, family, 0, content.len() as u8]].concat();
    [head, content].concat()
}
