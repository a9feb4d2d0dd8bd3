//! Where endpoints and secrets come from besides ADS: DNS, an SDS server, files.

// The configuration that allows it in tests does not see helper functions.
#![allow(clippy::unwrap_used)]

use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use envoy_types::pb::envoy::service::secret::v3::secret_discovery_service_server::{
    SecretDiscoveryService, SecretDiscoveryServiceServer,
};
use envoy_types::pb::google::protobuf::Any;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record, RecordType};
use meltemi_proxy::bootstrap::{Bootstrap, Format};
use meltemi_proxy::config::{Handle, Manager, Options};
use meltemi_proxy::model::{Address, ClientTls, Cluster};
use meltemi_schema::encode;
use serde_json::{Value, json};
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::UdpSocket;
use tonic::{Request, Response, Status, Streaming};

async fn until(what: impl Fn() -> bool) {
    let happens = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(happens).await;
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future)
        .await
        .expect("did not happen in time")
}

fn start(clusters: Value, options: Options) -> Handle {
    let text = json!({"static_resources": {"clusters": clusters}}).to_string();
    let bootstrap = Bootstrap::parse(text.as_bytes(), Format::Json).unwrap();
    Manager::start(bootstrap, options).unwrap()
}

fn cluster(handle: &Handle, name: &str) -> Option<Arc<Cluster>> {
    let snapshot = handle.snapshot();
    let found = snapshot
        .clusters
        .iter()
        .flatten()
        .find(|cluster| &*cluster.config.name == name);
    found.cloned()
}

fn addresses(handle: &Handle, name: &str) -> Vec<String> {
    let Some(cluster) = cluster(handle, name) else {
        return Vec::new();
    };
    let endpoints = cluster
        .endpoints
        .priorities
        .iter()
        .flat_map(|p| &p.endpoints);
    endpoints
        .map(|endpoint| match &endpoint.address {
            Address::Socket(address) => address.to_string(),
            Address::Pipe(path) => path.display().to_string(),
        })
        .collect()
}

/// Answers A questions for `api.test` with what the test sets, NXDOMAIN otherwise.
/// Counts the questions.
async fn name_server(answer: Arc<Mutex<Vec<Ipv4Addr>>>) -> (SocketAddr, Arc<AtomicUsize>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let queries = Arc::new(AtomicUsize::new(0));
    let counter = queries.clone();
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
            counter.fetch_add(1, Relaxed);
            let mut message = Message::from_vec(&buffer[..length]).unwrap();
            message.metadata.message_type = MessageType::Response;
            let query = message.queries[0].clone();
            let known = answer.lock().unwrap().clone();
            let named = query.name().to_ascii() == "api.test.";
            if !named || known.is_empty() {
                message.metadata.response_code = ResponseCode::NXDomain;
            } else if query.query_type() == RecordType::A {
                for ip in known {
                    let record = Record::from_rdata(query.name().clone(), 1, RData::A(A(ip)));
                    message.answers.push(record);
                }
            }
            let _ = socket.send_to(&message.to_vec().unwrap(), peer).await;
        }
    });
    (address, queries)
}

fn dns_cluster(name: &str, kind: &str) -> Value {
    json!({
        "name": name,
        "type": kind,
        "dns_refresh_rate": "0.020s",
        "dns_lookup_family": "V4_ONLY",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [
            {"endpoint": {"address": {"socket_address": {"address": "api.test", "port_value": 443}}}}]}]},
    })
}

