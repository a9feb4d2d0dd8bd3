//! Our record layer against rustls' own, in each version and suite, on both sides.

use super::tests::{Authority, CLIENT, SERVER, client, common, secrets, server};
use super::*;
use crate::model::TlsVersion;
use crate::net::{Socket, Stream};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedCipherSuite};
use rustls_pki_types::ServerName;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream as Client};

/// More than several sends of a stream, and not whole records.
const MUCH: usize = 1_000_003;

/// A client of rustls' with a certificate of the mesh.
fn oracle_client(mesh: &Authority, suite: SupportedCipherSuite) -> Arc<ClientConfig> {
    let Secret::Certificate { chain, key, .. } = mesh.issue(CLIENT) else {
        unreachable!("issue makes certificates")
    };
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = vec![suite];
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots(mesh))
        .with_client_auth_cert(chain, key)
        .unwrap();
    Arc::new(config)
}

fn roots(mesh: &Authority) -> RootCertStore {
    let Secret::Trust { roots, .. } = mesh.trust() else {
        unreachable!("trust makes bundles")
    };
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots);
    store
}

/// A server for `localhost`, which rustls' clients want to see in a certificate.
fn localhost(mesh: &Authority) -> crate::model::ServerTls {
    let secret = Arc::new(mesh.issue_host("localhost"));
    server(common(&[], None), &(secret, Arc::new(mesh.trust())))
}

async fn pair(suite: SupportedCipherSuite) -> (Stream, Client<UnixStream>) {
    let mesh = Authority::new("mesh");
    let server = localhost(&mesh);
    let connector = TlsConnector::from(oracle_client(&mesh, suite));
    let (left, right) = UnixStream::pair().unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut staple = None;
    let (ours, theirs) = tokio::join!(
        accept(Socket::Unix(left), &server, HANDSHAKE, &mut staple),
        connector.connect(name, right)
    );
    (ours.unwrap().0, theirs.unwrap())
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n / 7 + n / 4096) as u8).collect()
}

/// Sends in pieces of several sizes, ends in order, and returns all that came.
async fn converse<S: AsyncRead + AsyncWrite>(stream: S, sent: &[u8]) -> io::Result<Vec<u8>> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let sending = async {
        let mut rest = sent;
        for size in [1, 200, 16_384, 16_385, 70_000, 3].into_iter().cycle() {
            let (now, later) = rest.split_at(size.min(rest.len()));
            writer.write_all(now).await?;
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        writer.shutdown().await
    };
    let mut received = Vec::new();
    let receiving = async {
        let mut buffer = vec![0; 50_000];
        for size in [1, 100, 20_000, 50_000, 16_384].into_iter().cycle() {
            match reader.read(&mut buffer[..size]).await? {
                0 => return Ok(()),
                length => received.extend_from_slice(&buffer[..length]),
            }
        }
        Ok(())
    };
    tokio::try_join!(sending, receiving)?;
    Ok(received)
}

#[tokio::test]
async fn all_suites_carry_much_in_both_directions_to_an_orderly_end() {
    for &suite in aws_lc_rs::ALL_CIPHER_SUITES {
        // Of RSA keys; the records are those of the other suites.
        if format!("{suite:?}").contains("_RSA_") {
            continue;
        }
        let (ours, theirs) = pair(suite).await;
        let (up, down) = (pattern(MUCH), pattern(MUCH - 7));
        let (left, right) = tokio::join!(converse(ours, &down), converse(theirs, &up));
        assert!(left.unwrap() == up, "{suite:?}");
        assert!(right.unwrap() == down, "{suite:?}");
    }
}

#[tokio::test]
async fn our_client_resumes_with_the_tickets_of_rustls_servers() {
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        let mesh = Authority::new("mesh");
        let Secret::Certificate { chain, key, .. } = mesh.issue(SERVER) else {
            unreachable!("issue makes certificates")
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        config.ticketer = aws_lc_rs::Ticketer::new().unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let mut spec = common(&[], None);
        spec.max_version = version;
        let client = client(spec, &secrets(&mesh, &mesh, CLIENT));
        for resumed in [false, true] {
            let (left, right) = UnixStream::pair().unwrap();
            let (theirs, ours) = tokio::join!(
                acceptor.accept(left),
                connect(Stream::from(right), &client, None, AlpnChoice::Own)
            );
            let (theirs, ours) = (theirs.unwrap(), ours.unwrap().0);
            let kind = theirs.get_ref().1.handshake_kind().unwrap();
            let full = kind != rustls::HandshakeKind::Resumed;
            assert_eq!(full, !resumed, "{version:?}: {kind:?}");
            let (up, down) = (pattern(MUCH), pattern(5));
            let (left, right) = tokio::join!(converse(theirs, &down), converse(ours, &up));
            assert!(left.unwrap() == up && right.unwrap() == down);
        }
    }
}

