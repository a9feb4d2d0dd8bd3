//! ClientHellos of rustls, cut and joined in every way, and made-up ones.

use super::*;
use proptest::prelude::*;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use std::sync::Arc;

fn hello(server_name: &'static str, protocols: &[&[u8]]) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let mut client =
        ClientConnection::new(Arc::new(config), server_name.try_into().unwrap()).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// The same handshake message in records of at most `size` bytes.
fn fragmented(hello: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for part in hello[5..].chunks(size) {
        out.extend_from_slice(&[22, 3, 1]);
        out.extend_from_slice(&(part.len() as u16).to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

fn expected(server_name: Option<&str>, protocols: &[&[u8]]) -> TlsVerdict {
    TlsVerdict::Tls {
        server_name: server_name.map(Into::into),
        protocols: protocols.iter().map(|name| (*name).into()).collect(),
        // rustls does.
        asks_staple: true,
    }
}

#[test]
fn names_and_protocols_are_found_at_every_split() {
    let protocols: &[&[u8]] = &[b"istio-peer-exchange", b"istio"];
    let name = "outbound_.9080_._.Reviews.default.svc.cluster.local";
    let bytes = hello(name, protocols);
    let wanted = expected(Some(&name.to_ascii_lowercase()), protocols);
    assert_eq!(client_hello(&bytes), wanted);
    for split in 0..bytes.len() {
        assert_eq!(
            client_hello(&bytes[..split]),
            TlsVerdict::NeedMore,
            "{split}"
        );
    }
    for size in [1, 3, 50, 200] {
        let parts = fragmented(&bytes, size);
        assert_eq!(client_hello(&parts), wanted, "records of {size}");
        assert_eq!(
            client_hello(&parts[..parts.len() - 1]),
            TlsVerdict::NeedMore
        );
    }
    // What follows the ClientHello is nobody's business here.
    assert_eq!(
        client_hello(&[bytes.as_slice(), b"\x14\x03\x03\x00\x01\x01"].concat()),
        wanted
    );
    assert_eq!(client_hello(&hello("10.0.0.1", &[])), expected(None, &[]));
}

#[test]
fn what_is_no_client_hello_is_not_tls() {
    for bytes in [
        b"GET / HTTP/1.1\r\n".as_slice(),
        b"\x15\x03\x01\x00\x02",
        b"\x16\x02\x00\x00\x10",
        b"\x16\x03\x01\x00\x00",
        // ServerHello
        b"\x16\x03\x03\x00\x04\x02\x00\x00\x00",
        // a hello whose vectors go beyond it
        b"\x16\x03\x01\x00\x08\x01\x00\x00\x04\x03\x03\x00\x00",
    ] {
        assert_eq!(client_hello(bytes), TlsVerdict::NotTls, "{bytes:x?}");
    }
    assert_eq!(client_hello(b""), TlsVerdict::NeedMore);
}

#[test]
fn a_hello_beyond_the_bound_is_too_large() {
    let mut bytes = vec![22, 3, 1, 0x40, 0, 1, 0, 0x40, 1];
    assert_eq!(client_hello(&bytes), TlsVerdict::TooLarge);
    bytes = vec![22, 3, 1, 0x3f, 0xff, 1, 0, 0x3f, 0xff];
    bytes.resize(MAX_CLIENT_HELLO, 0);
    assert_eq!(client_hello(&bytes), TlsVerdict::TooLarge);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_bytes_make_it_panic_and_verdicts_are_stable(at in 0usize..200, value: u8, tail in prop::collection::vec(any::<u8>(), 0..64)) {
        let mut bytes = hello("a.example.com", &[b"h2"]);
        let at = at % bytes.len();
        bytes[at] = value;
        bytes.extend(&tail);
        let whole = client_hello(&bytes);
        for split in 0..bytes.len() {
            let early = client_hello(&bytes[..split]);
            prop_assert!(early == whole || early == TlsVerdict::NeedMore, "{split}: {early:?}, {whole:?}");
        }
        client_hello(&tail);
    }
}