#[tokio::test]
async fn dns_clusters_follow_their_names_and_keep_the_last_answer() {
    let answer = Arc::new(Mutex::new(vec![
        Ipv4Addr::new(10, 0, 0, 2),
        Ipv4Addr::new(10, 0, 0, 1),
    ]));
    let (server, queries) = name_server(answer.clone()).await;
    let options = Options {
        name_servers: vec![server],
        ..Options::default()
    };
    let clusters = json!([
        dns_cluster("strict", "STRICT_DNS"),
        dns_cluster("logical", "LOGICAL_DNS")
    ]);
    let handle = start(clusters, options);
    until(|| addresses(&handle, "strict") == ["10.0.0.1:443", "10.0.0.2:443"]).await;
    until(|| addresses(&handle, "logical") == ["10.0.0.1:443"]).await;
    let before = cluster(&handle, "strict").unwrap();
    let endpoint = &before.endpoints.priorities[0].endpoints[0];
    assert_eq!(&*endpoint.hostname, "api.test");

    *answer.lock().unwrap() = vec![Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 3)];
    until(|| addresses(&handle, "strict") == ["10.0.0.1:443", "10.0.0.3:443"]).await;
    let after = cluster(&handle, "strict").unwrap();
    let same = &after.endpoints.priorities[0].endpoints[0];
    assert!(Arc::ptr_eq(&endpoint.state, &same.state));

    // Failures leave the last answer in force, until there is another one.
    answer.lock().unwrap().clear();
    let asked = queries.load(Relaxed);
    until(|| queries.load(Relaxed) > asked + 4).await;
    assert_eq!(addresses(&handle, "strict").len(), 2);
    *answer.lock().unwrap() = vec![Ipv4Addr::new(10, 0, 0, 9)];
    until(|| addresses(&handle, "strict") == ["10.0.0.9:443"]).await;
}

#[tokio::test]
async fn a_dns_cluster_without_an_answer_does_not_hold_up_the_start() {
    let options = Options {
        name_servers: vec![name_server(Arc::default()).await.0],
        ..Options::default()
    };
    let handle = start(json!([dns_cluster("strict", "STRICT_DNS")]), options);
    until(|| cluster(&handle, "strict").is_some()).await;
    assert!(addresses(&handle, "strict").is_empty());
}

struct Pems {
    certificate: String,
    key: String,
}

