//! Getting and renewing certificates over a Unix socket, from a real service.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::service::Routes;
use tonic::transport::Server;

use super::*;
use crate::{
    Authority, AuthorityOptions, CsrService, LocalCredentials, LocalWorkload, RateLimit, Store,
    TrustDomain,
};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
/// Set in the child process that replays a credential: the socket to use.
const REPLAY_SOCKET: &str = "MELTEMI_TEST_REPLAY_SOCKET";
/// What the child finds out, on its standard output.
const REPLAY_RESULT: &str = "replay result: ";

struct Ca {
    home: tempfile::TempDir,
    authority: Arc<Authority>,
    server: JoinHandle<()>,
}

impl Ca {
    fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(&home.path().join("state")).unwrap();
        let authority =
            Arc::new(Authority::self_signed(&store, AuthorityOptions::default()).unwrap());
        let workload = LocalWorkload {
            namespace: "default".to_owned(),
            service_account: "reviews".to_owned(),
            workload: "reviews-v1".to_owned(),
            pod: "reviews-v1-0".to_owned(),
            uid: "1".to_owned(),
        };
        let stem = LocalCredentials::file_stem(TOKEN);
        let record = serde_json::to_vec(&workload).unwrap();
        std::fs::write(home.path().join(format!("{stem}.json")), record).unwrap();
        let server = serve(home.path(), &authority);
        Self {
            home,
            authority,
            server,
        }
    }

    fn socket(&self) -> PathBuf {
        self.home.path().join("ca.sock")
    }

    fn options(&self, ttl: u64) -> WorkloadOptions {
        WorkloadOptions {
            ttl: Some(Duration::from_secs(ttl)),
            ..options(self.socket())
        }
    }

    async fn stop(&mut self) {
        self.server.abort();
        let _ = (&mut self.server).await;
        std::fs::remove_file(self.socket()).unwrap();
    }
}

impl Drop for Ca {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn serve(home: &Path, authority: &Arc<Authority>) -> JoinHandle<()> {
    let local = LocalCredentials::new(home, TrustDomain::default());
    let service = CsrService::new(
        Arc::clone(authority),
        vec![Box::new(local)],
        RateLimit::new(100, 100.0),
    );
    let listener = UnixListener::bind(home.join("ca.sock")).unwrap();
    tokio::spawn(async move {
        Server::builder()
            .add_routes(Routes::new(service))
            .serve_with_incoming(UnixListenerStream::new(listener))
            .await
            .unwrap();
    })
}

fn options(socket: PathBuf) -> WorkloadOptions {
    WorkloadOptions::new(CaEndpoint::Unix(socket), Credential::Token(TOKEN.into()))
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future)
        .await
        .expect("took too long")
}

#[tokio::test]
async fn a_workload_gets_its_certificate_and_renews_it_at_half_of_its_life() {
    let ca = Ca::start();
    let certificates = within(WorkloadCertificates::start(ca.options(4), None))
        .await
        .unwrap();
    let mut identity = certificates.identity();
    let first = Arc::clone(&identity.borrow_and_update());
    assert_eq!(
        first.id.to_string(),
        "spiffe://cluster.local/ns/default/sa/reviews"
    );
    assert_eq!(first.generation, 1);
    assert_eq!(first.roots, ca.authority.roots());

    within(identity.changed()).await.unwrap();
    let second = Arc::clone(&identity.borrow_and_update());
    assert_eq!(second.generation, 2);
    assert_ne!(
        first.key.secret_der(),
        second.key.secret_der(),
        "a new key every time"
    );
    let now = SystemTime::now();
    assert!(now < first.not_after, "renewed before the old one ended");
    let left = first.not_after.duration_since(now).unwrap();
    assert!(
        left <= Duration::from_millis(2300),
        "not before half of its life: {left:?}"
    );
}

#[tokio::test]
async fn while_the_ca_is_away_the_old_certificate_stays() {
    let mut ca = Ca::start();
    let certificates = within(WorkloadCertificates::start(ca.options(6), None))
        .await
        .unwrap();
    ca.stop().await;
    // The second call comes after the first one has failed.
    let deaf = UnixListener::bind(ca.socket()).unwrap();
    for _ in 0..2 {
        within(deaf.accept()).await.unwrap();
    }
    let mut identity = certificates.identity();
    assert_eq!(identity.borrow_and_update().generation, 1);

    drop(deaf);
    std::fs::remove_file(ca.socket()).unwrap();
    ca.server = serve(ca.home.path(), &ca.authority);
    within(identity.changed()).await.unwrap();
    assert_eq!(identity.borrow().generation, 2);
}

