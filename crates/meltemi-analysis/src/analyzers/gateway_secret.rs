//! Certificates of Gateways: whether their secrets exist where the workload reads them.

use meltemi_api::k8s::Secret;
use meltemi_api::networking::{Gateway, ServerTlsSettings};
use meltemi_api::{FieldPath, did_you_mean};

use super::gateway_port::selects_nothing;
use crate::code::{INVALID_GATEWAY_CREDENTIAL, REFERENCED_RESOURCE_NOT_FOUND};
use crate::report::at;
use crate::selector::selects;
use crate::workload::workloads;
use crate::{Analyzer, Index, Platform, Report, Resource};

pub struct GatewaySecret;

/// Names of certificate chain and key in a secret, Kubernetes' and Istio's generic ones.
const FORMS: [(&str, &str); 2] = [("tls.crt", "tls.key"), ("cert", "key")];

impl Analyzer for GatewaySecret {
    fn name(&self) -> &'static str {
        "gateway.SecretAnalyzer"
    }

    fn about(&self) -> &'static str {
        "Checks that the secrets of Gateways exist and hold a certificate and its key"
    }

    fn analyze(&self, index: &Index, report: &mut Report) {
        let workloads = workloads(index);
        // Secrets are seldom kept among files: without a single one, nothing is known of them.
        let known = index.platform == Platform::Local || index.kind("", "Secret").next().is_some();
        for (resource, gateway) in index.of::<Gateway>() {
            let workload = workloads
                .iter()
                .find(|workload| selects(&gateway.selector, &workload.labels));
            let Some(workload) = workload else {
                selects_nothing(resource, gateway, report);
                continue;
            };
            for (position, server) in gateway.servers.iter().enumerate() {
                let Some(tls) = server.tls.as_ref().filter(|_| known) else {
                    continue;
                };
                for (field, name) in credentials(tls, &at!(spec.servers[position].tls)) {
                    check(index, resource, workload.namespace(), field, name, report);
                }
            }
        }
    }
}

fn credentials<'a>(tls: &'a ServerTlsSettings, at: &FieldPath) -> Vec<(FieldPath, &'a str)> {
    let mut all = Vec::new();
    if !tls.credential_name.is_empty() {
        all.push((at.field("credentialName"), tls.credential_name.as_str()));
    }
    let several = at.field("credentialNames");
    let several = tls
        .credential_names
        .iter()
        .enumerate()
        .map(|(position, name)| (several.index(position), name.as_str()));
    all.extend(several);
    all
}

fn check(
    index: &Index,
    gateway: &Resource,
    namespace: &str,
    field: FieldPath,
    credential: &str,
    report: &mut Report,
) {
    let name = credential
        .strip_prefix("kubernetes://")
        .or_else(|| credential.strip_prefix("kubernetes-gateway://"))
        .unwrap_or(credential);
    let (namespace, name) = name.split_once('/').unwrap_or((namespace, name));
    let Some((_, secret)) = index.find::<Secret>(namespace, name) else {
        let there: Vec<&str> = index
            .kind("", "Secret")
            .filter(|secret| secret.namespace() == namespace)
            .map(|secret| secret.name.name.as_str())
            .collect();
        let remedy = match there.is_empty() {
            true => format!("apply it in {namespace}, the namespace of the gateway's workload"),
            false => did_you_mean(name, there),
        };
        return report.add(
            &REFERENCED_RESOURCE_NOT_FOUND,
            gateway,
            field,
            format!("there is no Secret {namespace}/{name}; TLS connections are refused"),
            remedy,
        );
    };
    if !FORMS
        .iter()
        .any(|(chain, key)| has_pair(secret, chain, key))
    {
        report.add(
            &INVALID_GATEWAY_CREDENTIAL,
            gateway,
            field,
            format!("Secret {namespace}/{name} does not hold a certificate and its key as PEM"),
            "put the chain into tls.crt and the key into tls.key",
        );
    }
}

fn has_pair(secret: &Secret, chain: &str, key: &str) -> bool {
    let holds = |name: &str, label: &str| {
        let encoded = secret.data.as_ref().and_then(|data| data.get(name));
        let plain = secret.string_data.as_ref().and_then(|data| data.get(name));
        let text = match (plain, encoded) {
            (Some(text), _) => text.clone(),
            (None, Some(bytes)) => String::from_utf8_lossy(&bytes.0).into_owned(),
            (None, None) => String::new(),
        };
        text.contains(label)
    };
    holds(chain, "BEGIN CERTIFICATE") && holds(key, "PRIVATE KEY")
}
