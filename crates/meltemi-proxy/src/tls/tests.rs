//! Handshakes between our own two sides, and against `openssl s_client` where it is
//! installed.

use super::*;
use crate::model::{
    ClientTls, CommonTls, Pin, SanKind, SanMatch, ServerTls, ServerTlsSpec, StringMatch,
    TlsVersion, Validation,
};
use crate::net::{Socket, Stream};
use crate::telemetry::TlsInfo;
use arc_swap::ArcSwapOption;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    IsCa, KeyPair, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use sha2::{Digest, Sha256};
use std::io::Write;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};
use x509_parser::prelude::{FromDer, X509Certificate};

pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(super) fn issue(&self, spiffe: &str) -> Secret {
        self.issue_numbered(spiffe, 1)
    }

    fn issue_numbered(&self, spiffe: &str, serial: u64) -> Secret {
        let mut params = CertificateParams::default();
        params.serial_number = Some(SerialNumber::from(serial));
        params
            .subject_alt_names
            .push(SanType::URI(spiffe.try_into().unwrap()));
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, "a, b");
        params
            .distinguished_name
            .push(DnType::CommonName, "workload");
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> Secret {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Secret::Certificate {
            chain: vec![certificate.der().clone()],
            key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            staple: None,
        }
    }

    pub(super) fn issue_host(&self, name: &str) -> Secret {
        let params = CertificateParams::new(vec![name.into()]).unwrap();
        self.sign(params)
    }

    pub(super) fn trust(&self) -> Secret {
        Secret::Trust {
            roots: vec![self.0.der().clone()],
            revocation: None,
        }
    }

    /// The trust bundle with a list that is in force until `year` and holds these.
    fn trust_without(&self, serials: &[u64], year: i32) -> Secret {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(year, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.0).unwrap();
        Secret::Trust {
            roots: vec![self.0.der().clone()],
            revocation: Some(Revocation {
                lists: vec![list.der().clone()],
                only_leaf: false,
            }),
        }
    }
}

pub(super) fn common(alpn: &[&[u8]], prefix: Option<&str>) -> CommonTls {
    CommonTls {
        alpn: alpn.iter().map(|name| name.to_vec()).collect(),
        certificates: vec!["default".into()],
        validation: Validation {
            trust: Some("ROOTCA".into()),
            names: prefix
                .map(|prefix| SanMatch {
                    kind: SanKind::Uri,
                    value: StringMatch::Prefix(prefix.into(), false),
                })
                .into_iter()
                .collect(),
            pins: Vec::new(),
            accept_untrusted: false,
        },
        min_version: TlsVersion::V1_2,
        max_version: TlsVersion::V1_3,
        cipher_suites: Vec::new(),
        curves: Vec::new(),
    }
}

pub(super) type Secrets = (Arc<Secret>, Arc<Secret>);

pub(super) fn secrets(authority: &Authority, trusted: &Authority, spiffe: &str) -> Secrets {
    (Arc::new(authority.issue(spiffe)), Arc::new(trusted.trust()))
}

fn lookup(secrets: &Secrets) -> impl Fn(&str) -> Option<Arc<Secret>> {
    let secrets = secrets.clone();
    move |name: &str| match name {
        "default" => Some(secrets.0.clone()),
        "ROOTCA" => Some(secrets.1.clone()),
        _ => None,
    }
}

pub(super) fn server(common: CommonTls, secrets: &Secrets) -> ServerTls {
    let tls = ServerTls {
        requires_client_cert: true,
        config: ArcSwapOption::empty(),
        spec: ServerTlsSpec {
            common,
            stateless_resumption: true,
            staple_policy: Default::default(),
        },
    };
    tls.config
        .store(Some(server_config(&tls, &lookup(secrets)).unwrap()));
    tls
}