#[tokio::test]
async fn a_certificate_that_has_ended_is_replaced_once_the_ca_is_back() {
    let mut ca = Ca::start();
    let certificates = within(WorkloadCertificates::start(ca.options(2), None))
        .await
        .unwrap();
    ca.stop().await;
    let mut identity = certificates.identity();
    let first = Arc::clone(&identity.borrow_and_update());
    within(sleep_until(first.not_after)).await;
    assert_eq!(identity.borrow().generation, 1);

    // What has ended proves nothing to the CA: the credential of the beginning does.
    ca.server = serve(ca.home.path(), &ca.authority);
    within(identity.changed()).await.unwrap();
    let second = Arc::clone(&identity.borrow_and_update());
    assert_eq!(second.generation, 2);
    assert!(second.not_after > SystemTime::now());
}

#[tokio::test]
async fn a_workload_without_the_right_credential_is_told() {
    let ca = Ca::start();
    let start = |options| WorkloadCertificates::start(options, Some(Duration::ZERO));
    let mut wrong = ca.options(60);
    wrong.credential = Credential::Token("wrong-wrong-wrong-wrong-wrong".into());
    let error = within(start(wrong)).await.err().unwrap().to_string();
    assert!(error.contains("unknown token"), "{error}");
    let mut none = ca.options(60);
    none.credential = Credential::None;
    let error = within(start(none)).await.err().unwrap().to_string();
    assert!(error.contains("no usable credential"), "{error}");
}

/// Runs this test binary once more, as the thief: the kernel then tells the
/// service another process id.
#[tokio::test]
async fn a_credential_replayed_by_another_process_is_refused() {
    let ca = Ca::start();
    let _owner = within(WorkloadCertificates::start(ca.options(3600), None))
        .await
        .unwrap();
    let thief = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "workload::tests::replay_in_a_child",
            "--nocapture",
        ])
        .env(REPLAY_SOCKET, ca.socket())
        .kill_on_drop(true)
        .output();
    let output = within(thief).await.unwrap();
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.contains(REPLAY_RESULT), "{output}");
    assert!(output.contains("belongs to another process"), "{output}");
}

/// Only does something as the child of the test above.
#[tokio::test]
async fn replay_in_a_child() {
    let Some(socket) = std::env::var_os(REPLAY_SOCKET) else {
        return;
    };
    let result = WorkloadCertificates::start(options(socket.into()), Some(Duration::ZERO)).await;
    match result {
        Ok(_) => println!("{REPLAY_RESULT}admitted"),
        Err(error) => println!("{REPLAY_RESULT}{error}"),
    }
}

#[tokio::test]
async fn the_key_of_a_workload_is_never_written_down() {
    let ca = Ca::start();
    let certificates = within(WorkloadCertificates::start(ca.options(60), None))
        .await
        .unwrap();
    let identity = Arc::clone(&certificates.identity().borrow());
    // The private scalar of P-256, 32 bytes after the tag `04 20` in PKCS #8.
    let der = identity.key.secret_der();
    let at = der.windows(2).position(|w| w == [0x04, 0x20]).unwrap() + 2;
    let secret = &der[at..at + 32];
    let mut directories = vec![ca.home.path().to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.is_file() {
                let content = std::fs::read(&path).unwrap();
                assert!(
                    !content.windows(32).any(|w| w == secret),
                    "{}",
                    path.display()
                );
            }
        }
    }
    assert!(!format!("{identity:?}").contains("key"));
}

/// A CA whose clock is days off certifies for another time: such a certificate does not take the
/// place of one that is in use.
#[test]
fn a_certificate_of_another_time_is_not_taken() {
    let day = Duration::from_secs(24 * 3600);
    let now = SystemTime::now();
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let (root, issuer) = {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).unwrap();
        (root, rcgen::Issuer::new(params, key))
    };
    let taken = |from: SystemTime, until: SystemTime| {
        let mut params = CertificateParams::default();
        let id = "spiffe://cluster.local/ns/default/sa/reviews";
        params.subject_alt_names = vec![rcgen::SanType::URI(id.try_into().unwrap())];
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        (params.not_before, params.not_after) = (from.into(), until.into());
        let leaf = params.signed_by(&key, &issuer).unwrap();
        let roots = TrustBundle::from_pem(root.pem().as_bytes()).unwrap();
        assemble(vec![leaf.der().clone()], &key, roots, 1)
    };
    taken(now - day, now + day).unwrap();
    for (from, until, said) in [
        (now - 3 * day, now - 2 * day, "it ended 172"),
        (now + 2 * day, now + 3 * day, "it is not valid yet"),
    ] {
        let error = taken(from, until).unwrap_err().to_string();
        assert!(error.contains(said) && error.contains("clocks"), "{error}");
    }
}
