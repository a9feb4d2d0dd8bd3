//! Two proxies with mutual TLS between them, as sidecars have it.

use crate::http::testkit::*;
use crate::model::*;
use crate::tls::{Secret, client_configs, server_config};
use arc_swap::ArcSwapOption;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls_pki_types::PrivateKeyDer;
use std::sync::Arc;

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn secrets(&self, spiffe: &str) -> impl Fn(&str) -> Option<Arc<Secret>> + use<> {
        let mut params = CertificateParams::default();
        params
            .subject_alt_names
            .push(SanType::URI(spiffe.try_into().unwrap()));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let own = Arc::new(Secret::Certificate {
            chain: vec![certificate.der().clone()],
            key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            staple: None,
        });
        let trust = Arc::new(Secret::Trust {
            roots: vec![self.0.der().clone()],
            revocation: None,
        });
        move |name| match name {
            "default" => Some(own.clone()),
            _ => Some(trust.clone()),
        }
    }
}

fn common(alpn: &[&str], san: Option<&str>) -> CommonTls {
    CommonTls {
        alpn: alpn.iter().map(|name| name.as_bytes().to_vec()).collect(),
        certificates: vec!["default".into()],
        validation: Validation {
            trust: Some("ROOTCA".into()),
            names: san
                .map(|san| SanMatch {
                    kind: SanKind::Uri,
                    value: StringMatch::Exact(san.into(), false),
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

const CLIENT: &str = "spiffe://cluster.local/ns/default/sa/client";
const SERVER: &str = "spiffe://cluster.local/ns/default/sa/server";

async fn pair(upstream: &Upstream, protocol: UpstreamProtocol, expected: &str) -> (Proxy, Proxy) {
    let authority = Authority::new();
    let server = ServerTls {
        requires_client_cert: true,
        config: ArcSwapOption::empty(),
        spec: ServerTlsSpec {
            common: common(&["h2", "http/1.1"], None),
            stateless_resumption: true,
            staple_policy: Default::default(),
        },
    };
    let config = server_config(&server, &authority.secrets(SERVER)).unwrap();
    server.config.store(Some(config));
    let mut inbound = manager(routes(vec![any(to(0))]));
    inbound.client_cert = ForwardClientCert {
        mode: ForwardCertMode::AppendForward,
        subject: true,
        cert: true,
        chain: true,
        dns: true,
        uri: true,
    };
    let app = cluster(cluster_config("inbound|80||"), &[upstream]);
    let inbound = Proxy::with_tls(inbound, vec![app], Some(server)).await;

    let alpn = match protocol {
        UpstreamProtocol::Http2 => vec!["istio", "h2"],
        _ => vec!["istio", "http/1.1"],
    };
    let spec = common(&alpn, Some(expected));
    let configs = client_configs(&spec, &authority.secrets(CLIENT), 1).unwrap();
    let mut config = cluster_config("outbound|80||server.default.svc.cluster.local");
    config.protocol = protocol;
    config.transport.default = UpstreamTransport::Tls(Arc::new(ClientTls {
        config: ArcSwapOption::from_pointee(configs),
        sni: Some("outbound_.80_._.server.default.svc.cluster.local".into()),
        auto_sni: false,
        auto_san: false,
        spec,
    }));
    let peer = Cluster {
        endpoints: Arc::new(endpoints(vec![endpoint(inbound.address)])),
        ..Arc::into_inner(cluster(config, &[])).unwrap()
    };
    let outbound = manager(routes(vec![any(to(0))]));
    let outbound = Proxy::start(outbound, vec![Arc::new(peer)]).await;
    (outbound, inbound)
}

#[test]
fn both_protocols_run_over_one_mutual_tls_connection() {
    run(async {
        for protocol in [UpstreamProtocol::Http1, UpstreamProtocol::Http2] {
            let upstream = Upstream::named("app").await;
            let (outbound, inbound) = pair(&upstream, protocol, SERVER).await;
            let mut client = outbound.connect().await;
            for _ in 0..5 {
                let answer = client.get("/").await;
                assert_eq!((answer.status, &*answer.body), (200, "app"));
            }
            assert_eq!(inbound.open.get(), 1);
            let shown = upstream.last("x-forwarded-client-cert").unwrap();
            let leaf = "-----BEGIN%20CERTIFICATE-----%0AMII";
            for part in ["Cert", "Chain"] {
                assert!(shown.contains(&format!(";{part}=\"{leaf}")), "{shown}");
            }
            assert!(
                shown.starts_with(&format!("By={SERVER};Hash="))
                    && shown.contains(&format!(";URI={CLIENT}")),
                "{shown}"
            );
        }
    });
}

#[test]
fn a_peer_of_another_name_gets_no_request() {
    run(async {
        let upstream = Upstream::named("app").await;
        let other = "spiffe://cluster.local/ns/default/sa/other";
        let (outbound, inbound) = pair(&upstream, UpstreamProtocol::Http1, other).await;
        let answer = outbound.get("/").await;
        assert_eq!(answer.status, 503);
        // Why is for the log: the client learns nothing of certificates.
        let end = "reset reason: remote connection failure";
        assert!(answer.body.ends_with(end), "{}", answer.body);
        assert_eq!(upstream.seen(), 0);
        until(|| inbound.open.get() == 0).await;
    });
}