pub(super) fn client(spec: CommonTls, secrets: &Secrets) -> ClientTls {
    let configs = client_configs(&spec, &lookup(secrets), 1).unwrap();
    ClientTls {
        config: ArcSwapOption::from_pointee(configs),
        sni: Some("outbound_.9080_._.reviews.default.svc.cluster.local".into()),
        auto_sni: false,
        auto_san: false,
        spec,
    }
}

#[tokio::test]
async fn the_name_that_auto_sni_sends_must_be_in_the_certificate() {
    let authority = Authority::new("mesh");
    let secret = authority.issue_host("api.example");
    let server = server(
        common(&[], None),
        &(Arc::new(secret), Arc::new(authority.trust())),
    );
    let secrets = secrets(&authority, &authority, CLIENT);
    for (auto_san, name, good) in [
        (true, "api.example", true),
        (true, "other.example", false),
        (false, "other.example", true),
    ] {
        let mut client = client(common(&[], None), &secrets);
        client.auto_san = auto_san;
        let (left, right) = UnixStream::pair().unwrap();
        let mut staple = None;
        let (_, calling) = tokio::join!(
            accept(Socket::Unix(left), &server, HANDSHAKE, &mut staple),
            connect(Stream::from(right), &client, Some(name), AlpnChoice::Own)
        );
        assert_eq!(calling.is_ok(), good, "{name}");
        if let Err(error) = calling {
            assert!(matches!(error, TlsError::WrongName), "{error}");
        }
    }
}

type Side = Result<TlsInfo, TlsError>;

/// A handshake, and a byte each way.
async fn shake(server: &ServerTls, client: &ClientTls, alpn: AlpnChoice) -> (Side, Side) {
    let (left, right) = UnixStream::pair().unwrap();
    let serving = async {
        let (mut stream, info) = accept(Socket::Unix(left), server, HANDSHAKE, &mut None).await?;
        stream.write_all(b"s").await?;
        stream.read_u8().await?;
        Ok::<_, TlsError>(info)
    };
    let calling = async {
        let (mut stream, info) = connect(Stream::from(right), client, None, alpn).await?;
        stream.write_all(b"c").await?;
        // With TLS 1.3 the server's refusal of our certificate arrives here.
        stream.read_u8().await?;
        Ok::<_, TlsError>(info)
    };
    tokio::join!(serving, calling)
}

pub(super) const SERVER: &str = "spiffe://cluster.local/ns/default/sa/reviews";
pub(super) const CLIENT: &str = "spiffe://cluster.local/ns/default/sa/productpage";
const ISTIO: &[&[u8]] = &[b"istio-peer-exchange", b"istio"];

#[tokio::test]
async fn both_sides_learn_who_the_other_is() {
    let mesh = Authority::new("mesh");
    let (ours, theirs) = (secrets(&mesh, &mesh, SERVER), secrets(&mesh, &mesh, CLIENT));
    let server = server(
        common(&[b"h2", b"http/1.1"], Some("spiffe://cluster.local/")),
        &ours,
    );
    let client = client(common(ISTIO, Some(SERVER)), &theirs);
    let (at_server, at_client) = shake(&server, &client, AlpnChoice::IstioHttp2).await;
    let (at_server, at_client) = (at_server.unwrap(), at_client.unwrap());
    assert_eq!(at_server.peer_uri.as_deref(), Some(CLIENT));
    assert_eq!(at_server.local_uri.as_deref(), Some(SERVER));
    assert_eq!(at_client.peer_uri.as_deref(), Some(SERVER));
    assert_eq!(at_server.alpn.as_deref(), Some(b"h2".as_slice()));
    assert_eq!(at_server.version, "TLSv1.3");
    // As between two Envoys: the first that BoringSSL offers.
    assert_eq!(at_server.cipher, "TLS_AES_128_GCM_SHA256");
    assert_eq!(
        at_server.peer_subject.as_deref(),
        Some("CN=workload,O=a\\, b")
    );
    assert_eq!(at_server.peer_hash.as_ref().unwrap().len(), 64);
    // The second connection resumes, and the peer is known all the same.
    let (again, _) = shake(&server, &client, AlpnChoice::IstioHttp2).await;
    assert_eq!(again.unwrap().peer_uri.as_deref(), Some(CLIENT));
    // Nothing in common: Envoy goes on without a protocol.
    let (without, _) = shake(&server, &client, AlpnChoice::Own).await;
    assert_eq!(without.unwrap().alpn, None);
}

