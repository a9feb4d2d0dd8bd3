//! `x-forwarded-client-cert`: what the client's certificate said, for the upstream.

use super::downstream::Downstream;
use super::names;
use crate::model::{ForwardCertMode, ForwardClientCert};
use crate::telemetry::TlsInfo;
use crate::tls::certificate::pem;
use http::{HeaderMap, HeaderValue};
use std::fmt::Write;

pub(crate) fn apply(downstream: &Downstream, headers: &mut HeaderMap) {
    let options = downstream.manager.client_cert;
    let peer = downstream.info.tls.as_ref().filter(|tls| tls.mutual());
    let name = &names::X_FORWARDED_CLIENT_CERT;
    match (options.mode, peer) {
        (ForwardCertMode::AlwaysForwardOnly, _) => {}
        (ForwardCertMode::Sanitize, _) | (_, None) => {
            names::remove_rare(headers, name);
        }
        (ForwardCertMode::ForwardOnly, Some(_)) => {}
        (ForwardCertMode::AppendForward, Some(peer)) if headers.contains_key(name) => {
            let value = element(options, peer, headers.get(name));
            headers.insert(name.clone(), value);
        }
        (ForwardCertMode::SanitizeSet | ForwardCertMode::AppendForward, Some(peer)) => {
            let own = downstream
                .own_element
                .get_or_init(|| element(options, peer, None));
            headers.insert(name.clone(), own.clone());
        }
    }
}

fn element(
    options: ForwardClientCert,
    peer: &TlsInfo,
    before: Option<&HeaderValue>,
) -> HeaderValue {
    let mut out = String::new();
    if let Some(before) = before.and_then(|before| before.to_str().ok()) {
        out.push_str(before);
        out.push(',');
    }
    let start = out.len();
    let mut part = |name: &str, value: &str, quoted: bool| {
        if out.len() > start {
            out.push(';');
        }
        // Writing to a String does not fail.
        let _ = if quoted {
            write!(out, "{name}=\"{}\"", value.replace('"', "\\\""))
        } else {
            write!(out, "{name}={value}")
        };
    };
    if let Some(own) = &peer.local_uri {
        part("By", own, false);
    }
    if let Some(hash) = &peer.peer_hash {
        part("Hash", hash, false);
    }
    if options.cert {
        let leaf = peer.peer_chain.first().map(|der| pem(der));
        part("Cert", &leaf.unwrap_or_default(), true);
    }
    if options.chain {
        let chain: String = peer.peer_chain.iter().map(|der| pem(der)).collect();
        part("Chain", &chain, true);
    }
    if options.subject {
        part("Subject", peer.peer_subject.as_deref().unwrap_or(""), true);
    }
    if options.uri {
        part("URI", peer.peer_uri.as_deref().unwrap_or(""), false);
    }
    if options.dns {
        for dns in &peer.peer_dns {
            part("DNS", dns, false);
        }
    }
    HeaderValue::from_str(&out).unwrap_or(HeaderValue::from_static(""))
}
