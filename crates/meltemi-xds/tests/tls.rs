//! Mutual TLS between server and client.

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::Node;
use meltemi_xds::client::{AdsClient, ClientOptions, Endpoint, Tls};
use meltemi_xds::server::{AdsServer, PeerAddress, PeerInfo, ResourceSource, serve_tcp};
use meltemi_xds::type_url::CLUSTER;
use meltemi_xds::{ResourceSet, Subscription};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_util::sync::CancellationToken;

const ID: &str = "spiffe://cluster.local/ns/default/sa/reviews";

struct Source {
    peers: mpsc::UnboundedSender<PeerInfo>,
    version: watch::Sender<u64>,
}

impl ResourceSource for Source {
    type Proxy = ();

    fn connect(&self, _: &Node, peer: &PeerInfo) -> Result<(), tonic::Status> {
        let _ = self.peers.send(peer.clone());
        Ok(())
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    fn resources(&self, (): &(), _: &str, _: &Subscription) -> ResourceSet {
        ResourceSet::default()
    }
}

#[tokio::test]
async fn a_client_certificate_tells_the_server_the_identity() {
    let ca_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&ca_key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone()).unwrap();
    let roots = Arc::new(roots);
    let issuer = Issuer::new(params, ca_key);
    let leaf = |name| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![name];
        let certificate = params.signed_by(&key, &issuer).unwrap();
        (vec![certificate.der().clone()], key.into())
    };

    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
    let (chain, key) = leaf(SanType::DnsName(
        "istiod.istio-system.svc".try_into().unwrap(),
    ));
    let mut server_config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(chain, key)
        .unwrap();
    server_config.alpn_protocols = vec![b"h2".to_vec()];
    let (chain, key) = leaf(SanType::URI(ID.try_into().unwrap()));
    let mut client_config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap();
    client_config.alpn_protocols = vec![b"h2".to_vec()];

    let (peers, mut connected) = mpsc::unbounded_channel();
    let shutdown = CancellationToken::new();
    let server = AdsServer::new(
        Source {
            peers,
            version: watch::channel(0).0,
        },
        shutdown.clone(),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server_config = Arc::new(server_config);
    let serving = tokio::spawn(serve_tcp(
        listener,
        Some(Arc::new(move || Arc::clone(&server_config))),
        tonic::service::Routes::new(server),
        shutdown.clone(),
    ));

    // A client without TLS does not disturb.
    let plain = tokio::net::TcpStream::connect(address).await.unwrap();

    let client_config = Arc::new(client_config);
    let tls = Tls {
        config: Arc::new(move || Ok(Arc::clone(&client_config))),
        server_name: "istiod.istio-system.svc".try_into().unwrap(),
    };
    let endpoint = Endpoint::Tcp {
        address: address.to_string(),
        tls: Some(tls),
    };
    let mut options = ClientOptions::new(endpoint, Node::default());
    options.authorization = Some(Arc::new(|| Some("Bearer secret".to_owned())));
    let (client, mut updates) = AdsClient::spawn(options);
    client.subscribe_all(CLUSTER);
    let limit = Duration::from_secs(30);
    let update = tokio::time::timeout(limit, updates.recv()).await.unwrap();
    assert!(
        update.unwrap().added.is_empty(),
        "the end of an empty first answer"
    );

    let peer = connected.recv().await.unwrap();
    assert_eq!(peer.spiffe_id.as_deref(), Some(ID));
    assert!(matches!(peer.address, PeerAddress::Tcp(Some(_))));
    assert_eq!(peer.bearer_token(), Some("secret"));
    assert!(!format!("{peer:?}").contains("Bearer"));

    drop((client, plain));
    shutdown.cancel();
    tokio::time::timeout(limit, serving)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}