#[tokio::test]
async fn foreign_authorities_wrong_names_and_no_certificate_are_refused() {
    let (mesh, foreign) = (Authority::new("mesh"), Authority::new("foreign"));
    let ours = secrets(&mesh, &mesh, SERVER);
    let server = server(common(&[], Some("spiffe://cluster.local/")), &ours);

    let stranger = client(common(&[], None), &secrets(&foreign, &mesh, CLIENT));
    let (at_server, at_client) = shake(&server, &stranger, AlpnChoice::Own).await;
    assert!(
        matches!(at_server, Err(TlsError::Untrusted(_))),
        "{at_server:?}"
    );
    assert!(at_client.is_err());

    let other_domain = client(
        common(&[], None),
        &secrets(&mesh, &mesh, "spiffe://other/ns/a/sa/b"),
    );
    let (at_server, _) = shake(&server, &other_domain, AlpnChoice::Own).await;
    assert!(
        matches!(at_server, Err(TlsError::WrongName)),
        "{at_server:?}"
    );

    let mut anonymous = common(&[], None);
    anonymous.certificates.clear();
    let anonymous = client(anonymous, &secrets(&mesh, &mesh, CLIENT));
    let (at_server, _) = shake(&server, &anonymous, AlpnChoice::Own).await;
    assert!(
        matches!(at_server, Err(TlsError::NoCertificate)),
        "{at_server:?}"
    );

    // The client checks the server as well.
    let deceived = client(
        common(&[], Some("spiffe://cluster.local/ns/default/sa/ratings")),
        &secrets(&mesh, &mesh, CLIENT),
    );
    let (_, at_client) = shake(&server, &deceived, AlpnChoice::Own).await;
    assert!(
        matches!(at_client, Err(TlsError::WrongName)),
        "{at_client:?}"
    );
    let distrustful = client(common(&[], None), &secrets(&mesh, &foreign, CLIENT));
    let (_, at_client) = shake(&server, &distrustful, AlpnChoice::Own).await;
    assert!(
        matches!(at_client, Err(TlsError::Untrusted(_))),
        "{at_client:?}"
    );
}

#[tokio::test]
async fn revoked_certificates_are_refused_on_both_sides() {
    let mesh = Authority::new("mesh");
    let with = |spiffe: &str, serial: u64, trust: Secret| {
        (
            Arc::new(mesh.issue_numbered(spiffe, serial)),
            Arc::new(trust),
        )
    };
    // (revoked, in force until, server's and client's word)
    for (revoked, year, server_takes, client_takes) in [
        (&[][..], 2124, true, true),
        (&[7, 8][..], 2124, true, true),
        (&[1][..], 2124, true, false),
        (&[2][..], 2124, false, true),
        // A list that is no longer in force tells nothing.
        (&[][..], 2025, false, false),
    ] {
        let server = server(
            common(&[], None),
            &with(SERVER, 1, mesh.trust_without(revoked, year)),
        );
        let trusting = client(common(&[], None), &with(CLIENT, 2, mesh.trust()));
        let (at_server, _) = shake(&server, &trusting, AlpnChoice::Own).await;
        assert_eq!(
            at_server.is_ok(),
            server_takes,
            "{revoked:?}: {at_server:?}"
        );
        let trusting = self::server(common(&[], None), &with(SERVER, 1, mesh.trust()));
        let careful = client(
            common(&[], None),
            &with(CLIENT, 2, mesh.trust_without(revoked, year)),
        );
        let (_, at_client) = shake(&trusting, &careful, AlpnChoice::Own).await;
        assert_eq!(
            at_client.is_ok(),
            client_takes,
            "{revoked:?}: {at_client:?}"
        );
    }
}

