//! OCSP responses that go with certificates, made by `openssl ocsp`.

use crate::bootstrap::{Config, any_host, clusters, http_listener, typed};
use crate::case::{Case, Group};
use crate::client_tls;
use crate::upstream::Upstreams;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, IsCa, KeyPair,
    KeyUsagePurpose, SerialNumber,
};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

pub fn group() -> Group {
    Group {
        name: "staple",
        config,
        cases,
    }
}

/// A certificate, its key, and OCSP responses about it.
struct Certificate {
    chain: String,
    key: String,
    good: Vec<u8>,
    expired: Vec<u8>,
}

impl Certificate {
    /// `number`: the serial number. `must`: with the must-staple extension (RFC 7633).
    fn issue(name: &str, number: u8, must: bool) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let put = |name: &str, text: &str| std::fs::write(dir.path().join(name), text);
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        params.distinguished_name.push(DnType::CommonName, "ca");
        let key = KeyPair::generate().expect("a key");
        put("ca.key", &key.serialize_pem()).expect("written");
        let authority = CertifiedIssuer::self_signed(params, key).expect("an authority");
        put("ca.pem", &authority.pem()).expect("written");

        let mut params = CertificateParams::new(vec![name.into()]).expect("a name");
        params.serial_number = Some(SerialNumber::from(u64::from(number)));
        params.distinguished_name.push(DnType::CommonName, name);
        if must {
            let id = [1, 3, 6, 1, 5, 5, 7, 1, 24];
            let extension = CustomExtension::from_oid_content(&id, vec![0x30, 3, 2, 1, 5]);
            params.custom_extensions.push(extension);
        }
        let key = KeyPair::generate().expect("a key");
        let leaf = params.signed_by(&key, &authority).expect("a certificate");
        put("leaf.pem", &leaf.pem()).expect("written");
        put(
            "index",
            &format!("V\t400101000000Z\t\t{number:02X}\tunknown\t/CN=leaf\n"),
        )
        .expect("written");
        let good = response(dir.path());
        Self {
            chain: leaf.pem(),
            key: key.serialize_pem(),
            expired: over(&good),
            good,
        }
    }

    fn context(&self, staple: Option<&[u8]>) -> Value {
        let mut certificate = json!({
            "certificate_chain": { "inline_string": self.chain },
            "private_key": { "inline_string": self.key },
        });
        if let Some(staple) = staple {
            certificate["ocsp_staple"] = json!({ "inline_bytes": STANDARD.encode(staple) });
        }
        certificate
    }
}

/// What a responder of the authority says of the certificate, for a day.
fn response(dir: &Path) -> Vec<u8> {
    let output = Command::new("openssl")
        .current_dir(dir)
        .args([
            "ocsp", "-index", "index", "-CA", "ca.pem", "-issuer", "ca.pem",
        ])
        .args(["-rsigner", "ca.pem", "-rkey", "ca.key", "-cert", "leaf.pem"])
        .args(["-ndays", "1", "-respout", "response.der"])
        .output()
        .expect("openssl starts");
    std::fs::read(dir.join("response.der"))
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// The same with the time of the next update, its last, long ago. No proxy looks at the signature.
fn over(response: &[u8]) -> Vec<u8> {
    const TIME: &[u8] = &[0x18, 15, b'2', b'0'];
    let mut response = response.to_vec();
    let last = response
        .windows(TIME.len())
        .rposition(|bytes| bytes == TIME);
    let start = last.expect("it has times") + 2;
    response[start..start + 15].copy_from_slice(b"20200101000000Z");
    response
}

fn config(upstreams: &Upstreams) -> Config {
    let listener = |policy: &str, certificates: Vec<Value>| {
        let routes = json!([{ "match": { "prefix": "/" }, "route": { "cluster": "a" } }]);
        let mut listener = http_listener(any_host(routes), json!({}));
        listener["filter_chains"][0]["transport_socket"] = json!({
            "name": "envoy.transport_sockets.tls",
            "typed_config": typed("transport_sockets.tls.v3.DownstreamTlsContext", json!({
                "common_tls_context": { "tls_certificates": certificates },
                "ocsp_staple_policy": policy,
            })),
        });
        listener
    };
    let listeners = if client_tls::available() {
        let one = Certificate::issue("one.test", 7, false);
        let other = Certificate::issue("other.test", 8, false);
        let must = Certificate::issue("must.test", 9, true);
        let (good, expired) = (
            one.context(Some(&one.good)),
            one.context(Some(&one.expired)),
        );
        let plain = one.context(None);
        vec![
            listener("LENIENT_STAPLING", vec![good.clone()]),
            listener("LENIENT_STAPLING", vec![expired.clone()]),
            listener("STRICT_STAPLING", vec![good.clone()]),
            listener("STRICT_STAPLING", vec![expired.clone()]),
            listener("STRICT_STAPLING", vec![plain]),
            listener("MUST_STAPLE", vec![good]),
            listener("MUST_STAPLE", vec![expired.clone()]),
            listener("LENIENT_STAPLING", vec![must.context(Some(&must.good))]),
            listener("LENIENT_STAPLING", vec![must.context(Some(&must.expired))]),
            listener("STRICT_STAPLING", vec![expired, other.context(None)]),
        ]
    } else {
        Vec::new()
    };
    Config {
        listeners,
        clusters: clusters(&upstreams.ports),
        ..Config::default()
    }
}

fn cases() -> Vec<Case> {
    const ASKING: &[&str] = &["-status", "-servername", "one.test"];
    const ASKING_1_2: &[&str] = &["-status", "-tls1_2"];
    const SILENT: &[&str] = &["-servername", "one.test"];
    if !client_tls::available() {
        println!("skipped: cases of OCSP responses, openssl not found");
        return Vec::new();
    }
    let asking = |name: &'static str, listener: usize| Case::handshake(name, ASKING).on(listener);
    let silent = |name: &'static str, listener: usize| Case::handshake(name, SILENT).on(listener);
    vec![
        asking("lenient", 0),
        Case::handshake("lenient, TLS 1.2", ASKING_1_2),
        silent("lenient, nobody asks", 0),
        asking("lenient, over", 1),
        asking("strict", 2),
        asking("strict, over", 3),
        Case::handshake("strict, over, TLS 1.2", ASKING_1_2).on(3),
        silent("strict, over, nobody asks", 3),
        asking("strict, there is none", 4),
        asking("must", 5),
        asking("must, over", 6),
        silent("must, over, nobody asks", 6),
        asking("a must-staple certificate", 7),
        asking("a must-staple certificate, over", 8),
        silent("a must-staple certificate, over, nobody asks", 8),
        asking("another certificate", 9),
        silent("another certificate, nobody asks", 9),
        Case::statistics(
            "what was counted",
            &[
                "ssl.ocsp_staple_requests",
                "ssl.ocsp_staple_responses",
                "ssl.ocsp_staple_omitted",
                "ssl.ocsp_staple_failed",
                "server.days_until_first_cert_expiring",
                "ssl.handshake",
            ],
        ),
    ]
}
