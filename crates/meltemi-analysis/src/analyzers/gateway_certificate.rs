//! Gateways that show the same certificate: a client that has an HTTP/2 connection for one host
//! reuses it for the other, whose routes it then does not find.

use std::collections::BTreeSet;

use meltemi_api::networking::{Gateway, ServerTlsSettings};

use crate::code::DUPLICATE_CERTIFICATE;
use crate::report::at;
use crate::selector::selects;
use crate::{Analyzer, Index, Report};

pub struct GatewayCertificate;

impl Analyzer for GatewayCertificate {
    fn name(&self) -> &'static str {
        "gateway.CertificateAnalyzer"
    }

    fn about(&self) -> &'static str {
        "Checks that Gateways of one workload do not share a certificate"
    }

    fn analyze(&self, index: &Index, report: &mut Report) {
        for (resource, gateway) in index.of::<Gateway>() {
            for (position, server) in gateway.servers.iter().enumerate() {
                let Some(tls) = &server.tls else { continue };
                let others: BTreeSet<String> = index
                    .of::<Gateway>()
                    .filter(|(other, _)| !std::ptr::eq(*other, resource))
                    .filter(|(_, other)| selects(&gateway.selector, &other.selector))
                    .filter(|(_, other)| {
                        let mut settings = other.servers.iter().filter_map(|s| s.tls.as_ref());
                        settings.any(|other| same_certificate(tls, other))
                    })
                    .map(|(other, _)| other.full_name())
                    .collect();
                for other in others {
                    report.add(
                        &DUPLICATE_CERTIFICATE,
                        resource,
                        at!(spec.servers[position].tls),
                        format!("Gateway {other} shows the same certificate; clients that reuse an HTTP/2 connection get 404"),
                        "put both servers into one Gateway, or use certificates of their own",
                    );
                }
            }
        }
    }
}

fn same_certificate(a: &ServerTlsSettings, b: &ServerTlsSettings) -> bool {
    if !a.credential_name.is_empty() || !b.credential_name.is_empty() {
        return a.credential_name == b.credential_name;
    }
    !a.server_certificate.is_empty()
        && !a.private_key.is_empty()
        && a.server_certificate == b.server_certificate
        && a.private_key == b.private_key
}