#[tokio::test]
async fn pinned_certificates_and_keys_are_let_in_alone() {
    let mesh = Authority::new("mesh");
    let (ours, theirs) = (secrets(&mesh, &mesh, SERVER), secrets(&mesh, &mesh, CLIENT));
    let hashes = |secret: &Secret| {
        let Secret::Certificate { chain, .. } = secret else {
            unreachable!("issue makes certificates")
        };
        let (_, parsed) = X509Certificate::from_der(&chain[0]).unwrap();
        let key = Sha256::digest(parsed.public_key().raw).into();
        (
            Pin::Certificate(Sha256::digest(&chain[0]).into()),
            Pin::Key(key),
        )
    };
    let (of_server, of_client) = (hashes(&ours.0), hashes(&theirs.0));
    let pinned = |pins: &[Pin]| {
        let mut spec = common(&[], None);
        spec.validation.pins = pins.to_vec();
        spec
    };
    for (pins, good) in [
        (vec![of_client.0], true),
        (vec![of_client.1], true),
        (vec![of_server.0, of_server.1, of_client.1], true),
        (vec![of_server.0, of_server.1], false),
    ] {
        let server = server(pinned(&pins), &ours);
        let (at_server, _) = shake(
            &server,
            &client(common(&[], None), &theirs),
            AlpnChoice::Own,
        )
        .await;
        assert_eq!(at_server.is_ok(), good, "{pins:?}");
        assert!(good || matches!(at_server, Err(TlsError::NotPinned)));
    }
    let server = server(common(&[], None), &ours);
    for (pins, good) in [(of_server.1, true), (of_client.1, false)] {
        let client = client(pinned(&[pins]), &theirs);
        let (_, at_client) = shake(&server, &client, AlpnChoice::Own).await;
        assert_eq!(at_client.is_ok(), good, "{pins:?}");
        assert!(good || matches!(at_client, Err(TlsError::NotPinned)));
    }
    // Who accepts untrusted certificates accepts any.
    let mut spec = pinned(&[of_client.1]);
    spec.validation.accept_untrusted = true;
    let lax = client(spec, &theirs);
    let (_, at_client) = shake(&server, &lax, AlpnChoice::Own).await;
    assert!(at_client.is_ok(), "{at_client:?}");
}

#[tokio::test]
async fn plaintext_silence_and_missing_secrets_are_told_apart() {
    let mesh = Authority::new("mesh");
    let ours = secrets(&mesh, &mesh, SERVER);
    let server = server(common(&[], None), &ours);
    let (left, mut right) = UnixStream::pair().unwrap();
    right.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let error = accept(Socket::Unix(left), &server, HANDSHAKE, &mut None)
        .await
        .unwrap_err();
    assert!(matches!(error, TlsError::NotTls), "{error:?}");
    let (left, _right) = UnixStream::pair().unwrap();
    let time = std::time::Duration::from_millis(10);
    let error = accept(Socket::Unix(left), &server, time, &mut None)
        .await
        .unwrap_err();
    assert!(matches!(error, TlsError::Timeout(_)), "{error:?}");
    server.config.store(None);
    let (left, _right) = UnixStream::pair().unwrap();
    let error = accept(Socket::Unix(left), &server, time, &mut None)
        .await
        .unwrap_err();
    assert!(matches!(error, TlsError::NoSecret), "{error:?}");
}

