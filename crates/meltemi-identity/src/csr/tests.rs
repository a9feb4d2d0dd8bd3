//! Who gets a certificate and who does not.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};

use super::*;
use crate::{AuthorityOptions, Store, TrustDomain};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn write_credential(directory: &Path, token: &str) {
    let workload = LocalWorkload {
        namespace: "default".to_owned(),
        service_account: "reviews".to_owned(),
        workload: "reviews-v1".to_owned(),
        pod: "reviews-v1-0".to_owned(),
        uid: "1".to_owned(),
    };
    let path = directory.join(format!("{}.json", LocalCredentials::file_stem(token)));
    std::fs::write(path, serde_json::to_vec(&workload).unwrap()).unwrap();
}

fn local(directory: &Path) -> LocalCredentials {
    LocalCredentials::new(directory, TrustDomain::default())
}

/// A process that lives until it is dropped.
struct Process(Child);

impl Process {
    fn start() -> Self {
        let child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    fn pid(&self) -> i32 {
        self.0.id() as i32
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn peer(pid: i32, token: Option<&str>) -> Peer {
    Peer {
        address: PeerAddress::Unix {
            pid: Some(pid),
            uid: 0,
        },
        certificates: Arc::default(),
        token: token.map(str::to_owned),
    }
}

#[test]
fn a_credential_belongs_to_the_first_process_that_presents_it() {
    let home = tempfile::tempdir().unwrap();
    write_credential(home.path(), TOKEN);
    let local = local(home.path());
    let (owner, thief) = (Process::start(), Process::start());

    let caller = local
        .authenticate(&peer(owner.pid(), Some(TOKEN)))
        .unwrap()
        .unwrap();
    assert_eq!(
        caller.id.to_string(),
        "spiffe://cluster.local/ns/default/sa/reviews"
    );
    let again = local.authenticate(&peer(owner.pid(), Some(TOKEN)));
    assert_eq!(again.unwrap().unwrap(), caller);

    let refusal = local
        .authenticate(&peer(thief.pid(), Some(TOKEN)))
        .unwrap_err();
    assert!(
        refusal.0.contains("belongs to another process"),
        "{refusal}"
    );
    assert!(!refusal.0.contains(TOKEN));

    // Not even when its owner is gone.
    drop(owner);
    assert!(local.authenticate(&peer(thief.pid(), Some(TOKEN))).is_err());
}

#[test]
fn a_later_process_with_the_same_id_is_another_process() {
    let home = tempfile::tempdir().unwrap();
    write_credential(home.path(), TOKEN);
    let process = Process::start();
    let stem = LocalCredentials::file_stem(TOKEN);
    let earlier = format!("{} 1", process.pid());
    std::fs::write(home.path().join(format!("{stem}.bound")), earlier).unwrap();
    assert!(local(home.path()).identify(process.pid(), TOKEN).is_err());
}

#[test]
fn of_many_processes_at_once_one_gets_the_credential() {
    let home = tempfile::tempdir().unwrap();
    write_credential(home.path(), TOKEN);
    let local = local(home.path());
    let processes: Vec<_> = (0..8).map(|_| Process::start()).collect();
    let admitted = std::thread::scope(|scope| {
        let attempts: Vec<_> = processes
            .iter()
            .map(|process| scope.spawn(|| local.identify(process.pid(), TOKEN).is_ok()))
            .collect();
        let outcomes = attempts.into_iter().map(|attempt| attempt.join().unwrap());
        outcomes.filter(|admitted| *admitted).count()
    });
    assert_eq!(admitted, 1);
}

#[test]
fn unknown_and_malformed_credentials_are_refused_with_the_reason() {
    let home = tempfile::tempdir().unwrap();
    let local = local(home.path());
    let pid = std::process::id() as i32;
    let refusal = |token: &str| local.identify(pid, token).unwrap_err().0;
    assert!(refusal(TOKEN).contains("unknown token"));
    assert!(refusal("short").contains("not a token"));
    assert!(refusal(&"x".repeat(600)).contains("not a token"));
    let path = home
        .path()
        .join(format!("{}.json", LocalCredentials::file_stem(TOKEN)));
    std::fs::write(path, r#"{"namespace": "default"}"#).unwrap();
    assert!(refusal(TOKEN).contains("malformed"));
    // No credential, or not over a Unix socket: somebody else's case.
    assert_eq!(local.authenticate(&peer(pid, None)), Ok(None));
}

#[test]
fn a_certificate_of_this_mesh_renews_itself_and_others_do_not() {
    let home = tempfile::tempdir().unwrap();
    let make = |name: &str| {
        let store = Store::open(&home.path().join(name)).unwrap();
        Arc::new(Authority::self_signed(&store, AuthorityOptions::default()).unwrap())
    };
    let (ours, theirs) = (make("ours"), make("theirs"));
    let id: SpiffeId = "spiffe://cluster.local/ns/default/sa/reviews"
        .parse()
        .unwrap();
    let key = KeyPair::generate().unwrap();
    let csr = CertificateParams::default()
        .serialize_request(&key)
        .unwrap()
        .pem()
        .unwrap();
    let with = |authority: &Authority| Peer {
        address: PeerAddress::Tcp(([127, 0, 0, 1], 1).into()),
        certificates: Arc::new(authority.sign(&csr, &id, None).unwrap().chain),
        token: None,
    };
    let mtls = MutualTls::new(Arc::clone(&ours));
    assert_eq!(mtls.authenticate(&with(&ours)).unwrap().unwrap().id, id);
    assert!(
        mtls.authenticate(&with(&theirs))
            .unwrap_err()
            .0
            .contains("client certificate")
    );
    assert_eq!(mtls.authenticate(&peer(1, Some(TOKEN))), Ok(None));
}
