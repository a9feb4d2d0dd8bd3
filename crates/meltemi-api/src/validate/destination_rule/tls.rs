//! TLS towards the endpoints.

use super::super::report::Report;
use crate::FieldPath;
use crate::networking::{ClientTlsMode, ClientTlsSettings};

pub(crate) fn client_tls(tls: &ClientTlsSettings, at: &FieldPath, report: &mut Report) {
    let files = [
        &tls.client_certificate,
        &tls.private_key,
        &tls.ca_certificates,
        &tls.ca_crl,
    ];
    let has_credential = !tls.credential_name.is_empty();
    if tls.insecure_skip_verify == Some(true)
        && matches!(tls.mode, ClientTlsMode::Simple | ClientTlsMode::Mutual)
    {
        let verifies = !tls.ca_certificates.is_empty() || !tls.subject_alt_names.is_empty();
        let credential = tls.mode == ClientTlsMode::Simple && has_credential;
        if verifies || credential {
            report.error(
                &at.field("insecureSkipVerify"),
                "the certificate is not verified, but there is something to verify it with",
                "remove caCertificates, credentialName and subjectAltNames, or this field",
            );
        }
    }
    if matches!(tls.mode, ClientTlsMode::Simple | ClientTlsMode::Mutual)
        && has_credential
        && files.iter().any(|file| !file.is_empty())
    {
        report.error(
            &at.field("credentialName"),
            "excludes clientCertificate, privateKey, caCertificates and caCrl",
            "keep the credentialName or the files",
        );
        return;
    }
    if tls.mode == ClientTlsMode::Mutual && !has_credential {
        for (name, file) in [
            ("clientCertificate", &tls.client_certificate),
            ("privateKey", &tls.private_key),
        ] {
            if file.is_empty() {
                report.error(&at.field(name), "is required with MUTUAL", "name the file");
            }
        }
    }
    for (index, name) in tls.subject_alt_names.iter().enumerate() {
        if name.is_empty() {
            report.error(
                &at.field("subjectAltNames").index(index),
                "is empty",
                "remove it",
            );
        }
    }
}