#[test]
fn what_cannot_be_honoured_is_named() {
    let mesh = Authority::new("mesh");
    let secrets = secrets(&mesh, &mesh, SERVER);
    let refused = |edit: &dyn Fn(&mut CommonTls)| {
        let mut spec = common(&[], None);
        edit(&mut spec);
        client_configs(&spec, &lookup(&secrets), 1)
            .err()
            .expect("must be refused")
    };
    assert!(refused(&|spec| spec.cipher_suites = vec!["RC4-MD5".into()]).contains("RC4-MD5"));
    assert!(refused(&|spec| spec.curves = vec!["P-257".into()]).contains("P-257"));
    assert!(refused(&|spec| spec.curves = vec!["P-521".into()]).contains("P-521"));
    assert!(refused(&|spec| spec.certificates = vec!["missing".into()]).contains("missing"));
    assert!(refused(&|spec| spec.certificates = vec!["ROOTCA".into()]).contains("ROOTCA"));
    assert!(
        refused(&|spec| {
            spec.min_version = TlsVersion::V1_3;
            spec.max_version = TlsVersion::V1_2;
        })
        .contains("tls_minimum_protocol_version")
    );
    assert!(
        refused(&|spec| {
            spec.validation.trust = None;
            spec.validation.names = vec![SanMatch {
                kind: SanKind::Uri,
                value: StringMatch::Exact(SERVER.into(), false),
            }];
        })
        .contains("trusted_ca")
    );
    let mut istio = common(&[], None);
    istio.cipher_suites = [
        "[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]",
        "AES128-GCM-SHA256",
    ]
    .map(Into::into)
    .into();
    assert!(client_configs(&istio, &lookup(&secrets), 1).is_ok());
}

#[tokio::test]
async fn openssl_is_served_or_refused() {
    if std::process::Command::new("openssl")
        .arg("version")
        .output()
        .is_err()
    {
        println!("skipped: openssl not found");
        return;
    }
    let (mesh, foreign) = (Authority::new("mesh"), Authority::new("foreign"));
    let dir = tempfile::tempdir().unwrap();
    for (name, authority) in [("good", &mesh), ("foreign", &foreign)] {
        let Secret::Certificate { chain, key, .. } = authority.issue(CLIENT) else {
            unreachable!("issue makes certificates")
        };
        let pem = |label: &str, der: &[u8]| {
            use base64::Engine;
            let body = base64::engine::general_purpose::STANDARD.encode(der);
            format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
        };
        let mut file = std::fs::File::create(dir.path().join(name)).unwrap();
        write!(
            file,
            "{}{}",
            pem("CERTIFICATE", &chain[0]),
            pem("PRIVATE KEY", key.secret_der())
        )
        .unwrap();
    }
    let server = server(
        common(&[b"h2", b"http/1.1"], None),
        &secrets(&mesh, &mesh, SERVER),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    for (arguments, accepted) in [
        (vec!["-cert", "good", "-key", "good", "-tls1_3"], true),
        (vec!["-cert", "good", "-key", "good", "-tls1_2"], true),
        (vec!["-cert", "good", "-key", "good", "-alpn", "h2"], true),
        (
            vec!["-cert", "good", "-key", "good", "-alpn", "unknown"],
            true,
        ),
        (vec!["-cert", "good", "-key", "good", "-noservername"], true),
        (vec!["-cert", "foreign", "-key", "foreign"], false),
        (vec![], false),
    ] {
        let mut command = tokio::process::Command::new("openssl");
        command
            .args(["s_client", "-connect", &address, "-quiet"])
            .args(&arguments);
        command
            .current_dir(dir.path())
            .stdin(std::process::Stdio::piped());
        command
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        let mut child = command.kill_on_drop(true).spawn().unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let result = accept(Socket::Tcp(stream), &server, HANDSHAKE, &mut None).await;
        assert_eq!(
            result.is_ok(),
            accepted,
            "{arguments:?}: {:?}",
            result.err()
        );
        if let Ok((_, info)) = result {
            assert_eq!(info.peer_uri.as_deref(), Some(CLIENT));
        }
        child.kill().await.unwrap();
    }
}
