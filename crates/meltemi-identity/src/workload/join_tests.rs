//! Joining over TLS with a token, and renewing with the certificate.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::transport::Server;

use super::*;
use crate::{
    Authority, AuthorityOptions, CsrService, JoinTokens, MutualTls, RateLimit, Store, TrustDomain,
};

const NAME: &str = "istiod.istio-system.svc";

/// A CA behind TLS that knows certificates and join tokens.
struct Ca {
    home: tempfile::TempDir,
    address: String,
    tokens: JoinTokens,
    tasks: [JoinHandle<()>; 2],
}

impl Ca {
    async fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(&home.path().join("state")).unwrap();
        let authority =
            Arc::new(Authority::self_signed(&store, AuthorityOptions::default()).unwrap());
        let tokens = JoinTokens::new(store, TrustDomain::default());
        std::fs::write(home.path().join("root.pem"), authority.roots().to_pem()).unwrap();

        let service = CsrService::new(
            Arc::clone(&authority),
            vec![
                Box::new(MutualTls::new(Arc::clone(&authority))),
                Box::new(tokens.clone()),
            ],
            RateLimit::new(100, 100.0),
        );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let acceptor = TlsAcceptor::from(server_config(&authority));
        let (connections, incoming) = tokio::sync::mpsc::channel(1);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that is refused or refuses ends its own connection only.
                if let Ok(stream) = acceptor.accept(stream).await {
                    let _ = connections.send(Ok::<_, std::io::Error>(stream)).await;
                }
            }
        });
        let serving = tokio::spawn(async move {
            Server::builder()
                .add_routes(Routes::new(service))
                .serve_with_incoming(ReceiverStream::new(incoming))
                .await
                .unwrap();
        });
        Self {
            home,
            address,
            tokens,
            tasks: [accepting, serving],
        }
    }

    /// A token for `default/vm`, its secret in a file.
    fn token(&self, file: &str) -> PathBuf {
        let (secret, _) = self
            .tokens
            .create("default", "vm", Duration::from_secs(60))
            .unwrap();
        let path = self.home.path().join(file);
        std::fs::write(&path, secret + "\n").unwrap();
        path
    }

    fn options(&self, token: PathBuf, roots: &str) -> WorkloadOptions {
        let endpoint = CaEndpoint::Tls {
            address: self.address.clone(),
            server_name: NAME.try_into().unwrap(),
            roots: self.home.path().join(roots),
        };
        WorkloadOptions::new(endpoint, Credential::File(token))
    }
}

impl Drop for Ca {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn server_config(authority: &Authority) -> Arc<ServerConfig> {
    let serving = authority
        .serving_certificate(&[NAME.to_owned()], Duration::from_secs(60))
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.roots.extend(authority.roots().anchors());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .unwrap();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(serving.chain, serving.key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

async fn start(options: WorkloadOptions) -> Result<WorkloadCertificates, CertificateError> {
    let start = WorkloadCertificates::start(options, Some(Duration::ZERO));
    tokio::time::timeout(Duration::from_secs(30), start)
        .await
        .expect("took too long")
}

#[tokio::test]
async fn a_token_is_good_for_one_certificate_which_renews_itself() {
    let ca = Ca::start().await;
    let token = ca.token("token");
    let mut options = ca.options(token.clone(), "root.pem");
    options.ttl = Some(Duration::from_secs(4));
    let certificates = start(options).await.unwrap();
    // What follows needs neither of the two files.
    std::fs::remove_file(ca.home.path().join("root.pem")).unwrap();
    let secret = std::fs::read_to_string(&token).unwrap();
    std::fs::remove_file(&token).unwrap();

    let mut identity = certificates.identity();
    let id = identity.borrow_and_update().id.to_string();
    assert_eq!(id, "spiffe://cluster.local/ns/default/sa/vm");
    let renewal = tokio::time::timeout(Duration::from_secs(30), identity.changed());
    renewal.await.unwrap().unwrap();
    let renewed = Arc::clone(&identity.borrow());
    assert_eq!((renewed.id.to_string(), renewed.generation), (id, 2));

    std::fs::write(&token, secret).unwrap();
    std::fs::write(ca.home.path().join("root.pem"), renewed.roots.to_pem()).unwrap();
    let again = start(ca.options(token, "root.pem")).await.err().unwrap();
    let text = again.to_string();
    assert!(
        text.contains("it was used at") && text.contains("meltemi token create"),
        "{text}"
    );
}

#[tokio::test]
async fn a_ca_that_the_root_does_not_verify_gets_no_token() {
    let ca = Ca::start().await;
    let other = Ca::start().await;
    let foreign = other.home.path().join("root.pem");
    std::fs::copy(foreign, ca.home.path().join("foreign.pem")).unwrap();
    let token = ca.token("token");
    let error = start(ca.options(token.clone(), "foreign.pem")).await.err();
    let error = error.unwrap().to_string();
    assert!(error.contains("invalid peer certificate"), "{error}");
    let missing = start(ca.options(token.clone(), "missing.pem")).await.err();
    let missing = missing.unwrap().to_string();
    assert!(missing.contains("missing.pem"), "{missing}");
    // It is still good.
    start(ca.options(token, "root.pem")).await.unwrap();
}

#[tokio::test]
async fn what_is_no_join_token_of_this_mesh_is_told_so() {
    let ca = Ca::start().await;
    let other = Ca::start().await;
    let foreign = start(ca.options(other.token("token"), "root.pem")).await;
    let foreign = foreign.err().unwrap().to_string();
    assert!(foreign.contains("this mesh does not know it"), "{foreign}");
    let jwt = ca.home.path().join("jwt");
    std::fs::write(&jwt, "eyJhbGciOiJSUzI1NiJ9.e30.c2ln").unwrap();
    let jwt = start(ca.options(jwt, "root.pem"))
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(jwt.contains("no kind that is known here"), "{jwt}");
}
