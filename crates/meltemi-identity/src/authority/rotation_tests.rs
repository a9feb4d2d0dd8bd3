//! Replacing the root: at no time does a certificate that is valid meet a trust bundle of a valid
//! certificate that does not verify it.

use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::pem::PemObject as _;

use super::*;

const LIFETIME: Duration = Duration::from_secs(3600);

fn store(home: &tempfile::TempDir) -> Store {
    Store::open(&home.path().join("state")).unwrap()
}

fn authority(store: &Store) -> Authority {
    let options = AuthorityOptions {
        default_ttl: LIFETIME,
        ..AuthorityOptions::default()
    };
    Authority::self_signed(store, options).unwrap()
}

/// A workload with the roots that came with its certificate.
struct Workload {
    chain: Vec<CertificateDer<'static>>,
    roots: TrustBundle,
    not_after: SystemTime,
}

fn join(authority: &Authority) -> Workload {
    let key = KeyPair::generate().unwrap();
    let csr = CertificateParams::default()
        .serialize_request(&key)
        .unwrap();
    let id = "spiffe://cluster.local/ns/default/sa/web".parse().unwrap();
    let issued = authority.sign(&csr.pem().unwrap(), &id, None).unwrap();
    let roots = TrustBundle::from_pem(issued.pem_chain.last().unwrap().as_bytes()).unwrap();
    Workload {
        chain: issued.chain,
        roots,
        not_after: issued.not_after,
    }
}

fn trusts(one: &Workload, other: &Workload) -> bool {
    let usage = webpki::KeyUsage::client_auth();
    verify(&one.roots, &other.chain[0], &[], usage).is_ok()
}

fn roles(authority: &Authority) -> Vec<RootRole> {
    let roots = authority.state().roots;
    roots.iter().map(|root| root.role).collect()
}

fn step_at(authority: &Authority) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(authority.state().next_step.unwrap())
}

#[test]
fn a_root_is_replaced_without_a_certificate_that_somebody_does_not_trust() {
    let home = tempfile::tempdir().unwrap();
    let authority = authority(&store(&home));
    let before = join(&authority);
    assert_eq!(roles(&authority), [RootRole::Signing]);

    authority.rotate().unwrap();
    assert_eq!(roles(&authority), [RootRole::Signing, RootRole::Next]);
    let announced = join(&authority);
    assert!(trusts(&before, &announced) && trusts(&announced, &before));

    // Not before the last certificate without the new root has ended.
    let step = step_at(&authority);
    assert!(step > before.not_after && step < before.not_after + LIFETIME / 8);
    let first_generation = authority.generation();
    authority.advance(step - Duration::from_secs(1)).unwrap();
    assert_eq!(authority.generation(), first_generation);
    authority.advance(step).unwrap();
    assert_ne!(authority.generation(), first_generation);
    assert_eq!(roles(&authority), [RootRole::Signing, RootRole::Former]);
    let renewed = join(&authority);
    assert!(trusts(&announced, &renewed) && trusts(&renewed, &announced));
    assert!(!trusts(&before, &renewed), "which has ended by now");

    let step = step_at(&authority);
    assert!(step > announced.not_after);
    authority.advance(step).unwrap();
    assert_eq!(roles(&authority), [RootRole::Signing]);
    let last = join(&authority);
    assert!(trusts(&last, &renewed) && trusts(&renewed, &last));
    assert!(!trusts(&last, &announced), "the former root is gone");
}

#[test]
fn a_rotation_goes_on_after_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let (step, state) = {
        let authority = authority(&store(&home));
        join(&authority);
        authority.rotate().unwrap();
        (step_at(&authority), authority.state())
    };
    let authority = authority(&store(&home));
    assert_eq!(authority.state(), state);
    authority.advance(step).unwrap();
    let now_signing = authority.state().roots[0].fingerprint.clone();
    assert_eq!(now_signing, state.roots[1].fingerprint);
    let error = authority.rotate().unwrap_err();
    assert!(matches!(error, RotateError::UnderWay), "{error}");
}

#[test]
fn without_a_certificate_in_use_the_next_root_may_sign_at_once() {
    let home = tempfile::tempdir().unwrap();
    let authority = authority(&store(&home));
    authority.rotate().unwrap();
    for _ in 0..2 {
        authority.advance(SystemTime::now()).unwrap();
    }
    assert_eq!(roles(&authority), [RootRole::Signing]);
}

#[test]
fn the_state_shows_the_bundle() {
    let home = tempfile::tempdir().unwrap();
    let authority = authority(&store(&home));
    authority.rotate().unwrap();
    let state = authority.state();
    let pem: Vec<_> = CertificateDer::pem_slice_iter(state.pem.as_bytes()).collect();
    assert_eq!(pem.len(), 2);
    assert_eq!(state.roots[0].fingerprint.len(), 64);
}
