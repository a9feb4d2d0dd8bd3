//! Clients' certificates that are pinned, and groups of the key exchange.

use crate::bootstrap::{Config, any_host, clusters, http_listener, typed};
use crate::case::{Case, Group};
use crate::client_tls;
use crate::common::certificates::{Authority, Certificate};
use crate::upstream::Upstreams;
use serde_json::{Value, json};
use std::path::Path;

pub fn group() -> Group {
    Group {
        name: "certificates",
        config,
        cases,
    }
}

/// Where the clients' certificates are, each with its key.
macro_rules! file {
    ($name:literal) => {
        concat!(env!("CARGO_TARGET_TMPDIR"), "/client-", $name, ".pem")
    };
}

/// A client's certificate, in its file.
fn client(file: &str, name: &str, authority: &Authority) -> Certificate {
    let certificate = authority.issue(name);
    certificate.write(Path::new(file));
    certificate
}

fn config(upstreams: &Upstreams) -> Config {
    let mut listeners = Vec::new();
    if client_tls::available() {
        let (mesh, foreign) = (Authority::new("mesh"), Authority::new("foreign"));
        let server = mesh.issue("server.test");
        let one = client(file!("one"), "one.test", &mesh);
        let other = client(file!("other"), "other.test", &mesh);
        client(file!("third"), "third.test", &mesh);
        let stranger = client(file!("stranger"), "stranger.test", &foreign);
        let mut listener = |required: bool, validation: Value, curves: Value| {
            let routes = json!([{ "match": { "prefix": "/" }, "route": { "cluster": "a" } }]);
            let mut listener = http_listener(any_host(routes), json!({}));
            let mut common = json!({
                "tls_certificates": [{
                    "certificate_chain": { "inline_string": server.chain },
                    "private_key": { "inline_string": server.key },
                }],
                "tls_params": { "ecdh_curves": curves },
            });
            if !validation.is_null() {
                common["validation_context"] = validation;
            }
            listener["filter_chains"][0]["transport_socket"] = json!({
                "name": "envoy.transport_sockets.tls",
                "typed_config": typed("transport_sockets.tls.v3.DownstreamTlsContext", json!({
                    "common_tls_context": common,
                    "require_client_certificate": required,
                })),
            });
            listeners.push(listener);
        };
        let trusting = |mut pins: Value| {
            pins["trusted_ca"] = json!({ "inline_string": mesh.pem() });
            pins
        };
        let hash = json!({ "verify_certificate_hash": [one.hash] });
        let spki = json!({ "verify_certificate_spki": [one.key_hash] });
        let both = json!({
            "verify_certificate_hash": [other.hash_with_colons()],
            "verify_certificate_spki": [stranger.key_hash, one.key_hash],
        });
        let mut untrusted = trusting(hash.clone());
        untrusted["trust_chain_verification"] = "ACCEPT_UNTRUSTED".into();
        listener(true, trusting(hash.clone()), json!([]));
        listener(true, trusting(spki), json!([]));
        listener(true, trusting(both.clone()), json!([]));
        listener(false, both, json!([]));
        listener(false, trusting(hash), json!([]));
        listener(true, untrusted, json!([]));
        let mut any = trusting(json!({}));
        any["trust_chain_verification"] = "ACCEPT_UNTRUSTED".into();
        listener(false, any, json!([]));
        let any = json!({ "trust_chain_verification": "ACCEPT_UNTRUSTED" });
        listener(false, any, json!([]));
        listener(false, Value::Null, json!(["P-384"]));
        listener(false, Value::Null, json!(["P-256", "X25519"]));
        listener(false, Value::Null, json!(["X25519:P-256"]));
        let named = json!({
            "match_typed_subject_alt_names": [{
                "san_type": "DNS",
                "matcher": { "exact": "one.test" },
            }],
        });
        listener(false, trusting(named.clone()), json!([]));
        let mut named = trusting(named);
        named["trust_chain_verification"] = "ACCEPT_UNTRUSTED".into();
        listener(false, named, json!([]));
    }
    Config {
        listeners,
        clusters: clusters(&upstreams.ports),
        ..Config::default()
    }
}

fn cases() -> Vec<Case> {
    if !client_tls::available() {
        println!("skipped: cases of certificates, openssl not found");
        return Vec::new();
    }
    // With TLS 1.2 the handshake waits for the server's verdict.
    const ONE: &[&str] = &["-tls1_2", "-cert", file!("one")];
    const OTHER: &[&str] = &["-tls1_2", "-cert", file!("other")];
    const THIRD: &[&str] = &["-tls1_2", "-cert", file!("third")];
    const STRANGER: &[&str] = &["-tls1_2", "-cert", file!("stranger")];
    const NONE: &[&str] = &["-tls1_2"];
    let clients = [
        ("one", ONE),
        ("other", OTHER),
        ("third", THIRD),
        ("stranger", STRANGER),
        ("none", NONE),
    ];
    let asked = |listener: usize, validation: &str| {
        clients.map(|(client, arguments)| {
            Case::handshake(format!("{validation}, {client}").leak(), arguments).on(listener)
        })
    };
    let mut cases = Vec::new();
    for (listener, validation) in [
        (0, "hash"),
        (1, "key"),
        (2, "both"),
        (3, "no trust"),
        (4, "not required"),
        (11, "name, not required"),
    ] {
        cases.extend(asked(listener, validation));
    }
    // Below, Envoy also counts what is wrong with certificates that it accepts.
    const COUNTED: &[&str] = &[
        "ssl.fail_verify_cert_hash",
        "ssl.fail_verify_no_cert",
        "ssl.fail_verify_error",
        "ssl.handshake",
        "ssl.no_certificate",
        "ssl.connection_error",
    ];
    cases.push(Case::statistics("what was counted", COUNTED));
    for (listener, validation) in [
        (5, "untrusted"),
        (6, "any"),
        (7, "any, no trust"),
        (12, "untrusted name"),
    ] {
        cases.extend(asked(listener, validation));
    }
    let groups: [(&str, &[&str]); 6] = [
        ("P-256", &["-groups", "P-256"]),
        ("P-384", &["-groups", "P-384"]),
        ("X25519", &["-groups", "X25519"]),
        ("X25519 or P-256", &["-groups", "X25519:P-256"]),
        ("P-521 or P-384", &["-groups", "P-521:P-384"]),
        ("P-256, TLS 1.2", &["-tls1_2", "-groups", "P-256"]),
    ];
    for (listener, curves) in [(8, "P-384"), (9, "P-256 and X25519"), (10, "X25519:P-256")] {
        for (name, arguments) in groups {
            let name = format!("{curves}, {name}").leak();
            cases.push(Case::handshake(name, arguments).on(listener));
        }
    }
    cases
}
