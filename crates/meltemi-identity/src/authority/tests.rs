//! The authority: what it issues, and what it refuses.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, KeyPair, SanType};
use rustls_pki_types::pem::PemObject as _;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::*;
use crate::{SpiffeId, spiffe_id_of};

fn id(text: &str) -> SpiffeId {
    text.parse().unwrap()
}

fn reviews() -> SpiffeId {
    id("spiffe://cluster.local/ns/default/sa/reviews")
}

/// A request for an identity, and its key.
fn csr(san: &str) -> (String, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(san.try_into().unwrap())];
    (params.serialize_request(&key).unwrap().pem().unwrap(), key)
}

fn authority(directory: &Path) -> Authority {
    let store = Store::open(&directory.join("state")).unwrap();
    Authority::self_signed(&store, AuthorityOptions::default()).unwrap()
}

fn openssl(directory: &Path, arguments: &str) -> bool {
    Command::new("openssl")
        .args(arguments.split(' '))
        .current_dir(directory)
        .output()
        .is_ok_and(|output| {
            if !output.status.success() {
                eprintln!(
                    "openssl {arguments}: {}",
                    String::from_utf8_lossy(&output.stderr)
                );
            }
            output.status.success()
        })
}

fn has_openssl() -> bool {
    let found = Command::new("openssl").arg("version").output().is_ok();
    if !found {
        println!("skipped: openssl not found");
    }
    found
}

#[test]
fn an_issued_certificate_is_verified_by_webpki_and_openssl() {
    let home = tempfile::tempdir().unwrap();
    let authority = authority(home.path());
    let issued = authority
        .sign(&csr("spiffe://x/ns/a/sa/b").0, &reviews(), None)
        .unwrap();
    for usage in [
        webpki::KeyUsage::client_auth(),
        webpki::KeyUsage::server_auth(),
    ] {
        verify(
            &authority.roots(),
            &issued.chain[0],
            &issued.chain[1..],
            usage,
        )
        .unwrap();
    }
    assert_eq!(issued.pem_chain.len(), 2, "leaf and root");
    if has_openssl() {
        std::fs::write(home.path().join("leaf.pem"), &issued.pem_chain[0]).unwrap();
        std::fs::write(home.path().join("root.pem"), &issued.pem_chain[1]).unwrap();
        let verify = "verify -x509_strict -purpose sslclient -CAfile root.pem leaf.pem";
        assert!(openssl(home.path(), verify));
    }
}

#[test]
fn the_identity_is_the_authoritys_decision_not_the_requests() {
    let home = tempfile::tempdir().unwrap();
    let authority = authority(home.path());
    let (request, _) = csr("spiffe://cluster.local/ns/kube-system/sa/admin");
    let issued = authority.sign(&request, &reviews(), None).unwrap();
    assert_eq!(spiffe_id_of(&issued.chain[0]).unwrap(), reviews());

    let (_, leaf) = X509Certificate::from_der(&issued.chain[0]).unwrap();
    assert!(
        leaf.subject().iter().next().is_none(),
        "the subject is empty"
    );
    assert!(leaf.subject_alternative_name().unwrap().unwrap().critical);
    assert!(!leaf.is_ca());
    let again = authority.sign(&request, &reviews(), None).unwrap();
    let (_, other) = X509Certificate::from_der(&again.chain[0]).unwrap();
    assert_ne!(leaf.raw_serial(), other.raw_serial(), "serials are random");
}

#[test]
fn lifetimes_are_bounded() {
    let home = tempfile::tempdir().unwrap();
    let authority = authority(home.path());
    let (request, _) = csr("spiffe://x/ns/a/sa/b");
    let day = Duration::from_secs(24 * 3600);
    let lifetime = |ttl| {
        let issued = authority.sign(&request, &reviews(), ttl).unwrap();
        let (start, end) = validity(&issued.chain[0]).unwrap();
        let now = SystemTime::now();
        (
            now.duration_since(start).unwrap(),
            end.duration_since(now).unwrap(),
        )
    };
    let (skew, left) = lifetime(None);
    assert!((119..=122).contains(&skew.as_secs()), "{skew:?}");
    assert!(left <= day && left > day - Duration::from_secs(60));
    let (skew, left) = lifetime(Some(Duration::from_secs(5)));
    assert!((9..=12).contains(&skew.as_secs()), "{skew:?}");
    assert!(left <= Duration::from_secs(5));
    lifetime(Some(90 * day));
    let error = authority
        .sign(&request, &reviews(), Some(91 * day))
        .unwrap_err();
    assert!(matches!(error, SignError::Lifetime { .. }), "{error}");
}