fn pems() -> Pems {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["a.test".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    Pems {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    }
}

fn tls_cluster(name: &str, common: Value) -> Value {
    json!({"name": name, "transport_socket": {"name": "tls", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": common}}})
}

fn context(handle: &Handle, name: &str) -> Arc<ClientTls> {
    let cluster = cluster(handle, name).unwrap();
    let context = cluster.config.transport.default.tls();
    context.expect("it has a TLS context").clone()
}

#[tokio::test]
async fn files_are_read_again_when_they_change() {
    let directory = tempfile::tempdir().unwrap();
    let (chain, key) = (
        directory.path().join("c.pem"),
        directory.path().join("k.pem"),
    );
    let write = |pems: &Pems| {
        std::fs::write(&key, &pems.key).unwrap();
        std::fs::write(&chain, &pems.certificate).unwrap();
    };
    let first = pems();
    write(&first);
    let common = json!({
        "tls_certificates": [{"certificate_chain": {"filename": chain}, "private_key": {"filename": key}}],
        "validation_context": {"trusted_ca": {"inline_string": first.certificate}},
    });
    let clusters = json!([tls_cluster("a", common.clone()), tls_cluster("b", common)]);
    let handle = start(clusters, Options::default());
    let context_a = context(&handle, "a");
    let before = context_a.config.load_full().expect("read at the start");
    let shared = context(&handle, "b").config.load_full().unwrap();
    assert!(Arc::ptr_eq(&before, &shared), "equal contexts share");

    std::fs::write(&chain, "no certificate").unwrap();
    write(&pems());
    until(|| {
        let now = context_a.config.load_full().unwrap();
        now.generation > before.generation
    })
    .await;
    let again = context(&handle, "b").config.load_full().unwrap();
    assert!(again.generation > before.generation);
}

#[test]
fn unusable_certificates_refuse_the_start() {
    let common = json!({"tls_certificates": [
        {"certificate_chain": {"inline_string": "x"}, "private_key": {"inline_string": "y"}}]});
    let text = json!({"static_resources": {"clusters": [tls_cluster("a", common)]}}).to_string();
    let bootstrap = Bootstrap::parse(text.as_bytes(), Format::Json).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let error = runtime
        .block_on(async { Manager::start(bootstrap, Options::default()) })
        .map(drop)
        .unwrap_err()
        .to_string();
    assert!(error.contains("static cluster \"a\""), "{error}");
    assert!(error.contains("no PEM certificate"), "{error}");
}

/// An SDS server that answers each request with the secrets it names.
struct Sds(Arc<Pems>);

type Answers<T> = BoxStream<'static, Result<T, Status>>;

#[tonic::async_trait]
impl SecretDiscoveryService for Sds {
    type DeltaSecretsStream = Answers<DeltaDiscoveryResponse>;
    type StreamSecretsStream = Answers<DiscoveryResponse>;

    async fn delta_secrets(
        &self,
        _: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaSecretsStream>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn stream_secrets(
        &self,
        requests: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamSecretsStream>, Status> {
        let pems = self.0.clone();
        let answers = requests.into_inner().filter_map(move |request| {
            let pems = pems.clone();
            async move {
                let request = request.ok()?;
                // An acknowledgement asks for nothing.
                (request.response_nonce.is_empty()).then(|| Ok(answer(&request, &pems)))
            }
        });
        Ok(Response::new(answers.boxed()))
    }

    async fn fetch_secrets(
        &self,
        _: Request<DiscoveryRequest>,
    ) -> Result<Response<DiscoveryResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }
}

fn answer(request: &DiscoveryRequest, pems: &Pems) -> DiscoveryResponse {
    let kind = "envoy.extensions.transport_sockets.tls.v3.Secret";
    let resources = request.resource_names.iter().map(|name| {
        let secret = if name == "ROOTCA" {
            json!({"name": name, "validation_context": {"trusted_ca": {"inline_string": pems.certificate}}})
        } else {
            json!({"name": name, "tls_certificate": {
                "certificate_chain": {"inline_string": pems.certificate},
                "private_key": {"inline_string": pems.key}}})
        };
        Any {
            type_url: format!("type.googleapis.com/{kind}"),
            value: encode(kind, &secret).unwrap(),
        }
    });
    DiscoveryResponse {
        version_info: "1".into(),
        nonce: "1".into(),
        resources: resources.collect(),
        ..DiscoveryResponse::default()
    }
}

#[tokio::test]
async fn secrets_come_from_an_sds_server_over_a_unix_socket() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("sds.sock");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let incoming = futures_util::stream::unfold(listener, |listener| async {
        let stream = listener.accept().await.map(|(stream, _)| stream);
        Some((stream, listener))
    });
    let service = SecretDiscoveryServiceServer::new(Sds(Arc::new(pems())));
    let server = tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(incoming),
    );
    let source = json!({"api_config_source": {"api_type": "GRPC",
        "grpc_services": [{"envoy_grpc": {"cluster_name": "sds-grpc"}}]}});
    let clusters = json!([
        {"name": "sds-grpc", "load_assignment": {"cluster_name": "sds-grpc", "endpoints": [
            {"lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": socket}}}}]}]}},
        tls_cluster("a", json!({
            "tls_certificate_sds_secret_configs": [{"name": "default", "sds_config": source}],
            "validation_context_sds_secret_config": {"name": "ROOTCA", "sds_config": source},
        })),
    ]);
    let handle = start(clusters, Options::default());
    let context = context(&handle, "a");
    assert!(context.config.load().is_none());
    until(|| context.config.load().is_some()).await;
    let dump = handle.config_dump(&Default::default()).unwrap().to_string();
    assert!(dump.contains("dynamic_active_secrets"));
    assert!(!dump.contains("PRIVATE KEY"));
    server.abort();
}
