//! A client with a certificate that names a workload of the mesh, issued by somebody else.

use rcgen::{CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

const CLAIMED: &str = "spiffe://cluster.local/ns/default/sa/bookinfo-productpage";

/// `answered ...` when it was let in, `refused: ...` when not.
pub fn ask(address: &str) -> String {
    match exchange(address) {
        Ok(line) => format!("answered {line}"),
        Err(reason) => format!("refused: {reason}"),
    }
}

fn exchange(address: &str) -> Result<String, Box<dyn std::error::Error>> {
    let tcp = TcpStream::connect(address)?;
    tcp.set_read_timeout(Some(Duration::from_secs(5)))?;
    let name = ServerName::try_from("outbound_.9080_._.reviews.default.svc.cluster.local")?;
    let connection = ClientConnection::new(Arc::new(configuration()?), name)?;
    let mut stream = StreamOwned::new(connection, tcp);
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: reviews\r\nConnection: close\r\n\r\n")?;
    let mut bytes = [0; 64];
    let count = stream.read(&mut bytes)?;
    if count == 0 {
        return Err("closed".into());
    }
    Ok(String::from_utf8_lossy(&bytes[..count])
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned())
}

fn configuration() -> Result<ClientConfig, Box<dyn std::error::Error>> {
    let authority_key = KeyPair::generate()?;
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate()?;
    let mut workload = CertificateParams::default();
    workload.subject_alt_names = vec![SanType::URI(CLAIMED.try_into()?)];
    let certificate = workload.signed_by(&key, &issuer)?;
    // This client is the one to be judged, not the server.
    let mut config = crate::common::tls::trusting()?.with_client_auth_cert(
        vec![certificate.der().clone()],
        PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
    )?;
    // As Istio's sidecars offer.
    config.alpn_protocols = vec![
        b"istio-http/1.1".to_vec(),
        b"istio".to_vec(),
        b"http/1.1".to_vec(),
    ];
    Ok(config)
}