#[test]
fn requests_without_proof_of_possession_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let authority = authority(home.path());
    let (request, _) = csr("spiffe://x/ns/a/sa/b");
    let mut der =
        rustls_pki_types::CertificateSigningRequestDer::from_pem_slice(request.as_bytes())
            .unwrap()
            .to_vec();
    // Within the request's URI: the signature is not about this any more.
    let at = der.windows(6).position(|w| w == b"spiffe").unwrap();
    der[at] = b'S';
    let tampered = pem_request(&der);
    for bad in [tampered.as_str(), "", "not a request", &"x".repeat(20_000)] {
        let error = authority.sign(bad, &reviews(), None).unwrap_err();
        assert!(matches!(error, SignError::Request(_)), "{error}");
    }
    let foreign = id("spiffe://elsewhere/ns/a/sa/b");
    let error = authority.sign(&request, &foreign, None).unwrap_err();
    assert!(matches!(error, SignError::TrustDomain { .. }), "{error}");
}

fn pem_request(der: &[u8]) -> String {
    crate::bundle::pem("CERTIFICATE REQUEST", der)
}

#[test]
fn the_root_survives_a_restart_and_is_private() {
    let home = tempfile::tempdir().unwrap();
    let roots = authority(home.path()).roots();
    let authority = authority(home.path());
    assert_eq!(authority.roots(), roots);
    let mode = |path: &str| {
        let metadata = std::fs::metadata(home.path().join(path)).unwrap();
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(mode("state"), 0o700);
    assert_eq!(mode("state/store.redb"), 0o600);
    let left: Vec<_> = std::fs::read_dir(home.path().join("state"))
        .unwrap()
        .collect();
    assert_eq!(left.len(), 1, "nothing temporary is left");
    assert!(authority.expiry_warning(SystemTime::now()).is_none());
    let late = authority.not_after() - Duration::from_secs(3 * 24 * 3600);
    assert!(authority.expiry_warning(late).unwrap().contains("days"));
}

#[test]
fn a_store_that_cannot_be_used_says_why() {
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    let open = || Store::open(&state).err().map(|error| error.to_string());
    let held = Store::open(&state).unwrap();
    assert!(open().unwrap().contains("in use by another process"));
    drop(held);

    let file = state.join("store.redb");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(open().unwrap().contains("chmod 600"));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(open(), None);

    for garbage in [&b"garbage"[..], &[7; 100_000]] {
        std::fs::write(&file, garbage).unwrap();
        let error = open().unwrap();
        assert!(error.contains("store.redb is damaged"), "{error}");
        assert!(error.contains("move it away"), "{error}");
    }
}

#[test]
fn another_ca_is_not_trusted() {
    let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (authority, other) = (authority(home.path()), authority(other.path()));
    let issued = other
        .sign(&csr("spiffe://x/ns/a/sa/b").0, &reviews(), None)
        .unwrap();
    let usage = webpki::KeyUsage::client_auth();
    assert!(verify(&authority.roots(), &issued.chain[0], &[], usage).is_err());
    let both = TrustBundle::new([authority.roots(), other.roots()].map(|b| b.roots()[0].clone()));
    verify(
        &both.unwrap(),
        &issued.chain[0],
        &[],
        webpki::KeyUsage::client_auth(),
    )
    .unwrap();
}

/// A root and an intermediate CA below it, as Istio's documentation makes them.
fn make_cacerts(directory: &Path, key: &str) {
    let config = "[ca]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n\
                  subjectKeyIdentifier=hash\n[dn]\n[req]\ndistinguished_name=dn\n";
    std::fs::write(directory.join("c.cnf"), config).unwrap();
    for command in [
        format!("req -x509 -newkey {key} -nodes -keyout root-key.pem -out root-cert.pem -days 10 -subj /O=Istio/CN=Root -config c.cnf -extensions ca"),
        format!("req -newkey {key} -nodes -keyout ca-key.pem -out ca.csr -subj /O=Istio/CN=Intermediate/L=cluster1 -config c.cnf"),
        "x509 -req -in ca.csr -CA root-cert.pem -CAkey root-key.pem -CAcreateserial -out ca-cert.pem -days 9 -extfile c.cnf -extensions ca".to_owned(),
    ] {
        assert!(openssl(directory, &command));
    }
    let chain = ["ca-cert.pem", "root-cert.pem"]
        .map(|name| std::fs::read_to_string(directory.join(name)).unwrap())
        .concat();
    std::fs::write(directory.join("cert-chain.pem"), chain).unwrap();
}

#[test]
fn plugged_in_ec_and_rsa_authorities_work() {
    if !has_openssl() {
        return;
    }
    for key in ["ec -pkeyopt ec_paramgen_curve:P-256", "rsa:2048"] {
        let home = tempfile::tempdir().unwrap();
        make_cacerts(home.path(), key);
        let authority = Authority::plugged_in(home.path(), AuthorityOptions::default()).unwrap();
        let issued = authority
            .sign(&csr("spiffe://x/ns/a/sa/b").0, &reviews(), None)
            .unwrap();
        assert_eq!(issued.chain.len(), 2, "leaf and intermediate");
        assert_eq!(issued.pem_chain.len(), 3, "and the root");
        std::fs::write(home.path().join("leaf.pem"), &issued.pem_chain[0]).unwrap();
        let verify = "verify -x509_strict -CAfile root-cert.pem -untrusted ca-cert.pem leaf.pem";
        assert!(openssl(home.path(), verify), "{key}");
        // The leaf must not outlive the CA: 9 days.
        let asked = Some(Duration::from_secs(80 * 24 * 3600));
        let issued = authority
            .sign(&csr("spiffe://x/ns/a/sa/b").0, &reviews(), asked)
            .unwrap();
        assert_eq!(issued.not_after, authority.not_after());
        // Requests with RSA keys are what Istio's agents send.
        assert!(openssl(
            home.path(),
            "req -newkey rsa:2048 -nodes -keyout k.pem -out w.csr -subj /O=x"
        ));
        let request = std::fs::read_to_string(home.path().join("w.csr")).unwrap();
        authority.sign(&request, &reviews(), None).unwrap();
        assert!(openssl(
            home.path(),
            "req -newkey rsa:1024 -nodes -keyout k.pem -out weak.csr -subj /O=x"
        ));
        let request = std::fs::read_to_string(home.path().join("weak.csr")).unwrap();
        let error = authority.sign(&request, &reviews(), None).unwrap_err();
        assert!(error.to_string().contains("1024 bits"), "{error}");
    }
}

#[test]
fn plugged_in_files_that_do_not_fit_are_named() {
    if !has_openssl() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    make_cacerts(home.path(), "ec -pkeyopt ec_paramgen_curve:P-256");
    let path = |name: &str| home.path().join(name);
    let load = || {
        let loaded = Authority::plugged_in(home.path(), AuthorityOptions::default());
        loaded
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    };
    let key = std::fs::read(path("ca-key.pem")).unwrap();
    std::fs::copy(path("root-key.pem"), path("ca-key.pem")).unwrap();
    let error = load();
    assert!(
        error.contains("ca-cert.pem") && error.contains("ca-key.pem"),
        "{error}"
    );
    std::fs::remove_file(path("ca-key.pem")).unwrap();
    assert!(load().contains("ca-key.pem"), "{}", load());
    std::fs::write(path("ca-key.pem"), key).unwrap();
    assert_eq!(load(), "");

    let other = tempfile::tempdir().unwrap();
    make_cacerts(other.path(), "ec -pkeyopt ec_paramgen_curve:P-256");
    std::fs::copy(other.path().join("root-cert.pem"), path("root-cert.pem")).unwrap();
    assert!(load().contains("its own root does not trust"), "{}", load());
}
