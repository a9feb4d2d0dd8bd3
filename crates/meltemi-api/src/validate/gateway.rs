//! Gateway.

use std::net::IpAddr;

use super::names::{fqdn, is_label, whole_wildcard_domain};
use super::report::Report;
use super::tls::{certificate_hashes, cipher_suites, curves, key_hashes};
use crate::FieldPath;
use crate::networking::{Gateway, Port, Server, ServerTlsMode, ServerTlsSettings};

const PROTOCOLS: [&str; 11] = [
    "HTTP", "HTTPS", "GRPC", "GRPC-WEB", "HTTP2", "MONGO", "REDIS", "MYSQL", "TCP", "TLS", "HBONE",
];

pub(super) fn validate(spec: &Gateway, at: &FieldPath, report: &mut Report) {
    if spec.servers.is_empty() {
        report.error(at, "has no servers", "add servers");
    }
    report.selector(&at.field("selector"), &spec.selector);
    for (index, server) in spec.servers.iter().enumerate() {
        let at = at.field("servers").index(index);
        server_rules(server, &at, report);
        if let Some(port) = &server.port {
            let taken = spec.servers[..index].iter().any(|other| {
                other
                    .port
                    .as_ref()
                    .is_some_and(|other| other.name == port.name)
            });
            if taken && !port.name.is_empty() {
                let message = format!("the name {:?} is taken by another server", port.name);
                report.error(&at.field("port").field("name"), message, "rename it");
            }
        }
    }
}

fn server_rules(server: &Server, at: &FieldPath, report: &mut Report) {
    if !server.bind.is_empty()
        && server.bind.parse::<IpAddr>().is_err()
        && !server.bind.starts_with("unix://")
    {
        let message = format!("{:?} is not an address", server.bind);
        report.error(
            &at.field("bind"),
            message,
            "write an IP address, or leave it out",
        );
    }
    if server.hosts.is_empty() {
        report.error(&at.field("hosts"), "is required", "name hosts, or \"*\"");
    }
    for (index, host) in server.hosts.iter().enumerate() {
        namespaced_host(host, &at.field("hosts").index(index), report);
    }
    let Some(port) = &server.port else {
        return report.error(
            &at.field("port"),
            "is required",
            "add number, name and protocol",
        );
    };
    port_rules(port, &at.field("port"), report);
    let protocol = port.protocol.to_ascii_uppercase();
    let terminates = protocol == "HTTPS" || protocol == "TLS" || protocol == "HBONE";
    let at = at.field("tls");
    match &server.tls {
        None if terminates => report.error(&at, format!("is required for {protocol}"), "add tls"),
        None => {}
        Some(tls) => {
            if protocol == "HTTP" || protocol == "HTTP2" || protocol == "GRPC" {
                let only_redirect = ServerTlsSettings {
                    https_redirect: tls.https_redirect,
                    ..Default::default()
                };
                if *tls != only_redirect {
                    let message = format!("{protocol} ports have no TLS");
                    report.error(&at, message, "use HTTPS, or remove tls");
                }
            } else if !terminates {
                report.error(
                    &at,
                    format!("{protocol} ports have no TLS"),
                    "use TLS, or remove tls",
                );
            }
            if tls.https_redirect && protocol != "HTTP" && protocol != "HTTP2" && protocol != "GRPC"
            {
                report.warning(
                    &at.field("httpsRedirect"),
                    "is for plaintext HTTP servers",
                    "move it to the server of port 80",
                );
            }
            server_tls(tls, &at, report);
        }
    }
}

fn port_rules(port: &Port, at: &FieldPath, report: &mut Report) {
    report.port(&at.field("number"), port.number);
    if !PROTOCOLS.contains(&port.protocol.to_ascii_uppercase().as_str()) {
        report.error(
            &at.field("protocol"),
            format!("{:?} is not a protocol", port.protocol),
            crate::did_you_mean(&port.protocol, PROTOCOLS),
        );
    }
    if port.name.is_empty() {
        report.error(&at.field("name"), "is required", "name the port");
    }
    if port.target_port != 0 {
        report.port(&at.field("targetPort"), port.target_port);
        report.warning(
            &at.field("targetPort"),
            "has no effect in a Gateway",
            "remove it",
        );
    }
}

/// `host`, `namespace/host`, `./host`, `*/host`.
fn namespaced_host(text: &str, at: &FieldPath, report: &mut Report) {
    let host = match text.split_once('/') {
        None => text,
        Some((namespace, host)) => {
            if namespace != "." && namespace != "*" && !is_label(namespace) {
                let message = format!("{namespace:?} is not a namespace");
                report.error(at, message, "write NAMESPACE/host, ./host or */host");
            }
            host
        }
    };
    if host.parse::<IpAddr>().is_ok() {
        return;
    }
    report.check(at, whole_wildcard_domain(host));
    if fqdn(host).is_ok() && !host.contains('.') {
        let message = format!("{host:?} is a short name");
        report.error(
            at,
            message,
            "write the full name, for example reviews.default.svc.cluster.local",
        );
    }
}