/// Each side changes its keys while data flows, and asks the other to do the same.
#[tokio::test]
async fn keys_change_under_way() {
    let suite = aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let (mut ours, mut theirs) = pair(suite).await;
    let mut buffer = [0; 5];
    for round in 0..3u8 {
        theirs.get_mut().1.refresh_traffic_keys().unwrap();
        theirs.write_all(&[round; 5]).await.unwrap();
        theirs.flush().await.unwrap();
        ours.read_exact(&mut buffer).await.unwrap();
        assert_eq!(buffer, [round; 5]);
        ours.write_all(&[round + 100; 5]).await.unwrap();
        theirs.read_exact(&mut buffer).await.unwrap();
        assert_eq!(buffer, [round + 100; 5]);
    }
}

/// What breaks the rules ends the connection, and the peer is told by which alert.
#[tokio::test]
async fn a_forged_record_is_refused_with_an_alert() {
    let suite = aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384;
    for (bytes, alert) in [
        (
            &[
                23u8, 3, 3, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18,
                19, 20,
            ][..],
            "BadRecordMac",
        ),
        (&[23, 3, 3, 0, 1, 9], "BadRecordMac"),
        (&[23, 3, 3, 0xff, 0xff], "RecordOverflow"),
        (b"GET / HTTP/1.1\r\n\r\n", "DecodeError"),
    ] {
        let (mut ours, mut theirs) = pair(suite).await;
        let written = theirs.get_ref().0.try_write(bytes).unwrap();
        assert_eq!(written, bytes.len());
        let mut buffer = [0; 8];
        for _ in 0..2 {
            let error = ours.read(&mut buffer).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        }
        let error = theirs.read(&mut buffer).await.unwrap_err().to_string();
        assert!(error.contains(alert), "{error}");
        assert!(ours.write(b"more").await.is_err());
    }
}

#[tokio::test]
async fn a_record_of_another_version_than_it_was_sealed_with_is_refused() {
    for suite in [
        aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
    ] {
        let (mut ours, mut theirs) = pair(suite).await;
        let (socket, connection) = theirs.get_mut();
        io::Write::write_all(&mut connection.writer(), b"data").unwrap();
        let mut record = Vec::new();
        connection.write_tls(&mut record).unwrap();
        record[2] = 1;
        assert_eq!(socket.try_write(&record).unwrap(), record.len());
        let error = ours.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
    }
}

/// An end without close_notify is told from one with it.
#[tokio::test]
async fn a_cut_connection_is_no_orderly_end() {
    let suite = aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let (mut ours, mut theirs) = pair(suite).await;
    ours.write_all(b"first").await.unwrap();
    theirs.read_exact(&mut [0; 5]).await.unwrap();
    drop(theirs);
    let error = ours.read(&mut [0; 8]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    let (mut ours, mut theirs) = pair(suite).await;
    theirs.write_all(b"last").await.unwrap();
    theirs.shutdown().await.unwrap();
    let mut all = Vec::new();
    ours.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, b"last");
}

/// A peer that takes nothing makes writing wait, and holds no more than one send.
#[tokio::test]
async fn a_peer_that_does_not_read_is_waited_for() {
    let suite = aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let (ours, mut theirs) = pair(suite).await;
    let sent = pattern(4 * MUCH);
    let expected = sent.clone();
    let writing = tokio::spawn(async move {
        let mut ours = ours;
        ours.write_all(&sent).await.unwrap();
        ours.shutdown().await.unwrap();
        ours
    });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!writing.is_finished());
    let mut received = Vec::new();
    theirs.read_to_end(&mut received).await.unwrap();
    assert!(received == expected);
    drop(writing.await.unwrap());
}

/// Records without data do not keep a connection busy for ever.
#[tokio::test]
async fn a_flood_of_empty_records_ends() {
    let suite = aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let (mut ours, mut theirs) = pair(suite).await;
    let flood = async {
        for _ in 0..200 {
            theirs.get_mut().1.refresh_traffic_keys()?;
            theirs.flush().await?;
        }
        Ok::<_, Box<dyn std::error::Error>>(())
    };
    let mut buffer = [0; 8];
    let (flooded, read) = tokio::join!(flood, ours.read(&mut buffer));
    let error = read.unwrap_err();
    assert!(error.to_string().contains("without data"), "{error}");
    drop(flooded);
}
