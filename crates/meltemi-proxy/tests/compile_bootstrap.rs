//! Bootstraps: Istio's, and those of the benchmarks, compile and publish a snapshot.

// The configuration that allows it in tests does not see helper functions.
#![allow(clippy::unwrap_used)]

use meltemi_proxy::bootstrap::{Bootstrap, Format};
use meltemi_proxy::config::{Handle, Kind, Manager, Options, OwnSecrets, Readiness, State};
use meltemi_proxy::tls::Secret;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

fn shared(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared")
        .join(path);
    if !path.exists() {
        println!("skipped: {} not found", path.display());
        return None;
    }
    Some(path)
}

fn start(path: &Path, options: Options) -> Handle {
    let bootstrap = Bootstrap::read(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    Manager::start(bootstrap, options).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

#[tokio::test]
async fn istios_bootstraps_start() {
    let Some(directory) = shared("data/istiod-xds/bootstrap") else {
        return;
    };
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let handle = start(&path, Options::default());
        let snapshot = handle.snapshot();
        assert!(snapshot.clusters.iter().flatten().count() >= 3, "{path:?}");
        assert!(!snapshot.listeners.all.is_empty(), "{path:?}");
        for notice in &handle.bootstrap().notices {
            println!("{}: {}: {}", path.display(), notice.field, notice.reason);
        }
        let dump = handle.config_dump(&Default::default()).unwrap();
        let clusters = dump["configs"][1]["static_clusters"].as_array().unwrap();
        assert!(
            clusters
                .iter()
                .all(|entry| entry["cluster"]["name"].is_string())
        );
    }
}

#[tokio::test]
async fn the_benchmarks_bootstraps_start() {
    let (Some(gencfg), Some(certs)) = (shared("bench/gencfg.py"), shared("bench/certs.sh")) else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let certificates = directory.path().join("certs");
    let run = |command: &mut Command| match command.output() {
        Ok(output) if output.status.success() => true,
        other => {
            println!("skipped: {command:?}: {other:?}");
            false
        }
    };
    if !run(Command::new("bash").arg(certs).arg(&certificates))
        || !run(Command::new("python3")
            .arg(gencfg)
            .arg(directory.path())
            .arg(&certificates))
    {
        return;
    }
    let mut count = 0;
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.starts_with("envoy_") || name.contains("mem_10000") {
            continue;
        }
        count += 1;
        // Those with a policy filter (`istio*`) are refused until policies are there.
        let bootstrap = Bootstrap::read(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        match Manager::start(bootstrap, Options::default()) {
            Ok(handle) => {
                assert_eq!(*handle.readiness().borrow(), Readiness::Live, "{name}");
                let records = handle.records(Kind::Cluster);
                assert!(
                    records.iter().all(|record| record.state == State::Active),
                    "{name}"
                );
            }
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains("policy filter"), "{name}: {text}");
            }
        }
    }
    assert!(count > 10, "{count} bootstraps");
}

const YAML: &str = r#"
node: {id: test, cluster: test}
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 15000}}}
static_resources:
  clusters:
  - name: a
    connectTimeout: 1s
    load_assignment:
      cluster_name: a
      endpoints: [{lb_endpoints: [{endpoint: {address: {pipe: {path: /run/a}}}}]}]
"#;

#[tokio::test]
async fn yaml_and_protobuf_are_read_too() {
    let yaml = Bootstrap::parse(YAML.as_bytes(), Format::Yaml).unwrap();
    assert_eq!(yaml.node.id, "test");
    assert_eq!(yaml.clusters.len(), 1);
    use envoy_types::pb::envoy::config::bootstrap::v3 as proto;
    use prost::Message;
    let mut message = proto::Bootstrap::decode(yaml.rest.clone()).unwrap();
    message.static_resources = Some(proto::bootstrap::StaticResources {
        clusters: vec![Message::decode(yaml.clusters[0].clone()).unwrap()],
        ..Default::default()
    });
    let binary = Bootstrap::parse(&message.encode_to_vec(), Format::Protobuf).unwrap();
    assert_eq!(binary.clusters, yaml.clusters);
    assert_eq!(binary.admin, yaml.admin);
}

#[test]
fn unknown_fields_are_named_with_their_path() {
    let cases = [
        (r#"{"nodes": {}}"#, "nodes"),
        (r#"{"node": {"idd": "x"}}"#, "node"),
        (
            r#"{"static_resources": {"cluster": []}}"#,
            "static_resources.cluster",
        ),
        (
            r#"{"static_resources": {"clusters": [{"name": "a"}, {"name": "b", "connect_timeot": "1s"}]}}"#,
            "static_resources.clusters[1]: unrecognized field name 'connect_timeot'",
        ),
        (
            r#"{"static_resources": {"clusters": [{"name": "a", "connect_timeout": "soon"}]}}"#,
            "static_resources.clusters[0].connect_timeout",
        ),
    ];
    for (text, path) in cases {
        let error = Bootstrap::parse(text.as_bytes(), Format::Json).unwrap_err();
        assert!(error.to_string().contains(path), "{error}");
    }
}

#[tokio::test]
async fn own_identity_answers_for_istios_names() {
    let text = r#"{"static_resources": {
        "clusters": [{"name": "sds-grpc", "connect_timeout": "1s"}, {"name": "a", "connect_timeout": "1s", "transport_socket": {
            "name": "tls", "typed_config": {
              "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
              "common_tls_context": {
                "tls_certificate_sds_secret_configs": [{"name": "default", "sds_config": {"api_config_source": {
                  "api_type": "GRPC", "grpc_services": [{"envoy_grpc": {"cluster_name": "sds-grpc"}}]}}}],
                "combined_validation_context": {
                  "default_validation_context": {"match_subject_alt_names": [{"exact": "spiffe://cluster.local/ns/a/sa/b"}]},
                  "validation_context_sds_secret_config": {"name": "ROOTCA", "sds_config": {"api_config_source": {
                    "api_type": "GRPC", "grpc_services": [{"envoy_grpc": {"cluster_name": "sds-grpc"}}]}}}}}}}}]}}"#;
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["a.test".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let (identity, receiver) = tokio::sync::watch::channel(OwnSecrets::default());
    let bootstrap = Bootstrap::parse(text.as_bytes(), Format::Json).unwrap();
    let options = Options {
        identity: Some(receiver),
        ..Options::default()
    };
    let handle = Manager::start(bootstrap, options).unwrap();
    let context = |handle: &Handle| {
        let snapshot = handle.snapshot();
        let cluster = snapshot
            .clusters
            .iter()
            .flatten()
            .find(|cluster| &*cluster.config.name == "a")
            .unwrap()
            .clone();
        let transport = &cluster.config.transport.default;
        transport.tls().expect("it has a TLS context").clone()
    };
    let context = context(&handle);
    assert!(context.config.load().is_none(), "no secret yet");
    identity.send_replace(OwnSecrets {
        certificate: Some(Arc::new(Secret::Certificate {
            chain: vec![certificate.der().clone()],
            key: rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            staple: None,
        })),
        trust: Some(Arc::new(Secret::Trust {
            roots: vec![certificate.der().clone()],
            revocation: None,
        })),
    });
    let arrived = async {
        while context.config.load().is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), arrived)
        .await
        .expect("the context is configured");
    let certs = handle.certs_json();
    assert_eq!(certs["certificates"].as_array().unwrap().len(), 2);
}