pub(super) fn server_tls(tls: &ServerTlsSettings, at: &FieldPath, report: &mut Report) {
    use ServerTlsMode as Mode;
    let files = [&tls.server_certificate, &tls.private_key];
    let mut sources = Vec::new();
    if !tls.credential_name.is_empty() {
        sources.push("credentialName");
    }
    if !tls.credential_names.is_empty() {
        sources.push("credentialNames");
    }
    if files.iter().any(|file| !file.is_empty()) {
        sources.push("serverCertificate and privateKey");
    }
    if !tls.tls_certificates.is_empty() {
        sources.push("tlsCertificates");
    }
    cipher_suites(&tls.cipher_suites, &at.field("cipherSuites"), report);
    curves(&tls.ecdh_curves, &at.field("ecdhCurves"), report);
    let (hashes, keys) = (&tls.verify_certificate_hash, &tls.verify_certificate_spki);
    certificate_hashes(hashes, &at.field("verifyCertificateHash"), report);
    key_hashes(keys, &at.field("verifyCertificateSpki"), report);
    without_effect(tls, at, report);
    if tls.max_protocol_version != crate::networking::TlsProtocol::TlsAuto
        && (tls.min_protocol_version as u8) > (tls.max_protocol_version as u8)
    {
        let message = "is above maxProtocolVersion";
        report.error(&at.field("minProtocolVersion"), message, "lower it");
    }
    match tls.mode {
        Mode::IstioMutual => {
            let material = [
                ("serverCertificate", !tls.server_certificate.is_empty()),
                ("privateKey", !tls.private_key.is_empty()),
                ("caCertificates", !tls.ca_certificates.is_empty()),
                ("caCrl", !tls.ca_crl.is_empty()),
                ("credentialName", !tls.credential_name.is_empty()),
                ("credentialNames", !tls.credential_names.is_empty()),
                ("tlsCertificates", !tls.tls_certificates.is_empty()),
            ];
            for (name, set) in material {
                if set {
                    let message = "ISTIO_MUTUAL uses the workload's own certificate";
                    report.error(&at.field(name), message, "remove it");
                }
            }
        }
        Mode::Passthrough | Mode::AutoPassthrough => {
            let unused = !sources.is_empty()
                || !tls.ca_certificates.is_empty()
                || !tls.ca_crl.is_empty()
                || !tls.ca_cert_credential_name.is_empty();
            if unused {
                let message = format!("{} does not use certificates", tls.mode);
                report.warning(at, message, "remove them, or use SIMPLE");
            }
        }
        Mode::Simple | Mode::Mutual | Mode::OptionalMutual => {
            terminated(tls, &sources, at, report);
        }
    }
}

/// What the mode makes no use of.
fn without_effect(tls: &ServerTlsSettings, at: &FieldPath, report: &mut Report) {
    use ServerTlsMode as Mode;
    let auto = crate::networking::TlsProtocol::TlsAuto;
    let clients = [
        ("subjectAltNames", !tls.subject_alt_names.is_empty()),
        (
            "verifyCertificateSpki",
            !tls.verify_certificate_spki.is_empty(),
        ),
        (
            "verifyCertificateHash",
            !tls.verify_certificate_hash.is_empty(),
        ),
    ];
    let parameters = [
        ("minProtocolVersion", tls.min_protocol_version != auto),
        ("maxProtocolVersion", tls.max_protocol_version != auto),
        ("cipherSuites", !tls.cipher_suites.is_empty()),
        ("ecdhCurves", !tls.ecdh_curves.is_empty()),
    ];
    let (unused, fix) = match tls.mode {
        Mode::Mutual | Mode::OptionalMutual => return,
        Mode::Simple => (
            clients.to_vec(),
            "remove it, or let clients show certificates with MUTUAL",
        ),
        Mode::Passthrough | Mode::AutoPassthrough => (
            [&clients[..], &parameters].concat(),
            "remove it; the server behind the gateway ends TLS",
        ),
        Mode::IstioMutual => (
            parameters.to_vec(),
            "remove it; MeshConfig's meshMTLS has it for all workloads",
        ),
    };
    for (name, _) in unused.into_iter().filter(|(_, set)| *set) {
        let message = format!("has no effect with {}", tls.mode);
        report.warning(&at.field(name), message, fix);
    }
}

fn terminated(tls: &ServerTlsSettings, sources: &[&str], at: &FieldPath, report: &mut Report) {
    let mode = tls.mode;
    let client_ca = mode != ServerTlsMode::Simple;
    if sources.len() > 1 {
        let message = format!("certificates come from {}", sources.join(" and from "));
        return report.error(at, message, "keep one source");
    }
    let too_many = "at most 2 certificates (for example RSA and ECDSA)";
    for (name, count) in [
        ("credentialNames", tls.credential_names.len()),
        ("tlsCertificates", tls.tls_certificates.len()),
    ] {
        if count > 2 {
            report.error(&at.field(name), too_many, "remove the others");
        }
    }
    if !tls.credential_name.is_empty() || !tls.credential_names.is_empty() {
        return;
    }
    let required = |report: &mut Report, at: &FieldPath, name: &str, file: &str| {
        if file.is_empty() {
            report.error(
                &at.field(name),
                format!("is required with {mode}"),
                "name the file",
            );
        }
    };
    if tls.tls_certificates.is_empty() {
        required(report, at, "serverCertificate", &tls.server_certificate);
        required(report, at, "privateKey", &tls.private_key);
    }
    for (index, certificate) in tls.tls_certificates.iter().enumerate() {
        let at = at.field("tlsCertificates").index(index);
        required(
            report,
            &at,
            "serverCertificate",
            &certificate.server_certificate,
        );
        required(report, &at, "privateKey", &certificate.private_key);
    }
    if client_ca && tls.ca_cert_credential_name.is_empty() {
        required(report, at, "caCertificates", &tls.ca_certificates);
    }
}
