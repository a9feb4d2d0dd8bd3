//! DestinationRules whose TLS does not say which CA the server's certificate must be of.

use meltemi_api::FieldPath;
use meltemi_api::networking::{ClientTlsMode, ClientTlsSettings, DestinationRule};

use crate::code::{NO_VERIFICATION_DESTINATION, NO_VERIFICATION_PORT};
use crate::report::at;
use crate::{Analyzer, Index, Report};

pub struct CaCertificates;

impl Analyzer for CaCertificates {
    fn name(&self) -> &'static str {
        "destinationrule.CaCertificateAnalyzer"
    }

    fn about(&self) -> &'static str {
        "Checks that TLS to destinations verifies the server's certificate"
    }

    fn analyze(&self, index: &Index, report: &mut Report) {
        for (resource, rule) in index.of::<DestinationRule>() {
            let Some(policy) = &rule.traffic_policy else {
                continue;
            };
            let path = at!(spec.trafficPolicy);
            // Sidecars fetch a secret only when the rule says for which of them it is.
            let fetches = rule.workload_selector.is_some();
            let mut check = |code, tls: &ClientTlsSettings, field: FieldPath, what: String| {
                let verified =
                    !tls.ca_certificates.is_empty() || (fetches && !tls.credential_name.is_empty());
                if matches!(tls.mode, ClientTlsMode::Simple | ClientTlsMode::Mutual) && !verified {
                    let text = format!(
                        "TLS {} {what} names no CA: the server's certificate is not held to one of yours",
                        tls.mode
                    );
                    let remedy =
                        "set caCertificates, or credentialName together with workloadSelector";
                    report.add(code, resource, field.field("mode"), text, remedy);
                }
            };
            if let Some(tls) = &policy.tls {
                let what = format!("to {}", rule.host);
                check(&NO_VERIFICATION_DESTINATION, tls, path.field("tls"), what);
            }
            for (index, settings) in policy.port_level_settings.iter().enumerate() {
                if let Some(tls) = &settings.tls {
                    let port = settings.port.as_ref().map_or(0, |port| port.number);
                    let what = format!("to port {port} of {}", rule.host);
                    let field = path.field("portLevelSettings").index(index).field("tls");
                    check(&NO_VERIFICATION_PORT, tls, field, what);
                }
            }
        }
    }
}
